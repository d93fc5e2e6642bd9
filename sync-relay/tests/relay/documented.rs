//! The document that the relay serves, and its page.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use data_encoding::BASE64;
use ring::digest;
use serde_json::Value as Json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::process::{Relay, command};

/// Status, headers and body of a request without a token.
async fn ask(relay: &Relay, method: &str, path: &str) -> (u16, BTreeMap<String, String>, String) {
    let address: SocketAddr = relay.ready["http"].as_str().unwrap().parse().unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n");
    let whole = format!("{head}accept: application/json\r\ncontent-length: 0\r\n\r\n");
    stream.write_all(whole.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines.filter_map(|line| line.split_once(": "));
    let headers = headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
    (status, headers, body.to_owned())
}

async fn started(folder: &tempfile::TempDir) -> Relay {
    let data = folder.path().join("data");
    command(&data, &["tenant", "create", "Permian West", "--gateway"]).await;
    Relay::start_with(&data, &["--address-requests-a-second", "10000"]).await
}

#[tokio::test]
async fn what_the_relay_serves_is_in_the_document_and_the_reverse() {
    let folder = tempfile::tempdir().unwrap();
    let relay = started(&folder).await;
    let (status, headers, body) = ask(&relay, "GET", "/openapi.json").await;
    assert_eq!((status, headers["content-type"].as_str()), (200, "application/json"));
    let document: Json = serde_json::from_str(&body).unwrap();
    let paths = document["paths"].as_object().unwrap();
    for path in ["/sync/pull", "/metrics", "/healthz", "/readyz", "/openapi.json", "/docs"] {
        assert!(paths.contains_key(path), "{path}");
    }
    for (path, media, kind) in [
        ("/openapi.json", "application/json", "object"),
        ("/docs", "text/html", "string"),
        ("/healthz", "text/plain", "string"),
    ] {
        let answer = &paths[path]["get"]["responses"]["200"]["content"][media];
        assert_eq!(answer["schema"]["type"], kind, "{path}");
    }
    for (path, item) in paths {
        let asked = path.replace('{', "a").replace('}', "z");
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
            let known = &item[method.to_lowercase()];
            let (status, ..) = ask(&relay, method, &asked).await;
            assert_eq!(status != 405, known.is_object(), "{method} {path}: {status}");
            if known.is_object() {
                let statuses = known["responses"].as_object().unwrap();
                assert!(statuses.contains_key(&status.to_string()), "{method} {path}: {status}");
            }
        }
    }
    for path in ["/", "/openapi", "/sync", "/api", "/docs/", "/v1/openapi.json"] {
        assert_eq!(ask(&relay, "GET", path).await.0, 404, "{path}");
    }
    relay.stop().await;
}

#[tokio::test]
async fn nobody_has_the_document_more_often_than_anything_else() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    command(&data, &["tenant", "create", "Permian West"]).await;
    let relay = Relay::start_with(&data, &["--address-requests-a-second", "3"]).await;
    let mut answered = 0;
    for path in ["/docs", "/openapi.json"].iter().cycle().take(200) {
        let (status, headers, _) = ask(&relay, "GET", path).await;
        if status == 429 {
            assert!(headers.contains_key("retry-after"));
            break;
        }
        assert_eq!(status, 200);
        answered += 1;
    }
    assert!((3..200).contains(&answered), "{answered}");
    relay.stop().await;
}

#[tokio::test]
async fn the_page_may_load_its_own_style_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let relay = started(&folder).await;
    let (status, headers, page) = ask(&relay, "GET", "/docs").await;
    assert_eq!((status, headers["content-type"].as_str()), (200, "text/html; charset=utf-8"));
    assert_eq!(headers["x-content-type-options"], "nosniff");
    assert_eq!(headers["x-frame-options"], "DENY");
    let (_, rest) = page.split_once("<style>").unwrap();
    let (style, rest) = rest.split_once("</style>").unwrap();
    assert!(!rest.contains("<style") && !page.contains("<script"), "one style and no script");
    let hash = BASE64.encode(digest::digest(&digest::SHA256, style.as_bytes()).as_ref());
    let policy = &headers["content-security-policy"];
    assert!(policy.contains(&format!("style-src 'sha256-{hash}'")), "{policy}");
    assert!(policy.starts_with("default-src 'none';"), "{policy}");
    // Everything else keeps the policy of data.
    let (_, headers, _) = ask(&relay, "GET", "/api/health").await;
    let policy = "default-src 'none'; frame-ancestors 'none'";
    assert_eq!(headers["content-security-policy"], policy);
    relay.stop().await;
}
