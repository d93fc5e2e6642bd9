//! A fleet as people read it.

use fieldmesh::api::one_line;
use fieldmesh_dialect::outcome::{FleetDevice, FleetKind};

use super::{minutes, table};

/// Devices and how they fare, a line each.
pub(crate) fn fleet(devices: &[FleetDevice]) -> String {
    let rows = devices.iter().map(|device| {
        let failing = if device.failing { " (failing)" } else { "" };
        [
            name(device),
            device.user.as_deref().map_or_else(unknown, one_line),
            device.last_contact.map_or_else(unknown, minutes),
            device.last_in_step.map_or_else(unknown, minutes),
            version(device),
            device.unsent.map_or_else(unknown, |unsent| unsent.to_string()),
            device.conflicts.map_or_else(unknown, |conflicts| conflicts.to_string()),
            format!("{} of {}{failing}", device.recent_failures, device.recent_attempts),
            device.delay_seconds.map_or_else(unknown, duration),
        ]
    });
    let headings = [
        "device",
        "user",
        "last contact",
        "last in step",
        "version",
        "unsent",
        "conflicts",
        "failed lately",
        "delay",
    ];
    table(headings, rows)
}

fn unknown() -> String {
    "—".into()
}

/// What people call it, and the end of its id where it has one.
fn name(device: &FleetDevice) -> String {
    let name = device.name.as_deref().map(one_line);
    match device.kind {
        FleetKind::Device => {
            let from = device.device.len().saturating_sub(8);
            let end = device.device.get(from..).unwrap_or_default();
            format!("{} ({end})", name.unwrap_or_default())
        }
        FleetKind::App => name.unwrap_or_else(|| one_line(&device.device)) + " (app)",
    }
}

/// The version of an app with what it runs on, or that of a device's protocol.
fn version(device: &FleetDevice) -> String {
    let app = [device.version.as_deref(), device.platform.as_deref()];
    let app: Vec<String> = app.into_iter().flatten().map(one_line).collect();
    match (app.as_slice(), device.protocol) {
        ([], Some(protocol)) => format!("protocol {protocol}"),
        ([], None) => unknown(),
        (app, _) => app.join(", "),
    }
}

/// Seconds in the largest unit of which there are two.
fn duration(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use fieldmesh_model::Moment;

    use super::*;

    #[test]
    fn what_is_not_known_of_a_device_is_a_dash_and_no_number() {
        let mut truck = FleetDevice::new(FleetKind::Device, "0123456789abcdef".into());
        truck.name = Some("truck 7".into());
        let mut phone = FleetDevice::new(FleetKind::App, "T1".into());
        phone.user = Some("ann".into());
        phone.last_contact = Some(Moment::from_millis(1_761_400_000_000));
        (phone.version, phone.platform) = (Some("2.1".into()), Some("android".into()));
        (phone.unsent, phone.conflicts) = (Some(3), Some(0));
        (phone.recent_attempts, phone.recent_failures, phone.failing) = (20, 4, true);
        phone.delay_seconds = Some(7_300);
        let text = fleet(&[truck, phone]);
        let lines: Vec<&str> = text.lines().collect();
        let columns = |line: &str| {
            let cells = line.split("  ").map(str::trim).filter(|cell| !cell.is_empty());
            cells.map(str::to_owned).collect::<Vec<_>>()
        };
        let truck = ["truck 7 (89abcdef)", "—", "—", "—", "—", "—", "—", "0 of 0", "—"];
        assert_eq!(columns(lines[1]), truck);
        let phone = [
            "T1 (app)",
            "ann",
            "2025-10-25 13:46 UTC",
            "—",
            "2.1, android",
            "3",
            "0",
            "4 of 20 (failing)",
            "2 h",
        ];
        assert_eq!(columns(lines[2]), phone);
    }
}
