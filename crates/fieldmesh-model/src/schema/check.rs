//! Whether a schema makes sense: what contradicts itself, or what is there already.
//!
//! A fault names a place of the schema (`field pumpId, default`) and says what to do.

use std::collections::{BTreeMap, BTreeSet};
use std::mem::discriminant;

use super::{Collection, Field, Form, Kind, MergePolicy, Range, UNKNOWN_PREFIX, Who};
use crate::catalogue;
use crate::input::{KEY_SIZE_MAX, PART_SUFFIX, part_of};
use crate::validate::{Fault, check_alone};

mod keys;

/// The most fields of a collection.
pub const FIELDS_MAX: usize = 256;
/// The longest name of a collection, in characters.
pub const NAME_MAX: usize = 64;
/// The longest key of a field, in bytes: a part of it still has to be a key.
pub const FIELD_KEY_MAX: usize = KEY_SIZE_MAX - PART_SUFFIX;
/// The most characters that a text or an item of a list may be allowed.
pub const TEXT_LIMIT_MAX: usize = 65_536;
/// The most items that a list may be allowed.
pub const ITEMS_LIMIT_MAX: usize = 1_000;
/// The most fields of a natural key, of a group of unique fields and of the names of a record.
pub const KEY_FIELDS_MAX: usize = 16;
/// The most groups of unique fields: each is looked up for every record that is written.
pub const GROUPS_MAX: usize = 16;
/// The most rules of a collection.
pub const RULES_MAX: usize = 128;

/// What a schema is checked against.
#[derive(Debug, Clone, Copy)]
enum Beside<'a> {
    /// All collections that there are.
    All(&'a [Collection]),
    /// Nobody knows what others there are.
    Unknown,
}

impl<'a> Beside<'a> {
    const fn others(self) -> &'a [Collection] {
        match self {
            Self::All(others) => others,
            Self::Unknown => &[],
        }
    }
}

/// Every contradiction in a schema, beside the `others` that are in force.
pub fn check(collection: &Collection, others: &[Collection]) -> Vec<Fault> {
    check_beside(collection, Beside::All(others))
}

/// Whether a schema agrees with itself, whatever others there are.
pub fn is_sound(collection: &Collection) -> bool {
    check_beside(collection, Beside::Unknown).is_empty()
}

/// Whether `name` has the form of a collection's name, whatever is built in.
pub fn is_plain(name: &str) -> bool {
    name.len() <= NAME_MAX
        && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'))
        && name.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase())
}

fn check_beside(collection: &Collection, beside: Beside<'_>) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut count = |place: &str, count: usize, least: usize, most: usize, what: &str| {
        if !(least..=most).contains(&count) {
            let text = format!("a collection has {least} to {most} {what}, this one has {count}");
            faults.push(Fault::new(place, text));
        }
    };
    count("field", collection.fields.len(), 1, FIELDS_MAX, "fields");
    count("unique", collection.unique.len(), 0, GROUPS_MAX, "groups of unique fields");
    count("rule", collection.all_rules().count(), 0, RULES_MAX, "rules");
    count("natural_key", collection.natural_key.len(), 0, KEY_FIELDS_MAX, "fields in its key");
    count("names", collection.names.len(), 0, KEY_FIELDS_MAX, "fields as names");
    for unique in &collection.unique {
        count("unique", unique.fields.len(), 0, KEY_FIELDS_MAX, "unique fields in a group");
    }
    let is_within = faults.is_empty();
    check_name(collection, beside, &mut faults);
    // What is beyond its limits is not looked at one by one.
    if is_within {
        check_fields(collection, beside, &mut faults);
        keys::check(collection, beside.others(), &mut faults);
    }
    faults
}

fn check_name(collection: &Collection, beside: Beside<'_>, faults: &mut Vec<Fault>) {
    let mut find = |place: &str, text: String| faults.push(Fault::new(place, text));
    let name = &collection.name;
    if !is_plain(name) {
        let text = format!(
            "{name:?} cannot be the name of a collection; begin with a small letter and use up to \
             {NAME_MAX} small letters, digits and _"
        );
        find("name", text);
    }
    if collection.version == 0 {
        find("version", "versions begin with 1".to_owned());
    }
    if let Beside::All(others) = beside {
        check_others(collection, others, &mut find);
    }
    for (place, people) in [
        ("create", &collection.create_by),
        ("edit", &collection.edit_by),
        ("resolve", &collection.resolve_by),
    ] {
        if people.is_empty() {
            find(place, "nobody may do this; name author, crew, manager or admin".to_owned());
        }
    }
    if collection.approve_by.contains(&Who::Crew) {
        let text = "everyone in the crew could approve, so nothing would ever wait; name author, \
                    manager or admin, or leave it out";
        find("approve", text.to_owned());
    }
}

fn check_others(
    collection: &Collection,
    others: &[Collection],
    find: &mut impl FnMut(&str, String),
) {
    let name = &collection.name;
    let is_same = |other: &Collection| other.name == *name && other.number == collection.number;
    for other in others.iter().filter(|other| other.number == collection.number) {
        if other.name != *name {
            let text = format!(
                "{name} and {} share the number {}; choose another name",
                other.name, other.number
            );
            find("name", text);
        }
    }
    let is_reserved = |name: &str| {
        name.strip_prefix(UNKNOWN_PREFIX)
            .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()))
    };
    if is_reserved(name) {
        let text = "records of a collection that is not defined are shown so; choose another name";
        find("name", text.to_owned());
    }
    // What was there before a program with a collection of that name goes on.
    if let Some(built_in) = catalogue::named(name)
        && !others.iter().any(is_same)
    {
        let text = match built_in.name == *name {
            true => format!("{name} is a built-in collection; choose another name"),
            false => format!(
                "{name:?} means the built-in collection {}; choose another name",
                built_in.name
            ),
        };
        find("name", text);
    }
}

fn check_fields(collection: &Collection, beside: Beside<'_>, faults: &mut Vec<Fault>) {
    let mut seen: BTreeMap<&str, Vec<&Field>> = BTreeMap::new();
    for field in &collection.fields {
        let place = format!("field {}", field.key);
        let mut find = |part: &str, text: String| {
            let place = if part.is_empty() { place.clone() } else { format!("{place}, {part}") };
            faults.push(Fault::new(place, text));
        };
        if let Some(text) = bad_key(&field.key) {
            find("", text);
        }
        for earlier in seen.get(field.key.as_str()).into_iter().flatten() {
            if let Some(text) = clash(field, earlier) {
                find("", text);
            }
        }
        check_kind(field, collection, beside, &mut find);
        if !fits(field.policy, &field.kind) {
            find("policy", wanted_kind(field.policy).to_owned());
        }
        if field.indexed && matches!(field.kind, Kind::TextList { .. } | Kind::IntegerList { .. }) {
            find("indexed", "lists have no index; drop it".to_owned());
        }
        if field.immutable && field.policy == MergePolicy::Sum {
            find("policy", "a field that is set once cannot be a sum; drop one of them".to_owned());
        }
        if let Some(default) = &field.default
            && let Err(text) = check_alone(field, default)
        {
            find("default", format!("default is not allowed by the field itself: {text}"));
        }
        seen.entry(&field.key).or_default().push(field);
    }
    let keys: BTreeSet<_> = seen.keys().copied().collect();
    for key in &keys {
        let below = format!("{key}.");
        if let Some(inner) = keys.range(below.as_str()..).next().filter(|it| it.starts_with(&below))
        {
            let text = format!("{key} cannot hold a value and {inner} as well; rename one of them");
            faults.push(Fault::new(format!("field {key}"), text));
        }
    }
}

fn bad_key(key: &str) -> Option<String> {
    if key.is_empty() || key.split('.').any(str::is_empty) {
        return Some("a field needs a key without empty parts; write key = \"pumpId\"".to_owned());
    }
    if key.starts_with('_') {
        return Some(format!("{key:?} is reserved; do not begin keys with _"));
    }
    if key.len() > FIELD_KEY_MAX || key.chars().any(char::is_control) || part_of(key).is_some() {
        let text = format!("{key:?} cannot be a key; use up to {FIELD_KEY_MAX} plain characters");
        return Some(text);
    }
    None
}

// Kinds of entries may share a key if one look at it is enough to merge and index it.
fn clash(field: &Field, earlier: &Field) -> Option<String> {
    let key = &field.key;
    let is_apart = matches!((&field.variant, &earlier.variant), (Some(a), Some(b)) if a != b);
    if !is_apart {
        return Some(format!("{key} is there twice; drop one, or give each a variant of its own"));
    }
    let is_alike = field.policy == earlier.policy
        && field.immutable == earlier.immutable
        && discriminant(&field.kind) == discriminant(&earlier.kind);
    let text = format!("{key} must have one kind, policy and immutable in all variants");
    (!is_alike).then_some(text)
}

fn check_kind(
    field: &Field,
    collection: &Collection,
    beside: Beside<'_>,
    find: &mut impl FnMut(&str, String),
) {
    let mut text_limit = |part: &str, max: usize| {
        if !(1..=TEXT_LIMIT_MAX).contains(&max) {
            find(part, format!("at most {TEXT_LIMIT_MAX} characters and at least 1"));
        }
    };
    match &field.kind {
        Kind::Text { min, max, .. } => {
            text_limit("max", *max);
            if min > max {
                find("min", format!("min {min} is more than max {max}; swap them"));
            }
        }
        Kind::Number { range, .. } | Kind::Integer { range } => check_range(range, find),
        Kind::Enum(words) => check_words(words, find),
        Kind::Word { known, max } => {
            text_limit("max", *max);
            check_words(known, find);
        }
        Kind::Reference { collection: target } => {
            let is_known = |others: &[Collection]| {
                *target == collection.name || others.iter().any(|other| other.name == *target)
            };
            if matches!(beside, Beside::All(others) if !is_known(others)) {
                let text = format!("there is no collection {target:?}; define it first");
                find("collection", text);
            }
        }
        Kind::TextList { items_max, item_max, .. } | Kind::Set { items_max, item_max, .. } => {
            text_limit("max", *item_max);
            check_items(*items_max, find);
        }
        Kind::IntegerList { items_max } => check_items(*items_max, find),
        Kind::Bool | Kind::Moment | Kind::Day | Kind::Unknown(_) => {}
    }
}

fn check_items(items_max: usize, find: &mut impl FnMut(&str, String)) {
    if !(1..=ITEMS_LIMIT_MAX).contains(&items_max) {
        find("items", format!("at most {ITEMS_LIMIT_MAX} items and at least 1"));
    }
}

fn check_range(range: &Range, find: &mut impl FnMut(&str, String)) {
    let least = range.min.or(range.above);
    if let (Some(least), Some(max)) = (least, range.max)
        && (least > max || (range.above == Some(max)))
    {
        find("max", format!("nothing lies between {least} and max {max}; widen the range"));
    }
}

fn check_words(words: &[String], find: &mut impl FnMut(&str, String)) {
    let distinct: BTreeSet<_> = words.iter().collect();
    if words.is_empty() || distinct.len() < words.len() {
        find("words", "needs at least one word, and each once".to_owned());
    }
    if words.iter().any(|word| word.is_empty() || word.trim() != word) {
        find("words", "a word has no white space at its ends and is not empty".to_owned());
    }
}

fn fits(policy: MergePolicy, kind: &Kind) -> bool {
    if matches!(kind, Kind::Unknown(_)) {
        return true;
    }
    match policy {
        MergePolicy::Latest | MergePolicy::Review | MergePolicy::Unknown => true,
        MergePolicy::Text => {
            matches!(kind, Kind::Text { form: Form::Free | Form::Unknown, .. })
        }
        MergePolicy::Max | MergePolicy::Min => {
            matches!(kind, Kind::Number { .. } | Kind::Integer { .. } | Kind::Moment | Kind::Day)
        }
        MergePolicy::Sum => matches!(kind, Kind::Number { .. } | Kind::Integer { .. }),
        MergePolicy::Union => {
            matches!(kind, Kind::Set { .. } | Kind::TextList { .. } | Kind::IntegerList { .. })
        }
    }
}

fn wanted_kind(policy: MergePolicy) -> &'static str {
    match policy {
        MergePolicy::Text => "text merges texts with form = \"free\" only",
        MergePolicy::Max => "max is for numbers and times; take latest or review",
        MergePolicy::Min => "min is for numbers and times; take latest or review",
        MergePolicy::Sum => "sum is for numbers; take latest or review",
        MergePolicy::Union => "union is for sets and lists; take latest or review",
        MergePolicy::Latest | MergePolicy::Review | MergePolicy::Unknown => "take another policy",
    }
}

#[cfg(test)]
mod tests;
