//! People who log in: by command and over HTTP, with the real program.

use std::net::SocketAddr;

use serde_json::{Value as Json, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::crew;
use crate::process::{Relay, command, command_with_input};

const PASSWORD: &str = "tumbleweed 7\n";

/// Status and body of a request to the relay.
pub(crate) async fn http(relay: &Relay, request: &str, headers: &str, body: &str) -> (u16, Json) {
    let address: SocketAddr = relay.ready["http"].as_str().unwrap().parse().unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let length = body.len();
    let head = format!("{request} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}");
    let whole = format!("{head}content-length: {length}\r\n\r\n{body}");
    stream.write_all(whole.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or(Json::Null))
}

async fn log_in(relay: &Relay, password: &str) -> (u16, Json) {
    let body = json!({ "email": "ana@example.org", "password": password }).to_string();
    http(relay, "POST /auth/login", "content-type: application/json\r\n", &body).await
}

#[tokio::test]
async fn a_person_is_added_logs_in_and_is_shut_out_while_the_relay_runs() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    command(&data, &["--json", "tenant", "create", "Permian West", "--gateway"]).await.json();
    let add = ["--json", "user", "add", "--tenant", "permian-west", "ana@example.org"];
    let add = [&add[..], &["--role", "manager", "--password-stdin"]].concat();
    let added = command_with_input(&data, &add, PASSWORD).await.json();
    assert_eq!((&added[0]["role"], &added[0]["active"]), (&json!("manager"), &json!(true)));
    // The same address again, and a short password, are refused and change nothing.
    assert_eq!(command_with_input(&data, &add, PASSWORD).await.code, Some(6));
    let passwd = ["user", "passwd", "--tenant", "permian-west", "ana@example.org"];
    let passwd = [&passwd[..], &["--password-stdin"]].concat();
    assert_eq!(command_with_input(&data, &passwd, "short\n").await.code, Some(6));
    let relay = Relay::start(&data).await;
    assert_eq!(log_in(&relay, "another 7").await.0, 401);
    let (status, session) = log_in(&relay, PASSWORD.trim()).await;
    assert_eq!((status, &session["user"]["id"]), (200, &added[0]["id"]));
    let token = format!("authorization: Bearer {}\r\n", session["accessToken"].as_str().unwrap());
    let list = relay.ask(&["user", "list", "--tenant", "permian-west"]).await;
    assert_eq!(list[0]["sessions"], 1);
    let person = ["--tenant", "permian-west", "ana@example.org"];
    relay.ask(&[&["user", "disable"][..], &person].concat()).await;
    assert_eq!(http(&relay, "GET /sync/pull", &token, "").await.0, 401);
    assert_eq!(log_in(&relay, PASSWORD.trim()).await.0, 401);
    relay.ask(&[&["user", "enable"][..], &person].concat()).await;
    let changed = command_with_input(&data, &passwd, "sagebrush 9\n").await;
    assert_eq!(changed.code, Some(0), "{}", changed.stderr);
    assert_eq!(log_in(&relay, PASSWORD.trim()).await.0, 401);
    assert_eq!(log_in(&relay, "sagebrush 9").await.0, 200);
    let log = relay.stop().await;
    assert!(!log.contains("ana@example.org") && !log.contains("sagebrush"), "{log}");
}

#[tokio::test]
async fn an_app_pulls_the_people_of_its_tenant_and_hears_who_left() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    for name in ["Permian West", "Gulf Crew"] {
        command(&data, &["tenant", "create", name, "--gateway"]).await;
    }
    let relay = Relay::start(&data).await;
    let mut ids = Vec::new();
    for (tenant, person, role) in [
        ("permian-west", "ana@example.org", "manager"),
        ("permian-west", "ben@example.org", "operator"),
        ("gulf-crew", "cho@example.org", "operator"),
    ] {
        let add = ["--json", "user", "add", "--tenant", tenant, person, "--role", role];
        let add = [&add[..], &["--name", "Some One", "--password-stdin"]].concat();
        ids.push(command_with_input(&data, &add, PASSWORD).await.json()[0]["id"].clone());
    }
    let body = json!({ "email": "ana@example.org", "password": PASSWORD.trim() }).to_string();
    let named = "content-type: application/json\r\nx-tenant-subdomain: permian-west\r\n";
    let (_, session) = http(&relay, "POST /auth/login", named, &body).await;
    let token = format!("authorization: Bearer {}\r\n", session["accessToken"].as_str().unwrap());
    let (_, first) = http(&relay, "GET /sync/pull", &token, "").await;
    let user = |id: &Json, email: &str, role: &str| json!({ "id": id, "email": email, "name": "Some One", "role": role });
    let ana = user(&ids[0], "ana@example.org", "MANAGER");
    let ben = user(&ids[1], "ben@example.org", "OPERATOR");
    assert_eq!(first["users"], json!([ana, ben]), "{first}");
    relay.ask(&["user", "disable", "--tenant", "permian-west", "ben@example.org"]).await;
    let since = first["lastSyncTimestamp"].as_str().unwrap();
    let target = format!("GET /sync/pull?lastSync={since}");
    let (_, second) = http(&relay, &target, &token, "").await;
    let told = (&second["users"], &second["removedUserIds"]);
    assert_eq!(told, (&json!([ana]), &json!([ids[1]])), "{second}");
    // Who asks for wells alone gets nobody.
    let (_, wells) = http(&relay, "GET /sync/pull?include=wells", &token, "").await;
    assert_eq!(wells["users"], json!([]), "{wells}");
    relay.stop().await;
}

#[tokio::test]
async fn a_person_has_one_id_in_accounts_and_on_devices_whichever_came_first() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    command(&data, &["--json", "tenant", "create", "Permian West", "--gateway"]).await.json();
    let relay = Relay::start(&data).await;
    let add = async |email: &str| {
        let words = ["--json", "user", "add", "--tenant", "permian-west", email];
        let words = [&words[..], &["--password-stdin"]].concat();
        command_with_input(&data, &words, PASSWORD).await.json()[0]["id"].clone()
    };
    let invite = async |email: &str| {
        let words = ["invite", "--tenant", "permian-west", "--user", email];
        relay.ask(&words).await[0]["invitation"].as_str().unwrap().to_owned()
    };
    // Ana has an account first, Ben a device, and Cho is on the way to one.
    let ana = add("ana@example.org").await;
    let node = crew::join(folder.path(), "ana-1", &invite("Ana@example.org").await).await;
    assert_eq!(ana, node.user().to_string());
    node.shutdown().await.unwrap();
    let node = crew::join(folder.path(), "ben-1", &invite("ben@example.org").await).await;
    assert_eq!(add("ben@example.org").await, node.user().to_string());
    node.shutdown().await.unwrap();
    let invitation = invite("cho@example.org").await;
    let cho = add("cho@example.org").await;
    let node = crew::join(folder.path(), "cho-1", &invitation).await;
    assert_eq!(cho, node.user().to_string());
    node.shutdown().await.unwrap();
    relay.stop().await;
}
