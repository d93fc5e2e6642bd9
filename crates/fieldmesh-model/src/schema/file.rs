//! A collection that a tenant defines, as a TOML file that a person writes.
//!
//! What the file says is read here, all mistakes at once with their lines; whether it makes sense
//! is judged in [`super::check()`]. A device that reads what another has signed keeps what it does
//! not understand: the words of a newer version become the unknown kind, policy or rule.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range as Span;

use toml::de::DeTable;

use super::check::{check, is_sound};
use super::{
    Collection, Field, Form, Kind, MergePolicy, Origin, Range, Rule, Stated, Unique, Variants, Who,
};
use crate::Value;
use crate::catalogue::BUILT_IN_END;

mod rules;
mod table;

use table::Table;

/// The longest schema file, in bytes.
pub const SCHEMA_SIZE_MAX: usize = 64 * 1024;

/// How many characters a text has at most where the file does not say.
const TEXT_MAX: usize = 1_000;
/// How many items a list has at most where the file does not say.
const ITEMS_MAX: usize = 100;

const WHOLE_KEYS: &[&str] = &[
    "name",
    "version",
    "natural_key",
    "names",
    "time",
    "device",
    "user",
    "open",
    "critical",
    "variants",
    "create",
    "edit",
    "resolve",
    "approve",
    "field",
    "unique",
    "rule",
];
const FIELD_KEYS: &[&str] = &[
    "key",
    "label",
    "kind",
    "unit",
    "required",
    "immutable",
    "indexed",
    "policy",
    "variant",
    "default",
    "message",
    "min",
    "max",
    "above",
    "decimals",
    "form",
    "words",
    "collection",
    "items",
];

/// One mistake in a schema file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SchemaFault {
    /// The line, from 1.
    pub line: usize,
    /// The part of the file, `field pumpId, max`.
    pub place: String,
    /// What is wrong and what to do.
    pub message: String,
}

/// A file that is no schema, with every mistake in it, by line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaError {
    /// The mistakes, at least one.
    pub faults: Vec<SchemaFault>,
}

/// Who wrote the file that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// The person who wants it applied: every word must be known.
    Own,
    /// Another device, perhaps of a newer version.
    Foreign,
}

impl fmt::Display for SchemaFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place.as_str() {
            "" => write!(f, "line {}: {}", self.line, self.message),
            place => write!(f, "line {}, {place}: {}", self.line, self.message),
        }
    }
}

impl fmt::Display for SchemaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<_> = self.faults.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for SchemaError {}

/// Reads the schema of a person who wants it applied, and checks it against the collections that
/// there are already.
///
/// # Errors
///
/// Every mistake, with its line, its place and what to do.
pub fn parse(text: &str, others: &[Collection]) -> Result<Collection, SchemaError> {
    let mut reader = Reader::new(text, Reading::Own);
    let collection = reader.read();
    if let Some(collection) = &collection {
        // What follows from a mistake that was told already is not told again.
        let told: BTreeSet<usize> = reader.faults.iter().map(|fault| fault.line).collect();
        for fault in check(collection, others) {
            let part = fault.field.split(", ").next().unwrap_or_default();
            let is_known = told.is_empty() || reader.places.contains_key(part);
            let line = reader.line_of_place(&fault.field);
            if is_known && !told.contains(&line) {
                reader.fault(line, fault.field, fault.message);
            }
        }
    }
    reader.finish(collection)
}

/// The line of `text` on which a `place` of its schema stands, if it is there.
pub fn line_of(text: &str, place: &str) -> Option<usize> {
    let mut reader = Reader::new(text, Reading::Foreign);
    reader.read()?;
    let part = place.split(", ").next().unwrap_or(place);
    reader.places.contains_key(part).then(|| reader.line_of_place(place))
}

/// Reads the schema that another device signed, keeping what this version does not understand.
///
/// # Errors
///
/// The text is no schema of any version.
pub fn decode(text: &str) -> Result<Collection, SchemaError> {
    let mut reader = Reader::new(text, Reading::Foreign);
    let collection = reader.read();
    reader.finish(collection)
}

/// The number of the collection that tenants call `name`.
///
/// It follows from the name alone, so two admins who define the same collection apart give it the
/// same number. Two names can meet in one number; see [`has_number_before`].
pub fn tenant_number(name: &str) -> u16 {
    let hash = hash_of(name);
    let free = u32::from(u16::MAX - BUILT_IN_END) + 1;
    let place = u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]) % free;
    BUILT_IN_END + u16::try_from(place).unwrap_or(0)
}

/// Whether, of two names that meet in one number and have everything else alike, `name` has it
/// rather than `other`.
///
/// That depends on the names alone, whatever arrived first and whatever a program understands, so
/// every replica reads alike. Whoever sees both is told by [`super::check()`] to choose another one.
pub fn has_number_before(name: &str, other: &str) -> bool {
    (hash_of(name), name) < (hash_of(other), other)
}

fn hash_of(name: &str) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("fieldmesh/collection-number/1");
    hasher.update(name.as_bytes());
    *hasher.finalize().as_bytes()
}

/// A collection as an admin defined it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Definition<'a> {
    /// Its name.
    pub name: &'a str,
    /// The version of its schema.
    pub version: u32,
    /// The file.
    pub text: &'a str,
}

impl Definition<'_> {
    /// The number of the collection.
    pub fn number(&self) -> u16 {
        tenant_number(self.name)
    }

    /// The collection, if this version can read it.
    ///
    /// Nothing that contradicts itself comes out of it, whoever signed it: its records are kept
    /// and shown like those of a collection that nobody defined.
    pub fn read(&self) -> Option<Collection> {
        let collection = decode(self.text).ok()?;
        let is_named = collection.name == self.name && collection.version == self.version;
        (is_named && is_sound(&collection)).then_some(collection)
    }
}

/// A file while it is read.
struct Reader<'a> {
    text: &'a str,
    reading: Reading,
    faults: Vec<SchemaFault>,
    /// Where the parts of the file begin.
    places: BTreeMap<String, usize>,
    /// Where its lines end.
    ends: Vec<usize>,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str, reading: Reading) -> Self {
        let ends = text.match_indices('\n').map(|(at, _)| at).collect();
        Self { text, reading, faults: Vec::new(), places: BTreeMap::new(), ends }
    }

    fn finish(mut self, collection: Option<Collection>) -> Result<Collection, SchemaError> {
        self.faults.sort();
        match collection {
            Some(collection) if self.faults.is_empty() => Ok(collection),
            _ => Err(SchemaError { faults: self.faults }),
        }
    }

    fn line(&self, span: &Span<usize>) -> usize {
        self.ends.partition_point(|end| *end < span.start) + 1
    }

    // A place inside a part without a line of its own is on the line of the part.
    fn line_of_place(&self, place: &str) -> usize {
        let mut place = place;
        loop {
            if let Some(line) = self.places.get(place) {
                return *line;
            }
            match place.rsplit_once(", ") {
                Some((part, _)) => place = part,
                None => return 1,
            }
        }
    }

    fn fault(&mut self, line: usize, place: impl Into<String>, message: impl Into<String>) {
        self.faults.push(SchemaFault { line, place: place.into(), message: message.into() });
    }

    fn read(&mut self) -> Option<Collection> {
        if self.text.len() > SCHEMA_SIZE_MAX {
            let text = format!("file is larger than {} KiB", SCHEMA_SIZE_MAX / 1024);
            self.fault(1, "", text);
            return None;
        }
        let root = match DeTable::parse(self.text) {
            Ok(root) => root,
            Err(error) => {
                let line = error.span().map_or(1, |span| self.line(&span));
                self.fault(line, "", error.message());
                return None;
            }
        };
        let table = Table::new(root.get_ref(), 1, String::new());
        self.known_keys(&table, WHOLE_KEYS);
        Some(self.collection(&table))
    }

    fn collection(&mut self, table: &Table<'_, '_>) -> Collection {
        let name = self.needed_text(table, "name");
        let number = tenant_number(&name);
        let unknown = Collection::unknown(number);
        let fields = self.each(table, "field", Self::field);
        let variants = self.inner(table, "variants", &["field", "prefix"]);
        let critical = self.inner(table, "critical", &["field", "value"]);
        Collection {
            name,
            version: self.whole(table, "version").unwrap_or(1),
            fields,
            natural_key: self.texts(table, "natural_key").unwrap_or_default(),
            unique: self.each(table, "unique", Self::unique),
            names: self.texts(table, "names").unwrap_or_default(),
            time_field: self.text(table, "time"),
            device_field: self.text(table, "device"),
            user_field: self.text(table, "user"),
            variants: variants.map(|inner| Variants {
                field: self.needed_text(&inner, "field"),
                prefix: self.needed_text(&inner, "prefix"),
            }),
            open: self.texts(table, "open").unwrap_or_default(),
            critical: critical.map(|inner| {
                let value = self.value(&inner, "value").unwrap_or(Value::Null);
                (self.needed_text(&inner, "field"), value)
            }),
            rules: self.each(table, "rule", Self::rule),
            create_by: self.people(table, "create").unwrap_or(unknown.create_by),
            edit_by: self.people(table, "edit").unwrap_or(unknown.edit_by),
            resolve_by: self.people(table, "resolve").unwrap_or(unknown.resolve_by),
            approve_by: self.people(table, "approve").unwrap_or(unknown.approve_by),
            ..Collection::unknown(number)
        }
    }

    fn field(&mut self, table: &Table<'_, '_>) -> Field {
        self.known_keys(table, FIELD_KEYS);
        let key = self.needed_text(table, "key");
        let named = format!("field {key}");
        let table = &table.renamed(if key.is_empty() { table.place.clone() } else { named });
        self.places.entry(table.place.clone()).or_insert(table.line);
        let made = Field::new(&key, self.kind(table));
        Field {
            label: self.text(table, "label").unwrap_or(made.label),
            unit: self.text(table, "unit"),
            required: self.flag(table, "required"),
            immutable: self.flag(table, "immutable"),
            indexed: self.flag(table, "indexed"),
            policy: self.policy(table),
            variant: self.text(table, "variant"),
            default: self.value(table, "default"),
            message: self.text(table, "message"),
            stated: Stated::Everything,
            ..made
        }
    }

    fn kind(&mut self, table: &Table<'_, '_>) -> Kind {
        const KINDS: &str = "text, number, integer, bool, enum, word, moment, day, reference, \
                             texts, set or integers";
        let word = self.needed_text(table, "kind");
        let max = |this: &mut Self| this.whole(table, "max").unwrap_or(TEXT_MAX);
        let items = |this: &mut Self| this.whole(table, "items").unwrap_or(ITEMS_MAX);
        match word.as_str() {
            "text" => {
                let min = self.whole(table, "min").unwrap_or(0);
                Kind::Text { min, max: max(self), form: self.form(table) }
            }
            "number" => {
                let decimals = self.whole(table, "decimals");
                Kind::Number { range: self.range(table), decimals }
            }
            "integer" => Kind::Integer { range: self.range(table) },
            "bool" => Kind::Bool,
            "enum" => Kind::Enum(self.needed_texts(table, "words")),
            "word" => Kind::Word { known: self.needed_texts(table, "words"), max: max(self) },
            "moment" => Kind::Moment,
            "day" => Kind::Day,
            "reference" => Kind::Reference { collection: self.needed_text(table, "collection") },
            "texts" => Kind::TextList {
                items_max: items(self),
                item_max: max(self),
                form: self.form(table),
            },
            "set" => {
                Kind::Set { items_max: items(self), item_max: max(self), form: self.form(table) }
            }
            "integers" => Kind::IntegerList { items_max: items(self) },
            other => {
                self.unknown_word(table, "kind", other, KINDS);
                Kind::Unknown(other.into())
            }
        }
    }

    fn form(&mut self, table: &Table<'_, '_>) -> Form {
        const FORMS: &str = "free, name, email, link, api_number, sha256 or recurrence";
        let Some(word) = self.text(table, "form") else { return Form::Name };
        match word.as_str() {
            "free" => Form::Free,
            "name" => Form::Name,
            "email" => Form::Email,
            "link" => Form::Link,
            "api_number" => Form::ApiNumber,
            "sha256" => Form::Sha256,
            "recurrence" => Form::Recurrence,
            other => {
                self.unknown_word(table, "form", other, FORMS);
                Form::Unknown
            }
        }
    }

    fn policy(&mut self, table: &Table<'_, '_>) -> MergePolicy {
        const POLICIES: &str = "latest, review, text, max, min, union or sum";
        let Some(word) = self.text(table, "policy") else { return MergePolicy::Latest };
        match word.as_str() {
            "latest" => MergePolicy::Latest,
            "review" => MergePolicy::Review,
            "text" => MergePolicy::Text,
            "max" => MergePolicy::Max,
            "min" => MergePolicy::Min,
            "union" => MergePolicy::Union,
            "sum" => MergePolicy::Sum,
            other => {
                self.unknown_word(table, "policy", other, POLICIES);
                MergePolicy::Unknown
            }
        }
    }

    fn people(&mut self, table: &Table<'_, '_>, key: &str) -> Option<Vec<Who>> {
        let words = self.texts(table, key)?;
        let mut people = Vec::with_capacity(words.len());
        for word in words {
            people.push(match word.as_str() {
                "author" => Who::Author,
                "crew" => Who::Crew,
                "manager" => Who::Manager,
                "admin" => Who::Admin,
                other => {
                    self.unknown_word(table, key, other, "author, crew, manager or admin");
                    Who::Unknown
                }
            });
        }
        Some(people)
    }

    fn range(&mut self, table: &Table<'_, '_>) -> Range {
        Range {
            above: self.number(table, "above"),
            min: self.number(table, "min"),
            max: self.number(table, "max"),
        }
    }

    fn unique(&mut self, table: &Table<'_, '_>) -> Unique {
        self.known_keys(table, &["fields", "message", "when"]);
        let fields = self.needed_texts(table, "fields");
        let message = self.text(table, "message");
        let message = message.unwrap_or_else(|| format!("{} is taken", fields.join(" and ")));
        let when = self.conditions(table, "when").into_iter().next();
        Unique { fields, extended: false, message, when, origin: Origin::Source, shared: None }
    }

    fn rule(&mut self, table: &Table<'_, '_>) -> Rule {
        rules::read(self, table)
    }
}

#[cfg(test)]
mod tests;
