//! `/v1/purges`.

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use fieldmesh::api::{PurgeOptions, PurgeReport, PurgedRecord};

use crate::daemon::Shared;
use crate::daemon::answer::Refusal;

pub(super) async fn list(State(shared): State<Shared>) -> Result<Json<Vec<PurgedRecord>>, Refusal> {
    Ok(Json(shared.backend.purges().await?))
}

pub(super) async fn purge(
    State(shared): State<Shared>,
    options: Result<Json<PurgeOptions>, JsonRejection>,
) -> Result<Json<Vec<PurgeReport>>, Refusal> {
    let Json(options) = options?;
    Ok(Json(shared.backend.purge(options).await?))
}
