//! Log lines on standard error, and which of them are written.

use std::io::IsTerminal as _;

use fieldmesh::api::Problem;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Registry, fmt};

use crate::args::Global;
use crate::problem;

/// Changes the filter while the program runs.
#[derive(Clone)]
pub(crate) struct Logs(Handle<EnvFilter, Registry>);

/// Whether the program answers one command or runs as a daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    /// One command.
    Command,
    /// Until it is stopped.
    Daemon,
}

/// Starts logging.
///
/// # Errors
///
/// The filter that was given makes no sense.
pub(crate) fn start(global: &Global, life: Life, colour: bool) -> Result<Logs, Problem> {
    let filter = match &global.log {
        Some(text) => parse(text)?,
        None => parse(default_filter(global, life))?,
    };
    let (filter, handle) = reload::Layer::new(filter);
    let lines = fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(colour && std::io::stderr().is_terminal());
    // A second start in one process, as in tests, keeps the first.
    let _ = tracing_subscriber::registry().with(filter).with(lines).try_init();
    Ok(Logs(handle))
}

impl Logs {
    /// Logs of nothing, for tests.
    #[cfg(test)]
    pub(crate) fn for_tests() -> Self {
        let (_, handle) = reload::Layer::new(EnvFilter::new("off"));
        Self(handle)
    }

    /// Writes other lines from now on.
    pub(crate) fn change(&self, text: &str) -> Result<(), Problem> {
        let filter = parse(text)?;
        self.0.reload(filter).map_err(|error| problem::failed(error.to_string()))
    }
}

/// What says why a sync did or did not start; operators search for these names.
macro_rules! sync {
    () => {
        ",NetworkMonitor=info,SyncEngine=info,SyncPush=info,SyncPull=info"
    };
}

const fn default_filter(global: &Global, life: Life) -> &'static str {
    match (life, global.verbose) {
        (_, 0) if global.quiet => "error",
        (Life::Command, 0) => "error,fieldmesh=warn",
        (Life::Command, 1) | (Life::Daemon, 0) => concat!("warn,fieldmesh=info", sync!()),
        (Life::Command, 2) | (Life::Daemon, 1) => concat!("warn,fieldmesh=debug", sync!()),
        (Life::Command | Life::Daemon, _) => "info,fieldmesh=trace",
    }
}

fn parse(text: &str) -> Result<EnvFilter, Problem> {
    EnvFilter::builder().parse(text).map_err(|error| {
        problem::usage(format!(
            "{text:?} is no log filter ({error}); write it like info or warn,fieldmesh_net=debug"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_understood_or_refused() {
        for text in ["info", "warn,fieldmesh_net=debug", "off"] {
            assert!(parse(text).is_ok(), "{text}");
        }
        assert!(parse("fieldmesh=loud").is_err());
    }
}
