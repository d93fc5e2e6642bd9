//! Reports as people read them: pure functions from a report to text.

mod claim;
mod fleet;
mod rejected;
mod upkeep;

use fieldmesh::api::{DeviceReport, InvitationReport, RevokeReport, one_line};
use fieldmesh_model::Moment;

use crate::accounts::UserReport;
use crate::wire::{RemovedTenant, TenantSummary};

pub(crate) use self::claim::{claim, claim_advice, claims, revoked_claim};
pub(crate) use self::fleet::fleet;
pub(crate) use self::rejected::rejected;
use self::upkeep::bytes;
pub(crate) use self::upkeep::{
    after_restore, archived, checked_archives, compacted, restored, step, verified,
};

/// What stands between columns.
const GAP: &str = "  ";

/// A tenant that was made or joined.
pub(crate) fn tenant(summary: &TenantSummary) -> String {
    let tenant = &summary.tenant;
    let lines = [
        ("tenant", one_line(&tenant.name)),
        ("slug", tenant.slug.clone()),
        ("id", summary.short.clone()),
        ("fingerprint", tenant.fingerprint.clone()),
        ("this relay", format!("{} ({})", one_line(&tenant.device_name), tenant.device.short())),
    ];
    lines.iter().map(|(name, value)| format!("{name:<11}  {value}\n")).collect()
}

/// Tenants, a line each.
pub(crate) fn tenants(summaries: &[TenantSummary]) -> String {
    let rows = summaries.iter().map(|summary| {
        let authority = if summary.can_invite { "here" } else { "elsewhere" };
        let role = summary.role.map_or_else(|| "—".into(), |role| role.to_string());
        [
            summary.short.clone(),
            summary.tenant.slug.clone(),
            one_line(&summary.tenant.name),
            authority.into(),
            role,
            summary.connections.to_string(),
            summary.batches.map_or_else(|| "—".into(), |batches| batches.to_string()),
            stored(summary),
            summary.fault.as_deref().map_or_else(|| state(summary), one_line),
        ]
    });
    let headings =
        ["id", "slug", "name", "authority", "role", "connections", "batches", "stored", "state"];
    table(headings, rows)
}

/// What a tenant takes of the disk, and of how much.
fn stored(summary: &TenantSummary) -> String {
    let taken = bytes(summary.stored_bytes);
    summary
        .stored_bytes_max
        .map_or_else(|| taken.clone(), |max| format!("{taken} of {}", bytes(max)))
}

/// How a tenant without a fault is.
fn state(summary: &TenantSummary) -> String {
    if summary.damaged == 0 && summary.is_quota_used_up {
        return "read only: quota used up".to_owned();
    }
    match (summary.damaged, summary.is_open) {
        (0, true) => "ok".to_owned(),
        (0, false) => "ok, closed until asked for".to_owned(),
        _ => format!("damaged: sync-relay verify --tenant {}", summary.short),
    }
}

/// A tenant that is served no more.
pub(crate) fn removed_tenant(removed: &RemovedTenant) -> String {
    let files = match &removed.folder {
        Some(folder) => format!("Its files are in {}.", one_line(&folder.display().to_string())),
        None => "Its files are erased.".to_owned(),
    };
    format!(
        "Done: {} ({}) is not served here any more. {files}\nIts devices keep what they have, and \
         still count this relay among those that hold it. The crew has to revoke it: its lead says \
         `fieldmesh relay remove` for each address and `fieldmesh devices revoke` for its name. \
         Until then nobody should say `fieldmesh evict`.\n",
        one_line(&removed.name),
        removed.short
    )
}

/// Devices, a line each.
pub(crate) fn devices(devices: &[DeviceReport]) -> String {
    let rows = devices.iter().map(|device| {
        let this = if device.this { " (this relay)" } else { "" };
        [
            device.device.short(),
            format!("{}{this}", one_line(&device.name)),
            match device.revoked {
                Some(_) => "revoked".into(),
                None => device.role.to_string(),
            },
            one_line(device.email.as_deref().unwrap_or("—")),
            device.batches.to_string(),
            device.last_change.map_or_else(|| "—".into(), minutes),
            device.last_contact.map_or_else(|| "—".into(), minutes),
        ]
    });
    table(["id", "name", "role", "user", "batches", "last change", "last contact"], rows)
}

/// A device that was revoked.
pub(crate) fn revoked(report: &RevokeReport) -> String {
    let erased = if report.wipe { ", and erases itself when it learns of it" } else { "" };
    format!(
        "Done: {} is revoked{erased}. {} of it count.\nOthers learn of it when they meet this \
         relay or a device that knows.\n",
        one_line(&report.name),
        batches(report.kept),
    )
}

fn batches(count: u64) -> String {
    format!("{count} {}", if count == 1 { "batch" } else { "batches" })
}

/// A person who may log in, or may not.
pub(crate) fn user(user: &UserReport) -> String {
    users(std::slice::from_ref(user))
}

/// People, a line each.
pub(crate) fn users(users: &[UserReport]) -> String {
    let rows = users.iter().map(|user| {
        [
            one_line(&user.email),
            one_line(&user.name),
            user.role.to_string(),
            if user.active { "active".into() } else { "disabled".into() },
            user.sessions.to_string(),
            user.last_seen.map_or_else(|| "—".into(), minutes),
            user.id.to_string(),
        ]
    });
    table(["email", "name", "role", "state", "sessions", "last seen", "id"], rows)
}

/// What the operator passes on.
pub(crate) fn invitations(invitations: &[InvitationReport]) -> String {
    invitations.iter().map(|invitation| format!("{}\n", invitation.invitation)).collect()
}

/// What to do with invitations.
pub(crate) fn advice(invitations: &[InvitationReport]) -> String {
    let until = invitations.first().map_or_else(String::new, |invitation| {
        format!(", until {}", minutes(invitation.expires_at))
    });
    format!("On the device: fieldmesh join INVITATION{until}.")
}

/// A moment to the minute, in UTC: a server's zone is nobody's.
fn minutes(moment: Moment) -> String {
    let text = moment.to_string();
    match text.get(..16) {
        Some(minutes) => format!("{} UTC", minutes.replace('T', " ")),
        None => text,
    }
}

/// Rows under headings; nothing where there are no rows.
fn table<const N: usize>(headings: [&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let rows: Vec<[String; N]> = rows.collect();
    if rows.is_empty() {
        return String::new();
    }
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([headings[column].len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..N).map(width).collect();
    let headings = headings.map(String::from);
    let mut text = String::new();
    for row in [&headings].into_iter().chain(&rows) {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text.push_str(cells.join(GAP).trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use fieldmesh::api::TenantReport;
    use fieldmesh_model::{DeviceId, Role, TenantId};

    use super::*;

    fn summary() -> TenantSummary {
        let tenant = TenantReport {
            tenant: TenantId::from_bytes([0xa1; 32]),
            name: "Gulf\u{1b}[2J Crew".into(),
            slug: "gulf-crew".into(),
            fingerprint: "12ab-34cd".into(),
            device: DeviceId::from_bytes([0xb2; 32]),
            device_name: "relay-1".into(),
        };
        TenantSummary {
            short: tenant.tenant.short(),
            tenant,
            can_invite: true,
            role: Some(Role::Gateway),
            connections: 2,
            batches: Some(1_200),
            is_open: true,
            damaged: 0,
            stored_bytes: 18 << 20,
            stored_bytes_max: Some(20 << 30),
            is_quota_used_up: false,
            fault: None,
        }
    }

    #[test]
    fn a_tenants_columns_line_up_and_its_name_moves_no_cursor() {
        let text = tenants(&[summary()]);
        let expected = "\
id        slug       name           authority  role     connections  batches  stored            state
a1a1a1a1  gulf-crew  Gulf [2J Crew  here       gateway  2            1200     18 MiB of 20 GiB  ok
";
        assert_eq!(text, expected);
        assert_eq!(tenants(&[]), "");
        let full = tenants(&[TenantSummary { is_quota_used_up: true, ..summary() }]);
        assert!(full.contains("read only: quota used up\n"), "{full}");
        let damaged = tenants(&[TenantSummary { damaged: 2, ..summary() }]);
        assert!(damaged.contains("damaged: sync-relay verify --tenant a1a1a1a1\n"), "{damaged}");
        assert!(tenant(&summary()).contains("this relay   relay-1 (b2b2b2b2)\n"));
    }

    #[test]
    fn devices_and_invitations_are_lines() {
        let device = DeviceReport {
            founder: false,
            traffic: None,
            device: DeviceId::from_bytes([0xb2; 32]),
            name: "relay-1".into(),
            user: String::new(),
            email: None,
            role: Role::Relay,
            this: true,
            batches: 0,
            last_change: Some(Moment::from_millis(1_767_225_600_000)),
            last_contact: None,
            aside: 0,
            revoked: None,
        };
        let text = devices(&[device]);
        assert!(text.contains("b2b2b2b2  relay-1 (this relay)  relay  —"), "{text}");
        assert!(text.contains("2026-01-01 00:00 UTC"), "{text}");
        assert!(text.contains("last contact"), "{text}");
        let invitation = InvitationReport {
            invitation: "fieldmesh1abc".into(),
            expires_at: Moment::from_millis(1_767_225_600_000),
        };
        assert_eq!(invitations(std::slice::from_ref(&invitation)), "fieldmesh1abc\n");
        assert!(advice(&[invitation]).ends_with("until 2026-01-01 00:00 UTC."));
    }
}
