//! The value of one field, and the fields of one record.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Moment;

/// The value of one field.
///
/// Nested input is flattened before it becomes a value (`data.oilVolume` is one key), so a list
/// holds scalars only.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Value {
    /// A cleared field.
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A finite number.
    Float(f64),
    /// Text.
    Text(String),
    /// A moment in UTC milliseconds.
    Moment(Moment),
    /// A list of scalars.
    List(Vec<Value>),
}

/// The fields of one record: flat key to value, in key order.
pub type Fields = BTreeMap<String, Value>;
