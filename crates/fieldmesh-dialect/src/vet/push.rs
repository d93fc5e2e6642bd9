//! Takes operations in, in the order of the request, and says what became of each.

use serde_json::{Value as Json, json};

use super::operation::{self, Batch, Unfit};
use super::shown;
use crate::caller::Caller;
use crate::command::{Device, NameForm, Push, Refused};
use crate::form::{Form, object, whole};
use crate::name::Name;
use crate::outcome::{Conflict, ConflictKind, Fate, Pushed};
use crate::refusal::Refusal;
use crate::request::Request;
use crate::response::Response;

/// What fields of an operation refer to.
const NOUNS: &[(&str, &str)] = &[("petId", "Pet"), ("practitionerId", "Practitioner")];

/// Fields that a comparison leaves out.
const UNCOMPARED: [&str; 3] = ["id", "createdAt", "updatedAt"];

/// The operations of a push, as their answer needs them.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    operations: Vec<Sending>,
}

#[derive(Debug, Clone)]
struct Sending {
    id: Option<Json>,
    kind: Json,
    temporary: Option<Json>,
    /// Whether it says itself on which version it is based.
    has_version: bool,
    /// Why it is none, if it did not become an operation.
    error: Option<String>,
}

pub(super) fn read(request: &Request, caller: &Caller) -> Result<(Push, Sent), Refusal> {
    let body = object(request)?;
    let mut form = Form::new(&body, "");
    let list = form.need_list("operations");
    let at = form.read("clientTimestamp", "a time in milliseconds", whole);
    form.finish().map_err(|faults| Refusal::Invalid { faults })?;
    let list: Vec<&Json> = list.into_iter().flatten().collect();
    let tenant = |json: &&Json| json.get("tenantId").and_then(Name::from_json);
    if list.iter().filter_map(tenant).any(|tenant| !caller.is_of(&tenant.to_string())) {
        return Err(Refusal::forbidden("tenantId does not match the token"));
    }
    let at = at.map_or(request.at, fieldmesh_model::Moment::from_millis);
    let batch = Batch { caller, at, wants: wanted_names(&list) };
    let (mut operations, mut sent, mut unfit) = (Vec::new(), Vec::new(), Vec::new());
    let mut refused = Vec::new();
    for json in list {
        let error = match operation::read(json, &batch) {
            Ok(operation) => {
                operations.push(operation);
                None
            }
            Err(reason) => {
                let text = reason.text();
                refused.push(Refused::new(json, reason.faults()));
                unfit.push(reason);
                Some(text)
            }
        };
        sent.push(Sending::new(json, error));
    }
    if operations.is_empty() && !sent.is_empty() {
        nothing_fits(&unfit)?;
    }
    let device = caller.device.as_deref().map(Device::new);
    Ok((Push { device, operations, refused, ..Push::default() }, Sent { operations: sent }))
}

/// Refuses a push of which nothing can be done: bad requests, or all of a foreign practice. One of
/// another user of the same device is answered, so that it does not hold up what comes later.
fn nothing_fits(unfit: &[Unfit]) -> Result<(), Refusal> {
    let all = |is_alike: fn(&Unfit) -> bool| unfit.iter().all(is_alike);
    if all(|unfit| matches!(unfit, Unfit::Faults(_))) {
        let faults = unfit.iter().enumerate().flat_map(|(index, unfit)| match unfit {
            Unfit::Faults(faults) => {
                crate::reason::below("operations", index, faults.clone()).collect()
            }
            Unfit::Foreign(_) => Vec::new(),
        });
        return Err(Refusal::Invalid { faults: faults.collect() });
    }
    if all(|unfit| matches!(unfit, Unfit::Foreign("practiceId"))) {
        return Err(Refusal::forbidden("practiceId does not match the token"));
    }
    Ok(())
}

/// The form of ids that the client uses, as far as its operations show it. A practice has a number
/// in every client, so it shows nothing; and people have the ids that a login gives, which are
/// UUIDs for all of them, so only a number shows something there.
fn wanted_names(list: &[&Json]) -> NameForm {
    let mut wants = NameForm::Unsaid;
    for json in list {
        let data = json.get("data").unwrap_or(&Json::Null);
        let of_records = [json.get("entityId"), data.get("id"), data.get("petId")];
        let of_people = [data.get("ownerId"), data.get("practitionerId")];
        if of_records.iter().chain(&of_people).flatten().any(|id| id.is_number()) {
            return NameForm::Number;
        }
        // A UUID is a lasting id; any other text may be a temporary one.
        if of_records.iter().flatten().filter_map(|id| id.as_str()).any(is_uuid) {
            wants = NameForm::Text;
        }
    }
    wants
}

fn is_uuid(text: &str) -> bool {
    text.parse::<fieldmesh_model::DocumentId>().is_ok()
}

impl Sending {
    fn new(json: &Json, error: Option<String>) -> Self {
        let given = |key: &str| json.get(key).filter(|value| !value.is_null()).cloned();
        let is_create = json
            .get("operation")
            .and_then(Json::as_str)
            .is_some_and(|word| word.eq_ignore_ascii_case("create"));
        let temporary = given("tempId").or_else(|| given("entityId").filter(|_| is_create));
        Self {
            id: given("id"),
            kind: given("entityType").unwrap_or(Json::Null),
            temporary: temporary.filter(Json::is_string),
            has_version: json.get("version").and_then(whole).is_some_and(|version| version > 0),
            error,
        }
    }
}

impl Sent {
    pub(super) fn answer(&self, pushed: &Pushed) -> Result<Response, Refusal> {
        let mut fates = pushed.fates.iter();
        let (mut processed, mut failed, mut conflicts) = (0, 0, 0);
        let mut results = Vec::with_capacity(self.operations.len());
        for operation in &self.operations {
            let mut result = json!({ "entityType": operation.kind, "success": false });
            if let Some(id) = &operation.id {
                result["operationId"] = id.clone();
            }
            let mut fail = |result: &mut Json, error: String| {
                failed += 1;
                result["conflict"] = false.into();
                result["error"] = error.into();
            };
            let fate = match &operation.error {
                None => Some(fates.next().ok_or(Refusal::Failed)?),
                Some(_) => None,
            };
            match (fate, &operation.error) {
                (Some(Fate::Conflict(conflict)), _) => {
                    conflicts += 1;
                    result["conflict"] = true.into();
                    result["conflictData"] = operation.conflict(&conflict.whole());
                }
                (Some(Fate::Rejected(reason)), _) => fail(&mut result, reason.text(NOUNS)),
                (Some(Fate::Deferred) | None, None) => {
                    fail(&mut result, "Too many operations at once; send it again".to_owned());
                }
                (Some(Fate::Deferred) | None, Some(error)) => fail(&mut result, error.clone()),
                (Some(fate), _) => {
                    processed += 1;
                    result["success"] = true.into();
                    result["realId"] = name(fate).map_or(Json::Null, Name::to_json);
                    if let Some(temporary) = &operation.temporary {
                        result["tempId"] = temporary.clone();
                    }
                }
            }
            results.push(result);
        }
        let body = json!({
            "success": true, "processed": processed, "failed": failed, "conflicts": conflicts,
            "results": results,
        });
        Ok(Response::json(200, &body))
    }
}

fn name(fate: &Fate) -> Option<&Name> {
    match fate {
        Fate::Stored(stored) => Some(&stored.record.name),
        Fate::Duplicate { name } => Some(name),
        Fate::Settled { conflict, .. } | Fate::Conflict(conflict) => Some(&conflict.name),
        Fate::Rejected(_) | Fate::Deferred => None,
    }
}

impl Sending {
    fn conflict(&self, conflict: &Conflict) -> Json {
        let (kind, about) = (
            &conflict.collection,
            match conflict.kind {
                ConflictKind::Field if self.is_timely(conflict) => "version",
                ConflictKind::Field | ConflictKind::Duplicate => "timestamp",
                ConflictKind::DeletedAndEdited => "delete",
            },
        );
        let keys = conflict.keys.iter().filter(|key| !UNCOMPARED.contains(&key.as_str()));
        json!({
            "localData": shown(kind, &conflict.client.fields),
            "serverData": shown(kind, &conflict.server.fields),
            "conflictType": about, "affectedFields": keys.collect::<Vec<_>>(),
        })
    }

    /// Whether the server's record is no newer than the operation, by whose time alone they would be
    /// in no conflict: only the version that it names tells of one.
    fn is_timely(&self, conflict: &Conflict) -> bool {
        let moments = conflict.server.arrived_at.zip(conflict.client.at);
        self.has_version && moments.is_some_and(|(server, client)| server <= client)
    }
}
