//! Dialect 0: wells and users down, field entries up.

use fieldmesh_model::Role;
use serde_json::{Value as Json, json};

use crate::caller::{Caller, Dialect};
use crate::command::{Command, TrafficQuery};
use crate::outcome::{Outcome, Page, Reading, Traffic, Unread};
use crate::reason::MISFIT;
use crate::refusal::Refusal;
use crate::request::{Method, Request};
use crate::response::Response;
use crate::route::{self, Access, Bucket, Reads};

mod edit;
mod entry;
mod pull;
mod push;
mod view;

/// The collections of the dialect.
const WELL: &str = "well";
const USER: &str = "user";
const ENTRY: &str = "field_entry";

/// What the fields of an entry refer to.
const NOUNS: &[(&str, &str)] = &[("wellId", "Well")];

const CREW: &[Role] = &[Role::Operator, Role::Manager, Role::Admin];
const LEADS: &[Role] = &[Role::Manager, Role::Admin];

#[derive(Debug, Clone, Copy)]
pub(crate) enum Endpoint {
    Pull,
    Push,
    Status,
    Live,
    Edit,
    Entries,
    Analytics,
}

#[derive(Debug, Clone)]
pub(crate) enum Reply {
    Pull(pull::Pulled),
    Push(push::Sent),
    Status { device: String },
    Live(pull::Pulled),
    Edit,
    Entries(pull::Pulled),
    Analytics,
}

const fn endpoint(
    id: &'static str,
    method: Method,
    path: &'static str,
    reads: Endpoint,
) -> route::Endpoint {
    route::Endpoint {
        id,
        dialect: Some(Dialect::Wellpulse),
        method,
        path,
        access: Access::Roles(CREW),
        bucket: Bucket::Sync,
        body_max: route::BODY_MAX,
        reads: Reads::Wellpulse(reads),
    }
}

pub(crate) const ENDPOINTS: &[route::Endpoint] = &[
    endpoint("E0-1", Method::Get, "/sync/pull", Endpoint::Pull),
    endpoint("E0-2", Method::Post, "/sync/push", Endpoint::Push),
    endpoint("E0-3", Method::Get, "/sync/status", Endpoint::Status),
    endpoint("E0-7", Method::Get, "/sync/live", Endpoint::Live),
    endpoint("E0-8", Method::Patch, "/sync/entries/{entryId}", Endpoint::Edit),
    endpoint("E0-9", Method::Get, "/sync/entries", Endpoint::Entries),
    route::Endpoint {
        access: Access::Roles(LEADS),
        ..endpoint("E0-10", Method::Get, "/sync/analytics", Endpoint::Analytics)
    },
];

pub(crate) fn read(
    endpoint: Endpoint,
    part: &str,
    request: &Request,
    caller: &Caller,
) -> Result<(Command, Reply), Refusal> {
    match endpoint {
        Endpoint::Pull => {
            let (pull, pulled) = pull::read(request, caller)?;
            Ok((Command::Pull(pull), Reply::Pull(pulled)))
        }
        Endpoint::Entries => {
            let (pull, pulled) = pull::read_entries(request, caller)?;
            Ok((Command::Pull(pull), Reply::Entries(pulled)))
        }
        Endpoint::Live => {
            let (pull, pulled) = pull::read_live(request, caller)?;
            Ok((Command::Follow(pull), Reply::Live(pulled)))
        }
        Endpoint::Push => {
            let (push, sent) = push::read(request, caller)?;
            Ok((Command::Push(push), Reply::Push(sent)))
        }
        Endpoint::Edit => Ok((Command::Push(edit::read(part, request, caller)?), Reply::Edit)),
        Endpoint::Status => {
            let device = request
                .parameter("deviceId")
                .ok_or_else(|| Refusal::fault("deviceId", "deviceId is required"))?;
            Ok((Command::Reading { device: device.clone() }, Reply::Status { device }))
        }
        Endpoint::Analytics => {
            let query =
                TrafficQuery { from: pull::time(request, "from")?, to: pull::time(request, "to")? };
            Ok((Command::Traffic(query), Reply::Analytics))
        }
    }
}

impl Reply {
    pub(crate) fn answer(&self, outcome: Outcome) -> Result<Response, Refusal> {
        match (self, outcome) {
            (Self::Pull(pulled), Outcome::Page(page)) => Ok(pulled.answer(&page)),
            (Self::Entries(pulled), Outcome::Page(page)) => Ok(pulled.answer_entries(&page)),
            (Self::Live(pulled), Outcome::Page(page)) => {
                Ok(Response::events(&pulled.frames(&page)))
            }
            (Self::Push(sent), Outcome::Pushed(pushed)) => sent.answer(pushed),
            (Self::Edit, Outcome::Pushed(pushed)) => edit::answer(pushed),
            (Self::Status { device }, Outcome::Reading(reading)) => Ok(status(device, &reading)),
            (Self::Analytics, Outcome::Traffic(traffic)) => Ok(analytics(&traffic)),
            _ => Err(MISFIT),
        }
    }

    pub(crate) fn frames(&self, page: &Page) -> Vec<String> {
        match self {
            Self::Live(pulled) => pulled.frames(page),
            Self::Pull(_)
            | Self::Push(_)
            | Self::Status { .. }
            | Self::Edit
            | Self::Entries(_)
            | Self::Analytics => Vec::new(),
        }
    }
}

fn status(device: &str, reading: &Reading) -> Response {
    let pending = match reading.unread {
        Unread::Entries(count) => count,
        Unread::NeverReads => 0,
    };
    let body = json!({
        "deviceId": device, "lastSyncAt": reading.synced_at, "pendingEntries": pending,
    });
    Response::json(200, &body)
}

fn analytics(traffic: &[Traffic]) -> Response {
    let device = |one: &Traffic| {
        let rate = match one.attempts {
            0 => Json::Null,
            attempts => (one.successes as f64 / attempts as f64).into(),
        };
        let [p50, p95, p99] = one.latency_ms;
        json!({
            "deviceId": one.device, "from": one.from, "to": one.to,
            "bytesIn": one.bytes_in, "bytesOut": one.bytes_out,
            "attempts": one.attempts, "successRate": rate,
            "latencyMs": { "p50": p50, "p95": p95, "p99": p99 },
        })
    };
    let devices: Vec<Json> = traffic.iter().map(device).collect();
    Response::json(200, &json!({ "devices": devices }))
}
