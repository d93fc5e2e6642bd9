//! Log lines on standard error: which are written, and how.

use std::io::IsTerminal as _;

use fieldmesh::api::Problem;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Registry, fmt, reload};

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

/// Which lines are written from now on; clones are handles on the same choice.
#[derive(Debug, Clone)]
pub(crate) struct Lines {
    filter: reload::Handle<EnvFilter, Registry>,
}

impl Lines {
    /// The filter, as it would be typed.
    ///
    /// # Errors
    ///
    /// Another part of the process writes the log.
    pub(crate) fn shown(&self) -> Result<String, Problem> {
        self.filter.with_current(ToString::to_string).map_err(|error| not_ours(&error))
    }

    /// Sets the filter until the process ends.
    ///
    /// # Errors
    ///
    /// It makes no sense; the one before stays.
    pub(crate) fn set(&self, text: &str) -> Result<String, Problem> {
        let filter = parse(text)?;
        self.filter.reload(filter).map_err(|error| not_ours(&error))?;
        self.shown()
    }
}

fn not_ours(error: &reload::Error) -> Problem {
    problem::failed(format!("the log of this process cannot be changed: {error}"))
}

/// Starts logging.
///
/// # Errors
///
/// The filter that was given makes no sense.
pub(crate) fn start(global: &Global, settings: &Settings, life: Life) -> Result<Lines, Problem> {
    let filter = match &settings.log {
        Some(text) => parse(text)?,
        None => parse(default_filter(global, life))?,
    };
    let (filter, handle) = reload::Layer::new(filter);
    let lines = fmt::layer().with_writer(std::io::stderr);
    let chosen = Registry::default().with(filter);
    // A second start in one process, as in tests, keeps the first.
    let _ = match settings.log_format {
        LogFormat::Json => chosen.with(lines.json().flatten_event(true)).try_init(),
        LogFormat::Text => chosen.with(lines.with_ansi(is_colour_welcome())).try_init(),
    };
    Ok(Lines { filter: handle })
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
