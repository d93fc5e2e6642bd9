//! What passes over `/v1`, as schemas with examples. Tests hold them against real answers.

use serde_json::{Map, Value as Json, json};

use crate::refusal::Kind;
use crate::routes::endpoints;

/// The key under which a parameter of the table stands: a name that means two things, depending on
/// where it is used, ends in a question mark where it may be left out.
pub(super) fn parameter_key(name: &str) -> String {
    match name.strip_suffix('?') {
        Some(name) => format!("{name}Optional"),
        None => name.to_owned(),
    }
}

/// Every parameter that the table names.
pub(super) fn parameters() -> Json {
    let names = endpoints().into_iter().flat_map(|endpoint| endpoint.parameters);
    let all: Map<String, Json> = names.map(|name| (parameter_key(name), parameter(name))).collect();
    Json::Object(all)
}

fn parameter(name: &str) -> Json {
    let (place, required, schema, description) = match name {
        "id" => ("path", true, text(), "An id, the end of one, or a unique name"),
        "name" => ("path", true, text(), "The collection's name"),
        "collection" => ("query", true, text(), "The collection's name"),
        "collection?" => ("query", false, text(), "Only records of this collection"),
        "where" => {
            let schema = json!({ "type": "array", "items": text() });
            let description = "Conditions that all hold: field=value, field!=value, field>value and \
                               >=, <, <=; field:=[\"a\",\"b\"] for one of several";
            ("query", false, schema, description)
        }
        "since" => ("query", false, time(), "Only records about this time or later"),
        "until" => ("query", false, time(), "Only records about a time before this"),
        "at" => ("query", false, time(), "As it was at this time"),
        "site" => ("query", false, text(), "Only records about this well, asset, patient or pet"),
        "author" => ("query", false, text(), "Only records that this person made"),
        "device" => ("query", false, text(), "Only records made on this device"),
        "deleted" => ("query", false, flag(), "Deleted records instead of the others"),
        "unsafe" => ("query", false, flag(), "Only records that are not safe so far"),
        "conflict" => ("query", false, flag(), "Only records that have an open conflict"),
        "duplicates" => ("query", false, flag(), "Also records that stand behind another one"),
        "awaiting" => {
            let about = "Records that do not count, as nobody has approved them or somebody has \
                         refused them, instead of the others";
            ("query", false, flag(), about)
        }
        "sort" => ("query", false, text(), "FIELD, FIELD:down, time:up or updated:down"),
        "limit" => {
            let schema = json!({ "type": "integer", "minimum": 1, "maximum": 1000 });
            ("query", false, schema, "At most so many")
        }
        "cursor" => ("query", false, text(), "Goes on behind the page whose next this was"),
        "after" => {
            let about = "Goes on behind the page whose next this was, or the id of its last item";
            ("query", false, text(), about)
        }
        "kind" => ("query", false, text(), "Only items of this kind"),
        "all" => ("query", false, flag(), "Also those that were marked as seen"),
        "closed" => ("query", false, flag(), "Also what has ended, and what merged by itself"),
        "If-Match" => ("header", true, text(), "The version that was read, in quotes, or *"),
        "If-Match?" => ("header", false, text(), "The version that was read, in quotes, or *"),
        _ => ("header", false, text(), "The id of the last event that was read"),
    };
    let plain = name.trim_end_matches('?');
    json!({
        "name": plain, "in": place, "required": required, "schema": schema,
        "description": description,
    })
}

/// Every schema.
pub(super) fn schemas() -> Json {
    let mut all = Map::new();
    for part in [of_records(), of_changes(), of_conflicts(), of_the_device(), of_requests()] {
        if let Json::Object(part) = part {
            all.extend(part);
        }
    }
    Json::Object(all)
}

fn text() -> Json {
    json!({ "type": "string" })
}

fn flag() -> Json {
    json!({ "type": "boolean" })
}

fn time() -> Json {
    json!({ "type": "string", "format": "date-time" })
}

fn count() -> Json {
    json!({ "type": "integer", "minimum": 0 })
}

fn any() -> Json {
    json!({})
}

fn fields() -> Json {
    json!({ "type": "object", "additionalProperties": true })
}

fn maybe(mut schema: Json) -> Json {
    schema["type"] = json!([schema["type"], "null"]);
    schema
}

fn list(of: Json) -> Json {
    let mut schema = json!({ "type": "array" });
    schema["items"] = of;
    schema
}

fn of(name: &str) -> Json {
    super::reference("schemas", name)
}

/// An object of these members; those with a question mark may be missing. Others may be added.
fn object(members: &[(&str, Json)]) -> Json {
    let required: Vec<&str> =
        members.iter().map(|it| it.0).filter(|name| !name.ends_with('?')).collect();
    let properties: Map<String, Json> = members
        .iter()
        .map(|(name, schema)| (name.trim_end_matches('?').to_owned(), schema.clone()))
        .collect();
    json!({ "type": "object", "required": required, "properties": properties })
}

fn with_example(mut schema: Json, example: Json) -> Json {
    schema["examples"] = Json::Array(vec![example]);
    schema
}

fn example_record() -> Json {
    json!({
        "id": "0195a6c2-9d40-8f3e-a1b2-0c4f5e6d7a89",
        "collection": "field_entry",
        "fields": {
            "wellId": "0195a6c2-9d3f-8a11-9c01-7d2e4b5a6c70",
            "entryType": "PRODUCTION",
            "recordedAt": "2026-03-01T08:30:00Z",
            "data": { "oilVolume": 82.3 },
        },
        "names": { "wellId": "Alder 1" },
        "createdBy": "0195a6c2-9d30-7abc-8def-001122334455",
        "createdAt": "2026-03-01T08:31:02Z",
        "updatedAt": "2026-03-01T08:31:02Z",
        "deviceId": "5f".repeat(32),
        "deleted": false,
        "safe": "here",
        "version": "3b".repeat(16),
        "conflicts": [],
    })
}

fn of_records() -> Json {
    let record = object(&[
        ("id", json!({ "type": "string", "format": "uuid" })),
        ("collection", text()),
        ("fields", fields()),
        ("names?", fields()),
        ("createdBy", text()),
        ("createdAt", time()),
        ("updatedAt", time()),
        ("deviceId", text()),
        ("deleted", flag()),
        ("safe?", json!({ "type": "string", "pattern": "^(here|relay|devices:[0-9]+)$" })),
        ("version?", text()),
        ("conflicts", list(text())),
        ("duplicates?", list(text())),
        ("supersededBy?", text()),
        ("replaces?", list(text())),
        ("approval?", of("Approval")),
    ]);
    let ruling = object(&[
        ("change", text()),
        ("user?", text()),
        ("device", text()),
        ("at", time()),
        ("approved", flag()),
        ("reason?", text()),
    ]);
    let states = json!({ "type": "string", "enum": ["awaiting", "approved", "refused"] });
    let approval = object(&[("state", states), ("mine", flag()), ("ruling?", of("Ruling"))]);
    let ruled = object(&[("approved", flag()), ("reason?", text()), ("counts", flag())]);
    let change = object(&[("field", text()), ("before", any()), ("after", any())]);
    let revision = object(&[
        ("id", text()),
        ("change", text()),
        ("at", time()),
        ("device", maybe(text())),
        ("deviceName", maybe(text())),
        ("user", maybe(text())),
        ("madeFor?", text()),
        ("fields", list(change)),
        ("settled?", list(text())),
        ("overwritten?", list(text())),
        ("supersededBy?", text()),
        ("replaces?", list(text())),
        ("apartFrom?", list(text())),
        ("adoptedBy?", text()),
        ("ruling?", ruled),
    ]);
    json!({
        "Record": with_example(record, example_record()),
        "Approval": approval,
        "Ruling": ruling,
        "NewRuling": with_example(
            object(&[("refuse?", text())]),
            json!({ "refuse": "90 is more than the tank holds" }),
        ),
        "Page": object(&[("records", list(of("Record"))), ("next?", text())]),
        "Count": with_example(object(&[("count", count())]), json!({ "count": 3 })),
        "Revision": revision,
    })
}

fn of_changes() -> Json {
    let kind = json!({ "type": "string", "enum": ["created", "changed", "deleted"] });
    let change =
        object(&[("id", text()), ("collection", text()), ("kind", kind), ("version", text())]);
    let page = object(&[
        ("changes", list(of("Change"))),
        ("next", text()),
        ("more", flag()),
        ("vanished", flag()),
    ]);
    let live = json!({ "oneOf": [
        object(&[("records", list(of("Record")))]),
        object(&[("record", of("Record"))]),
        object(&[("id", text())]),
    ] });
    let example = json!({
        "id": "0195a6c2-9d40-8f3e-a1b2-0c4f5e6d7a89",
        "collection": "well",
        "kind": "created",
        "version": "3b".repeat(16),
    });
    json!({
        "Change": with_example(change, example.clone()),
        "ChangesPage": with_example(page, json!({
            "changes": [example],
            "next": format!("{}-{}-{}", "0a".repeat(8), "00".repeat(8), "ff".repeat(16)),
            "more": false,
            "vanished": false,
        })),
        "LiveEvent": live,
    })
}

fn of_conflicts() -> Json {
    let saw =
        object(&[("sides", list(text())), ("unseen", count()), ("unseenLast", maybe(time()))]);
    let value = object(&[
        ("label", text()),
        ("value", any()),
        ("user", maybe(text())),
        ("madeFor?", text()),
        ("device", maybe(text())),
        ("at", time()),
        ("fields?", fields()),
        ("saw?", saw),
    ]);
    let ended = object(&[
        ("settled", flag()),
        ("change", text()),
        ("user", maybe(text())),
        ("device", maybe(text())),
        ("at", time()),
        ("left", any()),
        ("deleted?", flag()),
        ("merged?", list(text())),
    ]);
    let comment = object(&[
        ("text", text()),
        ("user", maybe(text())),
        ("device", maybe(text())),
        ("at", time()),
    ]);
    let duplicate =
        object(&[("records", list(of("Record"))), ("differ", list(text())), ("more", count())]);
    let conflict = object(&[
        ("id", text()),
        ("kind", text()),
        ("record", text()),
        ("collection", text()),
        ("name", text()),
        ("field", text()),
        ("open", flag()),
        ("values", list(value)),
        ("faults?", list(object(&[("field", text()), ("message", text())]))),
        ("ended?", list(ended)),
        ("comments?", list(comment)),
        ("reason?", text()),
        ("discarded?", object(&[("user", maybe(text())), ("at", time())])),
        ("adoptedBy?", text()),
        ("duplicate?", duplicate),
    ]);
    let kind =
        json!({ "type": "string", "enum": ["overwritten", "refused", "excluded", "declined"] });
    let notice = object(&[
        ("id", text()),
        ("kind", kind),
        ("record", text()),
        ("collection", text()),
        ("name", text()),
        ("field", text()),
        ("item", text()),
        ("by", maybe(text())),
        ("at", maybe(time())),
        ("wrote", any()),
        ("left", any()),
        ("reason?", text()),
        ("seen", flag()),
    ]);
    json!({ "Conflict": conflict, "Notice": notice })
}

fn of_the_device() -> Json {
    let tenant = object(&[
        ("tenant", text()),
        ("name", text()),
        ("slug", text()),
        ("fingerprint", text()),
        ("device", text()),
        ("deviceName", text()),
    ]);
    let status = object(&[
        ("state", text()),
        ("tenant", tenant),
        ("role", text()),
        ("records", fields()),
        ("unsealed", count()),
        ("conflicts", count()),
        ("quarantined", count()),
        ("notices", maybe(count())),
        ("awaiting", maybe(count())),
        ("places", fields()),
        ("notes", list(text())),
        ("damage", list(text())),
        ("addresses", list(text())),
        ("connected", count()),
        ("lastSync", maybe(time())),
    ]);
    let peer = object(&[
        ("device", maybe(text())),
        ("name", maybe(text())),
        ("state", text()),
        ("addresses", list(text())),
        ("foundBy", text()),
        ("lastInStep", maybe(time())),
        ("error", maybe(text())),
    ]);
    let synced = object(&[
        ("device", maybe(text())),
        ("name", maybe(text())),
        ("address", text()),
        ("received", count()),
        ("sent", count()),
        ("bytesIn", count()),
        ("bytesOut", count()),
        ("rounds", count()),
        ("error?", text()),
    ]);
    let result = json!({ "type": "string", "enum": ["ok", "partial", "failed"] });
    let report = object(&[("result", result), ("peers", list(synced)), ("conflicts", count())]);
    let name = object(&[("name", text()), ("version", count())]);
    let collection = object(&[
        ("name", text()),
        ("number", count()),
        ("version", count()),
        ("fields", list(fields())),
        ("natural_key", list(text())),
        ("names", list(text())),
        ("time_field", maybe(text())),
    ]);
    json!({
        "Status": status,
        "Peer": peer,
        "SyncReport": report,
        "CollectionName": with_example(name, json!({ "name": "well", "version": 1 })),
        "Collection": collection,
    })
}

fn of_requests() -> Json {
    let closed = |mut schema: Json| {
        schema["additionalProperties"] = json!(false);
        schema
    };
    let new = closed(object(&[("collection", text()), ("fields", fields()), ("at?", time())]));
    let edits = closed(object(&[("fields", fields())]));
    let timeout = json!({ "type": "integer", "minimum": 1, "maximum": 50, "default": 30 });
    let sync = closed(object(&[("with?", list(text())), ("timeout?", timeout)]));
    let label = object(&[("label", text())]);
    let side = json!({ "type": "string", "enum": ["client", "server", "latest", "both"] });
    let take = object(&[("take", json!({ "oneOf": [label, side] }))]);
    let set = object(&[("set", list(text()))]);
    let verdict = json!({ "type": "string", "enum": ["adopt", "discard", "reopen"] });
    let kinds: Vec<String> =
        Kind::ALL.iter().map(|kind| format!("urn:fieldmesh:problem:{}", kind.words().0)).collect();
    let fault = object(&[("field", text()), ("message", text())]);
    let problem = object(&[
        ("type", json!({ "type": "string", "enum": kinds })),
        ("title", text()),
        ("status", count()),
        ("detail", text()),
        ("faults?", list(fault)),
        ("current?", of("Record")),
        ("record?", text()),
        ("deleted?", flag()),
        ("candidates?", list(text())),
    ]);
    let well = json!({ "name": "Alder 1", "apiNumber": "42-227-30001", "status": "ACTIVE" });
    let invalid = json!({
        "type": "urn:fieldmesh:problem:invalid",
        "title": "Not valid",
        "status": 422,
        "detail": "the record is not valid",
        "faults": [{ "field": "data.oilVolume", "message": "Oil volume cannot be negative" }],
    });
    json!({
        "NewRecord": with_example(new, json!({ "collection": "well", "fields": well })),
        "Edits": with_example(edits, json!({ "fields": { "status": "INACTIVE" } })),
        "SyncRequest": with_example(sync, json!({ "with": ["truck-7"], "timeout": 30 })),
        "NewComment": with_example(object(&[("text", text())]), json!({ "text": "so it is" })),
        "SeenNotices": with_example(
            object(&[("ids?", list(text()))]),
            json!({ "ids": ["7c21a9f0"] }),
        ),
        "NewVerdict": with_example(object(&[("verdict", verdict)]), json!({ "verdict": "discard" })),
        "Resolution": with_example(
            json!({ "oneOf": [take, set] }),
            json!({ "take": { "label": "A" } }),
        ),
        "Problem": with_example(problem, invalid),
    })
}
