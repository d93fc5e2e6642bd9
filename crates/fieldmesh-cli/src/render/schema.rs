//! Collections of the tenant's own: what a file comes to, and what there is.

use fieldmesh::api::{SchemaReport, SchemaShown, SchemaState, SchemaStep};
use fieldmesh_model::schema::{Field, Kind};

use super::table::{Side, Table};
use super::{Style, Tone, counted, one_line};

/// What came of a schema file.
pub(crate) fn schema(report: &SchemaReport, step: SchemaStep) -> String {
    let SchemaReport { collection, version, fields, before, changes, applied } = report;
    let fields = counted(*fields, "field", "fields");
    let head = format!("{collection} version {version}, {fields}");
    let is_same = *before == Some(*version) && changes.is_empty();
    if is_same {
        return format!("{head}: this is in force already, and nothing changes.\n");
    }
    let mut text = match before {
        None => format!("{head}: a new collection.\n"),
        Some(before) => format!("{head}, in place of version {before}:\n"),
    };
    for change in changes {
        text.push_str(&format!("  {}\n", one_line(change)));
    }
    text.push_str(match (step, applied) {
        (_, true) => {
            "Done. Other devices record by it as soon as they hear of it, at their next sync; \
             records stay as they are.\n"
        }
        (SchemaStep::Check, false) => "No mistakes. Nothing was applied.\n",
        (SchemaStep::Preview, false) => "Nothing was done: this was a dry run.\n",
        (SchemaStep::Apply, false) => {
            "It was signed but does not count: another definition came in between. Look at it with \
             `schema show`, and apply a next version of that one.\n"
        }
    });
    text
}

/// The collections that there are.
pub(crate) fn schemas(found: &[SchemaShown], style: &Style) -> String {
    let mut table = Table::new([
        ("collection", Side::Left),
        ("version", Side::Right),
        ("state", Side::Left),
        ("fields", Side::Right),
        ("records", Side::Right),
        ("defined", Side::Left),
        ("by", Side::Left),
    ]);
    for one in found {
        let (state, tone) = state(one.state);
        table.toned_row([
            (one_line(&one.name), Tone::Plain),
            (one.version.to_string(), Tone::Plain),
            (state.to_owned(), tone),
            (one.fields.map_or_else(|| "?".to_owned(), |count| count.to_string()), Tone::Plain),
            (one.records.to_string(), Tone::Plain),
            (one.at.map(|at| style.time(at)).unwrap_or_default(), Tone::Plain),
            (one_line(one.by.as_deref().unwrap_or_default()), Tone::Plain),
        ]);
    }
    table.print(style)
}

/// Definitions that are printed behind the one in force.
const BEHIND_MAX: usize = 16;

/// The file in force, so that it can be changed and applied; of what is built in its fields. What
/// somebody made and does not count follows as comments, so that it can be taken over.
pub(crate) fn schema_file(found: &[SchemaShown], style: &Style) -> String {
    let mut text = String::new();
    // A file that this version cannot read is of use only where there is no other.
    let has_readable = found.iter().any(|one| one.state == SchemaState::ReadBy);
    let is_file = |state| match state {
        SchemaState::InForce | SchemaState::ReadBy | SchemaState::BuiltIn => true,
        SchemaState::NotUnderstood => !has_readable,
        SchemaState::Replaced | SchemaState::Apart | SchemaState::Ahead => false,
    };
    // Of a name whose number another one has nothing is in force.
    let has_file = found.iter().any(|one| is_file(one.state));
    let is_behind = |state| match state {
        SchemaState::Replaced => !has_file,
        SchemaState::Apart | SchemaState::Ahead => true,
        SchemaState::InForce
        | SchemaState::ReadBy
        | SchemaState::BuiltIn
        | SchemaState::NotUnderstood => false,
    };
    let mut behind = 0;
    for one in found {
        match (&one.text, &one.definition) {
            (Some(file), _) if is_file(one.state) => {
                text.extend(file.chars().filter(plain));
                if !file.ends_with('\n') {
                    text.push('\n');
                }
            }
            (None, Some(definition)) => text.push_str(&fields(&definition.fields, style)),
            _ => {
                let by = one_line(one.by.as_deref().unwrap_or_default());
                let at = one.at.map(|at| style.time(at)).unwrap_or_default();
                let (version, state) = (one.version, state(one.state).0);
                text.push_str(&format!("# {state}: version {version} by {by}, {at}\n"));
                let file = one.text.as_deref().filter(|_| is_behind(one.state));
                if let Some(file) = file.filter(|_| behind < BEHIND_MAX) {
                    behind += 1;
                    let lines: String = file.chars().filter(plain).collect();
                    lines.lines().for_each(|line| text.push_str(&format!("#   {line}\n")));
                }
            }
        }
    }
    text
}

/// What somebody signed must not garble a terminal.
fn plain(letter: &char) -> bool {
    matches!(letter, '\n' | '\t') || !letter.is_control()
}

fn fields(fields: &[Field], style: &Style) -> String {
    let mut table = Table::new([
        ("field", Side::Left),
        ("kind", Side::Left),
        ("of", Side::Left),
        ("required", Side::Left),
        ("unit", Side::Left),
    ]);
    for field in fields {
        let required = if field.required { "yes" } else { "" };
        table.toned_row([
            (field.key.clone(), Tone::Plain),
            (kind(&field.kind).to_owned(), Tone::Plain),
            (field.variant.clone().unwrap_or_default(), Tone::Plain),
            (required.to_owned(), Tone::Plain),
            (field.unit.clone().unwrap_or_default(), Tone::Plain),
        ]);
    }
    table.print(style)
}

const fn kind(kind: &Kind) -> &'static str {
    match kind {
        Kind::Text { .. } => "text",
        Kind::Number { .. } => "number",
        Kind::Integer { .. } => "integer",
        Kind::Bool => "bool",
        Kind::Enum(_) => "enum",
        Kind::Word { .. } => "word",
        Kind::Moment => "moment",
        Kind::Day => "day",
        Kind::Reference { .. } => "reference",
        Kind::TextList { .. } => "texts",
        Kind::Set { .. } => "set",
        Kind::IntegerList { .. } => "integers",
        _ => "unknown",
    }
}

const fn state(state: SchemaState) -> (&'static str, Tone) {
    match state {
        SchemaState::BuiltIn => ("built in", Tone::Plain),
        SchemaState::InForce => ("in force", Tone::Good),
        SchemaState::NotUnderstood => ("not understood", Tone::Doubtful),
        SchemaState::ReadBy => ("read by this program", Tone::Doubtful),
        SchemaState::Replaced => ("replaced", Tone::Plain),
        SchemaState::Apart => ("made apart", Tone::Doubtful),
        SchemaState::Ahead => ("does not count", Tone::Doubtful),
    }
}
