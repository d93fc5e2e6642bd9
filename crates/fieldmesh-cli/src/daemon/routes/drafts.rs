//! `/v1/drafts`.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use fieldmesh::api::{Draft, DraftChange, Record};

use crate::daemon::Shared;
use crate::daemon::answer::Refusal;

pub(super) async fn list(State(shared): State<Shared>) -> Result<Json<Vec<Draft>>, Refusal> {
    Ok(Json(shared.backend.drafts().await?))
}

pub(super) async fn show(
    State(shared): State<Shared>,
    Path(id): Path<String>,
) -> Result<Json<Draft>, Refusal> {
    Ok(Json(shared.backend.draft(id).await?))
}

pub(super) async fn change(
    State(shared): State<Shared>,
    change: Result<Json<DraftChange>, JsonRejection>,
) -> Result<Json<Draft>, Refusal> {
    let Json(change) = change?;
    Ok(Json(shared.backend.change_draft(change).await?))
}

pub(super) async fn submit(
    State(shared): State<Shared>,
    Path(id): Path<String>,
) -> Result<Json<Record>, Refusal> {
    Ok(Json(shared.backend.submit_draft(id).await?))
}
