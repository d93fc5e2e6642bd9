//! The routes about people who log in.

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};

use super::Refusal;
use crate::accounts::{NewUser, UserReport};
use crate::relay::{Login, Relay};
use crate::wire::NewPassword;

pub(super) fn routes() -> Router<Relay> {
    Router::new()
        .route("/v1/tenants/{tenant}/users", get(list).post(add))
        .route("/v1/tenants/{tenant}/users/{email}/disable", post(disable))
        .route("/v1/tenants/{tenant}/users/{email}/enable", post(enable))
        .route("/v1/tenants/{tenant}/users/{email}/password", post(set_password))
        .route("/v1/tenants/{tenant}/token-key", post(rotate_key))
}

async fn list(
    State(relay): State<Relay>,
    Path(tenant): Path<String>,
) -> Result<Json<Vec<UserReport>>, Refusal> {
    Ok(Json(relay.users(&tenant).await?))
}

async fn add(
    State(relay): State<Relay>,
    Path(tenant): Path<String>,
    new: Result<Json<NewUser>, JsonRejection>,
) -> Result<(StatusCode, Json<UserReport>), Refusal> {
    let Json(new) = new?;
    Ok((StatusCode::CREATED, Json(relay.add_user(&tenant, new).await?)))
}

async fn disable(
    State(relay): State<Relay>,
    Path((tenant, email)): Path<(String, String)>,
) -> Result<Json<UserReport>, Refusal> {
    Ok(Json(relay.enable_user(&tenant, &email, Login::Disabled).await?))
}

async fn enable(
    State(relay): State<Relay>,
    Path((tenant, email)): Path<(String, String)>,
) -> Result<Json<UserReport>, Refusal> {
    Ok(Json(relay.enable_user(&tenant, &email, Login::Enabled).await?))
}

async fn set_password(
    State(relay): State<Relay>,
    Path((tenant, email)): Path<(String, String)>,
    new: Result<Json<NewPassword>, JsonRejection>,
) -> Result<Json<UserReport>, Refusal> {
    let Json(new) = new?;
    Ok(Json(relay.set_password(&tenant, &email, new.password).await?))
}

async fn rotate_key(
    State(relay): State<Relay>,
    Path(tenant): Path<String>,
) -> Result<Json<()>, Refusal> {
    Ok(Json(relay.rotate_key(&tenant).await?))
}
