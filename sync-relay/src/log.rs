//! Log lines on standard error: which are written, and how.

use std::io::IsTerminal as _;

use fieldmesh::api::Problem;
use tracing_subscriber::{EnvFilter, fmt};

use crate::args::Global;
use crate::problem;
use crate::settings::{LogFormat, Settings};

/// Whether the program answers one command or runs until it is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    /// One command.
    Command,
    /// Until it is stopped.
    Server,
}

/// Starts logging.
///
/// # Errors
///
/// The filter that was given makes no sense.
pub(crate) fn start(global: &Global, settings: &Settings, life: Life) -> Result<(), Problem> {
    let filter = match &settings.log {
        Some(text) => parse(text)?,
        None => parse(default_filter(global, life))?,
    };
    let lines = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match settings.log_format {
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
        LogFormat::Text => lines.with_ansi(is_colour_welcome()).try_init(),
    };
    // A second start in one process, as in tests, keeps the first.
    started.or(Ok(()))
}

fn is_colour_welcome() -> bool {
    let is_unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    !is_unwanted && std::io::stderr().is_terminal()
}

const fn default_filter(global: &Global, life: Life) -> &'static str {
    match (life, global.verbose) {
        (_, 0) if global.quiet => "error",
        (Life::Command, 0) => "error",
        (Life::Command, 1) | (Life::Server, 0) => "warn,fieldmesh=info,sync_relay=info",
        (Life::Command, 2) | (Life::Server, 1) => "warn,fieldmesh=debug,sync_relay=debug",
        (Life::Command | Life::Server, _) => "info,fieldmesh=trace,sync_relay=trace",
    }
}

fn parse(text: &str) -> Result<EnvFilter, Problem> {
    EnvFilter::builder().parse(text).map_err(|error| {
        problem::usage(format!(
            "{text:?} is no log filter ({error}); write it like info or warn,fieldmesh_net=debug"
        ))
    })
}
