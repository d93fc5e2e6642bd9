//! What an operator does with a relay that runs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use data_encoding::BASE64;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::process::{Relay, command};

/// Writes a certificate of its own and its key.
fn write_certificate(chain: &Path, key: &Path) -> CertificateDer<'static> {
    let own = rcgen::generate_simple_self_signed(["relay.example".to_owned()]).unwrap();
    let write = |path: &Path, kind: &str, der: &[u8]| {
        let text = BASE64.encode(der);
        let text = format!("-----BEGIN {kind}-----\n{text}\n-----END {kind}-----\n");
        std::fs::write(path, text).unwrap();
    };
    write(chain, "CERTIFICATE", own.cert.der());
    write(key, "PRIVATE KEY", &own.signing_key.serialize_der());
    own.cert.der().clone()
}

/// Whether the port for apps shows this certificate to who connects now.
async fn shows(relay: &Relay, certificate: &CertificateDer<'static>) -> bool {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(relay.ready["http"].as_str().unwrap()).await.unwrap();
    let name = ServerName::try_from("relay.example").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.is_ok()
}

fn tls_flags(folder: &Path) -> (PathBuf, PathBuf, Vec<String>) {
    let (chain, key) = (folder.join("chain.pem"), folder.join("key.pem"));
    let flags = [
        "--tls-certificate".to_owned(),
        chain.display().to_string(),
        "--tls-key".to_owned(),
        key.display().to_string(),
    ];
    (chain, key, flags.to_vec())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_certificate_is_used_without_a_restart_and_a_broken_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let (chain, key, flags) = tls_flags(folder.path());
    let first = write_certificate(&chain, &key);
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let relay = Relay::start_with(&folder.path().join("data"), &flags).await;
    assert!(shows(&relay, &first).await);

    let second = write_certificate(&chain, &key);
    relay.hang_up().await;
    while !shows(&relay, &second).await {}
    assert!(!shows(&relay, &first).await);

    std::fs::write(&chain, "half a file").unwrap();
    relay.hang_up().await;
    for _ in 0..20 {
        assert!(shows(&relay, &second).await);
    }
    let third = write_certificate(&chain, &key);
    while !shows(&relay, &third).await {
        relay.hang_up().await;
    }
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_of_a_running_relay_can_be_chosen_anew() {
    let folder = tempfile::tempdir().unwrap();
    let nobody = command(folder.path(), &["log", "debug"]).await;
    assert_eq!(nobody.code, Some(4));
    assert!(nobody.stderr.contains("no relay runs"), "{}", nobody.stderr);

    let relay = Relay::start(folder.path()).await;
    let shown = relay.ask(&["log"]).await.remove(0);
    assert!(shown["filter"].as_str().unwrap().contains("sync_relay=info"), "{shown}");
    let chosen = relay.ask(&["log", "warn,sync_relay=debug"]).await.remove(0);
    assert!(chosen["filter"].as_str().unwrap().contains("sync_relay=debug"), "{chosen}");
    let odd = command(folder.path(), &["log", "sync_relay=loudly"]).await;
    assert_eq!(odd.code, Some(2));
    assert!(odd.stderr.contains("no log filter"), "{}", odd.stderr);
    assert_eq!(relay.ask(&["log"]).await.remove(0), chosen);
    relay.ask(&["log", "error"]).await;
    let log = relay.stop().await;
    assert!(log.contains("chosen anew") && !log.contains("stopped"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_is_checked_without_serving_anything() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let (chain, key, flags) = tls_flags(folder.path());
    let check = async || {
        let mut arguments = vec!["--json", "run", "--check-config", "--public", "relay.example"];
        arguments.extend(flags.iter().map(String::as_str));
        command(&data, &arguments).await
    };
    let missing = check().await;
    assert_eq!(missing.code, Some(2));
    assert!(missing.stderr.contains("chain.pem"), "{}", missing.stderr);
    write_certificate(&chain, &key);
    let checked = check().await.json().remove(0);
    assert_eq!((&checked["secure"], &checked["openTenantsMax"]), (&true.into(), &500.into()));
    assert_eq!(checked["publicAddresses"][0], "relay.example");
    assert!(!data.exists());

    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/sync-relay.toml");
    let arguments = ["--config", example.to_str().unwrap(), "run", "--check-config"];
    let shipped = command(&data, &arguments).await;
    assert_eq!(shipped.code, Some(0), "{}", shipped.stderr);
    assert!(shipped.stdout.contains("can be used"), "{}", shipped.stdout);
}
