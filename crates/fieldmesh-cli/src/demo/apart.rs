//! The shift: the relay is down, nobody reaches anybody, everybody records.

use std::time::Duration;

use futures::future::try_join3;
use serde_json::{Value as Json, json};

use super::crew::Crew;
use super::error::DemoError;
use super::teller::{Teller, millis};

/// How many entries each device records while it is alone.
const ENTRIES_ALONE: usize = 8;
/// What ben makes of the disputed entry, and cleo without knowing of it.
pub(super) const OPINIONS: [u32; 2] = [81, 84];

/// Plays the chapter.
pub(super) async fn play(crew: &mut Crew, teller: &mut Teller<'_>) -> Result<(), DemoError> {
    teller.chapter("apart", "A shift without any network")?;
    crew.ana.stop().await?;
    crew.relay.stop().await?;
    teller.tell("The relay is stopped, and no device runs.", json!({}))?;

    let mut page = || -> Vec<Json> { (0..ENTRIES_ALONE).map(|_| crew.notebook.entry()).collect() };
    let pages = [page(), page(), page()];
    let recorded = try_join3(
        crew.ana.record("field_entry", &pages[0]),
        crew.ben.record("field_entry", &pages[1]),
        crew.cleo.record("field_entry", &pages[2]),
    )
    .await?;
    let receipts = [recorded.0, recorded.1, recorded.2].concat();
    let mut times: Vec<Duration> = receipts.iter().map(|receipt| receipt.after).collect();
    times.sort_unstable();
    let median = millis(times[times.len() / 2]);
    for receipt in &receipts {
        crew.acknowledged.note("field_entry", &receipt.id);
    }
    let words = format!(
        "Each records {ENTRIES_ALONE} entries; {} are acknowledged, {median} ms each at the median \
         from starting the program to its end.",
        receipts.len()
    );
    let numbers = json!({ "recorded": receipts.len(), "medianMillis": median });
    teller.tell(&words, numbers)?;

    let [bens, cleos] = OPINIONS;
    crew.ben.edit(&crew.disputed, &format!("oilVolume={bens}")).await?;
    crew.cleo.edit(&crew.disputed, &format!("oilVolume={cleos}")).await?;
    let words = format!(
        "ben corrects this morning's entry: {bens} barrels of oil. cleo, his manager, writes \
         {cleos} into the same entry; neither knows of the other."
    );
    teller.tell(&words, json!({ "record": crew.disputed, "values": OPINIONS }))
}
