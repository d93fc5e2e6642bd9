//! One operation of an app.

use fieldmesh_model::{Fault, Fields, Moment, Value};
use serde_json::{Map, Value as Json};

use super::{APPOINTMENT, DURATION, collection, entity_type};
use crate::caller::Caller;
use crate::command::{Action, Base, Copied, Identity, NameForm, Operation, Reference};
use crate::form::{self, Form};
use crate::name::Name;
use crate::payload::pack;

/// Fields that only the server writes; what a client sends of them is ignored.
const PROTECTED: [&str; 5] = ["id", "createdAt", "updatedAt", "version", "tenantId"];

/// What a request says for all of its operations.
pub(super) struct Batch<'a> {
    pub(super) caller: &'a Caller,
    /// When an operation without a time was made.
    pub(super) at: Moment,
    /// The form of the ids that the client uses.
    pub(super) wants: NameForm,
}

/// Why an operation is not one.
pub(super) enum Unfit {
    /// It is not what the contract states.
    Faults(Vec<Fault>),
    /// It is somebody else's; the member that says so.
    Foreign(&'static str),
}

impl Unfit {
    pub(super) fn text(&self) -> String {
        let faults = self.faults();
        faults.iter().map(|fault| fault.message.as_str()).collect::<Vec<_>>().join("; ")
    }

    /// What is wrong with it.
    pub(super) fn faults(&self) -> Vec<Fault> {
        match self {
            Self::Faults(faults) => faults.clone(),
            Self::Foreign(what) => {
                vec![Fault::new(*what, format!("{what} does not match the token"))]
            }
        }
    }
}

/// The operation that `json` means.
pub(super) fn read(json: &Json, batch: &Batch<'_>) -> Result<Operation, Unfit> {
    let Json::Object(members) = json else {
        return Err(Unfit::Faults(vec![Fault::new("", "Operation must be an object")]));
    };
    let mut form = Form::new(members, "");
    let action = form.need_word("operation", &Action::WORDS);
    let kind = form.need_name("entityType");
    let data = match action {
        Some(Action::Delete) => form.object("data"),
        _ => form.need_object("data"),
    };
    let at = form
        .read("timestamp", "a time in milliseconds", form::whole)
        .map_or(batch.at, Moment::from_millis);
    let version = form.read("version", "a whole number", form::whole);
    let identity = identity(&mut form, action, data, batch.wants);
    form.finish().map_err(Unfit::Faults)?;
    own(members, batch.caller)?;
    let (Some(action), Some(kind), Some(identity)) = (action, kind, identity) else {
        return Err(Unfit::Faults(vec![Fault::new("", "Operation is incomplete")]));
    };
    let collection = collection(kind);
    let mut fields = Fields::new();
    if let Some(data) = data.filter(|_| action != Action::Delete) {
        pack(data, "", &mut fields);
        fields.retain(|key, _| !PROTECTED.contains(&key.as_str()));
        // What no schema knows may say whose it is beside its data alone.
        if action == Action::Create && entity_type(collection) == collection {
            let practice = members.get("practiceId").and_then(form::whole).map(Value::Int);
            practice.map(|practice| fields.entry("practiceId".to_owned()).or_insert(practice));
        }
        if collection == APPOINTMENT {
            appointment(&mut fields).map_err(|fault| Unfit::Faults(vec![fault]))?;
        }
    }
    Ok(Operation {
        identity,
        action,
        collection: collection.to_owned(),
        references: references(collection, action, &fields),
        fields,
        base: match (action, version.and_then(|version| u64::try_from(version).ok())) {
            (Action::Create, _) => Base::New,
            (Action::Update | Action::Delete, Some(version)) if version > 0 => {
                Base::Version(version)
            }
            (Action::Update | Action::Delete, _) => Base::Seen { at },
        },
        at,
        key: None,
    })
}

/// Which record: a temporary id of a create, else the id itself.
fn identity(
    form: &mut Form<'_>,
    action: Option<Action>,
    data: Option<&Map<String, Json>>,
    wants: NameForm,
) -> Option<Identity> {
    let kind = "a text or a whole number";
    let temporary = form.text("tempId").map(str::to_owned);
    let named = form.read("entityId", kind, Name::from_json);
    let inner = data.and_then(|data| data.get("id")).and_then(Name::from_json);
    match (action, temporary, named.or(inner)) {
        (Some(Action::Create), Some(name), _) => Some(Identity::Temporary { name, wants }),
        (Some(Action::Create), None, Some(name)) => {
            Some(Identity::Temporary { name: name.to_string(), wants })
        }
        (Some(Action::Create), None, None) => Some(Identity::Unnamed { wants }),
        (_, _, Some(name)) => Some(Identity::Named(name)),
        // An edit of what was made offline, before the app learned its lasting id.
        (_, Some(name), None) => Some(Identity::Temporary { name, wants }),
        (Some(_), None, None) => {
            form.fault("entityId", "entityId is required");
            None
        }
        (None, None, None) => None,
    }
}

/// Whether the operation is the caller's; a foreign one fails alone.
fn own(members: &Map<String, Json>, caller: &Caller) -> Result<(), Unfit> {
    let user = members.get("userId").and_then(Name::from_json);
    if user.is_some_and(|user| !caller.is(&user.to_string())) {
        return Err(Unfit::Foreign("userId"));
    }
    let practice = members.get("practiceId").and_then(form::whole);
    if practice.is_some_and(|practice| !caller.belongs_to(practice)) {
        return Err(Unfit::Foreign("practiceId"));
    }
    Ok(())
}

/// Dates become dates and durations whole numbers; the client's owner is never taken.
fn appointment(fields: &mut Fields) -> Result<(), Fault> {
    fields.remove("clientId");
    match fields.get("date") {
        Some(Value::Text(text)) => {
            let day = || fieldmesh_model::input::parse_day(text);
            let date = text.parse().ok().or_else(day);
            let date = date.ok_or_else(|| Fault::new("data.date", "date must be a date"))?;
            fields.insert("date".to_owned(), Value::Moment(date));
        }
        Some(Value::Int(millis)) => {
            let date = Moment::from_millis(*millis);
            fields.insert("date".to_owned(), Value::Moment(date));
        }
        Some(_) | None => {}
    }
    if let Some(Value::Text(minutes)) = fields.get(DURATION)
        && let Ok(minutes) = minutes.trim().parse::<i64>()
    {
        fields.insert(DURATION.to_owned(), Value::Int(minutes));
    }
    Ok(())
}

fn references(collection: &str, action: Action, fields: &Fields) -> Vec<Reference> {
    if collection != APPOINTMENT {
        return Vec::new();
    }
    let mut references = Vec::new();
    if action == Action::Create || fields.contains_key("petId") {
        let mut pet = Reference::new("petId", "pet", true);
        // An appointment keeps the owner of its creation though the pet changes hands.
        if action == Action::Create {
            pet.copied = Some(Copied { from: "ownerId".to_owned(), to: "clientId".to_owned() });
        }
        references.push(pet);
    }
    references.push(Reference::new("practitionerId", "user", false));
    references
}
