//! Settles conflicts of entries, and lists them for admins.

use fieldmesh_model::Fields;
use serde_json::{Value as Json, json};

use super::entry::{self, resource};
use crate::command::{Resolution, Resolve};
use crate::cursor::FeedId;
use crate::form::{self, Form, object_or_nothing};
use crate::inbox;
use crate::outcome::{Conflict, ConflictPage, Resolved, Review};
use crate::payload::{pack, unpack};
use crate::refusal::Refusal;
use crate::request::Request;
use crate::response::Response;

/// How an entry can be settled.
const RESOLUTIONS: [Resolution; 3] =
    [Resolution::ClientWins, Resolution::ServerWins, Resolution::Manual];

pub(super) fn read(entry: &str, request: &Request) -> Result<Resolve, Refusal> {
    let body = object_or_nothing(request)?;
    let mut form = Form::new(&body, "");
    let word = request.parameter("resolution");
    let resolution = word.and_then(|word| form::resolution(&word, &RESOLUTIONS));
    if resolution.is_none() {
        let message = format!("resolution must be {}", form::resolutions(&RESOLUTIONS));
        form.fault("resolution", message);
    }
    let data = form.object("data");
    let emergency = form.text("emergency").map(str::to_owned);
    form.finish().map_err(|faults| Refusal::Invalid { faults })?;
    let Some(resolution) = resolution else { return Err(Refusal::Malformed) };
    let mut fields = Fields::new();
    if let Some(data) = data {
        pack(data, "", &mut fields);
    }
    Ok(Resolve { conflict: entry.to_owned(), resolution, fields, keep: None, emergency })
}

pub(super) fn answer(resolved: &Resolved) -> Response {
    let status = if resolved.review.is_some() { "CONFLICT" } else { "SYNCED" };
    let mut body = json!({
        "id": resolved.id, "status": status, "resolution": resolved.resolution.as_str(),
    });
    if let Some(review) = resolved.review {
        body["reviewStatus"] = status_of(review).into();
    }
    if let Some(user) = &resolved.by {
        body["resolvedBy"] = user.clone().into();
    }
    if let Some(at) = resolved.at {
        body["resolvedAt"] = json!(at);
    }
    if let Some(reason) = &resolved.emergency {
        body["emergency"] = reason.clone().into();
    }
    if let Some(record) = &resolved.record {
        body["result"] = resource(record);
    }
    Response::json(200, &body)
}

const fn status_of(review: Review) -> &'static str {
    match review {
        Review::Approval => "AWAITING_APPROVAL",
        Review::Manual => "MANUAL_REVIEW",
    }
}

/// Open conflicts with both versions, and what was asked for.
pub(super) fn listed(page: &ConflictPage, feed: FeedId) -> Response {
    let show = |conflict: &Conflict| {
        let mut shown = json!({
            "id": conflict.id, "resourceType": conflict.collection,
            "resourceId": conflict.name.to_json(), "localData": unpack(&conflict.client.fields),
            "serverData": unpack(&conflict.server.fields), "affectedFields": conflict.keys,
            "userId": conflict.client.user, "serverUserId": conflict.server.user,
            "createdAt": conflict.since,
        });
        entry::tell_deleted(conflict, &mut shown);
        if let Some(asked) = &conflict.asked {
            shown["reviewStatus"] = status_of(asked.review).into();
            shown["requestedBy"] = asked.by.clone().into();
            shown["requestedAt"] = json!(asked.at);
        }
        shown
    };
    let conflicts: Vec<Json> = page.conflicts.iter().map(show).collect();
    let mut body = json!({ "conflicts": conflicts });
    if let Some(next) = inbox::next(page, feed) {
        body["nextCursor"] = next.into();
    }
    Response::json(200, &body)
}
