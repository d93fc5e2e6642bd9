//! The state of the network and of automatic sync.

use fieldmesh::api::{ConnectivityReport, Grade, LinkClass};

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
    for (place, class) in &settings.classes {
        about.push(("link", format!("{} is {}", one_line(place), class_name(*class))));
    }
    pairs(&about, 0, style)
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
    use fieldmesh::api::{Cause, Decision, Failing, SyncNow, SyncSettings};
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
link       10.0.0.7 is metered
"
        );
    }

    #[test]
    fn without_a_daemon_only_what_is_set_is_shown() {
        assert_eq!(connectivity(&ConnectivityReport::default(), &style()), "auto sync  on\n");
    }
}
