//! Assignments on a command line: `field=82.3`, `field=`, `list+=x`, `list-=x`, `number+=5`,
//! `field:=JSON`.

use super::{parse_day, parse_when, value_from_json};
use crate::edit::Edit;
use crate::schema::{Collection, Field, Kind};
use crate::validate::{Fault, nearest};
use crate::{Moment, Value};

/// The time and zone in which a person writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    /// The current time.
    pub now: Moment,
    /// How far the zone is east of UTC, in minutes.
    pub offset_minutes: i32,
}

/// An argument that is no assignment to a field of the collection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AssignmentError {
    /// There is no `=` or nothing before it.
    #[error("{text:?} is no assignment; write FIELD=VALUE, FIELD=, LIST+=ITEM, FIELD:=JSON")]
    NoAssignment {
        /// What was given.
        text: String,
    },
    /// What stands behind `:=` is no JSON.
    #[error("the value of {key} is not valid JSON")]
    BadJson {
        /// The flat key.
        key: String,
    },
    /// The JSON has no place in one field.
    #[error("the value of {key} must be a text, a number, true, false, null or a list of these")]
    Nested {
        /// The flat key.
        key: String,
    },
}

impl AssignmentError {
    /// The same as a fault of a record, to be shown beside others.
    pub fn fault(&self) -> Fault {
        let key = match self {
            Self::NoAssignment { .. } => "",
            Self::BadJson { key } | Self::Nested { key } => key,
        };
        Fault::new(key, self.to_string())
    }
}

/// Reads assignments to fields of one collection.
#[derive(Debug, Clone, Copy)]
pub struct Assignment<'a> {
    /// The collection, which gives values their types.
    pub collection: &'a Collection,
    /// The time and zone that `today` and `08:30` refer to.
    pub clock: Clock,
}

impl Assignment<'_> {
    /// Reads one assignment.
    ///
    /// A value that does not fit its field is left as text, so that validation reports it with
    /// all other faults.
    ///
    /// # Errors
    ///
    /// The text is no assignment, or its JSON does not parse.
    pub fn parse(&self, text: &str) -> Result<Edit, AssignmentError> {
        let no_assignment = || AssignmentError::NoAssignment { text: text.into() };
        let (left, right) = text.split_once('=').ok_or_else(no_assignment)?;
        let (name, sign) = match left.as_bytes().last() {
            Some(sign @ (b'+' | b'-' | b':')) => (&left[..left.len() - 1], Some(*sign)),
            _ => (left, None),
        };
        let name = name.trim();
        if name.is_empty() {
            return Err(no_assignment());
        }
        let key = self.key(name);
        let field = self.collection.field(&key);
        match sign {
            Some(b':') => Self::from_json(key, right),
            Some(sign @ (b'+' | b'-')) if is_number(field) => {
                let amount = number(right).unwrap_or_else(|| right.into());
                let amount = if sign == b'-' { negative(amount) } else { amount };
                Ok(Edit::Add { key, amount })
            }
            Some(b'+') => {
                let item = self.item(field, right);
                Ok(Edit::Append { key, item })
            }
            Some(_) => {
                let item = self.item(field, right);
                Ok(Edit::RemoveItem { key, item })
            }
            None if right.is_empty() => Ok(Edit::Clear { key }),
            None => {
                let value = self.value(field, right);
                Ok(Edit::Set { key, value })
            }
        }
    }

    /// The flat key that a person means by `name`: `data.oilVolume` for `oilVolume`.
    pub fn key(&self, name: &str) -> String {
        self.collection.field_named(name).map_or_else(|| name.to_owned(), |field| field.key.clone())
    }

    /// Names of fields that a person may mean by `name`, best first.
    pub fn suggestions(&self, name: &str) -> Vec<&str> {
        nearest(name, self.collection.fields.iter().map(|field| field.key.as_str()))
    }

    /// The value that a person means by `text`, by the kind of the field.
    pub fn value(&self, field: Option<&Field>, text: &str) -> Value {
        let as_text = || Value::from(text);
        let Some(field) = field else { return guess(text) };
        match &field.kind {
            Kind::Text { .. } | Kind::Reference { .. } => as_text(),
            Kind::Number { .. } | Kind::Integer { .. } => number(text).unwrap_or_else(as_text),
            Kind::Bool => boolean(text).unwrap_or_else(as_text),
            Kind::Enum(words) => {
                let same = |word: &&String| word.eq_ignore_ascii_case(text.trim());
                words.iter().find(same).map_or_else(as_text, |word| word.as_str().into())
            }
            Kind::Moment => self.moment(text).map_or_else(as_text, Value::Moment),
            Kind::Day => {
                parse_day(text).or_else(|| self.moment(text)).map_or_else(as_text, Value::Moment)
            }
            // One value for a list is a list of one.
            Kind::TextList { .. } | Kind::Set { .. } => Value::List(vec![as_text()]),
            Kind::Word { known, .. } => {
                let same = |word: &&String| word.eq_ignore_ascii_case(text.trim());
                known.iter().find(same).map_or_else(as_text, |word| word.as_str().into())
            }
            Kind::Unknown(_) => guess(text),
            Kind::IntegerList { .. } => Value::List(vec![number(text).unwrap_or_else(as_text)]),
        }
    }

    fn item(&self, field: Option<&Field>, text: &str) -> Value {
        match field.map(|field| &field.kind) {
            Some(Kind::IntegerList { .. }) | None => guess(text),
            Some(_) => text.into(),
        }
    }

    fn moment(&self, text: &str) -> Option<Moment> {
        parse_when(text, self.clock.now, self.clock.offset_minutes).ok()
    }

    fn from_json(key: String, text: &str) -> Result<Edit, AssignmentError> {
        let Ok(json) = serde_json::from_str(text) else {
            return Err(AssignmentError::BadJson { key });
        };
        match value_from_json(&key, &json) {
            Ok(Value::Null) => Ok(Edit::Clear { key }),
            Ok(value) => Ok(Edit::Set { key, value }),
            Err(_) => Err(AssignmentError::Nested { key }),
        }
    }
}

/// The value that a text without a schema most likely means.
pub(crate) fn guess(text: &str) -> Value {
    boolean(text).or_else(|| number(text)).unwrap_or_else(|| text.into())
}

fn is_number(field: Option<&Field>) -> bool {
    field.is_some_and(|field| matches!(field.kind, Kind::Number { .. } | Kind::Integer { .. }))
}

fn negative(amount: Value) -> Value {
    match amount {
        Value::Int(number) => Value::Int(number.saturating_neg()),
        Value::Float(number) => Value::Float(-number),
        other => other,
    }
}

fn boolean(text: &str) -> Option<Value> {
    match text.trim() {
        "true" => Some(Value::Bool(true)),
        "false" => Some(Value::Bool(false)),
        _ => None,
    }
}

fn number(text: &str) -> Option<Value> {
    let text = text.trim();
    // Rust also reads "inf" and "nan", which are no numbers here.
    if !text.bytes().any(|byte| byte.is_ascii_digit()) {
        return None;
    }
    if let Ok(whole) = text.parse::<i64>() {
        return Some(Value::Int(whole));
    }
    text.parse::<f64>().ok().filter(|number| number.is_finite()).map(Value::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::{self, wells};

    fn parse(text: &str) -> Result<Edit, AssignmentError> {
        let now = "2026-03-10T12:00:00Z".parse().unwrap();
        let clock = Clock { now, offset_minutes: 0 };
        Assignment { collection: catalogue::numbered(wells::FIELD_ENTRY).unwrap(), clock }
            .parse(text)
    }

    #[test]
    fn bare_text_takes_the_type_of_its_field() {
        for (text, key, value) in [
            ("oilVolume=82.3", "data.oilVolume", Value::Float(82.3)),
            ("data.oilVolume=82", "data.oilVolume", Value::Int(82)),
            ("oilVolume=lots", "data.oilVolume", "lots".into()),
            ("notes=123", "notes", "123".into()),
            ("notes=a=b", "notes", "a=b".into()),
            ("leaksDetected=true", "data.leaksDetected", true.into()),
            ("entryType=production", "entryType", "PRODUCTION".into()),
            ("data.own=5", "data.own", Value::Int(5)),
            ("data.own=inf", "data.own", "inf".into()),
            ("workPerformed=oiled", "data.workPerformed", vec!["oiled"].into()),
            (
                "recordedAt=08:30",
                "recordedAt",
                "2026-03-10T08:30:00Z".parse::<Moment>().unwrap().into(),
            ),
            (
                "nextInspectionDate=2026-04-01",
                "data.nextInspectionDate",
                parse_day("2026-04-01").unwrap().into(),
            ),
        ] {
            assert_eq!(parse(text), Ok(Edit::set(key, value)), "{text}");
        }
    }

    #[test]
    fn the_other_signs_clear_append_remove_and_take_json() {
        assert_eq!(parse("notes="), Ok(Edit::clear("notes")));
        let key = "data.workPerformed".to_owned();
        assert_eq!(
            parse("workPerformed+=greased"),
            Ok(Edit::Append { key: key.clone(), item: "greased".into() })
        );
        assert_eq!(
            parse("workPerformed-=greased"),
            Ok(Edit::RemoveItem { key: key.clone(), item: "greased".into() })
        );
        assert_eq!(parse("workPerformed:=[\"a\"]"), Ok(Edit::set(key, vec!["a"])));
        assert_eq!(parse("notes:=null"), Ok(Edit::clear("notes")));
        assert!(matches!(parse("notes:={"), Err(AssignmentError::BadJson { .. })));
        assert!(matches!(parse("notes:={\"a\":1}"), Err(AssignmentError::Nested { .. })));
        for text in ["notes", "=5", " =5", ""] {
            assert!(matches!(parse(text), Err(AssignmentError::NoAssignment { .. })), "{text}");
        }
    }
}
