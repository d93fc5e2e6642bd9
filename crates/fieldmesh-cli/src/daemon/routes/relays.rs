//! `/v1/relays`.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use fieldmesh::api::{RelayOptions, RelayReport};

use crate::daemon::Shared;
use crate::daemon::answer::Refusal;

pub(super) async fn list(State(shared): State<Shared>) -> Result<Json<Vec<RelayReport>>, Refusal> {
    Ok(Json(shared.backend.relays().await?))
}

pub(super) async fn add(
    State(shared): State<Shared>,
    options: Result<Json<RelayOptions>, JsonRejection>,
) -> Result<Json<Vec<RelayReport>>, Refusal> {
    let Json(options) = options?;
    Ok(Json(shared.backend.add_relay(options).await?))
}

pub(super) async fn remove(
    State(shared): State<Shared>,
    Path(address): Path<String>,
) -> Result<Json<String>, Refusal> {
    Ok(Json(shared.backend.remove_relay(address).await?))
}
