//! Conflicts as this dialect shows and settles them.

use fieldmesh_model::Fields;
use serde_json::{Value as Json, json};

use super::change;
use crate::command::{Resolution, Resolve};
use crate::cursor::FeedId;
use crate::form::{Form, object};
use crate::inbox;
use crate::outcome::{Conflict, ConflictKind, ConflictPage, Resolved};
use crate::payload::{pack, unpack};
use crate::refusal::Refusal;
use crate::request::Request;
use crate::response::Response;

/// How a user can settle a conflict.
const RESOLUTIONS: [Resolution; 4] =
    [Resolution::ClientWins, Resolution::ServerWins, Resolution::Merge, Resolution::Manual];

/// What is suggested: nothing stands against a merge of disjoint fields; else what came later.
fn suggested(conflict: &Conflict) -> Resolution {
    let is_later = conflict.server.at > conflict.client.at;
    match conflict.kind {
        ConflictKind::DeletedAndEdited | ConflictKind::Duplicate => Resolution::Manual,
        ConflictKind::Field if conflict.keys.is_empty() => Resolution::Merge,
        ConflictKind::Field if is_later => Resolution::ServerWins,
        ConflictKind::Field => Resolution::ClientWins,
    }
}

pub(super) fn show(conflict: &Conflict) -> Json {
    let mut shown = json!({
        "id": conflict.id, "entityType": conflict.collection,
        "entityId": conflict.name.to_json(),
        "clientVersion": conflict.client.version, "serverVersion": conflict.server.version,
        "clientData": unpack(&conflict.client.fields),
        "serverData": unpack(&conflict.server.fields),
        "suggestedResolution": suggested(conflict).as_str(),
    });
    for (key, side) in [("clientDeleted", &conflict.client), ("serverDeleted", &conflict.server)] {
        if side.deleted {
            shown[key] = true.into();
        }
    }
    shown
}

pub(super) fn listed(page: &ConflictPage, feed: FeedId) -> Response {
    let row = |conflict: &Conflict| {
        let mut shown = show(conflict);
        shown["affectedFields"] = json!(conflict.keys);
        shown["createdAt"] = json!(conflict.since);
        shown
    };
    let conflicts: Vec<Json> = page.conflicts.iter().map(row).collect();
    let mut body = json!({ "conflicts": conflicts });
    if let Some(next) = inbox::next(page, feed) {
        body["nextCursor"] = next.into();
    }
    Response::json(200, &body)
}

pub(super) fn resolve(request: &Request) -> Result<Resolve, Refusal> {
    let body = object(request)?;
    let mut form = Form::new(&body, "");
    let conflict = form.need_text("conflictId").map(str::to_owned);
    if form.get("resolution").is_none() {
        form.fault("resolution", "resolution is required");
    }
    let resolution = form.resolution("resolution", &RESOLUTIONS);
    let data = form.object("resolvedData");
    form.finish().map_err(|faults| Refusal::Invalid { faults })?;
    let (Some(conflict), Some(resolution)) = (conflict, resolution) else {
        return Err(Refusal::Malformed);
    };
    let mut fields = Fields::new();
    if let Some(data) = data {
        pack(data, "", &mut fields);
    }
    // MANUAL without data leaves the conflict open and says that a person has to decide.
    Ok(Resolve { conflict, resolution, fields, keep: None, emergency: None })
}

pub(super) fn settled(resolved: &Resolved) -> Response {
    let mut body = json!({
        "conflictId": resolved.id, "resolution": resolved.resolution.as_str(),
        "resolvedBy": resolved.by, "resolvedAt": resolved.at,
    });
    if let Some(record) = &resolved.record {
        let mut entity = change::entity(record);
        entity["version"] = record.version.into();
        if record.deleted {
            entity["deleted"] = true.into();
        }
        body["entity"] = entity;
    }
    Response::json(200, &body)
}
