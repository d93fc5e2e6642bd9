//! A person who may log in.

use std::collections::BTreeSet;

use fieldmesh_model::{Moment, Role, UserId};
use serde::{Deserialize, Serialize};

use super::password::Password;

/// A person who may log in; part of the format on disk.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Account {
    /// The person, by the same id that certificates carry.
    pub(crate) id: UserId,
    /// The address, in lower case; no two accounts of a tenant have one.
    pub(crate) email: String,
    pub(crate) name: String,
    pub(crate) role: Role,
    /// The practices that the person belongs to; none restricts nothing.
    pub(crate) practices: BTreeSet<i64>,
    /// Ids that clients know the person by.
    pub(crate) aliases: BTreeSet<String>,
    pub(crate) password: Password,
    pub(crate) is_disabled: bool,
    pub(crate) made: Moment,
}

/// A person to add, as the operator writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NewUser {
    /// The e-mail address.
    pub(crate) email: String,
    /// The name; the address where there is none.
    pub(crate) name: Option<String>,
    /// The role.
    pub(crate) role: Role,
    /// The password.
    pub(crate) password: String,
    /// The practices.
    #[serde(default)]
    pub(crate) practices: BTreeSet<i64>,
    /// Ids that clients know the person by.
    #[serde(default)]
    pub(crate) aliases: BTreeSet<String>,
}

/// A person as the operator sees one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UserReport {
    /// The id, the same in certificates.
    pub(crate) id: UserId,
    /// The e-mail address.
    pub(crate) email: String,
    /// The name.
    pub(crate) name: String,
    /// The role.
    pub(crate) role: Role,
    /// Whether the person may log in.
    pub(crate) active: bool,
    /// The practices.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) practices: BTreeSet<i64>,
    /// Ids that clients know the person by.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) aliases: BTreeSet<String>,
    /// Since when there is the account.
    pub(crate) created_at: Moment,
    /// How many sessions are open.
    pub(crate) sessions: usize,
    /// When one of them was opened or renewed last.
    pub(crate) last_seen: Option<Moment>,
}
