//! TLS 1.3: the certificates of a port, read from two files or brought by whoever obtains them.
//!
//! An authority that issues certificates may ask over the same port whether a name is served here
//! (RFC 8737): such a connection is its handshake and nothing more.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use rustls::client::verify_server_name;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{Acceptor, ClientHello, ParsedCertificate, WantsServerCert};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ConfigBuilder, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;
use x509_parser::parse_x509_certificate;

/// The protocol in which an authority asks whether a name is served here.
const CHALLENGE_PROTOCOL: &[u8] = b"acme-tls/1";

/// The certificates of a port, which may be replaced while it is served.
#[derive(Clone)]
pub struct Certificates {
    files: Option<(PathBuf, PathBuf)>,
    shown: Arc<RwLock<Shown>>,
}

/// What the port shows to who connects now.
#[derive(Default)]
struct Shown {
    usual: Option<Pair>,
    /// What proves a name to an authority, by that name.
    challenges: BTreeMap<String, Arc<ServerConfig>>,
}

/// A chain of certificates, and the key of its first.
#[derive(Clone)]
pub struct Pair {
    config: Arc<ServerConfig>,
    leaf: CertificateDer<'static>,
    validity: Option<Validity>,
}

/// From when to when a certificate is good, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// Its first second.
    pub begins: i64,
    /// Its last second.
    pub ends: i64,
}

/// Why certificates cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertificatesError {
    /// A file cannot be read, or holds nothing of its kind.
    #[error("{path} cannot be used")]
    File {
        /// The file.
        path: String,
        /// Why.
        source: pem::Error,
    },
    /// The file holds no certificate.
    #[error("{path} holds no certificate")]
    Empty {
        /// The file.
        path: String,
    },
    /// A text is no PEM, or holds nothing of its kind.
    #[error("the text is no certificate or no key in PEM")]
    Text(#[source] pem::Error),
    /// The text holds no certificate.
    #[error("the text holds no certificate")]
    Nothing,
    /// Chain and key do not fit.
    #[error("the key does not fit the certificate, or neither can be used")]
    Unfit(#[source] rustls::Error),
}

impl Certificates {
    /// Reads the files, in PEM: the chain, and the key of its first certificate.
    ///
    /// # Errors
    ///
    /// They cannot be read, or do not belong together.
    pub fn read(
        chain: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Result<Self, CertificatesError> {
        let (chain, key) = (chain.into(), key.into());
        let shown = Shown { usual: Some(load(&chain, &key)?), ..Shown::default() };
        Ok(Self { files: Some((chain, key)), shown: Arc::new(RwLock::new(shown)) })
    }

    /// None so far: until [`Self::show`] brings one, no handshake but that of an authority succeeds.
    pub fn awaited() -> Self {
        Self { files: None, shown: Arc::default() }
    }

    /// Reads the files again, for connections from now on.
    ///
    /// # Errors
    ///
    /// They cannot be used; those read before are used on.
    pub fn read_again(&self) -> Result<(), CertificatesError> {
        if let Some((chain, key)) = &self.files {
            self.show(load(chain, key)?);
        }
        Ok(())
    }

    /// Shows another certificate, to connections from now on.
    pub fn show(&self, pair: Pair) {
        self.change().usual = Some(pair);
    }

    /// Shows a proof to an authority that asks for `name`, until what is returned is dropped: a
    /// certificate that is good for nothing else, and its key, each as text in PEM.
    ///
    /// # Errors
    ///
    /// They are no such texts, or the key cannot be used.
    pub fn answer(
        &self,
        name: &str,
        proof: &str,
        key: &str,
    ) -> Result<Answering, CertificatesError> {
        let (chain, key) = parse(proof, key)?;
        let key = rustls::crypto::ring::sign::any_supported_type(&key)
            .map_err(CertificatesError::Unfit)?;
        // Its extension is critical, so that whoever reads it as a usual certificate refuses it.
        let shown = SingleCertAndKey::from(CertifiedKey::new(chain, key));
        let mut config = builder()?.with_cert_resolver(Arc::new(shown));
        config.alpn_protocols = vec![CHALLENGE_PROTOCOL.to_vec()];
        let name = name.to_lowercase();
        self.change().challenges.insert(name.clone(), Arc::new(config));
        Ok(Answering { certificates: self.clone(), name })
    }

    /// Whether there is one to show.
    pub fn is_there(&self) -> bool {
        self.look().usual.is_some()
    }

    /// From when to when the one that is shown is good, where that can be read from it.
    pub fn validity(&self) -> Option<Validity> {
        self.look().usual.as_ref().and_then(|usual| usual.validity)
    }

    /// The stream of a client that shook hands; nothing where there is no more to be said to it.
    pub(crate) async fn shake<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
    ) -> Option<TlsStream<S>> {
        let start = LazyConfigAcceptor::new(Acceptor::default(), stream).await.ok()?;
        if is_challenge(&start.client_hello()) {
            let name = start.client_hello().server_name()?.to_lowercase();
            let config = self.look().challenges.get(&name).cloned()?;
            let mut stream = start.into_stream(config).await.ok()?;
            let _ = stream.shutdown().await;
            return None;
        }
        let config = self.look().usual.as_ref().map(|usual| Arc::clone(&usual.config))?;
        start.into_stream(config).await.ok()
    }

    fn look(&self) -> RwLockReadGuard<'_, Shown> {
        self.shown.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self) -> RwLockWriteGuard<'_, Shown> {
        self.shown.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What proves a name to an authority; dropping it ends that.
pub struct Answering {
    certificates: Certificates,
    name: String,
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.certificates.change().challenges.remove(&self.name);
    }
}

impl Pair {
    /// A chain and its key, each as text in PEM.
    ///
    /// # Errors
    ///
    /// They are no such texts, or do not belong together.
    pub fn parse(chain: &str, key: &str) -> Result<Self, CertificatesError> {
        let (chain, key) = parse(chain, key)?;
        Self::of(chain, key)
    }

    fn of(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, CertificatesError> {
        let leaf = chain.first().cloned().ok_or(CertificatesError::Nothing)?;
        let config = builder()?.with_single_cert(chain, key).map_err(CertificatesError::Unfit)?;
        let validity = validity(&leaf);
        Ok(Self { config: Arc::new(config), leaf, validity })
    }

    /// Whether a client that asks for `name` takes it for that.
    pub fn covers(&self, name: &str) -> bool {
        let (Ok(leaf), Ok(name)) =
            (ParsedCertificate::try_from(&self.leaf), ServerName::try_from(name))
        else {
            return false;
        };
        verify_server_name(&leaf, &name).is_ok()
    }

    /// From when to when it is good, where that can be read from it.
    pub fn validity(&self) -> Option<Validity> {
        self.validity
    }
}

/// What every port speaks.
fn builder() -> Result<ConfigBuilder<ServerConfig, WantsServerCert>, CertificatesError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(CertificatesError::Unfit)?;
    Ok(builder.with_no_client_auth())
}

fn parse(
    chain: &str,
    key: &str,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), CertificatesError> {
    let chain = CertificateDer::pem_slice_iter(chain.as_bytes()).collect::<Result<_, _>>();
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes());
    Ok((chain.map_err(CertificatesError::Text)?, key.map_err(CertificatesError::Text)?))
}

/// Whether an authority asks, rather than a client.
fn is_challenge(hello: &ClientHello<'_>) -> bool {
    hello.alpn().into_iter().flatten().any(|protocol| protocol == CHALLENGE_PROTOCOL)
}

fn validity(leaf: &CertificateDer<'_>) -> Option<Validity> {
    let (_, certificate) = parse_x509_certificate(leaf).ok()?;
    let validity = certificate.validity();
    let (begins, ends) = (validity.not_before.timestamp(), validity.not_after.timestamp());
    Some(Validity { begins, ends })
}

fn load(chain: &Path, key: &Path) -> Result<Pair, CertificatesError> {
    let unread = |path: &Path| {
        let path = path.display().to_string();
        move |source| CertificatesError::File { path, source }
    };
    let certificates: Vec<CertificateDer<'static>> =
        CertificateDer::pem_file_iter(chain).and_then(Iterator::collect).map_err(unread(chain))?;
    if certificates.is_empty() {
        return Err(CertificatesError::Empty { path: chain.display().to_string() });
    }
    let key = PrivateKeyDer::from_pem_file(key).map_err(unread(key))?;
    Pair::of(certificates, key)
}
