//! Dialect 4: rural health, whose app puts each operation into a journal and has it processed.

use fieldmesh_model::{Fault, Role};
use serde_json::{Value as Json, json};

use crate::caller::{Caller, Dialect};
use crate::command::{Command, JournalQuery, Queue, Refused, Retry, Then, Whose};
use crate::cursor::FeedId;
use crate::form::{Form, object};
use crate::inbox;
use crate::outcome::{Entry, Outcome, Retried, Tally};
use crate::reason::MISFIT;
use crate::refusal::Refusal;
use crate::request::{Method, Request};
use crate::response::Response;
use crate::route::{self, Access, Bucket, Reads};

mod entry;
mod operation;
mod resolve;

/// Who sees the figures and the conflicts of everybody.
const ADMINS: &[Role] = &[Role::Admin];

/// The most operations or entries of one request.
const OPERATIONS_MAX: usize = 1_000;

#[derive(Debug, Clone, Copy)]
pub(crate) enum Endpoint {
    Queue,
    Pending,
    Process,
    Resolve,
    Retry,
    Stats,
    Conflicts,
    Batch,
    ProcessMany,
}

#[derive(Debug, Clone)]
pub(crate) enum Reply {
    Queue,
    Pending,
    Process,
    Resolve,
    Retry,
    Stats,
    Conflicts { feed: FeedId },
    Batch { errors: Vec<Option<String>> },
    ProcessMany,
}

const fn endpoint(
    id: &'static str,
    method: Method,
    path: &'static str,
    reads: Endpoint,
) -> route::Endpoint {
    route::Endpoint {
        id,
        dialect: Some(Dialect::Health),
        method,
        path,
        access: Access::Anyone,
        bucket: Bucket::Sync,
        body_max: route::BODY_MAX,
        reads: Reads::Health(reads),
    }
}

const fn step(endpoint: route::Endpoint) -> route::Endpoint {
    route::Endpoint { bucket: Bucket::Step, ..endpoint }
}

const fn admins(endpoint: route::Endpoint) -> route::Endpoint {
    route::Endpoint { access: Access::Roles(ADMINS), ..endpoint }
}

pub(crate) const ENDPOINTS: &[route::Endpoint] = &[
    step(endpoint("E4-1", Method::Post, "/api/v1/sync/queue", Endpoint::Queue)),
    endpoint("E4-2", Method::Get, "/api/v1/sync/pending", Endpoint::Pending),
    step(endpoint("E4-3", Method::Post, "/api/v1/sync/process/{id}", Endpoint::Process)),
    endpoint("E4-4", Method::Patch, "/api/v1/sync/resolve/{id}", Endpoint::Resolve),
    endpoint("E4-5", Method::Post, "/api/v1/sync/retry", Endpoint::Retry),
    admins(endpoint("E4-6", Method::Get, "/api/v1/sync/stats", Endpoint::Stats)),
    admins(endpoint("E4-7", Method::Get, "/api/v1/sync/conflicts", Endpoint::Conflicts)),
    endpoint("E4-8", Method::Post, "/api/v1/sync/batch", Endpoint::Batch),
    endpoint("E4-9", Method::Post, "/api/v1/sync/process", Endpoint::ProcessMany),
];

pub(crate) fn read(
    endpoint: Endpoint,
    part: &str,
    request: &Request,
    caller: &Caller,
) -> Result<(Command, Reply), Refusal> {
    match endpoint {
        Endpoint::Queue => {
            let body = Json::Object(object(request)?);
            let queued = operation::read(&body, caller)?;
            let queue = Queue { operations: vec![queued], refused: Vec::new(), then: Then::Wait };
            Ok((Command::Queue(queue), Reply::Queue))
        }
        Endpoint::Batch => batch(request, caller),
        Endpoint::Process => {
            Ok((Command::Process { entries: vec![part.to_owned()] }, Reply::Process))
        }
        Endpoint::ProcessMany => {
            Ok((Command::Process { entries: ids(request)? }, Reply::ProcessMany))
        }
        Endpoint::Pending => {
            let (user, device) = owner(request, caller)?;
            Ok((Command::Journal(JournalQuery { user, device }), Reply::Pending))
        }
        Endpoint::Retry => {
            let (user, device) = owner(request, caller)?;
            let retry = Retry { user, device: Some(device), entries: Vec::new() };
            Ok((Command::Retry(retry), Reply::Retry))
        }
        Endpoint::Resolve => Ok((Command::Resolve(resolve::read(part, request)?), Reply::Resolve)),
        Endpoint::Stats => {
            let whose = request.parameter("userId").map_or(Whose::Tenant, Whose::User);
            Ok((Command::Tally(whose), Reply::Stats))
        }
        Endpoint::Conflicts => {
            let collection = request.parameter("resourceType");
            let query = inbox::query(request, caller.feed, collection)?;
            Ok((Command::Conflicts(query), Reply::Conflicts { feed: caller.feed }))
        }
    }
}

/// The user and the device in the query: the caller's own, unless he is an admin.
fn owner(request: &Request, caller: &Caller) -> Result<(String, String), Refusal> {
    let (user, device) = (request.parameter("userId"), request.parameter("deviceId"));
    let missing = |name: &str| Fault::new(name, format!("{name} is required"));
    let (Some(user), Some(device)) = (&user, &device) else {
        let absent = [("deviceId", device.is_none()), ("userId", user.is_none())];
        let faults = absent.iter().filter(|(_, absent)| *absent).map(|(name, _)| missing(name));
        return Err(Refusal::Invalid { faults: faults.collect() });
    };
    if !caller.is(user) && !caller.is_admin() {
        return Err(operation::foreign());
    }
    Ok((user.clone(), device.clone()))
}

fn batch(request: &Request, caller: &Caller) -> Result<(Command, Reply), Refusal> {
    let body = object(request)?;
    let mut form = Form::new(&body, "");
    let list = form.need_list("operations");
    if list.is_some_and(|list| list.len() > OPERATIONS_MAX) {
        form.fault("operations", format!("A batch can have at most {OPERATIONS_MAX} operations"));
    }
    form.finish().map_err(|faults| Refusal::Invalid { faults })?;
    let (mut operations, mut errors, mut refused) = (Vec::new(), Vec::new(), Vec::new());
    for json in list.into_iter().flatten() {
        let faults = match operation::read(json, caller) {
            Ok(queued) => {
                operations.push(queued);
                errors.push(None);
                continue;
            }
            Err(Refusal::Invalid { faults }) => faults,
            Err(Refusal::Forbidden { why }) => vec![Fault::new("", why)],
            Err(other) => return Err(other),
        };
        let texts: Vec<&str> = faults.iter().map(|fault| fault.message.as_str()).collect();
        errors.push(Some(texts.join("; ")));
        let device = json.get("deviceId").and_then(Json::as_str).map(str::to_owned);
        refused.push(Refused { device, ..Refused::new(json, faults) });
    }
    let queue = Queue { operations, refused, then: Then::Process };
    Ok((Command::Queue(queue), Reply::Batch { errors }))
}

fn ids(request: &Request) -> Result<Vec<String>, Refusal> {
    let body = object(request)?;
    let mut form = Form::new(&body, "");
    let ids = form.need("ids", "a list of texts", crate::form::texts);
    if ids.as_ref().is_some_and(|ids| ids.len() > OPERATIONS_MAX) {
        form.fault("ids", format!("ids can name at most {OPERATIONS_MAX} operations"));
    }
    form.finish().map_err(|faults| Refusal::Invalid { faults })?;
    Ok(ids.unwrap_or_default())
}

impl Reply {
    pub(crate) fn answer(&self, outcome: Outcome) -> Result<Response, Refusal> {
        match (self, outcome) {
            (Self::Queue, Outcome::Entries(entries)) => {
                let entry = entries.into_iter().next().flatten().ok_or(MISFIT)?;
                Ok(entry::queued(&entry))
            }
            (Self::Pending, Outcome::Entries(entries)) => Ok(entry::pending(&entries)),
            (Self::Process, Outcome::Entries(entries)) => {
                let entry = entries.into_iter().next().flatten();
                let entry = entry.ok_or_else(|| Refusal::missing("Operation"))?;
                entry::processed(&entry).map(|body| Response::json(200, &body))
            }
            (Self::ProcessMany, Outcome::Entries(entries)) => {
                let results: Vec<Json> = entries.iter().map(result).collect();
                Ok(Response::json(200, &json!({ "results": results })))
            }
            (Self::Batch { errors }, Outcome::Entries(entries)) => batched(errors, &entries),
            (Self::Resolve, Outcome::Resolved(resolved)) => Ok(resolve::answer(&resolved)),
            (Self::Retry, Outcome::Retried(retried)) => Ok(retry_counts(retried)),
            (Self::Stats, Outcome::Tally(tally)) => Ok(stats(tally)),
            (Self::Conflicts { feed }, Outcome::Conflicts(page)) => {
                Ok(resolve::listed(&page, *feed))
            }
            _ => Err(MISFIT),
        }
    }
}

/// What became of one of several entries.
fn result(entry: &Option<Entry>) -> Json {
    match entry {
        None => entry::failed("Operation not found"),
        Some(entry) => {
            let mut body = entry::processed(entry)
                .unwrap_or_else(|_| entry::failed("Could not be stored; send it again"));
            body["id"] = entry.id.clone().into();
            body
        }
    }
}

fn batched(errors: &[Option<String>], entries: &[Option<Entry>]) -> Result<Response, Refusal> {
    let mut entries = entries.iter();
    let mut results = Vec::with_capacity(errors.len());
    for error in errors {
        results.push(match error {
            Some(error) => entry::failed(error),
            None => result(entries.next().ok_or(MISFIT)?),
        });
    }
    Ok(Response::json(200, &json!({ "results": results })))
}

fn retry_counts(retried: Retried) -> Response {
    let all = retried.synced + retried.failed + retried.conflicts;
    let body = json!({
        "retried": all, "synced": retried.synced, "failed": retried.failed,
        "conflicts": retried.conflicts,
    });
    Response::json(200, &body)
}

fn stats(tally: Tally) -> Response {
    // An entry that is being processed is not done yet.
    let pending = tally.pending + tally.syncing;
    let total = pending + tally.synced + tally.failed + tally.conflicts;
    let rate = match total {
        0 => 0.0,
        total => tally.synced as f64 / total as f64 * 100.0,
    };
    let body = json!({
        "total": total, "pending": pending, "synced": tally.synced, "failed": tally.failed,
        "conflicts": tally.conflicts, "syncRate": format!("{rate:.2}%"),
    });
    Response::json(200, &body)
}
