//! The state of the network and of automatic sync.

use fieldmesh::api::{ConnectivityReport, Grade, HeldBack, LinkClass, SyncNow};

use super::{Style, Tone, counted, one_line, pairs};

/// The lines below a home's state.
pub(crate) fn connectivity(report: &ConnectivityReport, style: &Style) -> String {
    let settings = &report.settings;
    let mut about = Vec::new();
    if report.running {
        let word = if report.online { "online" } else { "offline" };
        let word =
            if report.transitioning { format!("{word}, being checked") } else { word.into() };
        let (grade, tone) = match report.grade {
            Grade::Excellent => ("excellent", Tone::Good),
            Grade::Good => ("good", Tone::Good),
            Grade::Poor => ("poor", Tone::Doubtful),
            Grade::Offline => ("", Tone::Plain),
        };
        // A grade says something of answers, and there is none yet.
        let is_graded = !grade.is_empty() && !report.transitioning;
        let (text, tone) =
            if is_graded { (format!("{word}, {grade}"), tone) } else { (word, Tone::Plain) };
        about.push(("relay", style.paint(tone, &text)));
        about.push(("nearby", counted(report.nearby, "device", "devices")));
        about.push(("pending", counted(report.pending, "event", "events")));
    }
    let automatic = match (settings.auto_sync_enabled, settings.paused) {
        (_, true) => "paused; `fieldmesh sync --resume` takes it up again",
        (false, false) => "off; `fieldmesh sync --auto on` switches it on",
        (true, false) => "on",
    };
    about.push(("auto sync", automatic.into()));
    if report.syncing {
        about.push(("syncing", format!("{} %", report.progress.percentage)));
    }
    if let Some(decision) = &report.decision {
        let word = if decision.started { "started" } else { "not started" };
        let reason = one_line(&decision.reason);
        let at = style.time_or(Some(decision.at), "");
        about.push(("last sync", format!("{word} {at}: {reason}")));
    }
    for error in report.last_result.iter().flat_map(|result| &result.errors) {
        about.push(("", style.paint(Tone::Doubtful, &one_line(error))));
    }
    for failing in &report.failing {
        let tries = counted(failing.attempts.into(), "try", "tries");
        let text = format!("{} after {tries}", one_line(&failing.address));
        about.push(("no answer", style.paint(Tone::Doubtful, &text)));
    }
    for link in &report.held_back {
        about.push(("held back", style.paint(Tone::Doubtful, &held_back(link))));
    }
    for (place, class) in &settings.classes {
        about.push(("link", format!("{} is {}", one_line(place), class_name(*class))));
    }
    pairs(&about, 0, style)
}

/// What a sync on request came to.
pub(crate) fn synced_now(answer: &SyncNow, style: &Style) -> String {
    let mut text = String::new();
    for error in &answer.errors {
        text.push_str(&format!("{}\n", style.paint(Tone::Doubtful, &one_line(error))));
    }
    if answer.success {
        let sent = counted(answer.synced_count, "event", "events");
        text.push_str(&format!("{} {sent} sent.\n", style.paint(Tone::Good, "In step.")));
    }
    if !answer.conflicts.is_empty() {
        let count = answer.conflicts.len() as u64;
        let conflicts = counted(count, "conflict", "conflicts");
        let text_of = format!("{conflicts} opened; see `fieldmesh conflicts`.");
        text.push_str(&format!("{}\n", style.paint(Tone::Doubtful, &text_of)));
    }
    text
}

/// What a link of a dear class leaves out, and how to have it carried.
fn held_back(link: &HeldBack) -> String {
    let (place, class) = (one_line(&link.address), class_name(link.class));
    let carries = match link.carries.as_slice() {
        [] => "no records".to_owned(),
        parts => format!("only {}", parts.join(", ")),
    };
    let wait = if link.waiting == 1 { "waits" } else { "wait" };
    let waiting = counted(link.waiting, "batch", "batches");
    format!(
        "{place} is {class} and carries {carries}; {waiting} {wait} for an unmetered link or \
         `fieldmesh sync`"
    )
}

const fn class_name(class: LinkClass) -> &'static str {
    match class {
        LinkClass::Unmetered => "unmetered",
        LinkClass::Metered => "metered",
        LinkClass::Satellite => "satellite",
        LinkClass::Nearby => "nearby",
    }
}

#[cfg(test)]
mod tests {
    use fieldmesh::api::{Cause, Decision, Failing, SyncSettings};
    use fieldmesh_model::Moment;

    use super::*;
    use crate::render::tests::style;

    #[test]
    fn people_see_why_a_sync_did_not_start() {
        let report = ConnectivityReport {
            running: true,
            online: true,
            grade: Grade::Poor,
            nearby: 2,
            pending: 1,
            decision: Some(Decision {
                at: Moment::ZERO,
                cause: Cause::Periodic,
                started: false,
                reason: "automatic sync is paused".into(),
            }),
            last_result: Some(SyncNow {
                errors: vec!["10.0.0.7: lost".into()],
                ..SyncNow::default()
            }),
            failing: vec![Failing { address: "10.0.0.7:1".into(), attempts: 3, failed: false }],
            held_back: [(["*@2026-10"].as_slice(), 3), (&[], 1)]
                .map(|(carries, waiting)| HeldBack {
                    address: "10.0.0.7:2".into(),
                    class: LinkClass::Metered,
                    carries: carries.iter().map(|part| (*part).to_owned()).collect(),
                    waiting,
                })
                .into(),
            settings: SyncSettings {
                paused: true,
                classes: [("10.0.0.7".to_owned(), LinkClass::Metered)].into(),
                ..SyncSettings::default()
            },
            ..ConnectivityReport::default()
        };
        assert_eq!(
            connectivity(&report, &style()),
            "\
relay      online, poor
nearby     2 devices
pending    1 event
auto sync  paused; `fieldmesh sync --resume` takes it up again
last sync  not started 1970-01-01 00:00: automatic sync is paused
           10.0.0.7: lost
no answer  10.0.0.7:1 after 3 tries
held back  10.0.0.7:2 is metered and carries only *@2026-10; 3 batches wait for an unmetered link or \
`fieldmesh sync`
held back  10.0.0.7:2 is metered and carries no records; 1 batch waits for an unmetered link or \
`fieldmesh sync`
link       10.0.0.7 is metered
"
        );
    }

    #[test]
    fn a_sync_on_request_says_why_there_was_none() {
        let refused = SyncNow { errors: vec!["Device is offline".into()], ..SyncNow::default() };
        assert_eq!(synced_now(&refused, &style()), "Device is offline\n");
        let done = SyncNow { success: true, synced_count: 1, ..SyncNow::default() };
        assert_eq!(synced_now(&done, &style()), "In step. 1 event sent.\n");
    }

    #[test]
    fn without_a_daemon_only_what_is_set_is_shown() {
        assert_eq!(connectivity(&ConnectivityReport::default(), &style()), "auto sync  on\n");
    }
}
