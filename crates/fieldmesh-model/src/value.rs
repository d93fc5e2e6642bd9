//! The value of one field, and the fields of one record.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Moment;
use crate::input::value_from_json;

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

/// The greatest whole number that a float holds exactly.
const FLOAT_WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

/// What stands between the items of a list in a table.
pub const LIST_SEPARATOR: &str = "; ";

/// The items of the list that stands in a cell of an export, as texts where they are not JSON.
pub fn items_of_cell(cell: &str) -> Vec<Value> {
    let cell = cell.trim();
    let json: Option<Vec<serde_json::Value>> =
        cell.starts_with('[').then(|| serde_json::from_str(cell).ok()).flatten();
    let items = json.and_then(|items| {
        items.iter().map(|item| value_from_json("", item).ok()).collect::<Option<Vec<_>>>()
    });
    match items {
        // Lists in lists are no list of a record, and so they are the text of one item.
        Some(items) if items.iter().all(|item| item.as_list().is_none()) => items,
        _ if cell.is_empty() => Vec::new(),
        _ => cell.split(LIST_SEPARATOR).map(Value::from).collect(),
    }
}

impl Value {
    /// This value in its one canonical form.
    ///
    /// A float that is a whole number becomes that number, and a number that is not finite, which
    /// only a foreign writer can have stored, becomes null.
    pub fn canonical(self) -> Self {
        match self {
            Self::Float(number) if !number.is_finite() => Self::Null,
            Self::Float(number) if number.fract() == 0.0 && number.abs() <= FLOAT_WHOLE_MAX => {
                Self::Int(number as i64)
            }
            Self::List(items) => Self::List(items.into_iter().map(Self::canonical).collect()),
            Self::Null
            | Self::Bool(_)
            | Self::Int(_)
            | Self::Float(_)
            | Self::Text(_)
            | Self::Moment(_) => self,
        }
    }

    /// Whether both mean the same: as `==`, but numbers compare by their numeric value.
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Int(whole), Self::Float(float)) | (Self::Float(float), Self::Int(whole)) => {
                Self::Float(*float).canonical() == Self::Int(*whole)
            }
            (Self::List(ours), Self::List(theirs)) => {
                ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(a, b)| a.is_same(b))
            }
            _ => self == other,
        }
    }

    /// A list as a set: each item once, in order; anything else as it is.
    pub fn into_set(self) -> Self {
        let Self::List(mut items) = self else { return self };
        items.sort_by(Self::order);
        items.dedup_by(|a, b| a.is_same(b));
        Self::List(items)
    }

    /// Whether the field is cleared: null, or a list without items.
    pub fn is_cleared(&self) -> bool {
        match self {
            Self::Null => true,
            Self::List(items) => items.is_empty(),
            _ => false,
        }
    }

    /// The text, if this is one.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The number, if this is one.
    pub fn as_number(&self) -> Option<f64> {
        match self {
            Self::Int(number) => Some(*number as f64),
            Self::Float(number) => Some(*number),
            _ => None,
        }
    }

    /// The sum of two numbers; `None` where one is no number or the sum is none that is kept.
    pub fn plus(&self, other: &Self) -> Option<Self> {
        if let (Self::Int(ours), Self::Int(theirs)) = (self, other)
            && let Some(sum) = ours.checked_add(*theirs)
        {
            return Some(Self::Int(sum));
        }
        let sum = self.as_number()? + other.as_number()?;
        sum.is_finite().then(|| Self::from(sum))
    }

    /// The moment, if this is one.
    pub fn as_moment(&self) -> Option<Moment> {
        match self {
            Self::Moment(moment) => Some(*moment),
            _ => None,
        }
    }

    /// The items, if this is a list.
    pub fn as_list(&self) -> Option<&[Self]> {
        match self {
            Self::List(items) => Some(items),
            _ => None,
        }
    }

    /// The value as JSON; moments are texts.
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Null => serde_json::Value::Null,
            Self::Bool(flag) => (*flag).into(),
            Self::Int(number) => (*number).into(),
            Self::Float(number) => (*number).into(),
            Self::Text(text) => text.clone().into(),
            Self::Moment(moment) => moment.to_string().into(),
            Self::List(items) => items.iter().map(Self::to_json).collect(),
        }
    }

    /// The same of a value that nobody needs afterwards.
    pub fn into_json(self) -> serde_json::Value {
        match self {
            Self::Text(text) => text.into(),
            Self::List(items) => items.into_iter().map(Self::into_json).collect(),
            Self::Null | Self::Bool(_) | Self::Int(_) | Self::Float(_) | Self::Moment(_) => {
                self.to_json()
            }
        }
    }

    /// The value as one cell of a table: null is empty, items of a list stand between `; `.
    pub fn to_cell(&self) -> String {
        match self {
            Self::Null => String::new(),
            Self::Bool(flag) => flag.to_string(),
            Self::Int(number) => number.to_string(),
            Self::Float(number) => number.to_string(),
            Self::Text(text) => text.clone(),
            Self::Moment(moment) => moment.to_string(),
            Self::List(items) => {
                items.iter().map(Self::to_cell).collect::<Vec<_>>().join(LIST_SEPARATOR)
            }
        }
    }

    /// The value as one cell of an export, from which [`items_of_cell`] reads a list again: where
    /// `; ` between its items would not tell them apart, the list stands there as JSON.
    pub fn to_export_cell(&self) -> String {
        let cell = self.to_cell();
        let Self::List(items) = self else { return cell };
        let texts = |items: &[Self]| items.iter().map(Self::to_cell).collect::<Vec<_>>();
        match items.is_empty() || texts(&items_of_cell(&cell)) == texts(items) {
            true => cell,
            false => self.to_json().to_string(),
        }
    }

    /// Orders two values for lists and sorting: by kind, numbers by their numeric value.
    pub fn order(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Bool(ours), Self::Bool(theirs)) => ours.cmp(theirs),
            (Self::Text(ours), Self::Text(theirs)) => ours.cmp(theirs),
            (Self::Moment(ours), Self::Moment(theirs)) => ours.cmp(theirs),
            (Self::List(ours), Self::List(theirs)) => ours
                .iter()
                .zip(theirs)
                .map(|(a, b)| a.order(b))
                .find(|order| order.is_ne())
                .unwrap_or_else(|| ours.len().cmp(&theirs.len())),
            _ => match (self.as_number(), other.as_number()) {
                (Some(ours), Some(theirs)) => ours.total_cmp(&theirs),
                _ => self.rank().cmp(&other.rank()),
            },
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Null => 0,
            Self::Bool(_) => 1,
            Self::Int(_) | Self::Float(_) => 2,
            Self::Moment(_) => 3,
            Self::Text(_) => 4,
            Self::List(_) => 5,
        }
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Bool(flag)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Float(number).canonical()
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<Moment> for Value {
    fn from(moment: Moment) -> Self {
        Self::Moment(moment)
    }
}

impl<T: Into<Self>> From<Vec<T>> for Value {
    fn from(items: Vec<T>) -> Self {
        Self::List(items.into_iter().map(Into::into).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_same_if_numerically_equal() {
        assert!(Value::Int(24).is_same(&Value::Float(24.0)));
        assert!(!Value::Int(24).is_same(&Value::Float(24.5)));
        assert_eq!(Value::Float(-0.0).canonical(), Value::Int(0));
        assert_eq!(Value::Float(f64::NAN).canonical(), Value::Null);
        assert_eq!(Value::Float(1e300).canonical(), Value::Float(1e300));
        assert!(!Value::Int(1).is_same(&Value::Bool(true)));
        let list = |number| Value::List(vec![number]);
        assert!(list(Value::Int(2)).is_same(&list(Value::Float(2.0))));
    }

    #[test]
    fn a_cell_is_what_a_person_would_write() {
        assert_eq!(Value::from(vec!["seal", "gasket"]).to_cell(), "seal; gasket");
        assert_eq!(Value::Null.to_cell(), "");
        assert_eq!(Value::Float(82.3).to_cell(), "82.3");
    }

    #[test]
    fn a_list_is_read_from_a_cell_as_it_was_written_there() {
        for items in [
            vec!["seal", "gasket"],
            vec!["seal; old", "gasket"],
            vec!["seal;", "gasket"],
            vec!["; "],
            vec!["seal "],
            vec!["", "gasket"],
            vec![""],
            vec!["a, \"b\"", "[c]"],
            vec!["[\"a\"]"],
            vec!["[1, 2]"],
            vec!["line\nline; 2"],
        ] {
            let cell = Value::from(items.clone()).to_export_cell();
            assert_eq!(Value::List(items_of_cell(&cell)), Value::from(items), "{cell}");
        }
        assert_eq!(Value::from(vec!["seal", "gasket"]).to_export_cell(), "seal; gasket");
        let numbers = Value::List(vec![3.into(), 5.into()]);
        assert_eq!(numbers.to_export_cell(), "3; 5");
        // As earlier versions wrote it.
        assert_eq!(items_of_cell("[a; \"b\"; c"), ["[a", "\"b\"", "c"].map(Value::from));
    }
}
