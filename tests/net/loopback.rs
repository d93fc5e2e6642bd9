//! Apps on a device ask its daemon over HTTP: what one records is live on another after a sync.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;

use serde_json::{Value as Json, json};

use crate::device::{Daemon, Device};
use crate::site::Site;

/// An app that has read the file in the home.
struct App {
    address: String,
    token: String,
    /// What apps of existing systems log in with.
    apps_token: String,
}

impl App {
    fn on(device: &Device) -> Self {
        let access = std::fs::read(device.home.join("loopback.json")).unwrap();
        let access: Json = serde_json::from_slice(&access).unwrap();
        let address = access["url"].as_str().unwrap().strip_prefix("http://").unwrap();
        let text = |key: &str| access[key].as_str().unwrap_or_default().to_owned();
        Self { address: address.into(), token: text("token"), apps_token: text("apps_token") }
    }

    fn open(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let mut head = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
        let token = if path.starts_with("/v1") { &self.token } else { &self.apps_token };
        let authorization = format!("Bearer {token}");
        let defaults = [("Host", self.address.as_str()), ("Authorization", &authorization)];
        let is_given = |name: &str| headers.iter().any(|header| header.0 == name);
        for (name, value) in defaults.iter().filter(|it| !is_given(it.0)).chain(headers) {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let length = body.len();
        write!(
            stream,
            "{head}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        stream
    }

    /// The status and the body of an answer.
    fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &Json) -> (u16, Json) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let mut answer = String::new();
        self.open(method, path, headers, &body).read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).unwrap_or(Json::Null))
    }

    #[track_caller]
    fn get(&self, path: &str) -> Json {
        let (status, answer) = self.ask("GET", path, &[], &Json::Null);
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }

    #[track_caller]
    fn post(&self, path: &str, body: &Json) -> Json {
        let (status, answer) = self.ask("POST", path, &[], body);
        assert!(status == 200 || status == 201, "{path}: {status} {answer}");
        answer
    }
}

/// A stream of events.
struct Live(BufReader<TcpStream>);

impl Live {
    fn open(app: &App, path: &str, after: Option<&str>) -> Self {
        let headers = after.map(|after| ("Last-Event-ID", after));
        Self(BufReader::new(app.open("GET", path, headers.as_slice(), "")))
    }

    /// The next event: its name, its id and its data.
    fn next(&mut self) -> (String, String, Json) {
        let (mut name, mut id) = (String::new(), String::new());
        loop {
            let mut line = String::new();
            assert!(self.0.read_line(&mut line).unwrap() > 0, "the stream goes on");
            let value = |name: &str| line.strip_prefix(name).map(|rest| rest.trim().to_owned());
            name = value("event:").unwrap_or(name);
            id = value("id:").unwrap_or(id);
            if let Some(data) = value("data:") {
                return (name, id, serde_json::from_str(&data).unwrap());
            }
        }
    }
}

const QUIET: [&str; 5] = ["--listen", "127.0.0.1:0", "--no-mdns", "--http", "127.0.0.1:0"];

fn run(device: &Device) -> Daemon {
    device.daemon_with(&QUIET)
}

/// The data of an entry as an app sends it.
fn entry(minute: usize) -> Json {
    let fields = json!({
        "wellId": "Alder 1", "entryType": "PRODUCTION", "data": { "oilVolume": minute },
        "recordedAt": crate::device::minute_of_march(minute),
    });
    json!({ "collection": "field_entry", "fields": fields })
}

#[test]
fn what_an_app_records_on_one_device_is_live_on_another_after_a_sync() {
    let site = Site::new();
    let [lead, truck] = site.crew(["lead", "truck"]);
    lead.well("Alder 1");
    let (office, on_the_road) = (run(&lead), run(&truck));
    let (desk, tablet) = (App::on(&lead), App::on(&truck));
    assert_eq!(office.ready["http"], format!("http://{}", desk.address));
    let with = json!({ "with": [office.address()], "timeout": 50 });
    assert_eq!(tablet.post("/v1/sync", &with)["result"], "ok");

    let path = "/v1/live?collection=field_entry&site=Alder%201";
    let mut live = Live::open(&desk, path, None);
    let (name, _, data) = live.next();
    assert_eq!((name.as_str(), &data), ("present", &json!({ "records": [] })));
    let made = tablet.post("/v1/records", &entry(1));
    tablet.post("/v1/sync", &with);
    let (name, last, data) = live.next();
    assert_eq!((name.as_str(), &data["record"]["id"]), ("added", &made["id"]));
    assert_eq!(data["record"]["version"], made["version"], "it is the same on both");
    drop(live);

    // The daemon dies; what came meanwhile is told to who comes back.
    office.kill();
    let missed = lead.entry("Alder 1", 2, 2);
    let office = run(&lead);
    let desk = App::on(&lead);
    let (name, _, data) = Live::open(&desk, path, Some(&last)).next();
    assert_eq!((name.as_str(), &data["record"]["id"]), ("changed", &json!(missed)));
    let feed = desk.get(&format!("/v1/changes?after={last}"));
    assert_eq!(feed["changes"][0]["id"], json!(missed));
    assert_eq!(feed["changes"].as_array().unwrap().len(), 1);
    let (status, foreign) =
        tablet.ask("GET", &format!("/v1/changes?after={last}"), &[], &Json::Null);
    assert_eq!(status, 400, "{foreign}");
    assert!(foreign["detail"].as_str().unwrap().contains("another store"), "{foreign}");
    office.stop();
    on_the_road.stop();
    lead.verify();
    truck.verify();
}

#[test]
fn an_app_of_an_existing_system_hands_over_its_readings_once_by_the_device_it_runs_on() {
    let site = Site::new();
    let [lead, truck] = site.crew(["lead", "truck"]);
    lead.well("Alder 1");
    let with_apps = |device: &Device| device.daemon_with(&[&QUIET[..], &["--http-apps"]].concat());
    let (office, on_the_road) = (with_apps(&lead), with_apps(&truck));
    let with = json!({ "with": [office.address()], "timeout": 50 });
    App::on(&truck).post("/v1/sync", &with);

    let mut reading = entry(1)["fields"].take();
    reading["wellId"] =
        App::on(&truck).get("/v1/records?collection=well")["records"][0]["id"].take();
    let readings = json!({ "deviceId": "T1", "entries": [reading] });
    assert_eq!(App::on(&truck).post("/sync/push", &readings)["succeeded"], 1);
    // Its answer was lost with the daemon, so the app sends it again, as its new session lets it.
    on_the_road.kill();
    let on_the_road = with_apps(&truck);
    let tablet = App::on(&truck);
    let login = json!({ "email": "ann@example.org", "password": tablet.apps_token });
    assert_eq!(tablet.post("/auth/login", &login)["user"]["role"], "MANAGER");
    assert_eq!(tablet.post("/sync/push", &readings)["succeeded"], 1);
    tablet.post("/v1/sync", &with);

    let arrived = App::on(&lead).get("/sync/entries")["entries"].take();
    assert_eq!(arrived.as_array().map(Vec::len), Some(1), "{arrived}");
    assert_eq!(arrived[0]["data"]["oilVolume"], 1, "{arrived}");
    office.stop();
    on_the_road.stop();
    lead.verify();
    truck.verify();
    // Where nobody asked for apps there are none.
    let daemon = run(&truck);
    let bearer = format!("Bearer {}", App::on(&truck).token);
    let headers = [("Authorization", bearer.as_str())];
    let (status, _) = App::on(&truck).ask("GET", "/sync/pull", &headers, &Json::Null);
    assert_eq!(status, 404);
    daemon.stop();
}

#[test]
fn strangers_and_stale_apps_change_nothing() {
    let site = Site::new();
    let [lead] = site.crew(["lead"]);
    lead.well("Alder 1");
    let daemon = run(&lead);
    let app = App::on(&lead);
    let mode = |name: &str| {
        let metadata = std::fs::metadata(lead.home.join(name)).unwrap();
        std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o777
    };
    assert_eq!(mode("loopback.json"), 0o600);

    for (header, status) in [
        (("Authorization", "Bearer guessed"), 401),
        (("Host", "rebound.example"), 403),
        (("Origin", "https://evil.example"), 403),
    ] {
        let (refused, problem) = app.ask("POST", "/v1/records", &[header], &entry(1));
        assert_eq!((refused, &problem["status"]), (status, &json!(status)), "{problem}");
    }
    let made: Vec<Json> = (0..60).map(|minute| app.post("/v1/records", &entry(minute))).collect();
    let page = app.get("/v1/records?collection=field_entry&sort=time:up");
    assert_eq!(page["records"].as_array().unwrap().len(), 50);
    assert_eq!(page["records"][0]["id"], made[0]["id"]);
    let next = page["next"].as_str().unwrap();
    let rest = app.get(&format!("/v1/records?collection=field_entry&sort=time:up&cursor={next}"));
    assert_eq!(rest["records"].as_array().unwrap().len(), 10);
    assert_eq!(app.get("/v1/count?collection=field_entry")["count"], 60);

    let id = made[0]["id"].as_str().unwrap();
    let read = format!("\"{}\"", made[0]["version"].as_str().unwrap());
    // Somebody else changes it by a command meanwhile.
    lead.ok(&["edit", id, "oilVolume=90"]);
    let body = json!({ "fields": { "data": { "oilVolume": 80 } } });
    let path = format!("/v1/records/{id}");
    let (status, stale) = app.ask("PATCH", &path, &[("If-Match", &read)], &body);
    assert_eq!((status, &stale["current"]["fields"]["data"]["oilVolume"]), (412, &json!(90)));
    let unknown = json!({ "fields": { "colour": "red", "data": { "oilVolume": -1 } } });
    let (status, invalid) = app.ask("PATCH", &path, &[("If-Match", "*")], &unknown);
    assert_eq!(status, 422, "{invalid}");
    let faults = invalid["faults"].as_array().unwrap();
    let fields: Vec<&str> = faults.iter().map(|it| it["field"].as_str().unwrap()).collect();
    assert!(fields.contains(&"colour") && fields.contains(&"data.oilVolume"), "{invalid}");
    lead.ok(&["show", id]).says(&["90"]);
    daemon.stop();
}

#[test]
fn http_is_where_it_was_asked_for_or_nowhere() {
    let site = Site::new();
    let [lead, other] = site.crew(["lead", "other"]);
    let quiet = ["--listen", "127.0.0.1:0", "--no-mdns"];
    let daemon = lead.daemon_with(&[&quiet[..], &["--http", "off"]].concat());
    assert!(daemon.ready["http"].is_null());
    assert!(!lead.home.join("loopback.json").exists());
    daemon.stop();
    let daemon = run(&lead);
    daemon.kill();
    assert!(lead.home.join("loopback.json").exists());
    let daemon = lead.daemon_with(&[&quiet[..], &["--http", "off"]].concat());
    assert!(!lead.home.join("loopback.json").exists(), "it would name the port of nobody");
    daemon.stop();
    let daemon = run(&lead);
    let taken = App::on(&lead).address;
    // Who names a port gets that one or is told; who names none gets another.
    other
        .run(&[&["run"], &quiet[..], &["--http", &taken]].concat())
        .code(1)
        .says(&["http", &taken]);
    other.run(&[&["run"], &quiet[..], &["--http", "0.0.0.0:1"]].concat()).code(2);
    other
        .run(&[&["run"], &quiet[..], &["--http", "off", "--http-apps"]].concat())
        .code(2)
        .says(&["--http off"]);
    daemon.stop();
}
