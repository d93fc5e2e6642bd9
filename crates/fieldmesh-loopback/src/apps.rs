//! The HTTP contracts of existing apps, for those on this device: they write as its owner, and what
//! they write travels like everything that is recorded here.
//!
//! There are no accounts: whoever knows the apps' token of [`crate::ACCESS_FILE`] is the owner. An
//! app that wants to log in gives it as the password.

use std::sync::Arc;

use axum::Router;
use fieldmesh::Node;
use fieldmesh::gateway::Access as Records;
use fieldmesh_dialect::command::{
    Login, PasswordChange, PasswordReset, Pull, Refresh, ResetCodeOrder,
};
use fieldmesh_dialect::outcome::{Page, Session, User};
use fieldmesh_dialect::{Caller, Command, Dialect, Dialects, FeedId, Outcome, Refusal};
use fieldmesh_gateway::Gateway;
use fieldmesh_http::{Executes, Host, Origin, Proof, Settings, Shell};
use fieldmesh_model::Moment;
use futures::future::{BoxFuture, ready};
use futures::stream::BoxStream;
use futures::{FutureExt as _, StreamExt as _};
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use crate::token::Access;

/// After how many seconds an app is to renew its session, which gives it the same token.
const TOKEN_SECONDS: u32 = 3_600;
/// The longest name of an app's installation.
const DEVICE_LENGTH_MAX: usize = 128;

/// The one tenant and the one person of a device.
struct Apps {
    node: Node,
    records: Records,
    access: Access,
    executor: OnceCell<Arc<Executor>>,
}

/// Executes the commands of the owner's apps.
struct Executor(Gateway);

/// Routes for the contracts of all five systems, for whoever brings the token.
pub(crate) fn router(
    node: Node,
    access: Access,
    settings: &Settings,
    stop: CancellationToken,
) -> Router {
    let records = Records::new(&node);
    let apps = Apps { node, records, access, executor: OnceCell::new() };
    Shell::new(Arc::new(apps), settings.clone(), stop).router()
}

impl Apps {
    /// The owner, if `token` is his and what is named is this tenant.
    fn prove(&self, token: &str, named: Option<&str>) -> Result<User, Refusal> {
        if !self.access.admits_app(token) {
            return Err(Refusal::Unauthenticated);
        }
        let tenant = self.node.tenant();
        let names = [&tenant.tenant.to_string(), &tenant.tenant.short(), &tenant.slug];
        if named.is_some_and(|named| names.iter().all(|name| name.as_str() != named)) {
            let why = "this device is of another tenant than the one that is named".to_owned();
            return Err(Refusal::Forbidden { why });
        }
        let owner = self.records.owner();
        let owner = owner.map_err(|error| Refusal::Forbidden { why: error.to_string() })?;
        let (id, role) = (owner.user.to_string(), owner.role);
        Ok(User { id, email: owner.email, name: owner.name, role })
    }

    fn session(&self, token: &str, origin: &Origin) -> Result<Session, Refusal> {
        let user = self.prove(token, origin.tenant.as_deref())?;
        Ok(Session {
            access_token: token.to_owned(),
            refresh_token: token.to_owned(),
            expires_in: TOKEN_SECONDS,
            user,
            tenant: self.node.tenant().tenant.to_string(),
        })
    }

    fn caller_of(&self, proof: &Proof) -> Result<Caller, Refusal> {
        let owner = self.prove(&proof.token, proof.origin.tenant.as_deref())?;
        let tenant = self.node.tenant();
        Ok(Caller {
            tenant: tenant.tenant.to_string(),
            tenant_aliases: [tenant.slug, tenant.tenant.short()].into(),
            user: owner.id,
            aliases: [owner.email].into_iter().filter(|email| !email.is_empty()).collect(),
            role: owner.role,
            practices: [].into(),
            device: proof.origin.device.clone().map(checked).transpose()?,
            dialects: Dialects::all(),
            // The shell knows it once the records can be read.
            feed: FeedId([0; 8]),
        })
    }
}

/// The name of an installation, if it can be one.
fn checked(device: String) -> Result<String, Refusal> {
    if device.len() > DEVICE_LENGTH_MAX || device.chars().any(char::is_control) {
        let message = format!("deviceId must be a name of at most {DEVICE_LENGTH_MAX} bytes");
        return Err(Refusal::fault("deviceId", &message));
    }
    Ok(device)
}

/// There are no accounts here whose passwords could be changed.
fn no_accounts() -> Refusal {
    Refusal::Missing { what: "Account".to_owned() }
}

impl Host for Apps {
    fn version(&self) -> String {
        env!("CARGO_PKG_VERSION").to_owned()
    }

    fn caller<'a>(
        &'a self,
        proof: &'a Proof,
        _at: Moment,
    ) -> BoxFuture<'a, Result<Caller, Refusal>> {
        ready(self.caller_of(proof)).boxed()
    }

    fn login(
        &self,
        login: Login,
        origin: Origin,
        _at: Moment,
    ) -> BoxFuture<'_, Result<Session, Refusal>> {
        let opened = self.session(login.password.reveal(), &origin);
        ready(opened.map_err(|refusal| match refusal {
            Refusal::Unauthenticated => Refusal::WrongCredentials,
            other => other,
        }))
        .boxed()
    }

    fn refresh(
        &self,
        refresh: Refresh,
        origin: Origin,
        _at: Moment,
    ) -> BoxFuture<'_, Result<Session, Refusal>> {
        ready(self.session(refresh.token.reveal(), &origin)).boxed()
    }

    fn change_password<'a>(
        &'a self,
        _caller: &'a Caller,
        _change: PasswordChange,
        _origin: Origin,
        _at: Moment,
    ) -> BoxFuture<'a, Result<Session, Refusal>> {
        ready(Err(no_accounts())).boxed()
    }

    fn reset_password(
        &self,
        _reset: PasswordReset,
        _origin: Origin,
        _at: Moment,
    ) -> BoxFuture<'_, Result<Session, Refusal>> {
        ready(Err(no_accounts())).boxed()
    }

    fn reset_code<'a>(
        &'a self,
        _caller: &'a Caller,
        _order: ResetCodeOrder,
        _origin: Origin,
        _at: Moment,
    ) -> BoxFuture<'a, Result<(String, Moment), Refusal>> {
        ready(Err(no_accounts())).boxed()
    }

    fn executor<'a>(&'a self, _caller: &'a Caller) -> BoxFuture<'a, Option<Arc<dyn Executes>>> {
        async {
            let open =
                || async { Gateway::open(self.node.clone()).await.map(Executor).map(Arc::new) };
            match self.executor.get_or_try_init(open).await {
                Ok(executor) => Some(Arc::clone(executor) as Arc<dyn Executes>),
                Err(error) => {
                    tracing::error!(%error, "apps cannot be answered");
                    None
                }
            }
        }
        .boxed()
    }
}

impl Executes for Executor {
    fn feed(&self) -> FeedId {
        self.0.feed()
    }

    fn execute<'a>(
        &'a self,
        caller: &'a Caller,
        dialect: Option<Dialect>,
        command: Command,
        at: Moment,
    ) -> BoxFuture<'a, Outcome> {
        // It would lie on this device alone, and the app would believe it handed over.
        if matches!(command, Command::StorePhoto(_) | Command::LoadPhoto { .. }) {
            let what = "Photo storage on this device".to_owned();
            return ready(Outcome::Refused(Refusal::Missing { what })).boxed();
        }
        let (gateway, caller) = (self.0.clone(), caller.clone());
        // It goes on to its end, whether or not somebody waits.
        let work =
            tokio::spawn(async move { gateway.execute(&caller, dialect, command, at).await });
        async { work.await.unwrap_or(Outcome::Refused(Refusal::Failed)) }.boxed()
    }

    fn follow(
        &self,
        caller: Caller,
        dialect: Option<Dialect>,
        pull: Pull,
    ) -> BoxStream<'static, Page> {
        self.0.follow(caller, dialect, pull).boxed()
    }
}
