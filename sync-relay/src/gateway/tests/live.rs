//! Streams of what happens, and what ends them.

use std::time::Duration;

use fieldmesh_http::{Settings, Shares};
use fieldmesh_model::Role;
use serde_json::{Value as Json, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::client::Ask;
use super::patience::{answered, is_closed, served};
use super::scene::{PASSWORD, Scene, WELL, tenant};
use crate::accounts::{self, Sessions};

const ANN: &str = "ann@example.org";

/// A server whose streams prove their tokens often.
async fn scene() -> Scene {
    let heartbeat = Duration::from_millis(20);
    Scene::with(Settings { heartbeat, ..Settings::default() }).await
}

/// A request for a WebSocket.
fn websocket(token: &str) -> Vec<u8> {
    let ask = Ask::get("/sync/live")
        .with("upgrade", "websocket")
        .with("sec-websocket-version", "13")
        .with("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .with("sec-websocket-protocol", &format!("bearer, {token}"));
    let bytes = String::from_utf8(ask.bytes()).unwrap();
    bytes.replace("connection: close", "connection: upgrade").into_bytes()
}

/// A connection on which this was sent, and the head of the answer.
async fn asked(scene: &Scene, bytes: &[u8]) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(scene.address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let head = until(&mut stream, b"\r\n\r\n").await;
    (stream, String::from_utf8(head).unwrap())
}

/// Reads on until `end` was read.
async fn until(stream: &mut TcpStream, end: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(end) {
        bytes.push(stream.read_u8().await.unwrap());
    }
    bytes
}

fn disable(scene: &Scene) {
    let book = scene.accounts.of(tenant(0)).unwrap();
    book.update(ANN, accounts::now(), Sessions::End, |account| account.is_disabled = true).unwrap();
}

#[tokio::test]
async fn a_page_in_a_browser_hears_what_happens_until_its_person_is_disabled() {
    let scene = scene().await;
    let token = scene.token(0, ANN, Role::Operator).await;
    let (mut stream, head) = asked(&scene, &websocket(&token)).await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    assert!(head.to_lowercase().contains("sec-websocket-protocol: bearer\r\n"), "{head}");
    let (kind, text) = message(&mut stream).await;
    let change: Json = serde_json::from_slice(&text).unwrap();
    assert_eq!((kind, &change["type"]), (TEXT, &"change".into()));
    assert_eq!(change["well"]["id"], WELL);
    assert_eq!(message(&mut stream).await.0, PING);
    assert_eq!(scene.shell.counts().measured().live, 1);
    disable(&scene);
    let (kind, reason) = loop {
        let message = message(&mut stream).await;
        if message.0 != PING {
            break message;
        }
    };
    // 1008: what the client is no longer allowed.
    assert_eq!((kind, &reason[..2]), (CLOSE, &1_008_u16.to_be_bytes()[..]));
}

const TEXT: u8 = 0x81;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;

/// The next message of a server: its kind and contents.
async fn message(stream: &mut TcpStream) -> (u8, Vec<u8>) {
    let kind = stream.read_u8().await.unwrap();
    let length = match stream.read_u8().await.unwrap() {
        126 => stream.read_u16().await.unwrap().into(),
        127 => panic!("no message is so long"),
        length => usize::from(length),
    };
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).await.unwrap();
    (kind, bytes)
}

#[tokio::test]
async fn a_client_without_websockets_hears_events_until_its_person_is_disabled() {
    let scene = scene().await;
    let token = scene.token(0, ANN, Role::Operator).await;
    let bytes = Ask::get("/sync/live").token(&token).bytes();
    let mut stream = TcpStream::connect(scene.address).await.unwrap();
    stream.write_all(&bytes).await.unwrap();
    let head = String::from_utf8(until(&mut stream, b"\r\n\r\n").await).unwrap();
    assert!(head.contains("content-type: text/event-stream"), "{head}");
    until(&mut stream, b"data: ").await;
    let event = until(&mut stream, b"\n\n").await;
    let change: Json = serde_json::from_slice(&event).unwrap();
    assert_eq!(change["well"]["id"], WELL);
    disable(&scene);
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    assert!(rest.ends_with(b"0\r\n\r\n"), "ended in order");
    assert_eq!(Ask::get("/sync/live").token(&token).send(scene.address).await.status, 401);
}

/// When a test has failed.
const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_websocket_is_a_connection_of_its_address_as_long_as_it_is_open() {
    let settings = Settings { connections_per_address_max: 1, ..Scene::generous() };
    let scene = Scene::with(settings).await;
    scene.add(0, ANN, Role::Operator);
    let body = json!({ "email": ANN, "password": PASSWORD });
    let login = Ask::post("/auth/login", &body).with("x-tenant-subdomain", "acme");
    let session = answered(scene.address, &login).await.json();
    let ask = websocket(session["accessToken"].as_str().unwrap());
    // The place of the login is free a moment after its answer.
    let opening = async {
        loop {
            let mut stream = TcpStream::connect(scene.address).await.unwrap();
            let _ = stream.write_all(&ask).await;
            if stream.read_u8().await.is_ok() {
                break stream;
            }
        }
    };
    let mut listening = timeout(LONG, opening).await.unwrap();
    until(&mut listening, b"\r\n\r\n").await;
    assert_eq!(message(&mut listening).await.0, TEXT);
    let mut second = TcpStream::connect(scene.address).await.unwrap();
    let _ = second.write_all(&Ask::get("/api/health").bytes()).await;
    assert!(is_closed(&mut second).await, "there is but one place, and it is taken");
    drop(listening);
    served(scene.address).await;
}

#[tokio::test]
async fn who_stops_the_server_waits_until_listeners_are_told() {
    let settings = Settings { last_requests: LONG, ..Scene::generous() };
    let scene = Scene::with(settings).await;
    let token = scene.token(0, ANN, Role::Operator).await;
    let (mut listening, _) = asked(&scene, &websocket(&token)).await;
    assert_eq!(message(&mut listening).await.0, TEXT);
    scene.stop.cancel();
    scene.serving.await.unwrap();
    assert_eq!(scene.shell.counts().measured().live, 0);
    let (kind, reason) = message(&mut listening).await;
    // 1001: the server goes away.
    assert_eq!((kind, &reason[..2]), (CLOSE, &1_001_u16.to_be_bytes()[..]));
}

#[tokio::test]
async fn one_person_or_tenant_cannot_open_streams_without_end() {
    let streams = Shares { all: 10, tenant: 3, person: 2 };
    let scene = Scene::with(Settings { streams, ..Scene::generous() }).await;
    let ann = scene.token(0, ANN, Role::Operator).await;
    let ben = scene.token(0, "ben@example.org", Role::Operator).await;
    let other = scene.token(1, ANN, Role::Operator).await;
    let events = |token: &str| Ask::get("/sync/live").token(token).bytes();
    let (first, head) = asked(&scene, &websocket(&ann)).await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    let (_second, head) = asked(&scene, &events(&ann)).await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    // The third of one person, whichever way he asks.
    for ask in [events(&ann), websocket(&ann)] {
        let (_, head) = asked(&scene, &ask).await;
        assert!(head.starts_with("HTTP/1.1 429") && head.contains("retry-after: 30"), "{head}");
    }
    let (_third, head) = asked(&scene, &events(&ben)).await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    // The fourth of the tenant.
    let (_, head) = asked(&scene, &events(&ben)).await;
    assert!(head.starts_with("HTTP/1.1 503") && head.contains("retry-after: 30"), "{head}");
    let (_fourth, head) = asked(&scene, &events(&other)).await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    drop(first);
    let opening =
        async { while !asked(&scene, &events(&ann)).await.1.starts_with("HTTP/1.1 200") {} };
    timeout(LONG, opening).await.expect("who closes a stream may open another");
}
