//! Records and pages of the feed.

use std::sync::{Arc, OnceLock};

use fieldmesh_model::{Fields, Moment};
use serde::{Deserialize, Deserializer};
use serde_json::Value as Json;
use serde_json::value::{RawValue, to_raw_value};

use crate::name::Name;
use crate::payload::plain;

/// A record as it is shown.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// What the client calls it.
    pub name: Name,
    /// Its collection.
    pub collection: String,
    /// Its fields; those that refer to other records hold the names that the client knows.
    #[serde(default, deserialize_with = "plain::deserialize")]
    pub fields: Fields,
    /// How many changes of it have arrived.
    pub version: u64,
    /// Whether it is deleted: then its fields are what was known last.
    #[serde(default)]
    pub deleted: bool,
    /// When the newest of them arrived.
    pub arrived_at: Moment,
    /// When the newest of them was made, by the clock of its device.
    #[serde(default)]
    pub changed_at: Option<Moment>,
    /// By whom.
    #[serde(default)]
    pub changed_by: Option<String>,
    /// When it was made.
    #[serde(default)]
    pub created_at: Option<Moment>,
    /// By whom it was made.
    #[serde(default)]
    pub created_by: Option<String>,
}

/// What happened to a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Happened {
    /// The reader has not seen it before.
    Created,
    /// It changed.
    Updated,
    /// It was deleted, or no longer fulfils the conditions of the pull.
    Removed,
}

/// A record at its place in the feed.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Item {
    /// What happened.
    pub happened: Happened,
    /// Its place; whoever goes on behind it misses nothing.
    pub place: u64,
    /// The record; of a removed one what was known last.
    pub record: Record,
    #[serde(skip)]
    shown: Shown,
}

/// The text of an item in the dialect that it was read for. Whoever remembers a page has it written
/// once for all who ask.
#[derive(Debug, Clone, Default)]
struct Shown(OnceLock<Option<Box<RawValue>>>);

impl PartialEq for Shown {
    fn eq(&self, _: &Self) -> bool {
        // It follows from the record.
        true
    }
}

impl Item {
    /// An item of a page.
    pub fn new(happened: Happened, place: u64, record: Record) -> Self {
        Self { happened, place, record, shown: Shown::default() }
    }

    /// The record as JSON, which `show` makes where nobody has asked before; `None` for one that
    /// the dialect cannot express.
    pub(crate) fn shown(&self, show: impl FnOnce(&Record) -> Option<Json>) -> Option<&RawValue> {
        let write = |shown| to_raw_value(&shown).expect("invariant: JSON is written as JSON");
        self.shown.0.get_or_init(|| show(&self.record).map(write)).as_deref()
    }
}

/// A page of the feed, in order of arrival.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Page {
    /// The records, shared with whoever remembers the page.
    #[serde(default, deserialize_with = "shared")]
    pub items: Vec<Arc<Item>>,
    /// The place behind the page.
    pub place: u64,
    /// Everything that arrived until then, and that was wanted, is delivered.
    pub until: Moment,
    /// Whether there is more.
    #[serde(default)]
    pub more: bool,
    /// When the page was read.
    pub at: Moment,
}

fn shared<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Arc<Item>>, D::Error> {
    let items = Vec::<Item>::deserialize(deserializer)?;
    Ok(items.into_iter().map(Arc::new).collect())
}
