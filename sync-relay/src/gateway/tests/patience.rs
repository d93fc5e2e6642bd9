//! Who takes time or room and gives nothing for it is cut off, and his place is another's.
//!
//! Each client that dawdles has the only place of its address; somebody else is served as soon as
//! it is free.

use std::net::SocketAddr;
use std::time::Duration;

use fieldmesh_http::{Rate, Settings, Shares};
use fieldmesh_model::Role;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{interval, timeout};

use super::client::{Answer, Ask};
use super::scene::{PHOTO_SIZE, Scene, entry};

const ANN: &str = "ann@example.org";
/// What a dawdler has, in all that it can take time for.
const SHORT: Duration = Duration::from_millis(200);
/// When a test has failed.
const LONG: Duration = Duration::from_secs(60);

/// A server with one place for each address, on which nothing waits long.
async fn scene() -> Scene {
    let often = Rate::a_second(1_000_000);
    let settings = Settings {
        domain: Some("relay.example".into()),
        address_rate: often,
        sync_rate: often,
        tenant_rate: often,
        head_patience: SHORT,
        body_patience: SHORT,
        answer_patience: SHORT,
        connections_per_address_max: 1,
        ..Settings::default()
    };
    Scene::with(settings).await
}

/// Comes until there is a place and an answer.
pub(super) async fn answered(address: SocketAddr, ask: &Ask) -> Answer {
    let coming = async {
        loop {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let mut answer = Vec::new();
            // A connection beyond the limit is closed before or behind what is sent.
            let _ = stream.write_all(&ask.bytes()).await;
            if stream.read_to_end(&mut answer).await.is_ok() && !answer.is_empty() {
                return Answer::parse(&answer);
            }
        }
    };
    timeout(LONG, coming).await.expect("nobody else is served")
}

/// Somebody is served.
pub(super) async fn served(address: SocketAddr) {
    assert_eq!(answered(address, &Ask::get("/api/health")).await.status, 200);
}

/// A connection that has a place, and was answered once.
async fn entered(address: SocketAddr) -> TcpStream {
    let coming = async {
        loop {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let ask = b"GET /api/health HTTP/1.1\r\nhost: relay.example\r\n\r\n";
            let _ = stream.write_all(ask).await;
            let mut answer = Vec::new();
            while let Ok(byte) = stream.read_u8().await {
                answer.push(byte);
                if byte == b'}' {
                    assert!(answer.starts_with(b"HTTP/1.1 200"));
                    return stream;
                }
            }
        }
    };
    timeout(LONG, coming).await.unwrap()
}

/// Whether the server has ended a connection on which it says nothing.
pub(super) async fn is_closed(stream: &mut TcpStream) -> bool {
    matches!(stream.read(&mut [0]).await, Ok(0) | Err(_))
}

#[tokio::test]
async fn who_says_nothing_holds_his_place_for_a_while_only() {
    let scene = scene().await;
    let mut idle = TcpStream::connect(scene.address).await.unwrap();
    let mut second = TcpStream::connect(scene.address).await.unwrap();
    // There is but one place.
    assert!(timeout(LONG, is_closed(&mut second)).await.unwrap());
    assert!(timeout(LONG, is_closed(&mut idle)).await.unwrap());
    served(scene.address).await;
}

#[tokio::test]
async fn who_was_answered_and_asks_nothing_more_is_let_go() {
    let scene = scene().await;
    let mut stream = entered(scene.address).await;
    assert!(timeout(LONG, is_closed(&mut stream)).await.unwrap());
    served(scene.address).await;
}

#[tokio::test]
async fn who_sends_byte_by_byte_is_cut_off_however_steadily() {
    let scene = scene().await;
    let token = scene.token(0, ANN, Role::Operator).await;
    let body = json!({ "deviceId": "T1", "entries": (0..50).map(entry).collect::<Vec<_>>() });
    let bytes = Ask::post("/sync/push", &body).token(&token).bytes();
    let head = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    // The head, and then the body.
    for at_once in [0, head] {
        let stream = entered(scene.address).await;
        let (mut reader, mut writer) = stream.into_split();
        writer.write_all(&bytes[..at_once]).await.unwrap();
        let dripping = async {
            let mut drops = interval(SHORT / 10);
            for byte in bytes[at_once..].chunks(1) {
                drops.tick().await;
                if writer.write_all(byte).await.is_err() {
                    break;
                }
            }
            // Whoever is not cut off so far never is.
            std::future::pending::<()>().await;
        };
        let mut answer = Vec::new();
        let cut_off = async {
            tokio::select! {
                () = dripping => {}
                _ = reader.read_to_end(&mut answer) => {}
            }
        };
        timeout(LONG, cut_off).await.unwrap();
        let text = String::from_utf8(answer).unwrap();
        assert!(text.is_empty() || text.starts_with("HTTP/1.1 408"), "{text}");
        served(scene.address).await;
    }
}

#[tokio::test]
async fn who_does_not_read_what_he_asked_for_is_cut_off() {
    let scene = scene().await;
    let token = scene.token(0, ANN, Role::Operator).await;
    let entries: Vec<_> = (0..60).map(entry).collect();
    let push = json!({ "deviceId": "T1", "entries": entries });
    let push = Ask::post("/sync/push", &push).token(&token);
    assert_eq!(answered(scene.address, &push).await.status, 200);
    let mut greedy = entered(scene.address).await;
    let pull = Ask::get("/sync/entries").token(&token).bytes();
    let pull = String::from_utf8(pull).unwrap().replace("connection: close\r\n", "");
    // Far more than the system keeps for somebody who does not read.
    greedy.write_all(pull.repeat(4_000).as_bytes()).await.unwrap();
    served(scene.address).await;
}

#[tokio::test]
async fn a_photo_for_which_there_is_no_room_is_not_read() {
    let share = PHOTO_SIZE + PHOTO_SIZE / 2;
    let answers = Shares { all: 4 * share, tenant: 2 * share, person: share };
    let scene = Scene::with(Settings { answers, ..Scene::generous() }).await;
    let token = scene.token(0, ANN, Role::Operator).await;
    let ask = Ask::get(&format!("/upload/{}", "0".repeat(64))).token(&token);
    let (address, first) = (scene.address, ask.clone());
    let first = tokio::spawn(async move { first.send(address).await });
    timeout(LONG, scene.photos.begun.acquire()).await.unwrap().unwrap().forget();
    let second = timeout(LONG, ask.send(address)).await.unwrap();
    assert_eq!(second.status, 503);
    assert!(second.headers.contains_key("retry-after"));
    assert_eq!(scene.photos.begun.available_permits(), 0);
    scene.photos.may_end.add_permits(2);
    let first = first.await.unwrap();
    assert_eq!((first.status, first.body.len()), (200, PHOTO_SIZE));
    // What was written is given back, soon.
    let coming = async { while ask.send(address).await.status != 200 {} };
    timeout(LONG, coming).await.unwrap();
}
