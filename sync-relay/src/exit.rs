//! How a command ends: the only place where failures become messages and exit codes.

use std::io;
use std::process::ExitCode;

use fieldmesh::api::{Class, Problem};

use crate::terminal::Terminal;

/// Why a command did not end well.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It failed, and nobody was told so far.
    Problem(Problem),
    /// What it printed already tells what failed.
    Reported(Class),
    /// Nobody reads the output any more, as behind `| head`; that is no failure.
    OutputClosed,
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::OutputClosed,
            _ => Self::Problem(crate::problem::failed(format!("cannot write: {error}"))),
        }
    }
}

/// Tells what went wrong, and gives the exit code.
pub(crate) fn finish(result: Result<(), Failure>, terminal: &Terminal) -> ExitCode {
    let problem = match result {
        Ok(()) | Err(Failure::OutputClosed) => return ExitCode::SUCCESS,
        Err(Failure::Reported(class)) => return ExitCode::from(class.exit_code()),
        Err(Failure::Problem(problem)) => problem,
    };
    terminal.complain(&format!("error: {}", problem.detail.trim_end()));
    if terminal.json() {
        // People have read it already; a closed output changes nothing.
        let _ = terminal.json_line(&serde_json::json!({ "problem": problem }));
    }
    ExitCode::from(problem.class.exit_code())
}
