//! Why a demo ends early.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use fieldmesh::api::Problem;

use crate::problem;

/// Why a demo ends early.
#[derive(Debug, thiserror::Error)]
pub(super) enum DemoError {
    /// The relay's program is not beside this one.
    #[error(
        "the demo needs the program {}; build both with \
         `cargo build --release -p fieldmesh-cli -p sync-relay`",
        path.display()
    )]
    NoRelay { path: PathBuf },
    /// The operating system refuses something that the demo needs itself.
    #[error("cannot {what}: {source}")]
    System { what: String, source: io::Error },
    /// A command ended with another exit code than 0.
    #[error("`{command}` of {who} {ended}: {said}")]
    Command { who: &'static str, command: String, ended: String, said: String },
    /// A program answered something that is not understood.
    #[error("`{command}` of {who} answered {answer:?}")]
    Answer { who: &'static str, command: String, answer: String },
    /// Something did not come about in time.
    #[error("waited {} s in vain for {what}", limit.as_secs())]
    TimedOut { what: String, limit: Duration },
    /// Something is not as fieldmesh promises.
    #[error("it is not so that {claim}: {found}")]
    NotSo { claim: String, found: String },
    /// Somebody ended the demo.
    #[error("ended before the day was over; every process is stopped, nothing is kept")]
    Interrupted,
    /// Nobody reads any more what happens.
    #[error("nobody reads what happens")]
    OutputClosed,
    /// What happened could not be printed.
    #[error("cannot print: {0}")]
    Output(io::Error),
}

impl DemoError {
    /// The error as the command reports it.
    pub(super) fn problem(&self) -> Problem {
        problem::failed(self.to_string())
    }
}

/// The operating system refuses to do `what`.
pub(super) fn system(what: impl Into<String>) -> impl FnOnce(io::Error) -> DemoError {
    let what = what.into();
    |source| DemoError::System { what, source }
}

/// `claim` has to hold.
pub(super) fn hold(
    holds: bool,
    claim: &str,
    found: impl FnOnce() -> String,
) -> Result<(), DemoError> {
    if holds {
        return Ok(());
    }
    Err(DemoError::NotSo { claim: claim.into(), found: found() })
}
