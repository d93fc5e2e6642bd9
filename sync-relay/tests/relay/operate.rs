//! What an operator does with a relay that runs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use data_encoding::BASE64;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::process::{Relay, command, program};

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

#[tokio::test(flavor = "multi_thread")]
async fn a_check_says_how_many_tenants_the_system_lets_a_relay_keep_open() {
    let folder = tempfile::tempdir().unwrap();
    let few = async |arguments: &[&str]| {
        let mut check = tokio::process::Command::new("sh");
        check.args([
            "-c",
            "ulimit -n 1000 && exec \"$0\" \"$@\"",
            env!("CARGO_BIN_EXE_sync-relay"),
        ]);
        check.arg("--data").arg(folder.path().join("data")).args(arguments);
        String::from_utf8(check.output().await.unwrap().stdout).unwrap()
    };
    let words = few(&["run", "--check-config"]).await;
    assert!(words.contains("9 of the 500 that are set: few files"), "{words}");
    let words = few(&["run", "--check-config", "--open-tenants-max", "9"]).await;
    assert!(words.contains("open at a time 9\n"), "{words}");
    let checked: serde_json::Value =
        serde_json::from_str(&few(&["--json", "run", "--check-config"]).await).unwrap();
    assert_eq!(
        (&checked["openTenantsMax"], &checked["openTenantsFitting"]),
        (&500.into(), &9.into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_list_has_twice_is_told_however_it_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let (data, config) = (folder.path().join("data"), folder.path().join("relay.toml"));
    let told = async |text: &str| {
        std::fs::write(&config, text).unwrap();
        let arguments = ["--config", config.to_str().unwrap(), "run", "--check-config"];
        let checked = command(&data, &arguments).await;
        assert_eq!(checked.code, Some(0), "{}", checked.stderr);
        let lines = checked.stdout.lines().filter(|line| line.starts_with("Attention: "));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    for usual in [
        "public_addresses = ['a.example', 'a.example:443', '192.0.2.7']",
        "allowed_origins = ['https://a.example', 'http://a.example', 'https://a.example:80']",
        "trusted_proxies = ['10.0.0.0/8', '10.0.0.0']",
        "[tenants.a]\naliases = ['c']\ndialects = ['vet', 'health']",
    ] {
        assert_eq!(told(usual).await, [] as [&str; 0], "{usual}");
    }
    for (odd, words) in [
        ("public_addresses = ['a.example', 'A.example.']", "which are the same"),
        ("public_addresses = ['a.example', 'a.example:7843']", "which are the same"),
        ("quic = '[::]:9'\npublic_addresses = ['192.0.2.7', '192.0.2.7:9']", "keep one"),
        ("public_addresses = ['a.example', 'a.example']", "more than once"),
        ("trusted_proxies = ['10.0.0.1', '10.0.0.1/32']", "trusted_proxies has"),
        ("allowed_origins = ['https://a.example', 'https://A.example.:443']", "keep one"),
        ("operations_names = ['relay', 'Relay.']", "operations_names has"),
        ("[tenants.a]\naliases = ['c', ' C']", "aliases of [tenants.a] has"),
        ("[tenants.a]\ndialects = ['vet', 'vet']", "dialects of [tenants.a] has"),
    ] {
        let told = told(odd).await;
        assert!(told.len() == 1 && told[0].contains(words), "{odd}: {told:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_another_site_reads_no_figures_whatever_its_name_means() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let relay = Relay::start(&data).await;
    for (host, status) in [("evil.example", 404), ("localhost:9", 200), ("127.0.0.1", 200)] {
        assert_eq!(relay.get_as("http", "/metrics", host).await.0, status, "{host}");
    }
    relay.stop().await;
    let own = ["--operations", "127.0.0.1:0", "--public", "relay.example.org"];
    let own = [&own[..], &["--operations-name", "relay.cluster.internal"]].concat();
    let relay = Relay::start_with(&data, &own).await;
    for (host, status) in [
        ("evil.example", 403),
        ("other.example", 403),
        ("relay:9", 200),
        ("relay.example.org:7881", 200),
        ("relay.cluster.internal.:7881", 200),
        ("[::1]", 200),
    ] {
        assert_eq!(relay.get_as("operations", "/metrics", host).await.0, status, "{host}");
        // Whether it is well is no secret, and balancers ask by any name.
        assert_eq!(relay.get_as("operations", "/readyz", host).await.0, 200, "{host}");
    }
    let (_, told) = relay.get_as("operations", "/metrics", "evil.example").await;
    assert!(told.contains("operations_names, public_addresses, domain or acme_domains"), "{told}");
    // Once, so that nobody fills a disk with it.
    let log = relay.stop().await;
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("operations_names")).collect();
    assert!(lines.len() == 1 && lines[0].contains("evil.example"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_variable_of_the_environment_that_makes_no_sense_is_named() {
    let folder = tempfile::tempdir().unwrap();
    for (name, value, words) in [
        ("SYNC_RELAY_CONFIG", "", "SYNC_RELAY_CONFIG is set in the environment and empty"),
        ("SYNC_RELAY_QUIC", "", "SYNC_RELAY_QUIC is set in the environment and empty"),
        ("SYNC_RELAY_HTTP", "7880", "SYNC_RELAY_HTTP in the environment says this"),
    ] {
        let mut check = program(folder.path());
        check.env(name, value).args(["run", "--check-config"]);
        let ended = check.output().await.unwrap();
        let told = String::from_utf8(ended.stderr).unwrap();
        assert!(ended.status.code() == Some(2) && told.contains(words), "{name}: {told}");
    }
    let twice = ["run", "--check-config", "--http", "127.0.0.1:80", "--operations", "127.0.0.1:80"];
    let ended = command(folder.path(), &twice).await;
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.contains("cannot both listen there"), "{}", ended.stderr);
}
