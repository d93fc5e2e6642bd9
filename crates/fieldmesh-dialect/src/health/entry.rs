//! Entries of the journal as this dialect shows them.

use serde_json::{Value as Json, json};

use crate::outcome::{Entry, Reason, Record, State};
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
        State::Conflict(conflict) => Ok(json!({
            "status": "CONFLICT", "message": "Version conflict detected",
            "error": "Resource was modified on server",
            "resolutionOptions": ["CLIENT_WINS", "SERVER_WINS", "MANUAL"],
            "id": entry.id, "localData": unpack(&conflict.client.fields),
            "serverData": unpack(&conflict.server.fields), "affectedFields": conflict.keys,
        })),
        State::Failed(Reason::Failed) => Err(Refusal::Failed),
        State::Failed(reason) => Ok(failed(&reason.text(&[("patientId", "Patient")]))),
        State::Pending => Ok(json!({ "status": "PENDING", "message": QUEUED, "id": entry.id })),
    }
}

/// An operation that cannot be stored.
pub(super) fn failed(error: &str) -> Json {
    json!({ "status": "FAILED", "message": "Operation failed", "error": error })
}

/// A resource with its id.
pub(super) fn resource(record: &Record) -> Json {
    let mut fields = unpack(&record.fields);
    fields.insert("id".to_owned(), record.name.to_json());
    Json::Object(fields)
}
