//! Serves the other commands of the data folder: HTTP/1.1 with `/v1` routes over a Unix socket.

mod claims;
mod log;
mod upkeep;
mod users;

use std::time::Duration;

use axum::body::Body;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use fieldmesh::api::{
    DeviceReport, InvitationReport, InviteOptions, Problem, RevokeOptions, RevokeReport,
};
use fieldmesh_dialect::outcome::{FleetDevice, RejectedPage};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::log::Lines;
use crate::problem;
use crate::relay::Relay;
use crate::wire::{NewTenant, PROBLEM, RemoveOptions, RemovedTenant, TenantList, TenantSummary};
use fieldmesh_shell::socket::Socket;

/// How long requests may go on once the relay was told to stop.
pub(crate) const LAST_REQUESTS_MAX: Duration = Duration::from_secs(2);

/// Serves until `stop`, then lets running requests end for a while.
pub(crate) async fn serve(
    socket: &mut Socket,
    relay: Relay,
    lines: Lines,
    stop: CancellationToken,
) -> Result<(), Problem> {
    let Some(listener) = socket.take_listener() else { return Ok(()) };
    let serving = axum::serve(listener, router(relay, lines))
        .with_graceful_shutdown(stop.clone().cancelled_owned());
    let served = tokio::select! {
        served = serving.into_future() => served,
        () = overdue(&stop) => Ok(()),
    };
    served.map_err(|error| problem::failed(format!("cannot serve other commands: {error}")))
}

/// Waits until requests have had their time after `stop`.
pub(crate) async fn overdue(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(LAST_REQUESTS_MAX).await;
}

fn router(relay: Relay, lines: Lines) -> Router {
    Router::new()
        .route("/v1/tenants", get(tenants).post(admit))
        .route("/v1/tenants/{tenant}/remove", post(remove))
        .route("/v1/tenants/{tenant}/invitations", post(invite))
        .route("/v1/tenants/{tenant}/devices", get(devices))
        .route("/v1/tenants/{tenant}/devices/{device}/revoke", post(revoke))
        .route("/v1/tenants/{tenant}/fleet", get(fleet))
        .route("/v1/tenants/{tenant}/rejected", get(rejected))
        .merge(claims::routes())
        .merge(users::routes())
        .merge(upkeep::routes())
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .with_state(relay)
        .merge(log::routes(lines))
}

async fn tenants(State(relay): State<Relay>) -> Json<TenantList> {
    Json(relay.list().await)
}

async fn admit(
    State(relay): State<Relay>,
    new: Result<Json<NewTenant>, JsonRejection>,
) -> Result<(StatusCode, Json<TenantSummary>), Refusal> {
    let Json(new) = new?;
    Ok((StatusCode::CREATED, Json(relay.admit(new).await?)))
}

async fn remove(
    State(relay): State<Relay>,
    Path(tenant): Path<String>,
    options: Result<Json<RemoveOptions>, JsonRejection>,
) -> Result<Json<RemovedTenant>, Refusal> {
    let Json(options) = options?;
    Ok(Json(relay.remove(&tenant, options).await?))
}

async fn invite(
    State(relay): State<Relay>,
    Path(tenant): Path<String>,
    options: Result<Json<InviteOptions>, JsonRejection>,
) -> Result<(StatusCode, Json<Vec<InvitationReport>>), Refusal> {
    let Json(options) = options?;
    Ok((StatusCode::CREATED, Json(relay.invite(&tenant, options).await?)))
}

async fn devices(
    State(relay): State<Relay>,
    Path(tenant): Path<String>,
) -> Result<Json<Vec<DeviceReport>>, Refusal> {
    Ok(Json(relay.devices(&tenant).await?))
}

async fn fleet(
    State(relay): State<Relay>,
    Path(tenant): Path<String>,
) -> Result<Json<Vec<FleetDevice>>, Refusal> {
    Ok(Json(relay.fleet(&tenant).await?))
}

/// Where a list goes on.
#[derive(Deserialize)]
struct Behind {
    after: Option<String>,
}

async fn rejected(
    State(relay): State<Relay>,
    Path(tenant): Path<String>,
    Query(Behind { after }): Query<Behind>,
) -> Result<Json<RejectedPage>, Refusal> {
    Ok(Json(relay.rejected(&tenant, after).await?))
}

async fn revoke(
    State(relay): State<Relay>,
    Path((tenant, device)): Path<(String, String)>,
    options: Result<Json<RevokeOptions>, JsonRejection>,
) -> Result<Json<RevokeReport>, Refusal> {
    let Json(options) = options?;
    Ok(Json(relay.revoke(&tenant, &device, options).await?))
}

async fn no_route() -> Refusal {
    Refusal(problem::not_found("there is no such route"))
}

async fn no_method() -> Response {
    let refusal = Refusal(problem::usage("the route does not know this method"));
    let mut response = refusal.into_response();
    *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    response
}

/// A failure as an answer.
struct Refusal(Problem);

/// The status of RFC 9457 and our members beside it.
#[derive(Serialize)]
struct Details<'a> {
    status: u16,
    #[serde(flatten)]
    problem: &'a Problem,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = self.0.class.http_status();
        let details = Details { status, problem: &self.0 };
        let body = serde_json::to_vec(&details).unwrap_or_default();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() =
            StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM));
        response
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl From<JsonRejection> for Refusal {
    fn from(rejection: JsonRejection) -> Self {
        Self(problem::usage(rejection.body_text()))
    }
}
