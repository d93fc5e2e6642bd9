//! Checks one value against its field and brings it into its normal form.
//!
//! A message is what a person reads beside the field, so it names the field and says what is
//! allowed.

use uuid::Uuid;

use super::References;
use crate::Value;
use crate::catalogue::wells::{LIST_ITEM_MAX, LIST_ITEMS_MAX, NOTES_MAX};
use crate::input::parse_day;
use crate::schema::{Field, Form, Kind, Range};

/// What is wrong with a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// It is of another kind.
    Kind(String),
    /// It is out of bounds.
    Bounds(String),
}

use Wrong::{Bounds, Kind as OfKind};

/// What to say of a required field that is not there.
pub(super) fn missing(field: &Field) -> String {
    match &field.kind {
        Kind::Enum(words) => one_of(field, words),
        _ => format!("{} is required", field.label),
    }
}

/// The value of a known field in normal form, or what is wrong with it.
pub(super) fn check(
    field: &Field,
    value: &Value,
    references: &dyn References,
) -> Result<Value, Wrong> {
    let label = &field.label;
    match &field.kind {
        Kind::Text { min, max, form } => match value {
            Value::Text(text) => check_text(field, text, *min, *max, *form).map_err(Bounds),
            _ => Err(OfKind(format!("{label} must be text"))),
        },
        Kind::Number { range, decimals } => check_number(field, value, range, *decimals),
        Kind::Integer { range } => match value.clone().canonical() {
            Value::Int(number) if range.contains(number as f64) => Ok(Value::Int(number)),
            Value::Int(_) => Err(Bounds(out_of_range(field, range))),
            _ => Err(OfKind(format!("{label} must be a whole number"))),
        },
        Kind::Bool => match value {
            Value::Bool(_) => Ok(value.clone()),
            _ => Err(OfKind(format!("{label} must be true or false"))),
        },
        Kind::Enum(words) => match value {
            Value::Text(text) if words.iter().any(|word| word == text.trim()) => {
                Ok(text.trim().into())
            }
            _ => Err(OfKind(one_of(field, words))),
        },
        Kind::Word { max, .. } => match value {
            Value::Text(text) => check_text(field, text, 1, *max, Form::Name).map_err(Bounds),
            _ => Err(OfKind(format!("{label} must be text"))),
        },
        Kind::Moment | Kind::Day => check_time(field, value),
        Kind::Reference { collection } => {
            let id = value.as_text().and_then(|text| Uuid::parse_str(text.trim()).ok());
            match id.map(|id| id.to_string()) {
                Some(id) if references.exists(collection, &id) => Ok(Value::Text(id)),
                _ => Err(Bounds(format!("{label} not found"))),
            }
        }
        Kind::TextList { items_max, item_max, form } => {
            check_texts(field, value, *items_max, *item_max, *form)
        }
        Kind::Set { items_max, item_max, form } => {
            check_texts(field, value, *items_max, *item_max, *form).map(Value::into_set)
        }
        Kind::IntegerList { items_max } => {
            check_list(field, value, *items_max, |item| match item.clone().canonical() {
                Value::Int(number) => Ok(Value::Int(number)),
                _ => Err(OfKind(format!("{label} must be a list of whole numbers"))),
            })
        }
        Kind::Unknown(_) => check_free(&field.key, value).map_err(Bounds),
    }
}

fn check_time(field: &Field, value: &Value) -> Result<Value, Wrong> {
    let is_day = matches!(field.kind, Kind::Day);
    let found = match value {
        Value::Moment(moment) => Some(*moment),
        Value::Text(text) => {
            let day = if is_day { parse_day(text) } else { None };
            day.or_else(|| text.parse().ok())
        }
        _ => None,
    };
    let label = &field.label;
    match found {
        Some(moment) => Ok(Value::Moment(moment)),
        None if is_day => Err(OfKind(format!("{label} must be a date like 2026-03-01"))),
        None => Err(OfKind(format!("{label} must be a time like 2026-03-01T08:30:00Z"))),
    }
}

fn check_texts(
    field: &Field,
    value: &Value,
    items_max: usize,
    item_max: usize,
    form: Form,
) -> Result<Value, Wrong> {
    check_list(field, value, items_max, |item| match item {
        Value::Text(text) => check_text(field, text, 1, item_max, form).map_err(Bounds),
        _ => Err(OfKind(format!("{} must be a list of texts", field.label))),
    })
}

/// The value of a field that no schema knows in normal form, or what is wrong with it.
pub(super) fn check_free(key: &str, value: &Value) -> Result<Value, String> {
    let check = |value: &Value, max: usize| match value {
        Value::Float(number) if !number.is_finite() => {
            Err(format!("{key} must be a finite number"))
        }
        Value::Text(text) => {
            check_characters(key, text)?;
            check_length(key, text, 0, max)
        }
        _ => Ok(()),
    };
    if let Value::List(items) = value {
        if items.len() > LIST_ITEMS_MAX {
            return Err(format!("{key} can have at most {LIST_ITEMS_MAX} items"));
        }
        for item in items {
            check(item, LIST_ITEM_MAX)?;
        }
    } else {
        check(value, NOTES_MAX)?;
    }
    Ok(value.clone().canonical())
}

fn check_text(
    field: &Field,
    text: &str,
    min: usize,
    max: usize,
    form: Form,
) -> Result<Value, String> {
    let label = &field.label;
    check_characters(label, text)?;
    let text = match form {
        Form::Free | Form::Unknown => text,
        Form::Name
        | Form::Email
        | Form::ApiNumber
        | Form::Link
        | Form::Sha256
        | Form::Recurrence => text.trim(),
    };
    check_length(label, text, min, max)?;
    match form {
        Form::Free | Form::Name | Form::Unknown => Ok(text.into()),
        Form::Email if is_email(text) => Ok(text.to_lowercase().into()),
        Form::Email => Err(format!("{label} must be an address like ann@example.com")),
        Form::ApiNumber if is_api_number(text) => Ok(text.into()),
        Form::ApiNumber => Err(format!("{label} must look like 42-227-30001")),
        Form::Link if is_link(text) => Ok(text.into()),
        Form::Link => Err(format!("{label} must be http(s) URLs or /upload/ paths")),
        Form::Sha256 if is_sha256(text) => Ok(text.to_lowercase().into()),
        Form::Sha256 => Err(format!("{label} must be a SHA-256 hash of 64 hex digits")),
        Form::Recurrence if is_recurrence(text) => Ok(text.into()),
        Form::Recurrence => Err(format!("{label} must be a rule like FREQ=WEEKLY;BYDAY=MO")),
    }
}

fn check_characters(label: &str, text: &str) -> Result<(), String> {
    if text.contains('\0') {
        return Err(format!("{label} cannot contain NUL characters"));
    }
    Ok(())
}

fn check_length(label: &str, text: &str, min: usize, max: usize) -> Result<(), String> {
    // A character has at least one byte, so most texts need no counting.
    let is_short = text.len() >= min && text.len() <= max && (min <= 1 || text.is_ascii());
    if is_short || (min..=max).contains(&text.chars().count()) {
        return Ok(());
    }
    match min {
        0 => Err(format!("{label} can have at most {max} characters")),
        _ => Err(format!("{label} must have {min} to {max} characters")),
    }
}

fn check_number(
    field: &Field,
    value: &Value,
    range: &Range,
    decimals: Option<u8>,
) -> Result<Value, Wrong> {
    let number = value.as_number().filter(|number| number.is_finite());
    let number = number.ok_or_else(|| OfKind(format!("{} must be a number", field.label)))?;
    if !range.contains(number) {
        return Err(Bounds(out_of_range(field, range)));
    }
    let Some(decimals) = decimals else { return Ok(value.clone().canonical()) };
    Ok(Value::from(rounded(number, decimals)))
}

/// A number with no more than so many decimals.
pub fn rounded(number: f64, decimals: u8) -> f64 {
    let scale = 10_f64.powi(i32::from(decimals));
    let rounded = (number * scale).round() / scale;
    // Very large amounts have no decimals to round, and scaling them would overflow.
    if rounded.is_finite() { rounded } else { number }
}

fn check_list(
    field: &Field,
    value: &Value,
    items_max: usize,
    check: impl Fn(&Value) -> Result<Value, Wrong>,
) -> Result<Value, Wrong> {
    let Value::List(items) = value else {
        return Err(OfKind(format!("{} must be a list", field.label)));
    };
    if items.len() > items_max {
        return Err(Bounds(format!("{} can have at most {items_max} items", field.label)));
    }
    items.iter().map(check).collect::<Result<_, _>>().map(Value::List)
}

fn out_of_range(field: &Field, range: &Range) -> String {
    let label = &field.label;
    if let Some(message) = &field.message {
        return message.clone();
    }
    if let Some(above) = range.above {
        return format!("{label} must be more than {above}");
    }
    match (range.min, range.max) {
        (Some(0.0), None) => format!("{label} cannot be negative"),
        (Some(min), None) => format!("{label} must be at least {min}"),
        (None, Some(max)) => format!("{label} must be at most {max}"),
        (Some(min), Some(max)) => format!("{label} must be between {min} and {max}"),
        (None, None) => format!("{label} must be a number"),
    }
}

fn one_of(field: &Field, words: &[String]) -> String {
    let label = &field.label;
    match words {
        [rest @ .., last] if !rest.is_empty() => {
            format!("{label} must be {} or {last}", rest.join(", "))
        }
        words => format!("{label} must be {}", words.concat()),
    }
}

fn is_email(text: &str) -> bool {
    let has_space = text.chars().any(char::is_whitespace);
    text.split_once('@').is_some_and(|(user, host)| {
        !user.is_empty() && !host.is_empty() && !host.contains('@') && !has_space
    })
}

fn is_api_number(text: &str) -> bool {
    let parts: Vec<_> = text.split('-').collect();
    let lengths = [2, 3, 5, 2, 2];
    (3..=5).contains(&parts.len())
        && parts.iter().zip(lengths).all(|(part, length)| {
            part.len() == length && part.bytes().all(|byte| byte.is_ascii_digit())
        })
}

fn is_link(text: &str) -> bool {
    let after = |prefix: &str| text.strip_prefix(prefix).is_some_and(|rest| !rest.is_empty());
    (after("https://") || after("http://") || after("/upload/"))
        && !text.chars().any(|character| character.is_whitespace() || character.is_control())
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

// The parts have names and values, and one of them says how often; calendars judge the rest.
fn is_recurrence(text: &str) -> bool {
    const OFTEN: [&str; 7] =
        ["SECONDLY", "MINUTELY", "HOURLY", "DAILY", "WEEKLY", "MONTHLY", "YEARLY"];
    let rule = text.strip_prefix("RRULE:").unwrap_or(text);
    let mut says_how_often = false;
    for part in rule.split(';') {
        let Some((name, value)) = part.split_once('=') else { return false };
        let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_uppercase());
        let is_value = !value.is_empty() && !value.contains(char::is_whitespace);
        if !is_name || !is_value || (name == "FREQ" && !OFTEN.contains(&value)) {
            return false;
        }
        says_how_often |= name == "FREQ";
    }
    says_how_often
}
