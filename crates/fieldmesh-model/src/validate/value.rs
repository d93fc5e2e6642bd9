//! Checks one value against its field and brings it into its normal form.
//!
//! A message is what a person reads beside the field, so it names the field and says what is
//! allowed.

use uuid::Uuid;

use super::References;
use crate::catalogue::wells::{LIST_ITEM_MAX, LIST_ITEMS_MAX, NOTES_MAX};
use crate::input::parse_day;
use crate::schema::{Field, Form, Kind, Range};
use crate::{Moment, Value};

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
) -> Result<Value, String> {
    let label = &field.label;
    match &field.kind {
        Kind::Text { min, max, form } => match value {
            Value::Text(text) => check_text(field, text, *min, *max, *form),
            _ => Err(format!("{label} must be text")),
        },
        Kind::Number { range, decimals } => check_number(field, value, range, *decimals),
        Kind::Integer { range } => match value.clone().canonical() {
            Value::Int(number) if range.contains(number as f64) => Ok(Value::Int(number)),
            Value::Int(_) => Err(out_of_range(field, range)),
            _ => Err(format!("{label} must be a whole number")),
        },
        Kind::Bool => match value {
            Value::Bool(_) => Ok(value.clone()),
            _ => Err(format!("{label} must be true or false")),
        },
        Kind::Enum(words) => match value {
            Value::Text(text) if words.iter().any(|word| word == text.trim()) => {
                Ok(text.trim().into())
            }
            _ => Err(one_of(field, words)),
        },
        Kind::Moment => match value {
            Value::Moment(_) => Ok(value.clone()),
            Value::Text(text) => text
                .parse::<Moment>()
                .map(Value::Moment)
                .map_err(|_| format!("{label} must be a time like 2026-03-01T08:30:00Z")),
            _ => Err(format!("{label} must be a time like 2026-03-01T08:30:00Z")),
        },
        Kind::Day => match value {
            Value::Moment(_) => Ok(value.clone()),
            Value::Text(text) => parse_day(text)
                .or_else(|| text.parse::<Moment>().ok())
                .map(Value::Moment)
                .ok_or_else(|| format!("{label} must be a date like 2026-03-01")),
            _ => Err(format!("{label} must be a date like 2026-03-01")),
        },
        Kind::Reference { collection } => {
            let id = value.as_text().and_then(|text| Uuid::parse_str(text.trim()).ok());
            match id.map(|id| id.to_string()) {
                Some(id) if references.exists(collection, &id) => Ok(Value::Text(id)),
                _ => Err(format!("{label} not found")),
            }
        }
        Kind::TextList { items_max, item_max, form } => {
            check_list(field, value, *items_max, |item| match item {
                Value::Text(text) => check_text(field, text, 1, *item_max, *form),
                _ => Err(format!("{label} must be a list of texts")),
            })
        }
        Kind::IntegerList { items_max } => {
            check_list(field, value, *items_max, |item| match item.clone().canonical() {
                Value::Int(number) => Ok(Value::Int(number)),
                _ => Err(format!("{label} must be a list of whole numbers")),
            })
        }
    }
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
        Form::Free => text,
        Form::Name | Form::Email | Form::ApiNumber | Form::Link => text.trim(),
    };
    check_length(label, text, min, max)?;
    match form {
        Form::Free | Form::Name => Ok(text.into()),
        Form::Email if is_email(text) => Ok(text.to_lowercase().into()),
        Form::Email => Err(format!("{label} must be an address like ann@example.com")),
        Form::ApiNumber if is_api_number(text) => Ok(text.into()),
        Form::ApiNumber => Err(format!("{label} must look like 42-227-30001")),
        Form::Link if is_link(text) => Ok(text.into()),
        Form::Link => Err(format!("{label} must be http(s) URLs or /upload/ paths")),
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
) -> Result<Value, String> {
    let number = value.as_number().filter(|number| number.is_finite());
    let number = number.ok_or_else(|| format!("{} must be a number", field.label))?;
    if !range.contains(number) {
        return Err(out_of_range(field, range));
    }
    let Some(decimals) = decimals else { return Ok(value.clone().canonical()) };
    let scale = 10_f64.powi(i32::from(decimals));
    let rounded = (number * scale).round() / scale;
    // Very large amounts have no decimals to round, and scaling them would overflow.
    Ok(Value::from(if rounded.is_finite() { rounded } else { number }))
}

fn check_list(
    field: &Field,
    value: &Value,
    items_max: usize,
    check: impl Fn(&Value) -> Result<Value, String>,
) -> Result<Value, String> {
    let Value::List(items) = value else {
        return Err(format!("{} must be a list", field.label));
    };
    if items.len() > items_max {
        return Err(format!("{} can have at most {items_max} items", field.label));
    }
    items.iter().map(check).collect::<Result<_, _>>().map(Value::List)
}

fn out_of_range(field: &Field, range: &Range) -> String {
    let label = &field.label;
    if let Some(message) = &field.message {
        return message.clone();
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
