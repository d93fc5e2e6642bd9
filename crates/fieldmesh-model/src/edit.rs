//! One change that somebody asks for, and what it makes of a record's fields.

use serde::{Deserialize, Serialize};

use crate::{Fields, Value};

/// One change of one field.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Edit {
    /// Gives a field a value.
    Set {
        /// The flat key.
        key: String,
        /// The value.
        value: Value,
    },
    /// Clears a field.
    Clear {
        /// The flat key.
        key: String,
    },
    /// Adds an item at the end of a list.
    Append {
        /// The flat key.
        key: String,
        /// The item.
        item: Value,
    },
    /// Takes every such item out of a list.
    RemoveItem {
        /// The flat key.
        key: String,
        /// The item.
        item: Value,
    },
    /// Adds to a number; an absent one counts as 0.
    Add {
        /// The flat key.
        key: String,
        /// How much; less than 0 takes away.
        amount: Value,
    },
}

impl Edit {
    /// An edit that gives `key` a value.
    pub fn set(key: impl Into<String>, value: impl Into<Value>) -> Self {
        Self::Set { key: key.into(), value: value.into() }
    }

    /// An edit that clears `key`.
    pub fn clear(key: impl Into<String>) -> Self {
        Self::Clear { key: key.into() }
    }

    /// The flat key that it changes.
    pub fn key(&self) -> &str {
        match self {
            Self::Set { key, .. }
            | Self::Clear { key }
            | Self::Append { key, .. }
            | Self::RemoveItem { key, .. }
            | Self::Add { key, .. } => key,
        }
    }

    /// Applies it to `fields`; a cleared field is taken out of them.
    pub fn apply(&self, fields: &mut Fields) {
        match self {
            Self::Set { key, value } if !value.is_cleared() => {
                fields.insert(key.clone(), value.clone());
            }
            Self::Set { key, .. } | Self::Clear { key } => {
                fields.remove(key);
            }
            Self::Append { key, item } => {
                let mut items = items_of(fields.remove(key));
                items.push(item.clone());
                fields.insert(key.clone(), Value::List(items));
            }
            Self::RemoveItem { key, item } => {
                let mut items = items_of(fields.remove(key));
                items.retain(|other| !other.is_same(item));
                if !items.is_empty() {
                    fields.insert(key.clone(), Value::List(items));
                }
            }
            Self::Add { key, amount } => {
                // What is no number shows up in validation; it must not vanish here.
                let current = fields.get(key).cloned().unwrap_or(Value::Int(0));
                fields.insert(key.clone(), current.plus(amount).unwrap_or_else(|| amount.clone()));
            }
        }
    }
}

// A single value under the key counts as a list of one, so that nothing is lost.
fn items_of(value: Option<Value>) -> Vec<Value> {
    match value {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::List(items)) => items,
        Some(single) => vec![single],
    }
}
