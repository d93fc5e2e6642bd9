//! One table of a schema file: its values by kind, with a fault where one is of another.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Reader, Reading};
use crate::Value;
use crate::validate::nearest;

/// A table, the line on which it begins and what messages call it.
pub(super) struct Table<'t, 'i> {
    inner: &'t DeTable<'i>,
    pub(super) line: usize,
    pub(super) place: String,
}

impl<'t, 'i> Table<'t, 'i> {
    pub(super) fn new(inner: &'t DeTable<'i>, line: usize, place: String) -> Self {
        Self { inner, line, place }
    }

    /// The same table under another name.
    pub(super) fn renamed(&self, place: String) -> Self {
        Self { inner: self.inner, line: self.line, place }
    }

    fn get(&self, key: &str) -> Option<&'t Spanned<DeValue<'i>>> {
        self.inner.iter().find(|(name, _)| name.get_ref() == key).map(|(_, value)| value)
    }

    fn place_of(&self, key: &str) -> String {
        if self.place.is_empty() { key.to_owned() } else { format!("{}, {key}", self.place) }
    }
}

impl Reader<'_> {
    /// Says which keys of a table mean nothing.
    pub(super) fn known_keys(&mut self, table: &Table<'_, '_>, known: &[&str]) {
        if self.reading == Reading::Foreign {
            return;
        }
        for (name, _) in table.inner {
            let key = name.get_ref().as_ref();
            if !known.contains(&key) {
                let near = nearest(key, known.iter().copied());
                let hint = match near.first() {
                    Some(near) => format!("did you mean {near}?"),
                    None => format!("known are {}", known.join(", ")),
                };
                let line = self.line(&name.span());
                self.fault(line, table.place.clone(), format!("unknown key {key:?}; {hint}"));
            }
        }
    }

    /// Says that a word means nothing, unless a newer version may know it.
    pub(super) fn unknown_word(
        &mut self,
        table: &Table<'_, '_>,
        key: &str,
        word: &str,
        known: &str,
    ) {
        // A word that is missing altogether has been reported.
        if self.reading == Reading::Own && !word.is_empty() {
            let line = table.get(key).map_or(table.line, |value| self.line(&value.span()));
            let message = format!("{word:?} is unknown; write {known}");
            self.fault(line, table.place_of(key), message);
        }
    }

    pub(super) fn text(&mut self, table: &Table<'_, '_>, key: &str) -> Option<String> {
        self.read_as(table, key, "a text in quotes", |value| value.as_str().map(str::to_owned))
    }

    pub(super) fn needed_text(&mut self, table: &Table<'_, '_>, key: &str) -> String {
        if table.get(key).is_none() {
            self.missing(table, key, "\"...\"");
        }
        self.text(table, key).unwrap_or_default()
    }

    pub(super) fn texts(&mut self, table: &Table<'_, '_>, key: &str) -> Option<Vec<String>> {
        self.read_as(table, key, "a list of texts like [\"a\", \"b\"]", |value| {
            let items = value.as_array()?.iter();
            items.map(|item| item.get_ref().as_str().map(str::to_owned)).collect()
        })
    }

    pub(super) fn needed_texts(&mut self, table: &Table<'_, '_>, key: &str) -> Vec<String> {
        if table.get(key).is_none() {
            self.missing(table, key, "[\"...\"]");
        }
        self.texts(table, key).unwrap_or_default()
    }

    /// Says of what somebody wants applied that it would have no effect.
    pub(super) fn dead(&mut self, table: &Table<'_, '_>, key: &str, message: &str) {
        let line = table.get(key).map_or(table.line, |value| self.line(&value.span()));
        // What is written there and cannot be read has been told.
        let is_told = self.faults.iter().any(|fault| fault.line == line);
        if self.reading == Reading::Own && !is_told {
            self.fault(line, table.place.clone(), message.to_owned());
        }
    }

    fn missing(&mut self, table: &Table<'_, '_>, key: &str, example: &str) {
        let message = format!("{key} is missing; add {key} = {example}");
        self.fault(table.line, table.place.clone(), message);
    }

    pub(super) fn flag(&mut self, table: &Table<'_, '_>, key: &str) -> bool {
        self.read_as(table, key, "true or false", |value| value.as_bool()).unwrap_or(false)
    }

    pub(super) fn whole<T: TryFrom<i64>>(&mut self, table: &Table<'_, '_>, key: &str) -> Option<T> {
        self.read_as(table, key, "a whole number from 0 that is not too large", |value| {
            T::try_from(integer(value).filter(|number| *number >= 0)?).ok()
        })
    }

    pub(super) fn number(&mut self, table: &Table<'_, '_>, key: &str) -> Option<f64> {
        self.read_as(table, key, "a number", |value| scalar(value)?.as_number())
    }

    pub(super) fn value(&mut self, table: &Table<'_, '_>, key: &str) -> Option<Value> {
        const WANTED: &str = "a text, a number, true, false, a time or a list of these";
        self.read_as(table, key, WANTED, |value| match value {
            DeValue::Array(items) => items
                .iter()
                .map(|item| scalar(item.get_ref()))
                .collect::<Option<_>>()
                .map(Value::List),
            value => scalar(value),
        })
    }

    /// The conditions of a table like `{ state = "BROKEN" }`.
    pub(super) fn conditions(&mut self, table: &Table<'_, '_>, key: &str) -> Vec<(String, Value)> {
        let conditions = self.read_as(table, key, "a table like { state = \"BROKEN\" }", |value| {
            let mut conditions = Vec::new();
            for (name, value) in value.as_table()? {
                match value.get_ref() {
                    DeValue::Array(items) => {
                        for item in items.iter() {
                            conditions.push((name.get_ref().to_string(), scalar(item.get_ref())?));
                        }
                    }
                    value => conditions.push((name.get_ref().to_string(), scalar(value)?)),
                }
            }
            Some(conditions)
        });
        conditions.unwrap_or_default()
    }

    /// The table under `key`.
    pub(super) fn inner<'t, 'i>(
        &mut self,
        table: &Table<'t, 'i>,
        key: &str,
        known: &[&str],
    ) -> Option<Table<'t, 'i>> {
        let found = table.get(key)?;
        let (line, place) = (self.line(&found.span()), table.place_of(key));
        let DeValue::Table(inner) = found.get_ref() else {
            self.fault(line, place, format!("must be a table; write {key} = {{ ... }}"));
            return None;
        };
        let inner = Table::new(inner, line, place);
        self.known_keys(&inner, known);
        Some(inner)
    }

    /// What `read` makes of each table of the list under `key`.
    pub(super) fn each<T>(
        &mut self,
        table: &Table<'_, '_>,
        key: &str,
        read: impl Fn(&mut Self, &Table<'_, '_>) -> T,
    ) -> Vec<T> {
        let Some(found) = table.get(key) else { return Vec::new() };
        let mut all = Vec::new();
        let items = match found.get_ref() {
            DeValue::Array(items) => items.iter().collect(),
            _ => vec![found],
        };
        for (index, item) in items.into_iter().enumerate() {
            let (line, place) = (self.line(&item.span()), format!("{key} {}", index + 1));
            match item.get_ref() {
                DeValue::Table(inner) => {
                    self.places.insert(place.clone(), line);
                    let inner = Table::new(inner, line, place);
                    all.push(read(self, &inner));
                }
                _ => self.fault(line, place, format!("must be a table; begin it with [[{key}]]")),
            }
        }
        all
    }

    fn read_as<T>(
        &mut self,
        table: &Table<'_, '_>,
        key: &str,
        wanted: &str,
        read: impl Fn(&DeValue<'_>) -> Option<T>,
    ) -> Option<T> {
        let found = table.get(key)?;
        let (line, place) = (self.line(&found.span()), table.place_of(key));
        self.places.insert(place.clone(), line);
        let value = read(found.get_ref());
        if value.is_none() {
            self.fault(line, place, format!("must be {wanted}"));
        }
        value
    }
}

fn integer(value: &DeValue<'_>) -> Option<i64> {
    let number = value.as_integer()?;
    i64::from_str_radix(number.as_str(), number.radix()).ok()
}

fn scalar(value: &DeValue<'_>) -> Option<Value> {
    match value {
        DeValue::String(text) => Some(Value::Text(text.to_string())),
        DeValue::Integer(_) => integer(value).map(Value::Int),
        DeValue::Float(float) => {
            float.as_str().parse().ok().filter(|number: &f64| number.is_finite()).map(Value::from)
        }
        DeValue::Boolean(flag) => Some(Value::Bool(*flag)),
        DeValue::Datetime(time) => {
            let text = time.to_string();
            let day = crate::input::parse_day(&text);
            day.or_else(|| text.parse().ok()).map(Value::Moment)
        }
        DeValue::Array(_) | DeValue::Table(_) => None,
    }
}
