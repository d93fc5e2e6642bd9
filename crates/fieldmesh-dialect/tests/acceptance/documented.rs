//! Holds exchanges against the document: as much of JSON Schema as the document uses.
//!
//! An answer may have no member that the document does not name, so that none is forgotten there;
//! a request may.

use std::sync::LazyLock;

use fieldmesh_dialect::{Method, Request, Response, Route, openapi};
use serde_json::Value as Json;

static DOCUMENT: LazyLock<Json> = LazyLock::new(|| openapi::document("", "", &[]));

/// Whether members that a schema does not name are told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Others {
    Told,
    Ignored,
}

/// Fails unless the document knows this answer to the request and its form; a request all of which
/// was done must have the form that the document states, too.
#[track_caller]
pub(crate) fn assert_documented(request: &Request, response: &Response) {
    let Ok(route) = Route::find(request) else { return };
    let endpoint = route.endpoint;
    let operation = &DOCUMENT["paths"][endpoint.path][endpoint.method.as_str().to_lowercase()];
    let place = format!("{} {} {}", endpoint.method.as_str(), endpoint.path, response.status);
    let known = &operation["responses"][response.status.to_string()];
    assert!(known.is_object(), "{place} is not in the document");
    let named = known["$ref"].as_str().map(|name| DOCUMENT.pointer(name.trim_start_matches('#')));
    let known = named.map_or(known, |named| named.expect("it is defined"));
    if endpoint.method != Method::Head {
        let headers = response.headers.iter();
        let media = headers.clone().find(|it| it.0 == "content-type").map(|it| it.1.as_str());
        assert_content(known, media, &response.body, &place, Others::Told);
    }
    if response.status < 300 && !request.body.is_empty() && !refuses_a_part(&response.body) {
        let media = request.header("content-type").unwrap_or("application/json");
        let place = format!("the request of {place}");
        assert_content(
            &operation["requestBody"],
            Some(media),
            &request.body,
            &place,
            Others::Ignored,
        );
    }
}

/// Whether some part of a batch was not what it has to be.
fn refuses_a_part(body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(body);
    ["FAILED", "REJECTED", "\"error\"", "\"errors\":[\""].iter().any(|sign| text.contains(sign))
}

#[track_caller]
fn assert_content(known: &Json, media: Option<&str>, body: &[u8], place: &str, others: Others) {
    let Some(content) = known["content"].as_object() else {
        return assert!(body.is_empty(), "{place} has a body, and none in the document");
    };
    let media = media.unwrap_or_default();
    let matches = |stated: &str| match stated.strip_suffix('*') {
        Some(start) => media.starts_with(start),
        None => stated == media || media.starts_with(&format!("{stated};")),
    };
    let stated = content.iter().find(|(stated, _)| matches(stated));
    let (stated, content) = stated.unwrap_or_else(|| panic!("{place} as {media:?}"));
    if stated == "application/json" {
        let value = serde_json::from_slice(body).unwrap_or_else(|_| panic!("{place}: no JSON"));
        let misfit = misfit(&content["schema"], &value, "", others);
        assert!(misfit.is_none(), "{place}: {} in {value:#}", misfit.unwrap_or_default());
    }
    if stated == "text/event-stream" {
        for event in
            String::from_utf8_lossy(body).lines().filter_map(|it| it.strip_prefix("data: "))
        {
            let value = serde_json::from_str(event).unwrap();
            let misfit = misfit(&content["schema"], &value, "", others);
            assert!(misfit.is_none(), "{place}: {} in {value:#}", misfit.unwrap_or_default());
        }
    }
}

/// What of a value does not fit a schema.
fn misfit(schema: &Json, value: &Json, place: &str, others: Others) -> Option<String> {
    if let Some(reference) = schema["$ref"].as_str() {
        let named = DOCUMENT.pointer(reference.trim_start_matches('#'));
        return misfit(named.expect("it is defined"), value, place, others);
    }
    if let Some(several) = schema["oneOf"].as_array() {
        let fitting = several.iter().filter(|one| misfit(one, value, place, others).is_none());
        let count = fitting.count();
        return (count != 1).then(|| format!("{place} fits {count} of several"));
    }
    if !is_of_type(&schema["type"], value) {
        return Some(format!("{place} is not of type {}", schema["type"]));
    }
    if let Some(words) = schema["enum"].as_array()
        && !words.iter().any(|word| is_word(word, value, others))
    {
        return Some(format!("{place} is none of {words:?}"));
    }
    if let Some(items) = value.as_array() {
        let each = |(index, item): (usize, &Json)| {
            misfit(&schema["items"], item, &format!("{place}[{index}]"), others)
        };
        return items.iter().enumerate().find_map(each);
    }
    misfit_of_members(schema, value, place, others)
}

fn misfit_of_members(schema: &Json, value: &Json, place: &str, others: Others) -> Option<String> {
    let members = value.as_object()?;
    let needed = schema["required"].as_array().into_iter().flatten().filter_map(Json::as_str);
    if let Some(missing) = needed.into_iter().find(|name| !members.contains_key(*name)) {
        return Some(format!("{place} lacks {missing}"));
    }
    let is_open = schema["additionalProperties"] == true || others == Others::Ignored;
    let is_any = schema["type"].is_null();
    members.iter().find_map(|(name, value)| {
        let place = format!("{place}/{name}");
        match &schema["properties"][name] {
            Json::Null if is_open || is_any => None,
            Json::Null => Some(format!("{place} is not in the document")),
            known => misfit(known, value, &place, others),
        }
    })
}

/// Requests may write words in any case.
fn is_word(word: &Json, value: &Json, others: Others) -> bool {
    match (word.as_str(), value.as_str()) {
        (Some(word), Some(value)) if others == Others::Ignored => word.eq_ignore_ascii_case(value),
        _ => word == value,
    }
}

fn is_of_type(types: &Json, value: &Json) -> bool {
    let is = |name: &str| match name {
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "object" => value.is_object(),
        "array" => value.is_array(),
        "null" => value.is_null(),
        other => panic!("the document uses {other}, which is not checked here"),
    };
    match types {
        Json::String(name) => is(name),
        Json::Array(names) => names.iter().filter_map(Json::as_str).any(is),
        _ => true,
    }
}
