//! One condition on a field: how people write it, and which records fulfil it.

use std::cmp::Ordering;

use fieldmesh_model::schema::{Collection, Field, Kind};
use fieldmesh_model::{Fields, Value, input};

use crate::clock;
use crate::error::Error;
use crate::ledger::Ledger;
use crate::schema;

/// The signs between a field and a value, longer ones before those that they begin with.
const SIGNS: [(&str, Sign); 8] = [
    ("!:=", Sign::NoneOf),
    (":=", Sign::OneOf),
    ("!=", Sign::IsNot),
    (">=", Sign::AtLeast),
    ("<=", Sign::AtMost),
    ("=", Sign::Is),
    (">", Sign::Above),
    ("<", Sign::Below),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sign {
    Is,
    IsNot,
    OneOf,
    NoneOf,
    Above,
    AtLeast,
    Below,
    AtMost,
}

/// A condition whose words have been understood.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Condition {
    pub(super) key: String,
    test: Test,
}

#[derive(Debug, Clone, PartialEq)]
enum Test {
    OneOf(Vec<Value>),
    NoneOf(Vec<Value>),
    Above(Value),
    AtLeast(Value),
    Below(Value),
    AtMost(Value),
}

impl Condition {
    /// Records that refer to one that is known already.
    pub(super) fn refers(key: String, id: String) -> Self {
        Self { key, test: Test::OneOf(vec![Value::Text(id)]) }
    }

    /// The values of which a record must hold one, where that is what is asked.
    pub(super) fn values(&self) -> Option<&[Value]> {
        match &self.test {
            Test::OneOf(values) => Some(values),
            Test::NoneOf(_)
            | Test::Above(_)
            | Test::AtLeast(_)
            | Test::Below(_)
            | Test::AtMost(_) => None,
        }
    }

    pub(super) fn matches(&self, fields: &Fields) -> bool {
        let held = fields.get(&self.key).unwrap_or(&Value::Null);
        match &self.test {
            Test::OneOf(wanted) => wanted.iter().any(|wanted| holds(held, wanted)),
            Test::NoneOf(wanted) => !wanted.iter().any(|wanted| holds(held, wanted)),
            Test::Above(bound) => compares(held, bound, Ordering::is_gt),
            Test::AtLeast(bound) => compares(held, bound, Ordering::is_ge),
            Test::Below(bound) => compares(held, bound, Ordering::is_lt),
            Test::AtMost(bound) => compares(held, bound, Ordering::is_le),
        }
    }
}

impl Ledger {
    /// The condition that a person writes as `text`.
    pub(super) fn condition(&self, schema: &Collection, text: &str) -> Result<Condition, Error> {
        let (name, sign, value) = split(text)?;
        let assignment = input::Assignment { collection: schema, clock: clock::local() };
        let key = assignment.key(name);
        let field = schema.field(&key);
        if field.is_none() && !schema.is_open(&key) {
            return Err(no_field(schema, name));
        }
        let read = |text: &str| match text {
            "" => Ok(Value::Null),
            text => self.wanted(schema, field, name, text),
        };
        let test = match sign {
            Sign::Is => Test::OneOf(vec![read(value)?]),
            Sign::IsNot => Test::NoneOf(vec![read(value)?]),
            Sign::OneOf | Sign::NoneOf => {
                let values = self.one_or_more(schema, field, (name, &key), value)?;
                if sign == Sign::OneOf { Test::OneOf(values) } else { Test::NoneOf(values) }
            }
            Sign::Above | Sign::AtLeast | Sign::Below | Sign::AtMost => {
                let bound = read(value)?;
                check_order(field, name, &bound)?;
                match sign {
                    Sign::Above => Test::Above(bound),
                    Sign::AtLeast => Test::AtLeast(bound),
                    Sign::Below => Test::Below(bound),
                    _ => Test::AtMost(bound),
                }
            }
        };
        Ok(Condition { key, test })
    }

    /// The value that `text` means, as records hold it.
    fn wanted(
        &self,
        schema: &Collection,
        field: Option<&Field>,
        name: &str,
        text: &str,
    ) -> Result<Value, Error> {
        let assignment = input::Assignment { collection: schema, clock: clock::local() };
        let value = match assignment.value(field, text) {
            Value::List(mut items) if items.len() == 1 => items.remove(0),
            value => value,
        };
        let Some(field) = field else { return Ok(value) };
        let should = match &field.kind {
            Kind::Number { .. } | Kind::Integer { .. } if value.as_number().is_none() => "a number",
            Kind::Bool if !matches!(value, Value::Bool(_)) => "true or false",
            Kind::Moment | Kind::Day if value.as_moment().is_none() => "a time",
            Kind::Enum(_) => return one_of(schema, field, name, value),
            _ => return self.referred(schema, field, value),
        };
        Err(wrong(name, format!("{text:?} is no value to compare with: it holds {should}")))
    }

    fn referred(&self, of: &Collection, field: &Field, value: Value) -> Result<Value, Error> {
        let (Kind::Reference { collection }, Value::Text(name)) = (&field.kind, &value) else {
            return Ok(value);
        };
        let target = schema::referred(&self.policy(), of.number, collection);
        let Some(target) = target else { return Ok(value) };
        match self.resolve_in(&target, name)? {
            Some(id) => Ok(Value::Text(id.to_string())),
            None => Err(Error::NotFound { kind: "record", name: name.clone() }),
        }
    }

    /// The values of `field:=JSON`: those of a list, or the one that it is.
    fn one_or_more(
        &self,
        schema: &Collection,
        field: Option<&Field>,
        (name, key): (&str, &str),
        text: &str,
    ) -> Result<Vec<Value>, Error> {
        let json: serde_json::Value = serde_json::from_str(text)
            .map_err(|_| wrong(name, format!("{text} is no JSON; write [\"a\",\"b\"]")))?;
        let items = match json {
            serde_json::Value::Array(items) => items,
            one => vec![one],
        };
        let value = |item: serde_json::Value| match item {
            serde_json::Value::String(text) if field.is_some() => {
                self.wanted(schema, field, name, &text)
            }
            item => {
                input::value_from_json(key, &item).map_err(|error| wrong(name, error.to_string()))
            }
        };
        items.into_iter().map(value).collect()
    }
}

/// The value, if a record may hold it; a field can have other words in each variant.
fn one_of(schema: &Collection, field: &Field, name: &str, value: Value) -> Result<Value, Error> {
    let words =
        schema.fields.iter().filter(|one| one.key == field.key).map(|one| match &one.kind {
            Kind::Enum(words) => Some(words.as_slice()),
            _ => None,
        });
    let Some(words) = words.collect::<Option<Vec<_>>>() else { return Ok(value) };
    let mut words = words.concat();
    if value.is_cleared() || words.iter().any(|word| is_equal(&Value::Text(word.clone()), &value)) {
        return Ok(value);
    }
    words.dedup();
    Err(wrong(name, format!("{:?} is none of {}", value.to_cell(), words.join(", "))))
}

/// Field, sign and value of a condition.
fn split(text: &str) -> Result<(&str, Sign, &str), Error> {
    let none = || Error::Usage {
        reason: format!("{text:?} is no condition; write field=value, field!=value or field>value"),
    };
    let end = text.find(['=', '<', '>', '!', ':']).ok_or_else(none)?;
    let (name, rest) = text.split_at(end);
    let found = SIGNS.iter().find_map(|(sign, meaning)| Some((*meaning, rest.strip_prefix(sign)?)));
    let (sign, value) = found.ok_or_else(none)?;
    let name = name.trim();
    if name.is_empty() { Err(none()) } else { Ok((name, sign, value)) }
}

/// A condition on `field` that is not understood.
fn wrong(field: &str, reason: impl Into<String>) -> Error {
    Error::Condition { field: field.to_owned(), reason: reason.into() }
}

/// Says that a collection has no such field, and which it may have been.
pub(super) fn no_field(schema: &Collection, name: &str) -> Error {
    let assignment = input::Assignment { collection: schema, clock: clock::local() };
    let near = assignment.suggestions(name).join(", ");
    let hint = if near.is_empty() { String::new() } else { format!("; near it: {near}") };
    wrong(name, format!("{} has no such field{hint}", schema.name))
}

fn check_order(field: Option<&Field>, name: &str, bound: &Value) -> Result<(), Error> {
    let kind = field.map(|field| &field.kind);
    let has_none = match kind {
        Some(Kind::Bool | Kind::Reference { .. }) => true,
        _ => matches!(bound, Value::Null | Value::Bool(_) | Value::List(_)),
    };
    if has_none {
        let message = "this is neither more nor less than another; compare with = or !=";
        return Err(wrong(name, message));
    }
    Ok(())
}

/// Whether a record that holds `held` holds `wanted`: itself, or as one item of a list.
fn holds(held: &Value, wanted: &Value) -> bool {
    match (held, wanted) {
        (Value::List(items), wanted) if !wanted.is_cleared() => {
            items.iter().any(|item| is_equal(item, wanted)) || is_equal(held, wanted)
        }
        (held, wanted) => is_equal(held, wanted),
    }
}

/// Equality for people: the letters of texts count alike.
fn is_equal(held: &Value, wanted: &Value) -> bool {
    match (held, wanted) {
        (Value::Text(held), Value::Text(wanted)) => {
            held.trim().to_lowercase() == wanted.trim().to_lowercase()
        }
        (held, wanted) => held.is_same(wanted) || (held.is_cleared() && wanted.is_cleared()),
    }
}

/// Whether `held`, or an item of it, lies so to `bound`; values of another kind do not.
fn compares(held: &Value, bound: &Value, is_so: fn(Ordering) -> bool) -> bool {
    match (held, bound) {
        (Value::List(items), bound) => items.iter().any(|item| compares(item, bound, is_so)),
        (Value::Text(held), Value::Text(bound)) => {
            is_so(held.trim().to_lowercase().cmp(&bound.trim().to_lowercase()))
        }
        (Value::Moment(held), Value::Moment(bound)) => is_so(held.cmp(bound)),
        (held, bound) => match (held.as_number(), bound.as_number()) {
            (Some(held), Some(bound)) => is_so(held.total_cmp(&bound)),
            _ => false,
        },
    }
}
