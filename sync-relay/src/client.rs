//! Asks the relay that runs on the data folder.

mod claims;
mod log;
mod upkeep;
mod users;

use std::path::PathBuf;

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, HOST};
use axum::http::{Method, Request};
use fieldmesh::api::{
    DeviceReport, InvitationReport, InviteOptions, Problem, RevokeOptions, RevokeReport,
};
use fieldmesh_dialect::outcome::{FleetDevice, RejectedPage};
use fieldmesh_shell::socket;
use http_body_util::BodyExt as _;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::task::JoinSet;

use crate::problem::{running, silent};
use crate::wire::{NewTenant, RemoveOptions, RemovedTenant, TenantList, TenantSummary, escape};

/// A relay behind its socket.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    socket: PathBuf,
}

impl Client {
    /// The relay that listens on `socket`.
    pub(crate) const fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    fn socket(&self) -> &std::path::Path {
        &self.socket
    }

    /// See [`crate::relay::Relay::list`].
    pub(crate) async fn list(&self) -> Result<TenantList, Problem> {
        self.get("/v1/tenants".into()).await
    }

    /// See [`crate::relay::Relay::admit`].
    pub(crate) async fn admit(&self, new: &NewTenant) -> Result<TenantSummary, Problem> {
        self.post("/v1/tenants".into(), new).await
    }

    /// See [`crate::relay::Relay::remove`].
    pub(crate) async fn remove(
        &self,
        tenant: &str,
        options: &RemoveOptions,
    ) -> Result<RemovedTenant, Problem> {
        self.post(format!("/v1/tenants/{}/remove", escape(tenant)), options).await
    }

    /// See [`crate::relay::Relay::invite`].
    pub(crate) async fn invite(
        &self,
        tenant: &str,
        options: &InviteOptions,
    ) -> Result<Vec<InvitationReport>, Problem> {
        self.post(format!("/v1/tenants/{}/invitations", escape(tenant)), options).await
    }

    /// See [`crate::relay::Relay::devices`].
    pub(crate) async fn devices(&self, tenant: &str) -> Result<Vec<DeviceReport>, Problem> {
        self.get(format!("/v1/tenants/{}/devices", escape(tenant))).await
    }

    /// See [`crate::relay::Relay::fleet`].
    pub(crate) async fn fleet(&self, tenant: &str) -> Result<Vec<FleetDevice>, Problem> {
        self.get(format!("/v1/tenants/{}/fleet", escape(tenant))).await
    }

    /// See [`crate::relay::Relay::rejected`].
    pub(crate) async fn rejected(
        &self,
        tenant: &str,
        after: Option<&str>,
    ) -> Result<RejectedPage, Problem> {
        let behind = after.map(|after| format!("?after={}", escape(after))).unwrap_or_default();
        self.get(format!("/v1/tenants/{}/rejected{behind}", escape(tenant))).await
    }

    /// See [`crate::relay::Relay::revoke`].
    pub(crate) async fn revoke(
        &self,
        tenant: &str,
        device: &str,
        options: &RevokeOptions,
    ) -> Result<RevokeReport, Problem> {
        let (tenant, device) = (escape(tenant), escape(device));
        self.post(format!("/v1/tenants/{tenant}/devices/{device}/revoke"), options).await
    }

    async fn get<T: DeserializeOwned>(&self, target: String) -> Result<T, Problem> {
        self.exchange(Method::GET, target, Body::empty()).await
    }

    async fn post<T: DeserializeOwned>(
        &self,
        target: String,
        value: &impl Serialize,
    ) -> Result<T, Problem> {
        let body = serde_json::to_vec(value).map_err(running)?;
        self.exchange(Method::POST, target, Body::from(body)).await
    }

    async fn exchange<T: DeserializeOwned>(
        &self,
        method: Method,
        target: String,
        body: Body,
    ) -> Result<T, Problem> {
        let request = request(method, target, body)?;
        let (mut sender, _connection) = self.connect().await?;
        let answer = async {
            let response = sender.send_request(request).await?;
            Ok::<_, hyper::Error>((response.status(), response.into_body().collect().await?))
        };
        let answered = tokio::select! {
            biased;
            answered = answer => answered,
            silence = socket::silence(&self.socket) => return Err(silent(silence)),
        };
        let (status, body) = answered.map_err(running)?;
        let bytes = body.to_bytes();
        if status.is_success() {
            return serde_json::from_slice(&bytes).map_err(running);
        }
        Err(serde_json::from_slice(&bytes).unwrap_or_else(|_| running(status)))
    }

    /// A connection, and the task that carries it as long as that is held.
    async fn connect(&self) -> Result<(SendRequest<Body>, JoinSet<()>), Problem> {
        let stream = UnixStream::connect(&self.socket).await.map_err(running)?;
        let (sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(running)?;
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            // How the connection ended shows in the answer.
            let _ = connection.await;
        });
        Ok((sender, tasks))
    }
}

fn request(method: Method, target: String, body: Body) -> Result<Request<Body>, Problem> {
    Request::builder()
        .method(method)
        .uri(target)
        .header(HOST, "sync-relay")
        .header(CONTENT_TYPE, "application/json")
        .body(body)
        .map_err(running)
}
