//! Starting, stopping and being asked.

use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt as _;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::crew;
use crate::process::{Relay, Running, command, program};

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_is_told_to_stop_in_the_middle_of_a_sync_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut relay = Relay::start(&data).await;
    let made = relay.ask(&["tenant", "create", "Gulf Crew"]).await.remove(0);
    let short = made["short"].as_str().unwrap();
    let (admin, operator) =
        (relay.invite("gulf-crew", "admin").await, relay.invite("gulf-crew", "operator").await);
    let lead = crew::join(folder.path(), "lead", &admin).await;
    let hand = crew::join(folder.path(), "hand", &operator).await;
    crew::record_well(&lead, "Alder 1").await;
    for day in 1..=3 {
        crew::record_entries(&lead, "Alder 1", day, 60).await;
        let received = relay.measure("received_bytes_total", short).await;
        let address = relay.address();
        let syncing = crew::try_sync(&lead, &address);
        let stopping = async {
            relay.measured("received_bytes_total", short, |bytes| bytes > received).await;
            relay.terminate().await;
        };
        // However the sync ends: the relay may have been quick enough.
        tokio::join!(syncing, stopping);
        relay.stopped().await;
        relay = Relay::start(&data).await;
        assert_eq!(relay.get("/healthz").await.0, 200);
    }
    crew::sync(&lead, &relay.address()).await;
    crew::sync(&hand, &relay.address()).await;
    crew::assert_equal(&[&lead, &hand], 180).await;
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_balancer_hears_that_a_relay_stops_while_its_last_request_is_answered() {
    let folder = tempfile::tempdir().unwrap();
    let relay = Relay::start_with(folder.path(), &["--operations", "127.0.0.1:0"]).await;
    let mut last = begin_request(&relay).await;

    relay.terminate().await;
    relay.stopping().await;
    for port in ["http", "operations"] {
        assert_eq!(relay.get_at(port, "/readyz").await, (503, "stopping\n".into()));
        assert_eq!(relay.get_at(port, "/healthz").await.0, 200);
    }
    assert_eq!(relay.get("/sync/pull").await.0, 503);

    last.write_all(b"{}").await.unwrap();
    let mut answer = String::new();
    last.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains("HTTP/1.1 400"), "{answer}");
    relay.stopped().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_a_relay_whatever_it_waits_for() {
    let folder = tempfile::tempdir().unwrap();
    let relay = Relay::start(folder.path()).await;
    let _last = begin_request(&relay).await;
    relay.terminate().await;
    relay.stopping().await;
    relay.terminate().await;
    let (code, log) = relay.ended().await;
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("ended before everything was closed"), "{log}");
}

/// A request that the relay has begun to read, and that ends with the two bytes of its body.
async fn begin_request(relay: &Relay) -> TcpStream {
    let mut stream = TcpStream::connect(relay.ready["http"].as_str().unwrap()).await.unwrap();
    let head = "POST /auth/login HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
                content-length: 2\r\nexpect: 100-continue\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    // Whoever asks for the body has begun with the request.
    let mut asked = [0; 12];
    stream.read_exact(&mut asked).await.unwrap();
    assert_eq!(&asked, b"HTTP/1.1 100");
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_relay_on_the_same_data_is_refused_and_names_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let relay = Relay::start(folder.path()).await;
    let second = command(folder.path(), &["run"]).await;
    assert_eq!(second.code, Some(7));
    assert!(second.stderr.contains(&relay.pid().to_string()), "{}", second.stderr);
    let socket = relay.ready["socket"].as_str().unwrap().to_owned();
    let mode = std::fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    relay.stop().await;
    assert!(!std::path::Path::new(&socket).exists());
    Relay::start(folder.path()).await.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_explained() {
    let folder = tempfile::tempdir().unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let taken = socket.local_addr().unwrap().to_string();
    let ended = command(folder.path(), &["run", "--http", "127.0.0.1:0", "--quic", &taken]).await;
    assert_eq!(ended.code, Some(1));
    for words in [taken.as_str(), "in use", "--quic"] {
        assert!(ended.stderr.contains(words), "{}", ended.stderr);
    }
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = socket.local_addr().unwrap().to_string();
    let ended = command(folder.path(), &["run", "--quic", "127.0.0.1:0", "--http", &taken]).await;
    assert_eq!(ended.code, Some(1));
    for words in [taken.as_str(), "in use", "--http"] {
        assert!(ended.stderr.contains(words), "{}", ended.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tcp_port_that_nobody_asked_for_stops_no_relay() {
    let folder = tempfile::tempdir().unwrap();
    let web_server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = web_server.local_addr().unwrap().to_string();
    let flags = ["--quic", &taken, "--http", "127.0.0.1:0"];
    let relay = Relay::start_at(folder.path(), &flags).await;
    assert_eq!((relay.address(), relay.ready["tcp"].is_null()), (taken.clone(), true));
    let warning = relay.ready["tcpWarning"].as_str().unwrap().to_owned();
    assert!(warning.contains(&taken) && warning.contains("--tcp off"), "{warning}");
    let log = relay.stop().await;
    assert!(log.contains("TCP for devices needs attention"), "{log}");

    drop(web_server);
    let relay = Relay::start_at(folder.path(), &["--quic", &taken, "--http", &taken]).await;
    assert_eq!(relay.ready["http"], taken);
    assert!(relay.ready["tcp"].is_null(), "{}", relay.ready);
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tcp_port_that_was_asked_for_and_is_taken_is_explained() {
    let folder = tempfile::tempdir().unwrap();
    let web_server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = web_server.local_addr().unwrap().to_string();
    let run = ["run", "--http", "127.0.0.1:0", "--quic", "127.0.0.1:0", "--tcp", &taken];
    let ended = command(folder.path(), &run).await;
    assert_eq!(ended.code, Some(1));
    for words in [taken.as_str(), "on TCP", "--tcp off"] {
        assert!(ended.stderr.contains(words), "{}", ended.stderr);
    }
    let clash = ["run", "--check-config", "--http", &taken, "--tcp", &taken];
    let ended = command(folder.path(), &clash).await;
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.contains("another address with --tcp"), "{}", ended.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn flags_win_over_the_environment_and_that_over_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("relay.toml");
    let text = "quic = '127.0.0.9:0'\nhttp = '127.0.0.9:0'\nlog_format = 'json'\n\
                public_addresses = ['relay.example.org', '192.0.2.7:443']";
    std::fs::write(&config, text).unwrap();
    let mut run = program(&folder.path().join("data"));
    run.env("SYNC_RELAY_CONFIG", &config)
        .env("SYNC_RELAY_QUIC", "127.0.0.8:0")
        .env("SYNC_RELAY_HTTP", "127.0.0.8:0")
        .args(["--json", "run", "--http", "127.0.0.1:0"]);
    let mut running = Running::start(run);
    let ready = running.line().await;
    let quic = ready["quic"].as_str().unwrap();
    let port = quic.strip_prefix("127.0.0.8:").unwrap();
    assert!(ready["http"].as_str().unwrap().starts_with("127.0.0.1:"), "{ready}");
    assert_eq!(ready["addresses"][0], format!("relay.example.org:{port}"));
    assert_eq!(ready["addresses"][1], "192.0.2.7:443");
    running.signal("-INT").await;
    let (code, log) = running.end().await;
    assert_eq!(code, Some(0));
    let mut lines =
        log.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    // A machine that allows few open files is told so before.
    let ready = lines.find(|line| line["message"] == "ready").unwrap();
    assert_eq!(ready["level"], "INFO");

    std::fs::write(&config, "quick = '127.0.0.9:0'").unwrap();
    let arguments = ["--config", config.to_str().unwrap(), "tenant", "list"];
    let ended = command(folder.path(), &arguments).await;
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.contains("did you mean \"quic\""), "{}", ended.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn invite_serves_the_invitation_itself_where_no_relay_runs() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    assert_eq!(command(&data, &["tenant", "create", "Gulf Crew"]).await.code, Some(0));
    let mut invite = program(&data);
    invite.args(["--json", "invite", "--tenant", "gulf-crew", "--quic", "127.0.0.1:0"]);
    let mut running = Running::start(invite);
    let line = running.line().await;
    // Meanwhile other commands ask it.
    let devices = command(&data, &["--json", "device", "list", "--tenant", "gulf-crew"]).await;
    assert_eq!(devices.json().len(), 1);
    crew::join(folder.path(), "hand", line["invitation"].as_str().unwrap()).await;
    let (code, log) = running.end().await;
    assert_eq!(code, Some(0), "{log}");
    let devices = command(&data, &["--json", "device", "list", "--tenant", "gulf-crew"]).await;
    assert_eq!(devices.json().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_that_cannot_be_opened_is_reported_and_others_are_made_and_served() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let create = async |name| command(&data, &["--json", "tenant", "create", name]).await.json();
    let broken = create("Gulf Crew").await.remove(0)["short"].as_str().unwrap().to_owned();
    for name in ["identity", "identity.copy"] {
        let path = data.join("tenants").join(&broken).join(name);
        std::fs::write(path, "not an identity").unwrap();
    }
    // What serves nobody goes on where no tenant can be opened.
    let list = command(&data, &["tenant", "list"]).await;
    assert!(list.code == Some(0) && list.stderr.contains(&broken), "{}", list.stderr);
    let devices = command(&data, &["device", "list", "--tenant", "gulf-crew"]).await;
    let why = "`sync-relay tenant list` shows them and why 1 of its folders cannot be served";
    assert!(devices.code == Some(4) && devices.stderr.contains(why), "{}", devices.stderr);
    let refused = command(&data, &["run", "--quic", "127.0.0.1:0", "--http", "127.0.0.1:0"]).await;
    assert!(refused.code == Some(7) && refused.stderr.contains("is damaged"), "{}", refused.stderr);
    create("Permian West").await;
    let relay = Relay::start(&data).await;
    assert_eq!(relay.ready["tenants"], 1);
    let (status, reason) = relay.get("/healthz").await;
    assert_eq!(status, 503);
    assert!(reason.contains(&broken) && reason.contains("damaged"), "{reason}");
    assert!(relay.get("/metrics").await.1.contains("\nsync_relay_tenants_broken 1\n"));
    let list = command(&data, &["tenant", "list"]).await;
    assert!(list.stdout.contains("Permian West") && list.stderr.contains(&broken));
    let lead = relay.invite("permian-west", "admin").await;
    crew::join(folder.path(), "lead", &lead).await;
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_leads_apps_nowhere_is_told_by_the_check_and_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let (data, config) = (folder.path().join("data"), folder.path().join("relay.toml"));
    let config_flag = config.to_str().unwrap().to_owned();
    let write = |tenants: &str| {
        let text = format!(
            "http = '0.0.0.0:0'\nquic = '127.0.0.1:0'\ndomain = 'http://relay.example'\n{tenants}"
        );
        std::fs::write(&config, text).unwrap();
    };
    let check = ["--json", "--config", &config_flag, "run", "--check-config"];
    write("[tenants.one]\naliases = ['two']\n[tenants.two]");
    let doubled = command(&data, &check).await;
    assert_eq!(doubled.code, Some(2));
    assert!(doubled.stderr.contains("a name of [tenants.two]"), "{}", doubled.stderr);

    for name in ["Gulf Crew", "Delta"] {
        command(&data, &["--json", "tenant", "create", name]).await.json();
    }
    write("[tenants.gulf-crew]\naliases = ['delta', 'acme']\n[tenants.golf-crew]");
    let checked = command(&data, &check).await.json().remove(0);
    assert_eq!(checked["warnings"].as_array().unwrap().len(), 2, "{checked}");
    let mut run = program(&data);
    run.args(["--json", "--config", &config_flag, "run"]);
    let mut running = Running::start(run);
    let ready = running.line().await;
    let warnings = ready["warnings"].to_string();
    for words in ["unencrypted", "no name of a host", "[tenants.golf-crew]", "\\\"delta\\\""] {
        assert!(warnings.contains(words), "{words}: {warnings}");
    }
    assert_eq!(ready["warnings"].as_array().unwrap().len(), 4, "{warnings}");
    running.signal("-INT").await;
    let (code, log) = running.end().await;
    assert!(code == Some(0) && log.contains("[tenants.golf-crew]"), "{log}");
}
