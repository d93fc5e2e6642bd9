//! What settling many conflicts alike comes to.

use fieldmesh::api::ResolveAllReport;

use super::record::short_id;
use super::table::{Side, Table};
use super::{Style, counted, one_line, short_field};

/// What is settled and by what, and what is left and why.
pub(crate) fn settled(report: &ResolveAllReport, style: &Style) -> String {
    let titles = ["conflict", "record", "field", "shown", "taken", "value"];
    let mut settled = Table::new(titles.map(|title| (title, Side::Left)));
    for item in &report.settled {
        settled.row([
            short_id(&item.id).to_owned(),
            one_line(&item.name),
            one_line(short_field(&item.field)),
            style.value(&item.before),
            if item.taken.is_empty() { "both".into() } else { item.taken.clone() },
            style.value(&item.after),
        ]);
    }
    let mut left = Table::new(["conflict", "record", "left"].map(|title| (title, Side::Left)));
    for item in &report.left {
        left.row([short_id(&item.id).to_owned(), one_line(&item.name), one_line(&item.reason)]);
    }
    let tables = [settled.print(style), left.print(style)];
    tables.into_iter().filter(|table| !table.is_empty()).collect::<Vec<_>>().join("\n")
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
