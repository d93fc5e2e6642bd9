//! Brings the fields of a record into their normal form and collects what is wrong with them.

use std::collections::BTreeSet;

use super::{Fault, References, nearest, rule, value};
use crate::limits::RECORD_SIZE_MAX;
use crate::schema::{Collection, Field, Kind, Origin, Stated, is_under};
use crate::{Fields, Value, input};

/// One thing that is wrong, and whether a source says so.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Finding {
    pub(super) fault: Fault,
    pub(super) origin: Origin,
}

/// Why a record is looked at.
#[derive(Debug, Clone, Copy)]
pub(super) enum Reading<'a> {
    /// It is to be created: what follows from other records is looked up.
    New,
    /// It is there: what follows from other records was looked up when it was written.
    Standing,
    /// Its fields are to become these; they were in the normal form given here.
    Edited(&'a Fields),
}

impl Finding {
    pub(super) fn new(
        field: impl Into<String>,
        message: impl Into<String>,
        origin: Origin,
    ) -> Self {
        Self { fault: Fault::new(field, message), origin }
    }

    pub(super) fn stated(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(field, message, Origin::Source)
    }

    pub(super) fn proposed(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(field, message, Origin::Proposed)
    }
}

pub(super) fn normalise(
    collection: &Collection,
    fields: &Fields,
    references: &dyn References,
    reading: Reading<'_>,
) -> (Fields, BTreeSet<Finding>) {
    let mut findings = BTreeSet::new();
    let variant = variant_of(collection, fields);
    let known = Known::of(collection, variant, fields);
    let is_new = !matches!(reading, Reading::Standing);
    // What is looked up is never taken from input, however wrong that is.
    let is_taken = |key: &str| !(is_new && collection.is_derived(key));
    let given = fields.iter().filter(|(key, value)| !value.is_cleared() && is_taken(key));
    let check = |(key, value): (&String, &Value)| {
        let checked = checked(collection, known.field(key), key, value, references);
        let value = checked.unwrap_or_else(|finding| {
            findings.insert(finding);
            // Kept as given, so that it does not count as missing below.
            value.clone()
        });
        (key.clone(), value)
    };
    // Cleared are also those that nothing is left of.
    let mut normal: Fields = given.map(check).filter(|(_, value)| !value.is_cleared()).collect();
    rule::look_up(collection, &mut normal, references, reading, &mut findings);
    fill(collection, variant, reading, &mut normal, &mut findings);
    check_variants(&known, &normal, &mut findings);
    for (rule, origin) in collection.all_rules() {
        rule::check(collection, variant, rule, origin, &mut normal, references, &mut findings);
    }
    if size_of(&normal) > RECORD_SIZE_MAX {
        let text = format!("Record is larger than {} KiB", RECORD_SIZE_MAX / 1024);
        findings.insert(Finding::stated("", text));
    }
    (normal, findings)
}

/// The kind of entry, if it is one that the collection knows.
fn variant_of<'a>(collection: &Collection, fields: &'a Fields) -> Option<&'a str> {
    let variants = collection.variants.as_ref()?;
    let variant = fields.get(&variants.field)?.as_text()?.trim();
    let is_known = |field: &Field| field.variant.as_deref() == Some(variant);
    collection.fields.iter().any(is_known).then_some(variant)
}

/// The fields by which a record is read.
struct Known<'a> {
    collection: &'a Collection,
    variant: Option<&'a str>,
    /// Whether what depends on the kind of entry is free: the kind may be any word and is not known.
    is_free: bool,
}

impl<'a> Known<'a> {
    fn of(collection: &'a Collection, variant: Option<&'a str>, fields: &Fields) -> Self {
        let is_free = variant.is_none()
            && collection.variants.as_ref().is_some_and(|variants| {
                let kind = collection.field(&variants.field).map(|field| &field.kind);
                matches!(kind, Some(Kind::Word { .. })) && fields.contains_key(&variants.field)
            });
        Self { collection, variant, is_free }
    }

    /// The field with this key. Where kinds of entries share it, that of this record's kind counts.
    ///
    /// Records have a few fields and collections some dozens: a map of these, made for each record,
    /// took a third of the time of a check.
    fn field(&self, key: &str) -> Option<&'a Field> {
        let is_own = |field: &&Field| self.variant.is_some_and(|kind| field.belongs_to(kind));
        let fields = self.collection.fields.iter();
        let mut named =
            fields.filter(|field| field.key == key && !(self.is_free && field.variant.is_some()));
        named.clone().rfind(is_own).or_else(|| named.next())
    }
}

fn checked(
    collection: &Collection,
    field: Option<&Field>,
    key: &str,
    value: &Value,
    references: &dyn References,
) -> Result<Value, Finding> {
    let Some(field) = field else {
        return check_unknown(collection, key, value)
            .map_err(|message| Finding::proposed(key, message));
    };
    value::check(field, value, references).map_err(|fault| match fault {
        value::Wrong::Kind(message) => Finding::new(key, message, of_kind(field)),
        value::Wrong::Bounds(message) => Finding::new(key, message, of_bounds(field)),
    })
}

pub(super) fn of_kind(field: &Field) -> Origin {
    match field.stated {
        Stated::Everything | Stated::Kind => Origin::Source,
        Stated::Nothing => Origin::Proposed,
    }
}

fn of_bounds(field: &Field) -> Origin {
    match field.stated {
        Stated::Everything => Origin::Source,
        Stated::Kind | Stated::Nothing => Origin::Proposed,
    }
}

fn fill(
    collection: &Collection,
    variant: Option<&str>,
    reading: Reading<'_>,
    normal: &mut Fields,
    findings: &mut BTreeSet<Finding>,
) {
    rule::copy_defaults(collection, variant, normal);
    let reported: BTreeSet<_> = findings.iter().map(|one| one.fault.field.clone()).collect();
    // Why something could not be looked up has been said.
    let is_said = |key: &str| {
        reported.contains(key)
            || (!matches!(reading, Reading::Standing) && collection.is_derived(key))
    };
    for field in collection.fields.iter().filter(|field| belongs(field, variant)) {
        match (&field.default, normal.contains_key(&field.key)) {
            (Some(value), false) => {
                normal.insert(field.key.clone(), value.clone());
            }
            (None, false) if field.required && !is_said(&field.key) => {
                findings.insert(Finding::new(&field.key, value::missing(field), of_kind(field)));
            }
            _ => {}
        }
    }
}

/// Whether a record of this kind has the field; without a kind it has what all kinds share.
pub(super) fn belongs(field: &Field, variant: Option<&str>) -> bool {
    match variant {
        Some(variant) => field.belongs_to(variant),
        None => field.variant.is_none(),
    }
}

fn check_unknown(collection: &Collection, key: &str, value: &Value) -> Result<Value, String> {
    if input::part_of(key).is_some() {
        return Err(format!("{key:?} cannot be the name of a field"));
    }
    if collection.version == 0 || collection.is_open(key) {
        return value::check_free(key, value);
    }
    let names = collection.fields.iter().map(|field| field.key.as_str());
    match nearest(key, names).as_slice() {
        [] => Err(format!("Unknown field {key:?}")),
        near => Err(format!("Unknown field {key:?}, did you mean {}?", near.join(" or "))),
    }
}

fn check_variants(known: &Known<'_>, fields: &Fields, findings: &mut BTreeSet<Finding>) {
    let Some(variant) = known.variant else { return };
    for key in fields.keys() {
        if let Some(field) = known.field(key).filter(|field| !field.belongs_to(variant)) {
            let name = short(&field.key);
            let text = format!("{name} is not allowed for {variant} entries");
            findings.insert(Finding::proposed(key, text));
        }
    }
}

/// Whether `field` lies under `prefix`, belongs to the kind of entry and has a value.
pub(super) fn is_given(field: &Field, prefix: &str, variant: &str, fields: &Fields) -> bool {
    is_under(&field.key, prefix) && field.belongs_to(variant) && fields.contains_key(&field.key)
}

/// The last part of a flat key.
fn short(key: &str) -> &str {
    key.rsplit_once('.').map_or(key, |(_, last)| last)
}

fn size_of(fields: &Fields) -> usize {
    let raw: usize = fields.iter().map(|(key, value)| key.len() + raw_size(value)).sum();
    // JSON needs at most six bytes for one, and some for punctuation and numbers.
    if raw.saturating_mul(6) + fields.len() * 8 <= RECORD_SIZE_MAX {
        return raw;
    }
    serde_json::to_vec(&input::nest(fields)).map_or(raw, |bytes| bytes.len())
}

fn raw_size(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Moment(_) => 32,
        Value::Text(text) => text.len(),
        Value::List(items) => items.iter().map(|item| raw_size(item) + 3).sum(),
    }
}
