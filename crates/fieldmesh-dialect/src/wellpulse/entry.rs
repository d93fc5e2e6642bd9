//! Reads one field entry.
//!
//! Refused is what the contract calls a bad request: missing members, wrong types, an unknown
//! `entryType` and a negative oil volume. All other rules of the collection are for the store,
//! which lists what breaks them.

use std::sync::LazyLock;

use fieldmesh_model::catalogue::{self, wells};
use fieldmesh_model::schema::Kind;
use fieldmesh_model::{Collection, Fault, Fields, Moment, Value};
use serde_json::{Map, Value as Json};

use super::{ENTRY, WELL};
use crate::caller::Caller;
use crate::command::{Action, Base, Identity, Operation, Reference};
use crate::form::{self, Form};
use crate::name::Name;
use crate::payload;

const TYPES: [&str; 3] = ["PRODUCTION", "INSPECTION", "MAINTENANCE"];

/// The one rule about a value that the contract itself states.
const NEVER_NEGATIVE: &str = "data.oilVolume";

static COLLECTION: LazyLock<Collection> = LazyLock::new(|| {
    let unknown = || Collection::unknown(wells::FIELD_ENTRY);
    catalogue::numbered(wells::FIELD_ENTRY).cloned().unwrap_or_else(unknown)
});

/// The operation that stores `entry`.
pub(super) fn read(entry: &Json, device: &str, caller: &Caller) -> Result<Operation, Vec<Fault>> {
    let Json::Object(members) = entry else {
        return Err(vec![Fault::new("", "Entry must be an object")]);
    };
    let mut form = Form::new(members, "");
    let name = form.read("id", "a UUID", Name::from_json);
    let key = name.as_ref().map(Name::to_string);
    let identity = name.map_or(Identity::Key, Identity::Named);
    let well = form.need_text("wellId");
    let kind = entry_type(&mut form);
    let recorded_at = form.need_moment("recordedAt");
    let mut fields = Fields::new();
    if let Some(data) = form.need_object("data") {
        put_data(&mut form, data, &|variant| kind.is_none_or(|kind| variant == kind), &mut fields);
    }
    put_optional(&mut form, &mut fields);
    if form.text("createdBy").is_some_and(|user| !caller.is(user)) {
        form.fault("createdBy", "createdBy must be the current user");
    }
    form.finish()?;
    let (Some(well), Some(kind), Some(recorded_at)) = (well, kind, recorded_at) else {
        return Err(vec![Fault::new("", "Entry is incomplete")]);
    };
    fields.insert("wellId".to_owned(), well.trim().into());
    fields.insert("entryType".to_owned(), kind.into());
    fields.insert("recordedAt".to_owned(), recorded_at.into());
    fields.insert("deviceId".to_owned(), device.into());
    Ok(Operation {
        identity,
        action: Action::Create,
        collection: ENTRY.to_owned(),
        fields,
        base: Base::New,
        at: recorded_at,
        key,
        references: vec![Reference::new("wellId", WELL, true)],
    })
}

/// The operation that changes the entry called `name`.
pub(super) fn read_edit(
    name: Name,
    members: &Map<String, Json>,
    base: Base,
    at: Moment,
) -> Result<Operation, Vec<Fault>> {
    let mut form = Form::new(members, "");
    let mut fields = Fields::new();
    if let Some(data) = form.object("data") {
        put_data(&mut form, data, &|_| true, &mut fields);
    }
    put_optional(&mut form, &mut fields);
    for key in ["notes", "photos", "latitude", "longitude"] {
        if members.get(key).is_some_and(Json::is_null) {
            fields.insert(key.to_owned(), Value::Null);
        }
    }
    form.finish()?;
    if fields.is_empty() {
        return Err(vec![Fault::new("", "Nothing to change")]);
    }
    Ok(Operation {
        identity: Identity::Named(name),
        action: Action::Update,
        collection: ENTRY.to_owned(),
        fields,
        base,
        at,
        key: None,
        references: Vec::new(),
    })
}

fn entry_type(form: &mut Form<'_>) -> Option<&'static str> {
    let named = form.get("entryType").and_then(Json::as_str);
    let kind = TYPES.into_iter().find(|kind| Some(*kind) == named);
    if kind.is_none() {
        form.fault("entryType", "Entry type must be PRODUCTION, INSPECTION or MAINTENANCE");
    }
    kind
}

fn put_data(
    form: &mut Form<'_>,
    data: &Map<String, Json>,
    is_of: &dyn Fn(&str) -> bool,
    fields: &mut Fields,
) {
    for field in &COLLECTION.fields {
        let Some(key) = field.key.strip_prefix("data.") else { continue };
        let Some(json) = data.get(key).filter(|json| !json.is_null()) else { continue };
        if !field.variant.as_deref().is_none_or(is_of) {
            continue;
        }
        if let Some(wanted) = wrong_type(&field.kind, json) {
            form.fault(&field.key, format!("{} must be {wanted}", field.label));
        } else if field.key == NEVER_NEGATIVE && json.as_f64().is_some_and(|value| value < 0.0) {
            form.fault(&field.key, format!("{} cannot be negative", field.label));
        }
    }
    payload::pack(data, "data", fields);
}

/// What a value of `kind` has to be in JSON, if `json` is something else.
fn wrong_type(kind: &Kind, json: &Json) -> Option<&'static str> {
    let (is_right, wanted) = match kind {
        Kind::Number { .. } | Kind::Integer { .. } => (json.is_number(), "a number"),
        Kind::Bool => (json.is_boolean(), "true or false"),
        Kind::TextList { .. } => (form::texts(json).is_some(), "a list of texts"),
        Kind::Text { .. } | Kind::Enum(_) | Kind::Moment | Kind::Day | Kind::Reference { .. } => {
            (json.is_string(), "text")
        }
        _ => (true, ""),
    };
    (!is_right).then_some(wanted)
}

fn put_optional(form: &mut Form<'_>, fields: &mut Fields) {
    for key in ["latitude", "longitude"] {
        if let Some(number) = form.read(key, "a number", Json::as_f64) {
            fields.insert(key.to_owned(), number.into());
        }
    }
    for key in ["notes", "priority"] {
        if let Some(text) = form.text(key) {
            fields.insert(key.to_owned(), text.into());
        }
    }
    if let Some(photos) = form.texts("photos") {
        fields.insert("photos".to_owned(), photos.into());
    }
}
