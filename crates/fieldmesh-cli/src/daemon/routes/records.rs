//! `/v1/records`.

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use fieldmesh::api::{Edits, NewRecord, NewRuling, Record, Revision};

use crate::daemon::Shared;
use crate::daemon::answer::Refusal;
use crate::wire::query::{self, Pairs};

pub(super) async fn record(
    State(shared): State<Shared>,
    new: Result<Json<NewRecord>, JsonRejection>,
) -> Result<(StatusCode, Json<Record>), Refusal> {
    let Json(new) = new?;
    let record = shared.backend.record(new).await?;
    Ok((StatusCode::CREATED, Json(record)))
}

pub(super) async fn list(
    State(shared): State<Shared>,
    pairs: Result<Query<Pairs>, QueryRejection>,
) -> Result<Json<Vec<Record>>, Refusal> {
    let Query(pairs) = pairs?;
    Ok(Json(shared.backend.list(query::list(pairs)?).await?))
}

pub(super) async fn show(
    State(shared): State<Shared>,
    Path(id): Path<String>,
) -> Result<Json<Record>, Refusal> {
    Ok(Json(shared.backend.show(id).await?))
}

pub(super) async fn edit(
    State(shared): State<Shared>,
    Path(id): Path<String>,
    edits: Result<Json<Edits>, JsonRejection>,
) -> Result<Json<Record>, Refusal> {
    let Json(edits) = edits?;
    Ok(Json(shared.backend.edit(id, edits).await?))
}

pub(super) async fn delete(
    State(shared): State<Shared>,
    Path(id): Path<String>,
) -> Result<Json<Record>, Refusal> {
    Ok(Json(shared.backend.delete(id).await?))
}

pub(super) async fn restore(
    State(shared): State<Shared>,
    Path(id): Path<String>,
) -> Result<Json<Record>, Refusal> {
    Ok(Json(shared.backend.restore(id).await?))
}

pub(super) async fn approve(
    State(shared): State<Shared>,
    Path(id): Path<String>,
    ruling: Result<Json<NewRuling>, JsonRejection>,
) -> Result<Json<Record>, Refusal> {
    let Json(ruling) = ruling?;
    Ok(Json(shared.backend.approve(id, ruling).await?))
}

pub(super) async fn history(
    State(shared): State<Shared>,
    Path(id): Path<String>,
) -> Result<Json<Vec<Revision>>, Refusal> {
    Ok(Json(shared.backend.history(id).await?))
}
