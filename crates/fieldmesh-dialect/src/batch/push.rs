//! Takes a batch of events in, in the order in which they happened.

use serde_json::{Value as Json, json};

use super::event;
use super::spelling::{Spelling, unified};
use crate::caller::Caller;
use crate::command::{Device, Push, Refused};
use crate::form::{Form, object};
use crate::outcome::{Fate, Pushed};
use crate::refusal::Refusal;
use crate::request::Request;
use crate::response::{FAULTS_MAX, Response};

/// The most events that one request stores anew. The contract states no limit, so a longer queue
/// is taken in part: the client keeps what is not listed as synced and sends it again.
const EVENTS_MAX: usize = 1_000;

/// The events of a batch, as their answer needs them.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    spelling: Spelling,
    /// The ids of the operations, in their order.
    ids: Vec<String>,
    /// What is wrong with events that did not become operations.
    errors: Vec<String>,
}

pub(super) fn read(request: &Request, caller: &Caller) -> Result<(Push, Sent), Refusal> {
    let body = object(request)?;
    let spelling = Spelling::of(&body);
    let contradiction = |fault| Refusal::Invalid { faults: vec![fault] };
    let body = unified(body).map_err(contradiction)?;
    let mut form = Form::new(&body, "");
    let tenant = form.read("tenantId", "text", Json::as_str);
    let events = form.need_list("events");
    let described = form.object("deviceInfo");
    form.finish().map_err(|faults| Refusal::Invalid { faults })?;
    if tenant.is_some_and(|tenant| !caller.is_of(tenant)) {
        return Err(Refusal::forbidden("Tenant does not match the token"));
    }
    let device = match described {
        Some(members) => device(&unified(members.clone()).map_err(contradiction)?),
        None => Device::default(),
    };
    let device = Device { id: named(&device.id, request), ..device };
    let (mut operations, mut errors, mut refused) = (Vec::new(), Vec::new(), Vec::new());
    for (position, json) in events.into_iter().flatten().enumerate() {
        match event::read(json, &device.id, caller) {
            Ok(operation) => operations.push((operation.at, operation, id(json, position))),
            Err(faults) => {
                refused.push(Refused::new(json, faults.clone()));
                let texts = faults.into_iter().map(|fault| fault.message).collect::<Vec<_>>();
                errors.push(format!("Event {}: {}", id(json, position), texts.join("; ")));
            }
        }
    }
    // A stable sort keeps the order of the request where times are equal.
    operations.sort_by_key(|(at, _, _)| *at);
    let (operations, ids) =
        operations.into_iter().map(|(_, operation, id)| (operation, id)).unzip();
    let device = (!device.id.is_empty()).then_some(device);
    let stores_max = Some(EVENTS_MAX);
    let push = Push { device, operations, refused, stores_max, ..Push::default() };
    Ok((push, Sent { spelling, ids, errors }))
}

fn device(members: &serde_json::Map<String, Json>) -> Device {
    let text = |key: &str| members.get(key).and_then(Json::as_str).map(str::to_owned);
    Device {
        id: text("deviceId").unwrap_or_default(),
        label: None,
        platform: text("platform"),
        app_version: text("appVersion"),
    }
}

fn named(described: &str, request: &Request) -> String {
    match described.is_empty() {
        true => request.header("x-device-id").unwrap_or_default().to_owned(),
        false => described.to_owned(),
    }
}

/// What to call an event in an error: its id, or its place if it has none.
fn id(event: &Json, position: usize) -> String {
    let name = event.get("id").and_then(crate::name::Name::from_json);
    name.map_or_else(|| format!("at position {position}"), |name| name.to_string())
}

impl Sent {
    pub(super) fn answer(&self, pushed: &Pushed) -> Result<Response, Refusal> {
        if pushed.fates.len() != self.ids.len() {
            return Err(Refusal::Failed);
        }
        let (mut synced, mut conflicts) = (Vec::new(), Vec::new());
        let mut errors = self.errors.clone();
        for (id, fate) in self.ids.iter().zip(&pushed.fates) {
            match fate {
                Fate::Stored(_) | Fate::Duplicate { .. } | Fate::Settled { .. } => {
                    synced.push(id.clone());
                }
                Fate::Conflict(conflict) => conflicts.push(event::conflict(&conflict.whole())),
                Fate::Rejected(reason) => {
                    errors.push(format!("Event {id}: {}", reason.text(&[])));
                }
                Fate::Deferred => {}
            }
        }
        let more = errors.len().saturating_sub(FAULTS_MAX);
        if more > 0 {
            errors.truncate(FAULTS_MAX);
            errors.push(format!("{more} more events were not stored"));
        }
        let mut body = json!({ "conflicts": conflicts, "errors": errors });
        body[self.spelling.synced()] = json!(synced);
        Ok(Response::json(200, &body))
    }
}
