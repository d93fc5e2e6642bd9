//! What a change of many records does.

use fieldmesh::api::{BulkRefusal, BulkReport};

use super::table::{Side, Table};
use super::{Style, one_line, short_field};

/// Every record that is changed, refused or passed over, field by field.
pub(crate) fn bulk(report: &BulkReport, style: &Style) -> String {
    let reasons = |title: &'static str, found: &[BulkRefusal]| {
        let mut table = Table::new([("id", Side::Left), (title, Side::Left)]);
        for one in found {
            table.row([one.id.short(), one_line(&one.reason)]);
        }
        table.print(style)
    };
    let refused = reasons("refused", &report.refused);
    let tables = [changes(report, style), refused, reasons("left as it is", &report.skipped)];
    tables.into_iter().filter(|table| !table.is_empty()).collect::<Vec<_>>().join("\n")
}

fn changes(report: &BulkReport, style: &Style) -> String {
    let mut changes =
        Table::new(["id", "name", "field", "before", "after"].map(|title| (title, Side::Left)));
    for change in &report.changed {
        for field in &change.fields {
            changes.row([
                change.id.short(),
                one_line(change.name.as_deref().unwrap_or_default()),
                one_line(short_field(&field.field)),
                style.value(&field.before),
                style.value(&field.after),
            ]);
        }
    }
    changes.print(style)
}

/// The records that are shown to somebody who is asked about all of them.
const SHOWN_MAX: usize = 20;

/// What would change, before it is done.
pub(crate) fn bulk_question(report: &BulkReport, style: &Style) -> String {
    let first = report.changed.iter().take(SHOWN_MAX).cloned().collect();
    let mut text = changes(&BulkReport { changed: first, ..BulkReport::default() }, style);
    let count = report.changed.len();
    if count > SHOWN_MAX {
        text.push_str(&format!("… and {} more; --dry-run shows all\n", count - SHOWN_MAX));
    }
    let are = if count == 1 { "record" } else { "records" };
    text.push_str(&format!("This changes {count} {are}."));
    text
}

/// What it comes to, in a sentence.
pub(crate) fn bulk_summary(report: &BulkReport) -> String {
    let records = |count: u64| match count {
        1 => "1 record".to_owned(),
        count => format!("{count} records"),
    };
    let changed = records(report.changed.len() as u64);
    let unchanged = match report.unchanged {
        0 => String::new(),
        1 => ", 1 has these values already".to_owned(),
        count => format!(", {count} have these values already"),
    };
    match (report.written, report.refused.len() as u64) {
        _ if !report.skipped.is_empty() => {
            let left = records(report.skipped.len() as u64);
            let not = if report.skipped.len() == 1 { "was" } else { "were" };
            format!("Changed {changed}{unchanged}; {left} {not} left as it is, look again.")
        }
        (true, _) => format!("Changed {changed}{unchanged}."),
        (false, 0) => format!("{changed} would change{unchanged}. Nothing was written."),
        (false, refused) => {
            format!("{changed} would change, {} cannot. Nothing was written.", records(refused))
        }
    }
}
