//! Failures as answers: problems of RFC 9457, and the only place that maps errors to them.

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use fieldmesh::Error;
use fieldmesh::api::Class;
use fieldmesh_http::BodyFault;
use fieldmesh_model::validate::Fault;
use serde_json::{Map, Value as Json, json};

/// The media type of problems.
const PROBLEM: &str = "application/problem+json";

/// How soon whoever has to come again is told to.
const RETRY_SECONDS: &str = "5";

/// What kind of failure it is; each has a type, a title and a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Usage,
    Unauthenticated,
    Refused,
    Foreign,
    NotFound,
    Method,
    Taken,
    Ambiguous,
    Settled,
    Gone,
    Stale,
    TooLarge,
    WrongType,
    Invalid,
    Unconditional,
    Slow,
    Failed,
    Unreachable,
    Busy,
    Later,
    Store,
}

impl Kind {
    /// Every kind.
    pub(crate) const ALL: [Self; 21] = [
        Self::Usage,
        Self::Unauthenticated,
        Self::Refused,
        Self::Foreign,
        Self::NotFound,
        Self::Method,
        Self::Taken,
        Self::Ambiguous,
        Self::Settled,
        Self::Gone,
        Self::Stale,
        Self::TooLarge,
        Self::WrongType,
        Self::Invalid,
        Self::Unconditional,
        Self::Slow,
        Self::Failed,
        Self::Unreachable,
        Self::Busy,
        Self::Later,
        Self::Store,
    ];

    /// Its word in the type, its title, and its status.
    pub(crate) const fn words(self) -> (&'static str, &'static str, u16) {
        match self {
            Self::Usage => ("usage", "Not understood", 400),
            Self::Unauthenticated => ("unauthenticated", "No token, or a wrong one", 401),
            Self::Refused => ("refused", "Not allowed", 403),
            Self::Foreign => ("foreign", "Not from here", 403),
            Self::NotFound => ("not-found", "Not found", 404),
            Self::Method => ("method", "No such method", 405),
            Self::Slow => ("slow", "Not in time", 408),
            Self::Taken => ("taken", "Exists already", 409),
            Self::Ambiguous => ("ambiguous", "More than one", 409),
            Self::Settled => ("settled", "Settled already", 409),
            Self::Gone => ("gone", "Not here any more", 410),
            Self::Stale => ("stale", "Changed meanwhile", 412),
            Self::TooLarge => ("too-large", "Too large", 413),
            Self::WrongType => ("wrong-type", "Not JSON", 415),
            Self::Invalid => ("invalid", "Not valid", 422),
            Self::Unconditional => ("unconditional", "Say which version", 428),
            Self::Failed => ("failed", "Failed", 500),
            Self::Unreachable => ("unreachable", "Nobody reached", 502),
            Self::Busy => ("busy", "Busy", 503),
            Self::Later => ("later", "Not so far, ask again later", 503),
            Self::Store => ("store", "Store damaged, full or locked", 503),
        }
    }
}

/// A failure as an answer.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) kind: Kind,
    detail: String,
    faults: Vec<Fault>,
    /// What helps to go on.
    more: Map<String, Json>,
}

impl Refusal {
    pub(crate) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), faults: Vec::new(), more: Map::new() }
    }

    /// What is asked is not understood: all that is wrong with it.
    pub(crate) fn usage(faults: Vec<Fault>) -> Self {
        let detail = "the request is not understood; nothing was done";
        Self { faults, ..Self::new(Kind::Usage, detail) }
    }

    #[cfg(test)]
    pub(crate) fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// The same with one thing more beside it.
    pub(crate) fn with(mut self, name: &str, value: Json) -> Self {
        self.more.insert(name.into(), value);
        self
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::Stale { .. } => Kind::Stale,
            Error::Taken { .. } => Kind::Taken,
            Error::Ambiguous { .. } => Kind::Ambiguous,
            Error::Settled { .. } => Kind::Settled,
            Error::Purged { .. } | Error::LetGo { .. } => Kind::Gone,
            // What is not known by name is a mistake of the one who asks.
            Error::Condition { .. } => Kind::Usage,
            Error::UnknownCollection { .. } => Kind::NotFound,
            Error::ShuttingDown => Kind::Busy,
            other => match other.class() {
                Class::Failed => Kind::Failed,
                Class::Usage => Kind::Usage,
                Class::Refused => Kind::Refused,
                Class::NotFound => Kind::NotFound,
                Class::Unreachable => Kind::Unreachable,
                Class::Invalid => Kind::Invalid,
                Class::Later => Kind::Later,
                Class::Store => Kind::Store,
            },
        };
        let problem = error.problem();
        let mut refusal = Self { faults: problem.faults, ..Self::new(kind, problem.detail) };
        match error {
            Error::Condition { field, reason } => {
                refusal.faults = vec![Fault { field, message: reason }];
            }
            Error::Taken { id, deleted, .. } => {
                refusal = refusal.with("record", json!(id)).with("deleted", json!(deleted));
            }
            Error::Ambiguous { candidates, .. } => {
                refusal = refusal.with("candidates", json!(candidates));
            }
            _ => {}
        }
        refusal
    }
}

impl From<BodyFault> for Refusal {
    fn from(fault: BodyFault) -> Self {
        let kind = match fault {
            BodyFault::TooLarge { .. } => Kind::TooLarge,
            BodyFault::Coding => Kind::WrongType,
            BodyFault::Busy => Kind::Busy,
            BodyFault::Slow => Kind::Slow,
            _ => Kind::Usage,
        };
        Self::new(kind, fault.to_string())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (word, title, status) = self.kind.words();
        let mut problem = json!({
            "type": format!("urn:fieldmesh:problem:{word}"),
            "title": title,
            "status": status,
            "detail": self.detail,
        });
        if let Some(members) = problem.as_object_mut() {
            if !self.faults.is_empty() {
                members.insert("faults".into(), json!(self.faults));
            }
            members.extend(self.more);
        }
        let mut response = Response::new(Body::from(problem.to_string()));
        *response.status_mut() =
            StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM));
        if self.kind == Kind::Unauthenticated {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if self.kind == Kind::Later {
            headers.insert(RETRY_AFTER, HeaderValue::from_static(RETRY_SECONDS));
        }
        response
    }
}
