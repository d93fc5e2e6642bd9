//! The people of a relay's tenants, as its operator manages them.

use std::sync::Arc;

use fieldmesh::Node;
use fieldmesh::api::Problem;
use fieldmesh_model::{Moment, TenantId, UserId};

use super::Relay;
use crate::accounts::{self, Book, BookError, NewUser, Password, Sessions, UserReport};
use crate::problem;

impl Relay {
    /// The people of a tenant.
    pub(crate) fn accounts(&self) -> Arc<accounts::Accounts> {
        Arc::clone(&self.inner.accounts)
    }

    /// Adds a person to a tenant, by the id that the certificates of its devices carry.
    ///
    /// # Errors
    ///
    /// There is no such tenant, this relay is none at which its people log in, or the person cannot
    /// be added.
    pub(crate) async fn add_user(&self, tenant: &str, new: NewUser) -> Result<UserReport, Problem> {
        let email = accounts::check_email(&new.email)?;
        let node = self.find(tenant).await?;
        if !node.is_gateway() {
            return Err(problem::refused(format!(
                "this relay is no gateway of {}: it stores and forwards, and opens no record, so that \
                 apps would get nothing here. That is decided when a relay gets a tenant, by \
                 `sync-relay claim --gateway`, `tenant create --gateway`, or an invitation for a \
                 gateway; MANUAL.md says how one that serves the tenant already is taken in anew",
                node.tenant().slug
            )));
        }
        let known = node.person(&email).await.map_err(|error| error.problem())?;
        let id = known.unwrap_or_else(accounts::new_user);
        let work = move |book: &Book, at| {
            let account = accounts::new_account(&new, id, at)?;
            book.add(account, at).map_err(|error| accounts::of_book(&error, &email))
        };
        self.with_book(node.tenant().tenant, work).await
    }

    /// The people of a tenant, by address.
    pub(crate) async fn users(&self, tenant: &str) -> Result<Vec<UserReport>, Problem> {
        let id = self.tenant_named(tenant)?;
        self.with_book(id, |book, at| Ok(book.list(at))).await
    }

    /// Lets a person log in or not; who may not is logged out everywhere at once.
    pub(crate) async fn enable_user(
        &self,
        tenant: &str,
        email: &str,
        may: Login,
    ) -> Result<UserReport, Problem> {
        let is_disabled = may == Login::Disabled;
        let sessions = if is_disabled { Sessions::End } else { Sessions::Stay };
        self.update(tenant, email, move |book, email, at| {
            book.update(email, at, sessions, |account| account.is_disabled = is_disabled)
        })
        .await
    }

    /// Gives a person another password, and logs the person out everywhere.
    pub(crate) async fn set_password(
        &self,
        tenant: &str,
        email: &str,
        password: String,
    ) -> Result<UserReport, Problem> {
        let id = self.tenant_named(tenant)?;
        let email = email.to_owned();
        self.with_book(id, move |book, at| {
            let password =
                Password::new(&password).map_err(|unfit| problem::invalid(unfit.text()))?;
            book.update(&email, at, Sessions::End, |account| account.password = password)
                .map_err(|error| accounts::of_book(&error, &email))
        })
        .await
    }

    /// Makes a new key for access tokens; those that were given out end at once.
    pub(crate) async fn rotate_key(&self, tenant: &str) -> Result<(), Problem> {
        let id = self.tenant_named(tenant)?;
        let rotate =
            |book: &Book, at| book.rotate_key(at).map_err(|error| accounts::of_book(&error, ""));
        self.with_book(id, rotate).await
    }

    /// The id of the account with an address, for the certificates of the person's devices.
    pub(super) async fn account_of(
        &self,
        node: &Node,
        email: Option<&str>,
    ) -> Result<Option<UserId>, Problem> {
        let tenant = node.tenant().tenant;
        let Some(email) = email.map(str::to_owned) else { return Ok(None) };
        if !self.inner.accounts.has(tenant) {
            return Ok(None);
        }
        self.with_book(tenant, move |book, _| Ok(book.find(&email).map(|account| account.id))).await
    }

    async fn update(
        &self,
        tenant: &str,
        email: &str,
        change: impl FnOnce(&Book, &str, Moment) -> Result<UserReport, BookError> + Send + 'static,
    ) -> Result<UserReport, Problem> {
        let id = self.tenant_named(tenant)?;
        let email = email.to_owned();
        self.with_book(id, move |book, at| {
            change(book, &email, at).map_err(|error| accounts::of_book(&error, &email))
        })
        .await
    }

    /// The tenant that `name` means; opens nothing.
    fn tenant_named(&self, name: &str) -> Result<TenantId, Problem> {
        Ok(self.named(name)?.tenant.tenant)
    }

    async fn with_book<T: Send + 'static>(
        &self,
        tenant: TenantId,
        work: impl FnOnce(&Book, Moment) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let accounts = self.accounts();
        let working =
            tokio::task::spawn_blocking(move || work(&*accounts.of(tenant)?, accounts::now()));
        working.await.unwrap_or_else(|error| Err(problem::failed(error.to_string())))
    }
}

/// Whether a person may log in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Login {
    /// Yes.
    Enabled,
    /// No.
    Disabled,
}
