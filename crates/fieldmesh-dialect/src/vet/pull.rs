//! Gives out what arrived since a time, a hundred records of each type at once.

use std::sync::Arc;

use fieldmesh_model::Moment;
use serde_json::{Value as Json, json};

use super::{collection, data, entity_type};
use crate::caller::Caller;
use crate::command::{Pull, Wanted};
use crate::cursor::Since;
use crate::outcome::{Happened, Item, Page};
use crate::refusal::Refusal;
use crate::request::Request;
use crate::response::Response;

/// The most records of one type in one answer.
const EACH_MAX: usize = 100;
/// The most types that a client can name.
const TYPES_MAX: usize = 64;

pub(super) fn read(request: &Request, caller: &Caller) -> Result<Pull, Refusal> {
    let number = |name: &str| match request.parameter(name) {
        None => Ok(None),
        // What JavaScript makes of a cursor that was lost: the client starts anew.
        Some(text) if ["undefined", "null", "NaN"].contains(&text.as_str()) => Ok(None),
        Some(text) => {
            let message = format!("{name} must be a whole number");
            text.trim().parse::<i64>().map(Some).map_err(|_| Refusal::fault(name, &message))
        }
    };
    let since = match number("lastSyncTimestamp")? {
        None | Some(0) => Since::Start,
        Some(millis) => Since::Arrival(Moment::from_millis(millis)),
    };
    let practice = number("practiceId")?;
    if practice.is_some_and(|practice| !caller.belongs_to(practice)) {
        return Err(Refusal::forbidden("practiceId does not match the token"));
    }
    let types = request.parameter("entityTypes").unwrap_or_default();
    let types: Vec<&str> =
        types.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    if types.len() > TYPES_MAX {
        let message = format!("entityTypes can name at most {TYPES_MAX} types");
        return Err(Refusal::fault("entityTypes", &message));
    }
    let mut pull = Pull::new(since);
    pull.device = caller.device.clone();
    pull.wanted = types.into_iter().map(|name| Wanted::new(collection(name))).collect();
    pull.practice = practice;
    pull.each_max = Some(EACH_MAX);
    pull.by_time = true;
    Ok(pull)
}

pub(super) fn answer(page: &Page) -> Response {
    let change = |item: &Arc<Item>| {
        let record = &item.record;
        let operation = match item.happened {
            Happened::Created => "create",
            Happened::Updated => "update",
            Happened::Removed => "delete",
        };
        json!({
            "entityType": entity_type(&record.collection), "operation": operation,
            "data": data(record), "id": record.name.to_json(), "version": record.version,
            "updatedAt": record.arrived_at,
        })
    };
    let changes: Vec<Json> = page.items.iter().map(change).collect();
    let body = json!({
        "success": true, "timestamp": page.at.as_millis(), "changes": changes,
        "hasMore": page.more, "nextTimestamp": page.until.as_millis(),
    });
    Response::json(200, &body)
}
