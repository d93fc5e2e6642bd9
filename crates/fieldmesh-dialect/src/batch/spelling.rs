//! The two spellings of the contract: the app writes `tenantId`, the server was declared with
//! `tenant_id`. Both are read, and the answer has the spelling of the request.

use fieldmesh_model::Fault;
use serde_json::{Map, Value as Json};

/// Every member that is spelled in two ways, or has further names.
const NAMES: [(&str, &[&str]); 9] = [
    ("tenantId", &["tenant_id"]),
    ("deviceInfo", &["device_info"]),
    ("deviceId", &["device_id"]),
    ("userId", &["user_id"]),
    ("appVersion", &["app_version"]),
    ("type", &["eventType", "event_type"]),
    ("createdAt", &["created_at"]),
    ("syncAttempts", &["sync_attempts"]),
    ("syncedEventIds", &["synced_event_ids"]),
];

/// How a client spells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spelling {
    Camel,
    Snake,
}

impl Spelling {
    /// The spelling of a request's body; camel case where it cannot be told.
    pub(super) fn of(body: &Map<String, Json>) -> Self {
        match body.contains_key("tenant_id") && !body.contains_key("tenantId") {
            true => Self::Snake,
            false => Self::Camel,
        }
    }

    /// The ids of stored events in an answer.
    pub(super) const fn synced(self) -> &'static str {
        match self {
            Self::Camel => "syncedEventIds",
            Self::Snake => "synced_event_ids",
        }
    }
}

/// `members` with every name in camel case.
///
/// # Errors
///
/// A member stands there in several spellings with different values.
pub(super) fn unified(members: Map<String, Json>) -> Result<Map<String, Json>, Fault> {
    let mut unified = members;
    for (name, others) in NAMES {
        for other in others {
            let Some(value) = unified.remove(*other) else { continue };
            match unified.get(name).filter(|known| !known.is_null()) {
                Some(known) if *known != value && !value.is_null() => {
                    return Err(Fault::new(name, format!("{name} and {other} differ")));
                }
                Some(_) => {}
                None => {
                    unified.insert(name.to_owned(), value);
                }
            }
        }
    }
    Ok(unified)
}
