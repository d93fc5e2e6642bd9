//! Afternoon: cleo's device loses power in the middle of recording.

use std::time::Instant;

use serde_json::json;

use super::crew::Crew;
use super::device::exported_ids;
use super::entry::Notebook;
use super::error::{DemoError, hold};
use super::teller::{Teller, millis};
use crate::render;

/// How many entries are acknowledged before the power goes.
const ENTRIES_BEFORE: usize = 25;
/// More entries than a device could take until then.
const ENTRIES_MAX: usize = 2_000;

/// Plays the chapter.
pub(super) async fn play(crew: &mut Crew, teller: &mut Teller<'_>) -> Result<(), DemoError> {
    teller.chapter("accident", "A device loses power")?;
    let notebook: &mut Notebook = &mut crew.notebook;
    let entries = (0..ENTRIES_MAX).map(|_| notebook.entry());
    let ids = crew.cleo.record_until_killed("field_entry", entries, ENTRIES_BEFORE).await?;
    for id in &ids {
        crew.acknowledged.note("field_entry", id);
    }
    let words = format!(
        "cleo records one entry after the other; her device is killed (-9) when {} are \
         acknowledged.",
        render::counted(ids.len() as u64, "entry", "entries"),
    );
    teller.tell(&words, json!({ "acknowledged": ids.len() }))?;

    let begun = Instant::now();
    let relay = crew.relay.address();
    let options = crew.options(&relay);
    crew.cleo.start(&options).await?;
    let restart = millis(begun.elapsed());
    let export = crew.cleo.export("field_entry").await?;
    let there: std::collections::BTreeSet<String> = exported_ids(&export).collect();
    let missing: Vec<&String> = ids.iter().filter(|id| !there.contains(*id)).collect();
    hold(missing.is_empty(), "an acknowledged entry survives a loss of power", || {
        format!("cleo's device lost {missing:?}")
    })?;
    let check = crew.cleo.verify().await?;
    hold(check.clean, "a home is sound after a loss of power", || check.faults.join("; "))?;
    let words = format!(
        "It runs again after {restart} ms: all {} are there, and the whole home is sound ({} \
         checked).",
        ids.len(),
        render::counted(check.changes, "change", "changes"),
    );
    teller.tell(&words, json!({ "restartMillis": restart, "changes": check.changes }))
}
