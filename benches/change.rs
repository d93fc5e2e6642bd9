//! What one change costs where many records lie: those who watch, the inbox, and pages.
//!
//! All of it should depend on the change and not on the number of records, so the ratio is that to
//! the smallest home, and the floor of a live query the same edits with nobody watching.

mod crew;

use std::error::Error;
use std::time::{Duration, Instant};

use fieldmesh::Node;
use fieldmesh::api::{Choice, ConflictQuery, ListQuery, Resolution};

use crew::entries;
use crew::homes::{self, Crew};
use crew::meter::{Meter, per, quantile};
use crew::{Size, table};

/// Entries that are edited, one by one; so many conflicts are made.
const CHANGES: usize = 50;
/// The records of a page.
const PAGE: usize = 50;
/// How long nothing has to happen until the work of earlier changes is surely done.
const QUIET: Duration = Duration::from_millis(300);

/// What was measured in a home of one size.
struct Row {
    label: &'static str,
    /// Microseconds.
    micros: f64,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    if crew::is_test() {
        return Ok(());
    }
    let sizes = Size::asked().pick(&[1_000, 10_000, 100_000][..], &[1_000, 4_000][..]);
    let mut measured = Vec::new();
    for count in sizes {
        measured.push(measure(*count).await?);
    }
    let [first, ..] = measured.as_slice() else { return Ok(()) };
    for (count, rows) in sizes.iter().zip(&measured) {
        let smallest = format!("to {}", sizes[0]);
        table::head(&format!("one change among {count} entries"), &["us", &smallest])?;
        for (row, floor) in rows.iter().zip(first) {
            let ratio = table::ratio(row.micros, floor.micros);
            table::row(row.label, &[&table::one(row.micros), &ratio])?;
        }
    }
    Ok(())
}

async fn measure(count: usize) -> Result<Vec<Row>, Box<dyn Error>> {
    let crew = Crew::found().await?;
    let all = entries::entries(count, 4);
    homes::import(&crew.lead, "field_entry", entries::lines(&all, &crew.wells)).await?;
    let truck = crew.join("truck").await?;
    crew.sync(&truck).await?;
    let ids = newest(&crew.lead, CHANGES).await?;
    let mut rows = Vec::new();
    rows.extend([
        Row { label: "edit, nobody watches: cpu", micros: edits(&crew.lead, &ids, 1.5).await? },
        Row { label: "edit, told to a live query: cpu", micros: watched(&crew.lead, &ids).await? },
    ]);
    rows.push(Row { label: "page of the newest 50: p50", micros: pages(&crew).await? });
    rows.extend(inbox(&crew, &truck, &ids).await?);
    truck.shutdown().await?;
    crew.end().await?;
    Ok(rows)
}

/// Processor time of an edit, until the view has it.
async fn edits(node: &Node, ids: &[String], volume: f64) -> Result<f64, Box<dyn Error>> {
    // The first status of a process counts where every record is; from then on it costs what changes.
    node.status().await?;
    tokio::time::sleep(QUIET).await;
    let meter = Meter::start();
    for (number, id) in ids.iter().enumerate() {
        homes::edit(node, std::slice::from_ref(id), volume + number as f64).await?;
        node.status().await?;
    }
    Ok(meter.cost().micros_per(ids.len()))
}

/// The same while a query of every entry is live; each edit has come to it before the next.
async fn watched(node: &Node, ids: &[String]) -> Result<f64, Box<dyn Error>> {
    let query = ListQuery {
        collection: "field_entry".into(),
        filters: vec!["oilVolume>1000".into()],
        ..ListQuery::default()
    };
    let mut live = node.subscribe(query).await?;
    live.next().await.ok_or("the query begins with what is there")??;
    tokio::time::sleep(QUIET).await;
    let meter = Meter::start();
    for (number, id) in ids.iter().enumerate() {
        let volume = 1_001.5 + number as f64;
        homes::edit(node, std::slice::from_ref(id), volume).await?;
        live.next().await.ok_or("the query goes on")??;
        node.status().await?;
    }
    Ok(meter.cost().micros_per(ids.len()))
}

/// The time of the page of the newest entries, in the middle of as many as there are wells.
async fn pages(crew: &Crew) -> Result<f64, Box<dyn Error>> {
    let mut times = Vec::new();
    for _ in &crew.wells {
        let start = Instant::now();
        let query = ListQuery {
            collection: "field_entry".into(),
            limit: Some(PAGE),
            ..ListQuery::default()
        };
        crew.lead.page(query).await?;
        times.push(start.elapsed());
    }
    Ok(per(quantile(times, 0.5), 1))
}

/// Two devices edit the same entries apart; what the inbox costs then.
async fn inbox(crew: &Crew, truck: &Node, ids: &[String]) -> Result<Vec<Row>, Box<dyn Error>> {
    homes::edit(&crew.lead, ids, 2_001.0).await?;
    homes::edit(truck, ids, 2_002.0).await?;
    crew.seal().await?;
    // The first status of a process counts where every record is, and this one is the truck's.
    truck.status().await?;
    tokio::time::sleep(QUIET).await;
    let meter = Meter::start();
    crew.sync(truck).await?;
    crew.settle().await?;
    truck.status().await?;
    let synced = meter.cost().micros_per(2 * ids.len());
    let mut times = Vec::new();
    for _ in 0..ids.len() {
        let start = Instant::now();
        let open = crew.lead.conflicts(ConflictQuery::default()).await?.len();
        times.push(start.elapsed());
        if open != ids.len() {
            return Err(format!("{open} conflicts of {} edits", ids.len()).into());
        }
    }
    let listed = per(quantile(times, 0.5), 1);
    let open = crew.lead.conflicts(ConflictQuery::default()).await?;
    let meter = Meter::start();
    for item in &open {
        crew.lead.resolve(&item.id, Resolution::Take(Choice::Latest)).await?;
    }
    crew.settle().await?;
    let settled = meter.cost().micros_per(open.len());
    Ok(vec![
        Row { label: "conflict arrives, both sides: cpu", micros: synced },
        Row { label: "inbox of 50 listed: p50", micros: listed },
        Row { label: "conflict settled: cpu", micros: settled },
    ])
}

/// The ids of the newest entries.
async fn newest(node: &Node, count: usize) -> Result<Vec<String>, Box<dyn Error>> {
    let query =
        ListQuery { collection: "field_entry".into(), limit: Some(count), ..ListQuery::default() };
    Ok(node.list(query).await?.iter().map(|record| record.id.to_string()).collect())
}
