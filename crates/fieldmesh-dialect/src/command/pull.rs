//! What a device wants to read of the feed.
//!
//! The feed holds each record once, where its newest change arrived. Read from the start it is a
//! snapshot; read from a place it is what changed since.

use fieldmesh_model::{Moment, Value};
use serde::Serialize;

use crate::cursor::Since;

/// A page of the feed.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Pull {
    /// The device that reads; its place moves on, so that what it has not read can be counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// From where.
    pub since: Since,
    /// The collections; all that the caller may see where there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub wanted: Vec<Wanted>,
    /// The partition inside the tenant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub practice: Option<i64>,
    /// The most records of the page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub records_max: Option<usize>,
    /// The most records of each collection. If one has more, the page ends for all of them there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub each_max: Option<usize>,
    /// Whether the client goes on by a time: records of one millisecond then stay together, over
    /// the limit if need be.
    pub by_time: bool,
    /// Whether the client goes on nowhere: it is given all that the numbers of records allow, however
    /// large that is.
    #[serde(skip)]
    pub is_whole: bool,
}

/// A collection of which records are wanted.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Wanted {
    /// The collection.
    pub collection: String,
    /// The most records of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub records_max: Option<usize>,
    /// What must hold of them. A record of which it held once and does no more is given out as
    /// removed to who reads from a place, and left out from the start.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// What must hold of a field.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Condition {
    /// The field.
    pub key: String,
    /// What must hold.
    pub test: Test,
}

/// What must hold of a value.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Test {
    /// It is this value.
    Is(String),
    /// It is this moment or a later one.
    From(Moment),
    /// It is this moment or an earlier one.
    To(Moment),
}

impl Pull {
    /// Everything from `since` on.
    pub(crate) fn new(since: Since) -> Self {
        Self {
            device: None,
            since,
            wanted: Vec::new(),
            practice: None,
            records_max: None,
            each_max: None,
            by_time: false,
            is_whole: false,
        }
    }
}

impl Wanted {
    /// All records of `collection`.
    pub(crate) fn new(collection: &str) -> Self {
        Self { collection: collection.to_owned(), records_max: None, conditions: Vec::new() }
    }

    /// At most `records_max` of them.
    #[must_use]
    pub(crate) fn at_most(mut self, records_max: usize) -> Self {
        self.records_max = Some(records_max);
        self
    }

    /// Only those for which `test` holds of `key`.
    #[must_use]
    pub(crate) fn only(mut self, key: &str, test: Test) -> Self {
        self.conditions.push(Condition { key: key.to_owned(), test });
        self
    }
}

impl Test {
    /// Whether it holds of `value`; an id is the same in upper and lower case.
    pub fn holds(&self, value: Option<&Value>) -> bool {
        match (self, value) {
            (Self::Is(word), Some(Value::Text(text))) => word.eq_ignore_ascii_case(text),
            (Self::From(from), Some(Value::Moment(moment))) => moment >= from,
            (Self::To(to), Some(Value::Moment(moment))) => moment <= to,
            _ => false,
        }
    }
}
