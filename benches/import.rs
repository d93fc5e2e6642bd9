//! How fast rows of a file become records on the disk, and what they take there.
//!
//! The floor is reading and mapping the same rows, which every import has to do; a dry run adds
//! what checking takes.

mod crew;

use std::error::Error;
use std::io::Cursor;

use fieldmesh::api::ImportOptions;
use fieldmesh::import::{Import, Mapping};

use crew::entries::{self, Entry};
use crew::homes::{self, Crew};
use crew::meter::{Cost, Meter};
use crew::{Size, table};

/// A well a row names, and the entry of the row.
const MAPPING: &str = r#"
[[record]]
name = "well"
collection = "well"
create = "once"
unique = ["apiNumber"]
[record.fields]
apiNumber = { column = "api", digits = "2-3-5" }
name = "'Well {digits(api, \"2-3-5\")}'"
status = { constant = "ACTIVE" }

[[record]]
name = "entry"
collection = "field_entry"
key = ["api", "at"]
[record.fields]
wellId = "ref('well')"
entryType = { constant = "PRODUCTION" }
recordedAt = "at"
latitude = "latitude"
longitude = "longitude"
data.oilVolume = "oilVolume"
data.gasVolume = "gasVolume"
data.waterVolume = "waterVolume"
data.tubingPressure = "tubingPressure"
data.casingPressure = "casingPressure"
data.chokeSize = "chokeSize"
data.runtime = "runtime"
notes = "notes"
"#;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    if crew::is_test() {
        return Ok(());
    }
    let rows = Size::asked().pick(50_000, 5_000);
    let file = file(&entries::entries(rows, 1));
    let mapping = Mapping::parse(MAPPING)?;
    let meter = Meter::start();
    let mut mapped = 0;
    for row in Import::open(Cursor::new(file.clone()), &mapping)? {
        row??;
        mapped += 1;
    }
    let floor = meter.cost();
    if mapped != rows {
        return Err(format!("{mapped} of {rows} rows were mapped").into());
    }
    let crew = Crew::found().await?;
    let dry = import(&crew, &file, true).await?;
    let (log, view) = sizes(&crew)?;
    let full = import(&crew, &file, false).await?;
    let again = import(&crew, &file, false).await?;
    let (log_after, view_after) = sizes(&crew)?;
    table::head(&format!("import: {rows} rows"), &["rows/s", "us cpu/row", "ratio"])?;
    for (label, cost) in [
        ("floor: read and map", floor),
        ("ours: dry run", dry),
        ("ours: recorded, durable, listed", full),
        ("ours: the same file again", again),
    ] {
        let rate = format!("{:.0}", cost.rate(rows));
        let micros = cost.micros_per(rows);
        let ratio = table::ratio(micros, floor.micros_per(rows));
        table::row(label, &[&rate, &table::one(micros), &ratio])?;
    }
    let each = |after: u64, before: u64| (after - before) as f64 / rows as f64;
    table::note(&format!(
        "bytes a row: {:.0} in the file, {:.0} in the log, {:.0} in the view",
        file.len() as f64 / rows as f64,
        each(log_after, log),
        each(view_after, view),
    ))?;
    crew.end().await
}

async fn import(crew: &Crew, file: &[u8], dry_run: bool) -> Result<Cost, Box<dyn Error>> {
    let options =
        ImportOptions { mapping: Some(MAPPING.into()), dry_run, ..ImportOptions::default() };
    let meter = Meter::start();
    let report = crew.lead.import(Cursor::new(file.to_vec()), options, |_| {}).await?;
    let cost = meter.cost();
    if report.refused > 0 {
        return Err(format!("rows were refused: {report:?}").into());
    }
    Ok(cost)
}

/// The bytes of the log and of the view.
fn sizes(crew: &Crew) -> std::io::Result<(u64, u64)> {
    let store = crew.home("lead").join("store");
    Ok((homes::size(&store.join("log"))?, homes::size(&store.join("view"))?))
}

/// Entries as a file of comma-separated values.
fn file(entries: &[Entry]) -> Vec<u8> {
    let names = [
        "oilVolume",
        "gasVolume",
        "waterVolume",
        "tubingPressure",
        "casingPressure",
        "chokeSize",
        "runtime",
    ];
    let wells: Vec<String> =
        (0..entries::WELLS).map(|well| format!("42227{:05}", 40_000 + well)).collect();
    let mut text = format!("api,at,latitude,longitude,{},notes\n", names.join(","));
    for entry in entries {
        let json = entry.json(&wells);
        let cell = |value: &serde_json::Value| match value {
            serde_json::Value::String(text) => text.clone(),
            value => value.to_string(),
        };
        let outer = ["wellId", "recordedAt", "latitude", "longitude"].map(|key| cell(&json[key]));
        let data = names.map(|name| cell(&json["data"][name]));
        let notes = [cell(&json["notes"])];
        let cells: Vec<&str> =
            outer.iter().chain(&data).chain(&notes).map(String::as_str).collect();
        text.push_str(&cells.join(","));
        text.push('\n');
    }
    text.into_bytes()
}
