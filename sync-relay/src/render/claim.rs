//! Claims of this relay.

use super::{minutes, table};
use crate::wire::{ClaimReport, ClaimSummary};

/// What the operator passes on.
pub(crate) fn claim(report: &ClaimReport) -> String {
    format!("{}\n", report.claim)
}

/// What to do with it.
pub(crate) fn claim_advice(report: &ClaimReport) -> String {
    format!(
        "On the device that made the tenant: fieldmesh relay add CLAIM, until {}. The running \
         relay serves it; `sync-relay claim --revoke {}` takes it back.",
        minutes(report.expires_at),
        report.id
    )
}

/// Claims, a line each.
pub(crate) fn claims(claims: &[ClaimSummary]) -> String {
    let rows = claims.iter().map(|claim| {
        [
            claim.id.clone(),
            claim.state.clone(),
            claim.tenant.clone().unwrap_or_else(|| "—".into()),
            minutes(claim.made_at),
            minutes(claim.expires_at),
        ]
    });
    table(["id", "state", "tenant", "made", "good until"], rows)
}

#[cfg(test)]
mod tests {
    use fieldmesh_model::Moment;

    use super::*;

    #[test]
    fn claims_are_lines_and_say_until_when() {
        let at = Moment::from_millis(1_767_225_600_000);
        let report =
            ClaimReport { claim: "fieldmeshclaim1a".into(), id: "5f".into(), expires_at: at };
        assert_eq!(claim(&report), "fieldmeshclaim1a\n");
        let advice = claim_advice(&report);
        assert!(advice.contains("2026-01-01 00:00 UTC") && advice.contains("--revoke 5f"));
        let (id, state) = ("5f0c".to_owned(), "used".to_owned());
        let tenant = Some("a1a1a1a1".to_owned());
        let summary = ClaimSummary { id, state, tenant, made_at: at, expires_at: at };
        let expected = "\
id    state  tenant    made                  good until
5f0c  used   a1a1a1a1  2026-01-01 00:00 UTC  2026-01-01 00:00 UTC
";
        assert_eq!(claims(&[summary]), expected);
    }
}
