//! A port that speaks TLS.

use std::path::Path;
use std::sync::Arc;

use data_encoding::BASE64;
use fieldmesh_http::{Certificates, Settings};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::client::{Answer, Ask};
use super::scene::Scene;

fn write_pem(path: &Path, kind: &str, der: &[u8]) {
    let text = BASE64.encode(der);
    let text = format!("-----BEGIN {kind}-----\n{text}\n-----END {kind}-----\n");
    std::fs::write(path, text).unwrap();
}

#[tokio::test]
async fn apps_are_served_over_tls_by_files_and_hear_to_stay_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let (chain, key) = (folder.path().join("chain.pem"), folder.path().join("key.pem"));
    let own = rcgen::generate_simple_self_signed(["relay.example".to_owned()]).unwrap();
    write_pem(&chain, "CERTIFICATE", own.cert.der());
    write_pem(&key, "PRIVATE KEY", &own.signing_key.serialize_der());
    let certificates = Certificates::read(&chain, &key).unwrap();
    let settings = Settings { is_secure: true, ..Settings::default() };
    let scene = Scene::over(settings, Some(certificates)).await;
    let mut roots = RootCertStore::empty();
    roots.add(own.cert.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(scene.address).await.unwrap();
    let name = ServerName::try_from("relay.example").unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
    stream.write_all(&Ask::get("/api/health").bytes()).await.unwrap();
    let mut bytes = Vec::new();
    // A server may end the connection without a goodbye of TLS.
    let _ = stream.read_to_end(&mut bytes).await;
    let answer = Answer::parse(&bytes);
    assert_eq!(answer.status, 200);
    assert!(answer.headers.contains_key("strict-transport-security"));
}

#[test]
fn files_that_are_no_certificate_and_key_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (chain, key) = (folder.path().join("chain.pem"), folder.path().join("key.pem"));
    assert!(Certificates::read(&chain, &key).is_err());
    for (text, kind) in [("", "CERTIFICATE"), ("nonsense", "CERTIFICATE")] {
        std::fs::write(&chain, text).unwrap();
        write_pem(&key, kind, b"no key");
        assert!(Certificates::read(&chain, &key).is_err());
    }
}
