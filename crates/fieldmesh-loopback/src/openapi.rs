//! The document of `/v1`, made from the table of routes.

mod schemas;

use serde_json::{Map, Value as Json, json};

use crate::refusal::Kind;
use crate::routes::{Answer, DOCUMENT_PATH, Endpoint, endpoints};

/// What every endpoint may refuse.
const COMMON: [Kind; 6] =
    [Kind::Usage, Kind::Unauthenticated, Kind::Foreign, Kind::Failed, Kind::Busy, Kind::Store];
/// What every endpoint with a body may refuse besides.
const OF_BODIES: [Kind; 3] = [Kind::Slow, Kind::TooLarge, Kind::WrongType];

/// The document, in OpenAPI 3.1.
pub fn document() -> Json {
    let mut paths = Map::new();
    for endpoint in endpoints() {
        let path = paths.entry(endpoint.path).or_insert_with(|| json!({}));
        if let Some(path) = path.as_object_mut() {
            path.insert(endpoint.method.into(), operation(&endpoint));
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "fieldmesh on a device",
            "version": "1",
            "description": "The records of this device for the apps on it. loopback.json in the \
                            home has the address and the token.",
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "servers": [{ "url": "http://127.0.0.1:7878" }],
        "security": [{ "token": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
            "parameters": schemas::parameters(),
            "schemas": schemas::schemas(),
        },
    })
}

fn operation(endpoint: &Endpoint) -> Json {
    let mut operation = json!({
        "operationId": endpoint.id,
        "summary": endpoint.summary,
        "responses": responses(endpoint),
    });
    let Some(members) = operation.as_object_mut() else { return operation };
    if !endpoint.parameters.is_empty() {
        let reference = |name: &&str| reference("parameters", &schemas::parameter_key(name));
        members.insert("parameters".into(), endpoint.parameters.iter().map(reference).collect());
    }
    if let Some(body) = endpoint.body {
        let content = json!({ "application/json": { "schema": reference("schemas", body) } });
        members.insert("requestBody".into(), json!({ "required": true, "content": content }));
    }
    if endpoint.path == DOCUMENT_PATH {
        members.insert("security".into(), json!([]));
    }
    operation
}

fn responses(endpoint: &Endpoint) -> Json {
    let schema = |name: &str| reference("schemas", name);
    let many = |name: &str| json!({ "type": "array", "items": schema(name) });
    let (status, media, schema) = match endpoint.answer {
        Answer::One(name) => ("200", "application/json", schema(name)),
        Answer::Made(name) => ("201", "application/json", schema(name)),
        Answer::Many(name) => ("200", "application/json", many(name)),
        Answer::Events(name) => ("200", "text/event-stream", schema(name)),
        Answer::Any => ("200", "application/json", json!({ "type": "object" })),
    };
    let mut responses = Map::new();
    let done = json!({ "description": "Done", "content": { media: { "schema": schema } } });
    responses.insert(status.into(), done);
    let is_public = endpoint.path == DOCUMENT_PATH;
    let common = COMMON.iter().filter(|kind| !is_public || **kind == Kind::Foreign);
    let of_bodies = OF_BODIES.iter().filter(|_| endpoint.body.is_some());
    for kind in common.chain(of_bodies).chain(endpoint.refusals) {
        let (_, title, status) = kind.words();
        let content = json!({
            "application/problem+json": { "schema": reference("schemas", "Problem") },
        });
        let known = responses.remove(&status.to_string());
        let known = known.and_then(|known| known["description"].as_str().map(str::to_owned));
        let description = known.map_or_else(|| title.to_owned(), |it| format!("{it}; {title}"));
        let refused = json!({ "description": description, "content": content });
        responses.insert(status.to_string(), refused);
    }
    Json::Object(responses)
}

fn reference(kind: &str, name: &str) -> Json {
    json!({ "$ref": format!("#/components/{kind}/{name}") })
}
