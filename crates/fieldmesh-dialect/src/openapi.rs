//! The document of every endpoint, made from the same table by which requests find their way.
//!
//! Paths, methods, who may use them and the limits of bodies come from the table. What passes is
//! described beside it, by a match over the endpoints that the compiler holds complete.

mod asset;
mod batch;
mod describe;
mod health;
mod schema;
mod service;
mod vet;
mod wellpulse;

use fieldmesh_model::Role;
use serde_json::{Map, Value as Json, json};

use self::describe::Described;
use crate::caller::Dialect;
use crate::request::Method;
use crate::route::{Access, Bucket, Endpoint, Reads, endpoints};

/// What is said of the whole.
const ABOUT: &str = "Five contracts over the records of one tenant, sessions, and photos. Each \
    contract is also served below /dialect/<name>/ and can be switched off for a tenant, whose \
    requests are then answered with 404. Answers may have further members later.";

/// A route that a server has beside the dialects: plain answers to a GET.
#[derive(Debug, Clone, Copy)]
pub struct Plain {
    /// Its path.
    pub path: &'static str,
    /// What it is for.
    pub summary: &'static str,
    /// The statuses that it answers with.
    pub statuses: &'static [u16],
    /// The type of what it answers; what it refuses is plain text.
    pub media: &'static str,
}

/// The document of all dialects and the routes `beside` them, in OpenAPI 3.1.
pub fn document(title: &str, version: &str, beside: &[Plain]) -> Json {
    let mut paths = Map::new();
    let mut put = |path: &str, method: &str, operation: Json| {
        let item = paths.entry(path).or_insert_with(|| json!({}));
        if let Some(item) = item.as_object_mut() {
            item.insert(method.to_owned(), operation);
        }
    };
    for endpoint in endpoints() {
        let method = endpoint.method.as_str().to_lowercase();
        put(endpoint.path, &method, operation(endpoint, &described(endpoint)));
    }
    for plain in beside {
        put(plain.path, "get", beside_the_dialects(plain));
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": title,
            "version": version,
            "description": ABOUT,
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "security": [{ "token": [] }],
        "tags": tags(),
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer", "bearerFormat": "JWT" },
            },
            "schemas": schemas(),
            "responses": describe::all_refused(),
        },
    })
}

fn described(endpoint: &Endpoint) -> Described {
    match endpoint.reads {
        Reads::Service(endpoint) => service::described(endpoint),
        Reads::Wellpulse(endpoint) => wellpulse::described(endpoint),
        Reads::Batch(endpoint) => batch::described(endpoint),
        Reads::Asset(endpoint) => asset::described(endpoint),
        Reads::Vet(endpoint) => vet::described(endpoint),
        Reads::Health(endpoint) => health::described(endpoint),
    }
}

fn schemas() -> Json {
    let parts = [
        service::schemas(),
        wellpulse::schemas(),
        batch::schemas(),
        asset::schemas(),
        vet::schemas(),
        health::schemas(),
    ];
    let all: Map<String, Json> =
        parts.into_iter().flatten().map(|(name, schema)| (name.to_owned(), schema)).collect();
    Json::Object(all)
}

fn tags() -> Json {
    let about = |dialect: Dialect| match dialect {
        Dialect::Wellpulse => "Oil wells: wells and users down, field entries up",
        Dialect::Batch => "The events of a shift in one batch",
        Dialect::Asset => "Assets, tasks and schedules; both ways in one request",
        Dialect::Vet => "Veterinary practices: operations up, changes down by time",
        Dialect::Health => "Rural health: a journal of operations",
    };
    let dialects = Dialect::ALL.map(|dialect| (dialect.as_str(), about(dialect)));
    let all = [("all", "Sessions, photos and the health of the server")];
    all.into_iter()
        .chain(dialects)
        .map(|(name, about)| json!({ "name": name, "description": about }))
        .collect()
}

fn operation(endpoint: &Endpoint, described: &Described) -> Json {
    let mut operation = json!({
        "operationId": operation_id(endpoint.method.as_str(), endpoint.path),
        "summary": described.summary,
        "description": limits(endpoint, described),
        "tags": [endpoint.dialect.map_or("all", Dialect::as_str)],
        "responses": responses(endpoint, described),
        "x-requirement": endpoint.id,
    });
    let parts = path_parameters(endpoint.path).chain(described.parameters.iter().cloned());
    let parameters: Vec<Json> = parts.collect();
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    if let Some(body) = &described.body {
        operation["requestBody"] = body.clone();
    }
    if endpoint.access == Access::Public {
        operation["security"] = json!([]);
    }
    operation
}

/// `GET /sync/entries/{entryId}` as `getSyncEntriesByEntryId`.
fn operation_id(method: &str, path: &str) -> String {
    let mut id = method.to_lowercase();
    for part in path.split(['/', '-', '.']).filter(|part| !part.is_empty()) {
        let (by, word) = match part.strip_prefix('{') {
            Some(name) => ("By", name.trim_end_matches('}')),
            None => ("", part),
        };
        let (first, rest) = word.split_at(1);
        id.push_str(&format!("{by}{}{rest}", first.to_uppercase()));
    }
    id
}

fn path_parameters(path: &str) -> impl Iterator<Item = Json> {
    let names = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    names.map(|name| describe::parameter("path", name, schema::text(), "The one that is meant"))
}

/// Who may use an endpoint and how often, in words.
fn limits(endpoint: &Endpoint, described: &Described) -> String {
    let who = match endpoint.access {
        Access::Public => "Needs no token.".to_owned(),
        Access::Anyone => "For every user of the tenant.".to_owned(),
        Access::Roles(roles) => {
            let names: Vec<&str> = roles.iter().copied().map(Role::as_str).collect();
            format!("For the roles {}.", names.join(", "))
        }
    };
    let often = match endpoint.bucket {
        Bucket::Address => "Counted for its address.",
        Bucket::Sync => "Counted for its address, and for its user as a sync.",
        Bucket::Step => "Counted for its address, and for its user as a single operation.",
    };
    let size = match described.body {
        Some(_) => format!(" A body has at most {} bytes when it is inflated.", endpoint.body_max),
        None => String::new(),
    };
    format!("{who} {often}{size}")
}

fn responses(endpoint: &Endpoint, described: &Described) -> Json {
    let mut responses = Map::new();
    for (status, answer) in &described.answers {
        responses.insert(status.to_string(), answer.clone());
    }
    for status in refusals(endpoint, described) {
        let refused = describe::refused(status, endpoint.dialect);
        responses.entry(status.to_string()).or_insert(refused);
    }
    if endpoint.method == Method::Head {
        for (status, answer) in &mut responses {
            let status = status.parse().unwrap_or_default();
            *answer = json!({ "description": describe::meaning(status) });
        }
    }
    Json::Object(responses)
}

/// The statuses of refusals: of every endpoint, of those with a token or a body, of those that
/// write, and its own.
fn refusals(endpoint: &Endpoint, described: &Described) -> Vec<u16> {
    let mut statuses = vec![403, 429, 500, 503];
    if endpoint.access != Access::Public {
        statuses.extend([401, 404]);
    }
    if described.body.is_some() {
        statuses.extend([400, 408, 413, 415]);
    }
    if endpoint.access != Access::Public && !matches!(endpoint.method, Method::Get | Method::Head) {
        statuses.push(507);
    }
    if !described.parameters.is_empty() {
        statuses.push(400);
    }
    statuses.extend(&described.refusals);
    statuses
}

fn beside_the_dialects(plain: &Plain) -> Json {
    let mut responses = Map::new();
    for status in plain.statuses {
        let media = if *status < 300 { plain.media } else { describe::TEXT };
        let schema = if media == describe::JSON { schema::free() } else { schema::text() };
        let answer = json!({
            "description": describe::meaning(*status),
            "content": { media: { "schema": schema } },
        });
        responses.insert(status.to_string(), answer);
    }
    json!({
        "operationId": operation_id("get", plain.path),
        "summary": plain.summary,
        "tags": ["all"],
        "security": [],
        "responses": responses,
    })
}
