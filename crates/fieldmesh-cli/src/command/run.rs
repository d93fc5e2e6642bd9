//! `run` and `stop`: the daemon's life.

use std::sync::Arc;
use std::time::Duration;

use fieldmesh::RunOptions;
use fieldmesh::api::{Problem, StatusReport};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::{Context, loopback};
use crate::args::RunArgs;
use crate::backend::{Backend as _, Local};
use crate::daemon::{self, Shared};
use crate::exit::Failure;
use crate::home::Home;
use crate::log::Logs;
use crate::problem;
use crate::render;
use fieldmesh_loopback::Loopback;
use fieldmesh_shell::signal::Signals;
use fieldmesh_shell::socket::Socket;

/// How long `stop` waits for the daemon's end.
const STOP_PATIENCE: Duration = Duration::from_secs(30);

/// What programs read when the daemon is ready.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Ready<'a> {
    ready: bool,
    pid: u32,
    socket: String,
    addresses: &'a [String],
    /// Where apps on this device ask.
    #[serde(skip_serializing_if = "Option::is_none")]
    http: Option<&'a str>,
}

/// `run`
pub(super) async fn run(context: &Context<'_>, args: &RunArgs, logs: Logs) -> Result<(), Failure> {
    let local = match crate::home::open_part(context.global, context.terminal, &args.only).await? {
        Home::Local(local) => local,
        Home::Daemon(_) => {
            let detail = "a daemon runs on this home already; `fieldmesh stop` ends it";
            return Err(problem::store(detail).into());
        }
    };
    let folder = crate::home::folder(context.global)?;
    let mut signals = problem::signals()?;
    let options = RunOptions {
        listen: args.listen,
        relays: args.relay.clone(),
        mdns: !args.no_mdns,
        ..RunOptions::default()
    };
    let started = async {
        let (socket, status) = start(&local, options, &folder).await?;
        let http = loopback::bind(&folder, &args.loopback, context.terminal).await?;
        Ok::<_, Problem>((socket, status, http))
    };
    match started.await {
        Ok((mut socket, status, http)) => {
            let beside = Beside { http, logs };
            let served = serve(context, &local, &mut socket, &status, beside, &mut signals).await;
            // The file goes last, so whoever waits for that finds the home free.
            let closed = close(local, &mut signals).await;
            drop(socket);
            served.and(closed)
        }
        Err(problem) => {
            local.close().await?;
            Err(problem.into())
        }
    }
}

async fn start(
    local: &Local,
    options: RunOptions,
    folder: &std::path::Path,
) -> Result<(Socket, StatusReport), Problem> {
    let Local(node) = local;
    node.run(options).await.map_err(|error| error.problem())?;
    let socket =
        Socket::bind(crate::PROGRAM, folder).map_err(|error| daemon::cannot_serve(&error))?;
    let status = local.status().await?;
    Ok((socket, status))
}

/// What a daemon has beside its home and its socket.
struct Beside {
    http: Option<Loopback>,
    logs: Logs,
}

async fn serve(
    context: &Context<'_>,
    local: &Local,
    socket: &mut Socket,
    status: &StatusReport,
    Beside { http, logs }: Beside,
    signals: &mut Signals,
) -> Result<(), Failure> {
    let url = http.as_ref().map(|http| http.access().url.as_str());
    let ready = Ready {
        ready: true,
        pid: std::process::id(),
        socket: socket.path().display().to_string(),
        addresses: &status.addresses,
        http: url,
    };
    context.terminal.value(&ready, |_, _| render::ready(status, socket.path(), url))?;
    let stop = CancellationToken::new();
    let shared = Shared::new(Arc::new(local.clone()), logs, stop.clone());
    let Local(node) = local;
    let mut erased = None;
    let end = async {
        tokio::select! {
            () = signals.next() => {}
            reason = node.erased() => erased = Some(reason),
        }
    };
    let serving = async {
        let served = daemon::serve_until(socket, shared, end).await;
        stop.cancel();
        served
    };
    let (served, ()) = Box::pin(async {
        tokio::join!(serving, loopback::serve(http, node.clone(), stop.clone()))
    })
    .await;
    served.map_err(|error| daemon::cannot_serve(&error))?;
    match erased {
        Some(reason) => Err(fieldmesh::Error::Erased { reason }.problem().into()),
        None => Ok(()),
    }
}

/// Closes the node; a second signal ends the wait.
async fn close(local: Local, signals: &mut Signals) -> Result<(), Failure> {
    tokio::select! {
        closed = local.close() => Ok(closed?),
        () = signals.next() => Err(problem::failed("ended before everything was closed").into()),
    }
}

/// `stop`
pub(super) async fn stop(context: &Context<'_>) -> Result<(), Failure> {
    match crate::home::daemon(context.global).await? {
        Some(remote) => {
            remote.stop(STOP_PATIENCE).await?;
            context.terminal.say("Stopped.");
        }
        None => context.terminal.say("No daemon runs on this home."),
    }
    Ok(())
}
