//! What a new version of a schema may change without rewriting a record.
//!
//! Records stay as they were written, and devices that have not heard of the new version go on
//! writing by the old one. So a change is refused that would hide or lose what is there, make a
//! good record bad, or give one record two identities.

use std::collections::BTreeSet;

use super::{Collection, Field, Form, Kind, MergePolicy, Range};
use crate::validate::Fault;

/// What a new version changes, in words, for a person who is about to apply it.
///
/// # Errors
///
/// Every change that would hide or lose something, with what to do instead.
pub fn evolve(old: &Collection, new: &Collection) -> Result<Vec<String>, Vec<Fault>> {
    let mut evolution = Evolution::default();
    evolution.whole(old, new);
    evolution.fields(old, new);
    if evolution.faults.is_empty() { Ok(evolution.changes) } else { Err(evolution.faults) }
}

#[derive(Default)]
struct Evolution {
    changes: Vec<String>,
    faults: Vec<Fault>,
}

impl Evolution {
    fn refuse(&mut self, place: &str, text: impl Into<String>) {
        self.faults.push(Fault::new(place, text));
    }

    fn change(&mut self, text: impl Into<String>) {
        self.changes.push(text.into());
    }

    fn whole(&mut self, old: &Collection, new: &Collection) {
        if old.name != new.name || old.number != new.number {
            let text = format!(
                "a collection keeps its name; define {} beside {} instead",
                new.name, old.name
            );
            self.refuse("name", text);
        }
        let is_changed = Collection { version: old.version, ..new.clone() } != *old;
        if is_changed && new.version <= old.version {
            let (old, next) = (old.version, old.version.saturating_add(1));
            self.refuse("version", format!("version {old} is in force; write version = {next}"));
        }
        if old.natural_key != new.natural_key {
            let text = "the natural key is part of the ids of all records and stays as it is; \
                        define another collection";
            self.refuse("natural_key", text);
        }
        if old.time_field != new.time_field {
            self.refuse("time", "records are filed by this field; leave it as it is");
        }
        let place = |collection: &Collection| {
            collection.variants.as_ref().map(|it| (it.field.clone(), it.prefix.clone()))
        };
        if old.variants.is_some() && place(old) != place(new) {
            self.refuse("variants", "records are of a kind already; leave this as it is");
        }
        for prefix in old.open.iter().filter(|prefix| !new.open.contains(prefix)) {
            let text = format!("records may have unknown keys under {prefix:?}; leave it open");
            self.refuse("open", text);
        }
        for (what, is_other) in [
            ("uniqueness", old.unique != new.unique),
            ("names", old.names != new.names),
            ("rules", old.rules != new.rules || old.proposed != new.proposed),
            ("who may create", old.create_by != new.create_by),
            ("who may edit", old.edit_by != new.edit_by),
            ("who may resolve", old.resolve_by != new.resolve_by),
            ("what is critical", old.critical != new.critical),
        ] {
            if is_other {
                self.change(format!("{what} changes for what is written from now on"));
            }
        }
        self.approval(old, new);
    }

    fn approval(&mut self, old: &Collection, new: &Collection) {
        match (old.asks_for_approval(), new.asks_for_approval()) {
            (false, true) => self.change(
                "records count once they are approved, those that are there as well: what was \
                 written by people who may not approve waits from now on",
            ),
            (true, false) => self.change("all records count, without approval"),
            (true, true) if old.approve_by != new.approve_by => self.change(
                "who may approve changes, also for what was approved so far: what counts by the \
                 word of somebody who may not any more waits again",
            ),
            (true, true) | (false, false) => {}
        }
    }

    fn fields(&mut self, old: &Collection, new: &Collection) {
        let same = |field: &Field, others: &[Field]| {
            others
                .iter()
                .find(|other| other.key == field.key && other.variant == field.variant)
                .or_else(|| others.iter().find(|it| it.key == field.key && it.variant.is_none()))
                .cloned()
        };
        for field in &old.fields {
            match same(field, &new.fields) {
                Some(after) => self.field(old, field, &after),
                None => self.refuse(
                    &format!("field {}", field.key),
                    "records hold this field; keep it, and drop `required` if nobody fills it in",
                ),
            }
        }
        for field in &new.fields {
            let is_new = same(field, &old.fields).is_none();
            if is_new && field.required && field.default.is_none() {
                let text = "records lack this field; drop `required`, or give a default";
                self.refuse(&format!("field {}", field.key), text);
            } else if is_new {
                self.change(format!("field {} is new", field.key));
            }
        }
    }

    fn field(&mut self, old: &Collection, before: &Field, after: &Field) {
        let place = format!("field {}", after.key);
        if before.required != after.required {
            match (after.required, &after.default) {
                (true, None) => {
                    let text = "records may lack this field; give a default with `required`";
                    self.refuse(&format!("{place}, required"), text);
                }
                _ => self.change(format!("{place}: whether it is required changes")),
            }
        }
        match (before.immutable, after.immutable) {
            (false, true) => {
                let text = "records have changed this field already; changes would be hidden";
                self.refuse(&format!("{place}, immutable"), text);
            }
            (true, false) if old.natural_key.contains(&after.key) => {
                let text = "the natural key is part of the ids of all records; keep it immutable";
                self.refuse(&format!("{place}, immutable"), text);
            }
            (true, false) => self.change(format!("{place} may change from now on")),
            _ => {}
        }
        if before.kind != after.kind {
            match narrowing(&before.kind, &after.kind) {
                Some(text) => self.refuse(&format!("{place}, kind"), text),
                None => self.change(format!("{place} allows more")),
            }
        }
        if before.policy != after.policy {
            match hiding(before.policy, after.policy) {
                Some(text) => self.refuse(&format!("{place}, policy"), text),
                None => self.change(format!("{place} merges otherwise")),
            }
        }
        match (before.indexed, after.indexed) {
            (false, true) => self.change(format!("{place} is found by an index")),
            (true, false) => self.change(format!("{place} is found without an index")),
            _ => {}
        }
        if (&before.unit, &before.label, &before.default, &before.message)
            != (&after.unit, &after.label, &after.default, &after.message)
        {
            self.change(format!("{place} is described otherwise"));
        }
    }
}

/// Why values of the old kind may not be of the new one; `None` if all of them are.
fn narrowing(old: &Kind, new: &Kind) -> Option<String> {
    let is_wider = match (old, new) {
        (
            Kind::Text { min, max, form },
            Kind::Text { min: new_min, max: new_max, form: new_form },
        ) => new_min <= min && new_max >= max && is_looser(*form, *new_form),
        (Kind::Number { range, decimals }, Kind::Number { range: wider, decimals: more }) => {
            let keeps = match (decimals, more) {
                (_, None) => true,
                (Some(old), Some(new)) => new >= old,
                (None, Some(_)) => false,
            };
            keeps && holds(wider, range)
        }
        (Kind::Integer { range }, Kind::Integer { range: wider })
        | (Kind::Integer { range }, Kind::Number { range: wider, .. }) => holds(wider, range),
        (Kind::Enum(old), Kind::Enum(new)) => {
            let new: BTreeSet<_> = new.iter().collect();
            old.iter().all(|word| new.contains(word))
        }
        (Kind::Enum(old), Kind::Word { max, .. }) => {
            old.iter().all(|word| word.chars().count() <= *max)
        }
        (Kind::Word { max, .. }, Kind::Word { max: longer, .. }) => longer >= max,
        (
            Kind::TextList { items_max, item_max, form },
            Kind::TextList { items_max: items, item_max: length, form: new_form },
        )
        | (
            Kind::Set { items_max, item_max, form },
            Kind::Set { items_max: items, item_max: length, form: new_form },
        ) => items >= items_max && length >= item_max && is_looser(*form, *new_form),
        (Kind::IntegerList { items_max }, Kind::IntegerList { items_max: items }) => {
            items >= items_max
        }
        (Kind::Day, Kind::Moment) => true,
        _ => false,
    };
    let text = "records may hold values that the new kind refuses; widen it, or add another field";
    (!is_wider).then(|| text.to_owned())
}

fn is_looser(old: Form, new: Form) -> bool {
    old == new || new == Form::Free || (new == Form::Name && old != Form::Free)
}

/// Whether everything in `inner` lies in `outer` too.
fn holds(outer: &Range, inner: &Range) -> bool {
    let low = match (outer.min.or(outer.above), inner.min.or(inner.above)) {
        (None, _) => true,
        (Some(_), None) => false,
        // What lies above a number may also be at it.
        (Some(outer_low), Some(inner_low)) => {
            outer_low < inner_low
                || (outer_low == inner_low && (outer.above.is_none() || inner.min.is_none()))
        }
    };
    let high = match (outer.max, inner.max) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(outer), Some(inner)) => outer >= inner,
    };
    low && high
}

/// What a change of policy would take out of sight; `None` if nothing.
fn hiding(old: MergePolicy, new: MergePolicy) -> Option<&'static str> {
    use MergePolicy as P;
    match (old, new) {
        (P::Sum, _) => Some("what each device added would no longer count; add another field"),
        (_, P::Review) | (P::Latest, _) => None,
        (P::Review, _) => Some("open conflicts would be settled unseen; keep review"),
        (P::Union, _) => {
            Some("items of concurrent sets would be hidden; keep union or take review")
        }
        (P::Unknown, _) | (_, P::Unknown) => Some("this version does not know the policy"),
        (P::Max | P::Min | P::Text, _) => None,
    }
}

#[cfg(test)]
mod tests;
