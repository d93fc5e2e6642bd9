//! Serves a home to the other commands: HTTP/1.1 with the `/v1` routes over a Unix socket.

mod answer;
mod body;
mod routes;
mod told;

use std::sync::Arc;
use std::time::Duration;

use fieldmesh::api::Problem;
use tokio_util::sync::CancellationToken;

use crate::backend::Backend;
use crate::log::Logs;
use crate::problem;
use fieldmesh_shell::socket::Socket;

/// How long requests may go on once the daemon was told to stop.
const LAST_REQUESTS_MAX: Duration = Duration::from_secs(5);

/// What every route can reach.
#[derive(Clone)]
pub(crate) struct Shared {
    backend: Arc<dyn Backend>,
    logs: Logs,
    stop: CancellationToken,
}

impl Shared {
    /// Routes to `backend`; cancelling `stop` ends [`serve`], and so does a request to stop.
    pub(crate) const fn new(
        backend: Arc<dyn Backend>,
        logs: Logs,
        stop: CancellationToken,
    ) -> Self {
        Self { backend, logs, stop }
    }
}

/// Serves until told to stop, then lets running requests end for a while.
async fn serve(socket: &mut Socket, shared: Shared) -> std::io::Result<()> {
    let Some(listener) = socket.take_listener() else { return Ok(()) };
    let stop = shared.stop.clone();
    let serving = axum::serve(listener, routes::router(shared))
        .with_graceful_shutdown(stop.clone().cancelled_owned());
    let overdue = async {
        stop.cancelled().await;
        tokio::time::sleep(LAST_REQUESTS_MAX).await;
    };
    tokio::select! {
        served = serving.into_future() => served,
        () = overdue => Ok(()),
    }
}

/// Serves until told to stop or until `end`, whichever comes first.
pub(crate) async fn serve_until(
    socket: &mut Socket,
    shared: Shared,
    end: impl Future<Output = ()>,
) -> std::io::Result<()> {
    let stop = shared.stop.clone();
    let serving = serve(socket, shared);
    tokio::pin!(serving);
    tokio::select! {
        served = &mut serving => served,
        () = end => {
            stop.cancel();
            serving.await
        }
    }
}

/// Why other commands cannot be served.
pub(crate) fn cannot_serve(error: &std::io::Error) -> Problem {
    problem::failed(format!("cannot serve other commands: {error}"))
}

#[cfg(test)]
pub(crate) mod fake;
#[cfg(test)]
mod tests;
