//! How values are written into a document.
//!
//! Texts that are a UUID or a 32-byte hash in their usual form are stored as bytes, which takes
//! less than half the space, and read back as the same text.

use automerge::{ScalarValue, ScalarValueRef};
use fieldmesh_model::{DeviceId, Moment, Value};
use uuid::Uuid;

/// The scalar of a value; a list has none and is written as an object.
pub(crate) fn to_scalar(value: &Value) -> ScalarValue {
    match value {
        Value::Null | Value::List(_) => ScalarValue::Null,
        Value::Bool(flag) => ScalarValue::Boolean(*flag),
        Value::Int(number) => ScalarValue::Int(*number),
        Value::Float(number) => ScalarValue::F64(*number),
        Value::Moment(moment) => ScalarValue::Timestamp(moment.as_millis()),
        Value::Text(text) => compact(text),
    }
}

fn compact(text: &str) -> ScalarValue {
    match text.len() {
        36 => {
            let id = Uuid::try_parse(text).ok();
            let id =
                id.filter(|id| id.hyphenated().encode_lower(&mut Uuid::encode_buffer()) == text);
            id.map_or_else(|| plain(text), |id| ScalarValue::Bytes(id.as_bytes().to_vec()))
        }
        64 => {
            let is_lower = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
            let id = text.parse::<DeviceId>().ok().filter(|_| is_lower);
            id.map_or_else(|| plain(text), |id| ScalarValue::Bytes(id.as_bytes().to_vec()))
        }
        _ => plain(text),
    }
}

fn plain(text: &str) -> ScalarValue {
    ScalarValue::Str(text.into())
}

/// The value of a scalar; one that no version of fieldmesh writes is null or its digits.
pub(crate) fn from_scalar(scalar: &ScalarValue) -> Value {
    match scalar {
        ScalarValue::Null | ScalarValue::Unknown { .. } => Value::Null,
        ScalarValue::Boolean(flag) => Value::Bool(*flag),
        ScalarValue::Int(number) => Value::Int(*number),
        ScalarValue::Uint(number) => from_unsigned(*number),
        ScalarValue::F64(number) => Value::from(*number),
        ScalarValue::Counter(counter) => Value::Int(counter.into()),
        ScalarValue::Timestamp(millis) => Value::Moment(Moment::from_millis(*millis)),
        ScalarValue::Str(text) => Value::Text(text.to_string()),
        ScalarValue::Bytes(bytes) => from_bytes(bytes),
    }
}

/// As [`from_scalar`], from Automerge's borrowed form.
pub(crate) fn from_scalar_ref(scalar: &ScalarValueRef<'_>) -> Value {
    match scalar {
        ScalarValueRef::Null | ScalarValueRef::Unknown { .. } => Value::Null,
        ScalarValueRef::Boolean(flag) => Value::Bool(*flag),
        ScalarValueRef::Int(number) | ScalarValueRef::Counter(number) => Value::Int(*number),
        ScalarValueRef::Uint(number) => from_unsigned(*number),
        ScalarValueRef::F64(number) => Value::from(*number),
        ScalarValueRef::Timestamp(millis) => Value::Moment(Moment::from_millis(*millis)),
        ScalarValueRef::Str(text) => Value::Text(text.to_string()),
        ScalarValueRef::Bytes(bytes) => from_bytes(bytes),
    }
}

fn from_unsigned(number: u64) -> Value {
    i64::try_from(number).map_or(Value::Float(number as f64), Value::Int)
}

fn from_bytes(bytes: &[u8]) -> Value {
    if let Ok(id) = Uuid::from_slice(bytes) {
        return Value::Text(id.to_string());
    }
    if let Ok(id) = <[u8; 32]>::try_from(bytes) {
        return Value::Text(DeviceId::from_bytes(id).to_string());
    }
    Value::Text(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_is_read_back_as_it_was_written() {
        let hash = "0f".repeat(32);
        for (text, is_compact) in [
            ("67e55044-10b1-426f-9247-bb680e5fe0c8", true),
            ("67E55044-10b1-426f-9247-bb680e5fe0c8", false),
            ("67e5504410b1426f9247bb680e5fe0c8", false),
            ("thirty-six characters, but no UUID..", false),
            (hash.as_str(), true),
            (&hash.to_uppercase(), false),
            ("", false),
        ] {
            let scalar = to_scalar(&text.into());
            assert_eq!(matches!(scalar, ScalarValue::Bytes(_)), is_compact, "{text}");
            assert_eq!(from_scalar(&scalar), Value::from(text));
        }
    }
}
