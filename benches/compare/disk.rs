//! What an entry takes on the disk once everything is tidied up.

use std::error::Error;
use std::path::PathBuf;

use serde_json::Value as Json;

use super::acknowledge::recorded_as;
use super::crew::entries::{self, Entry};
use super::crew::homes::{self, Crew};
use super::crew::{Size, table};
use super::other::{Kind, Row};

/// A batch holds entries of one month, so entries of as many months have a batch each.
const MONTHS: usize = 2_400;
const FIRST_YEAR: usize = 2_000;
const WRITERS: usize = 64;
/// Rows of one transaction of an import.
const IMPORT_ROWS: usize = 1_000;

pub(crate) async fn run(size: Size) -> Result<(), Box<dyn Error>> {
    table::head("disk, bytes an entry", &["batches", "log", "view", "all", "sqlite", "redb"])?;
    let count = size.pick(MONTHS, 1_000);
    let entries = entries::entries(count, 4);
    let crew = Crew::found().await?;
    let before = Used::of(&crew).await?;
    let mut shares = vec![Vec::new(); WRITERS];
    for (number, entry) in entries.iter().enumerate() {
        shares[number % WRITERS].push(in_month(entry, &crew.wells, number % MONTHS, 1));
    }
    recorded_as(&crew.lead, shares).await?;
    show("single records, a batch each", &crew, before, &entries, 1).await?;
    crew.end().await?;

    let entries = entries::entries(size.pick(100_000, 10_000), 5);
    let crew = Crew::found().await?;
    let before = Used::of(&crew).await?;
    homes::import(&crew.lead, "field_entry", entries::lines(&entries, &crew.wells)).await?;
    show("an import", &crew, before, &entries, IMPORT_ROWS).await?;
    crew.end().await
}

/// The entry as if it was recorded on a day of another month.
pub(crate) fn in_month(entry: &Entry, wells: &[String], month: usize, day: u64) -> Json {
    let mut json = entry.json(wells);
    let (year, month) = (FIRST_YEAR + month / 12, month % 12 + 1);
    let behind = entry.recorded_at().to_string().split_off("2025-10-".len());
    let time = &behind["00".len()..];
    json["recordedAt"] = format!("{year:04}-{month:02}-{day:02}{time}").into();
    json
}

/// What a store takes of the disk.
#[derive(Debug, Clone, Copy)]
struct Used {
    batches: u64,
    log: u64,
    view: u64,
}

impl Used {
    /// After sealing what waits and tidying up.
    async fn of(crew: &Crew) -> Result<Self, Box<dyn Error>> {
        crew.seal().await?;
        crew.lead.compact(|_| {}).await?;
        let store = crew.home("lead").join("store");
        Ok(Self {
            batches: crew.lead.status().await?.batches,
            log: homes::size(&store.join("log"))?,
            view: homes::size(&store.join("view"))?,
        })
    }
}

async fn show(
    label: &str,
    crew: &Crew,
    before: Used,
    entries: &[Entry],
    rows: usize,
) -> Result<(), Box<dyn Error>> {
    let after = Used::of(crew).await?;
    let each = |bytes: u64| format!("{:.0}", bytes as f64 / entries.len() as f64);
    let (log, view) = (after.log - before.log, after.view.saturating_sub(before.view));
    let mut others = Vec::new();
    for kind in Kind::ALL {
        others.push(each(filled(kind, crew.home("others"), &crew.wells, entries, rows)?));
    }
    let ours = [each(log), each(view), each(log + view)];
    let batches = after.batches - before.batches;
    table::row(label, &[&batches, &ours[0], &ours[1], &ours[2], &others[0], &others[1]])?;
    Ok(())
}

/// The bytes of another store that holds the entries, so many to a transaction.
fn filled(
    kind: Kind,
    folder: PathBuf,
    wells: &[String],
    entries: &[Entry],
    rows: usize,
) -> Result<u64, Box<dyn Error>> {
    let folder = folder.join(kind.name());
    let mut other = kind.open(&folder)?;
    for (first, part) in (0..).step_by(rows).zip(entries.chunks(rows)) {
        other.insert(&Row::all(part, wells, first)?)?;
    }
    other.shrink()?;
    drop(other);
    Ok(homes::size(&folder)?)
}
