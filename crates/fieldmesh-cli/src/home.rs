//! Which folder is the home, and who holds it: this process or a daemon.

use std::path::{Path, PathBuf};
use std::time::Duration;

use fieldmesh::api::Problem;
use fieldmesh::{Error, Node};
use fieldmesh_model::Filter;
use tokio::time::Instant;

use crate::args::Global;
use crate::backend::{Backend, Local, Remote};
use crate::passphrase::Secret;
use crate::problem;
use crate::terminal::Terminal;

/// How long a command waits for another one, or for a daemon that starts or ends.
const IN_USE_PATIENCE: Duration = Duration::from_secs(5);
/// How often it looks meanwhile.
const IN_USE_INTERVAL: Duration = Duration::from_millis(50);

/// A home that can be asked.
pub(crate) enum Home {
    /// Opened in this process.
    Local(Local),
    /// Held by a daemon.
    Daemon(Remote),
}

impl Home {
    /// Whom to ask.
    pub(crate) fn backend(&self) -> &dyn Backend {
        match self {
            Self::Local(local) => local,
            Self::Daemon(remote) => remote,
        }
    }

    /// Lets go of it: what is open in this process is closed in order.
    pub(crate) async fn close(self) -> Result<(), Problem> {
        match self {
            Self::Local(local) => local.close().await,
            Self::Daemon(_) => Ok(()),
        }
    }
}

/// Why a home is not open.
pub(crate) struct Unopened {
    pub(crate) problem: Problem,
    pub(crate) cause: Cause,
}

/// What keeps a home closed, as far as it decides what helps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// What would open it is wrong or was not given.
    Secret,
    /// Another process holds it.
    InUse,
    /// A newer program wrote it.
    Newer,
    /// Its disk is full.
    Full,
    /// Anything else.
    Other,
}

impl From<Problem> for Unopened {
    fn from(problem: Problem) -> Self {
        Self { problem, cause: Cause::Other }
    }
}

impl From<Error> for Unopened {
    fn from(error: Error) -> Self {
        let cause = match error {
            Error::Locked { .. } => Cause::Secret,
            Error::InUse { .. } => Cause::InUse,
            Error::Newer { .. } => Cause::Newer,
            Error::Full { .. } => Cause::Full,
            _ => Cause::Other,
        };
        Self { problem: error.problem(), cause }
    }
}

/// The folder that the flags or the platform name.
pub(crate) fn folder(global: &Global) -> Result<PathBuf, Problem> {
    if let Some(folder) = &global.home {
        return std::path::absolute(folder).map_err(|error| problem::unreadable(folder, &error));
    }
    let platform = directories::ProjectDirs::from("", "", "fieldmesh")
        .ok_or_else(|| problem::usage("there is no data folder; name one with --home"))?;
    Ok(platform.data_dir().to_owned())
}

/// The daemon that holds the home, told which log lines to write if that was asked.
pub(crate) async fn daemon(global: &Global) -> Result<Option<Remote>, Problem> {
    let folder = folder(global)?;
    let Some(socket) = fieldmesh_shell::socket::find(crate::PROGRAM, &folder).await else {
        return Ok(None);
    };
    let remote = Remote::new(socket);
    if let Some(filter) = &global.log {
        remote.log(filter).await?;
    }
    Ok(Some(remote))
}

/// Asks the daemon that holds the home, or opens the home here.
pub(crate) async fn open(global: &Global, terminal: &Terminal) -> Result<Home, Problem> {
    open_part(global, terminal, &[]).await
}

/// As [`open`]; says also what keeps it closed.
pub(crate) async fn try_to_open(global: &Global, terminal: &Terminal) -> Result<Home, Unopened> {
    open_some(global, terminal, Filter::default()).await
}

/// As [`open`]; where the home is opened here, it exchanges only the named part of the tenant's
/// records. A daemon keeps the part that it was started with.
pub(crate) async fn open_part(
    global: &Global,
    terminal: &Terminal,
    only: &[String],
) -> Result<Home, Problem> {
    let only = fieldmesh::filter::parse(only).map_err(|error| error.problem())?;
    open_some(global, terminal, only).await.map_err(|unopened| unopened.problem)
}

async fn open_some(global: &Global, terminal: &Terminal, only: Filter) -> Result<Home, Unopened> {
    if let Some(remote) = daemon(global).await? {
        return Ok(Home::Daemon(remote));
    }
    let folder = folder(global)?;
    fieldmesh::home::needs_passphrase(&folder)?;
    let secret = Secret::to_open(global, terminal, &folder)
        .map_err(|problem| Unopened { problem, cause: Cause::Secret })?;
    open_folder(global, &folder, &secret, only).await
}

/// Asks the daemon that holds the home, or opens the home here with a secret that is known.
pub(crate) async fn open_by(
    global: &Global,
    folder: &Path,
    secret: &Secret,
) -> Result<Home, Problem> {
    if let Some(remote) = daemon(global).await? {
        return Ok(Home::Daemon(remote));
    }
    let opened = open_folder(global, folder, secret, Filter::default()).await;
    opened.map_err(|unopened| unopened.problem)
}

async fn open_folder(
    global: &Global,
    folder: &Path,
    secret: &Secret,
    only: Filter,
) -> Result<Home, Unopened> {
    let deadline = Instant::now() + IN_USE_PATIENCE;
    loop {
        match try_open(folder, secret, only.clone()).await {
            Ok(node) => return Ok(Home::Local(Local(node))),
            Err(Error::InUse { .. }) if Instant::now() < deadline => {
                tokio::time::sleep(IN_USE_INTERVAL).await;
            }
            Err(error) => return Err(error.into()),
        }
        // What holds it may be a daemon that is about to serve.
        if let Some(remote) = daemon(global).await? {
            return Ok(Home::Daemon(remote));
        }
    }
}

async fn try_open(folder: &Path, secret: &Secret, only: Filter) -> Result<Node, Error> {
    let node = secret.unlock(Node::builder(folder)).only(only).open().await?;
    fieldmesh_shell::socket::remove_stale(crate::PROGRAM, folder);
    Ok(node)
}
