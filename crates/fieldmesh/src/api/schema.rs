//! Collections of the tenant's own: what is asked, what came of it, and what there is.

use fieldmesh_model::Moment;
use fieldmesh_model::schema::Collection;
use serde::{Deserialize, Serialize};

/// How far a schema is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SchemaStep {
    /// Only check it, also for somebody who may not apply it.
    #[default]
    Check,
    /// Say what applying it would change.
    Preview,
    /// Sign it and put it in force.
    Apply,
}

/// What becomes of a definition in force that this version cannot read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unreadable {
    /// Nothing goes over it: a newer version can.
    #[default]
    Keep,
    /// The next version goes over it, and what it has is lost.
    Replace,
}

/// A schema file, and what is to be done with it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SchemaOptions {
    /// The file.
    pub text: String,
    /// How far to go.
    #[serde(default)]
    pub step: SchemaStep,
    /// What becomes of the definition in force where this version cannot read it.
    #[serde(default)]
    pub unreadable: Unreadable,
}

/// What came of a schema.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SchemaReport {
    /// The collection.
    pub collection: String,
    /// The version of its schema.
    pub version: u32,
    /// How many fields it has.
    pub fields: u64,
    /// The version in force before; none where the collection is new.
    pub before: Option<u32>,
    /// What it changes, in words.
    pub changes: Vec<String>,
    /// Whether it was signed and is in force here.
    pub applied: bool,
}

/// Whose schema it is, and whether it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SchemaState {
    /// It is part of the program.
    BuiltIn,
    /// The tenant defined it, and it counts.
    InForce,
    /// The tenant defined it, and this version cannot read it: records are kept as they come.
    NotUnderstood,
    /// Records are read by it, as this version cannot read the one that counts.
    ReadBy,
    /// Another one of the same collection, or with its number, goes before it.
    Replaced,
    /// The same, and whoever made that one did not know of it.
    Apart,
    /// It does not count, since what it follows on is lacking.
    Ahead,
}

/// A collection as it is defined.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SchemaShown {
    /// Its name.
    pub name: String,
    /// The number that scopes carry.
    pub number: u16,
    /// The version of the schema.
    pub version: u32,
    /// Whether it counts.
    pub state: SchemaState,
    /// How many fields it has; none where this version cannot read it.
    pub fields: Option<u64>,
    /// How many records of it are here.
    pub records: u64,
    /// Who signed it, in words.
    pub by: Option<String>,
    /// When, by the clock of whoever did.
    pub at: Option<Moment>,
    /// The file, where one collection was asked for.
    pub text: Option<String>,
    /// What it means, where one collection was asked for.
    pub definition: Option<Box<Collection>>,
}
