//! What it costs to answer the apps of existing systems over HTTP, on a real socket and a real disk.
//!
//! Processor time is that of the whole process, so the asking app's is in it. The floor of a push is
//! recording the same entries by the library, one batch of a hundred at a time.

mod crew;

use std::error::Error;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use fieldmesh_loopback::{Loopback, Options};
use serde_json::{Value as Json, json};
use tokio::task::{block_in_place, spawn};
use tokio_util::sync::CancellationToken;

use crew::entries;
use crew::homes::{self, Crew};
use crew::meter::{Meter, per, quantile};
use crew::{Size, table};

/// Entries of one push.
const ENTRIES: usize = 100;
/// Pushes, and pulls of each kind: an app may sync thirty times a minute.
const ROUNDS: usize = 8;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    if crew::is_test() {
        return Ok(());
    }
    let wells = Size::asked().pick(1_000, 200);
    let crew = Crew::found().await?;
    homes::import(&crew.lead, "well", more_wells(wells)).await?;
    let home = crew.home("lead");
    let options = Options { address: ([127, 0, 0, 1], 0).into(), apps: true, ..Options::default() };
    let bound = Loopback::bind(&home, options).await?;
    let address = bound.access().url.strip_prefix("http://").ok_or("no address")?.to_owned();
    let app = App { address, token: bound.access().apps_token.clone().ok_or("no apps")? };
    let stop = CancellationToken::new();
    let serving = spawn(bound.serve(crew.lead.clone(), stop.clone()));
    pushes(&crew, &app).await?;
    pulls(&app)?;
    stop.cancel();
    serving.await?;
    crew.end().await
}

async fn pushes(crew: &Crew, app: &App) -> Result<(), Box<dyn Error>> {
    let all = entries::entries(2 * ROUNDS * ENTRIES, 5);
    let (first, rest) = all.split_at(ROUNDS * ENTRIES);
    let bodies: Vec<Json> = first
        .chunks(ENTRIES)
        .map(|part| {
            let entries: Vec<Json> = part.iter().map(|entry| entry.json(&crew.wells)).collect();
            json!({ "deviceId": "T1", "entries": entries })
        })
        .collect();
    let meter = Meter::start();
    for body in &bodies {
        let answer = app.ask("POST", "/sync/push", &body.to_string(), "identity")?.json()?;
        if answer["succeeded"] != ENTRIES {
            return Err(format!("not all were taken: {answer}").into());
        }
    }
    let ours = meter.cost();
    let meter = Meter::start();
    for part in rest.chunks(ENTRIES) {
        homes::import(&crew.lead, "field_entry", entries::lines(part, &crew.wells)).await?;
    }
    let floor = meter.cost();
    let count = ROUNDS * ENTRIES;
    table::head(&format!("push of {ENTRIES} entries, stored"), &["us cpu/entry", "ms", "ratio"])?;
    let floor_micros = floor.micros_per(count);
    for (label, cost) in [("floor: import of as many", floor), ("ours", ours)] {
        let micros = cost.micros_per(count);
        let millis = table::one(per(cost.wall, ROUNDS) / 1e3);
        table::row(label, &[&table::one(micros), &millis, &table::ratio(micros, floor_micros)])?;
    }
    Ok(())
}

fn pulls(app: &App) -> Result<(), Box<dyn Error>> {
    let (mut anew, mut kept, mut wells) = (Vec::new(), Vec::new(), 0);
    for round in 0..ROUNDS {
        // Another question each time, so that its answer is made and not remembered.
        let path = format!("/sync/pull?include=wells&limit={}", 1_000 - round);
        for times in [&mut anew, &mut kept] {
            let start = Instant::now();
            let answer = app.ask("GET", &path, "", "identity")?;
            times.push(start.elapsed());
            wells = answer.json()?["wells"].as_array().map_or(0, Vec::len);
        }
    }
    table::head("pull of all wells, ms", &["p50"])?;
    let millis = |times: Vec<Duration>| table::one(per(quantile(times, 0.5), 1) / 1e3);
    table::row(&format!("{wells} wells, answer made"), &[&millis(anew)])?;
    table::row(&format!("{wells} wells, the same question again"), &[&millis(kept)])?;
    let plain = app.ask("GET", "/sync/entries?limit=100", "", "identity")?.body.len();
    let packed = app.ask("GET", "/sync/entries?limit=100", "", "gzip")?.body.len();
    let saved = 100.0 * (1.0 - packed as f64 / plain as f64);
    table::note(&format!(
        "100 entries: {plain} bytes plain, {packed} by gzip, {saved:.0} % saved"
    ))?;
    Ok(())
}

/// Wells with coordinates, which the contracts want.
fn more_wells(count: usize) -> Vec<u8> {
    let mut lines = String::new();
    for number in 0..count {
        let well = json!({
            "name": format!("Birch {number}"), "apiNumber": format!("42-301-{number:05}"),
            "status": "ACTIVE", "latitude": 31.5, "longitude": -102.5,
        });
        lines.push_str(&well.to_string());
        lines.push('\n');
    }
    lines.into_bytes()
}

/// An app that has read how to get in.
struct App {
    address: String,
    token: String,
}

struct Answer {
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> serde_json::Result<Json> {
        serde_json::from_slice(&self.body)
    }
}

impl App {
    fn ask(&self, method: &str, path: &str, body: &str, coding: &str) -> std::io::Result<Answer> {
        let Self { address, token } = self;
        let head = format!(
            "{method} {path} HTTP/1.0\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\
             Accept-Encoding: {coding}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut bytes = Vec::new();
        block_in_place(|| {
            let mut stream = TcpStream::connect(address)?;
            stream.write_all(head.as_bytes())?;
            stream.read_to_end(&mut bytes)
        })?;
        let end = bytes.windows(4).position(|part| part == b"\r\n\r\n").unwrap_or(0);
        if !bytes.starts_with(b"HTTP/1.0 200") {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            return Err(std::io::Error::other(text));
        }
        Ok(Answer { body: bytes.split_off(end + 4) })
    }
}
