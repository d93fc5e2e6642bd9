//! The state of a home.

use std::path::Path;

use fieldmesh::api::{RekeyReport, SafetyCounts, StatusReport, VerifyReport};

use super::{Style, Tone, bytes, counted, disk, evict, one_line, pairs, thousands};

/// A home's state.
pub(crate) fn status(status: &StatusReport, style: &Style) -> String {
    let tenant = &status.tenant;
    let name = one_line(&tenant.device_name);
    let who = match &status.user {
        Some(user) => format!("{name} ({}, {})", one_line(user), status.role),
        None => format!("{name} ({})", status.role),
    };
    let records: Vec<String> = status
        .records
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(|(collection, count)| format!("{collection} {}", thousands(*count)))
        .collect();
    let listening = match status.addresses.is_empty() {
        true => "nowhere; `fieldmesh run` listens".into(),
        false => status.addresses.join(", "),
    };
    let is_whole = status.remaking.is_none() && status.behind == 0;
    let so_far = if is_whole { "" } else { " so far" };
    let records = if records.is_empty() { "none".into() } else { records.join(", ") };
    let root = status.root.get(..16).unwrap_or(&status.root);
    let mut about = vec![
        ("state", style.paint(tone_of(&status.state), &status.state)),
        ("tenant", format!("{} ({})", one_line(&tenant.name), tenant.slug)),
        ("fingerprint", tenant.fingerprint.clone()),
        ("device", who),
        ("device id", tenant.device.to_string()),
        ("listening", listening),
        ("peers", format!("{} connected", status.connected)),
        ("in step", style.time_or(status.last_sync, "never so far")),
        ("records", format!("{records}{so_far}")),
        ("where", format!("{}{so_far}", places(status.places))),
        ("batches", format!("{}, root {root}", thousands(status.batches))),
    ];
    if let Some(remaking) = status.remaking {
        about.insert(1, ("being made", style.paint(Tone::Doubtful, &remaking.words())));
    }
    if let Some(text) = arriving(status) {
        about.insert(1, ("arriving", style.paint(Tone::Doubtful, &text)));
    }
    if status.unsealed > 0 {
        about.push(("on the way", counted(status.unsealed, "change", "changes")));
    }
    let tone = if status.conflicts == 0 { Tone::Plain } else { Tone::Doubtful };
    about.push(("conflicts", style.paint(tone, &format!("{} open{so_far}", status.conflicts))));
    let quarantined = Some(status.quarantined).filter(|count| *count > 0).map(thousands);
    about.extend(quarantined.map(|text| ("quarantined", style.paint(Tone::Doubtful, &text))));
    about.extend(notices(status, style));
    about.extend(awaiting(status, style));
    if !status.only.is_empty() {
        about.push(("only", status.only.join(", ")));
    }
    about.extend(evict::status(&status.kept, style));
    if status.not_sent > 0 {
        let records = counted(status.not_sent, "record", "records");
        let text = format!("{records} made here outside of what is exchanged");
        about.push(("not sent", style.paint(Tone::Doubtful, &text)));
    }
    about.extend(protocols(status));
    about.extend(disk::disk(&status.disk, style));
    if let Some(report) = &status.rekey {
        about.push(("rekey", style.paint(Tone::Doubtful, &one_line(&rekey(report)))));
    }
    for note in &status.notes {
        about.push(("note", style.paint(Tone::Doubtful, &one_line(note))));
    }
    for damage in &status.damage {
        about.push(("damage", style.paint(Tone::Bad, &one_line(damage))));
    }
    pairs(&about, 0, style)
}

/// What has come and is not counted so far.
fn arriving(status: &StatusReport) -> Option<String> {
    let entries = counted(status.behind, "entry", "entries");
    (status.behind > 0).then(|| format!("{entries} of the log not in these numbers so far"))
}

/// Which versions of the protocol are spoken.
fn protocols(status: &StatusReport) -> Option<(&'static str, String)> {
    let spoken = status.protocols.iter().rev().map(|(version, count)| {
        format!("version {version} with {}", counted(*count, "peer", "peers"))
    });
    let spoken: Vec<String> = spoken.collect();
    (!spoken.is_empty()).then(|| ("protocol", spoken.join(", ")))
}

fn notices(status: &StatusReport, style: &Style) -> Option<(&'static str, String)> {
    let count = status.notices.filter(|count| *count > 0)?;
    let text = format!("{} to you; see `fieldmesh notices`", thousands(count));
    Some(("notices", style.paint(Tone::Doubtful, &text)))
}

fn awaiting(status: &StatusReport, style: &Style) -> Option<(&'static str, String)> {
    let count = status.awaiting.filter(|count| *count > 0)?;
    let records = counted(count, "record", "records");
    let text = format!("{records} for yours; see `fieldmesh list COLLECTION --awaiting`");
    Some(("approval", style.paint(Tone::Doubtful, &text)))
}

fn tone_of(state: &str) -> Tone {
    match state {
        "damaged" | "revoked" => Tone::Bad,
        "ready" | "online" => Tone::Good,
        _ => Tone::Plain,
    }
}

/// How far a rekey has come, and what is in its way.
pub(crate) fn rekey(report: &RekeyReport) -> String {
    let RekeyReport { parts_done, parts_total, problem } = report;
    if *parts_total == 0 {
        return "it has just begun".into();
    }
    let done = format!("{parts_done} of {parts_total} parts of this home are under the new key");
    match problem {
        Some(problem) => format!("{done}; it waits: {problem}"),
        None => done,
    }
}

/// How many records are where.
fn places(counts: SafetyCounts) -> String {
    let SafetyCounts { here, on_devices, safe } = counts;
    let parts = [(here, "only here"), (on_devices, "on other devices"), (safe, "safe")];
    parts.map(|(count, place)| format!("{} {place}", thousands(count))).join(", ")
}

/// What a check of a home found.
pub(crate) fn verify(report: &VerifyReport, style: &Style) -> String {
    let mut text = if report.clean {
        style.paint(Tone::Good, "clean")
    } else {
        let count = u64::try_from(report.faults.len()).unwrap_or(u64::MAX);
        style.paint(Tone::Bad, &counted(count, "fault", "faults"))
    };
    text.push_str(&format!(
        ": checked {}, {}, {}, {}, {}\n",
        counted(report.frames, "frame", "frames"),
        counted(report.batches, "batch", "batches"),
        counted(report.changes, "change", "changes"),
        counted(report.items, "policy item", "policy items"),
        counted(report.records, "record", "records"),
    ));
    if let Some(since) = &report.since {
        let records = counted(report.let_go, "record", "records");
        let fine = if report.clean { "; nothing is wrong with that" } else { "" };
        text.push_str(&format!("{records} from before {since} let go{fine}\n"));
    }
    if report.purged > 0 {
        let changes = counted(report.purged, "change", "changes");
        text.push_str(&format!(
            "  {changes} purged: contents erased, hashes and signatures kept\n"
        ));
    }
    for fault in &report.faults {
        text.push_str(&format!("  {}\n", one_line(fault)));
    }
    text
}

/// The line that says that the daemon is ready.
pub(crate) fn ready(status: &StatusReport, socket: &Path, http: Option<&str>) -> String {
    format!(
        "Ready: {} of {} on {}; {}socket {}",
        one_line(&status.tenant.device_name),
        one_line(&status.tenant.name),
        if status.addresses.is_empty() { "no address".into() } else { status.addresses.join(", ") },
        http.map(|url| format!("apps {url}/v1; ")).unwrap_or_default(),
        socket.display()
    )
}

/// Bytes in and out, for reports of conversations.
pub(super) fn traffic(received: u64, sent: u64) -> String {
    format!("{} in, {} out", bytes(received), bytes(sent))
}
