//! An app of the field that speaks HTTP to a relay works on the same records as devices.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::{Value as Json, json};

use crate::device::Device;
use crate::relay::{Relay, RunningRelay};
use crate::site::Site;

pub(crate) const PASSWORD: &str = "correct horse battery";
pub(crate) const EMAIL: &str = "ana@example.org";

/// An app with the token of a person.
pub(crate) struct App {
    pub(crate) address: String,
    pub(crate) token: String,
}

impl App {
    /// Logs in.
    #[track_caller]
    pub(crate) fn of(relay: &RunningRelay) -> Self {
        let mut app = Self { address: relay.http(), token: String::new() };
        let login = json!({ "email": EMAIL, "password": PASSWORD });
        let session = app.ok("POST", "/auth/login", &login);
        session["accessToken"].as_str().unwrap().clone_into(&mut app.token);
        app
    }

    /// The status and the body of an answer.
    pub(crate) fn ask(&self, method: &str, path: &str, body: &Json) -> (u16, Json) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let Self { address, token } = self;
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\
             Accept: application/json\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).unwrap_or(Json::Null))
    }

    /// Keeps a photo; gives its path.
    #[track_caller]
    pub(crate) fn upload(&self, photo: &[u8]) -> String {
        let head = format!("Content-Type: image/jpeg\r\nContent-Length: {}\r\n", photo.len());
        let (status, body) = self.exchange("POST", "/upload", &head, photo);
        assert_eq!(status / 100, 2, "{}", String::from_utf8_lossy(&body));
        let answer: Json = serde_json::from_slice(&body).unwrap();
        answer["url"].as_str().unwrap().to_owned()
    }

    /// The bytes behind a path, and the status.
    pub(crate) fn download(&self, path: &str) -> (u16, Vec<u8>) {
        self.exchange("GET", path, "", &[])
    }

    fn exchange(&self, method: &str, path: &str, head: &str, body: &[u8]) -> (u16, Vec<u8>) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let Self { address, token } = self;
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\
             Connection: close\r\n{head}\r\n"
        )
        .unwrap();
        stream.write_all(body).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        let status = String::from_utf8_lossy(&answer[9..12]).parse().unwrap();
        (status, answer.split_off(end + 4))
    }

    #[track_caller]
    pub(crate) fn ok(&self, method: &str, path: &str, body: &Json) -> Json {
        let (status, answer) = self.ask(method, path, body);
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }

    pub(crate) fn entries(&self) -> Vec<Json> {
        let pulled = self.ok("GET", "/sync/pull?include=entries", &Json::Null);
        pulled["entries"].as_array().unwrap().clone()
    }
}

/// A crew whose relay is its gateway, with one person who may log in.
pub(crate) fn crew(site: &Site, role: &str) -> (Device, Relay, RunningRelay) {
    let [lead] = site.crew(["lead"]);
    let relay = site.relay();
    let daemon = lead.daemon();
    relay.join(&lead.invite(role));
    daemon.stop();
    let tenant = relay.run(&["--json", "tenant", "list"]).lines()[0]["slug"].clone();
    let tenant = tenant.as_str().unwrap();
    let add = ["user", "add", "--tenant", tenant, EMAIL, "--role", "operator", "--password-stdin"];
    relay.run_with(&add, PASSWORD).ok();
    let running = relay.start();
    (lead, relay, running)
}

#[test]
fn what_an_app_pushes_reaches_devices_and_what_they_change_reaches_the_app() {
    let site = Site::new();
    let (lead, relay, running) = crew(&site, "gateway");
    let values = [
        "name=Alder 1",
        "apiNumber=42-227-30001",
        "status=ACTIVE",
        "latitude=31",
        "longitude=-102",
    ];
    let well = lead.record("well", &values);
    lead.sync(&running.address());

    let app = App::of(&running);
    let pulled = app.ok("GET", "/sync/pull", &Json::Null);
    assert_eq!(pulled["wells"][0]["id"], well, "{pulled}");
    let entry = json!({
        "wellId": well, "entryType": "PRODUCTION", "data": { "oilVolume": 82.3 },
        "recordedAt": "2026-03-07T08:00:00Z",
    });
    let push = json!({ "deviceId": "tablet-1", "entries": [entry] });
    let first = app.ok("POST", "/sync/push", &push);
    assert_eq!((&first["succeeded"], &first["failed"]), (&json!(1), &json!(0)), "{first}");
    // The answer was lost, and then the relay died.
    let again = app.ok("POST", "/sync/push", &push);
    assert_eq!(again["results"][0]["entryId"], first["results"][0]["entryId"]);
    running.kill();
    let running = relay.start();
    let app = App { address: running.http(), ..app };
    let again = app.ok("POST", "/sync/push", &push);
    assert_eq!(again["results"][0]["entryId"], first["results"][0]["entryId"]);

    lead.sync(&running.address());
    let ids = lead.ids("field_entry");
    assert_eq!(ids, [first["results"][0]["entryId"].as_str().unwrap()]);
    lead.ok(&["show", &ids[0]]).says(&["82.3", "Alder 1"]);
    lead.ok(&["edit", &ids[0], "oilVolume=84"]);
    lead.sync(&running.address());
    let [entry] = &app.entries()[..] else { panic!("{:?}", app.entries()) };
    assert_eq!(entry["data"]["oilVolume"], json!(84));
    lead.verify();
    assert!(lead.ok(&["--json", "conflicts"]).lines().is_empty());
    running.stop();
}

#[test]
fn a_relay_that_only_forwards_tells_apps_to_come_again_and_opens_nothing() {
    let site = Site::new();
    let (_lead, _relay, running) = crew(&site, "relay");
    let app = App::of(&running);
    assert_eq!(app.ask("GET", "/sync/pull", &Json::Null).0, 503);
    running.stop();
}
