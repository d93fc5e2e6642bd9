//! The `[[rule]]` tables of a schema file.

use super::{Range, Reader, Rule};
use crate::Value;
use crate::schema::file::table::Table;

const RULES: &str = "together, not_before, any, derive, default_from, range, lookup or target";

pub(super) fn read(reader: &mut Reader<'_>, table: &Table<'_, '_>) -> Rule {
    let word = reader.needed_text(table, "rule");
    let known: &[&str] = match word.as_str() {
        "together" => &["rule", "fields", "message"],
        "not_before" => &["rule", "field", "earlier", "message"],
        "any" => &["rule", "prefix", "message"],
        "derive" => &["rule", "field", "value", "when"],
        "default_from" => &["rule", "field", "from", "when"],
        "range" => &["rule", "field", "min", "max", "above", "when", "message"],
        "lookup" => &["rule", "field", "through", "from", "message"],
        "target" => &["rule", "field", "key", "one_of", "none_of", "message"],
        other => {
            reader.unknown_word(table, "rule", other, RULES);
            return Rule::Unknown(other.into());
        }
    };
    reader.known_keys(table, known);
    let field = |reader: &mut Reader<'_>| reader.needed_text(table, "field");
    let message = |reader: &mut Reader<'_>| reader.needed_text(table, "message");
    let list = |reader: &mut Reader<'_>, key: &str| match reader.value(table, key) {
        Some(Value::List(items)) => items,
        Some(single) => vec![single],
        None => Vec::new(),
    };
    match word.as_str() {
        "together" => {
            let fields = reader.needed_texts(table, "fields");
            Rule::Together { fields, message: message(reader) }
        }
        "not_before" => {
            let earlier = reader.needed_text(table, "earlier");
            Rule::NotBeforeDayOf { field: field(reader), earlier, message: message(reader) }
        }
        "any" => {
            let prefix = reader.needed_text(table, "prefix");
            Rule::AnyKnown { prefix, message: message(reader) }
        }
        "derive" => {
            let value = reader.value(table, "value").unwrap_or(Value::Null);
            Rule::Derive { field: field(reader), value, when: needed_when(reader, table) }
        }
        "default_from" => {
            let (field, from) = (field(reader), reader.needed_text(table, "from"));
            Rule::DefaultFrom { field, from, when: reader.conditions(table, "when") }
        }
        "range" => Rule::RangeWhen {
            field: field(reader),
            range: needed_range(reader, table),
            when: needed_when(reader, table),
            message: message(reader),
        },
        "lookup" => Rule::Lookup {
            field: field(reader),
            through: reader.needed_text(table, "through"),
            from: reader.needed_text(table, "from"),
            message: message(reader),
        },
        _ => Rule::Target {
            field: field(reader),
            key: reader.needed_text(table, "key"),
            one_of: list(reader, "one_of"),
            none_of: list(reader, "none_of"),
            message: message(reader),
        },
    }
}

/// The conditions without which a rule never holds.
fn needed_when(reader: &mut Reader<'_>, table: &Table<'_, '_>) -> Vec<(String, Value)> {
    let when = reader.conditions(table, "when");
    if when.is_empty() {
        let text = "no record fulfils this rule without a condition; add when = { FIELD = VALUE }, \
                    or say it of the field itself (min, max, default)";
        reader.dead(table, "when", text);
    }
    when
}

/// The bounds without which a rule finds nothing.
fn needed_range(reader: &mut Reader<'_>, table: &Table<'_, '_>) -> Range {
    let range = reader.range(table);
    if range == Range::default() {
        reader.dead(table, "min", "the rule has no bound; add min, max or above");
    }
    range
}
