//! Streams of what happens, and what ends them.

use std::time::Duration;

use fieldmesh_http::Settings;
use fieldmesh_model::Role;
use serde_json::Value as Json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::client::Ask;
use super::scene::{Scene, WELL, tenant};
use crate::accounts::{self, Sessions};

const ANN: &str = "ann@example.org";

/// A server whose streams prove their tokens often.
async fn scene() -> Scene {
    let heartbeat = Duration::from_millis(20);
    Scene::with(Settings { heartbeat, ..Settings::default() }).await
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
    let ask = Ask::get("/sync/live")
        .with("upgrade", "websocket")
        .with("sec-websocket-version", "13")
        .with("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .with("sec-websocket-protocol", &format!("bearer, {token}"));
    let bytes = String::from_utf8(ask.bytes()).unwrap();
    let bytes = bytes.replace("connection: close", "connection: upgrade");
    let mut stream = TcpStream::connect(scene.address).await.unwrap();
    stream.write_all(bytes.as_bytes()).await.unwrap();
    let head = String::from_utf8(until(&mut stream, b"\r\n\r\n").await).unwrap();
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
