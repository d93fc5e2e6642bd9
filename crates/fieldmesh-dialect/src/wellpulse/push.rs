//! Takes entries in and says what became of each.

use fieldmesh_model::{Fault, Moment};
use serde_json::{Map, Value as Json, json};

use super::{NOUNS, entry};
use crate::caller::Caller;
use crate::command::{Device, Push, Refused, Resolution};
use crate::form::{Form, object};
use crate::outcome::{Conflict, ConflictKind, Fate, Pushed, Reason};
use crate::reason::below;
use crate::refusal::Refusal;
use crate::request::Request;
use crate::response::Response;

/// The most entries of one push.
const ENTRIES_MAX: usize = 1_000;

/// What a client can choose to settle conflicts.
const RESOLUTIONS: [Resolution; 3] =
    [Resolution::ServerWins, Resolution::ClientWins, Resolution::Merge];

/// The entries of a push, as their answer needs them.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    entries: Vec<Entry>,
}

#[derive(Debug, Clone)]
struct Entry {
    well: String,
    recorded_at: Option<Moment>,
    /// What is wrong with it, if it did not become an operation.
    faults: Option<Vec<Fault>>,
}

pub(super) fn read(request: &Request, caller: &Caller) -> Result<(Push, Sent), Refusal> {
    let body = object(request)?;
    let mut form = Form::new(&body, "");
    let device = form.need_name("deviceId").map(str::to_owned);
    let entries = form.need_list("entries");
    if entries.is_some_and(|entries| entries.len() > ENTRIES_MAX) {
        form.fault("entries", format!("A push can have at most {ENTRIES_MAX} entries"));
    }
    let resolution = form.resolution("conflictResolution", &RESOLUTIONS);
    form.finish().map_err(|faults| Refusal::Invalid { faults })?;
    let (Some(device), Some(list)) = (device, entries) else { return Err(Refusal::Malformed) };
    let (mut operations, mut refused) = (Vec::with_capacity(list.len()), Vec::new());
    let mut entries = Vec::with_capacity(list.len());
    for json in list {
        let faults = match entry::read(json, &device, caller) {
            Ok(operation) => {
                operations.push(operation);
                None
            }
            Err(faults) => {
                refused.push(Refused::new(json, faults.clone()));
                Some(faults)
            }
        };
        entries.push(Entry::new(json, faults));
    }
    let sent = Sent { entries };
    if operations.is_empty() && !sent.entries.is_empty() {
        let faults = sent.entries.iter().map(|entry| entry.faults.clone().unwrap_or_default());
        return Err(Refusal::Invalid { faults: numbered(faults.collect()) });
    }
    let push = Push {
        device: Some(Device::new(&device)),
        operations,
        resolution,
        refused,
        stores_max: None,
    };
    Ok((push, sent))
}

impl Entry {
    fn new(json: &Json, faults: Option<Vec<Fault>>) -> Self {
        let empty = Map::new();
        let members = json.as_object().unwrap_or(&empty);
        let well = members.get("wellId").and_then(Json::as_str).unwrap_or_default().to_owned();
        let recorded_at = members.get("recordedAt").and_then(crate::form::moment);
        Self { well, recorded_at, faults }
    }
}

/// The faults of a batch: those of a single entry stand alone, several are numbered.
fn numbered(entries: Vec<Vec<Fault>>) -> Vec<Fault> {
    if entries.len() == 1 {
        return entries.into_iter().flatten().collect();
    }
    entries
        .into_iter()
        .enumerate()
        .flat_map(|(index, faults)| below("entries", index, faults))
        .collect()
}

impl Sent {
    pub(super) fn answer(&self, pushed: Pushed) -> Result<Response, Refusal> {
        let mut fates = pushed.fates.into_iter();
        let mut ended = Vec::with_capacity(self.entries.len());
        for entry in &self.entries {
            ended.push(match &entry.faults {
                Some(faults) => Fate::Rejected(Reason::Invalid { faults: faults.clone() }),
                None => fates.next().ok_or(Refusal::Failed)?,
            });
        }
        self.refusal(&ended).map_or_else(|| Ok(self.report(&ended, pushed.at)), Err)
    }

    /// The refusal of the whole request, if nothing of it could be stored.
    fn refusal(&self, ended: &[Fate]) -> Option<Refusal> {
        let mut reasons = Vec::with_capacity(ended.len());
        for fate in ended {
            match fate {
                Fate::Rejected(reason) => reasons.push(reason),
                Fate::Stored(_)
                | Fate::Duplicate { .. }
                | Fate::Settled { .. }
                | Fate::Conflict(_)
                | Fate::Deferred => return None,
            }
        }
        let first = *reasons.first()?;
        let all = |is_alike: fn(&Reason) -> bool| reasons.iter().all(|reason| is_alike(reason));
        // Alike reasons have a status of their own; a mixture is a bad request.
        let is_alike = all(|reason| matches!(reason, Reason::NoReference { .. }))
            || all(|reason| matches!(reason, Reason::Forbidden { .. }))
            || all(|reason| matches!(reason, Reason::Failed));
        if is_alike {
            return Some(match first.refusal(NOUNS) {
                Refusal::Missing { what } => Refusal::Missing { what: self.named(&what) },
                other => other,
            });
        }
        let faults = reasons.iter().map(|reason| reason.faults(NOUNS)).collect();
        Some(Refusal::Invalid { faults: numbered(faults) })
    }

    /// The thing and the wells that were named, each once.
    fn named(&self, what: &str) -> String {
        const SHOWN_MAX: usize = 10;
        let mut wells: Vec<&str> = self.entries.iter().map(|entry| entry.well.as_str()).collect();
        wells.sort_unstable();
        wells.dedup();
        let more = if wells.len() > SHOWN_MAX { ", …" } else { "" };
        wells.truncate(SHOWN_MAX);
        format!("{what} {}{more}", wells.join(", "))
    }

    fn report(&self, ended: &[Fate], at: Moment) -> Response {
        let (mut succeeded, mut failed) = (0, 0);
        let (mut conflicts, mut errors, mut results) = (Vec::new(), Vec::new(), Vec::new());
        for (index, (entry, fate)) in self.entries.iter().zip(ended).enumerate() {
            let (status, name) = match fate {
                Fate::Stored(stored) if stored.again => ("DUPLICATE", Some(&stored.record.name)),
                Fate::Stored(stored) => ("STORED", Some(&stored.record.name)),
                Fate::Duplicate { name } => ("DUPLICATE", Some(name)),
                Fate::Settled { by, conflict } => {
                    conflicts.push(entry.conflict(conflict, *by));
                    ("CONFLICT", Some(&conflict.name))
                }
                Fate::Conflict(conflict) => {
                    conflicts.push(entry.conflict(conflict, Resolution::Manual));
                    ("CONFLICT", Some(&conflict.name))
                }
                Fate::Rejected(reason) => {
                    errors.push(json!({ "wellId": entry.well, "error": reason.text(NOUNS) }));
                    ("REJECTED", None)
                }
                Fate::Deferred => {
                    let text = "Too many entries at once; send it again";
                    errors.push(json!({ "wellId": entry.well, "error": text }));
                    ("REJECTED", None)
                }
            };
            match status {
                "REJECTED" => failed += 1,
                _ => succeeded += 1,
            }
            let name = name.map(crate::name::Name::to_json);
            results.push(json!({ "index": index, "entryId": name, "status": status }));
        }
        let body = json!({
            "succeeded": succeeded, "failed": failed, "conflicts": conflicts, "errors": errors,
            "syncedAt": at, "results": results,
        });
        Response::json(200, &body)
    }
}

impl Entry {
    fn conflict(&self, conflict: &Conflict, by: Resolution) -> Json {
        let reason = match conflict.kind {
            ConflictKind::Field | ConflictKind::Duplicate => {
                "An entry for this well, time and device exists with different data"
            }
            ConflictKind::DeletedAndEdited => "The entry was deleted",
        };
        // Until a person decides, what the server had is what everybody sees.
        let resolution = match by {
            Resolution::ClientWins => "CLIENT_WINS",
            Resolution::Merge => "MERGED",
            Resolution::ServerWins | Resolution::LastWriteWins | Resolution::Manual => {
                "SERVER_WINS"
            }
        };
        json!({
            "entryId": conflict.name.to_json(), "wellId": self.well,
            "recordedAt": self.recorded_at, "reason": reason, "resolution": resolution,
        })
    }
}
