//! Backups, checks and smaller stores, as text.

use fieldmesh::api::{Progress, one_line};

use super::{minutes, table};
use crate::wire::{
    ArchiveCheck, ArchiveSummary, Compacted, Omission, RestoreSummary, Step, Verified,
};

/// How many entries lie between two lines of progress.
const SHOWN_EVERY: u64 = 100_000;

/// What is going on, as far as people want to hear of it.
pub(crate) fn step(step: &Step) -> Option<String> {
    let text = match &step.progress {
        Progress::Note { text } => one_line(text),
        Progress::Backup { entries } if *entries > 0 && entries % SHOWN_EVERY == 0 => {
            counted(*entries, "entry", "entries")
        }
        _ => return None,
    };
    Some(if step.tenant.is_empty() { text } else { format!("{}: {text}", step.tenant) })
}

/// A backup that was written.
pub(crate) fn archived(summary: &ArchiveSummary) -> String {
    let sort = if summary.is_whole { "whole backup" } else { "what came since" };
    let mut text = format!(
        "{}: {sort} of {}, {}, read back and found whole\n",
        one_line(&summary.file.display().to_string()),
        counted(summary.tenants.len() as u64, "tenant", "tenants"),
        bytes(summary.bytes),
    );
    let rows = summary.tenants.iter().map(|tenant| {
        [
            tenant.short.clone(),
            one_line(&tenant.name),
            tenant.entries.to_string(),
            tenant.photos.to_string(),
            if tenant.people { "yes".into() } else { "—".into() },
            if tenant.is_whole { "all".into() } else { "what came since".into() },
        ]
    });
    text.push_str(&table(["id", "name", "entries", "photos", "people", "part"], rows));
    for tenant in summary.tenants.iter().filter(|tenant| tenant.unreadable > 0) {
        let count = counted(tenant.unreadable, "entry", "entries");
        text.push_str(&format!(
            "{}: {count} could not be read: not in this backup; see `sync-relay verify`\n",
            tenant.short
        ));
    }
    text + &missing("NOT IN THIS BACKUP", &summary.missing)
}

/// Backups that were read to their ends.
pub(crate) fn checked_archives(checks: &[ArchiveCheck]) -> String {
    let checked = |check: &ArchiveCheck| {
        let lacks = missing("  NOT IN THIS BACKUP", &check.missing);
        format!(
            "{}: not damaged, {} as of {}, {}, {}, {}\n{lacks}",
            one_line(&check.file.display().to_string()),
            if check.is_whole { "a whole backup" } else { "goes on from another backup," },
            minutes(check.at),
            counted(check.tenants.len() as u64, "tenant", "tenants"),
            counted(check.photos, "photo", "photos"),
            bytes(check.bytes),
        )
    };
    checks.iter().map(checked).collect()
}

/// A data folder that was made of backups.
pub(crate) fn restored(summary: &RestoreSummary) -> String {
    let rows = summary.tenants.iter().map(|tenant| {
        [
            tenant.short.clone(),
            one_line(&tenant.name),
            one_line(&tenant.device),
            minutes(tenant.at),
            tenant.entries.to_string(),
            tenant.photos.to_string(),
            if tenant.people { "yes".into() } else { "—".into() },
        ]
    });
    let headings = ["id", "name", "this relay", "as of", "entries", "photos", "people"];
    let count = counted(summary.tenants.len() as u64, "tenant", "tenants");
    let lacks = missing("NOT IN THE BACKUP", &summary.missing);
    format!("Restored {count}.\n{}{lacks}", table(headings, rows))
}

/// What is to be done after a restore.
pub(crate) fn after_restore(summary: &RestoreSummary) -> String {
    let at = summary.tenants.iter().map(|tenant| tenant.at).max();
    format!(
        "What was stored after the backup comes from the devices when they sync, as far as they \
         have it. Everybody logs in anew: sessions and tokens of before are void, and so are open \
         invitations. Passwords and who is disabled are as of {}: set again those that were \
         changed since, and disable again whom you disabled since. Revoke again whom you revoked \
         since, after the devices have synced.",
        at.map_or_else(|| "then".into(), minutes),
    )
}

fn missing(title: &str, omitted: &[Omission]) -> String {
    let line =
        |one: &Omission| format!("{title}: {}: {}\n", one_line(&one.tenant), one_line(&one.reason));
    omitted.iter().map(line).collect()
}

/// Tenants that were checked.
pub(crate) fn verified(all: &[Verified]) -> String {
    let mut text = String::new();
    for one in all {
        let faults = one.report.iter().flat_map(|report| &report.faults).chain(&one.faults);
        let faults: Vec<&String> = faults.collect();
        let state = match faults.len() as u64 {
            0 => "clean".into(),
            count => counted(count, "fault", "faults"),
        };
        text.push_str(&format!("{}: {state}", titled(&one.short, &one.name)));
        if let Some(report) = &one.report {
            text.push_str(&format!(
                "; checked {}, {}, {}",
                counted(report.frames, "frame", "frames"),
                counted(report.batches, "batch", "batches"),
                counted(report.records, "record", "records"),
            ));
        }
        text.push('\n');
        for fault in faults {
            text.push_str(&format!("  {}\n", one_line(fault)));
        }
    }
    text
}

/// Tenants that were made smaller.
pub(crate) fn compacted(all: &[Compacted]) -> String {
    let mut text = String::new();
    for one in all {
        let title = titled(&one.short, &one.name);
        if let Some(report) = &one.report {
            let before = bytes(report.log_before + report.view_before);
            let after = bytes(report.log_after + report.view_after);
            let dropped = counted(report.dropped, "entry", "entries");
            text.push_str(&format!(
                "{title}: {before} before, {after} now, {dropped} removed that nobody needs\n"
            ));
        } else {
            text.push_str(&format!("{title}: left as it was\n"));
        }
        let left = one.report.iter().flat_map(|report| &report.faults).chain(&one.faults);
        for fault in left {
            text.push_str(&format!("  {}\n", one_line(fault)));
        }
    }
    text
}

fn titled(short: &str, name: &str) -> String {
    if name.is_empty() { short.to_owned() } else { format!("{short}  {}", one_line(name)) }
}

fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// A size, in the unit that leaves few digits.
pub(super) fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["B", "KiB", "MiB", "GiB"];
    let (mut amount, mut unit) = (count, 0);
    while amount >= 10_240 && unit + 1 < UNITS.len() {
        amount /= 1_024;
        unit += 1;
    }
    format!("{amount} {}", UNITS[unit])
}
