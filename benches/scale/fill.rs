//! Fills a home in groups, and tells what a group costs the more there is.

use std::error::Error;

use super::crew::entries::{self, Entry};
use super::crew::homes::{self, Crew};
use super::crew::meter::Meter;
use super::crew::table;
use super::resident::{Resident, megabytes};

/// Entries that are imported at a time.
const GROUP: usize = 50_000;
/// So many rows of the table.
const ROWS: usize = 10;

pub(crate) async fn fill(crew: &Crew, count: usize) -> Result<(), Box<dyn Error>> {
    let columns = ["us/entry", "us cpu/entry", "MB own", "MB peak"];
    table::head("filling a home, and this process", &columns)?;
    let mut stream = entries::stream(3);
    let share = count.div_ceil(ROWS).max(GROUP.min(count));
    let mut held = 0;
    while held < count {
        let meter = Meter::start();
        let first = held;
        while held < count.min(first + share) {
            let group = GROUP.min(count.min(first + share) - held);
            let group: Vec<Entry> = stream.by_ref().take(group).collect();
            homes::import(&crew.lead, "field_entry", entries::lines(&group, &crew.wells)).await?;
            held += group.len();
        }
        crew.settle().await?;
        let (cost, memory) = (meter.cost(), Resident::here()?);
        let wall = table::one(cost.wall.as_secs_f64() * 1e6 / (held - first) as f64);
        let processor = table::one(cost.micros_per(held - first));
        let memory = [megabytes(memory.own), megabytes(memory.peak)];
        let label = format!("up to {held} entries");
        table::row(&label, &[&wall, &processor, &memory[0], &memory[1]])?;
    }
    Ok(())
}
