//! Claims of this relay.

use fieldmesh_model::Role;

use super::{minutes, table};
use crate::wire::{ClaimReport, ClaimSummary, RevokedClaim};

/// What the operator passes on.
pub(crate) fn claim(report: &ClaimReport) -> String {
    format!("{}\n", report.claim)
}

/// What to do with it.
pub(crate) fn claim_advice(report: &ClaimReport) -> String {
    let asked = match report.role {
        Role::Gateway => {
            " There it is asked whether this relay may read and write the tenant's records for \
             those who log in here."
        }
        _ => "",
    };
    format!(
        "On the device that made the tenant: fieldmesh relay add CLAIM, until {}. The running \
         relay serves it; `sync-relay claim --revoke {}` takes it back.{asked}",
        minutes(report.expires_at),
        report.id
    )
}

/// Claims, a line each.
pub(crate) fn claims(claims: &[ClaimSummary]) -> String {
    let rows = claims.iter().map(|claim| {
        [
            claim.id.clone(),
            claim.role.to_string(),
            claim.state.clone(),
            claim.tenant.clone().unwrap_or_else(|| "—".into()),
            claim.tenant_name.clone().unwrap_or_else(|| "—".into()),
            minutes(claim.made_at),
            minutes(claim.expires_at),
        ]
    });
    table(["id", "role", "state", "tenant", "name", "made", "good until"], rows)
}

/// What a claim that was taken back had come to.
pub(crate) fn revoked_claim(claim: &RevokedClaim) -> String {
    let done = format!("Done: claim {} opens nothing any more.", claim.id);
    match &claim.tenant {
        None => format!("{done}\n"),
        Some(tenant) if claim.is_served => {
            format!("{done} Tenant {tenant} was joined by it before, stays and is served.\n")
        }
        Some(tenant) if claim.state == "used" => {
            format!("{done} Tenant {tenant} was joined by it before and is not served.\n")
        }
        Some(tenant) => format!(
            "{done} Tenant {tenant} had begun with it, and may know this relay as a device \
             already; see `sync-relay tenant list` whether it is served after all.\n"
        ),
    }
}

#[cfg(test)]
mod tests {
    use fieldmesh_model::Moment;

    use super::*;

    #[test]
    fn claims_are_lines_and_say_until_when() {
        let at = Moment::from_millis(1_767_225_600_000);
        let role = Role::Relay;
        let report =
            ClaimReport { claim: "fieldmeshclaim1a".into(), id: "5f".into(), role, expires_at: at };
        assert_eq!(claim(&report), "fieldmeshclaim1a\n");
        let advice = claim_advice(&report);
        assert!(advice.contains("2026-01-01 00:00 UTC") && advice.contains("--revoke 5f"));
        assert!(!advice.contains("read and write"));
        let gateway = ClaimReport { role: Role::Gateway, ..report };
        assert!(claim_advice(&gateway).contains("may read and write the tenant's records"));
        let (id, state) = ("5f0c".to_owned(), "used".to_owned());
        let tenant = Some("a1a1a1a1".to_owned());
        let tenant_name = Some("Gulf".to_owned());
        let (role, made_at) = (Role::Gateway, at);
        let summary =
            ClaimSummary { id, role, state, tenant, tenant_name, made_at, expires_at: at };
        let expected = "\
id    role     state  tenant    name  made                  good until
5f0c  gateway  used   a1a1a1a1  Gulf  2026-01-01 00:00 UTC  2026-01-01 00:00 UTC
";
        assert_eq!(claims(&[summary]), expected);
    }

    #[test]
    fn whoever_revokes_a_claim_hears_what_it_has_done_already() {
        let revoked = |state: &str, tenant: Option<&str>, is_served| {
            let (id, tenant) = ("5f".to_owned(), tenant.map(ToOwned::to_owned));
            let state = state.to_owned();
            revoked_claim(&RevokedClaim { id, revoked: true, state, tenant, is_served })
        };
        assert_eq!(revoked("open", None, false), "Done: claim 5f opens nothing any more.\n");
        assert!(revoked("used", Some("a1"), true).contains("Tenant a1 was joined by it before"));
        assert!(revoked("used", Some("a1"), false).contains("is not served"));
        assert!(revoked("begun", Some("a1"), false).contains("had begun with it"));
    }
}
