//! Dialect 2: the assets, tasks and schedules of a web app that writes and reads in one request.

use std::sync::Arc;

use serde_json::{Value as Json, json};

use crate::caller::{Caller, Dialect};
use crate::command::{Command, Device, Retry, Whose};
use crate::cursor::FeedId;
use crate::form::{Form, object, object_or_nothing};
use crate::inbox;
use crate::name::Name;
use crate::outcome::{DeviceState, Item, Outcome, Overview, Page, Retried, Tally};
use crate::reason::MISFIT;
use crate::refusal::Refusal;
use crate::request::{Method, Request};
use crate::response::Response;
use crate::route::{self, Access, Bucket, Reads};

mod change;
mod conflict;
mod delta;
mod exchange;

#[derive(Debug, Clone, Copy)]
pub(crate) enum Endpoint {
    Sync,
    Delta,
    Status,
    Devices,
    Unregister,
    Conflicts,
    Resolve,
    Retry,
    Stats,
    Invalidate,
    Register,
    Live,
}

#[derive(Debug, Clone)]
pub(crate) enum Reply {
    Sync(exchange::Sent),
    Delta(delta::Asked),
    Status { user: String },
    Devices,
    Unregister,
    Conflicts { feed: FeedId },
    Resolve,
    Retry,
    Stats,
    Invalidate,
    Register,
    Live { feed: FeedId },
}

const fn endpoint(
    id: &'static str,
    method: Method,
    path: &'static str,
    reads: Endpoint,
) -> route::Endpoint {
    route::Endpoint {
        id,
        dialect: Some(Dialect::Asset),
        method,
        path,
        access: Access::Anyone,
        bucket: Bucket::Sync,
        body_max: route::BODY_MAX,
        reads: Reads::Asset(reads),
    }
}

pub(crate) const ENDPOINTS: &[route::Endpoint] = &[
    endpoint("E2-1", Method::Post, "/api/sync", Endpoint::Sync),
    endpoint("E2-2", Method::Post, "/api/sync/delta", Endpoint::Delta),
    endpoint("E2-3", Method::Get, "/api/sync/status", Endpoint::Status),
    endpoint("E2-4", Method::Get, "/api/sync/devices", Endpoint::Devices),
    endpoint("E2-5", Method::Delete, "/api/sync/devices/{deviceId}", Endpoint::Unregister),
    endpoint("E2-6", Method::Get, "/api/sync/conflicts", Endpoint::Conflicts),
    endpoint("E2-7", Method::Post, "/api/sync/conflicts/resolve", Endpoint::Resolve),
    endpoint("E2-8", Method::Post, "/api/sync/queue/retry", Endpoint::Retry),
    endpoint("E2-9", Method::Get, "/api/sync/queue/stats", Endpoint::Stats),
    endpoint("E2-10", Method::Post, "/api/sync/cache/invalidate", Endpoint::Invalidate),
    endpoint("E2-11", Method::Post, "/api/sync/devices", Endpoint::Register),
    endpoint("E2-12", Method::Get, "/api/sync/live", Endpoint::Live),
];

pub(crate) fn read(
    endpoint: Endpoint,
    part: &str,
    request: &Request,
    caller: &Caller,
) -> Result<(Command, Reply), Refusal> {
    let feed = caller.feed;
    match endpoint {
        Endpoint::Sync => exchange::read(request, caller)
            .map(|(push, pull, sent)| (Command::Exchange { push, pull }, Reply::Sync(sent))),
        Endpoint::Delta => delta::read(request, feed)
            .map(|(pull, asked)| (Command::Pull(pull), Reply::Delta(asked))),
        Endpoint::Live => {
            let pull = delta::read_live(request, caller)?;
            Ok((Command::Follow(pull), Reply::Live { feed }))
        }
        Endpoint::Status => Ok((Command::Overview, Reply::Status { user: caller.user.clone() })),
        Endpoint::Devices => Ok((Command::Devices, Reply::Devices)),
        Endpoint::Register => Ok((register(request)?, Reply::Register)),
        Endpoint::Unregister => {
            let (device, user) = (part.to_owned(), request.parameter("userId"));
            Ok((Command::Unregister { device, user }, Reply::Unregister))
        }
        Endpoint::Conflicts => {
            let collection = request.parameter("entityType");
            let query = inbox::query(request, feed, collection)?;
            Ok((Command::Conflicts(query), Reply::Conflicts { feed }))
        }
        Endpoint::Resolve => Ok((Command::Resolve(conflict::resolve(request)?), Reply::Resolve)),
        Endpoint::Retry => Ok((retry(request, caller)?, Reply::Retry)),
        Endpoint::Stats => Ok((Command::Tally(Whose::User(caller.user.clone())), Reply::Stats)),
        Endpoint::Invalidate => Ok((invalidate(request)?, Reply::Invalidate)),
    }
}

fn register(request: &Request) -> Result<Command, Refusal> {
    let body = object(request)?;
    let mut form = Form::new(&body, "");
    let id = form.need_name("deviceId").map(str::to_owned);
    let label = form.text("deviceName").map(str::to_owned);
    let public_key = form.text("publicKey").map(str::to_owned);
    let user = form.text("userId").map(str::to_owned);
    form.finish().map_err(|faults| Refusal::Invalid { faults })?;
    let Some(id) = id else { return Err(Refusal::Malformed) };
    Ok(Command::Register { device: Device { id, label, ..Device::default() }, public_key, user })
}

fn retry(request: &Request, caller: &Caller) -> Result<Command, Refusal> {
    let body = object_or_nothing(request)?;
    let mut form = Form::new(&body, "");
    let device = form.text("deviceId").map(str::to_owned);
    let entries = form.texts("operationIds").unwrap_or_default();
    form.finish().map_err(|faults| Refusal::Invalid { faults })?;
    Ok(Command::Retry(Retry { user: caller.user.clone(), device, entries }))
}

fn invalidate(request: &Request) -> Result<Command, Refusal> {
    let body = object_or_nothing(request)?;
    let mut form = Form::new(&body, "");
    let collections = form.texts("entityTypes").unwrap_or_default();
    let names = |json: &Json| json.as_array()?.iter().map(Name::from_json).collect();
    let records = form.read("entityIds", "a list of ids", names).unwrap_or_default();
    form.finish().map_err(|faults| Refusal::Invalid { faults })?;
    Ok(Command::Invalidate { collections, records })
}

impl Reply {
    pub(crate) fn answer(&self, outcome: Outcome) -> Result<Response, Refusal> {
        match (self, outcome) {
            (Self::Sync(sent), Outcome::Exchanged { pushed, page }) => sent.answer(&pushed, &page),
            (Self::Delta(asked), Outcome::Page(page)) => Ok(asked.answer(&page)),
            (Self::Status { user }, Outcome::Overview(overview)) => Ok(status(user, &overview)),
            (Self::Devices, Outcome::Devices(devices)) => {
                let devices: Vec<Json> = devices.iter().map(device).collect();
                Ok(Response::json(200, &json!({ "devices": devices })))
            }
            (Self::Register, Outcome::Devices(devices)) => {
                let registered = devices.first().ok_or(MISFIT)?;
                Ok(Response::json(201, &device(registered)))
            }
            (Self::Unregister, Outcome::Done) => Ok(Response::empty(204)),
            (Self::Conflicts { feed }, Outcome::Conflicts(page)) => {
                Ok(conflict::listed(&page, *feed))
            }
            (Self::Resolve, Outcome::Resolved(resolved)) => Ok(conflict::settled(&resolved)),
            (Self::Retry, Outcome::Retried(retried)) => Ok(retry_counts(retried)),
            (Self::Stats, Outcome::Tally(tally)) => {
                let mut body = queue(tally);
                body["oldestPendingAt"] = json!(tally.oldest_pending);
                Ok(Response::json(200, &body))
            }
            (Self::Invalidate, Outcome::Invalidated { count }) => {
                Ok(Response::json(200, &json!({ "invalidated": count })))
            }
            (Self::Live { .. }, Outcome::Page(page)) => Ok(Response::events(&self.frames(&page))),
            _ => Err(MISFIT),
        }
    }

    pub(crate) fn frames(&self, page: &Page) -> Vec<String> {
        let Self::Live { feed } = self else { return Vec::new() };
        let frame = |item: &Arc<Item>| {
            let cursor = delta::token(*feed, item.place, "");
            let frame = json!({ "type": "change", "change": change::show(item), "cursor": cursor });
            frame.to_string()
        };
        page.items.iter().map(frame).collect()
    }
}

fn device(device: &DeviceState) -> Json {
    json!({
        "id": device.id, "userId": device.user, "deviceId": device.device,
        "deviceName": device.label, "lastSyncAt": device.synced_at, "isActive": device.active,
    })
}

fn queue(tally: Tally) -> Json {
    json!({
        "pending": tally.pending, "syncing": tally.syncing, "completed": tally.synced,
        "failed": tally.failed, "conflict": tally.conflicts,
    })
}

fn status(user: &str, overview: &Overview) -> Response {
    let device = |device: &DeviceState| {
        json!({
            "deviceId": device.device, "deviceName": device.label,
            "lastSyncAt": device.synced_at, "isActive": device.active,
        })
    };
    let devices: Vec<Json> = overview.devices.iter().map(device).collect();
    let body = json!({
        "userId": user, "serverTime": overview.at, "devices": devices,
        "queue": queue(overview.tally), "unresolvedConflicts": overview.conflicts,
        "backlog": overview.backlog,
    });
    Response::json(200, &body)
}

fn retry_counts(retried: Retried) -> Response {
    let all = retried.synced + retried.failed + retried.conflicts;
    let failed = all - retried.synced;
    Response::json(200, &json!({ "retried": all, "succeeded": retried.synced, "failed": failed }))
}
