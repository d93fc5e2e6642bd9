//! The document is what is served: each route stands in it, and each answer has its form.

use std::collections::BTreeSet;

use super::*;
use crate::document;
use crate::routes::endpoints;

const GOLDEN: &str = include_str!("../../../tests/openapi.json");

#[test]
fn the_document_is_the_one_that_was_agreed_on() {
    let text = format!("{}\n", serde_json::to_string_pretty(&document()).unwrap());
    if std::env::var_os("FIELDMESH_WRITE_OPENAPI").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/openapi.json");
        return std::fs::write(path, text).unwrap();
    }
    assert!(
        text == GOLDEN,
        "the document has changed; apps rely on it. Where that is right, write \
         tests/openapi.json by FIELDMESH_WRITE_OPENAPI=1 cargo test -p fieldmesh-loopback"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_is_in_the_document_and_the_reverse() {
    let scene = Scene::new().await;
    let served = scene.get("/v1/openapi.json").await.json;
    assert_eq!(served, document());
    let listed: BTreeSet<(String, String)> = served["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, methods)| {
            methods.as_object().unwrap().keys().map(|method| (path.clone(), method.clone()))
        })
        .collect();
    let routed = endpoints();
    let routed: BTreeSet<_> =
        routed.iter().map(|it| (it.path.to_owned(), it.method.to_owned())).collect();
    assert_eq!(listed, routed);
    for (path, _) in &listed {
        for method in ["get", "post", "put", "patch", "delete"] {
            let known = listed.contains(&(path.clone(), method.to_owned()));
            let path = path.replace("{id}", "none").replace("{name}", "none");
            let request = scene.request(&method.to_uppercase(), &path).body(Body::empty()).unwrap();
            let response = scene.send(request).await;
            assert_eq!(response.status() != 405, known, "{method} {path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_and_examples_have_the_form_that_the_document_gives_them() {
    let scene = Scene::new().await;
    let document = document();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    for (name, schema) in schemas {
        for example in schema["examples"].as_array().into_iter().flatten() {
            check(&document, schema, example, name);
        }
    }
    let example = |name: &str| schemas[name]["examples"][0].clone();
    let made = scene.sent("POST", "/v1/records", &example("NewRecord")).await;
    assert_eq!(made.status, 201, "{}", made.json);
    assert_answer(&document, "/v1/records", "post", &made);
    let id = made.json["id"].as_str().unwrap();
    let path = format!("/v1/records/{id}");
    let edited = scene.sent_if("PATCH", &path, &example("Edits"), Some(made.tag())).await;
    assert_answer(&document, "/v1/records/{id}", "patch", &edited);
    assert_eq!(edited.status, 200);
    let stale = scene.sent_if("PATCH", &path, &example("Edits"), Some(made.tag())).await;
    assert_answer(&document, "/v1/records/{id}", "patch", &stale);
    let refused = scene.sent("POST", "/v1/conflicts/none/resolve", &example("Resolution")).await;
    assert_eq!(refused.status, 404);
    assert_answer(&document, "/v1/conflicts/{id}/resolve", "post", &refused);
    let alone = json!({ "with": ["127.0.0.1:1"], "timeout": 1 });
    assert_answer(&document, "/v1/sync", "post", &scene.sent("POST", "/v1/sync", &alone).await);
    for (path, asked) in [
        ("/v1/status", "/v1/status".to_owned()),
        ("/v1/peers", "/v1/peers".into()),
        ("/v1/collections", "/v1/collections".into()),
        ("/v1/collections/{name}", "/v1/collections/field_entry".into()),
        ("/v1/collections/{name}", "/v1/collections/nothing".into()),
        ("/v1/records", "/v1/records?collection=well".into()),
        ("/v1/records", "/v1/records?colour=red".into()),
        ("/v1/count", "/v1/count?collection=well".into()),
        ("/v1/changes", "/v1/changes".into()),
        ("/v1/records/{id}", path.clone()),
        ("/v1/records/{id}", "/v1/records/none".into()),
        ("/v1/records/{id}/history", format!("{path}/history")),
        ("/v1/conflicts", "/v1/conflicts?closed=true".into()),
    ] {
        assert_answer(&document, path, "get", &scene.get(&asked).await);
    }
}

/// Fails unless the document knows this answer and its form.
#[track_caller]
fn assert_answer(document: &Json, path: &str, method: &str, answered: &Answered) {
    let status = answered.status.to_string();
    let known = &document["paths"][path][method]["responses"][&status];
    let media = answered.headers["content-type"].to_str().unwrap();
    let schema = &known["content"][media]["schema"];
    assert!(schema.is_object(), "{method} {path} answers {status} as {media}: {}", answered.json);
    check(document, schema, &answered.json, &format!("{method} {path} {status}"));
}

/// Fails where a value does not fit a schema; as much of JSON Schema as the document uses.
#[track_caller]
fn check(document: &Json, schema: &Json, value: &Json, place: &str) {
    assert!(fits(document, schema, value), "{place}: {value:#} does not fit {schema:#}");
}

fn fits(document: &Json, schema: &Json, value: &Json) -> bool {
    if let Some(reference) = schema["$ref"].as_str() {
        let named = document.pointer(reference.trim_start_matches('#')).expect("it is defined");
        return fits(document, named, value);
    }
    if let Some(several) = schema["oneOf"].as_array() {
        return several.iter().filter(|one| fits(document, one, value)).count() == 1;
    }
    let types: Vec<&str> = match &schema["type"] {
        Json::String(name) => vec![name],
        Json::Array(names) => names.iter().filter_map(Json::as_str).collect(),
        _ => Vec::new(),
    };
    if !types.is_empty() && !types.iter().any(|name| is_of(name, value)) {
        return false;
    }
    if let Some(words) = schema["enum"].as_array()
        && !words.contains(value)
    {
        return false;
    }
    let (Some(members), Some(properties)) = (value.as_object(), schema["properties"].as_object())
    else {
        let items = value.as_array().into_iter().flatten();
        return schema["items"].is_null()
            || items.clone().all(|it| fits(document, &schema["items"], it));
    };
    let mut required = schema["required"].as_array().into_iter().flatten().filter_map(Json::as_str);
    let is_open = schema["additionalProperties"] != false;
    required.all(|name| members.contains_key(name))
        && members.iter().all(|(name, value)| match properties.get(name) {
            Some(schema) => fits(document, schema, value),
            None => is_open,
        })
}

fn is_of(name: &str, value: &Json) -> bool {
    match name {
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        "object" => value.is_object(),
        "array" => value.is_array(),
        "null" => value.is_null(),
        other => panic!("the document uses {other}, which is not checked here"),
    }
}
