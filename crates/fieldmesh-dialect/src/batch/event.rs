//! One event, and how it is shown.
//!
//! The types that the source's server handled are checked as its handlers relied on them; all
//! others are kept as they are, known or not.

use fieldmesh_model::{Fault, Fields, Value};
use serde_json::{Map, Value as Json, json};

use super::{EVENT, spelling};
use crate::caller::Caller;
use crate::command::{Action, Base, Identity, Operation, Reference};
use crate::form::Form;
use crate::name::Name;
use crate::outcome::{Conflict, ConflictKind, Side};
use crate::payload;

const PRODUCTION: &str = "PRODUCTION_LOGGED";
const INSPECTED: &str = "EQUIPMENT_INSPECTED";

/// The exact reason of the contract.
const PRODUCED: &str = "Production data already exists for this well and timestamp";

/// The operation that stores `event`; `device` is the one of the batch.
pub(super) fn read(event: &Json, device: &str, caller: &Caller) -> Result<Operation, Vec<Fault>> {
    let Json::Object(members) = event else {
        return Err(vec![Fault::new("", "an event must be an object")]);
    };
    let members = spelling::unified(members.clone()).map_err(|fault| vec![fault])?;
    let mut form = Form::new(&members, "");
    let name = form.need("id", "a UUID", Name::from_json);
    let kind = form.need_text("type");
    let at = form.need_moment("timestamp");
    let device = form.text("deviceId").unwrap_or(device);
    let user = form.text("userId").unwrap_or(&caller.user);
    if form.get("payload").is_none() {
        form.fault("payload", "payload is required");
    }
    let handled = kind.filter(|kind| [PRODUCTION, INSPECTED].contains(kind));
    let payload = match handled {
        Some(_) => form.object("payload"),
        None => None,
    };
    form.finish()?;
    let (Some(name), Some(kind), Some(at)) = (name, kind, at) else {
        return Err(vec![Fault::new("", "the event is incomplete")]);
    };
    let mut fields = Fields::new();
    let whole: Map<String, Json> =
        members.iter().filter(|(key, _)| *key == "payload").map(clone).collect();
    payload::pack(&whole, "", &mut fields);
    if let Some(payload) = payload {
        check(kind, payload, at.into(), &mut fields)?;
    }
    fields.insert("type".to_owned(), kind.into());
    fields.insert("timestamp".to_owned(), at.into());
    fields.insert("deviceId".to_owned(), device.into());
    fields.insert("userId".to_owned(), user.into());
    Ok(Operation {
        key: Some(name.to_string()),
        identity: Identity::Named(name),
        action: Action::Create,
        collection: EVENT.to_owned(),
        fields,
        base: Base::New,
        at,
        references: vec![Reference::new("payload.wellId", "well", false)],
    })
}

fn clone((key, value): (&String, &Json)) -> (String, Json) {
    (key.clone(), value.clone())
}

/// Checks the payload of a type that has a handler, and fills in what its handler assumed.
fn check(
    kind: &str,
    payload: &Map<String, Json>,
    at: Value,
    fields: &mut Fields,
) -> Result<(), Vec<Fault>> {
    let mut form = Form::new(payload, "payload");
    form.need_text("wellId");
    let time = if kind == PRODUCTION {
        form.need("volume", "a number", Json::as_f64);
        let unit = form.text("unit").unwrap_or("barrels");
        fields.insert("payload.unit".to_owned(), unit.into());
        "recordedAt"
    } else {
        for key in ["equipmentId", "inspectionType", "status"] {
            form.need_text(key);
        }
        form.need("notes", "text", Json::as_str);
        "inspectedAt"
    };
    let given = match time {
        "recordedAt" => form.moment(time).map_or(at, Value::from),
        _ => form.need_moment(time).map_or(Value::Null, Value::from),
    };
    fields.insert(format!("payload.{time}"), given);
    form.finish()
}

/// An event as the app knows it.
pub(super) fn show(name: &Name, fields: &Fields) -> Json {
    let mut event = payload::unpack(fields);
    event.insert("id".to_owned(), name.to_json());
    Json::Object(event)
}

/// A conflict with all the members that server and app know.
pub(super) fn conflict(conflict: &Conflict) -> Json {
    let reason = match conflict.kind {
        ConflictKind::Duplicate => PRODUCED,
        ConflictKind::Field => "Event already exists with different data",
        ConflictKind::DeletedAndEdited => "Event was deleted",
    };
    let side = |side: &Side| show(side.name.as_ref().unwrap_or(&conflict.name), &side.fields);
    let server = side(&conflict.server);
    json!({
        "conflictId": conflict.id, "eventId": conflict.name.to_json(), "reason": reason,
        "localData": side(&conflict.client), "serverData": server, "existingData": server,
    })
}
