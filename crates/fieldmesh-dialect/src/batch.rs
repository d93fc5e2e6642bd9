//! Dialect 1: the events of a shift in one batch, and the conflicts that managers review.

use fieldmesh_model::{Fields, Role};
use serde_json::json;

use crate::caller::{Caller, Dialect};
use crate::command::{Command, Resolution, Resolve};
use crate::cursor::FeedId;
use crate::form::{Form, object};
use crate::inbox;
use crate::name::Name;
use crate::outcome::{ConflictPage, Outcome, Resolved};
use crate::reason::MISFIT;
use crate::refusal::Refusal;
use crate::request::{Method, Request};
use crate::response::Response;
use crate::route::{self, Access, Bucket, Reads};

mod event;
mod push;
mod spelling;

/// The collection of the dialect.
const EVENT: &str = "field_event";

/// Who reviews conflicts.
const LEADS: &[Role] = &[Role::Manager, Role::Admin];

/// How a manager can settle a conflict.
const RESOLUTIONS: [Resolution; 4] =
    [Resolution::ClientWins, Resolution::ServerWins, Resolution::Merge, Resolution::Manual];

#[derive(Debug, Clone, Copy)]
pub(crate) enum Endpoint {
    Push,
    Conflicts,
    Resolve,
}

#[derive(Debug, Clone)]
pub(crate) enum Reply {
    Push(push::Sent),
    Conflicts { feed: FeedId },
    Resolve,
}

const fn endpoint(
    id: &'static str,
    method: Method,
    path: &'static str,
    reads: Endpoint,
) -> route::Endpoint {
    route::Endpoint {
        id,
        dialect: Some(Dialect::Batch),
        method,
        path,
        access: Access::Roles(LEADS),
        bucket: Bucket::Sync,
        body_max: route::BODY_MAX,
        reads: Reads::Batch(reads),
    }
}

pub(crate) const ENDPOINTS: &[route::Endpoint] = &[
    route::Endpoint {
        access: Access::Anyone,
        body_max: route::EVENTS_BODY_MAX,
        ..endpoint("E1-1", Method::Post, "/field-data/sync", Endpoint::Push)
    },
    endpoint("E1-3", Method::Get, "/field-data/conflicts", Endpoint::Conflicts),
    endpoint("E1-3", Method::Post, "/field-data/conflicts/{conflictId}/resolve", Endpoint::Resolve),
];

pub(crate) fn read(
    endpoint: Endpoint,
    part: &str,
    request: &Request,
    caller: &Caller,
) -> Result<(Command, Reply), Refusal> {
    match endpoint {
        Endpoint::Push => {
            let (push, sent) = push::read(request, caller)?;
            Ok((Command::Push(push), Reply::Push(sent)))
        }
        Endpoint::Conflicts => {
            let query = inbox::query(request, caller.feed, Some(EVENT.to_owned()))?;
            Ok((Command::Conflicts(query), Reply::Conflicts { feed: caller.feed }))
        }
        Endpoint::Resolve => Ok((Command::Resolve(resolve(part, request)?), Reply::Resolve)),
    }
}

fn resolve(conflict: &str, request: &Request) -> Result<Resolve, Refusal> {
    let body = object(request)?;
    let mut form = Form::new(&body, "");
    if form.get("resolution").is_none() {
        form.fault("resolution", "resolution is required");
    }
    let resolution = form.resolution("resolution", &RESOLUTIONS);
    let keep = form.read("keepEventId", "the id of an event", Name::from_json);
    form.finish().map_err(|faults| Refusal::Invalid { faults })?;
    let Some(resolution) = resolution else { return Err(Refusal::Malformed) };
    Ok(Resolve {
        conflict: conflict.to_owned(),
        resolution,
        fields: Fields::new(),
        keep,
        emergency: None,
    })
}

impl Reply {
    pub(crate) fn answer(&self, outcome: Outcome) -> Result<Response, Refusal> {
        match (self, outcome) {
            (Self::Push(sent), Outcome::Pushed(pushed)) => sent.answer(&pushed),
            (Self::Conflicts { feed }, Outcome::Conflicts(page)) => Ok(listed(&page, *feed)),
            (Self::Resolve, Outcome::Resolved(resolved)) => Ok(settled(&resolved)),
            _ => Err(MISFIT),
        }
    }
}

fn listed(page: &ConflictPage, feed: FeedId) -> Response {
    let show = |conflict| {
        let mut shown = event::conflict(conflict);
        shown["createdAt"] = json!(conflict.since);
        shown
    };
    let conflicts: Vec<_> = page.conflicts.iter().map(show).collect();
    let mut body = json!({ "conflicts": conflicts });
    if let Some(next) = inbox::next(page, feed) {
        body["nextCursor"] = next.into();
    }
    Response::json(200, &body)
}

fn settled(resolved: &Resolved) -> Response {
    let mut body = json!({
        "conflictId": resolved.id, "resolution": resolved.resolution.as_str(),
        "resolvedBy": resolved.by, "resolvedAt": resolved.at,
    });
    if let Some(record) = &resolved.record {
        body["event"] = event::show(&record.name, &record.fields);
    }
    Response::json(200, &body)
}
