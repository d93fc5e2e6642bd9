//! The routes about old records that a device lets go.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::response::Response;
use fieldmesh::api::{EvictOptions, KeptReport};
use futures::FutureExt as _;

use crate::daemon::Shared;
use crate::daemon::answer::{Refusal, lines};
use crate::daemon::told::told;

pub(super) async fn evict(
    State(shared): State<Shared>,
    options: Result<Json<EvictOptions>, JsonRejection>,
) -> Result<Response, Refusal> {
    let Json(options) = options?;
    let backend = Arc::clone(&shared.backend);
    let stream = told(|listener| async move { backend.evict(options, listener).await }.boxed());
    Ok(lines(Body::from_stream(stream)))
}

pub(super) async fn kept(State(shared): State<Shared>) -> Result<Json<KeptReport>, Refusal> {
    Ok(Json(shared.backend.kept().await?))
}
