//! The routes about many records at once and about the past.

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use fieldmesh::api::{BulkEdit, BulkReport, Page, Record};
use fieldmesh_model::Moment;
use serde::Deserialize;

use crate::daemon::Shared;
use crate::daemon::answer::Refusal;
use crate::wire::query::{self, Pairs};

pub(super) async fn page(
    State(shared): State<Shared>,
    pairs: Result<Query<Pairs>, QueryRejection>,
) -> Result<Json<Page>, Refusal> {
    let Query(pairs) = pairs?;
    Ok(Json(shared.backend.page(query::list(pairs)?).await?))
}

pub(super) async fn count(
    State(shared): State<Shared>,
    pairs: Result<Query<Pairs>, QueryRejection>,
) -> Result<Json<u64>, Refusal> {
    let Query(pairs) = pairs?;
    Ok(Json(shared.backend.count(query::list(pairs)?).await?))
}

/// Of which time a record is wanted.
#[derive(Deserialize)]
pub(super) struct Past {
    at: Moment,
}

pub(super) async fn show_at(
    State(shared): State<Shared>,
    Path(id): Path<String>,
    past: Result<Query<Past>, QueryRejection>,
) -> Result<Json<Record>, Refusal> {
    let Query(Past { at }) = past?;
    Ok(Json(shared.backend.show_at(id, at).await?))
}

pub(super) async fn edit_all(
    State(shared): State<Shared>,
    bulk: Result<Json<BulkEdit>, JsonRejection>,
) -> Result<Json<BulkReport>, Refusal> {
    let Json(bulk) = bulk?;
    Ok(Json(shared.backend.edit_all(bulk).await?))
}
