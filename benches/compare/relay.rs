//! The memory of a relay that holds many batches.

use std::error::Error;
use std::fs;
use std::time::Instant;

use super::crew::entries;
use super::crew::homes::{self, Crew};
use super::crew::{Size, table};
use super::disk::in_month;
use super::idle::{self, Role};

/// Parts that make 200,000 batches; a million take five times as long to make.
const PARTS: u64 = 84;
/// Each part of the entries has a month, and so a batch, for each of them.
const PART: usize = 2_400;
/// Every month has so many.
const DAYS: u64 = 28;

pub(crate) async fn run(size: Size) -> Result<(), Box<dyn Error>> {
    let crew = Crew::found().await?;
    let parts = size.pick(PARTS, 4);
    let start = Instant::now();
    for part in 0..parts {
        let mut lines = String::new();
        // No two entries of a well are of the same moment.
        let day = part % DAYS + 1;
        for (month, entry) in entries::entries(PART, 100 + part).iter().enumerate() {
            lines.push_str(&in_month(entry, &crew.wells, month, day).to_string());
            lines.push('\n');
        }
        homes::import(&crew.lead, "field_entry", lines.into_bytes()).await?;
    }
    let batches = crew.lead.status().await?.batches;
    let seconds = start.elapsed().as_secs();
    crew.lead.clone().shutdown().await?;
    // A relay has none of the rows that a device has made of the batches.
    fs::remove_dir_all(crew.home("lead").join("store").join("view"))?;
    // The first start makes the rows of the batches, as they would come in one by one.
    idle::measure(&crew, Role::Relay)?;
    let bytes = idle::measure(&crew, Role::Relay)?;
    table::head("memory of an idle relay", &["anonymous MB", "bytes each"])?;
    let cells = [table::one(bytes as f64 / 1e6), table::one(bytes as f64 / batches as f64)];
    table::row(&format!("{batches} batches of one entry"), &[&cells[0], &cells[1]])?;
    table::note(&format!("made in {seconds} s"))?;
    Ok(())
}
