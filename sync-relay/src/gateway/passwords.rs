//! People who change their password, or choose another one by a code.
//!
//! Whatever is wrong with an address or a code is answered alike, and takes as long.

use fieldmesh_dialect::command::{PasswordChange, PasswordReset, ResetCodeOrder, Secret};
use fieldmesh_dialect::outcome::Session;
use fieldmesh_dialect::{Caller, Refusal};
use fieldmesh_http::Origin;
use fieldmesh_model::{Moment, UserId};

use super::{Gateway, Tenant, Tenants, checked, forbidden, no_tenant};
use crate::accounts::{Account, Book, BookError, Password, Unfit};

/// Why there is no code for some accounts.
const OPERATOR_ALONE: &str =
    "The operator of the relay sets passwords of admins: sync-relay user passwd";

impl<T: Tenants> Gateway<T> {
    /// Changes the password of whoever is logged in and knows it.
    pub(super) async fn change_own(
        &self,
        caller: &Caller,
        change: PasswordChange,
        origin: Origin,
        at: Moment,
    ) -> Result<Session, Refusal> {
        let tenant = self.tenant_of_caller(caller)?;
        let book = self.book(&tenant).await?;
        let account = self.known_by_password(&tenant, &book, caller, &change.current, &origin);
        let account = account.await?;
        if change.new == change.current {
            return Err(Refusal::fault("newPassword", "newPassword is the current one"));
        }
        let new = self.stretched(change.new.reveal()).await?;
        let device = caller.device.clone();
        let changed = self.change(&tenant, book, move |book, names| {
            book.change_password(names, &account.email, &account.password, new, device, at)
        });
        let session = changed.await?;
        tracing::info!(
            tenant = tenant.id.short(),
            user = session.user.id,
            "a password was changed"
        );
        Ok(session)
    }

    /// Gives somebody with a code another password.
    pub(super) async fn reset(
        &self,
        reset: PasswordReset,
        origin: Origin,
        at: Moment,
    ) -> Result<Session, Refusal> {
        let tenant = self.tenant_of(&origin)?;
        self.attempt(&tenant, &reset.email, &origin)?;
        let wrong = || forbidden("Email or code is wrong");
        // Says nothing of anybody, so it may come first.
        Password::check(reset.new.reveal()).map_err(unfit)?;
        let device = origin.device.map(checked).transpose()?;
        let book = self.book(&tenant).await?;
        if !book.is_reset_code(&reset.email, reset.code.reveal(), at) {
            return Err(wrong());
        }
        let new = self.stretched(reset.new.reveal()).await?;
        let changed = self.change(&tenant, book, move |book, names| {
            let code = reset.code.reveal();
            book.reset_password(names, &reset.email, code, new, device, at)
        });
        let session = changed.await.map_err(|refusal| match refusal {
            Refusal::WrongCredentials => wrong(),
            other => other,
        })?;
        tracing::info!(
            tenant = tenant.id.short(),
            user = session.user.id,
            "a password was changed by a code"
        );
        Ok(session)
    }

    /// Makes a code for a person of the caller's tenant. A token that was stolen makes none, and
    /// nobody becomes an admin by one: those get their passwords from the operator of the relay.
    pub(super) async fn make_code(
        &self,
        caller: &Caller,
        order: ResetCodeOrder,
        origin: Origin,
        at: Moment,
    ) -> Result<(String, Moment), Refusal> {
        let tenant = self.tenant_of_caller(caller)?;
        let book = self.book(&tenant).await?;
        let own = self.known_by_password(&tenant, &book, caller, &order.current, &origin).await?;
        let made = book.reset_code(own.id, &order.email, at);
        let (code, user) = made.map_err(|error| match error {
            BookError::Unknown => Refusal::Missing { what: "User".to_owned() },
            BookError::NotGood => forbidden(OPERATOR_ALONE),
            BookError::Taken | BookError::Full | BookError::File(_) => Refusal::Failed,
        })?;
        tracing::info!(
            tenant = tenant.id.short(),
            by = caller.user,
            user = user.to_string(),
            "a code for a password was made"
        );
        Ok((code.text, code.until))
    }

    /// The account of a caller who knows its password; an attempt is counted as his.
    async fn known_by_password(
        &self,
        tenant: &Tenant,
        book: &Book,
        caller: &Caller,
        current: &Secret,
        origin: &Origin,
    ) -> Result<Account, Refusal> {
        let user: UserId = caller.user.parse().map_err(|_| Refusal::Unauthenticated)?;
        let account = book.person(user).ok_or(Refusal::Unauthenticated)?;
        self.attempt(tenant, &account.email, origin)?;
        let (known, current) = (account.password.clone(), current.clone());
        if !self.stretch(move || known.is(current.reveal())).await? {
            return Err(forbidden("The current password is wrong"));
        }
        Ok(account)
    }

    fn tenant_of_caller(&self, caller: &Caller) -> Result<Tenant, Refusal> {
        self.tenants.named(&caller.tenant).ok_or_else(no_tenant)
    }

    /// A new password, as it is kept.
    async fn stretched(&self, text: &str) -> Result<Password, Refusal> {
        let text = text.to_owned();
        self.stretch(move || Password::new(&text)).await?.map_err(unfit)
    }
}

fn unfit(unfit: Unfit) -> Refusal {
    Refusal::fault("newPassword", &unfit.text())
}
