//! The document is what is served.
//!
//! Goal: whoever writes a client by the document finds every endpoint in it, and every answer has
//! the form that it states. Method: routes are compared with the document, and every exchange of the
//! transcripts, and of the conversations in `acceptance`, is held against it.

#![allow(clippy::unwrap_used, reason = "a test that cannot set up its scene has failed")]

use std::collections::BTreeSet;

use fieldmesh_dialect::{endpoints, openapi};
use serde_json::Value as Json;

const GOLDEN: &str = include_str!("openapi.json");

fn document() -> Json {
    openapi::document("fieldmesh over HTTP", "1", &[])
}

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
         tests/openapi.json by FIELDMESH_WRITE_OPENAPI=1 cargo test -p fieldmesh-dialect"
    );
}

#[test]
fn every_endpoint_is_in_the_document_and_the_reverse() {
    let document = document();
    let mut listed = BTreeSet::new();
    let mut names = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            listed.insert((method.to_uppercase(), path.clone()));
            let name = operation["operationId"].as_str().unwrap();
            assert!(names.insert(name.to_owned()), "{name} stands twice");
        }
    }
    let routed: BTreeSet<_> =
        endpoints().map(|it| (it.method.as_str().to_owned(), it.path.to_owned())).collect();
    assert_eq!(listed, routed);
}

#[test]
fn what_the_document_refers_to_is_there_and_nothing_else() {
    let document = document();
    let text = document.to_string();
    for kind in ["schemas", "responses"] {
        let start = format!("#/components/{kind}/");
        let parts = text.split(&start).skip(1);
        let meant: BTreeSet<&str> = parts.filter_map(|part| part.split('"').next()).collect();
        let parts = document["components"][kind].as_object().unwrap();
        let there: BTreeSet<&str> = parts.keys().map(String::as_str).collect();
        assert_eq!(meant, there);
    }
}
