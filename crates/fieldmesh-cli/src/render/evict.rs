//! What a device holds of old records, and what it has let go.

use fieldmesh::api::{EvictReport, KeptReport};

use super::{Style, Tone, bytes, counted, one_line, pairs};

/// What a device holds.
pub(crate) fn kept(kept: &KeptReport, style: &Style) -> String {
    pairs(&lines(kept, style), 0, style)
}

/// The lines of a status about it; none where all is held and that stays so.
pub(super) fn status(kept: &KeptReport, style: &Style) -> Vec<(&'static str, String)> {
    if kept.since.is_none() && kept.auto.is_none() { Vec::new() } else { lines(kept, style) }
}

fn lines(kept: &KeptReport, style: &Style) -> Vec<(&'static str, String)> {
    let names = kept.collections.join(", ");
    let holds = match (&kept.since, kept.at) {
        (Some(since), Some(at)) => {
            format!("{names} since {since}; let go before, as decided {}", style.time(at))
        }
        (Some(since), None) => format!("{names} since {since}; let go before"),
        (None, _) => "records of all months".into(),
    };
    let mut lines = vec![("holds", holds)];
    if let Some(months) = kept.auto {
        let months = counted(u64::from(months), "month", "months");
        lines.push(("lets go", format!("by itself what is older than {months}, once it is safe")));
    }
    lines
}

/// That a list begins later than the records of the tenant do.
pub(crate) fn begins_at(kept: &KeptReport, collection: &str) -> Option<String> {
    let since = kept.since.as_ref().filter(|_| kept.collections.iter().any(|it| it == collection));
    since.map(|since| {
        format!(
            "This device holds {collection} since {since}; `fieldmesh evict --back-to MONTH` wants \
             older ones back."
        )
    })
}

/// What would go, as a question.
pub(crate) fn evict_question(looked: &EvictReport) -> String {
    format!(
        "{} before {} would be let go from this device; a relay holds all of them.",
        counted(looked.records, "record", "records"),
        month(looked),
    )
}

/// What was let go, or would be.
pub(crate) fn evicted(report: &EvictReport, style: &Style) -> String {
    let mut about = Vec::new();
    let records = counted(report.records, "record", "records");
    let batches = counted(report.batches, "batch", "batches");
    if report.asked.is_some() {
        let text = match (report.records, report.dry_run) {
            (0, _) => format!("nothing before {}", month(report)),
            (_, true) => format!("{records} ({batches}) would go"),
            (_, false) => format!("{records} ({batches}); a relay holds all of them"),
        };
        about.push(("let go", text));
    }
    about.extend(lines(&report.kept, style));
    for held in &report.held_back {
        about.push(("stays", style.paint(Tone::Doubtful, &one_line(&held.reason))));
    }
    for (name, before, after) in [
        ("log", report.log_before, report.log_after),
        ("view", report.view_before, report.view_after),
    ] {
        if before != after {
            about.push((name, format!("{} before, {} now", bytes(before), bytes(after))));
        }
    }
    for fault in &report.faults {
        about.push(("left", style.paint(Tone::Doubtful, &one_line(fault))));
    }
    pairs(&about, 0, style)
}

fn month(report: &EvictReport) -> &str {
    report.asked.as_deref().unwrap_or("the first month")
}

#[cfg(test)]
mod tests {
    use fieldmesh::api::HeldMonth;

    use super::super::{samples, tests::style};
    use super::*;

    #[test]
    fn whoever_lets_old_records_go_reads_what_went_what_stays_and_why() {
        let style = style();
        assert_eq!(
            evicted(&samples::evicted(), &style),
            "let go   1,204 records (31 batches); a relay holds all of them\n\
             holds    field_entry since 2026-03; let go before, as decided 2026-03-01 08:30\n\
             lets go  by itself what is older than 3 months, once it is safe\n\
             stays    12 records of 2026-03 are not safe yet: `fieldmesh list --unsafe`\n\
             log      2.4 MiB before, 375.4 KiB now\n"
        );
        let nothing = EvictReport {
            asked: Some("2026-03".into()),
            held_back: vec![HeldMonth { month: "2026-01".into(), reason: "1 record".into() }],
            ..EvictReport::default()
        };
        assert_eq!(
            evicted(&nothing, &style),
            "let go  nothing before 2026-03\nholds   records of all months\nstays   1 record\n"
        );
    }

    #[test]
    fn a_list_says_where_it_begins_and_that_of_wells_does_not() {
        let kept = samples::kept();
        assert!(begins_at(&kept, "field_entry").unwrap().contains("since 2026-03"));
        assert_eq!(begins_at(&kept, "well"), None);
        assert_eq!(begins_at(&KeptReport::default(), "field_entry"), None);
    }
}
