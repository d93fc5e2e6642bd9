//! The order of an answer, and where in it a record stands.

use std::cmp::Ordering;

use fieldmesh_model::schema::Collection;
use fieldmesh_model::{DocumentId, Value, input};
use serde::{Deserialize, Serialize};

use crate::clock;
use crate::error::Error;
use crate::projection::record_time;
use crate::rows::{self, RecordRow};

use super::condition::no_field;

/// What an answer is sorted by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) by: By,
    pub(super) is_down: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum By {
    /// The time that records are about, as the indexes have it.
    Time,
    /// The time of the last change.
    Updated,
    Field(String),
}

/// Where a record stands in an answer; of two records never the same.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Position {
    value: Option<Value>,
    pub(super) time: [u8; 8],
    pub(super) id: DocumentId,
}

impl Order {
    /// The order that a person writes as `FIELD`, `FIELD:up` or `FIELD:down`.
    pub(super) fn parse(schema: &Collection, text: Option<&str>) -> Result<Self, Error> {
        let Some(text) = text else { return Ok(Self { by: By::Time, is_down: true }) };
        let (name, is_down) = match text.trim().rsplit_once(':') {
            Some((name, "down")) => (name, Some(true)),
            Some((name, "up")) => (name, Some(false)),
            Some(_) => {
                let reason = format!("{text:?} is no order; write FIELD, FIELD:up or FIELD:down");
                return Err(Error::Usage { reason });
            }
            None => (text.trim(), None),
        };
        let assignment = input::Assignment { collection: schema, clock: clock::local() };
        let key = assignment.key(name);
        let by = match name {
            "time" if schema.field(&key).is_none() => By::Time,
            "updated" if schema.field(&key).is_none() => By::Updated,
            _ if schema.field(&key).is_some() || schema.is_open(&key) => By::Field(key),
            _ => return Err(no_field(schema, name)),
        };
        let is_down = is_down.unwrap_or(!matches!(by, By::Field(_)));
        Ok(Self { by, is_down })
    }

    /// Whether an index has the records in this order.
    pub(super) const fn is_indexed(&self) -> bool {
        matches!(self.by, By::Time)
    }

    pub(super) fn position(
        &self,
        schema: &Collection,
        id: DocumentId,
        record: &RecordRow,
    ) -> Position {
        let value = match &self.by {
            By::Time => None,
            By::Updated => Some(Value::Moment(record.updated_at)),
            By::Field(key) => {
                let held = record.fields.get(key).filter(|value| !value.is_cleared());
                held.cloned().map(|value| match value {
                    Value::Text(text) => Value::Text(text.trim().to_lowercase()),
                    value => value,
                })
            }
        };
        Position { value, time: rows::sortable(record_time(schema, record)), id }
    }

    /// Which of two positions comes first.
    pub(super) fn compare(&self, one: &Position, other: &Position) -> Ordering {
        let turned = |order: Ordering| if self.is_down { order.reverse() } else { order };
        let ends = (one.time, one.id).cmp(&(other.time, other.id));
        if self.is_indexed() {
            return turned(ends);
        }
        let values = match (&one.value, &other.value) {
            (Some(one), Some(other)) => turned(one.order(other)),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => Ordering::Equal,
        };
        values.then(ends.reverse())
    }
}
