//! What clients call a record: a text or a whole number, given back as it came.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

/// The longest name, in bytes.
pub const NAME_SIZE_MAX: usize = 256;

/// What a client calls a record.
///
/// A number and the text of it are two spellings of one name; the spelling is kept so that a
/// client that uses numbers is answered with numbers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Name {
    /// A whole number.
    Number(i64),
    /// A UUID, hex digits or any other text.
    Text(String),
}

impl Name {
    /// The name in a JSON value, if it can be one.
    pub fn from_json(json: &Json) -> Option<Self> {
        match json {
            Json::Number(number) => number.as_i64().map(Self::Number),
            Json::String(text) if !text.is_empty() && text.len() <= NAME_SIZE_MAX => {
                Some(Self::Text(text.clone()))
            }
            _ => None,
        }
    }

    /// The name as JSON, in its spelling.
    pub fn to_json(&self) -> Json {
        match self {
            Self::Number(number) => (*number).into(),
            Self::Text(text) => text.clone().into(),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

impl From<&str> for Name {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}
