//! A failure as programs see it: the same value behind an exit code and an HTTP answer.

use fieldmesh_model::validate::Fault;
use serde::{Deserialize, Serialize};

/// What kind of failure it is; each has one exit code and one HTTP status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// Something failed that the caller did not cause.
    Failed,
    /// The request makes no sense.
    Usage,
    /// Permission or trust forbids it.
    Refused,
    /// There is no such thing.
    NotFound,
    /// No peer or relay could be reached.
    Unreachable,
    /// The contents are not valid.
    Invalid,
    /// The store is damaged, full or locked.
    Store,
    /// It works a while later; nothing is wrong.
    Later,
}

impl Class {
    /// The exit code of a command that ends with this.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Refused => 3,
            Self::NotFound => 4,
            Self::Unreachable => 5,
            Self::Invalid => 6,
            Self::Store => 7,
            Self::Later => 8,
        }
    }

    /// The HTTP status of an answer that carries this.
    pub const fn http_status(self) -> u16 {
        match self {
            Self::Failed => 500,
            Self::Usage => 400,
            Self::Refused => 403,
            Self::NotFound => 404,
            Self::Unreachable => 502,
            Self::Invalid => 422,
            Self::Store | Self::Later => 503,
        }
    }
}

/// A failure: the shape of RFC 9457, with the faults of a record beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// What kind.
    pub class: Class,
    /// What was wrong, where, and what to do: whole sentences for people.
    pub detail: String,
    /// Every fault of an invalid record.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Fault>,
}
