//! What a member of a tenant is.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The role of a member, from the permission table of the requirements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Administers users, roles and reference data.
    Admin,
    /// Leads a crew: edits others' entries and settles their conflicts.
    Manager,
    /// Records field data.
    Operator,
    /// A veterinary practitioner; writes like an operator.
    Practitioner,
    /// A rural health worker; writes like an operator.
    HealthWorker,
    /// A member of an organisation; writes like an operator.
    Member,
    /// A client of a practice; reads its own.
    Client,
    /// A server that stores and forwards and writes no records.
    Relay,
    /// A relay that also writes what people with accounts at it send over HTTP, and says for whom.
    Gateway,
}

/// A text that names no role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no role; choose one of {}", Role::ALL.map(Role::as_str).join(", "))]
pub struct RoleError {
    /// What was given.
    pub text: String,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 9] = [
        Self::Admin,
        Self::Manager,
        Self::Operator,
        Self::Practitioner,
        Self::HealthWorker,
        Self::Member,
        Self::Client,
        Self::Relay,
        Self::Gateway,
    ];

    /// The role in lower case, as certificates and commands write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Manager => "manager",
            Self::Operator => "operator",
            Self::Practitioner => "practitioner",
            Self::HealthWorker => "health_worker",
            Self::Member => "member",
            Self::Client => "client",
            Self::Relay => "relay",
            Self::Gateway => "gateway",
        }
    }

    /// Whether it is a server that keeps what others wrote, so that its receipt makes that safe.
    pub const fn is_relay(self) -> bool {
        matches!(self, Self::Relay | Self::Gateway)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = RoleError;

    fn from_str(text: &str) -> Result<Self, RoleError> {
        let wanted = text.trim().to_lowercase().replace('-', "_");
        Self::ALL
            .into_iter()
            .find(|role| role.as_str() == wanted)
            .ok_or_else(|| RoleError { text: text.into() })
    }
}
