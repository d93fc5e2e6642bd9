//! TLS 1.3 by files: a chain and its key, read anew when told.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

/// The certificates of a port, in two files that may be replaced.
#[derive(Clone)]
pub struct Certificates {
    chain: PathBuf,
    key: PathBuf,
    config: Arc<RwLock<Arc<ServerConfig>>>,
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
        let config = Arc::new(RwLock::new(load(&chain, &key)?));
        Ok(Self { chain, key, config })
    }

    /// Reads the files again, for connections from now on.
    ///
    /// # Errors
    ///
    /// They cannot be used; those read before are used on.
    pub fn read_again(&self) -> Result<(), CertificatesError> {
        let config = load(&self.chain, &self.key)?;
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(())
    }

    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner)).into()
    }
}

fn load(chain: &Path, key: &Path) -> Result<Arc<ServerConfig>, CertificatesError> {
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
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(CertificatesError::Unfit)?
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .map_err(CertificatesError::Unfit)?;
    Ok(Arc::new(config))
}
