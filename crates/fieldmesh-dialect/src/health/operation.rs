//! One operation on its way into the journal.

use fieldmesh_model::Fields;
use serde_json::{Map, Value as Json, json};

use crate::caller::Caller;
use crate::command::{Action, Base, Identity, NameForm, Operation, Queued, Reference};
use crate::form::{Form, whole};
use crate::name::Name;
use crate::payload::pack;
use crate::refusal::Refusal;

/// What to say of an operation of somebody else.
pub(super) fn foreign() -> Refusal {
    Refusal::forbidden("userId does not match the token")
}

/// The operation that `json` means.
pub(super) fn read(json: &Json, caller: &Caller) -> Result<Queued, Refusal> {
    let Json::Object(members) = json else {
        return Err(Refusal::fault("", "Operation must be an object"));
    };
    let mut form = Form::new(members, "");
    let id = form.text("id").filter(|id| !id.is_empty()).map(str::to_owned);
    let user = form.need_name("userId").map(str::to_owned);
    let device = form.need_name("deviceId").map(str::to_owned);
    let action = form.need_word("operation", &Action::WORDS);
    let collection = form.need_name("resourceType").map(str::to_owned);
    let named = form.read("resourceId", "a text", Name::from_json);
    let data = match action {
        Some(Action::Delete) => form.object("data"),
        _ => form.need_object("data"),
    };
    let at = form.need_moment("createdAtClient");
    let version = form.read("version", "a whole number", whole);
    if named.is_none() && matches!(action, Some(Action::Update | Action::Delete)) {
        form.fault("resourceId", "resourceId is required for UPDATE and DELETE");
    }
    form.finish().map_err(|faults| Refusal::Invalid { faults })?;
    let (Some(user), Some(device), Some(action), Some(collection), Some(at)) =
        (user, device, action, collection, at)
    else {
        return Err(Refusal::Malformed);
    };
    if !caller.is(&user) && !caller.is_admin() {
        return Err(foreign());
    }
    let inner = data.and_then(|data| data.get("id")).and_then(Name::from_json);
    let wants = NameForm::Text;
    let identity = named.or(inner).map_or(Identity::Unnamed { wants }, Identity::Named);
    let mut fields = Fields::new();
    if let Some(data) = data.filter(|_| action != Action::Delete) {
        pack(data, "", &mut fields);
    }
    let operation = Operation {
        identity,
        action,
        collection,
        fields,
        base: match action {
            Action::Create => Base::New,
            Action::Update | Action::Delete => {
                Base::Version(version.and_then(|version| u64::try_from(version).ok()).unwrap_or(1))
            }
        },
        at,
        key: Some(id.clone().unwrap_or_else(|| key(members))),
        references: vec![Reference::new("patientId", "patient", false)],
    };
    Ok(Queued { id, user, device, operation })
}

/// What makes a repeated operation without an id the same one.
fn key(members: &Map<String, Json>) -> String {
    let named = [
        "userId",
        "deviceId",
        "operation",
        "resourceType",
        "resourceId",
        "createdAtClient",
        "data",
    ];
    let parts: Vec<&Json> =
        named.iter().map(|key| members.get(*key).unwrap_or(&Json::Null)).collect();
    let hash =
        blake3::derive_key("fieldmesh/dialect-operation/1", json!(parts).to_string().as_bytes());
    data_encoding::HEXLOWER.encode(&hash[..16])
}
