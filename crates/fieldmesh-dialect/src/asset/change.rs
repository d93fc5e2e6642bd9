//! One change of an entity, as it is read and as it is shown.

use fieldmesh_model::{Fault, Fields, Moment};
use serde_json::{Value as Json, json};

use crate::canonical::checksum;
use crate::command::{Action, Base, Identity, Operation};
use crate::form::{self, Form};
use crate::name::Name;
use crate::outcome::{Happened, Item, Record};
use crate::payload::{pack, unpack};

/// The operation that `change` means; without a time it was made when it arrived.
pub(super) fn read(change: &Json, arrived: Moment) -> Result<Operation, Vec<Fault>> {
    let Json::Object(members) = change else {
        return Err(vec![Fault::new("", "Change must be an object")]);
    };
    let mut form = Form::new(members, "");
    let collection = form.need_name("entityType");
    let name = form.need("entityId", "a UUID", Name::from_json);
    let action = form.need_word("operation", &Action::WORDS);
    let payload = match action {
        Some(Action::Delete) => form.object("payload"),
        _ => form.need_object("payload"),
    };
    let version = form.read("clientVersion", "a whole number of at least 1", version);
    let at = form.moment("timestamp").unwrap_or(arrived);
    form.finish()?;
    let (Some(collection), Some(name), Some(action)) = (collection, name, action) else {
        return Err(vec![Fault::new("", "Change is incomplete")]);
    };
    let mut fields = Fields::new();
    if let Some(payload) = payload.filter(|_| action != Action::Delete) {
        pack(payload, "", &mut fields);
    }
    Ok(Operation {
        identity: Identity::Named(name),
        action,
        collection: collection.to_owned(),
        fields,
        base: match (action, version) {
            (Action::Create, _) => Base::New,
            (Action::Update | Action::Delete, Some(version)) => Base::Version(version),
            (Action::Update | Action::Delete, None) => Base::Seen { at },
        },
        at,
        key: None,
        references: Vec::new(),
    })
}

fn version(json: &Json) -> Option<u64> {
    u64::try_from(form::whole(json)?).ok().filter(|version| *version >= 1)
}

/// A change of somebody else, in the shape of the client's own.
pub(super) fn show(item: &Item) -> Json {
    let record = &item.record;
    let operation = match item.happened {
        Happened::Created => Action::Create,
        Happened::Updated => Action::Update,
        Happened::Removed => Action::Delete,
    };
    let mut shown = entity(record);
    shown["operation"] = operation.as_str().into();
    shown["clientVersion"] = record.version.into();
    shown["timestamp"] = shown["lastModifiedAt"].clone();
    shown
}

/// An entity as it stands, with what tells whether it arrived as it was sent.
pub(super) fn entity(record: &Record) -> Json {
    let payload = unpack(&record.fields);
    json!({
        "entityType": record.collection, "entityId": record.name.to_json(),
        "checksum": checksum(&payload), "payload": payload,
        "lastModifiedBy": record.changed_by,
        "lastModifiedAt": record.changed_at.unwrap_or(record.arrived_at),
    })
}
