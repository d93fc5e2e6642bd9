//! Bringing two devices into step over QUIC on loopback, with both homes on a real disk.
//!
//! S1 is a device that holds nothing, S2 two that hold the same, S3 two that differ by a day's
//! work. Bytes and rounds are those of the conversation, before QUIC and TLS; processor time is
//! that of both sides together. The floor is reading the same changes in memory, which whoever
//! shows a record has to do.

mod crew;

use std::error::Error;
use std::hint::black_box;

use fieldmesh::api::PeerSync;
use fieldmesh::{Node, RunOptions};
use fieldmesh_document::Document;

use crew::documents::{self, Pair};
use crew::entries;
use crew::homes::{self, Crew};
use crew::meter::{Cost, Meter, median};
use crew::{Size, table};

/// Entries that each side of S3 has new, and edits of entries that both hold.
const NEW: usize = 100;
const EDITED: usize = 50;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    if crew::is_test() {
        return Ok(());
    }
    let size = Size::asked();
    let counts = size.pick(&[1_000, 10_000, 100_000][..], &[1_000, 10_000][..]);
    let columns = ["us cpu/entry", "floor us", "ratio", "wall ms", "bytes/entry", "rounds"];
    table::head("S1: a device that holds nothing", &columns)?;
    let mut crew = None;
    for count in counts {
        let repeats = if *count > 10_000 { 1 } else { size.pick(5, 1) };
        let founded = cold(*count, repeats).await?;
        if *count == 10_000 {
            crew = Some(founded);
        } else {
            founded.end().await?;
        }
    }
    let crew = crew.ok_or("S2 and S3 need 10,000 entries")?;
    let hand = crew.join("hand").await?;
    crew.sync(&hand).await?;
    unchanged(&crew, &hand).await?;
    apart(&crew, &hand, size.pick(3, 1)).await?;
    connected(&crew, &hand).await?;
    hand.shutdown().await?;
    crew.end().await
}

/// S1 with `count` entries.
async fn cold(count: usize, repeats: usize) -> Result<Crew, Box<dyn Error>> {
    let entries = entries::entries(count, 1);
    let floor = read_all(&documents::pairs(&entries)?);
    let crew = Crew::found().await?;
    crew.record(&entries).await?;
    let mut costs = Vec::new();
    let mut last = None;
    for repeat in 0..repeats {
        let name = format!("new-{repeat}");
        let device = crew.join(&name).await?;
        let meter = Meter::start();
        let peer = crew.sync(&device).await?;
        costs.push(meter.cost());
        last = Some(peer);
        let held = homes::ids(&device).await?.len();
        if held != count {
            return Err(format!("{held} of {count} entries arrived").into());
        }
        device.shutdown().await?;
        std::fs::remove_dir_all(crew.home(&name))?;
    }
    let peer = last.ok_or("no repeat")?;
    let cost = median(costs);
    let (micros, floor) = (cost.micros_per(count), floor.micros_per(count));
    let wall = table::one(cost.wall.as_secs_f64() * 1e3);
    let bytes = table::one(bytes(&peer) as f64 / count as f64);
    let label = format!("{count} entries, {} batches", peer.received);
    let (ratio, floor) = (table::ratio(micros, floor), table::one(floor));
    table::row(&label, &[&table::one(micros), &floor, &ratio, &wall, &bytes, &peer.rounds])?;
    Ok(crew)
}

/// S2: nothing is new, and the connection is.
async fn unchanged(crew: &Crew, hand: &Node) -> Result<(), Box<dyn Error>> {
    table::head("S2: nothing new among 10,000", &["bytes", "rounds", "cpu us", "wall us"])?;
    let meter = Meter::start();
    let peer = crew.sync(hand).await?;
    compared("a new connection", &peer, meter.cost())
}

/// S2 on a connection that is open, as a device keeps it that runs.
async fn connected(crew: &Crew, hand: &Node) -> Result<(), Box<dyn Error>> {
    table::head("S2: nothing new, still connected", &["bytes", "rounds", "cpu us", "wall us"])?;
    let relays = vec![crew.address.clone()];
    let listen = Some(([127, 0, 0, 1], 0).into());
    hand.run(RunOptions { listen, relays, mdns: false, ..RunOptions::default() }).await?;
    let lead = crew.lead.status().await?.tenant.device.to_string();
    homes::sync(hand, &lead).await?;
    let meter = Meter::start();
    let peer = homes::sync(hand, &lead).await?;
    compared("an open connection", &peer, meter.cost())
}

fn compared(label: &str, peer: &PeerSync, cost: Cost) -> Result<(), Box<dyn Error>> {
    let (processor, wall) = (table::one(cost.micros_per(1)), cost.wall.as_micros());
    table::row(label, &[&bytes(peer), &peer.rounds, &processor, &wall])?;
    Ok(())
}

/// S3: both hold 10,000, and each side has 100 new entries and 50 edits.
async fn apart(crew: &Crew, hand: &Node, repeats: usize) -> Result<(), Box<dyn Error>> {
    let title = format!("S3: {NEW} new and {EDITED} edits on each side");
    table::head(&title, &["bytes", "batches", "rounds", "cpu ms", "floor ms", "ratio", "wall ms"])?;
    for repeat in 0..repeats {
        let seed = 10 + 2 * repeat as u64;
        let ids = homes::ids(hand).await?;
        for (side, node) in [&crew.lead, hand].into_iter().enumerate() {
            let new = entries::entries(NEW, seed + side as u64);
            homes::import(node, "field_entry", entries::lines(&new, &crew.wells)).await?;
            let edited: Vec<String> =
                ids.iter().skip(side).step_by(37).take(EDITED).cloned().collect();
            homes::edit(node, &edited, 1_000.5 + repeat as f64).await?;
        }
        let meter = Meter::start();
        let peer = crew.sync(hand).await?;
        crew.settle().await?;
        let cost = meter.cost();
        let floor = merge_all(&documents::pairs(&entries::entries(2 * NEW, seed))?);
        let (ours, floor) = (cost.micros_per(1_000), floor.micros_per(1_000));
        let cells =
            [ours, floor, cost.wall.as_secs_f64() * 1e3].map(|millis| format!("{millis:.1}"));
        let (batches, ratio) = (peer.received + peer.sent, table::ratio(ours, floor));
        table::row(
            &format!("day {}", repeat + 1),
            &[&bytes(&peer), &batches, &peer.rounds, &cells[0], &cells[1], &ratio, &cells[2]],
        )?;
    }
    Ok(())
}

/// The floor of S1: reads every entry from its first change.
fn read_all(pairs: &[Pair]) -> Cost {
    let meter = Meter::start();
    for pair in pairs {
        read(pair);
    }
    meter.cost()
}

/// The floor of S3: reads what is new and merges what was edited, on both sides.
fn merge_all(pairs: &[Pair]) -> Cost {
    let meter = Meter::start();
    for pair in pairs {
        read(pair);
    }
    for pair in pairs.iter().take(2 * EDITED) {
        assert!(black_box(documents::load_both(pair)).is_ok(), "a good edit is taken");
    }
    meter.cost()
}

fn read(pair: &Pair) {
    let document = Document::load(pair.id, [pair.first.as_slice()]);
    let view = document.map(|document| black_box(document.view(documents::collection())));
    assert!(view.is_ok_and(|view| view.is_ok()), "a good change is read");
}

fn bytes(peer: &PeerSync) -> u64 {
    peer.bytes_in + peer.bytes_out
}
