//! The time until one entry is safely on the disk, and how many a second 64 writers get there.
//!
//! The floor is what the disk takes: an append of as many bytes and `fdatasync` in the same folder.

use std::error::Error;
use std::fs::File;
use std::io::Write;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use fieldmesh::Node;
use fieldmesh::api::NewRecord;
use serde_json::Value as Json;
use tokio::task::JoinSet;

use super::crew::entries::{self, Entry};
use super::crew::homes::{self, Crew};
use super::crew::meter::{Cost, Meter, per, quantile};
use super::crew::{Size, table};
use super::other::{Kind, Other, Row};

const WRITERS: usize = 64;
/// A group of the disk that the targets are stated for.
const SMALL_GROUP: usize = 10;
const WARM_UP: usize = 50;

pub(crate) async fn run(size: Size) -> Result<(), Box<dyn Error>> {
    let crew = Crew::found().await?;
    let entries = entries::entries(WARM_UP + size.pick(1_000, 200), 1);
    let (warm_up, one_by_one) = entries.split_at(WARM_UP);
    let length = entry_length(&crew, warm_up).await?;
    single(&crew, one_by_one, length).await?;
    let entries = entries::entries(WRITERS * size.pick(200, 25), 2);
    together(&crew, entries, length).await?;
    crew.end().await
}

/// What one entry takes in the log.
async fn entry_length(crew: &Crew, entries: &[Entry]) -> Result<usize, Box<dyn Error>> {
    let log = crew.home("lead").join("store").join("log");
    let before = homes::size(&log)?;
    for entry in entries {
        record(&crew.lead, entry.json(&crew.wells)).await?;
    }
    let grown = homes::size(&log)? - before;
    Ok(usize::try_from(grown)? / entries.len())
}

/// Each entry in turn with the floor and the others, so that all meet the same disk.
async fn single(crew: &Crew, entries: &[Entry], length: usize) -> Result<(), Box<dyn Error>> {
    let mut file = File::create(crew.home("floor"))?;
    let frame = vec![7; length];
    let rows = Row::all(entries, &crew.wells, 0)?;
    let mut others = Vec::new();
    for kind in Kind::ALL {
        others.push((kind.open(&crew.home("single"))?, Vec::new()));
    }
    let (mut ours, mut floor, mut processor) = (Vec::new(), Vec::new(), Duration::ZERO);
    for (entry, row) in entries.iter().zip(&rows) {
        let json = entry.json(&crew.wells);
        let meter = Meter::start();
        record(&crew.lead, json).await?;
        let cost = meter.cost();
        ours.push(cost.wall);
        processor += cost.processor;
        floor.push(timed(|| Ok(append(&mut file, &frame)?))?);
        for (other, times) in &mut others {
            times.push(timed(|| other.insert(std::slice::from_ref(row)))?);
        }
    }
    table::head(
        "record: one writer, us until durable",
        &["ours", "append", "ratio", "sqlite", "redb"],
    )?;
    for (label, part) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99)] {
        let micros = |times: &[Duration]| per(quantile(times.to_vec(), part), 1);
        let (ours, floor) = (micros(&ours), micros(&floor));
        let others: Vec<String> =
            others.iter().map(|(_, times)| table::one(micros(times))).collect();
        let cells = [table::one(ours), table::one(floor), table::ratio(ours, floor)];
        table::row(label, &[&cells[0], &cells[1], &cells[2], &others[0], &others[1]])?;
    }
    let each = per(processor, entries.len());
    table::note(&format!("{length} bytes in the log and {each:.0} us of processor time an entry"))?;
    Ok(())
}

async fn together(crew: &Crew, entries: Vec<Entry>, length: usize) -> Result<(), Box<dyn Error>> {
    let count = entries.len();
    let rows = Row::all(&entries, &crew.wells, 0)?;
    let ours = recorded(&crew.lead, &crew.wells, entries).await?;
    table::head("record: 64 writers at a time", &["entries/s", "cpu us", "ours is"])?;
    let row = |label: &str, cost: Cost| {
        let (rate, ours) = (cost.rate(count), ours.rate(count));
        let cpu = table::one(cost.micros_per(count));
        table::row(label, &[&format!("{rate:.0}"), &cpu, &table::ratio(ours, rate)])
    };
    row("ours", ours)?;
    for group in [WRITERS, SMALL_GROUP] {
        let mut file = File::create(crew.home("floor"))?;
        let bytes = vec![7; length * group];
        let meter = Meter::start();
        for _ in 0..count.div_ceil(group) {
            append(&mut file, &bytes)?;
        }
        row(&format!("append and fdatasync, {group} at a time"), meter.cost())?;
    }
    for kind in Kind::ALL {
        let cost = inserted(kind.open(&crew.home("together"))?, &rows)?;
        row(&format!("{}, each a transaction", kind.name()), cost)?;
    }
    Ok(())
}

/// Records entries by 64 writers at a time.
pub(crate) async fn recorded(
    node: &Node,
    wells: &[String],
    entries: Vec<Entry>,
) -> Result<Cost, Box<dyn Error>> {
    let share = entries.len().div_ceil(WRITERS);
    let mut shares = Vec::new();
    for share in entries.chunks(share) {
        shares.push(share.iter().map(|entry| entry.json(wells)).collect::<Vec<_>>());
    }
    recorded_as(node, shares).await
}

/// Records what each writer has.
pub(crate) async fn recorded_as(
    node: &Node,
    shares: Vec<Vec<Json>>,
) -> Result<Cost, Box<dyn Error>> {
    let mut writers = JoinSet::new();
    let meter = Meter::start();
    for share in shares {
        let node = node.clone();
        writers.spawn(async move {
            for json in share {
                record(&node, json).await.map_err(|error| error.to_string())?;
            }
            Ok::<(), String>(())
        });
    }
    while let Some(done) = writers.join_next().await {
        done??;
    }
    Ok(meter.cost())
}

/// Inserts rows by 64 threads at a time; these stores let one write at a time.
fn inserted(other: Box<dyn Other>, rows: &[Row]) -> Result<Cost, Box<dyn Error>> {
    let other = Mutex::new(other);
    let meter = Meter::start();
    std::thread::scope(|scope| {
        let share = rows.len().div_ceil(WRITERS);
        let other = &other;
        let spawn = |share| scope.spawn(move || write(other, share));
        let threads: Vec<_> = rows.chunks(share).map(spawn).collect();
        for thread in threads {
            thread.join().map_err(|_| "a writer panicked")??;
        }
        Ok::<(), Box<dyn Error>>(())
    })?;
    Ok(meter.cost())
}

fn write(other: &Mutex<Box<dyn Other>>, rows: &[Row]) -> Result<(), String> {
    for row in rows {
        let mut other = other.lock().map_err(|error| error.to_string())?;
        other.insert(std::slice::from_ref(row)).map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn timed(work: impl FnOnce() -> Result<(), Box<dyn Error>>) -> Result<Duration, Box<dyn Error>> {
    let start = Instant::now();
    work()?;
    Ok(start.elapsed())
}

fn append(file: &mut File, bytes: &[u8]) -> std::io::Result<()> {
    file.write_all(bytes)?;
    file.sync_data()
}

async fn record(node: &Node, entry: Json) -> Result<(), Box<dyn Error>> {
    let Json::Object(fields) = entry else {
        return Err("an entry is an object".into());
    };
    let new = NewRecord { collection: "field_entry".into(), fields, ..NewRecord::default() };
    node.record(new).await?;
    Ok(())
}
