//! Changes up and changes down in one request.

use fieldmesh_model::Fault;
use serde_json::{Value as Json, json};

use super::{change, conflict, delta};
use crate::caller::Caller;
use crate::command::{Device, Pull, Push, Refused};
use crate::cursor::{Cursor, FeedId, Since};
use crate::form::{Form, object};
use crate::outcome::{Fate, Page, Pushed, Reason};
use crate::reason::below;
use crate::refusal::Refusal;
use crate::request::Request;
use crate::response::Response;

/// The most changes that one answer brings. The contract states no limit; the token of the answer
/// goes on behind them.
const CHANGES_MAX: usize = 10_000;

/// The changes of a request, as their answer needs them.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    feed: FeedId,
    changes: Vec<Change>,
}

#[derive(Debug, Clone)]
struct Change {
    entity: Json,
    /// What is wrong with it, if it did not become an operation.
    faults: Option<Vec<Fault>>,
}

pub(super) fn read(request: &Request, caller: &Caller) -> Result<(Push, Pull, Sent), Refusal> {
    let body = object(request)?;
    let mut form = Form::new(&body, "");
    let device = form.need_name("deviceId").map(str::to_owned);
    let label = form.text("deviceName").map(str::to_owned);
    let token = form.text("syncToken");
    let list = form.need_list("changes");
    let since = match token.map(|token| Cursor::parse(token, caller.feed)) {
        None => Since::Start,
        Some(Ok(cursor)) => Since::Place(cursor.place),
        Some(Err(error)) => {
            form.fault("syncToken", format!("syncToken {}", error.message()));
            Since::Start
        }
    };
    form.finish().map_err(|faults| Refusal::Invalid { faults })?;
    let (Some(device), Some(list)) = (device, list) else { return Err(Refusal::Malformed) };
    let (mut operations, mut changes, mut refused) = (Vec::new(), Vec::new(), Vec::new());
    for json in list {
        let faults = match change::read(json, request.at) {
            Ok(operation) => {
                operations.push(operation);
                None
            }
            Err(faults) => {
                refused.push(Refused::new(json, faults.clone()));
                Some(faults)
            }
        };
        let entity = json.get("entityId").cloned().unwrap_or(Json::Null);
        changes.push(Change { entity, faults });
    }
    if operations.is_empty() && !changes.is_empty() {
        let faults = |(index, change): (usize, Change)| {
            below("changes", index, change.faults.unwrap_or_default())
        };
        let faults = changes.into_iter().enumerate().flat_map(faults).collect();
        return Err(Refusal::Invalid { faults });
    }
    let mut pull = Pull::new(since);
    pull.device = Some(device.clone());
    pull.records_max = Some(CHANGES_MAX);
    let device = Device { id: device, label, ..Device::default() };
    let push = Push { device: Some(device), operations, refused, ..Push::default() };
    Ok((push, pull, Sent { feed: caller.feed, changes }))
}

impl Sent {
    pub(super) fn answer(&self, pushed: &Pushed, page: &Page) -> Result<Response, Refusal> {
        let mut fates = pushed.fates.iter();
        let (mut conflicts, mut results) = (Vec::new(), Vec::new());
        for (index, change) in self.changes.iter().enumerate() {
            let rejected;
            let fate = match &change.faults {
                None => fates.next().ok_or(Refusal::Failed)?,
                Some(faults) => {
                    rejected = Fate::Rejected(Reason::Invalid { faults: faults.clone() });
                    &rejected
                }
            };
            let mut result = json!({ "index": index, "entityId": change.entity });
            result["status"] = match fate {
                Fate::Stored(stored) => {
                    result["version"] = stored.record.version.into();
                    "COMPLETED"
                }
                Fate::Duplicate { .. } | Fate::Settled { .. } => "COMPLETED",
                Fate::Conflict(found) => {
                    conflicts.push(conflict::show(found));
                    conflicts.extend(found.beside.iter().map(conflict::show));
                    "CONFLICT"
                }
                Fate::Rejected(reason) => {
                    result["error"] = reason.text(&[]).into();
                    "FAILED"
                }
                Fate::Deferred => {
                    result["error"] = "Too many changes at once; send it again".into();
                    "FAILED"
                }
            }
            .into();
            results.push(result);
        }
        let changes: Vec<Json> = page.items.iter().map(|item| change::show(item)).collect();
        let body = json!({
            "syncToken": delta::token(self.feed, page.place, ""), "changes": changes,
            "conflicts": conflicts, "serverTime": page.at, "results": results,
        });
        Ok(Response::json(200, &body))
    }
}
