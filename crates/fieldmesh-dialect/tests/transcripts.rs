//! Golden transcripts: requests, the commands they become, given outcomes, exact responses.
//!
//! Goal: each requirement about HTTP can be read as an exchange and holds to the byte. Method: the
//! files below `tests/transcripts` are played; what a file says of commands and responses must be
//! what the crate says. After an intended change, `cargo test -p fieldmesh-dialect --test
//! transcripts -- --ignored` writes them anew; read the difference before you commit it.
//!
//! A file begins with the ids it is about and a sentence. Then follow exchanges of four parts:
//! `--- request (caller)`, `--- command`, `--- outcome`, `--- response`. A request that is answered
//! at once has the first and the last alone. `<cursor 77 question>` stands for a cursor.

#![allow(clippy::unwrap_used, reason = "a test that cannot set up its scene has failed")]

#[path = "acceptance/documented.rs"]
mod documented;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use self::documented::assert_documented;
use fieldmesh_dialect::{
    Caller, Cursor, Dialect, Dialects, FeedId, Method, Outcome, Request, Response, understand,
};
use fieldmesh_model::{Moment, Role};
use serde_json::Value as Json;

/// When every request arrives.
const NOW: &str = "2025-10-25T15:00:00.000Z";

#[test]
fn every_transcript_is_played_as_it_is_written() {
    let mut faults = Vec::new();
    let files = files();
    assert!(files.len() > 10, "the transcripts are gone");
    for path in files {
        let written = fs::read_to_string(&path).unwrap();
        let played = play(&path, &written);
        if let Some((line, (ours, theirs))) = first_difference(&written, &played) {
            faults.push(format!("{} line {line}:\n  is {ours}\n  but {theirs}", path.display()));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
#[ignore = "writes the transcripts anew"]
fn write_the_transcripts_anew() {
    for path in files() {
        let written = fs::read_to_string(&path).unwrap();
        let played = play(&path, &written);
        fs::write(&path, played).unwrap();
    }
}

#[test]
fn every_endpoint_has_a_transcript() {
    let mut played = BTreeSet::new();
    for path in files() {
        for exchange in exchanges(&path, &fs::read_to_string(&path).unwrap()).1 {
            if let Ok(route) = fieldmesh_dialect::Route::find(&exchange.request()) {
                played.insert(route.endpoint.id);
            }
        }
    }
    for endpoint in fieldmesh_dialect::endpoints() {
        assert!(played.contains(endpoint.id), "{} {}", endpoint.id, endpoint.path);
    }
}

fn files() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
    let mut files = Vec::new();
    for folder in fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()) {
        if folder.is_dir() {
            files.extend(fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    files.sort();
    files
}

fn first_difference(written: &str, played: &str) -> Option<(usize, (String, String))> {
    let lines = written.lines().map(Some).chain(std::iter::repeat(None));
    let mut both = lines.zip(played.lines().map(Some).chain(std::iter::repeat(None)));
    let most = written.lines().count().max(played.lines().count());
    let number = both.by_ref().take(most).position(|(ours, theirs)| ours != theirs)?;
    let line = |text: &str| text.lines().nth(number).unwrap_or("nothing").to_owned();
    Some((number + 1, (line(written), line(played))))
}

struct Exchange {
    caller: String,
    request: String,
    outcome: Option<String>,
}

fn exchanges(path: &Path, text: &str) -> (String, Vec<Exchange>) {
    let mut parts = text.split("--- request (");
    let head = parts.next().unwrap_or_default().trim_end().to_owned();
    let exchange = |part: &str| {
        let (caller, rest) = part.split_once(")\n").unwrap_or_else(|| panic!("{path:?}: caller"));
        let section = |name: &str| {
            let (_, section) = rest.split_once(&format!("--- {name}\n"))?;
            Some(section.split("\n---").next().unwrap_or_default().trim().to_owned())
        };
        let request = rest.split("--- ").next().unwrap_or_default().trim().to_owned();
        Exchange { caller: caller.to_owned(), request, outcome: section("outcome") }
    };
    (head, parts.map(exchange).collect())
}

impl Exchange {
    fn request(&self) -> Request {
        let text = with_cursors(&self.request);
        let (head, body) = text.split_once("\n\n").unwrap_or((&text, ""));
        let mut lines = head.lines();
        let (method, target) = lines.next().unwrap().split_once(' ').unwrap();
        let at: Moment = NOW.parse().unwrap();
        let mut request = Request::new(Method::named(method), target.trim(), at);
        for line in lines {
            let (name, value) = line.split_once(':').unwrap();
            request = request.with_header(name, value);
        }
        request.with_body(body.replace("\\r\\n", "\r\n"))
    }
}

fn play(path: &Path, text: &str) -> String {
    let (mut played, exchanges) = exchanges(path, text);
    for exchange in exchanges {
        played.push_str(&format!("\n\n--- request ({})\n\n", exchange.caller));
        played.push_str(&exchange.request);
        let (caller, request) = (caller(&exchange.caller), exchange.request());
        let response = match understand(&request, caller.as_ref()) {
            Err(response) => response,
            Ok(ask) => {
                let command = serde_json::to_value(&ask.command).unwrap();
                played.push_str(&format!("\n\n--- command\n\n{}", pretty(&command)));
                let outcome = exchange.outcome.unwrap_or_else(|| "null".to_owned());
                let outcome: Json = serde_json::from_str(&outcome)
                    .unwrap_or_else(|error| panic!("{}: outcome: {error}", path.display()));
                played.push_str(&format!("\n\n--- outcome\n\n{}", pretty(&outcome)));
                let outcome: Outcome = serde_json::from_value(outcome)
                    .unwrap_or_else(|error| panic!("{}: outcome: {error}", path.display()));
                ask.answer(outcome)
            }
        };
        assert_documented(&request, &response);
        played.push_str(&format!("\n\n--- response\n\n{}", written(&response)));
    }
    played.push('\n');
    played
}

fn written(response: &Response) -> String {
    let mut text = response.status.to_string();
    for (name, value) in &response.headers {
        text.push_str(&format!("\n{name}: {value}"));
    }
    let body = String::from_utf8_lossy(&response.body);
    match serde_json::from_str::<Json>(&body) {
        Ok(json) => text.push_str(&format!("\n\n{}", pretty(&json))),
        Err(_) if body.is_empty() => {}
        Err(_) => text.push_str(&format!("\n\n{}", body.trim_end())),
    }
    text
}

/// The most characters of a line that is kept whole.
const LINE_MAX: usize = 96;

/// JSON with one line for what fits on it.
fn pretty(json: &Json) -> String {
    fn put(json: &Json, indent: usize, text: &mut String) {
        let line = spaced(json);
        let pad = "  ".repeat(indent + 1);
        match json {
            Json::Object(members) if line.len() + indent * 2 > LINE_MAX => {
                text.push_str("{\n");
                for (index, (key, value)) in members.iter().enumerate() {
                    text.push_str(&format!("{pad}{}: ", Json::from(key.as_str())));
                    put(value, indent + 1, text);
                    text.push_str(if index + 1 < members.len() { ",\n" } else { "\n" });
                }
                text.push_str(&format!("{}}}", "  ".repeat(indent)));
            }
            Json::Array(items) if line.len() + indent * 2 > LINE_MAX => {
                text.push_str("[\n");
                for (index, value) in items.iter().enumerate() {
                    text.push_str(&pad);
                    put(value, indent + 1, text);
                    text.push_str(if index + 1 < items.len() { ",\n" } else { "\n" });
                }
                text.push_str(&format!("{}]", "  ".repeat(indent)));
            }
            _ => text.push_str(&line),
        }
    }
    let mut text = String::new();
    put(json, 0, &mut text);
    text
}

fn spaced(json: &Json) -> String {
    match json {
        Json::Object(members) if members.is_empty() => "{}".to_owned(),
        Json::Object(members) => {
            let member = |(key, value): (&String, &Json)| {
                format!("{}: {}", Json::from(key.as_str()), spaced(value))
            };
            format!("{{ {} }}", members.iter().map(member).collect::<Vec<_>>().join(", "))
        }
        Json::Array(items) => {
            format!("[{}]", items.iter().map(spaced).collect::<Vec<_>>().join(", "))
        }
        scalar => scalar.to_string(),
    }
}

fn with_cursors(text: &str) -> String {
    let mut parts = text.split("<cursor ");
    let mut whole = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (cursor, rest) = part.split_once('>').unwrap();
        let (place, question) = cursor.split_once(' ').unwrap_or((cursor, ""));
        let (place, feed) =
            place.strip_suffix('!').map_or((place, feed()), |place| (place, FeedId(*b"other-id")));
        let place = place.parse().unwrap();
        whole.push_str(&Cursor { feed, place, question: question.to_owned() }.to_text());
        whole.push_str(rest);
    }
    whole
}

fn feed() -> FeedId {
    FeedId(*b"acme/one")
}

/// A caller by his role; "nobody" has no token, and `role, no batch` lacks a dialect.
fn caller(text: &str) -> Option<Caller> {
    let mut words = text.split(", ");
    let name = words.next().unwrap();
    if name == "nobody" {
        return None;
    }
    let role: Role = name.replace(' ', "_").parse().unwrap();
    let mut caller = Caller {
        tenant: "acme".to_owned(),
        tenant_aliases: BTreeSet::new(),
        user: format!("user-{name}"),
        aliases: ["507f1f77bcf86cd799439011".to_owned()].into(),
        role,
        practices: [1].into(),
        device: None,
        dialects: Dialects::all(),
        feed: feed(),
    };
    if role != Role::HealthWorker {
        caller.aliases.clear();
    }
    for word in words {
        match word.split_once(' ') {
            Some(("no", dialect)) => {
                caller.dialects = caller.dialects.without(Dialect::named(dialect).unwrap());
            }
            Some(("on", device)) => caller.device = Some(device.to_owned()),
            _ => panic!("{text}"),
        }
    }
    Some(caller)
}
