//! Records as this dialect shows them.

use serde_json::{Map, Value as Json, json};

use crate::outcome::Record;
use crate::payload::unpack;

/// The roles that the contract names; it has no word for users with others.
const ROLES: [&str; 3] = ["OPERATOR", "MANAGER", "ADMIN"];

/// A well; `None` for one without coordinates, which the contract cannot express.
pub(super) fn well(record: &Record) -> Option<Json> {
    let mut fields = unpack(&record.fields);
    let mut field = |key: &str| fields.remove(key).unwrap_or(Json::Null);
    let (latitude, longitude) = (field("latitude"), field("longitude"));
    if latitude.is_null() || longitude.is_null() {
        return None;
    }
    Some(json!({
        "id": record.name.to_json(), "name": field("name"), "apiNumber": field("apiNumber"),
        "latitude": latitude, "longitude": longitude, "status": field("status"),
        "lease": field("lease"), "field": field("field"), "operator": field("operator"),
    }))
}

/// A user; `None` for one whose role is of other dialects.
pub(super) fn user(record: &Record) -> Option<Json> {
    let fields = unpack(&record.fields);
    let field = |key: &str| fields.get(key).cloned().unwrap_or(Json::Null);
    let role = field("role");
    if !role.as_str().is_some_and(|role| ROLES.contains(&role)) {
        return None;
    }
    Some(json!({
        "id": record.name.to_json(), "email": field("email"), "name": field("name"), "role": role,
    }))
}

/// A field entry; each can be expressed.
pub(super) fn entry(record: &Record) -> Option<Json> {
    let mut entry: Map<String, Json> = unpack(&record.fields);
    entry.insert("id".to_owned(), record.name.to_json());
    entry.entry("data").or_insert_with(|| json!({}));
    if let Some(user) = &record.created_by {
        entry.insert("createdBy".to_owned(), user.clone().into());
    }
    if let Some(at) = record.created_at {
        entry.insert("createdAt".to_owned(), json!(at));
    }
    entry.insert("syncedAt".to_owned(), json!(record.arrived_at));
    entry.insert("version".to_owned(), record.version.into());
    Some(Json::Object(entry))
}
