//! What a home takes of the disk, and what making it smaller has freed.

use fieldmesh::api::{CompactReport, DiskReport};

use super::{Style, Tone, bytes, counted, one_line, pairs};

/// The lines of a status about the disk.
pub(super) fn disk(disk: &DiskReport, style: &Style) -> Vec<(&'static str, String)> {
    let DiskReport { log, view, quarantine, reserve, free, low, full, may_free } = *disk;
    if log == 0 {
        // A daemon of an older version does not tell.
        return Vec::new();
    }
    let mut parts = vec![format!("log {}", bytes(log)), format!("view {}", bytes(view))];
    if quarantine > 0 {
        parts.push(format!("quarantine {}", bytes(quarantine)));
    }
    if reserve > 0 {
        parts.push(format!("reserve {}", bytes(reserve)));
    }
    parts.extend(free.map(|free| format!("{} free", bytes(free))));
    let mut lines = vec![("disk", parts.join(", "))];
    let old = if may_free { ", or let old months go with `fieldmesh evict`" } else { "" };
    let free = free.map(|free| format!("only {} are free", bytes(free))).unwrap_or_default();
    if full {
        let text = format!(
            "the disk is full, {free}: nothing more can be recorded here until you free some \
             space{old}; what is recorded is safe and can be read and synced"
        );
        lines.push(("warning", style.paint(Tone::Bad, &text)));
    } else if low {
        let text = format!(
            "the disk is nearly full, {free}: free some space{old}, or recording will be refused soon"
        );
        lines.push(("warning", style.paint(Tone::Doubtful, &text)));
    }
    lines
}

/// What making a home smaller has done.
pub(crate) fn compact(report: &CompactReport, style: &Style) -> String {
    let shrunk = |before: u64, after: u64| match before == after {
        true => format!("{}, as before", bytes(after)),
        false => format!("{} before, {} now", bytes(before), bytes(after)),
    };
    let mut about = vec![
        ("log", shrunk(report.log_before, report.log_after)),
        ("view", shrunk(report.view_before, report.view_after)),
    ];
    if report.dropped > 0 {
        about.push(("removed", counted(report.dropped, "entry", "entries") + " nobody needs"));
    }
    for fault in &report.faults {
        about.push(("left", style.paint(Tone::Doubtful, &one_line(fault))));
    }
    pairs(&about, 0, style)
}

#[cfg(test)]
mod tests {
    use super::super::{samples, tests::style};
    use super::*;

    #[test]
    fn a_home_that_was_made_smaller_says_by_how_much() {
        let style = style();
        assert_eq!(
            compact(&samples::compaction(), &style),
            "log      2.4 MiB before, 375.4 KiB now\n\
             view     3.5 MiB before, 512.4 KiB now\n\
             removed  2,001 entries nobody needs\n"
        );
        let same = CompactReport { log_before: 1, log_after: 1, ..CompactReport::default() };
        let faults = vec!["part of segment 3 of the log is unreadable".into()];
        assert_eq!(
            compact(&CompactReport { faults, ..same }, &style),
            "log   1 B, as before\n\
             view  0 B, as before\n\
             left  part of segment 3 of the log is unreadable\n"
        );
    }

    #[test]
    fn whoever_has_a_nearly_full_disk_is_warned_before_recording_is_refused() {
        let style = style();
        let roomy = DiskReport { log: 2_048, free: Some(1 << 30), ..DiskReport::default() };
        let shown = |report: &DiskReport| {
            let lines = disk(report, &style);
            lines.iter().map(|(name, text)| format!("{name}: {text}")).collect::<Vec<_>>()
        };
        assert_eq!(shown(&roomy), ["disk: log 2.0 KiB, view 0 B, 1.0 GiB free"]);
        let low = DiskReport { free: Some(100 << 20), low: true, ..roomy };
        assert!(shown(&low)[1].starts_with("warning: the disk is nearly full, only 100.0 MiB"));
        let full = DiskReport { free: Some(30 << 20), full: true, ..low };
        assert!(shown(&full)[1].starts_with("warning: the disk is full, only 30.0 MiB are free"));
        assert_eq!(shown(&full).len(), 2);
    }
}
