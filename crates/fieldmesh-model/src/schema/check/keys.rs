//! What a schema says by naming fields: keys, uniqueness, names, variants and rules.

use crate::schema::{Collection, Field, Kind, MergePolicy, Rule};
use crate::validate::{Fault, check_alone};

pub(super) fn check(collection: &Collection, others: &[Collection], faults: &mut Vec<Fault>) {
    let mut keys = Keys { collection, others, faults };
    keys.natural_key();
    keys.unique();
    keys.single_fields();
    keys.variants();
    keys.critical();
    keys.rules();
}

struct Keys<'a> {
    collection: &'a Collection,
    others: &'a [Collection],
    faults: &'a mut Vec<Fault>,
}

impl<'a> Keys<'a> {
    fn find(&mut self, place: &str, text: impl Into<String>) {
        self.faults.push(Fault::new(place, text));
    }

    fn field(&mut self, place: &str, key: &str) -> Option<&'a Field> {
        let found = self.collection.field(key);
        if found.is_none() {
            self.find(place, format!("there is no field {key:?}; name one of the fields below"));
        }
        found
    }

    fn natural_key(&mut self) {
        const PLACE: &str = "natural_key";
        for key in &self.collection.natural_key {
            let Some(field) = self.field(PLACE, key) else { continue };
            if !field.immutable {
                self.find(PLACE, format!("{key} may change; add immutable = true to the field"));
            }
            if !field.required && field.default.is_none() {
                self.find(PLACE, format!("{key} may be absent; add required = true to the field"));
            }
        }
    }

    fn unique(&mut self) {
        for (index, unique) in self.collection.unique.iter().enumerate() {
            let place = format!("unique {}", index + 1);
            if unique.fields.is_empty() {
                self.find(&place, "names no fields; add fields = [\"...\"]");
            }
            let when = unique.when.iter().map(|(key, _)| key);
            for key in unique.fields.iter().chain(when) {
                let Some(field) = self.field(&place, key) else { continue };
                if matches!(field.policy, MergePolicy::Sum | MergePolicy::Text) {
                    let text = format!("{key} merges by parts, so nothing can be unique by it");
                    self.find(&place, text);
                }
            }
        }
    }

    fn single_fields(&mut self) {
        for key in &self.collection.names {
            self.field("names", key);
        }
        let collection = self.collection;
        let is_moment = |kind: &Kind| matches!(kind, Kind::Moment | Kind::Unknown(_));
        let is_text = |kind: &Kind| matches!(kind, Kind::Text { .. } | Kind::Unknown(_));
        if let Some(key) = &collection.time_field
            && let Some(field) = self.field("time", key)
            && !is_moment(&field.kind)
        {
            self.find("time", format!("{key} is no moment; give it kind = \"moment\""));
        }
        for (place, key) in [("device", &collection.device_field), ("user", &collection.user_field)]
        {
            if let Some(key) = key
                && let Some(field) = self.field(place, key)
                && !is_text(&field.kind)
            {
                self.find(place, format!("{key} is no text; give it kind = \"text\""));
            }
        }
    }

    fn variants(&mut self) {
        let named: Vec<_> =
            self.collection.fields.iter().filter(|field| field.variant.is_some()).collect();
        let Some(variants) = &self.collection.variants else {
            if let Some(field) = named.first() {
                let place = format!("field {}, variant", field.key);
                self.find(&place, "add variants = { field = \"...\", prefix = \"...\" } on top");
            }
            return;
        };
        let Some(field) = self.field("variants", &variants.field) else { return };
        let words = match &field.kind {
            Kind::Enum(words) | Kind::Word { known: words, .. } => words,
            _ => return self.find("variants", "the field must have kind \"enum\" or \"word\""),
        };
        for field in named {
            let variant = field.variant.as_deref().unwrap_or_default();
            if !words.iter().any(|word| word == variant) {
                let place = format!("field {}, variant", field.key);
                self.find(&place, format!("{variant:?} is none of {}", words.join(", ")));
            }
        }
    }

    fn critical(&mut self) {
        let Some((key, value)) = &self.collection.critical else { return };
        if let Some(field) = self.field("critical", key)
            && let Err(text) = check_alone(field, value)
        {
            self.find("critical", format!("no record can have that value: {text}"));
        }
    }

    fn rules(&mut self) {
        for (index, (rule, _)) in self.collection.all_rules().enumerate() {
            let place = format!("rule {}", index + 1);
            for key in rule.keys() {
                self.field(&place, key);
            }
            match rule {
                Rule::Derive { field, value, .. } => {
                    let found = self.collection.field(field);
                    if let Some(Err(text)) = found.map(|field| check_alone(field, value)) {
                        self.find(&place, format!("{field} cannot have that value: {text}"));
                    }
                }
                Rule::Lookup { through, from, .. } => self.referred(&place, through, from),
                Rule::Target { field, key, .. } => self.referred(&place, field, key),
                _ => {}
            }
        }
    }

    fn referred(&mut self, place: &str, reference: &str, key: &str) {
        let target = match self.collection.field(reference).map(|field| &field.kind) {
            Some(Kind::Reference { collection }) => collection,
            Some(_) => {
                let text = format!("{reference} is no reference; give it kind = \"reference\"");
                return self.find(place, text);
            }
            None => return,
        };
        let all = self.others.iter().chain([self.collection]);
        let found = all.into_iter().find(|other| other.name == *target);
        if found.is_some_and(|other| other.field(key).is_none()) {
            self.find(place, format!("{target} has no field {key:?}"));
        }
    }
}
