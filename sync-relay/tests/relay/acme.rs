//! A relay that obtains its certificate from an authority by itself.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;

use axum::http::StatusCode;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::authority::{Authority, Closed, Conduct};
use crate::challenge;
use crate::process::{PATIENCE, Relay, command};

const DOMAINS: [&str; 2] = ["relay.example", "west.relay.example"];

/// A folder, an authority that can be reached, and where it finds the relay.
async fn scene() -> (TempDir, Authority, Relay) {
    let folder = tempfile::tempdir().unwrap();
    let authority = Closed::new(folder.path()).open();
    let relay = start(folder.path(), &authority.directory, &authority.roots).await;
    authority.place(at(&relay));
    (folder, authority, relay)
}

async fn start(folder: &Path, directory: &str, roots: &Path) -> Relay {
    start_as("ops@example.org", folder, directory, roots).await
}

/// Starts the relay of an operator with this address.
async fn start_as(contact: &str, folder: &Path, directory: &str, roots: &Path) -> Relay {
    let roots = roots.to_str().unwrap();
    let flags = [
        "--operations",
        "127.0.0.1:0",
        "--acme-domain",
        DOMAINS[0],
        "--acme-domain",
        DOMAINS[1],
        "--acme-directory",
        directory,
        "--acme-contact",
        contact,
        "--acme-terms-agreed",
        "--acme-roots",
        roots,
    ];
    Relay::start_with(&folder.join("data"), &flags).await
}

fn at(relay: &Relay) -> SocketAddr {
    relay.ready["http"].as_str().unwrap().parse().unwrap()
}

/// The status that a client gets which trusts the authority, and the certificate that it is shown.
async fn visit(
    relay: &Relay,
    roots: &Path,
    domain: &str,
) -> Option<(u16, CertificateDer<'static>)> {
    let mut trusted = RootCertStore::empty();
    trusted.add(CertificateDer::from_pem_file(roots).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(trusted)
        .with_no_client_auth();
    let stream = TcpStream::connect(at(relay)).await.unwrap();
    let name = ServerName::try_from(domain.to_owned()).unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.ok()?;
    let certificate = stream.get_ref().1.peer_certificates()?.first()?.clone().into_owned();
    let request = format!("GET /healthz HTTP/1.1\r\nhost: {domain}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A server may end the connection without a goodbye of TLS.
    let _ = stream.read_to_end(&mut answer).await;
    let head = String::from_utf8_lossy(&answer);
    Some((head.split(' ').nth(1)?.parse().ok()?, certificate))
}

/// What is measured of the certificate under a name.
async fn measured(relay: &Relay, name: &str) -> i64 {
    let (_, text) = relay.get_at("operations", "/metrics").await;
    let wanted = format!("sync_relay_certificate_{name} ");
    let value = text.lines().find_map(|line| line.strip_prefix(&wanted));
    value.unwrap_or_else(|| panic!("{wanted} is not in {text}")).parse().unwrap()
}

async fn obtained(relay: &Relay) -> i64 {
    measured(relay, "orders_total{result=\"obtained\"}").await
}

async fn failed(relay: &Relay) -> i64 {
    measured(relay, "orders_total{result=\"failed\"}").await
}

/// Waits until the relay has obtained so many certificates.
async fn until_obtained(relay: &Relay, count: i64) {
    let waiting = async { while obtained(relay).await < count {} };
    if timeout(PATIENCE, waiting).await.is_err() {
        panic!("{:?}", relay.get_at("operations", "/readyz").await);
    }
}

/// Waits until the relay has failed once more than so often; gives its reason.
async fn until_failed(relay: &Relay, before: i64) -> String {
    let waiting = async { while failed(relay).await <= before {} };
    timeout(PATIENCE, waiting).await.unwrap();
    let (status, told) = relay.get_at("operations", "/readyz").await;
    assert!(status == 200 || told.starts_with("no certificate so far: "), "{status} {told}");
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_obtained_and_served_and_kept_over_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Closed::new(folder.path()).open();
    let relay = start(folder.path(), &authority.directory, &authority.roots).await;
    // The authority looks for the relay from here on, and does not know where it is.
    assert!(visit(&relay, &authority.roots, DOMAINS[0]).await.is_none());
    let (status, told) = relay.get_at("operations", "/readyz").await;
    assert_eq!((status, told.as_str()), (503, "no certificate so far\n"));
    assert_eq!(measured(&relay, "expires_timestamp_seconds").await, 0);
    assert!(challenge::show(at(&relay), "bank.example").await.is_none());

    authority.place(at(&relay));
    until_obtained(&relay, 1).await;
    let (status, first) = visit(&relay, &authority.roots, DOMAINS[0]).await.unwrap();
    assert_eq!(status, 200);
    assert_eq!(visit(&relay, &authority.roots, DOMAINS[1]).await.unwrap().1, first);
    assert!(visit(&relay, &authority.roots, "bank.example").await.is_none());
    assert_eq!(relay.get_at("operations", "/readyz").await.0, 200);
    let begins = measured(&relay, "begins_timestamp_seconds").await;
    assert_eq!(measured(&relay, "expires_timestamp_seconds").await - begins, 91 * 86_400);
    // Nobody can ask for the proofs any more.
    assert!(challenge::show(at(&relay), DOMAINS[0]).await.is_none());
    let said = json!({"contact": ["mailto:ops@example.org"], "termsOfServiceAgreed": true});
    assert_eq!(authority.accounts(), [said]);
    for name in ["account", "certificate"] {
        let kept = fs::metadata(relay.data.join("acme").join(name)).unwrap();
        assert_eq!(kept.mode() & 0o777, 0o600, "{name}");
    }

    let log = relay.stop().await;
    assert!(log.contains("no certificate so far") && log.contains("certificate obtained"), "{log}");
    let relay = start(folder.path(), &authority.directory, &authority.roots).await;
    assert_eq!(visit(&relay, &authority.roots, DOMAINS[0]).await.unwrap().1, first);
    assert_eq!(relay.get_at("operations", "/readyz").await.0, 200);
    assert_eq!((authority.orders(), obtained(&relay).await), (1, 0));
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_expires_soon_is_renewed_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Closed::new(folder.path()).open();
    authority.behave(Conduct::Old);
    let relay = start(folder.path(), &authority.directory, &authority.roots).await;
    authority.place(at(&relay));
    // Such an authority is not asked again and again.
    until_failed(&relay, 0).await;
    assert_eq!((authority.orders(), obtained(&relay).await), (1, 1));
    let (_, old) = visit(&relay, &authority.roots, DOMAINS[0]).await.unwrap();

    authority.behave(Conduct::Good);
    relay.hang_up().await;
    until_obtained(&relay, 2).await;
    let (status, new) = visit(&relay, &authority.roots, DOMAINS[0]).await.unwrap();
    assert!(status == 200 && new != old);
    assert_eq!((authority.orders(), authority.accounts().len()), (2, 1));

    // With a good one there is nothing to do, however often it is told.
    for _ in 0..3 {
        relay.hang_up().await;
        assert_eq!(visit(&relay, &authority.roots, DOMAINS[0]).await.unwrap().1, new);
    }
    relay.stop().await;
    assert_eq!(authority.orders(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_starts_and_serves_what_it_has_while_the_authority_is_down() {
    let folder = tempfile::tempdir().unwrap();
    let closed = Closed::new(folder.path());
    let (directory, roots) = (closed.directory.clone(), closed.roots.clone());
    let relay = start(folder.path(), &directory, &roots).await;
    let told = until_failed(&relay, 0).await;
    assert!(told.contains("cannot be reached: Connection refused"), "{told}");

    let authority = closed.open();
    authority.behave(Conduct::Old);
    authority.place(at(&relay));
    relay.hang_up().await;
    until_obtained(&relay, 1).await;
    let (_, old) = visit(&relay, &roots, DOMAINS[0]).await.unwrap();
    relay.stop().await;

    authority.behave(Conduct::Says(StatusCode::BAD_GATEWAY, b"<html>".to_vec()));
    let relay = start(folder.path(), &directory, &roots).await;
    let told = until_failed(&relay, 0).await;
    assert_eq!(told, "ready\n");
    assert_eq!(visit(&relay, &roots, DOMAINS[0]).await.unwrap(), (200, old));
    let log = relay.stop().await;
    assert!(log.contains("certificate not renewed; trying again"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_that_does_what_it_should_not_harms_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Closed::new(folder.path()).open();
    let says = |text: &str| Conduct::Says(StatusCode::OK, text.as_bytes().to_vec());
    let directory = |nonce: &str| {
        let other = "https://127.0.0.1:1/x";
        json!({"newNonce": nonce, "newAccount": other, "newOrder": other}).to_string()
    };
    let conducts = [
        (Conduct::OtherAnswer, "it could not find this relay at relay.example: its answer [31m is"),
        (Conduct::OtherQuestion, "bank.example, which was not ordered"),
        (Conduct::NoChallenge, "offers no tls-alpn-01 for relay.example"),
        (Conduct::NoCertificate, "what it issued cannot be used"),
        (Conduct::OtherName, "is not good for relay.example"),
        (says(""), "no directory of an authority"),
        (says("\u{0}\u{1b}[2J"), "no directory of an authority"),
        (says(&directory("no address at all\n")), "no directory of an authority"),
        (says(&directory("http://127.0.0.1:1/plain")), "no directory of an authority"),
        (says(&directory("https://127.0.0.1:1/nobody")), "cannot be reached"),
        (Conduct::Says(StatusCode::OK, vec![b' '; 2 << 20]), "has more than 1048576 bytes"),
    ];
    authority.behave(conducts[0].0.clone());
    let relay = start(folder.path(), &authority.directory, &authority.roots).await;
    authority.place(at(&relay));
    let mut count = 0;
    for (conduct, expected) in conducts {
        if count > 0 {
            authority.behave(conduct);
            relay.hang_up().await;
        }
        let told = until_failed(&relay, count).await;
        assert!(told.contains(expected), "{told:?} is not {expected}");
        assert!(!told.trim_end().contains(char::is_control), "{told:?}");
        assert!(visit(&relay, &authority.roots, DOMAINS[0]).await.is_none());
        count += 1;
        assert_eq!(failed(&relay).await, count);
    }
    authority.behave(Conduct::Later);
    relay.hang_up().await;
    until_obtained(&relay, 1).await;
    assert_eq!(visit(&relay, &authority.roots, DOMAINS[1]).await.unwrap().0, 200);
    let log = relay.stop().await;
    assert!(!log.contains("panicked"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_damaged_or_forgotten_is_obtained_anew() {
    let (folder, authority, relay) = scene().await;
    until_obtained(&relay, 1).await;
    let acme = relay.data.join("acme");
    relay.stop().await;

    fs::write(acme.join("certificate"), "half a file").unwrap();
    fs::write(acme.join("account"), "{\"version\":1}").unwrap();
    let relay = start(folder.path(), &authority.directory, &authority.roots).await;
    authority.place(at(&relay));
    until_obtained(&relay, 1).await;
    assert_eq!((authority.orders(), authority.accounts().len()), (2, 2));
    let log = relay.stop().await;
    assert!(log.contains("acme/certificate is damaged"), "{log}");
    assert!(log.contains("acme/account is damaged"), "{log}");

    // The second to be forgotten is found out when another contact is told.
    for (count, contact) in [(3, "ops@example.org"), (4, "other@example.org")] {
        fs::remove_file(acme.join("certificate")).unwrap();
        authority.forget();
        let relay = start_as(contact, folder.path(), &authority.directory, &authority.roots).await;
        authority.place(at(&relay));
        until_obtained(&relay, 1).await;
        assert_eq!((authority.orders(), authority.accounts().len()), (count, count));
        assert_eq!(visit(&relay, &authority.roots, DOMAINS[0]).await.unwrap().0, 200);
        relay.stop().await;
    }
    fs::remove_file(acme.join("certificate")).unwrap();
    let (directory, roots) = (&authority.directory, &authority.roots);
    let relay = start_as("third@example.org", folder.path(), directory, roots).await;
    authority.place(at(&relay));
    until_obtained(&relay, 1).await;
    assert_eq!(authority.accounts().len(), 4);
    assert_eq!(authority.accounts()[3]["contact"], json!(["mailto:third@example.org"]));
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_ordered_that_the_disk_would_not_take() {
    let folder = tempfile::tempdir().unwrap();
    let acme = folder.path().join("data/acme");
    fs::create_dir_all(&acme).unwrap();
    std::os::unix::fs::symlink("/dev/full", acme.join("trial.new")).unwrap();
    let authority = Closed::new(folder.path()).open();
    let relay = start(folder.path(), &authority.directory, &authority.roots).await;
    authority.place(at(&relay));
    let told = until_failed(&relay, 0).await;
    assert!(told.contains("No space left on device"), "{told}");
    assert_eq!(authority.accounts().len(), 0);

    // One that is issued all the same is served from memory, and no other is ordered.
    fs::remove_file(acme.join("trial.new")).unwrap();
    fs::create_dir_all(acme.join("certificate/in the way")).unwrap();
    relay.hang_up().await;
    until_failed(&relay, 1).await;
    assert_eq!(visit(&relay, &authority.roots, DOMAINS[0]).await.unwrap().0, 200);
    relay.hang_up().await;
    until_failed(&relay, 2).await;
    assert_eq!(authority.orders(), 1);
    fs::remove_dir_all(acme.join("certificate")).unwrap();
    relay.hang_up().await;
    let kept = async { while !acme.join("certificate").is_file() {} };
    timeout(PATIENCE, kept).await.unwrap();
    relay.stop().await;
    assert_eq!(authority.orders(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn contradictions_are_refused_before_anything_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let closed = Closed::new(folder.path());
    let roots = closed.roots.to_str().unwrap();
    let check =
        async |flags: &[&str]| command(&data, &[&["run", "--check-config"], flags].concat()).await;
    let whole = [
        "--acme-domain",
        "relay.example",
        "--acme-directory",
        closed.directory.as_str(),
        "--acme-terms-agreed",
        "--acme-roots",
        roots,
    ];
    let fine = check(&whole).await;
    assert_eq!(fine.code, Some(0), "{}", fine.stderr);
    let told = format!("obtained from {} for relay.example", closed.directory);
    assert!(fine.stdout.contains(&told), "{}", fine.stdout);
    assert!(fine.stdout.contains("Attention: until there is a certificate"), "{}", fine.stdout);
    let files = ["--tls-certificate", "chain.pem", "--tls-key", "key.pem"];
    for (flags, told) in [
        ([&whole[..], &files].concat(), "give one of the two"),
        (whole[2..].to_vec(), "acme_domains and acme_directory"),
        ([&["--acme-domain", "*.relay.example"], &whole[2..]].concat(), "nobody can prove"),
        ([&whole[..4], &whole[5..]].concat(), "terms of service"),
        ([&whole[..6], &["nowhere.pem"]].concat(), "acme_roots: nowhere.pem cannot be used"),
    ] {
        let refused = check(&flags).await;
        assert_eq!(refused.code, Some(2), "{}", refused.stdout);
        assert!(refused.stderr.contains(told), "{}", refused.stderr);
    }
    assert!(!data.exists());
}
