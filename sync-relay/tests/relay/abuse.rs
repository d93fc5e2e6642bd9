//! Whatever strangers send to the ports of the real program, it answers nothing that it should not,
//! fails at nothing, and goes on serving everybody else.

use std::net::{SocketAddr, UdpSocket};
use std::path::Path;

use serde_json::{Value as Json, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::crew;
use crate::process::{PATIENCE, Relay, command, command_with_input};
use crate::users::http;

const EMAIL: &str = "ana@example.org";
const PASSWORD: &str = "tumbleweed 7";
/// A request that no answer may be to when it lies in the body of another.
const INNER: &str = "GET /readyz HTTP/1.1\r\nhost: x\r\n\r\n";
/// Datagrams of a flood.
const DATAGRAMS: usize = 5_000;

/// A relay with two tenants, and the token of a person of the first.
async fn scene(data: &Path) -> (Relay, String) {
    for name in ["Acme", "Other"] {
        command(data, &["--json", "tenant", "create", name, "--gateway"]).await.json();
    }
    let add = ["user", "add", "--tenant", "acme", EMAIL, "--role", "admin", "--password-stdin"];
    command_with_input(data, &add, &format!("{PASSWORD}\n")).await;
    let flags = ["--domain", "relay.example", "--address-requests-a-second", "100000"];
    let relay = Relay::start_with(data, &flags).await;
    let login = json!({ "email": EMAIL, "password": PASSWORD }).to_string();
    let headers = "content-type: application/json\r\nx-tenant-subdomain: acme\r\n";
    let (status, session) = http(&relay, "POST /auth/login", headers, &login).await;
    assert_eq!(status, 200, "{session}");
    (relay, session["accessToken"].as_str().unwrap().to_owned())
}

/// Everything that is answered to these bytes, until the relay ends the connection.
async fn raw(relay: &Relay, bytes: &[u8]) -> String {
    let address: SocketAddr = relay.ready["http"].as_str().unwrap().parse().unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut reader, mut writer) = stream.into_split();
    // Whoever refuses early may hang up before all of it is sent.
    let sending = async { writer.write_all(bytes).await };
    let mut answer = Vec::new();
    let exchange = async { tokio::join!(sending, reader.read_to_end(&mut answer)) };
    let _ = timeout(PATIENCE, exchange).await.expect("the relay ends the connection");
    String::from_utf8_lossy(&answer).into_owned()
}

/// The statuses of all answers in a conversation.
fn statuses(answers: &str) -> Vec<u16> {
    let parts = answers.split("HTTP/1.1 ").skip(1);
    parts.map(|part| part[..3].parse().unwrap()).collect()
}

/// It serves on, counts no fault, and says nothing of one.
async fn assert_unharmed(relay: Relay) {
    let (status, measured) = relay.get("/metrics").await;
    assert_eq!(status, 200);
    for line in measured.lines() {
        let is_fault = line.starts_with("sync_relay_http_defects_total")
            || line.starts_with("sync_relay_http_responses_total{status=\"5xx\"}");
        assert!(!is_fault || line.ends_with(" 0"), "{line}");
    }
    let log = relay.stop().await;
    assert!(!log.contains("panicked at") && !log.contains(" ERROR "), "{log}");
}

#[tokio::test]
async fn a_request_in_the_body_of_another_is_never_answered() {
    let folder = tempfile::tempdir().unwrap();
    let (relay, _) = scene(&folder.path().join("data")).await;
    let chunked = format!("0\r\n\r\n{INNER}");
    let length = chunked.len();
    for (head, body) in [
        (format!("content-length: {length}\r\ntransfer-encoding: chunked\r\n"), chunked.as_str()),
        (format!("transfer-encoding: chunked\r\ncontent-length: {length}\r\n"), &chunked),
        (format!("content-length: 0\r\ncontent-length: {}\r\n", INNER.len()), INNER),
        (format!("content-length: 0, {}\r\n", INNER.len()), INNER),
        ("content-length: +0\r\n".into(), INNER),
        ("content-length: -1\r\n".into(), INNER),
        ("content-length: 0x10\r\n".into(), INNER),
        ("content-length: 18446744073709551616\r\n".into(), INNER),
        ("content-length : 0\r\n".into(), INNER),
        ("content-length: 5\r\n 0\r\n".into(), INNER),
        ("transfer-encoding: xchunked\r\n".into(), &chunked),
        ("transfer-encoding: chunked, identity\r\n".into(), &chunked),
        ("transfer-encoding: identity\r\n".into(), INNER),
        ("transfer-encoding : chunked\r\n".into(), &chunked),
        ("transfer-encoding:\x0bchunked\r\n".into(), &chunked),
        ("transfer-encoding: chunked\r\n".into(), "FFFFFFFFFFFFFFFFFF\r\nx\r\n0\r\n\r\n"),
        ("transfer-encoding: chunked\r\n".into(), "-1\r\nx\r\n0\r\n\r\n"),
        ("transfer-encoding: chunked\r\n".into(), "1\r\nxyz\r\n0\r\n\r\n"),
        ("x: a\0b\r\n".into(), INNER),
    ] {
        let login = "POST /auth/login HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n";
        let answers = raw(&relay, format!("{login}{head}\r\n{body}").as_bytes()).await;
        let all = statuses(&answers);
        assert!(all.len() <= 1 && all.iter().all(|status| status / 100 == 4), "{head}: {answers}");
        assert!(!answers.contains("ready"), "{head}: {answers}");
    }
    assert_unharmed(relay).await;
}

#[tokio::test]
async fn no_path_leads_out_of_what_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let (relay, token) = scene(&folder.path().join("data")).await;
    let paths = [
        "/../relay.key",
        "/%2e%2e/relay.key",
        "/upload/../relay.key",
        "/upload/..",
        "/upload/..%2f..%2frelay.key",
        "/upload/%2e%2e%2f%2e%2e%2frelay.key",
        "/upload/..%5c..%5crelay.key",
        "/upload/%00",
        "/upload/%2fetc%2fpasswd",
        "//sync/pull",
        "/sync//pull",
        "/sync/pull/",
        "/sync/./pull",
        "/x/../sync/pull",
        "/sync%2fpull",
        "/sync/pull;a=b",
        "/sync/pull%00",
        "/SYNC/PULL",
        "/dialect/../sync/pull",
        "/dialect/vet/sync/pull",
        "/dialect/wellpulse/metrics",
        "/%",
        "/%ff%fe",
        "/v1/tenants",
        "*",
    ];
    for path in paths {
        let headers = format!("authorization: Bearer {token}\r\n");
        let (status, answer) = http(&relay, &format!("GET {path}"), &headers, "").await;
        assert!([400, 404, 405].contains(&status), "{path}: {status} {answer}");
    }
    for method in ["TRACE", "CONNECT", "PROPFIND", "get", "PUT", &"A".repeat(1_000)] {
        let (status, answer) = http(&relay, &format!("{method} /sync/pull"), "", "").await;
        assert!([400, 404, 405].contains(&status), "{method}: {status} {answer}");
    }
    assert_unharmed(relay).await;
}

#[tokio::test]
async fn a_host_opens_no_other_tenant_and_no_figures() {
    let folder = tempfile::tempdir().unwrap();
    let (relay, token) = scene(&folder.path().join("data")).await;
    let ask = async |line: &str, headers: &str| {
        let head = format!("{line} HTTP/1.1\r\nauthorization: Bearer {token}\r\n{headers}");
        let answers = raw(&relay, format!("{head}connection: close\r\n\r\n").as_bytes()).await;
        statuses(&answers)
    };
    let own = "host: acme.relay.example\r\n";
    let other = "host: other.relay.example\r\n";
    assert_eq!(ask("GET /sync/pull", own).await, [200]);
    assert_eq!(ask("GET /sync/pull", other).await, [403]);
    // A request line names the host as well. Of two hosts none names a tenant: the token does alone.
    assert_eq!(ask("GET http://other.relay.example/sync/pull", own).await, [403]);
    for two in [format!("{own}{other}"), format!("{other}{own}")] {
        assert_eq!(ask("GET /sync/pull", &two).await, [200], "{two}");
        let login = json!({ "email": EMAIL, "password": PASSWORD }).to_string();
        let (length, json) = (login.len(), "content-type: application/json");
        let login = format!(
            "POST /auth/login HTTP/1.1\r\n{two}{json}\r\ncontent-length: {length}\r\n\
             connection: close\r\n\r\n{login}"
        );
        assert_eq!(statuses(&raw(&relay, login.as_bytes()).await), [400], "{two}");
    }
    for odd in ["host: \r\n", "host: a b\r\n", "host: acme.relay.example@other\r\n"] {
        let all = ask("GET /sync/pull", odd).await;
        assert!(all.iter().all(|status| [200, 400, 403, 404].contains(status)), "{odd}: {all:?}");
    }
    for passed_on in ["x-forwarded-for: 127.0.0.1\r\n", "forwarded: for=127.0.0.1\r\n"] {
        assert_eq!(ask("GET /metrics", &format!("host: localhost\r\n{passed_on}")).await, [404]);
    }
    assert_unharmed(relay).await;
}

#[tokio::test]
async fn heads_and_bodies_beyond_all_measure_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (relay, token) = scene(&folder.path().join("data")).await;
    let many: String = (0..2_000).map(|number| format!("x-{number}: y\r\n")).collect();
    for head in [
        format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "a".repeat(70_000)),
        format!("GET / HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "a".repeat(1 << 20)),
        format!("GET / HTTP/1.1\r\nhost: x\r\n{many}\r\n"),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(),
        "\x16\x03\x01\x02\x00\x01\x00\x01\u{fc}\x03\x03 a greeting of TLS \r\n\r\n".into(),
        "GET /\r\n\r\n".into(),
    ] {
        let all = statuses(&raw(&relay, head.as_bytes()).await);
        assert!(all.len() <= 1 && all.iter().all(|status| status / 100 == 4), "{head:.40}");
    }
    let bomb = zstd::encode_all(&vec![b' '; 256 << 20][..], 3).unwrap();
    let deep = [vec![b'['; 1 << 20], vec![b']'; 1 << 20]].concat();
    let keys: String = (0..200_000).map(|key| format!("\"{key}\":0,")).collect();
    let wide = format!("{{{keys}\"deviceId\":\"T\",\"entries\":[]}}").into_bytes();
    for (coding, body, wanted) in [
        ("zstd", bomb.clone(), 413),
        ("zstd, zstd", bomb, 415),
        ("gzip", b"\x1f\x8b\x08 and no more".to_vec(), 400),
        ("identity", deep, 400),
        ("identity", b"\"\\ud800\"".to_vec(), 400),
        ("identity", wide, 200),
    ] {
        let head = format!(
            "POST /sync/push HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\
             content-type: application/json\r\ncontent-encoding: {coding}\r\n\
             connection: close\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let answers = raw(&relay, &[head.as_bytes(), &body].concat()).await;
        assert_eq!(statuses(&answers), [wanted], "{coding}: {answers:.300}");
    }
    let promised = format!(
        "POST /sync/push HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\
         connection: close\r\ncontent-length: 99999999999\r\n\r\n"
    );
    assert_eq!(statuses(&raw(&relay, promised.as_bytes()).await), [413]);
    assert_unharmed(relay).await;
}

#[tokio::test]
async fn whoever_guesses_tokens_is_told_to_wait_and_nobody_else_is() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    command(&data, &["--json", "tenant", "create", "Acme", "--gateway"]).await.json();
    let flags = ["--address-requests-a-second", "5", "--trusted-proxy", "127.0.0.1"];
    let relay = Relay::start_with(&data, &flags).await;
    let guess = async |number: usize, from: &str| -> (u16, Json) {
        let token = format!("authorization: Bearer a.{number}.c\r\nx-forwarded-for: {from}\r\n");
        http(&relay, "GET /sync/pull", &token, "").await
    };
    let guessing = async {
        for number in 0.. {
            match guess(number, "192.0.2.1").await.0 {
                401 => {}
                status => return status,
            }
        }
        0
    };
    assert_eq!(timeout(PATIENCE, guessing).await.unwrap(), 429);
    assert_eq!(guess(0, "192.0.2.2").await.0, 401);
    assert_unharmed(relay).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_noise_on_the_port_of_devices_stops_no_sync() {
    let folder = tempfile::tempdir().unwrap();
    let (relay, _) = scene(&folder.path().join("data")).await;
    let lead = crew::join(folder.path(), "lead", &relay.invite("acme", "admin").await).await;
    let to: SocketAddr = relay.address().parse().unwrap();
    let flood = tokio::task::spawn_blocking(move || {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        for number in 0..DATAGRAMS {
            // One in two has the form of a first packet of QUIC, with a version that is none.
            let mut datagram = vec![u8::try_from(number % 251).unwrap(); 1_200];
            if number % 2 == 0 {
                datagram[..5].copy_from_slice(&[0xc3, 0x0a, 0x1a, 0x2a, 0x3a]);
            }
            // What the system does not take is not sent.
            let _ = socket.send_to(&datagram, to);
        }
    });
    crew::record_well(&lead, "Alder 1").await;
    crew::sync(&lead, &relay.address()).await;
    flood.await.unwrap();
    crew::record_entries(&lead, "Alder 1", 1, 1).await;
    crew::sync(&lead, &relay.address()).await;
    lead.shutdown().await.unwrap();
    assert_unharmed(relay).await;
}
