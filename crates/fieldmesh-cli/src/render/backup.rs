//! Backups and what became of them, as text.

use fieldmesh::api::{BackupCheck, BackupReport, RestoreReport, one_line};

use super::{Style, Tone, bytes, counted};

/// A backup that was written.
pub(crate) fn backed_up(report: &BackupReport, style: &Style) -> String {
    let sort = if report.is_whole { "whole backup" } else { "what came since" };
    let mut text = format!(
        "{}: {sort}, {}, {}, {}\n",
        one_line(&report.file.display().to_string()),
        counted(report.entries, "entry", "entries"),
        bytes(report.bytes),
        match report.unreadable {
            0 => "read back and found whole",
            _ => "read back; not all of this home is in it",
        },
    );
    text.push_str(&unreadable(report.unreadable, "not in this backup", style));
    text
}

/// A backup that was checked.
pub(crate) fn checked_backup(report: &BackupCheck, style: &Style) -> String {
    let sort = if report.is_whole { "whole backup" } else { "goes on from another backup" };
    let mut text = format!(
        "{}: {sort} of {} in {}, {}, {}\n",
        style.paint(Tone::Good, "not damaged"),
        one_line(&report.device),
        one_line(&report.tenant),
        style.time(report.at),
        counted(report.entries, "entry", "entries"),
    );
    text.push_str(&unreadable(report.unreadable, "not in this backup", style));
    text
}

/// A home that was made of backups.
pub(crate) fn restored(report: &RestoreReport, style: &Style) -> String {
    let mut text = format!(
        "Restored {} in {} as of {}, {}.\n",
        one_line(&report.device),
        one_line(&report.tenant),
        style.time(report.at),
        counted(report.entries, "entry", "entries"),
    );
    text.push_str(&unreadable(report.unreadable, "not in this home", style));
    text
}

fn unreadable(count: u64, where_not: &str, style: &Style) -> String {
    if count == 0 {
        return String::new();
    }
    let lost = format!("{} could not be read: {where_not}", counted(count, "entry", "entries"));
    format!("  {}; see `fieldmesh doctor`\n", style.paint(Tone::Bad, &lost))
}
