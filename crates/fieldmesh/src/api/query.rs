//! What a caller asks about many records, and what is answered.

use fieldmesh_model::{DocumentId, Moment};
use serde::{Deserialize, Serialize};

use super::{Record, Remaking};

/// Which records to list: newest first unless `sort` says otherwise.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ListQuery {
    /// The collection's name.
    pub collection: String,
    /// Conditions that all hold: `field=value`, `field!=value`, `field>value` and `>=`, `<`, `<=`;
    /// `field=` for those without a value; `field:=["a","b"]` for one of several.
    ///
    /// Letters of texts count alike. A record without a value fulfils `!=` and no comparison.
    #[serde(default)]
    pub filters: Vec<String>,
    /// Only records about this time or later.
    #[serde(default)]
    pub since: Option<Moment>,
    /// Only records about a time before this.
    #[serde(default)]
    pub until: Option<Moment>,
    /// At most so many; all where absent.
    #[serde(default)]
    pub limit: Option<usize>,
    /// Deleted records instead of the others.
    #[serde(default)]
    pub deleted: bool,
    /// Only records that are not safe: at no relay, or where the tenant has none, on no other
    /// device.
    #[serde(default, rename = "unsafe")]
    pub not_safe: bool,
    /// Only records that have an open conflict.
    #[serde(default)]
    pub in_conflict: bool,
    /// Only records about this well, asset, patient or pet: its id, an ending of it or its name.
    #[serde(default)]
    pub site: Option<String>,
    /// Only records that this person made: name, e-mail address or user id.
    #[serde(default)]
    pub author: Option<String>,
    /// Only records made on this device: name, id or an ending of it.
    #[serde(default)]
    pub device: Option<String>,
    /// `FIELD`, `FIELD:down`, `time`, `time:up` or `updated:down`; records without a value come
    /// last. By default `time:down`.
    #[serde(default)]
    pub sort: Option<String>,
    /// Goes on behind the last record of an earlier page, whose `next` this was.
    #[serde(default)]
    pub cursor: Option<String>,
    /// Whether a page may lack records while they are made anew from the log; it says so then. By
    /// default it is not given before all are there.
    #[serde(default)]
    pub partial: bool,
    /// Also records that stand behind another one which was made for the same thing, while nobody
    /// has decided about them. Otherwise the first of those that fit is given; queries for what is
    /// not safe or awaits approval have them all.
    #[serde(default)]
    pub duplicates: bool,
    /// The records that do not count because nobody has approved them or somebody has refused them,
    /// instead of the others.
    #[serde(default)]
    pub awaiting: bool,
}

/// One page of records.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Page<T = Record> {
    /// The records, in the order of the query.
    pub records: Vec<T>,
    /// The cursor of the next page; none where this one is the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// How far the records have come that are made anew from the log; until then some are missing
    /// here, and others are as they were once. Nothing where all are there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remaking: Option<Remaking>,
}

/// What happens to the answer of a live query.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum LiveEvent<T = Record> {
    /// The whole answer as it is at the beginning.
    Present(Vec<T>),
    /// The whole answer anew, in place of everything before: the reader was too slow for the
    /// changes in between, or the view was made anew.
    Resync(Vec<T>),
    /// A record belongs to the answer that did not before.
    Added(T),
    /// A record of the answer is another than before.
    Changed(T),
    /// A record does not belong to the answer any more: it was changed, deleted or let go.
    Removed(DocumentId),
}
