//! The two seams: who owns people and tokens, and who executes commands.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use fieldmesh_dialect::command::{
    Login, PasswordChange, PasswordReset, Pull, Refresh, ResetCodeOrder,
};
use fieldmesh_dialect::outcome::{Page, Session};
use fieldmesh_dialect::{Caller, Command, Dialect, FeedId, Outcome, Refusal};
use fieldmesh_model::Moment;
use futures::FutureExt as _;
use futures::future::{BoxFuture, ready};
use futures::stream::BoxStream;

/// Executes the commands of one tenant.
pub trait Executes: Send + Sync + 'static {
    /// The feed that cursors of the tenant point into.
    fn feed(&self) -> FeedId;

    /// Does what `caller` wants. It goes on to its end whether or not somebody still waits.
    fn execute<'a>(
        &'a self,
        caller: &'a Caller,
        dialect: Option<Dialect>,
        command: Command,
        at: Moment,
    ) -> BoxFuture<'a, Outcome>;

    /// How many bytes of a photo would be given out, where that is known before it is read. Whoever
    /// asks keeps this executor until the answer is there, also where nobody waits any more.
    fn photo_size<'a>(&'a self, _id: &'a str) -> BoxFuture<'a, Option<usize>> {
        ready(None).boxed()
    }

    /// The pages of what happens from now on; dropping the stream ends it.
    fn follow(
        &self,
        caller: Caller,
        dialect: Option<Dialect>,
        pull: Pull,
    ) -> BoxStream<'static, Page>;
}

/// Owns the tenants of a server, their people and the tokens.
pub trait Host: Send + Sync + 'static {
    /// The version of the program.
    fn version(&self) -> String;

    /// Who a token belongs to, now.
    ///
    /// The feed of the caller is set by the shell. An error is a refusal to render:
    /// [`Refusal::Unauthenticated`], [`Refusal::Forbidden`] where another tenant or device is
    /// named, [`Refusal::Missing`] where the tenant is not here.
    fn caller<'a>(&'a self, proof: &'a Proof, at: Moment)
    -> BoxFuture<'a, Result<Caller, Refusal>>;

    /// Whether both names are of one tenant, which has several here.
    fn is_one_tenant(&self, name: &str, other: &str) -> bool {
        name == other
    }

    /// Opens a session.
    fn login(
        &self,
        login: Login,
        origin: Origin,
        at: Moment,
    ) -> BoxFuture<'_, Result<Session, Refusal>>;

    /// Renews a session.
    fn refresh(
        &self,
        refresh: Refresh,
        origin: Origin,
        at: Moment,
    ) -> BoxFuture<'_, Result<Session, Refusal>>;

    /// Gives the caller another password; every session of his ends, and one is opened.
    fn change_password<'a>(
        &'a self,
        caller: &'a Caller,
        change: PasswordChange,
        origin: Origin,
        at: Moment,
    ) -> BoxFuture<'a, Result<Session, Refusal>>;

    /// Gives somebody another password who has a code for it, and opens a session.
    fn reset_password(
        &self,
        reset: PasswordReset,
        origin: Origin,
        at: Moment,
    ) -> BoxFuture<'_, Result<Session, Refusal>>;

    /// Makes such a code for a person of the caller's tenant, where the caller proves himself by
    /// his own password; gives it and until when it is good.
    fn reset_code<'a>(
        &'a self,
        caller: &'a Caller,
        order: ResetCodeOrder,
        origin: Origin,
        at: Moment,
    ) -> BoxFuture<'a, Result<(String, Moment), Refusal>>;

    /// Is told what passed with a device that syncs, once it is answered.
    fn passed(&self, caller: &Caller, device: &str, passed: Passed) {
        let _ = (caller, device, passed);
    }

    /// What executes the commands of the caller's tenant; `None` where nothing does.
    fn executor<'a>(&'a self, caller: &'a Caller) -> BoxFuture<'a, Option<Arc<dyn Executes>>>;
}

/// A request and its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Passed {
    /// The bytes of its body when it is inflated.
    pub bytes_in: u64,
    /// The bytes of the answer's body before it is compressed.
    pub bytes_out: u64,
    /// How many milliseconds it took.
    pub millis: u64,
    /// Whether the answer is no refusal.
    pub is_success: bool,
}

/// Where a request says that it comes from, before anybody believes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The address, as far as it can be believed.
    pub address: IpAddr,
    /// The tenant that header and host name.
    pub tenant: Option<String>,
    /// The device that the header `X-Device-Id` names.
    pub device: Option<String>,
}

/// A token, and what it has to agree with.
#[derive(Clone, PartialEq, Eq)]
pub struct Proof {
    /// The token as the client sent it.
    pub token: String,
    /// What else the request says.
    pub origin: Origin,
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proof").field("origin", &self.origin).finish_non_exhaustive()
    }
}
