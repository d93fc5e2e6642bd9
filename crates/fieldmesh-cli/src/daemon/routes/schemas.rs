//! `/v1/schemas`.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use fieldmesh::api::{SchemaOptions, SchemaReport, SchemaShown};

use crate::daemon::Shared;
use crate::daemon::answer::Refusal;

pub(super) async fn list(State(shared): State<Shared>) -> Result<Json<Vec<SchemaShown>>, Refusal> {
    Ok(Json(shared.backend.schemas(None).await?))
}

pub(super) async fn show(
    State(shared): State<Shared>,
    Path(name): Path<String>,
) -> Result<Json<Vec<SchemaShown>>, Refusal> {
    Ok(Json(shared.backend.schemas(Some(name)).await?))
}

pub(super) async fn take(
    State(shared): State<Shared>,
    options: Result<Json<SchemaOptions>, JsonRejection>,
) -> Result<Json<SchemaReport>, Refusal> {
    let Json(options) = options?;
    Ok(Json(shared.backend.schema(options).await?))
}
