//! What a collection is: its fields, keys, merge policies and rules, as data.
//!
//! The checks that follow from it are in [`mod@crate::validate`]; the built-in collections are in
//! [`crate::catalogue`].

use serde::{Deserialize, Serialize};

use crate::{Fields, Value};

mod check;
mod evolve;
mod field;
mod file;
mod rule;

pub use check::{
    FIELD_KEY_MAX, FIELDS_MAX, GROUPS_MAX, ITEMS_LIMIT_MAX, KEY_FIELDS_MAX, NAME_MAX, RULES_MAX,
    TEXT_LIMIT_MAX, check, is_plain, is_sound,
};
pub use evolve::evolve;
pub use field::{Field, Form, Kind, MergePolicy, Range, Stated};
pub use file::{
    Definition, SCHEMA_SIZE_MAX, SchemaError, SchemaFault, decode, has_number_before, line_of,
    parse, tenant_number,
};
pub use rule::{Origin, Rule, Shared, Unique, Variants};

/// What the name of a collection of which only the number is known begins with.
const UNKNOWN_PREFIX: &str = "collection_";

/// A schema: what records of one kind hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Collection {
    /// The name that commands and exports use.
    pub name: String,
    /// The number that scopes carry; those of built-in collections are constants.
    pub number: u16,
    /// The version of the schema; a record remembers the one it was written under.
    pub version: u32,
    /// The fields, in the order in which they are shown.
    pub fields: Vec<Field>,
    /// The fields that identify a record; empty where the id is drawn at random.
    pub natural_key: Vec<String>,
    /// Groups of fields of which no two records may hold the same values.
    pub unique: Vec<Unique>,
    /// Fields whose value may stand where a record's id is asked for, best first.
    pub names: Vec<String>,
    /// The field by which records are listed; without one it is their creation.
    pub time_field: Option<String>,
    /// The field that is given the device's name or id where the input has none.
    pub device_field: Option<String>,
    /// The field that is given the user's id where the input has none.
    #[serde(default)]
    pub user_field: Option<String>,
    /// Which fields belong to which kind of entry.
    pub variants: Option<Variants>,
    /// The prefixes (`data`) under which unknown keys are kept; an empty one is the whole record.
    pub open: Vec<String>,
    /// The field and the value of it that let the changes of a record travel before all others.
    pub critical: Option<(String, Value)>,
    /// The rules about more than one field or about other records.
    pub rules: Vec<Rule>,
    /// Rules that no source states: they guard what is entered here, and are only listed for what
    /// comes over a dialect.
    #[serde(default)]
    pub proposed: Vec<Rule>,
    /// Who may create records.
    pub create_by: Vec<Who>,
    /// Who may edit and delete records.
    pub edit_by: Vec<Who>,
    /// Who may resolve conflicts of fields with the policy `review`.
    pub resolve_by: Vec<Who>,
    /// Who may approve records, without which what others write does not count; nobody where
    /// records need no approval.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approve_by: Vec<Who>,
}

/// Who may do something with a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Who {
    /// Whoever created it.
    Author,
    /// Everyone who may write.
    Crew,
    /// Managers and admins.
    Manager,
    /// Admins.
    Admin,
    /// A word of a newer version: nobody, as far as this one can tell.
    #[serde(other)]
    Unknown,
}

impl Collection {
    /// A collection of which nothing is known but its number: everything in it is kept and shown.
    pub fn unknown(number: u16) -> Self {
        Self {
            name: format!("{UNKNOWN_PREFIX}{number}"),
            number,
            version: 0,
            fields: Vec::new(),
            natural_key: Vec::new(),
            unique: Vec::new(),
            names: Vec::new(),
            time_field: None,
            device_field: None,
            user_field: None,
            variants: None,
            open: Vec::new(),
            critical: None,
            rules: Vec::new(),
            proposed: Vec::new(),
            create_by: vec![Who::Crew],
            edit_by: vec![Who::Author, Who::Manager],
            resolve_by: vec![Who::Manager],
            approve_by: Vec::new(),
        }
    }

    /// A hash of all that this version reads in a definition, and of how it merges by it.
    ///
    /// Two versions of the program may read one file in two ways; what was made by one reading
    /// stands until it is made anew by the other. The number at the end goes up when values merge
    /// in another way by the same schema.
    pub fn reading(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_derive_key("fieldmesh/collection-reading/1");
        match serde_json::to_vec(self) {
            Ok(bytes) => hasher.update(&bytes),
            Err(error) => hasher.update(error.to_string().as_bytes()),
        };
        *hasher.finalize().as_bytes()
    }

    /// Whether a record counts only once somebody who may has approved what others wrote.
    pub fn asks_for_approval(&self) -> bool {
        !self.approve_by.is_empty()
    }

    /// The field under the flat `key`; where kinds of entries share a key, that of the first.
    ///
    /// They agree in everything but what is allowed, so that one look at the key is enough to
    /// merge, index and show it.
    pub fn field(&self, key: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.key == key)
    }

    /// All rules, with where they come from.
    pub fn all_rules(&self) -> impl Iterator<Item = (&Rule, Origin)> {
        let stated = self.rules.iter().map(|rule| (rule, Origin::Source));
        stated.chain(self.proposed.iter().map(|rule| (rule, Origin::Proposed)))
    }

    /// Whether the value under `key` follows from another record and is never taken from input.
    pub fn is_derived(&self, key: &str) -> bool {
        self.all_rules().any(|(rule, _)| match rule {
            Rule::Lookup { field, .. } => field == key,
            _ => false,
        })
    }

    /// How concurrent values under `key` merge.
    pub fn policy(&self, key: &str) -> MergePolicy {
        let unknown = if self.is_open(key) { self.open_policy() } else { MergePolicy::Latest };
        self.field(key).map_or(unknown, |field| field.policy)
    }

    /// Whether `key` is set once, at creation.
    pub fn is_immutable(&self, key: &str) -> bool {
        self.field(key).is_some_and(|field| field.immutable)
    }

    /// Whether the changes of a record with these fields travel before all others.
    pub fn is_critical(&self, fields: &Fields) -> bool {
        self.critical.as_ref().is_some_and(|(key, value)| fields.get(key) == Some(value))
    }

    /// Whether `key` lies under a prefix where unknown keys are kept.
    pub fn is_open(&self, key: &str) -> bool {
        self.open.iter().any(|prefix| prefix.is_empty() || is_under(key, prefix))
    }

    /// The field that a person means by `name`: its whole key, or its last part (`oilVolume` for
    /// `data.oilVolume`) where only one field ends so.
    pub fn field_named(&self, name: &str) -> Option<&Field> {
        self.field(name).or_else(|| {
            let mut ending = self
                .fields
                .iter()
                .filter(|field| field.key.rsplit_once('.').is_some_and(|(_, last)| last == name));
            let first = ending.next()?;
            ending.all(|other| other.key == first.key).then_some(first)
        })
    }

    // Unknown keys merge as strictly as the known ones beside them. What is put together in some
    // way is so for one field only; of unknown ones a person decides.
    fn open_policy(&self) -> MergePolicy {
        let beside = self.fields.iter().find(|field| self.is_open(&field.key));
        match beside.map(|field| field.policy) {
            None | Some(MergePolicy::Latest) => MergePolicy::Latest,
            Some(_) => MergePolicy::Review,
        }
    }
}

/// Whether `key` is a part below `prefix`.
pub(crate) fn is_under(key: &str, prefix: &str) -> bool {
    key.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('.'))
}
