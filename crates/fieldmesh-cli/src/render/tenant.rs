//! Tenants and invitations.

use fieldmesh::api::{InvitationReport, JoinReport, TenantReport};
use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};

use super::{Style, Tone, one_line, pairs};

/// A tenant that was created.
pub(crate) fn tenant(tenant: &TenantReport, style: &Style) -> String {
    let heading = style.paint(Tone::Heading, &one_line(&tenant.name));
    format!("{heading}\n{}", pairs(&about(tenant), 0, style))
}

/// A tenant that was joined.
pub(crate) fn joined(report: &JoinReport, style: &Style) -> String {
    let heading = style.paint(Tone::Heading, &one_line(&report.tenant.name));
    let mut about = about(&report.tenant);
    about.push(("role", report.role.to_string()));
    format!("{heading}\n{}", pairs(&about, 0, style))
}

fn about(tenant: &TenantReport) -> Vec<(&'static str, String)> {
    vec![
        ("slug", tenant.slug.clone()),
        ("fingerprint", tenant.fingerprint.clone()),
        ("device", one_line(&tenant.device_name)),
        ("device id", tenant.device.to_string()),
    ]
}

/// What the inviting person passes on.
pub(crate) fn invitation_text(invitations: &[InvitationReport]) -> String {
    let mut text = String::new();
    for invitation in invitations {
        text.push_str(&invitation.invitation);
        text.push('\n');
    }
    text
}

/// What to do with invitations.
pub(crate) fn invitation_advice(invitations: &[InvitationReport], style: &Style) -> String {
    let until = match invitations.first() {
        Some(invitation) => format!(", until {}", style.time(invitation.expires_at)),
        None => String::new(),
    };
    format!("On the other device: fieldmesh join INVITATION{until}.")
}

/// The invitation as a QR code of half blocks; nothing where it is too long for one.
pub(crate) fn qr(invitation: &str) -> Option<String> {
    let code = QrCode::with_error_correction_level(invitation, EcLevel::L).ok()?;
    // Terminals are dark as a rule, and readers want dark squares on light ground.
    let code =
        code.render::<Dense1x2>().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build();
    Some(code + "\n")
}
