//! The routes about the home itself and its daemon.

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use fieldmesh::api::{
    ConnectivityReport, DoctorReport, InvitationReport, InviteOptions, PeerReport, RekeyOptions,
    RekeyReport, StatusReport, SyncNow, SyncSettingsChange, VerifyReport,
};
use serde::Deserialize;

use crate::daemon::Shared;
use crate::daemon::answer::Refusal;

pub(super) async fn status(State(shared): State<Shared>) -> Result<Json<StatusReport>, Refusal> {
    Ok(Json(shared.backend.status().await?))
}

pub(super) async fn warnings(State(shared): State<Shared>) -> Result<Json<Vec<String>>, Refusal> {
    Ok(Json(shared.backend.warnings().await?))
}

pub(super) async fn connectivity(
    State(shared): State<Shared>,
) -> Result<Json<ConnectivityReport>, Refusal> {
    Ok(Json(shared.backend.connectivity().await?))
}

pub(super) async fn configure_sync(
    State(shared): State<Shared>,
    change: Result<Json<SyncSettingsChange>, JsonRejection>,
) -> Result<Json<ConnectivityReport>, Refusal> {
    let Json(change) = change?;
    Ok(Json(shared.backend.configure_sync(change).await?))
}

pub(super) async fn sync_now(State(shared): State<Shared>) -> Result<Json<SyncNow>, Refusal> {
    Ok(Json(shared.backend.sync_now().await?))
}

pub(super) async fn peers(State(shared): State<Shared>) -> Result<Json<Vec<PeerReport>>, Refusal> {
    Ok(Json(shared.backend.peers().await?))
}

pub(super) async fn invite(
    State(shared): State<Shared>,
    options: Result<Json<InviteOptions>, JsonRejection>,
) -> Result<(StatusCode, Json<Vec<InvitationReport>>), Refusal> {
    let Json(options) = options?;
    Ok((StatusCode::CREATED, Json(shared.backend.invite(options).await?)))
}

pub(super) async fn verify(State(shared): State<Shared>) -> Result<Json<VerifyReport>, Refusal> {
    Ok(Json(shared.backend.verify().await?))
}

pub(super) async fn rekey(
    State(shared): State<Shared>,
    options: Result<Json<RekeyOptions>, JsonRejection>,
) -> Result<(StatusCode, Json<RekeyReport>), Refusal> {
    let Json(options) = options?;
    Ok((StatusCode::ACCEPTED, Json(shared.backend.rekey(options).await?)))
}

pub(super) async fn doctor(State(shared): State<Shared>) -> Result<Json<DoctorReport>, Refusal> {
    Ok(Json(shared.backend.doctor().await?))
}

pub(super) async fn accept_losses(State(shared): State<Shared>) -> Result<Json<u64>, Refusal> {
    Ok(Json(shared.backend.accept_losses().await?))
}

/// Which log lines the daemon is to write.
#[derive(Deserialize)]
pub(super) struct LogFilter {
    filter: String,
}

pub(super) async fn log(
    State(shared): State<Shared>,
    asked: Result<Json<LogFilter>, JsonRejection>,
) -> Result<StatusCode, Refusal> {
    let Json(LogFilter { filter }) = asked?;
    shared.logs.change(&filter)?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn stop(State(shared): State<Shared>) -> StatusCode {
    shared.stop.cancel();
    StatusCode::ACCEPTED
}
