//! Why a request gets no answer of its endpoint: the same reasons in every dialect.

use fieldmesh_model::Fault;
use serde::Deserialize;

use crate::response::{ErrorForm, Response, problem};

/// After how many seconds to come again where nothing more can be stored: people have to make room.
const FULL_RETRY_AFTER_SECONDS: u32 = 300;

/// Why a request is refused as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum Refusal {
    /// The request is not what the contract states.
    Invalid {
        /// The fields and what is wrong with them.
        faults: Vec<Fault>,
    },
    /// The body is no JSON.
    Malformed,
    /// There is no token, or it is malformed, expired or revoked.
    Unauthenticated,
    /// Email or password are wrong; nobody learns which.
    WrongCredentials,
    /// The caller may not do this.
    Forbidden {
        /// Why, for people.
        why: String,
    },
    /// What the request names is not there.
    Missing {
        /// What, for people: "Tenant".
        what: String,
    },
    /// The path takes other methods.
    WrongMethod {
        /// Those that it takes.
        allowed: String,
    },
    /// It contradicts what has happened since.
    Contradiction {
        /// What, for people.
        why: String,
    },
    /// The body is larger than the endpoint takes.
    TooLarge {
        /// The most bytes.
        bytes_max: usize,
    },
    /// The body holds so many values that it would take more memory than a body may.
    TooHeavy,
    /// The body is of a type that the endpoint does not take.
    WrongType {
        /// The types that it takes.
        wanted: String,
    },
    /// The caller sends more than he may.
    TooMany {
        /// After how many seconds he may go on.
        retry_after: u32,
    },
    /// Nothing more can be stored; what is here can be read.
    Full,
    /// Something broke here.
    Failed,
    /// The server is starting or stopping.
    Unavailable {
        /// After how many seconds to come again.
        retry_after: u32,
    },
}

impl Refusal {
    /// A single fault of a field.
    pub fn fault(field: &str, message: &str) -> Self {
        Self::Invalid { faults: vec![Fault::new(field, message)] }
    }

    pub(crate) fn forbidden(why: &str) -> Self {
        Self::Forbidden { why: why.to_owned() }
    }

    pub(crate) fn missing(what: &str) -> Self {
        Self::Missing { what: what.to_owned() }
    }

    pub(crate) fn render(&self, form: ErrorForm) -> Response {
        let plain = |status, message: &str| problem(form, status, message, &[]);
        match self {
            Self::Invalid { faults } => problem(form, 400, "Validation failed", faults),
            Self::Malformed => plain(400, "Malformed JSON"),
            Self::Unauthenticated => {
                plain(401, "Unauthorized").with_header("www-authenticate", "Bearer")
            }
            Self::WrongCredentials => plain(401, "Email or password is wrong"),
            Self::Forbidden { why } => plain(403, why),
            Self::Missing { what } => plain(404, &format!("{what} not found")),
            Self::WrongMethod { allowed } => {
                plain(405, "Method not allowed").with_header("allow", allowed.clone())
            }
            Self::Contradiction { why } => plain(409, why),
            Self::TooLarge { bytes_max } => {
                plain(413, &format!("Body is larger than {bytes_max} bytes"))
            }
            Self::TooHeavy => plain(413, "Body holds too many values; send fewer at a time"),
            Self::WrongType { wanted } => plain(415, &format!("Content-Type must be {wanted}")),
            Self::TooMany { retry_after } => {
                plain(429, "Too many requests").with_header("retry-after", retry_after.to_string())
            }
            Self::Full => plain(507, "Storage is full; keep this and send it again later")
                .with_header("retry-after", FULL_RETRY_AFTER_SECONDS.to_string()),
            Self::Failed => plain(500, "Internal server error"),
            Self::Unavailable { retry_after } => plain(503, "Service unavailable")
                .with_header("retry-after", retry_after.to_string()),
        }
    }
}
