//! Veterinary practices.

use serde_json::json;

use super::describe::Described;
use super::schema::{
    Named, count, filled, flag, free, list, maybe, millis, name, object, of, one_of, text, time,
    whole, words,
};
use crate::vet::Endpoint;

const OPERATIONS: [&str; 3] = ["create", "update", "delete"];

pub(super) fn described(endpoint: Endpoint) -> Described {
    match endpoint {
        Endpoint::Push => Described::new("Send operations, in their order")
            .takes(of("VetPush"))
            .gives(200, of("VetPushed")),
        Endpoint::Pull => Described::new("What arrived since a time")
            .query("lastSyncTimestamp?", millis(), "The nextTimestamp of the page before")
            .query("practiceId?", whole(), "Only records of this practice")
            .query("entityTypes?", text(), "Only these types; with commas")
            .gives(200, of("VetPage")),
    }
}

pub(super) fn schemas() -> Named {
    let operation = [
        ("id?", whole()),
        ("operation", words(&OPERATIONS)),
        ("entityType", filled()),
        ("entityId?", name()),
        ("tempId?", text()),
        ("data?", free()),
        ("timestamp?", millis()),
        ("version?", whole()),
        ("userId?", name()),
        ("practiceId?", whole()),
        ("tenantId?", name()),
    ];
    let push = [("operations", list(object(&operation))), ("clientTimestamp?", millis())];
    let about = [("operationId?", whole()), ("entityType", maybe(text()))];
    let is = |value: bool| json!({ "type": "boolean", "enum": [value] });
    let done = [("success", is(true)), ("realId", name()), ("tempId?", text())];
    let data = object(&[
        ("localData", free()),
        ("serverData", free()),
        ("conflictType", words(&["timestamp", "version", "delete"])),
        ("affectedFields", list(text())),
    ]);
    let conflict = [("success", is(false)), ("conflict", is(true)), ("conflictData", data)];
    let failed = [("success", is(false)), ("conflict", is(false)), ("error", text())];
    let result = one_of(&[
        object(&[&about[..], &done].concat()),
        object(&[&about[..], &conflict].concat()),
        object(&[&about[..], &failed].concat()),
    ]);
    let pushed = [
        ("success", flag()),
        ("processed", count()),
        ("failed", count()),
        ("conflicts", count()),
        ("results", list(result)),
    ];
    let change = object(&[
        ("entityType", text()),
        ("operation", words(&OPERATIONS)),
        ("data", free()),
        ("id", name()),
        ("version", count()),
        ("updatedAt", time()),
    ]);
    let page = [
        ("success", flag()),
        ("timestamp", millis()),
        ("changes", list(change)),
        ("hasMore", flag()),
        ("nextTimestamp", millis()),
    ];
    vec![("VetPush", object(&push)), ("VetPushed", object(&pushed)), ("VetPage", object(&page))]
}
