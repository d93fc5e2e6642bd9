//! Other devices: as members, as peers, and what passed between.

use fieldmesh::api::{
    AdoptReport, DeviceReport, PeerReport, PeerSync, RevokeReport, SyncReport, SyncResult,
};

use super::home::traffic;
use super::table::{Side, Table};
use super::{Style, Tone, counted, one_line, pairs, thousands};

/// Peers as a table.
pub(crate) fn peers(peers: &[PeerReport], style: &Style) -> String {
    let mut table = Table::new([
        ("device", Side::Left),
        ("state", Side::Left),
        ("address", Side::Left),
        ("over", Side::Left),
        ("found by", Side::Left),
        ("in step", Side::Left),
        ("why not", Side::Left),
    ]);
    for peer in peers {
        let device = match (&peer.name, &peer.device) {
            (Some(name), _) => one_line(name),
            (None, Some(device)) => format!("…{}", device.short()),
            (None, None) => "?".into(),
        };
        let tone = match peer.state.as_str() {
            "in-step" => Tone::Good,
            "unreachable" | "refused" => Tone::Doubtful,
            _ => Tone::Plain,
        };
        // What it went over last says as well whether UDP gets through.
        let over = peer.transport.or(peer.last_transport);
        table.toned_row([
            (device, Tone::Plain),
            (peer.state.clone(), tone),
            (peer.addresses.join(", "), Tone::Plain),
            (over.map(|over| over.to_string()).unwrap_or_default(), Tone::Plain),
            (peer.found_by.clone(), Tone::Plain),
            (style.time_or(peer.last_in_step, "never"), Tone::Plain),
            (one_line(peer.error.as_deref().unwrap_or_default()), Tone::Plain),
        ]);
    }
    table.print(style)
}

/// Devices as a table.
pub(crate) fn devices(devices: &[DeviceReport], style: &Style) -> String {
    let mut table = Table::new([
        ("device", Side::Left),
        ("name", Side::Left),
        ("person", Side::Left),
        ("role", Side::Left),
        ("batches", Side::Right),
        ("last change", Side::Left),
        ("last contact", Side::Left),
    ]);
    for device in devices {
        let tone = if device.revoked.is_some() { Tone::Bad } else { Tone::Plain };
        table.toned_row([
            (device.device.short(), Tone::Plain),
            (one_line(&device.name), Tone::Plain),
            (device.person(), Tone::Plain),
            (role(device), tone),
            (thousands(device.batches), Tone::Plain),
            (style.time_or(device.last_change, "never"), Tone::Plain),
            (contact(device, style), Tone::Plain),
        ]);
    }
    table.print(style)
}

/// One device in full.
pub(crate) fn device(device: &DeviceReport, style: &Style) -> String {
    let heading = style.paint(Tone::Heading, &one_line(&device.name));
    let mut about = vec![
        ("device id", device.device.to_string()),
        ("person", device.person()),
        ("role", device.role.to_string()),
        ("batches", thousands(device.batches)),
        ("last change", style.time_or(device.last_change, "never")),
        ("last contact", contact(device, style)),
    ];
    if let Some(revoked) = &device.revoked {
        let reason = one_line(&revoked.reason);
        let reason = if reason.is_empty() { "no reason given".into() } else { reason };
        let by = revoked.by.as_deref().map(|by| format!("; by {}", one_line(by)));
        let reason = reason + &by.unwrap_or_default();
        about.push(("revoked", style.paint(Tone::Bad, &reason)));
        if revoked.wipe {
            about.push(("erased", "when it learns of it".into()));
        }
    }
    if let Some(moved) = &device.traffic {
        let batches = counted(moved.received, "batch", "batches");
        let bytes = traffic(moved.bytes_in, moved.bytes_out);
        let text = format!("{batches} received, {} sent; {bytes}", thousands(moved.sent));
        about.push(("passed", text));
    }
    if device.aside > 0 {
        let batches = counted(device.aside, "batch", "batches");
        let text = format!("{batches}; see `fieldmesh conflicts --kind quarantine`");
        about.push(("not counted", style.paint(Tone::Doubtful, &text)));
    }
    format!("{heading}\n{}", pairs(&about, 0, style))
}

fn role(device: &DeviceReport) -> String {
    match device.revoked {
        Some(_) => "revoked".into(),
        None => device.role.to_string(),
    }
}

/// A device that was revoked.
pub(crate) fn revoked(report: &RevokeReport, style: &Style) -> String {
    let erased = if report.wipe { ", and erases itself when it learns of it" } else { "" };
    format!(
        "{} {} is revoked{erased}. {} of it count.\nOthers learn of it when they meet this device \
         or one that knows.\n",
        style.paint(Tone::Good, "Done:"),
        one_line(&report.name),
        counted(report.kept, "batch", "batches"),
    )
}

/// Work of a revoked device that counts again.
pub(crate) fn adopted(report: &AdoptReport, style: &Style) -> String {
    let mut text = format!(
        "{} {} of {} count again.",
        style.paint(Tone::Good, "Done:"),
        counted(report.batches, "batch", "batches"),
        one_line(&report.name),
    );
    if report.left > 0 {
        text.push_str(&format!(" {} still do not.", thousands(report.left)));
    }
    text.push('\n');
    text
}

fn contact(device: &DeviceReport, style: &Style) -> String {
    if device.this { "this device".into() } else { style.time_or(device.last_contact, "never") }
}

/// What a sync did, peer by peer.
pub(crate) fn synced(report: &SyncReport, style: &Style) -> String {
    let mut text = String::new();
    for peer in &report.peers {
        text.push_str(&synced_peer(peer, style));
    }
    for note in &report.notes {
        text.push_str(&style.paint(Tone::Doubtful, &one_line(note)));
        text.push('\n');
    }
    text.push_str(&match report.result {
        SyncResult::Ok if report.only.is_empty() => style.paint(Tone::Good, "In step."),
        SyncResult::Ok => style.paint(Tone::Good, "In step for what was asked."),
        SyncResult::Partial => {
            style.paint(Tone::Doubtful, "In step with some; the others could not be reached.")
        }
        SyncResult::Failed if report.revoked => {
            style.paint(Tone::Bad, "This device was revoked; nobody is in step with it any more.")
        }
        SyncResult::Failed => style.paint(Tone::Bad, "In step with nobody."),
    });
    if report.conflicts > 0 {
        let open = counted(report.conflicts, "conflict is open", "conflicts are open");
        text.push_str(
            &style.paint(Tone::Doubtful, &format!(" {open}; see `fieldmesh conflicts`.")),
        );
    }
    text.push('\n');
    text
}

fn synced_peer(peer: &PeerSync, style: &Style) -> String {
    let name = match (&peer.name, &peer.device) {
        (Some(name), _) => format!("{} ({})", one_line(name), peer.address),
        (None, Some(device)) => format!("…{} ({})", device.short(), peer.address),
        (None, None) => peer.address.clone(),
    };
    if let Some(error) = &peer.error {
        return format!("{name}: {}\n", style.paint(Tone::Doubtful, &one_line(error)));
    }
    format!(
        "{name}: {} received, {} sent; {}; {}\n",
        counted(peer.received, "batch", "batches"),
        thousands(peer.sent),
        traffic(peer.bytes_in, peer.bytes_out),
        counted(peer.rounds, "round", "rounds"),
    )
}
