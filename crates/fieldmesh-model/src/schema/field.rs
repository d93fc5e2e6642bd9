//! One field of a collection.

use serde::{Deserialize, Serialize};

use crate::Value;

/// One field of a collection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Field {
    /// The flat key, `data.oilVolume`.
    pub key: String,
    /// What messages call it, "Oil volume".
    pub label: String,
    /// What it holds.
    pub kind: Kind,
    /// The unit of a number, for people.
    pub unit: Option<String>,
    /// Whether a record must have it.
    pub required: bool,
    /// Whether it is set once, at creation.
    pub immutable: bool,
    /// How concurrent values merge.
    pub policy: MergePolicy,
    /// The kind of entry that it belongs to; of every one where there is none.
    pub variant: Option<String>,
    /// The value where none is given.
    pub default: Option<Value>,
    /// What to say of a bad value, in place of the usual text.
    pub message: Option<String>,
    /// Whether each device keeps an index of its values, so that lists by them need not look at
    /// every record. It costs every record that holds one some 25 bytes; lists have none.
    #[serde(default)]
    pub indexed: bool,
    /// How much of this a source states; the rest never refuses what comes over a dialect.
    #[serde(default)]
    pub stated: Stated,
}

/// How much of a field the source states from which a dialect comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stated {
    /// Kind, whether it is required, and bounds.
    #[default]
    Everything,
    /// Kind and whether it is required; lengths, ranges, forms and what a reference leads to are
    /// rules of this project.
    Kind,
    /// The field is one of this project.
    Nothing,
}

/// What a field holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Kind {
    /// Text of `min` to `max` characters.
    Text {
        /// The fewest characters.
        min: usize,
        /// The most characters.
        max: usize,
        /// What it must look like.
        form: Form,
    },
    /// A finite number.
    Number {
        /// What is allowed.
        range: Range,
        /// The decimals kept; the rest is rounded away.
        decimals: Option<u8>,
    },
    /// A whole number.
    Integer {
        /// What is allowed.
        range: Range,
    },
    /// True or false.
    Bool,
    /// One of these words.
    Enum(Vec<String>),
    /// A moment.
    Moment,
    /// A moment or a day; a day is its midnight in UTC.
    Day,
    /// The id of a record of another collection.
    Reference {
        /// The collection.
        collection: String,
    },
    /// A list of texts.
    TextList {
        /// The most items.
        items_max: usize,
        /// The most characters of an item.
        item_max: usize,
        /// What an item must look like.
        form: Form,
    },
    /// A list of whole numbers.
    IntegerList {
        /// The most items.
        items_max: usize,
    },
    /// Usually one of these words; another is kept as it is.
    Word {
        /// The words that are known.
        known: Vec<String>,
        /// The most characters.
        max: usize,
    },
    /// A set of texts: each once, in order.
    Set {
        /// The most items.
        items_max: usize,
        /// The most characters of an item.
        item_max: usize,
        /// What an item must look like.
        form: Form,
    },
    /// A kind of a newer version: any value is kept as it is.
    #[serde(untagged)]
    Unknown(serde_json::Value),
}

/// What a number may be; `min` and `max` belong to it, `above` does not.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Range {
    /// What it has to be more than.
    #[serde(default)]
    pub above: Option<f64>,
    /// The least.
    pub min: Option<f64>,
    /// The greatest.
    pub max: Option<f64>,
}

/// What a text must look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Form {
    /// Anything, kept as it is.
    Free,
    /// A name: white space at its ends is cut off.
    Name,
    /// An email address; upper and lower case are the same.
    Email,
    /// An API well number, `42-227-30001` with two optional pairs of digits.
    ApiNumber,
    /// An http(s) URL, or a path that begins with `/upload/`.
    Link,
    /// A SHA-256 hash, 64 hex digits.
    Sha256,
    /// A recurrence rule of RFC 5545, `FREQ=WEEKLY;BYDAY=MO`.
    Recurrence,
    /// A form of a newer version: as [`Form::Free`].
    #[serde(other)]
    Unknown,
}

/// How concurrent values of one field merge: a pure rule of views.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum MergePolicy {
    /// The latest is shown, by change time and then actor; the others stay visible.
    Latest,
    /// The latest is shown and a person decides.
    Review,
    /// Texts merge by character.
    Text,
    /// The greatest is shown.
    Max,
    /// The least is shown.
    Min,
    /// Lists are put together, each item once and in order.
    Union,
    /// What each device added counts.
    Sum,
    /// A policy of a newer version: as [`MergePolicy::Review`], so that nothing is settled unseen.
    #[serde(other)]
    Unknown,
}

impl Range {
    /// From `min` upwards.
    pub const fn at_least(min: f64) -> Self {
        Self { above: None, min: Some(min), max: None }
    }

    /// From `min` to `max`.
    pub const fn between(min: f64, max: f64) -> Self {
        Self { above: None, min: Some(min), max: Some(max) }
    }

    /// More than `above`.
    pub const fn more_than(above: f64) -> Self {
        Self { above: Some(above), min: None, max: None }
    }

    /// Whether `number` belongs to it.
    pub fn contains(&self, number: f64) -> bool {
        self.above.is_none_or(|above| number > above)
            && self.min.is_none_or(|min| number >= min)
            && self.max.is_none_or(|max| number <= max)
    }
}

impl Field {
    /// An optional field with the policy `latest` and a label made from its key.
    pub fn new(key: &str, kind: Kind) -> Self {
        Self {
            key: key.to_owned(),
            label: label(key),
            kind,
            unit: None,
            required: false,
            immutable: false,
            policy: MergePolicy::Latest,
            variant: None,
            default: None,
            message: None,
            indexed: false,
            stated: Stated::Everything,
        }
    }

    /// Calls it `label` in messages.
    pub fn label(mut self, label: &str) -> Self {
        self.label = label.to_owned();
        self
    }

    /// Gives it a unit.
    pub fn unit(mut self, unit: &str) -> Self {
        self.unit = Some(unit.to_owned());
        self
    }

    /// A record must have it.
    pub fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// It is set once, at creation.
    pub fn immutable(mut self) -> Self {
        self.immutable = true;
        self
    }

    /// Concurrent values merge by `policy`.
    pub fn policy(mut self, policy: MergePolicy) -> Self {
        self.policy = policy;
        self
    }

    /// It belongs to entries of the kind `variant` only.
    pub fn variant(mut self, variant: &str) -> Self {
        self.variant = Some(variant.to_owned());
        self
    }

    /// It holds `value` where none is given.
    pub fn default(mut self, value: impl Into<Value>) -> Self {
        self.default = Some(value.into());
        self
    }

    /// Says `message` of a bad value.
    pub fn message(mut self, message: &str) -> Self {
        self.message = Some(message.to_owned());
        self
    }

    /// Lists by its value look only at the records that hold it.
    pub fn indexed(mut self) -> Self {
        self.indexed = true;
        self
    }

    /// The source states no more of it than `stated`.
    pub fn stated(mut self, stated: Stated) -> Self {
        self.stated = stated;
        self
    }

    /// Whether it belongs to entries of the kind `variant`.
    pub fn belongs_to(&self, variant: &str) -> bool {
        self.variant.as_deref().is_none_or(|own| own == variant)
    }
}

/// "Oil volume" for `data.oilVolume`.
pub(crate) fn label(key: &str) -> String {
    let last = key.rsplit('.').next().unwrap_or(key);
    let mut text = String::with_capacity(last.len() + 4);
    for character in last.chars() {
        if text.is_empty() {
            text.extend(character.to_uppercase());
        } else if character.is_uppercase() {
            text.push(' ');
            text.extend(character.to_lowercase());
        } else {
            text.push(if character == '_' { ' ' } else { character });
        }
    }
    text
}
