//! What a change of many records does.

use fieldmesh::api::BulkReport;

use super::table::{Side, Table};
use super::{Style, one_line, short_field};

/// Every record that is changed or refused, field by field.
pub(crate) fn bulk(report: &BulkReport, style: &Style) -> String {
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
    let mut refused = Table::new([("id", Side::Left), ("refused", Side::Left)]);
    for refusal in &report.refused {
        refused.row([refusal.id.short(), one_line(&refusal.reason)]);
    }
    let tables = [changes.print(style), refused.print(style)];
    tables.into_iter().filter(|table| !table.is_empty()).collect::<Vec<_>>().join("\n")
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
        (true, _) => format!("Changed {changed}{unchanged}."),
        (false, 0) => format!("{changed} would change{unchanged}. Nothing was written."),
        (false, refused) => {
            format!("{changed} would change, {} cannot. Nothing was written.", records(refused))
        }
    }
}
