//! `/v1/conflicts`.

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use fieldmesh::api::{
    ConflictReport, NewComment, NewVerdict, Record, Resolution, ResolveAll, ResolveAllReport,
};

use crate::daemon::Shared;
use crate::daemon::answer::Refusal;
use crate::wire::query::{self, Pairs};

pub(super) async fn list(
    State(shared): State<Shared>,
    pairs: Result<Query<Pairs>, QueryRejection>,
) -> Result<Json<Vec<ConflictReport>>, Refusal> {
    let Query(pairs) = pairs?;
    Ok(Json(shared.backend.conflicts(query::conflicts(pairs)?).await?))
}

pub(super) async fn show(
    State(shared): State<Shared>,
    Path(id): Path<String>,
) -> Result<Json<ConflictReport>, Refusal> {
    Ok(Json(shared.backend.conflict(id).await?))
}

pub(super) async fn comment(
    State(shared): State<Shared>,
    Path(id): Path<String>,
    comment: Result<Json<NewComment>, JsonRejection>,
) -> Result<Json<ConflictReport>, Refusal> {
    let Json(NewComment { text }) = comment?;
    Ok(Json(shared.backend.comment(id, text).await?))
}

pub(super) async fn resolve(
    State(shared): State<Shared>,
    Path(id): Path<String>,
    resolution: Result<Json<Resolution>, JsonRejection>,
) -> Result<Json<Record>, Refusal> {
    let Json(resolution) = resolution?;
    Ok(Json(shared.backend.resolve(id, resolution).await?))
}

pub(super) async fn decide(
    State(shared): State<Shared>,
    Path(id): Path<String>,
    verdict: Result<Json<NewVerdict>, JsonRejection>,
) -> Result<Json<ConflictReport>, Refusal> {
    let Json(NewVerdict { verdict }) = verdict?;
    Ok(Json(shared.backend.decide(id, verdict).await?))
}

pub(super) async fn resolve_all(
    State(shared): State<Shared>,
    all: Result<Json<ResolveAll>, JsonRejection>,
) -> Result<Json<ResolveAllReport>, Refusal> {
    let Json(all) = all?;
    Ok(Json(shared.backend.resolve_all(all).await?))
}
