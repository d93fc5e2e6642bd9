//! What is asked about people who log in.

use fieldmesh::api::Problem;

use super::Client;
use crate::accounts::{NewUser, UserReport};
use crate::relay::Login;
use crate::wire::{NewPassword, escape};

impl Client {
    /// See [`crate::relay::Relay::users`].
    pub(crate) async fn users(&self, tenant: &str) -> Result<Vec<UserReport>, Problem> {
        self.get(format!("/v1/tenants/{}/users", escape(tenant))).await
    }

    /// See [`crate::relay::Relay::add_user`].
    pub(crate) async fn add_user(
        &self,
        tenant: &str,
        new: &NewUser,
    ) -> Result<UserReport, Problem> {
        self.post(format!("/v1/tenants/{}/users", escape(tenant)), new).await
    }

    /// See [`crate::relay::Relay::enable_user`].
    pub(crate) async fn enable_user(
        &self,
        tenant: &str,
        email: &str,
        may: Login,
    ) -> Result<UserReport, Problem> {
        let verb = match may {
            Login::Enabled => "enable",
            Login::Disabled => "disable",
        };
        self.post(format!("{}/{verb}", user(tenant, email)), &()).await
    }

    /// See [`crate::relay::Relay::set_password`].
    pub(crate) async fn set_password(
        &self,
        tenant: &str,
        email: &str,
        password: String,
    ) -> Result<UserReport, Problem> {
        self.post(format!("{}/password", user(tenant, email)), &NewPassword { password }).await
    }

    /// See [`crate::relay::Relay::rotate_key`].
    pub(crate) async fn rotate_key(&self, tenant: &str) -> Result<(), Problem> {
        self.post(format!("/v1/tenants/{}/token-key", escape(tenant)), &()).await
    }
}

fn user(tenant: &str, email: &str) -> String {
    format!("/v1/tenants/{}/users/{}", escape(tenant), escape(email))
}
