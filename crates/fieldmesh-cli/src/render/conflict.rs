//! The conflict inbox.

use fieldmesh::api::{
    AsideBatch, CommentReport, ConflictReport, ConflictValue, DuplicateReport, EndReport,
};
use serde_json::Value as Json;

use super::history::ending;
use super::record::{LEFT_OUT, short_id};
use super::table::{Side, Table};
use super::{Style, Tone, counted, one_line, pairs, short_field};

/// Records that are shown beside each other.
const COLUMNS_MAX: usize = 4;
/// The key under which deleting and restoring stand.
const DELETED: &str = "_deletedAt";

/// The inbox as a table.
pub(crate) fn conflicts(conflicts: &[ConflictReport], style: &Style) -> String {
    let mut table = Table::new([
        ("id", Side::Left),
        ("kind", Side::Left),
        ("record", Side::Left),
        ("field", Side::Left),
        ("state", Side::Left),
        ("values", Side::Left),
    ]);
    for conflict in conflicts {
        let values: Vec<String> =
            conflict.values.iter().map(|value| brief(conflict, value, style)).collect();
        let faults: Vec<String> =
            conflict.faults.iter().map(|fault| one_line(&fault.message)).collect();
        let values = match (&conflict.batch, &conflict.duplicate) {
            (Some(batch), _) => aside(batch, style),
            (None, Some(duplicate)) => alike(duplicate),
            (None, None) if !faults.is_empty() => faults.join("; "),
            (None, None) => values.join(" | "),
        };
        let (state, tone) = state(conflict);
        table.toned_row([
            (short_id(&conflict.id).to_owned(), Tone::Plain),
            (conflict.kind.clone(), Tone::Plain),
            (name(conflict), Tone::Plain),
            (field(conflict).to_owned(), Tone::Plain),
            (state.to_owned(), tone),
            (values, Tone::Plain),
        ]);
    }
    table.print(style)
}

/// A side in a few words.
fn brief(conflict: &ConflictReport, value: &ConflictValue, style: &Style) -> String {
    let name = |key: &str| short_field(key).to_owned();
    let fields = value.fields.iter();
    let fields: Vec<String> =
        fields.map(|(key, it)| deletion(key, it).unwrap_or_else(|| name(key))).collect();
    let did = match fields.is_empty() {
        true => shown(&conflict.field, &value.value, style),
        false => fields.join(", "),
    };
    format!("{} {did}", value.label)
}

/// The value of a field, or what somebody did with the whole record.
fn shown(key: &str, value: &Json, style: &Style) -> String {
    deletion(key, value).unwrap_or_else(|| style.value(value))
}

/// What somebody did with the whole record, in words.
fn deletion(key: &str, value: &Json) -> Option<String> {
    let word = if value.is_null() { "restored" } else { "deleted" };
    (key == DELETED).then(|| word.to_owned())
}

/// The field that an item is about, as people type it; nothing where it is the whole record.
fn field(conflict: &ConflictReport) -> &str {
    if conflict.field == DELETED { "" } else { short_field(&conflict.field) }
}

/// One item with all its values.
pub(crate) fn conflict(conflict: &ConflictReport, style: &Style) -> String {
    let (state, tone) = state(conflict);
    let mut about = vec![
        ("state", style.paint(tone, state)),
        ("kind", conflict.kind.clone()),
        ("record", format!("{} {} ({})", conflict.collection, name(conflict), conflict.record)),
    ];
    if !field(conflict).is_empty() {
        about.push(("field", one_line(field(conflict))));
    }
    for fault in &conflict.faults {
        about.push(("broken", one_line(&fault.message)));
    }
    if let Some(reason) = &conflict.reason {
        about.push(("reason", one_line(reason)));
    }
    if let Some(discard) = &conflict.discarded {
        let by = discard.user.as_deref().map_or_else(|| "somebody unknown".to_owned(), one_line);
        let at = style.time(discard.at);
        about.push(("discarded", format!("by {by}, {at}; on this device alone, and kept")));
    }
    if let Some(by) = &conflict.adopted_by {
        let by = one_line(by);
        about.push(("adopted", format!("by {by}; it counts on every device that hears of it")));
    }
    if let Some(batch) = &conflict.batch {
        about.push(("batch", aside(batch, style)));
        about.push(("device id", batch.device.to_string()));
        let advice = Some(&batch.advice).filter(|advice| !advice.is_empty());
        about.extend(advice.map(|advice| ("to do", one_line(advice))));
        about.extend(conflict.discarded.is_some().then(|| {
            let id = short_id(&conflict.id);
            ("or", format!("fieldmesh conflicts resolve {id} --reopen lists it here again"))
        }));
    }
    let mut text = style.paint(Tone::Heading, &format!("conflict {}", conflict.id));
    text.push('\n');
    text.push_str(&pairs(&about, 0, style));
    if conflict.batch.is_some() {
        return text;
    }
    if let Some(duplicate) = &conflict.duplicate {
        text.push_str(&side_by_side(conflict, duplicate, style));
    } else {
        text.push_str(&sides(conflict, style));
    }
    for comment in &conflict.comments {
        text.push_str(&said(comment, style));
        text.push('\n');
    }
    for end in &conflict.ended {
        text.push_str(&ended(conflict, end, style));
        text.push('\n');
    }
    if let Some(advice) = advice(conflict) {
        text.push_str(&style.paint(Tone::Quiet, &advice));
        text.push('\n');
    }
    text
}

/// How many records are alike, and in what they differ.
fn alike(duplicate: &DuplicateReport) -> String {
    let count = duplicate.records.len() as u64 + u64::from(duplicate.more);
    let records = counted(count, "record", "records");
    let differ: Vec<&str> = duplicate.differ.iter().map(|key| short_field(key)).collect();
    match differ.is_empty() {
        true => format!("{records}, all the same"),
        false => format!("{records} that differ in {}", one_line(&differ.join(", "))),
    }
}

/// Records that are alike, a column for each, with what is not the same in all of them.
fn side_by_side(conflict: &ConflictReport, duplicate: &DuplicateReport, style: &Style) -> String {
    let shown = || conflict.values.iter().zip(&duplicate.records).take(COLUMNS_MAX);
    let labels = shown().map(|(value, _)| (value.label.as_str(), Side::Left));
    let mut table = Table::new(std::iter::once(("", Side::Left)).chain(labels));
    let mut row = |title: &str, cells: Vec<String>| {
        table.row(std::iter::once(title.to_owned()).chain(cells));
    };
    row("record", shown().map(|(_, record)| format!("…{}", record.id.short())).collect());
    row("by", shown().map(|(value, _)| author(value)).collect());
    row("written", shown().map(|(value, _)| style.time(value.at)).collect());
    if duplicate.records.iter().any(|record| record.deleted) {
        let state = |deleted| if deleted { "deleted" } else { "there" }.to_owned();
        row("state", shown().map(|(_, record)| state(record.deleted)).collect());
    }
    for key in &duplicate.differ {
        let cell = |value: &ConflictValue| match value.value.get(key) {
            None | Some(Json::Null) => "-".to_owned(),
            Some(value) => style.value(value),
        };
        row(&one_line(short_field(key)), shown().map(|(value, _)| cell(value)).collect());
    }
    let mut text = table.print(style);
    let rest = duplicate.records.len().saturating_sub(COLUMNS_MAX) as u64;
    if rest + u64::from(duplicate.more) > 0 {
        let more = counted(rest + u64::from(duplicate.more), "record", "records");
        text.push_str(&style.paint(Tone::Doubtful, &format!("and {more} more\n")));
    }
    text
}

/// The sides as a table: what each wrote, and what its author had not seen.
fn sides(conflict: &ConflictReport, style: &Style) -> String {
    if conflict.values.is_empty() {
        return String::new();
    }
    let is_sighted = conflict.values.iter().any(|value| value.saw.is_some());
    let mut columns =
        vec![("", Side::Left), ("value", Side::Left), ("written", Side::Left), ("by", Side::Left)];
    columns.extend(is_sighted.then_some(("had not seen", Side::Left)));
    let mut table = Table::new(columns);
    for value in &conflict.values {
        let written = match value.fields.is_empty() {
            true => shown(&conflict.field, &value.value, style),
            false => {
                let fields = value.fields.iter();
                let fields = fields.map(|(key, it)| match deletion(key, it) {
                    Some(word) => word,
                    None => format!("{} {}", one_line(short_field(key)), style.value(it)),
                });
                let fields = fields.collect::<Vec<_>>().join(", ");
                match conflict.kind == "rule" && !value.value.is_null() {
                    true => format!("{}, with {fields}", style.value(&value.value)),
                    false => fields,
                }
            }
        };
        let mut row = vec![value.label.clone(), written, style.time(value.at), author(value)];
        row.extend(is_sighted.then(|| unseen(value, style)));
        table.row(row);
    }
    table.print(style)
}

/// What the author of a side had not seen.
fn unseen(value: &ConflictValue, style: &Style) -> String {
    match value.saw.as_ref().map(|saw| (saw.unseen, saw.unseen_last)) {
        None => String::new(),
        Some((unseen, Some(last))) if unseen > 0 => {
            format!("{}, the last {}", counted(unseen, "change", "changes"), style.time(last))
        }
        Some(_) => "nothing".into(),
    }
}

/// What somebody said.
fn said(comment: &CommentReport, style: &Style) -> String {
    let by = comment.user.as_deref().map_or_else(|| "somebody unknown".to_owned(), one_line);
    format!("{by}, {}: {}", style.time(comment.at), one_line(&comment.text))
}

/// How a conflict ended.
fn ended(conflict: &ConflictReport, end: &EndReport, style: &Style) -> String {
    let by = end.user.as_deref().map_or_else(|| "somebody unknown".to_owned(), one_line);
    let (at, left) = (style.time(end.at), shown(&conflict.field, &end.left, style));
    if let Some(duplicate) = &conflict.duplicate {
        return format!("Settled by {by}, {at}: {}", stayed(conflict, duplicate, end));
    }
    match end.settled {
        _ if end.deleted => {
            format!("Ended by {by}, {at}: the record was deleted; brought back it is open again")
        }
        true => format!("Settled by {by}, {at}: {left}"),
        false => format!("Overwritten by {by} without being settled, {at}: {left}"),
    }
}

/// Which of several records that are alike stayed.
fn stayed(conflict: &ConflictReport, duplicate: &DuplicateReport, end: &EndReport) -> String {
    let ids: Vec<&str> =
        end.left.as_array().into_iter().flatten().filter_map(|id| id.as_str()).collect();
    let sides = || conflict.values.iter().zip(&duplicate.records);
    let stays = |id: String| ids.iter().any(|left| *left == id);
    let kept = sides().filter(|(_, record)| stays(record.id.to_string()));
    let kept: Vec<&str> = kept.map(|(value, _)| value.label.as_str()).collect();
    let elsewhere = ids.len().saturating_sub(kept.len());
    let is_all = kept.len() == duplicate.records.len();
    let named = match (kept.is_empty(), elsewhere) {
        (true, 0) => return "none of them stays".into(),
        (false, 0) if is_all => return "all of them stay".into(),
        (false, 0) => kept.join(", "),
        (true, 1) => "one that is not here".into(),
        (true, _) => format!("{elsewhere} that are not here"),
        (false, 1) => format!("{} and one that is not here", kept.join(", ")),
        (false, _) => format!("{} and {elsewhere} that are not here", kept.join(", ")),
    };
    let merged: Vec<&str> = end.merged.iter().map(|key| short_field(key)).collect();
    let stay = if ids.len() == 1 { "stays" } else { "stay" };
    match merged.is_empty() {
        true => format!("{named} {stay}"),
        false => format!("{named} {stay}, with another {}", one_line(&merged.join(", "))),
    }
}

/// What can be done about an item.
fn advice(conflict: &ConflictReport) -> Option<String> {
    let field = match field(conflict) {
        "" => "FIELD",
        field => field,
    };
    let how = match conflict.kind.as_str() {
        "duplicate" if conflict.open => return Some(keeping(conflict)),
        "field" if conflict.open => format!("--take A|B|…, or --set {field}=VALUE"),
        "rule" if conflict.open => format!("--set {field}=VALUE"),
        "deleted-and-edited" if conflict.open => "--adopt to bring it back, or --discard".into(),
        "quarantine" if conflict.open => "--discard to list it here no more".into(),
        "quarantine" if conflict.discarded.is_some() => "--reopen to list it again".into(),
        _ => return None,
    };
    Some(format!("Settle it: fieldmesh conflicts resolve {} {how}", short_id(&conflict.id)))
}

/// What can be done about records that are alike.
fn keeping(conflict: &ConflictReport) -> String {
    let differ = conflict.duplicate.iter().flat_map(|duplicate| &duplicate.differ);
    let mut fields = differ.map(|key| short_field(key)).filter(|key| !LEFT_OUT.contains(key));
    let field = one_line(fields.next().unwrap_or("FIELD"));
    let resolve = format!("fieldmesh conflicts resolve {}", short_id(&conflict.id));
    format!(
        "Keep one: {resolve} --take A|B|…, or all with --take both\n\
         Merge them: {resolve} --set {field}=VALUE … keeps A with these values"
    )
}

/// Whose batch it is, from when, and how much is in it.
fn aside(batch: &AsideBatch, style: &Style) -> String {
    let device = match &batch.device_name {
        Some(name) => one_line(name),
        None => format!("…{}", batch.device.short()),
    };
    let changes = counted(batch.changes, "change", "changes");
    format!("{changes} by {device}, {}", style.time(batch.at))
}

fn state(conflict: &ConflictReport) -> (&'static str, Tone) {
    match conflict.ended.last() {
        _ if conflict.open => ("open", Tone::Doubtful),
        _ if conflict.discarded.is_some() => ("discarded", Tone::Quiet),
        _ if conflict.adopted_by.is_some() => ("adopted", Tone::Quiet),
        Some(end) if end.deleted => ("deleted", Tone::Quiet),
        Some(end) if end.settled => ("settled", Tone::Quiet),
        Some(_) => ("overwritten", Tone::Quiet),
        None => ("merged", Tone::Quiet),
    }
}

fn name(conflict: &ConflictReport) -> String {
    if conflict.name.is_empty() {
        format!("…{}", conflict.record.short())
    } else {
        one_line(&conflict.name)
    }
}

fn author(value: &ConflictValue) -> String {
    // Whom a gateway names without anybody here knowing the name.
    let unnamed = value.made_for.as_deref().map(|id| format!("user …{}", ending(id)));
    let word = if value.made_for.is_some() { "over" } else { "on" };
    match (value.user.as_ref().or(unnamed.as_ref()), &value.device) {
        (Some(user), Some(device)) => format!("{} {word} …{}", one_line(user), device.short()),
        (Some(user), None) => one_line(user),
        (None, Some(device)) => format!("device …{}", device.short()),
        (None, None) => "unknown".into(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::render::samples;
    use crate::render::tests::style;

    #[test]
    fn of_records_that_are_alike_it_is_said_which_of_them_stayed() {
        let records = vec![samples::record(), samples::other_record()];
        let ids: Vec<String> = records.iter().map(|record| record.id.to_string()).collect();
        let duplicate = DuplicateReport { records, differ: Vec::new(), more: 0 };
        let alike = ConflictReport { duplicate: Some(duplicate), ..samples::conflict() };
        let end = |left: &[String], merged: &[&str]| EndReport {
            settled: true,
            change: String::new(),
            user: Some("Ana".into()),
            device: None,
            at: alike.values[0].at,
            left: json!(left),
            deleted: false,
            merged: merged.iter().map(|key| (*key).to_owned()).collect(),
        };
        let told = |end: EndReport| {
            let said = ended(&alike, &end, &style());
            said.rsplit(": ").next().unwrap_or_default().to_owned()
        };
        assert_eq!(told(end(&ids, &[])), "all of them stay");
        assert_eq!(told(end(&ids[1..], &[])), "B stays");
        assert_eq!(told(end(&ids[..1], &["data.oilVolume"])), "A stays, with another oilVolume");
        let elsewhere = ["f".repeat(32)];
        assert_eq!(told(end(&elsewhere, &[])), "one that is not here stays");
        let both = [ids[0].clone(), elsewhere[0].clone()];
        assert_eq!(told(end(&both, &[])), "A and one that is not here stay");
        assert_eq!(told(end(&[], &[])), "none of them stays");
    }
}
