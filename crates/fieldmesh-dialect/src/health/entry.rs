//! Entries of the journal as this dialect shows them.

use serde_json::{Value as Json, json};

use crate::outcome::{Conflict, Entry, Reason, Record, State};
use crate::payload::unpack;
use crate::refusal::Refusal;
use crate::response::Response;

const QUEUED: &str = "Operation queued for sync";

/// The word for a state.
const fn status(state: &State) -> &'static str {
    match state {
        State::Pending => "PENDING",
        State::Synced(_) => "SYNCED",
        State::Conflict(_) => "CONFLICT",
        State::Failed(_) => "FAILED",
    }
}

/// The answer to an operation that is in the journal; one that was there before has its own state.
pub(super) fn queued(entry: &Entry) -> Response {
    let code = if entry.known { 200 } else { 201 };
    let body = json!({ "id": entry.id, "status": status(&entry.state), "message": QUEUED });
    Response::json(code, &body)
}

/// The entries that wait, oldest first.
pub(super) fn pending(entries: &[Option<Entry>]) -> Response {
    let mut entries: Vec<&Entry> = entries.iter().flatten().collect();
    entries.sort_by_key(|entry| entry.at);
    let show = |entry: &&Entry| {
        json!({
            "id": entry.id, "operation": entry.action.as_str(), "resourceType": entry.collection,
            "data": unpack(&entry.fields), "status": status(&entry.state),
            "retryCount": entry.retries, "createdAtClient": entry.at,
        })
    };
    Response::json(200, &entries.iter().map(show).collect::<Json>())
}

/// What became of an entry; a temporary failure is an error of the server.
pub(super) fn processed(entry: &Entry) -> Result<Json, Refusal> {
    match &entry.state {
        State::Synced(record) => Ok(json!({
            "status": "SYNCED", "message": "Operation synced successfully",
            "result": resource(record),
        })),
        State::Conflict(conflict) => {
            let conflict = conflict.whole();
            let mut body = json!({
                "status": "CONFLICT", "message": "Version conflict detected",
                "error": "Resource was modified on server",
                "resolutionOptions": ["CLIENT_WINS", "SERVER_WINS", "MANUAL"],
                "id": entry.id, "localData": unpack(&conflict.client.fields),
                "serverData": unpack(&conflict.server.fields), "affectedFields": conflict.keys,
            });
            tell_deleted(&conflict, &mut body);
            Ok(body)
        }
        State::Failed(Reason::Failed) => Err(Refusal::Failed),
        State::Failed(reason) => Ok(failed(&reason.text(&[("patientId", "Patient")]))),
        State::Pending => Ok(json!({ "status": "PENDING", "message": QUEUED, "id": entry.id })),
    }
}

/// An operation that cannot be stored.
pub(super) fn failed(error: &str) -> Json {
    json!({ "status": "FAILED", "message": "Operation failed", "error": error })
}

/// Says of a conflict that is shown which of its sides is a deletion, if one is.
pub(super) fn tell_deleted(conflict: &Conflict, shown: &mut Json) {
    for (key, side) in [("localDeleted", &conflict.client), ("serverDeleted", &conflict.server)] {
        if side.deleted {
            shown[key] = true.into();
        }
    }
}

/// A resource with its id, and whether it is deleted, where it is.
pub(super) fn resource(record: &Record) -> Json {
    let mut fields = unpack(&record.fields);
    if record.deleted {
        fields.insert("deleted".to_owned(), true.into());
    }
    fields.insert("id".to_owned(), record.name.to_json());
    Json::Object(fields)
}
