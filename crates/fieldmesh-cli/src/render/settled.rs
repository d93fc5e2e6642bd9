//! What settling many conflicts alike comes to.

use fieldmesh::api::{LeftItem, ResolveAllReport, SettledItem, SettledRecord};

use super::record::{LEFT_OUT, short_id};
use super::table::{Side, Table};
use super::{Style, counted, one_line, short_field};
use crate::args::Kind;

/// What is settled and by what, and what is left and why.
pub(crate) fn settled(report: &ResolveAllReport, style: &Style) -> String {
    let titles = ["conflict", "record", "field", "shown", "taken", "value"];
    let mut settled = Table::new(titles.map(|title| (title, Side::Left)));
    let titles = ["conflict", "record", "kept", "deleted"];
    let mut alike = Table::new(titles.map(|title| (title, Side::Left)));
    for item in &report.settled {
        if !item.alike.is_empty() {
            let part = |kept| records(item.alike.iter().filter(|one| one.kept == kept), style);
            let id = short_id(&item.id).to_owned();
            let mut kept = part(true);
            if item.more > 0 {
                kept.push_str(&format!(" | and {} more stay", item.more));
            }
            alike.row([id, one_line(&item.name), kept, part(false)]);
            continue;
        }
        let [field, before, after] = words(item, style);
        settled.row([
            short_id(&item.id).to_owned(),
            one_line(&item.name),
            field,
            before,
            if item.taken.is_empty() { "both".into() } else { item.taken.clone() },
            after,
        ]);
    }
    let reasons = |title: &'static str, items: &[LeftItem]| {
        let mut table = Table::new(["conflict", "record", title].map(|title| (title, Side::Left)));
        for item in items {
            let id = short_id(&item.id).to_owned();
            table.row([id, one_line(&item.name), one_line(&item.reason)]);
        }
        table.print(style)
    };
    let (left, ended) = (reasons("left", &report.left), reasons("ended", &report.ended));
    let tables = [settled.print(style), alike.print(style), left, ended];
    tables.into_iter().filter(|table| !table.is_empty()).collect::<Vec<_>>().join("\n")
}

/// Records that are alike, with that in which they differ.
fn records<'a>(records: impl Iterator<Item = &'a SettledRecord>, style: &Style) -> String {
    let record = |one: &SettledRecord| {
        let values = one.values.iter().map(|(key, value)| (short_field(key), value));
        let values = values.filter(|(key, _)| !LEFT_OUT.contains(key));
        let values: Vec<String> =
            values.map(|(key, value)| format!("{key} {}", style.value(value))).collect();
        let before = match (one.deleted, one.kept) {
            (false, _) => "",
            (true, true) => " (restored)",
            (true, false) => " (already)",
        };
        match values.is_empty() {
            true => format!("{} …{}{before}", one.label, one.record.short()),
            false => format!("{} {}{before}", one.label, values.join(", ")),
        }
    };
    let texts: Vec<String> = records.map(record).collect();
    if texts.is_empty() { "none".into() } else { texts.join(" | ") }
}

/// The field, what was shown, and what is taken.
fn words(item: &SettledItem, style: &Style) -> [String; 3] {
    if item.kind == Kind::DeletedAndEdited.as_str() {
        let after = if item.after.is_null() { "restored" } else { "stays deleted" };
        return ["-".into(), "deleted".into(), after.into()];
    }
    let field = one_line(short_field(&item.field));
    [field, style.value(&item.before), style.value(&item.after)]
}

/// The conflicts that are shown to somebody who is asked about all of them.
const SHOWN_MAX: usize = 20;

/// What would be settled, before it is done.
pub(crate) fn settled_question(report: &ResolveAllReport, style: &Style) -> String {
    let first = report.settled.iter().take(SHOWN_MAX).cloned().collect();
    let (left, ended) = (report.left.clone(), report.ended.clone());
    let shown = ResolveAllReport { settled: first, left, ended, ..ResolveAllReport::default() };
    let mut text = settled(&shown, style);
    let count = report.settled.len();
    if count > SHOWN_MAX {
        text.push_str(&format!("… and {} more; --dry-run shows all\n", count - SHOWN_MAX));
    }
    text.push_str(&format!("This settles {}.", counted(count as u64, "conflict", "conflicts")));
    text
}

/// What it comes to, in a sentence.
pub(crate) fn settled_summary(report: &ResolveAllReport) -> String {
    let count = |count: usize| counted(count as u64, "conflict", "conflicts");
    let (settled, left) = (count(report.settled.len()), report.left.len());
    let left = match left {
        0 => String::new(),
        left => format!(", {} left open", count(left)),
    };
    match (report.written, report.settled.is_empty()) {
        (true, _) => format!("Settled {settled}{left}."),
        (false, true) => format!("Nothing to settle{left}."),
        (false, false) => format!("{settled} would be settled{left}. Nothing was written."),
    }
}
