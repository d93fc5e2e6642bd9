//! The people and tokens of a relay's tenants, as the shell of HTTP asks for them.
//!
//! Which tenants there are, and what executes their commands, is a [`Tenants`].

mod attempts;
mod passwords;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use fieldmesh_dialect::command::{Login, PasswordChange, PasswordReset, Refresh, ResetCodeOrder};
use fieldmesh_dialect::outcome::{Session, User};
use fieldmesh_dialect::{Caller, Dialects, FeedId, Refusal};
use fieldmesh_http::{Executes, Host, Origin, Passed, Proof};
use fieldmesh_model::{Moment, TenantId};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::sync::Semaphore;

use self::attempts::Attempts;
use crate::accounts::{
    self, Accounts, Book, BookError, DEVICE_LENGTH_MAX, Names, Opened, Password, RefreshToken,
    TOKEN_SECONDS,
};

/// How many passwords are stretched at a time: each takes a core and 19 MiB.
const STRETCHING_MAX: usize = 2;
/// How many more may wait for that.
const STRETCHING_QUEUE_MAX: usize = 64;
/// After how many seconds to come again where too many wait, or accounts cannot be read.
const RETRY_AFTER: u32 = 5;

/// The tenants of a server.
pub(crate) trait Tenants: Send + Sync + 'static {
    /// The tenant that header, host or token call so.
    fn named(&self, name: &str) -> Option<Tenant>;

    /// The tenant, where there is but one.
    fn only(&self) -> Option<Tenant>;

    /// Notes what passed with a device of an app.
    fn passed(&self, tenant: TenantId, device: &str, passed: &Passed);

    /// What executes its commands.
    fn executor(&self, tenant: TenantId) -> BoxFuture<'_, Option<Arc<dyn Executes>>>;
}

/// A tenant, as requests know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tenant {
    pub(crate) id: TenantId,
    /// Its slug, the end of its id, and names that the operator gave it.
    pub(crate) aliases: BTreeSet<String>,
    pub(crate) dialects: Dialects,
}

/// The people and tokens of a server.
pub(crate) struct Gateway<T> {
    tenants: T,
    accounts: Arc<Accounts>,
    attempts: Mutex<Attempts>,
    begun: Instant,
    stretching: Semaphore,
    waiting: Semaphore,
}

impl<T: Tenants> Gateway<T> {
    pub(crate) fn new(tenants: T, accounts: Arc<Accounts>) -> Self {
        Self {
            tenants,
            accounts,
            attempts: Mutex::default(),
            begun: Instant::now(),
            stretching: Semaphore::new(STRETCHING_MAX),
            waiting: Semaphore::new(STRETCHING_MAX + STRETCHING_QUEUE_MAX),
        }
    }

    /// The people of a tenant.
    async fn book(&self, tenant: &Tenant) -> Result<Arc<Book>, Refusal> {
        let (accounts, id) = (Arc::clone(&self.accounts), tenant.id);
        let opened = tokio::task::spawn_blocking(move || accounts.of(id)).await;
        opened.map_err(|_| Refusal::Failed)?.map_err(|problem| {
            tracing::error!(tenant = id.short(), reason = problem.detail, "no accounts");
            Refusal::Unavailable { retry_after: RETRY_AFTER }
        })
    }

    async fn prove(&self, proof: &Proof, at: Moment) -> Result<Caller, Refusal> {
        let claimed = accounts::tenant_of_token(&proof.token).ok_or(Refusal::Unauthenticated)?;
        let tenant = self.tenants.named(&claimed).ok_or(Refusal::Unauthenticated)?;
        let book = self.book(&tenant).await?;
        let id = tenant.id.to_string();
        let short = tenant.id.short();
        let names = Names { tenant: &id, short: &short };
        let (account, device) =
            book.prove(&names, &proof.token, at).ok_or(Refusal::Unauthenticated)?;
        if let Some(name) = &proof.origin.tenant {
            let named = self.tenants.named(name).ok_or_else(no_tenant)?;
            if named.id != tenant.id {
                return Err(forbidden("The token is of another tenant"));
            }
        }
        if device.is_some() && proof.origin.device.is_some() && device != proof.origin.device {
            return Err(forbidden("The token is bound to another device"));
        }
        Ok(Caller {
            tenant: id,
            tenant_aliases: tenant.aliases,
            user: account.id.to_string(),
            aliases: account.aliases,
            role: account.role,
            practices: account.practices,
            device,
            dialects: tenant.dialects,
            // The shell knows it once the tenant is open.
            feed: FeedId([0; 8]),
        })
    }

    async fn open(&self, login: Login, origin: Origin, at: Moment) -> Result<Session, Refusal> {
        let tenant = self.tenant_of(&origin)?;
        self.attempt(&tenant, &login.email, &origin)?;
        let book = self.book(&tenant).await?;
        let account = book.find(&login.email);
        let password = login.password.reveal().to_owned();
        let known = account.as_ref().map(|account| account.password.clone());
        let is_right = self.stretch(move || match known {
            Some(known) => known.is(&password),
            None => {
                Password::is_of_nobody(&password);
                false
            }
        });
        let is_right = is_right.await?;
        let Some(account) = account.filter(|account| is_right && !account.is_disabled) else {
            return Err(Refusal::WrongCredentials);
        };
        self.attempts().was_right(tenant.id, &login.email, origin.address, self.millis());
        let device = origin.device.map(checked).transpose()?;
        self.change(&tenant, book, move |book, names| {
            book.log_in(names, &account.email, &account.password, device, at)
        })
        .await
    }

    /// The tenant that a request without a token is for.
    fn tenant_of(&self, origin: &Origin) -> Result<Tenant, Refusal> {
        match &origin.tenant {
            Some(name) => self.tenants.named(name).ok_or_else(no_tenant),
            None => self.tenants.only().ok_or_else(|| {
                let message = "X-Tenant-Subdomain or the host must name the tenant";
                Refusal::fault("X-Tenant-Subdomain", message)
            }),
        }
    }

    /// Counts an attempt at the password of a person.
    fn attempt(&self, tenant: &Tenant, email: &str, origin: &Origin) -> Result<(), Refusal> {
        let taken = self.attempts().take(tenant.id, email, origin.address, self.millis());
        taken.map_err(|retry_after| Refusal::TooMany { retry_after })
    }

    async fn renew(
        &self,
        refresh: Refresh,
        origin: Origin,
        at: Moment,
    ) -> Result<Session, Refusal> {
        let token = RefreshToken::parse(refresh.token.reveal()).ok_or(Refusal::Unauthenticated)?;
        let tenant = self.tenants.named(&token.tenant).ok_or(Refusal::Unauthenticated)?;
        if let Some(name) = &origin.tenant
            && self.tenants.named(name).ok_or_else(no_tenant)?.id != tenant.id
        {
            return Err(forbidden("The token is of another tenant"));
        }
        let device = refresh.device.or(origin.device).map(checked).transpose()?;
        let book = self.book(&tenant).await?;
        let renew =
            move |book: &Book, names: &Names<'_>| book.renew(names, &token, device.as_deref(), at);
        self.change(&tenant, book, renew).await
    }

    /// Changes a book where waiting for the disk delays nobody else.
    async fn change(
        &self,
        tenant: &Tenant,
        book: Arc<Book>,
        change: impl FnOnce(&Book, &Names<'_>) -> Result<Opened, BookError> + Send + 'static,
    ) -> Result<Session, Refusal> {
        let (id, short) = (tenant.id.to_string(), tenant.id.short());
        let changed = tokio::task::spawn_blocking(move || {
            let opened = change(&book, &Names { tenant: &id, short: &short })?;
            Ok(session(opened, id))
        });
        changed.await.map_err(|_| Refusal::Failed)?.map_err(|error| match error {
            BookError::Unknown => Refusal::WrongCredentials,
            BookError::NotGood => Refusal::Unauthenticated,
            BookError::Taken | BookError::Full => Refusal::Failed,
            BookError::File(error) => {
                tracing::error!(%error, "an account was not written");
                Refusal::Unavailable { retry_after: RETRY_AFTER }
            }
        })
    }

    /// Stretches a password beside the threads that serve sockets, few at a time.
    async fn stretch<R: Send + 'static>(
        &self,
        work: impl FnOnce() -> R + Send + 'static,
    ) -> Result<R, Refusal> {
        let busy = |_| Refusal::Unavailable { retry_after: RETRY_AFTER };
        let _waiting = self.waiting.try_acquire().map_err(busy)?;
        let _turn = self.stretching.acquire().await.map_err(|_| Refusal::Failed)?;
        tokio::task::spawn_blocking(work).await.map_err(|_| Refusal::Failed)
    }

    fn attempts(&self) -> std::sync::MutexGuard<'_, Attempts> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn millis(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl<T: Tenants> Host for Gateway<T> {
    fn version(&self) -> String {
        env!("CARGO_PKG_VERSION").to_owned()
    }

    fn is_one_tenant(&self, name: &str, other: &str) -> bool {
        let (one, other) = (self.tenants.named(name), self.tenants.named(other));
        one.zip(other).is_some_and(|(one, other)| one.id == other.id)
    }

    fn caller<'a>(
        &'a self,
        proof: &'a Proof,
        at: Moment,
    ) -> BoxFuture<'a, Result<Caller, Refusal>> {
        self.prove(proof, at).boxed()
    }

    fn login(
        &self,
        login: Login,
        origin: Origin,
        at: Moment,
    ) -> BoxFuture<'_, Result<Session, Refusal>> {
        self.open(login, origin, at).boxed()
    }

    fn refresh(
        &self,
        refresh: Refresh,
        origin: Origin,
        at: Moment,
    ) -> BoxFuture<'_, Result<Session, Refusal>> {
        self.renew(refresh, origin, at).boxed()
    }

    fn change_password<'a>(
        &'a self,
        caller: &'a Caller,
        change: PasswordChange,
        origin: Origin,
        at: Moment,
    ) -> BoxFuture<'a, Result<Session, Refusal>> {
        self.change_own(caller, change, origin, at).boxed()
    }

    fn reset_password(
        &self,
        reset: PasswordReset,
        origin: Origin,
        at: Moment,
    ) -> BoxFuture<'_, Result<Session, Refusal>> {
        self.reset(reset, origin, at).boxed()
    }

    fn reset_code<'a>(
        &'a self,
        caller: &'a Caller,
        order: ResetCodeOrder,
        origin: Origin,
        at: Moment,
    ) -> BoxFuture<'a, Result<(String, Moment), Refusal>> {
        self.make_code(caller, order, origin, at).boxed()
    }

    fn passed(&self, caller: &Caller, device: &str, passed: Passed) {
        if let Some(tenant) = self.tenants.named(&caller.tenant) {
            self.tenants.passed(tenant.id, device, &passed);
        }
    }

    fn executor<'a>(&'a self, caller: &'a Caller) -> BoxFuture<'a, Option<Arc<dyn Executes>>> {
        async {
            let tenant = self.tenants.named(&caller.tenant)?;
            self.tenants.executor(tenant.id).await
        }
        .boxed()
    }
}

fn session(opened: Opened, tenant: String) -> Session {
    let Opened { account, access, refresh } = opened;
    Session {
        access_token: access,
        refresh_token: refresh,
        expires_in: TOKEN_SECONDS,
        user: User {
            id: account.id.to_string(),
            email: account.email,
            name: account.name,
            role: account.role,
        },
        tenant,
    }
}

/// The name of a device, if it can be one.
fn checked(device: String) -> Result<String, Refusal> {
    if device.len() > DEVICE_LENGTH_MAX || device.chars().any(char::is_control) {
        let message = format!("deviceId must be a name of at most {DEVICE_LENGTH_MAX} bytes");
        return Err(Refusal::fault("deviceId", &message));
    }
    Ok(device)
}

fn no_tenant() -> Refusal {
    Refusal::Missing { what: "Tenant".to_owned() }
}

fn forbidden(why: &str) -> Refusal {
    Refusal::Forbidden { why: why.to_owned() }
}
