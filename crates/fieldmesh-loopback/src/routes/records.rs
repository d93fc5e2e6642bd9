//! `/v1/records` and `/v1/count`.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::header::{ETAG, LOCATION};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use fieldmesh::api::{Edits, NewRecord, NewRuling, Page, Record, Revision};
use fieldmesh::{Error, Moment, Node};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::input::{Base, Words};
use crate::refusal::Refusal;
use crate::server::{Sent, Shared};

/// A record to make.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Creation {
    collection: String,
    fields: Map<String, Value>,
    #[serde(default)]
    at: Option<Moment>,
}

/// New values of a record; null clears a field.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Change {
    fields: Map<String, Value>,
}

/// An answer about a record that waits for approval; with a reason it is refused.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Answer {
    #[serde(default)]
    refuse: Option<String>,
}

/// How many records there are.
#[derive(Serialize)]
pub(super) struct Count {
    count: u64,
}

pub(super) async fn list(
    State(shared): State<Shared>,
    mut words: Words,
) -> Result<Json<Page>, Refusal> {
    let query = words.page();
    words.end()?;
    Ok(Json(shared.node.page(query).await?))
}

pub(super) async fn count(
    State(shared): State<Shared>,
    mut words: Words,
) -> Result<Json<Count>, Refusal> {
    let query = words.records();
    words.end()?;
    Ok(Json(Count { count: shared.node.count(query).await? }))
}

pub(super) async fn create(
    State(shared): State<Shared>,
    words: Words,
    Sent(Creation { collection, fields, at }): Sent<Creation>,
) -> Result<Response, Refusal> {
    words.end()?;
    let new = NewRecord { collection, fields, at, ..NewRecord::default() };
    let record = shared.node.record(new).await?;
    let place = HeaderValue::from_str(&format!("/v1/records/{}", record.id));
    let mut response = answer(&record);
    *response.status_mut() = StatusCode::CREATED;
    response.headers_mut().extend(place.ok().map(|place| (LOCATION, place)));
    Ok(response)
}

pub(super) async fn show(
    State(shared): State<Shared>,
    Path(id): Path<String>,
    mut words: Words,
) -> Result<Response, Refusal> {
    let at = words.parsed::<Moment>("at", "a time like 2026-03-01T08:30:00Z");
    words.end()?;
    let record = match at {
        Some(at) => shared.node.show_at(&id, at).await?,
        None => shared.node.show(&id).await?,
    };
    Ok(answer(&record))
}

pub(super) async fn edit(
    State(shared): State<Shared>,
    Path(id): Path<String>,
    words: Words,
    headers: HeaderMap,
    Sent(Change { fields }): Sent<Change>,
) -> Result<Response, Refusal> {
    words.end()?;
    let edits = Edits { fields, ..Edits::default() };
    let edited = match Base::required(&headers)? {
        Base::Any => shared.node.edit(&id, edits).await,
        Base::Version(version) => shared.node.edit_if(&id, edits, &version).await,
    };
    changed(&shared.node, edited).await
}

pub(super) async fn delete(
    State(shared): State<Shared>,
    Path(id): Path<String>,
    words: Words,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    words.end()?;
    let deleted = match Base::required(&headers)? {
        Base::Any => shared.node.delete(&id).await,
        Base::Version(version) => shared.node.delete_if(&id, &version).await,
    };
    changed(&shared.node, deleted).await
}

pub(super) async fn restore(
    State(shared): State<Shared>,
    Path(id): Path<String>,
    words: Words,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    words.end()?;
    let restored = match Base::given(&headers)? {
        None | Some(Base::Any) => shared.node.restore(&id).await,
        Some(Base::Version(version)) => shared.node.restore_if(&id, &version).await,
    };
    changed(&shared.node, restored).await
}

pub(super) async fn approve(
    State(shared): State<Shared>,
    Path(id): Path<String>,
    words: Words,
    headers: HeaderMap,
    Sent(Answer { refuse }): Sent<Answer>,
) -> Result<Response, Refusal> {
    words.end()?;
    let version = match Base::required(&headers)? {
        Base::Any => None,
        Base::Version(version) => Some(version),
    };
    let ruled = shared.node.approve(&id, NewRuling { refuse, version }).await;
    changed(&shared.node, ruled).await
}

pub(super) async fn history(
    State(shared): State<Shared>,
    Path(id): Path<String>,
    words: Words,
) -> Result<Json<Vec<Revision>>, Refusal> {
    words.end()?;
    Ok(Json(shared.node.history(&id).await?))
}

/// What came of a change; where it was based on another version, also the record as it is.
async fn changed(node: &Node, result: Result<Record, Error>) -> Result<Response, Refusal> {
    let error = match result {
        Ok(record) => return Ok(answer(&record)),
        Err(error) => error,
    };
    let current = match &error {
        Error::Stale { id, .. } => node.show(&id.to_string()).await.ok(),
        _ => None,
    };
    let refusal = Refusal::from(error);
    Err(match current {
        Some(current) => refusal.with("current", json!(current)),
        None => refusal,
    })
}

/// A record with its version as `ETag`.
fn answer(record: &Record) -> Response {
    let mut response = Json(record).into_response();
    let tag = record.version.as_ref().map(|version| format!("\"{version}\""));
    let tag = tag.and_then(|tag| HeaderValue::from_str(&tag).ok());
    response.headers_mut().extend(tag.map(|tag| (ETAG, tag)));
    response
}
