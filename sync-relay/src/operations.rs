//! `/healthz` and `/metrics` over HTTP, for whoever watches over the relay.
//!
//! There is nothing to protect here and nothing to change, so there is no login; the port still
//! belongs on loopback or in a network of one's own.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use fieldmesh::api::Problem;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::control::overdue;
use crate::metrics;
use crate::problem;
use crate::relay::Relay;

/// Opens the port.
///
/// # Errors
///
/// The address is in use or not this machine's.
pub(crate) async fn bind(address: SocketAddr) -> Result<TcpListener, Problem> {
    TcpListener::bind(address).await.map_err(|error| {
        problem::failed(format!(
            "cannot listen on {address} for HTTP: {error}; give another address with --http"
        ))
    })
}

/// Serves until `stop`.
pub(crate) async fn serve(
    listener: TcpListener,
    relay: Relay,
    stop: CancellationToken,
) -> Result<(), Problem> {
    let routes = Router::new()
        .route("/healthz", get(health))
        .route("/metrics", get(measures))
        .with_state(relay);
    let serving =
        axum::serve(listener, routes).with_graceful_shutdown(stop.clone().cancelled_owned());
    let served = tokio::select! {
        served = serving.into_future() => served,
        () = overdue(&stop) => Ok(()),
    };
    served.map_err(|error| problem::failed(format!("cannot serve HTTP: {error}")))
}

async fn health(State(relay): State<Relay>) -> Response {
    let faults = relay.faults().await;
    if faults.is_empty() {
        return "ok\n".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, faults.join("\n") + "\n").into_response()
}

async fn measures(State(relay): State<Relay>) -> Response {
    let text = metrics::render(&relay.measures().await);
    ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response()
}
