//! Night: is everything everywhere?

use std::collections::BTreeSet;

use fieldmesh::api::{ConflictReport, Traffic};
use serde_json::json;

use super::apart::OPINIONS;
use super::crew::{Crew, Found};
use super::device::{Device, exported_ids};
use super::error::{DemoError, hold};
use super::teller::Teller;
use crate::render;

/// How the day went.
#[derive(Debug)]
pub(super) struct Outcome {
    /// How many records were acknowledged.
    pub(super) acknowledged: usize,
    /// On how many devices each of them is.
    pub(super) replicas: usize,
    /// How many batches everybody holds.
    pub(super) batches: u64,
    /// How many conflicts everybody lists.
    pub(super) conflicts: usize,
    /// How ben and cleo found each other.
    pub(super) found: Found,
    /// What passed over connections while the crew came together.
    pub(super) traffic: Traffic,
}

/// Plays the chapter.
pub(super) async fn play(crew: &mut Crew, teller: &mut Teller<'_>) -> Result<Outcome, DemoError> {
    teller.chapter("reckoning", "Is everything everywhere?")?;
    let status = crew.in_step(&crew.devices()).await?;
    let bytes = records(crew).await?;
    let count = crew.acknowledged.len();
    let words = format!(
        "Each of the {count} acknowledged records is on each of the three devices; their exports \
         are equal, byte by byte ({}).",
        render::bytes(bytes)
    );
    teller.tell(&words, json!({ "acknowledged": count, "exportBytes": bytes }))?;

    let listed = conflicts(crew).await?;
    let words = "The conflict between ben and cleo is listed alike on all three, with both values.";
    teller.tell(words, json!({ "conflicts": listed.len() }))?;

    let mut changes = 0;
    for device in crew.devices() {
        let check = device.verify().await?;
        hold(check.clean, "every home is sound", || {
            format!("{}: {}", device.name, check.faults.join("; "))
        })?;
        changes += check.changes;
    }
    let words = format!(
        "Every signature and record of the three homes is checked: sound ({}).",
        render::counted(changes, "change", "changes"),
    );
    teller.tell(&words, json!({ "changes": changes }))?;
    Ok(Outcome {
        acknowledged: count,
        replicas: crew.devices().len(),
        batches: status.batches,
        conflicts: listed.len(),
        found: crew.found,
        traffic: crew.traffic,
    })
}

/// Looks for every acknowledged record in every export, and compares the exports; gives the size
/// of what one device exports.
async fn records(crew: &Crew) -> Result<u64, DemoError> {
    let mut bytes = 0;
    for collection in ["well", "field_entry"] {
        let mut first: Option<String> = None;
        for device in crew.devices() {
            let export = device.export(collection).await?;
            complete(crew, device, collection, &export)?;
            match &first {
                None => {
                    bytes += export.len() as u64;
                    first = Some(export);
                }
                Some(first) => hold(*first == export, "exports are equal", || {
                    format!("{} exports another {collection} than ana", device.name)
                })?,
            }
        }
    }
    Ok(bytes)
}

fn complete(crew: &Crew, device: &Device, collection: &str, export: &str) -> Result<(), DemoError> {
    let there: BTreeSet<String> = exported_ids(export).collect();
    let missing: Vec<&str> =
        crew.acknowledged.of(collection).filter(|id| !there.contains(*id)).collect();
    hold(missing.is_empty(), "every acknowledged record is on every device", || {
        format!("{} lacks {} of {collection}: {}", device.name, missing.len(), missing.join(", "))
    })
}

/// The conflicts, which every device lists alike.
async fn conflicts(crew: &Crew) -> Result<Vec<ConflictReport>, DemoError> {
    let listed = crew.ana.conflicts().await?;
    for device in [&crew.ben, &crew.cleo] {
        let others = device.conflicts().await?;
        hold(listed == others, "conflicts are listed alike everywhere", || {
            format!("ana's device lists {listed:?}, {} lists {others:?}", device.name)
        })?;
    }
    let is_expected = match listed.as_slice() {
        [conflict] => {
            let mut values: Vec<_> =
                conflict.values.iter().filter_map(|side| side.value.as_f64()).collect();
            values.sort_by(f64::total_cmp);
            conflict.record.to_string() == crew.disputed
                && conflict.open
                && values == OPINIONS.map(f64::from)
        }
        _ => false,
    };
    hold(is_expected, "nothing but what ben and cleo disagree about is a conflict", || {
        format!("{listed:?} is listed")
    })?;
    Ok(listed)
}
