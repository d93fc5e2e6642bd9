//! From the TOML of a mapping to its rules.

use std::collections::BTreeMap;
use std::sync::Arc;

use fieldmesh_model::Value;
use serde::Deserialize;
use toml::Value as Toml;

use super::super::expression::{CodeMap, Expression, ExpressionError, Names};
use super::super::mapped::{Block, Create};
use super::{
    BLOCKS_MAX, FIELDS_MAX, FieldRule, KEY_PARTS_MAX, Mapping, MappingError, MappingFault, Place,
    Rules,
};

/// The words that make a table the description of one field instead of nested fields.
const FIELD_WORDS: [&str; 3] = ["column", "constant", "template"];
const FIELD_KEYS: &str = "column, constant, template, factor, unit, digits, map, default";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MappingToml {
    #[serde(default)]
    maps: BTreeMap<String, toml::Table>,
    #[serde(default)]
    record: Vec<BlockToml>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BlockToml {
    name: Option<String>,
    collection: String,
    #[serde(default)]
    create: CreateToml,
    #[serde(default)]
    unique: Vec<String>,
    #[serde(default)]
    key: Vec<String>,
    skip_if: Option<String>,
    fields: toml::Table,
}

#[derive(Deserialize, Default, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum CreateToml {
    #[default]
    Each,
    Once,
}

/// One block while it is read.
struct Blocks<'a> {
    number: usize,
    names: &'a mut Names,
    earlier: &'a [Rules],
}

pub(super) fn read(text: &str) -> Result<Mapping, MappingError> {
    let toml: MappingToml = toml::from_str(text).map_err(|error| {
        let line = error.span().map(|span| text[..span.start].matches('\n').count() + 1);
        let at = line.map(|line| format!(" (line {line})")).unwrap_or_default();
        MappingError::NotAMapping { message: format!("{}{at}", error.message()) }
    })?;
    let count = toml.record.len();
    if !(1..=BLOCKS_MAX).contains(&count) {
        return Err(MappingError::BlockCount { count });
    }
    let mut names = Names::default();
    for (name, table) in toml.maps {
        let map =
            code_map(&name, &table).map_err(|fault| faulty(None, format!("map {name}"), fault))?;
        names.maps.insert(name, Arc::new(map));
    }
    let mut blocks: Vec<Rules> = Vec::with_capacity(count);
    for (index, block) in toml.record.into_iter().enumerate() {
        let mut reader = Blocks { number: index + 1, names: &mut names, earlier: &blocks };
        let rules = reader.read(block)?;
        blocks.push(rules);
    }
    Ok(Mapping { blocks, columns: Some(names.columns) })
}

fn faulty(
    record: Option<usize>,
    item: impl Into<Option<String>>,
    fault: MappingFault,
) -> MappingError {
    MappingError::Faulty { place: Place { record, item: item.into() }, fault }
}

fn code_map(name: &str, table: &toml::Table) -> Result<CodeMap, MappingFault> {
    let mut values = BTreeMap::new();
    for (code, value) in table {
        values.insert(code.clone(), constant(value)?);
    }
    Ok(CodeMap { name: name.to_owned(), values })
}

/// A text, number, truth or time as TOML writes it.
fn constant(value: &Toml) -> Result<Value, MappingFault> {
    let kind = MappingFault::Kind { expected: "a text, a number, true, false or a time" };
    match value {
        Toml::String(text) => Ok(Value::Text(text.clone())),
        Toml::Integer(int) => Ok(Value::Int(*int)),
        Toml::Float(float) if float.is_finite() => Ok(Value::Float(*float)),
        Toml::Boolean(bool) => Ok(Value::Bool(*bool)),
        Toml::Datetime(time) => time.to_string().parse().map(Value::Moment).map_err(|_| kind),
        Toml::Float(_) | Toml::Array(_) | Toml::Table(_) => Err(kind),
    }
}

impl Blocks<'_> {
    fn read(&mut self, toml: BlockToml) -> Result<Rules, MappingError> {
        let number = self.number;
        let whole = |fault| faulty(Some(number), None, fault);
        let name = toml.name.unwrap_or_else(|| toml.collection.clone());
        if self.earlier.iter().any(|rules| rules.block.name == name) {
            return Err(whole(MappingFault::SameName { name }));
        }
        let mut fields = Vec::new();
        self.fields("", toml.fields, &mut fields)?;
        if fields.is_empty() {
            return Err(whole(MappingFault::NoFields));
        }
        if fields.len() > FIELDS_MAX {
            let fault = MappingFault::TooMany { count: fields.len(), limit: FIELDS_MAX };
            return Err(whole(fault));
        }
        if (toml.create == CreateToml::Once) == toml.unique.is_empty() {
            return Err(whole(MappingFault::NoUnique));
        }
        for unique in &toml.unique {
            if !fields.iter().any(|(field, _)| field == unique) {
                return Err(whole(MappingFault::UnknownUnique { field: unique.clone() }));
            }
        }
        let create = match toml.create {
            CreateToml::Each => Create::Each,
            CreateToml::Once => Create::Once { unique: toml.unique },
        };
        let skip_if = toml.skip_if.map(|text| self.expression(&text, || "skip_if".into()));
        Ok(Rules {
            skip_if: skip_if.transpose()?,
            key: self.key(&toml.key)?,
            block: Arc::new(Block { name, collection: toml.collection, create }),
            fields,
        })
    }

    fn key(&mut self, parts: &[String]) -> Result<Vec<Expression>, MappingError> {
        if parts.len() > KEY_PARTS_MAX {
            let fault = MappingFault::TooMany { count: parts.len(), limit: KEY_PARTS_MAX };
            return Err(faulty(Some(self.number), "key".to_owned(), fault));
        }
        let part = |(index, text): (usize, &String)| {
            self.expression(text, || format!("key part {}", index + 1))
        };
        parts.iter().enumerate().map(part).collect()
    }

    fn expression(
        &mut self,
        text: &str,
        item: impl FnOnce() -> String,
    ) -> Result<Expression, MappingError> {
        Expression::parse(text, self.names)
            .map_err(|error| faulty(Some(self.number), item(), error.into()))
    }

    /// Collects the fields of a table; tables in it nest with dots.
    fn fields(
        &mut self,
        prefix: &str,
        table: toml::Table,
        fields: &mut Vec<(String, FieldRule)>,
    ) -> Result<(), MappingError> {
        for (key, value) in table {
            let field = if prefix.is_empty() { key } else { format!("{prefix}.{key}") };
            let rule = match value {
                Toml::Table(table) if !FIELD_WORDS.iter().any(|word| table.contains_key(*word)) => {
                    self.fields(&field, table, fields)?;
                    continue;
                }
                value => self
                    .rule(&value)
                    .map_err(|fault| faulty(Some(self.number), format!("field {field}"), fault))?,
            };
            if fields.iter().any(|(known, _)| *known == field) {
                let item = format!("field {field}");
                return Err(faulty(Some(self.number), item, MappingFault::SameField));
            }
            fields.push((field, rule));
        }
        Ok(())
    }

    fn rule(&mut self, value: &Toml) -> Result<FieldRule, MappingFault> {
        match value {
            Toml::String(text) => match reference(text) {
                Some(name) => self.reference(name).map(FieldRule::Reference),
                None => Ok(FieldRule::Value(Expression::parse(text, self.names)?)),
            },
            Toml::Array(items) => {
                let items: Result<Vec<_>, MappingFault> = items
                    .iter()
                    .map(|item| match item {
                        Toml::String(text) => Ok(Expression::parse(text, self.names)?),
                        other => Ok(Expression::constant(constant(other)?)),
                    })
                    .collect();
                Ok(FieldRule::List(items?))
            }
            Toml::Table(table) => self.described(table).map(FieldRule::Value),
            scalar => Ok(FieldRule::Value(Expression::constant(constant(scalar)?))),
        }
    }

    fn reference(&self, name: &str) -> Result<usize, MappingFault> {
        self.earlier
            .iter()
            .position(|rules| rules.block.name == name)
            .ok_or_else(|| MappingFault::NoReference { name: name.into() })
    }

    /// A field as a table: a source, then what is done to it, in the order digits, map, factor or
    /// unit, default.
    fn described(&mut self, table: &toml::Table) -> Result<Expression, MappingFault> {
        let unknown = |key: &&String| !FIELD_KEYS.split(", ").any(|known| known == *key);
        if let Some(key) = table.keys().find(unknown) {
            return Err(MappingFault::UnknownKey { key: key.clone(), known: FIELD_KEYS });
        }
        let mut expression = self.source(table)?;
        if let Some(pattern) = table.get("digits") {
            let expected = "a pattern like \"2-3-5-2\"";
            let pattern = pattern.as_str().ok_or(MappingFault::Kind { expected })?;
            expression = expression.grouped(pattern)?;
        }
        if let Some(map) = table.get("map") {
            let map = self.map(map)?;
            expression = expression.mapped(map);
        }
        if let Some(factor) = table.get("factor") {
            let factor = constant(factor)?;
            if !matches!(factor, Value::Int(_) | Value::Float(_)) {
                return Err(MappingFault::Kind { expected: "a number" });
            }
            if table.contains_key("unit") {
                return Err(MappingFault::Together { one: "factor", other: "unit" });
            }
            expression = expression.times(factor);
        }
        if let Some(units) = table.get("unit") {
            let expected = "two units like [\"m3\", \"bbl\"]";
            let units: Option<Vec<_>> =
                units.as_array().and_then(|units| units.iter().map(Toml::as_str).collect());
            let Some([from, to]) = units.as_deref() else {
                return Err(MappingFault::Kind { expected });
            };
            expression = expression.converted(from, to)?;
        }
        if let Some(default) = table.get("default") {
            expression = expression.or(constant(default)?);
        }
        Ok(expression)
    }

    fn source(&mut self, table: &toml::Table) -> Result<Expression, MappingFault> {
        let [column, fixed, template] = FIELD_WORDS.map(|word| table.get(word));
        let text = |value: &Toml| {
            let expected = "a text";
            value.as_str().map(str::to_owned).ok_or(MappingFault::Kind { expected })
        };
        match (column, fixed, template) {
            (Some(column), None, None) => Ok(Expression::column(&text(column)?, self.names)),
            (None, Some(fixed), None) => Ok(Expression::constant(constant(fixed)?)),
            (None, None, Some(template)) => Ok(Expression::template(&text(template)?, self.names)?),
            (Some(_), Some(_), _) => {
                Err(MappingFault::Together { one: "column", other: "constant" })
            }
            (Some(_), _, _) => Err(MappingFault::Together { one: "column", other: "template" }),
            _ => Err(MappingFault::Together { one: "constant", other: "template" }),
        }
    }

    /// A map by its name, or written in place.
    fn map(&self, map: &Toml) -> Result<Arc<CodeMap>, MappingFault> {
        match map {
            Toml::String(name) => self.names.maps.get(name).cloned().ok_or_else(|| {
                let known = self.names.maps.keys().cloned().collect::<Vec<_>>().join(", ");
                ExpressionError::UnknownMap { name: name.clone(), known }.into()
            }),
            Toml::Table(table) => Ok(Arc::new(code_map("in place", table)?)),
            _ => Err(MappingFault::Kind { expected: "the name of a map, or a table" }),
        }
    }
}

/// The name in `ref("name")`, if that is the whole text.
fn reference(text: &str) -> Option<&str> {
    let inner = text.trim().strip_prefix("ref")?.trim_start();
    let inner = inner.strip_prefix('(')?.strip_suffix(')')?.trim();
    let quote = |quote: char| inner.strip_prefix(quote)?.strip_suffix(quote);
    let name = quote('\'').or_else(|| quote('"'))?;
    (!name.contains(['\'', '"', '(', ')'])).then_some(name)
}
