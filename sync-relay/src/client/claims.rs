//! Claims, asked of the relay that runs.

use axum::body::Body;
use axum::http::Method;
use fieldmesh::api::Problem;

use super::Client;
use crate::wire::{ClaimReport, ClaimSummary, NewClaim, RevokedClaim, escape};

impl Client {
    /// See [`crate::relay::Relay::claim`].
    pub(crate) async fn claim(&self, new: NewClaim) -> Result<ClaimReport, Problem> {
        self.post("/v1/claims".into(), &new).await
    }

    /// See [`crate::relay::Relay::claims`].
    pub(crate) async fn claims(&self) -> Result<Vec<ClaimSummary>, Problem> {
        self.get("/v1/claims".into()).await
    }

    /// See [`crate::relay::Relay::revoke_claim`].
    pub(crate) async fn revoke_claim(&self, id: &str) -> Result<RevokedClaim, Problem> {
        let target = format!("/v1/claims/{}/revoke", escape(id));
        self.exchange(Method::POST, target, Body::empty()).await
    }
}
