//! Dialect 3: veterinary practices, whose apps push operations and pull by time.

use crate::caller::{Caller, Dialect};
use crate::command::Command;
use crate::outcome::Outcome;
use crate::reason::MISFIT;
use crate::refusal::Refusal;
use crate::request::{Method, Request};
use crate::response::Response;
use crate::route::{self, Access, Bucket, Reads};

mod operation;
mod pull;
mod push;

#[derive(Debug, Clone, Copy)]
pub(crate) enum Endpoint {
    Push,
    Pull,
}

#[derive(Debug, Clone)]
pub(crate) enum Reply {
    Push(push::Sent),
    Pull,
}

const fn endpoint(
    id: &'static str,
    method: Method,
    path: &'static str,
    reads: Endpoint,
) -> route::Endpoint {
    route::Endpoint {
        id,
        dialect: Some(Dialect::Vet),
        method,
        path,
        access: Access::Anyone,
        bucket: Bucket::Sync,
        body_max: route::BODY_MAX,
        reads: Reads::Vet(reads),
    }
}

pub(crate) const ENDPOINTS: &[route::Endpoint] = &[
    endpoint("E3-1", Method::Post, "/api/sync/push", Endpoint::Push),
    endpoint("E3-2", Method::Get, "/api/sync/pull", Endpoint::Pull),
];

pub(crate) fn read(
    endpoint: Endpoint,
    request: &Request,
    caller: &Caller,
) -> Result<(Command, Reply), Refusal> {
    match endpoint {
        Endpoint::Push => {
            let (push, sent) = push::read(request, caller)?;
            Ok((Command::Push(push), Reply::Push(sent)))
        }
        Endpoint::Pull => Ok((Command::Pull(pull::read(request, caller)?), Reply::Pull)),
    }
}

impl Reply {
    pub(crate) fn answer(&self, outcome: Outcome) -> Result<Response, Refusal> {
        let response = match (self, outcome) {
            (Self::Push(sent), Outcome::Pushed(pushed)) => sent.answer(&pushed)?,
            (Self::Pull, Outcome::Page(page)) => pull::answer(&page),
            _ => return Err(MISFIT),
        };
        Ok(response.with_header("cache-control", "no-store"))
    }
}

/// The types of the contract and the collections behind them; other types are their own.
const TYPES: [(&str, &str); 3] =
    [("appointments", "appointment"), ("pets", "pet"), ("users", "user")];

/// The collection of an entity type.
fn collection(entity_type: &str) -> &str {
    TYPES.iter().find(|(name, _)| *name == entity_type).map_or(entity_type, |(_, found)| found)
}

/// The entity type of a collection.
fn entity_type(collection: &str) -> &str {
    TYPES.iter().find(|(_, known)| *known == collection).map_or(collection, |(name, _)| name)
}

/// The collection of which the contract states more than it does of others.
const APPOINTMENT: &str = "appointment";

/// A field whose value is stored as a whole number and shown as its decimal text.
const DURATION: &str = "durationMinutes";

/// The fields of an entity as the app knows them.
fn data(record: &crate::outcome::Record) -> serde_json::Value {
    let mut data = shown(&record.collection, &record.fields);
    data["id"] = record.name.to_json();
    if let Some(at) = record.created_at {
        data["createdAt"] = serde_json::json!(at);
    }
    data["updatedAt"] = serde_json::json!(record.arrived_at);
    data
}

/// Fields of a record of `collection` as the app knows them.
fn shown(collection: &str, fields: &fieldmesh_model::Fields) -> serde_json::Value {
    let mut data = crate::payload::unpack(fields);
    if collection == APPOINTMENT
        && let Some(minutes) = data.get(DURATION).and_then(serde_json::Value::as_i64)
    {
        data.insert(DURATION.to_owned(), minutes.to_string().into());
    }
    serde_json::Value::Object(data)
}
