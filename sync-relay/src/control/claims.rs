//! `/v1/claims`.

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};

use super::Refusal;
use crate::relay::Relay;
use crate::wire::{ClaimReport, ClaimSummary, NewClaim, RevokedClaim};

pub(super) fn routes() -> Router<Relay> {
    Router::new()
        .route("/v1/claims", get(list).post(make))
        .route("/v1/claims/{id}/revoke", post(revoke))
}

async fn list(State(relay): State<Relay>) -> Result<Json<Vec<ClaimSummary>>, Refusal> {
    Ok(Json(relay.claims()?))
}

async fn make(
    State(relay): State<Relay>,
    new: Result<Json<NewClaim>, JsonRejection>,
) -> Result<(StatusCode, Json<ClaimReport>), Refusal> {
    let Json(new) = new?;
    Ok((StatusCode::CREATED, Json(relay.claim(new).await?)))
}

async fn revoke(
    State(relay): State<Relay>,
    Path(id): Path<String>,
) -> Result<Json<RevokedClaim>, Refusal> {
    Ok(Json(relay.revoke_claim(&id).await?))
}
