//! Requests to servers elsewhere: over HTTPS alone, and bounded in bytes and in time.
//!
//! Each request has a connection of its own and follows no redirect. Whoever answers may be slow,
//! broken or hostile: what he can cost is bounded here.

use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::header::HOST;
use axum::http::uri::{PathAndQuery, Scheme};
use axum::http::{HeaderValue, Request, Response, Uri};
use futures::future::{Either, select};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, InvalidDnsNameError, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// How long an answer may take, from the first packet to its last byte.
pub const ANSWER_PATIENCE: Duration = Duration::from_secs(30);
/// The largest body of an answer.
pub const ANSWER_SIZE_MAX: usize = 1 << 20;
/// The largest head of an answer.
const HEAD_SIZE_MAX: usize = 64 * 1024;
const PORT_DEFAULT: u16 = 443;

/// Sends requests to servers whose certificates it can check.
#[derive(Clone)]
pub struct Outward {
    config: Arc<ClientConfig>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutwardError {
    /// The system knows no authority.
    #[error("this system trusts no authority; install its certificates (ca-certificates)")]
    NoRoots,
    /// A file of authorities cannot be used.
    #[error("{path} cannot be used")]
    Roots {
        /// The file.
        path: String,
        /// Why.
        source: pem::Error,
    },
    /// A file of authorities holds none.
    #[error("{path} holds no certificate of an authority")]
    NoRootsIn {
        /// The file.
        path: String,
    },
    /// TLS cannot be used at all.
    #[error("TLS cannot be used")]
    Tls(#[from] rustls::Error),
    /// It is no address of HTTPS.
    #[error("{uri} is no address that begins with https://")]
    Insecure {
        /// What was asked for.
        uri: String,
    },
    /// The name in the address is none.
    #[error("the address names no server")]
    Name(#[from] InvalidDnsNameError),
    /// Nobody is there, or who is there cannot prove his name.
    #[error("{server} cannot be reached")]
    Unreachable {
        /// Who was dialled.
        server: String,
        /// Why.
        source: std::io::Error,
    },
    /// The answer was none, or broke off.
    #[error("the server broke off, or does not speak HTTP")]
    Broken(#[from] hyper::Error),
    /// The body broke off or was too large.
    #[error("the answer broke off, or has more than {ANSWER_SIZE_MAX} bytes")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It took too long.
    #[error("the server did not answer within {} seconds", ANSWER_PATIENCE.as_secs())]
    Slow,
}

impl Outward {
    /// Trusts the authorities that the system trusts.
    ///
    /// # Errors
    ///
    /// There are none.
    pub fn trusting_system() -> Result<Self, OutwardError> {
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            tracing::debug!(%error, "some authorities of the system cannot be read");
        }
        let mut roots = RootCertStore::empty();
        let (taken, _) = roots.add_parsable_certificates(found.certs);
        if taken == 0 {
            return Err(OutwardError::NoRoots);
        }
        Self::trusting(roots)
    }

    /// Trusts the authorities in a file, in PEM, and no others.
    ///
    /// # Errors
    ///
    /// It cannot be read, or holds none.
    pub fn trusting_file(path: &Path) -> Result<Self, OutwardError> {
        let shown = || path.display().to_string();
        let certificates: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect)
            .map_err(|source| OutwardError::Roots { path: shown(), source })?;
        let mut roots = RootCertStore::empty();
        let (taken, _) = roots.add_parsable_certificates(certificates);
        if taken == 0 {
            return Err(OutwardError::NoRootsIn { path: shown() });
        }
        Self::trusting(roots)
    }

    fn trusting(roots: RootCertStore) -> Result<Self, OutwardError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { config: Arc::new(config) })
    }

    /// Sends a request whose address is whole, and takes the whole answer.
    ///
    /// # Errors
    ///
    /// There is none, or it is larger or slower than it may be.
    pub async fn ask(&self, request: Request<Bytes>) -> Result<Response<Bytes>, OutwardError> {
        timeout(ANSWER_PATIENCE, self.exchange(request)).await.map_err(|_| OutwardError::Slow)?
    }

    async fn exchange(&self, request: Request<Bytes>) -> Result<Response<Bytes>, OutwardError> {
        let (mut head, body) = request.into_parts();
        let insecure = || OutwardError::Insecure { uri: head.uri.to_string() };
        let is_secure = head.uri.scheme() == Some(&Scheme::HTTPS);
        let authority = head.uri.authority().filter(|_| is_secure).ok_or_else(insecure)?.clone();
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = authority.port_u16().unwrap_or(PORT_DEFAULT);
        let value = HeaderValue::from_str(authority.as_str()).map_err(|_| insecure())?;
        head.headers.insert(HOST, value);
        let path = head.uri.path_and_query().cloned();
        head.uri = Uri::from(path.unwrap_or_else(|| PathAndQuery::from_static("/")));

        let unreachable =
            |source| OutwardError::Unreachable { server: authority.to_string(), source };
        let stream = TcpStream::connect((host.as_str(), port)).await.map_err(unreachable)?;
        let name = ServerName::try_from(host)?;
        let connector = TlsConnector::from(Arc::clone(&self.config));
        let stream = connector.connect(name, stream).await.map_err(unreachable)?;
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(HEAD_SIZE_MAX)
            .handshake::<_, Full<Bytes>>(TokioIo::new(stream))
            .await?;
        let answer = pin!(async move {
            let answer = sender.send_request(Request::from_parts(head, body.into())).await?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, ANSWER_SIZE_MAX).collect().await;
            let body = body.map_err(OutwardError::Body)?.to_bytes();
            Ok(Response::from_parts(head, body))
        });
        // The connection has to be driven for as long as the answer comes.
        match select(answer, pin!(connection)).await {
            Either::Left((answer, _)) => answer,
            Either::Right((_, answer)) => answer.await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_addresses_of_https_are_asked() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("roots.pem");
        assert!(matches!(Outward::trusting_file(&file), Err(OutwardError::Roots { .. })));
        std::fs::write(&file, "nothing").unwrap();
        assert!(matches!(Outward::trusting_file(&file), Err(OutwardError::NoRootsIn { .. })));
        let outward = Outward::trusting(RootCertStore::empty()).unwrap();
        for address in ["http://127.0.0.1:1/x", "/x", "ftp://relay.example"] {
            let request = Request::get(address).body(Bytes::new()).unwrap();
            let refused = outward.ask(request).await.unwrap_err();
            assert!(matches!(refused, OutwardError::Insecure { .. }), "{address}: {refused}");
        }
        let nobody = Request::get("https://127.0.0.1:1/x").body(Bytes::new()).unwrap();
        let refused = outward.ask(nobody).await.unwrap_err();
        assert!(matches!(refused, OutwardError::Unreachable { .. }), "{refused}");
    }
}
