//! What an import did.

use fieldmesh::api::{ImportReport, RefusedRow};

use super::{Style, Tone, counted, one_line, short_field, thousands};

/// The counts of an import.
pub(crate) fn imported(report: &ImportReport, style: &Style) -> String {
    let refused = format!("{} refused", thousands(report.refused));
    let tone = if report.refused == 0 { Tone::Plain } else { Tone::Doubtful };
    let updated = match report.updated {
        0 => String::new(),
        updated => format!("{} updated, ", thousands(updated)),
    };
    let mut text = format!(
        "{}: {} imported, {updated}{} unchanged, {}",
        counted(report.rows, "row", "rows"),
        thousands(report.imported),
        thousands(report.unchanged),
        style.paint(tone, &refused),
    );
    if report.created > 0 {
        text.push_str(&format!("; {} made besides", counted(report.created, "record", "records")));
    }
    text
}

/// One refused row with everything that is wrong with it.
pub(crate) fn refused_row(refused: &RefusedRow) -> String {
    let faults: Vec<String> = refused
        .faults
        .iter()
        .map(|fault| match short_field(&fault.field) {
            "" => one_line(&fault.message),
            field => format!("{field}: {}", one_line(&fault.message)),
        })
        .collect();
    format!("row {} refused: {}", refused.row, faults.join("; "))
}
