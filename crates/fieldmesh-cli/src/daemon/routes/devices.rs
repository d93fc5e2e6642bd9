//! `/v1/devices`.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use fieldmesh::api::{AdoptReport, DeviceReport, RevokeOptions, RevokeReport};

use crate::daemon::Shared;
use crate::daemon::answer::Refusal;

pub(super) async fn list(State(shared): State<Shared>) -> Result<Json<Vec<DeviceReport>>, Refusal> {
    Ok(Json(shared.backend.devices().await?))
}

pub(super) async fn revoke(
    State(shared): State<Shared>,
    Path(id): Path<String>,
    options: Result<Json<RevokeOptions>, JsonRejection>,
) -> Result<Json<RevokeReport>, Refusal> {
    let Json(options) = options?;
    Ok(Json(shared.backend.revoke(id, options).await?))
}

pub(super) async fn adopt(
    State(shared): State<Shared>,
    Path(id): Path<String>,
    batches: Result<Json<Vec<String>>, JsonRejection>,
) -> Result<Json<AdoptReport>, Refusal> {
    let Json(batches) = batches?;
    Ok(Json(shared.backend.adopt(id, batches).await?))
}
