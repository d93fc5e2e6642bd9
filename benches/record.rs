//! The time until one entry is safely on the disk, and how many a second 64 writers get there.
//!
//! The floor is what the disk takes: an append of as many bytes and `fdatasync`, in turn with
//! ours in the same folder.

mod crew;

use std::error::Error;
use std::fs::File;
use std::io::Write;
use std::time::{Duration, Instant};

use fieldmesh::Node;
use fieldmesh::api::NewRecord;
use tokio::task::JoinSet;

use crew::entries::{self, Entry};
use crew::homes::{self, Crew};
use crew::meter::{Meter, per, quantile};
use crew::{Size, table};

const WRITERS: usize = 64;
const WARM_UP: usize = 50;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    if crew::is_test() {
        return Ok(());
    }
    let size = Size::asked();
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
        record(&crew.lead, entry, &crew.wells).await?;
    }
    let grown = homes::size(&log)? - before;
    Ok(usize::try_from(grown)? / entries.len())
}

async fn single(crew: &Crew, entries: &[Entry], length: usize) -> Result<(), Box<dyn Error>> {
    let mut file = File::create(crew.home("floor"))?;
    let frame = vec![7; length];
    let (mut ours, mut floor) = (Vec::new(), Vec::new());
    let mut processor = Duration::ZERO;
    for entry in entries {
        let meter = Meter::start();
        record(&crew.lead, entry, &crew.wells).await?;
        let cost = meter.cost();
        ours.push(cost.wall);
        processor += cost.processor;
        let start = Instant::now();
        append(&mut file, &frame)?;
        floor.push(start.elapsed());
    }
    let micros = |times: &[Duration], part| per(quantile(times.to_vec(), part), 1);
    table::head("record: one writer", &["ours us", "floor us", "ratio"])?;
    for (label, part) in [("p50 of an acknowledgement", 0.5), ("p90", 0.9), ("p99", 0.99)] {
        let (ours, floor) = (micros(&ours, part), micros(&floor, part));
        table::row(label, &[&table::one(ours), &table::one(floor), &table::ratio(ours, floor)])?;
    }
    let each = per(processor, entries.len());
    table::note(&format!("{length} bytes in the log and {each:.0} us of processor time an entry"))?;
    Ok(())
}

async fn together(crew: &Crew, entries: Vec<Entry>, length: usize) -> Result<(), Box<dyn Error>> {
    let count = entries.len();
    let mut writers = JoinSet::new();
    let meter = Meter::start();
    for share in entries.chunks(count / WRITERS) {
        let (node, wells, share) = (crew.lead.clone(), crew.wells.clone(), share.to_vec());
        writers.spawn(async move {
            for entry in &share {
                record(&node, entry, &wells).await.map_err(|error| error.to_string())?;
            }
            Ok::<(), String>(())
        });
    }
    while let Some(done) = writers.join_next().await {
        done??;
    }
    let ours = meter.cost();
    let mut file = File::create(crew.home("floor"))?;
    let group = vec![7; length * WRITERS];
    let meter = Meter::start();
    for _ in 0..count / WRITERS {
        append(&mut file, &group)?;
    }
    let floor = meter.cost();
    table::head("record: 64 writers at a time", &["ours", "floor", "ratio"])?;
    let (rate, floor_rate) = (ours.rate(count), floor.rate(count));
    let cells = [format!("{rate:.0}"), format!("{floor_rate:.0}"), table::ratio(rate, floor_rate)];
    table::row("entries a second", &[&cells[0], &cells[1], &cells[2]])?;
    table::row("us of processor time an entry", &[&table::one(ours.micros_per(count)), &"", &""])?;
    Ok(())
}

fn append(file: &mut File, bytes: &[u8]) -> std::io::Result<()> {
    file.write_all(bytes)?;
    file.sync_data()
}

async fn record(node: &Node, entry: &Entry, wells: &[String]) -> Result<(), Box<dyn Error>> {
    let serde_json::Value::Object(fields) = entry.json(wells) else {
        return Err("an entry is an object".into());
    };
    let new = NewRecord { collection: "field_entry".into(), fields, ..NewRecord::default() };
    node.record(new).await?;
    Ok(())
}
