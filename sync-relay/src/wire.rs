//! What travels over the relay's own socket, besides the reports of the library.

mod upkeep;

use std::path::PathBuf;

use fieldmesh::api::TenantReport;
use fieldmesh_model::{Moment, Role};
use serde::{Deserialize, Serialize};

pub(crate) use self::upkeep::{
    ArchiveCheck, ArchiveOptions, ArchiveSummary, ArchivedTenant, Chosen, Compacted, Line,
    Omission, RestoreSummary, RestoredTenant, Step, Teller, Tended, Verified, told_of,
};

/// Media type of a failure.
pub(crate) const PROBLEM: &str = "application/problem+json";

/// A tenant that the relay is to serve from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum NewTenant {
    /// One that is made here, with its authority.
    Create {
        /// The name of the organisation.
        name: String,
        /// What the tenant's devices call this relay.
        device: Option<String>,
        /// Whether apps write records here.
        #[serde(default)]
        gateway: bool,
    },
    /// One that exists elsewhere.
    Join {
        /// The invitation.
        invitation: String,
        /// What the tenant's devices call this relay.
        device: Option<String>,
    },
}

/// A claim to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NewClaim {
    /// For how long it is good.
    pub(crate) valid_seconds: u64,
    /// Whether it asks that apps write records here.
    #[serde(default)]
    pub(crate) gateway: bool,
}

/// A claim that was made; its secret is told this once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ClaimReport {
    /// The claim.
    pub(crate) claim: String,
    /// By which it is listed and revoked.
    pub(crate) id: String,
    /// As what this relay is taken in by it.
    pub(crate) role: Role,
    /// Until when it can be used.
    pub(crate) expires_at: Moment,
}

/// A claim as it is listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ClaimSummary {
    /// By which it is revoked.
    pub(crate) id: String,
    /// As what this relay is taken in by it.
    pub(crate) role: Role,
    /// `open`, `begun`, `used` or `expired`; who had begun by then is named and may go on.
    pub(crate) state: String,
    /// The tenant that has begun with it or used it.
    pub(crate) tenant: Option<String>,
    /// Its name, where it is served.
    pub(crate) tenant_name: Option<String>,
    /// When it was made.
    pub(crate) made_at: Moment,
    /// Until when it can be used.
    pub(crate) expires_at: Moment,
}

/// A claim that was taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RevokedClaim {
    /// By which it was listed.
    pub(crate) id: String,
    /// Always: it opens nothing any more.
    pub(crate) revoked: bool,
    /// What it was before, as in [`ClaimSummary::state`].
    pub(crate) state: String,
    /// The tenant that had begun with it or used it.
    pub(crate) tenant: Option<String>,
    /// Whether that tenant is served.
    pub(crate) is_served: bool,
}

/// A tenant as its operator sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TenantSummary {
    /// The tenant and this relay in it.
    #[serde(flatten)]
    pub(crate) tenant: TenantReport,
    /// The last digits of its id, by which logs and metrics call it.
    pub(crate) short: String,
    /// Whether this relay holds the tenant's authority.
    pub(crate) can_invite: bool,
    /// What this relay is in the tenant, `relay` or `gateway`; nothing while nobody has looked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) role: Option<Role>,
    /// Devices connected.
    pub(crate) connections: u64,
    /// Batches stored; nothing while nobody has looked.
    pub(crate) batches: Option<u64>,
    /// Whether its store is open; it is opened when somebody asks for it.
    #[serde(rename = "open")]
    pub(crate) is_open: bool,
    /// How much of it is known to be damaged.
    #[serde(default)]
    pub(crate) damaged: u64,
    /// Bytes of all its files.
    #[serde(default)]
    pub(crate) stored_bytes: u64,
    /// How many they may be, where that is limited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) stored_bytes_max: Option<u64>,
    /// Whether it takes nothing more for that reason.
    #[serde(default, rename = "quotaUsedUp")]
    pub(crate) is_quota_used_up: bool,
    /// Why the tenant is not served as it should be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) fault: Option<String>,
}

/// How a tenant is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RemoveOptions {
    /// Whether it is to be done, and not to be asked about.
    pub(crate) yes: bool,
    /// Whether its files are erased and not moved aside.
    pub(crate) erase: bool,
    /// Whether that is done where something is nowhere else.
    pub(crate) force: bool,
}

/// A tenant that is served no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RemovedTenant {
    /// The last digits of its id.
    pub(crate) short: String,
    /// Its name.
    pub(crate) name: String,
    /// Its slug.
    pub(crate) slug: String,
    /// Where its files are; nothing where they were erased.
    pub(crate) folder: Option<PathBuf>,
}

/// A home that could not be opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BrokenTenant {
    /// The name of its folder.
    pub(crate) folder: String,
    /// Why.
    pub(crate) reason: String,
}

/// Every tenant of the data folder.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TenantList {
    /// Those that are served.
    pub(crate) tenants: Vec<TenantSummary>,
    /// Those that cannot be.
    pub(crate) broken: Vec<BrokenTenant>,
}

/// Which log lines are written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LogFilter {
    /// The filter, as it would be typed.
    pub(crate) filter: String,
}

/// A password that a person gets.
#[derive(Serialize, Deserialize)]
pub(crate) struct NewPassword {
    /// The password.
    pub(crate) password: String,
}

/// `text` as one part of a path.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'~' => {
                escaped.push(char::from(byte));
            }
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_lead_to_another_path() {
        assert_eq!(escape("Permian West"), "Permian%20West");
        assert_eq!(escape("../x?y#z/"), "%2E%2E%2Fx%3Fy%23z%2F");
    }
}
