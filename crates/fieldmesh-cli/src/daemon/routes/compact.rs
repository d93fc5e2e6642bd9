//! The route that makes the home smaller.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use futures::FutureExt as _;

use crate::daemon::Shared;
use crate::daemon::answer::lines;
use crate::daemon::told::told;

pub(super) async fn compact(State(shared): State<Shared>) -> Response {
    let backend = Arc::clone(&shared.backend);
    let stream = told(|listener| async move { backend.compact(listener).await }.boxed());
    lines(Body::from_stream(stream))
}
