//! Records: one in full, or many in a table.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use fieldmesh::api::{Record, Remaking, Safety};
use fieldmesh_model::DocumentId;
use serde_json::{Map, Value as Json};

use super::table::{Side, Table, length, shortened};
use super::{Style, Tone, approval, one_line, pairs, short_field};

/// The widest a column of a list gets.
const COLUMN_WIDTH_MAX: usize = 24;
/// How wide the column is that says where a record is.
const PLACE_WIDTH: usize = 14;
/// How wide the column is that says whether a record is approved.
const APPROVAL_WIDTH: usize = 10;
/// The title of the column that says what of a record nobody has decided.
const OPEN: &str = "conflicts";
/// How many decimals a list shows.
const DECIMALS_MAX: usize = 4;
/// Fields that come first, where records have them.
const LEADING: [&str; 8] =
    ["name", "apiNumber", "wellId", "entryType", "recordedAt", "email", "role", "status"];
/// Fields that come last.
const TRAILING: [&str; 4] = ["latitude", "longitude", "notes", "photos"];
/// Fields that say nothing a list should spend its width on.
pub(super) const LEFT_OUT: [&str; 4] = ["id", "deviceId", "createdBy", "createdAt"];

/// One record in full.
pub(crate) fn record(record: &Record, style: &Style) -> String {
    let mut heading = style.paint(Tone::Heading, &format!("{} {}", record.collection, record.id));
    if record.deleted {
        heading.push_str("  ");
        heading.push_str(&style.paint(Tone::Doubtful, "deleted"));
    }
    let fields = flat(record, style);
    let fields = in_order(&fields);
    let origin = format!(
        "{} by user …{} on device …{}",
        style.time(record.created_at),
        record.created_by.short(),
        record.device_id.short()
    );
    let mut about = vec![("created", origin), ("updated", style.time(record.updated_at))];
    if let Some(safe) = record.safe {
        let (text, tone) = place(safe);
        about.push(("where", style.paint(tone, &text)));
    }
    if let Some(remaking) = record.remaking {
        let text = format!("it may not be up to date: {}", remaking.words());
        about.push(("being made", style.paint(Tone::Doubtful, &text)));
    }
    if !record.conflicts.is_empty() {
        let ids: Vec<&str> = record.conflicts.iter().map(|id| short_id(id)).collect();
        let text = format!("{} (see `fieldmesh conflicts`)", ids.join(", "));
        about.push(("conflicts", style.paint(Tone::Doubtful, &text)));
    }
    if let Some(approval) = &record.approval {
        about.push(approval::line(approval, record.deleted, style));
    }
    if !record.duplicates.is_empty() {
        let ids: Vec<String> =
            record.duplicates.iter().map(|id| format!("…{}", id.short())).collect();
        about.push(("alike", style.paint(Tone::Doubtful, &ids.join(", "))));
    }
    let short = |id: &DocumentId| format!("…{}", id.short());
    about.extend(record.superseded_by.as_ref().map(|id| ("given up for", short(id))));
    if !record.replaces.is_empty() {
        let ids: Vec<String> = record.replaces.iter().map(short).collect();
        about.push(("instead of", ids.join(", ")));
    }
    format!("{heading}\n{}{}", pairs(&fields, 2, style), pairs(&about, 0, style))
}

/// That a list of so many records lacks some.
pub(crate) fn not_all(remaking: Remaking, listed: usize) -> String {
    format!("These {listed} are not all: {}.", remaking.words())
}

/// Many records, the fields that most of them have in columns.
pub(crate) fn records(records: &[Record], style: &Style) -> String {
    let rows: Vec<BTreeMap<String, String>> =
        records.iter().map(|record| flat(record, style)).collect();
    let shows_place = records.iter().any(|record| record.safe.is_some());
    let shows_approval =
        records.iter().filter_map(|record| record.approval.as_ref()).any(|it| !it.counts());
    let open: Vec<String> = records.iter().map(undecided).collect();
    let open_width = open.iter().map(|cell| length(cell)).max().unwrap_or_default();
    let shows_open = open_width > 0;
    let taken = PLACE_WIDTH * usize::from(shows_place)
        + APPROVAL_WIDTH * usize::from(shows_approval)
        + (open_width.max(length(OPEN)) + 2) * usize::from(shows_open);
    let width = style.width.saturating_sub(taken);
    let columns = chosen_columns(&rows, width);
    let mut table = Table::new(
        [("id", Side::Left)]
            .into_iter()
            .chain(shows_open.then_some((OPEN, Side::Left)))
            .chain(shows_approval.then_some(("approval", Side::Left)))
            .chain(shows_place.then_some(("where", Side::Left)))
            .chain(columns.iter().map(|column| (column.as_str(), side(&rows, column)))),
    );
    for ((record, row), open) in records.iter().zip(&rows).zip(open) {
        let tone = if record.conflicts.is_empty() { Tone::Plain } else { Tone::Doubtful };
        let id = (record.id.short(), tone);
        let open = shows_open.then_some((open, Tone::Doubtful));
        let standing = shows_approval.then(|| {
            let standing = record.approval.as_ref().map(|it| approval::state(it, record.deleted));
            let (word, tone) = standing.unwrap_or(("", Tone::Plain));
            (word.to_owned(), tone)
        });
        let place = shows_place.then(|| place(record.safe.unwrap_or_default()));
        let cells = columns.iter().map(|column| {
            let cell = row.get(column).cloned().unwrap_or_default();
            (shortened(&rounded(cell), COLUMN_WIDTH_MAX), Tone::Plain)
        });
        table.toned_row([id].into_iter().chain(open).chain(standing).chain(place).chain(cells));
    }
    table.print(style)
}

/// How many conflicts of a record nobody has settled, and how many others were made for the same.
fn undecided(record: &Record) -> String {
    match (record.conflicts.len(), record.duplicates.len()) {
        (0, 0) => String::new(),
        (open, 0) => format!("{open} open"),
        (open, alike) => format!("{open} open, {alike} alike"),
    }
}

/// Where a record is, in words.
pub(super) fn place(safety: Safety) -> (String, Tone) {
    match safety {
        Safety::Here => ("only here".into(), Tone::Doubtful),
        Safety::Devices(1) => ("on 1 device".into(), Tone::Plain),
        Safety::Devices(count) => (format!("on {count} devices"), Tone::Plain),
        Safety::Relay => ("safe".into(), Tone::Good),
    }
}

/// The same as fields and values, those first that people look for.
pub(super) fn in_order(fields: &BTreeMap<String, String>) -> Vec<(&str, String)> {
    ordered(fields.keys().map(String::as_str))
        .into_iter()
        .filter_map(|field| Some((field, fields.get(field)?.clone())))
        .collect()
}

/// Values that are no record so far, by their short names as text.
pub(super) fn flat_fields(values: &Map<String, Json>, style: &Style) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::new();
    flatten("", values, &Map::new(), style, &mut fields);
    fields
}

/// The fields by their short names as text; references by the names they point to.
fn flat(record: &Record, style: &Style) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::new();
    flatten("", &record.fields, &record.names, style, &mut fields);
    fields
}

fn flatten(
    prefix: &str,
    map: &Map<String, Json>,
    names: &Map<String, Json>,
    style: &Style,
    fields: &mut BTreeMap<String, String>,
) {
    for (key, value) in map {
        let key = one_line(key);
        let field = if prefix.is_empty() { key } else { format!("{prefix}.{key}") };
        match (value, names.get(&field)) {
            (Json::Object(inner), _) => flatten(&field, inner, names, style, fields),
            (_, Some(Json::String(name))) => {
                fields.insert(short_field(&field).into(), one_line(name));
            }
            (_, _) => {
                fields.insert(short_field(&field).into(), style.value(value));
            }
        }
    }
}

fn ordered<'a>(fields: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut fields: Vec<&str> = fields.collect();
    fields.sort_by_key(|field| {
        LEADING.iter().position(|leading| leading == field).unwrap_or(LEADING.len())
    });
    fields
}

/// As many columns as fit, those that most rows fill first.
fn chosen_columns(rows: &[BTreeMap<String, String>], width: usize) -> Vec<String> {
    let mut columns: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for (field, value) in rows.iter().flatten() {
        let (count, widest) = columns.entry(field).or_insert((0, length(field)));
        *count += 1;
        *widest = (*widest).max(length(value).min(COLUMN_WIDTH_MAX));
    }
    let mut candidates = ordered(columns.keys().copied());
    candidates.retain(|field| !LEFT_OUT.contains(field));
    candidates.sort_by_key(|field| {
        let filled = columns.get(field).map_or(0, |(count, _)| *count);
        (!LEADING.contains(field), TRAILING.contains(field), Reverse(filled))
    });
    let mut left = width.saturating_sub(8);
    let mut chosen = Vec::new();
    for field in candidates {
        let needed = columns.get(field).map_or(0, |(_, widest)| *widest) + 2;
        if needed > left {
            break;
        }
        left -= needed;
        chosen.push(field.to_owned());
    }
    chosen
}

fn side(rows: &[BTreeMap<String, String>], column: &str) -> Side {
    let numbers =
        rows.iter().filter_map(|row| row.get(column)).all(|cell| cell.parse::<f64>().is_ok());
    if numbers { Side::Right } else { Side::Left }
}

/// A number with at most four decimals; the record in full shows them all.
fn rounded(cell: String) -> String {
    let decimals = cell.split_once('.').map_or(0, |(_, decimals)| decimals.len());
    match cell.parse::<f64>() {
        Ok(number) if decimals > DECIMALS_MAX && number.abs() < 1e15 => {
            let text = format!("{number:.DECIMALS_MAX$}");
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        }
        _ => cell,
    }
}

/// The end of an id that people type.
pub(super) fn short_id(id: &str) -> &str {
    let start = id.len().saturating_sub(8);
    id.get(start..).unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_round_numbers_and_nothing_else() {
        for (cell, expected) in [
            ("47.42857142857143", "47.4286"),
            ("82.3", "82.3"),
            ("2.00001", "2"),
            ("1e300", "1e300"),
            ("42-227-30001", "42-227-30001"),
            ("v1.234567", "v1.234567"),
        ] {
            assert_eq!(rounded(cell.into()), expected);
        }
    }
}
