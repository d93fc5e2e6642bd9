//! What it costs to hold many entries: opening, listing, rebuilding, memory.

use std::error::Error;
use std::fs;
use std::time::{Duration, Instant};

use fieldmesh::api::ListQuery;

use super::crew::entries::{self, WELLS};
use super::crew::homes::{self, Crew};
use super::crew::meter::{per, quantile};
use super::crew::{Size, table};
use super::idle::{self, Role};
use super::other::{Kind, Row, well_id};

/// The entries of one well that are listed.
const NEWEST: usize = 50;
const OPENS: usize = 5;
/// Rows of one transaction of the others while they are filled.
const FILL_ROWS: usize = 1_000;

pub(crate) async fn run(size: Size) -> Result<(), Box<dyn Error>> {
    let count = size.pick(100_000, 10_000);
    let entries = entries::entries(count, 3);
    let mut crew = Crew::found().await?;
    homes::import(&crew.lead, "field_entry", entries::lines(&entries, &crew.wells)).await?;
    for kind in Kind::ALL {
        let mut other = kind.open(&crew.home(kind.name()))?;
        for (first, part) in (0..).step_by(FILL_ROWS).zip(entries.chunks(FILL_ROWS)) {
            other.insert(&Row::all(part, &crew.wells, first)?)?;
        }
    }
    drop(entries);
    listing(&crew, count).await?;
    crew = opening(crew, count).await?;
    let (crew, cost) = crew.rebuild().await?;
    table::head("the view anew from the log", &["entries/s", "cpu us"])?;
    let cells = [format!("{:.0}", cost.rate(count)), table::one(cost.micros_per(count))];
    table::row(&format!("{count} entries"), &[&cells[0], &cells[1]])?;
    crew.lead.clone().shutdown().await?;
    table::head("memory of an idle node", &["anonymous MB"])?;
    let bytes = idle::measure(&crew, Role::Device)?;
    table::row(&format!("{count} entries"), &[&table::one(bytes as f64 / 1e6)])?;
    Ok(())
}

async fn listing(crew: &Crew, count: usize) -> Result<(), Box<dyn Error>> {
    crew.settle().await?;
    let mut ours = Vec::new();
    for well in &crew.wells {
        let start = Instant::now();
        let query = ListQuery {
            collection: "field_entry".into(),
            filters: vec![format!("wellId={well}")],
            limit: Some(NEWEST),
            ..ListQuery::default()
        };
        let listed = crew.lead.list(query).await?.len();
        ours.push(start.elapsed());
        check(listed, count)?;
    }
    let mut cells = vec![millis(ours)];
    for kind in Kind::ALL {
        let other = kind.open(&crew.home(kind.name()))?;
        let mut times = Vec::new();
        for well in &crew.wells {
            let well = well_id(well)?;
            let start = Instant::now();
            let listed = other.newest(&well, NEWEST)?.len();
            times.push(start.elapsed());
            check(listed, count)?;
        }
        cells.push(millis(times));
    }
    table::head(&format!("the last {NEWEST} of a well, ms p50"), &["ours", "sqlite", "redb"])?;
    table::row(&format!("among {count} entries"), &[&cells[0], &cells[1], &cells[2]])?;
    Ok(())
}

/// A well has so many entries, or nearly, that all of the newest are there.
fn check(listed: usize, count: usize) -> Result<(), Box<dyn Error>> {
    if listed == NEWEST || (listed > 0 && count < 2 * NEWEST * WELLS) {
        return Ok(());
    }
    Err(format!("{listed} entries of a well were listed").into())
}

/// Opens everything several times; from the request until one entry is read.
async fn opening(mut crew: Crew, count: usize) -> Result<Crew, Box<dyn Error>> {
    let well = well_id(crew.wells.first().ok_or("the crew has wells")?)?;
    let mut ours = Vec::new();
    for _ in 0..OPENS {
        let time;
        (crew, time) = crew.reopened().await?;
        ours.push(time);
    }
    let mut cells = vec![millis(ours)];
    for kind in Kind::ALL {
        let folder = crew.home(kind.name());
        let mut times = Vec::new();
        for _ in 0..OPENS {
            let start = Instant::now();
            let other = kind.open(&folder)?;
            other.newest(&well, 1)?;
            times.push(start.elapsed());
        }
        cells.push(millis(times));
        fs::remove_dir_all(folder)?;
    }
    table::head("open and read one entry, ms p50", &["ours", "sqlite", "redb"])?;
    table::row(&format!("{count} entries"), &[&cells[0], &cells[1], &cells[2]])?;
    Ok(crew)
}

fn millis(times: Vec<Duration>) -> String {
    format!("{:.2}", per(quantile(times, 0.5), 1) / 1e3)
}
