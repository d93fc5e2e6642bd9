//! The routes about the log.

use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::routing::get;
use axum::{Json, Router};

use super::Refusal;
use crate::log::Lines;
use crate::wire::LogFilter;

pub(super) fn routes(lines: Lines) -> Router {
    Router::new().route("/v1/log", get(show).post(set)).with_state(lines)
}

async fn show(State(lines): State<Lines>) -> Result<Json<LogFilter>, Refusal> {
    Ok(Json(LogFilter { filter: lines.shown()? }))
}

async fn set(
    State(lines): State<Lines>,
    wanted: Result<Json<LogFilter>, JsonRejection>,
) -> Result<Json<LogFilter>, Refusal> {
    let Json(wanted) = wanted?;
    let filter = lines.set(&wanted.filter)?;
    tracing::info!(filter, "log lines are chosen anew");
    Ok(Json(LogFilter { filter }))
}
