//! What a collection says about several fields, several records, or other records.

use serde::{Deserialize, Serialize};

use super::field::Range;
use crate::{Fields, Value};

/// Fields whose values together no two records share.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Unique {
    /// The fields.
    pub fields: Vec<String>,
    /// Whether the extension of the natural key counts too, so that an import's rows may differ
    /// by columns that are no fields.
    pub extended: bool,
    /// What to say where the values are taken.
    pub message: String,
    /// The field and the value of it that a record must hold for this to be about it.
    #[serde(default)]
    pub when: Option<(String, Value)>,
    /// Where it comes from.
    #[serde(default)]
    pub origin: Origin,
    /// What its records have in common with those of another built-in collection.
    #[serde(skip)]
    pub shared: Option<Shared>,
}

/// Values that no two records of several collections share, though each calls its fields otherwise.
#[derive(Debug, Clone, PartialEq)]
pub struct Shared {
    /// What the records of all of these collections tell of.
    pub thing: &'static str,
    /// The fields, in the order of all these collections.
    pub fields: Vec<String>,
    /// The field and the value of it that a record must hold for this to be about it.
    pub when: (String, Value),
}

/// Where a rule comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// A source states it, or the tenant that defined the collection.
    #[default]
    Source,
    /// This project adds it: it never refuses what comes over a dialect.
    Proposed,
}

/// Which fields belong to which kind of entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variants {
    /// The field that names the kind.
    pub field: String,
    /// The prefix of the fields that depend on it.
    pub prefix: String,
}

/// A rule about more than one field, or about another record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Rule {
    /// All of the fields are given or none.
    Together {
        /// The fields.
        fields: Vec<String>,
        /// What to say.
        message: String,
    },
    /// A moment is not before the day of another.
    NotBeforeDayOf {
        /// The later field.
        field: String,
        /// The earlier field.
        earlier: String,
        /// What to say.
        message: String,
    },
    /// At least one known field under the prefix of the variants is given.
    AnyKnown {
        /// The prefix.
        prefix: String,
        /// What to say.
        message: String,
    },
    /// A field takes a value if any of the conditions holds.
    Derive {
        /// The field.
        field: String,
        /// Its value then.
        value: Value,
        /// Fields and the values that each of them would have to hold.
        when: Vec<(String, Value)>,
    },
    /// A field without a value takes that of another.
    DefaultFrom {
        /// The field.
        field: String,
        /// The other.
        from: String,
        /// Fields and values of which one would have to hold; always if this is empty.
        when: Vec<(String, Value)>,
    },
    /// A number has a range of its own if any of the conditions holds.
    RangeWhen {
        /// The number.
        field: String,
        /// What is allowed then.
        range: Range,
        /// Fields and the values that each of them would have to hold.
        when: Vec<(String, Value)>,
        /// What to say.
        message: String,
    },
    /// A field takes its value from the record that a reference leads to, when the reference is
    /// written; what somebody else gives it is not used.
    ///
    /// Later changes of the other record do not touch it.
    Lookup {
        /// The field.
        field: String,
        /// The reference.
        through: String,
        /// The field of the other record.
        from: String,
        /// What to say where the other record has no such value.
        message: String,
    },
    /// The record that a reference leads to holds certain values.
    Target {
        /// The reference.
        field: String,
        /// The field of the other record.
        key: String,
        /// What it may hold; anything if this is empty.
        one_of: Vec<Value>,
        /// What it must not hold.
        none_of: Vec<Value>,
        /// What to say.
        message: String,
    },
    /// A value is one of those that the user's own record lists.
    OfCaller {
        /// The field.
        field: String,
        /// The list in the user's record.
        key: String,
        /// What to say.
        message: String,
    },
    /// A rule of a newer version: nothing follows from it here.
    #[serde(untagged)]
    Unknown(serde_json::Value),
}

impl Unique {
    /// Whether it is about a record with these fields.
    pub fn applies_to(&self, fields: &Fields) -> bool {
        self.when
            .as_ref()
            .is_none_or(|(key, wanted)| fields.get(key).is_some_and(|value| value.is_same(wanted)))
    }
}

impl Rule {
    /// The fields of the record itself that the rule names.
    pub fn keys(&self) -> Vec<&str> {
        match self {
            Self::Together { fields, .. } => fields.iter().map(String::as_str).collect(),
            Self::NotBeforeDayOf { field, earlier, .. } => vec![field, earlier],
            Self::AnyKnown { .. } | Self::Unknown(_) => Vec::new(),
            Self::Derive { field, when, .. } | Self::RangeWhen { field, when, .. } => {
                let keys = when.iter().map(|(key, _)| key.as_str());
                std::iter::once(field.as_str()).chain(keys).collect()
            }
            Self::DefaultFrom { field, from, when } => {
                let keys = when.iter().map(|(key, _)| key.as_str());
                [field.as_str(), from].into_iter().chain(keys).collect()
            }
            Self::Lookup { field, through, .. } => vec![field, through],
            Self::Target { field, .. } | Self::OfCaller { field, .. } => vec![field],
        }
    }
}
