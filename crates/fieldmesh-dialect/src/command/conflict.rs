//! Conflicts that wait for someone, and how they are settled.

use fieldmesh_model::Fields;
use serde::{Deserialize, Serialize};

use crate::name::Name;
use crate::payload::plain;

/// How a conflict is settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Resolution {
    /// What the client sent.
    ClientWins,
    /// What the store had.
    ServerWins,
    /// Whatever was written last.
    LastWriteWins,
    /// Each field for itself.
    Merge,
    /// A person decides: the values that come with it, or later.
    Manual,
}

/// Which open conflicts to list.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConflictQuery {
    /// Those of this collection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub collection: Option<String>,
    /// Those behind this place in the list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// At most so many.
    pub conflicts_max: usize,
}

/// Settles a conflict. The same resolution again answers the same.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Resolve {
    /// The conflict, or the entry of the journal that is in it.
    pub conflict: String,
    /// How.
    pub resolution: Resolution,
    /// The values to write, where a person decided.
    #[serde(serialize_with = "plain::serialize")]
    pub fields: Fields,
    /// Which of two records is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep: Option<Name>,
    /// Why it takes effect without the approval it would need; goes into the audit log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub emergency: Option<String>,
}

impl Resolution {
    /// The words of all dialects for it; settle the spellings.
    pub(crate) const WORDS: [(&'static str, Self); 7] = [
        ("CLIENT_WINS", Self::ClientWins),
        ("SERVER_WINS", Self::ServerWins),
        ("MERGE", Self::Merge),
        ("MANUAL", Self::Manual),
        ("LAST_WRITE_WINS", Self::LastWriteWins),
        ("MERGED", Self::Merge),
        ("Last Write Wins", Self::LastWriteWins),
    ];

    /// The word for it in upper case, as three of the contracts write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClientWins => "CLIENT_WINS",
            Self::ServerWins => "SERVER_WINS",
            Self::LastWriteWins => "LAST_WRITE_WINS",
            Self::Merge => "MERGE",
            Self::Manual => "MANUAL",
        }
    }
}
