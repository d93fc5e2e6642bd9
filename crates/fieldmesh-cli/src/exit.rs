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
    let class = match result {
        Ok(()) | Err(Failure::OutputClosed) => return ExitCode::SUCCESS,
        Err(Failure::Reported(class)) => class,
        Err(Failure::Problem(problem)) => {
            terminal.complain(&message(&problem));
            if terminal.json() {
                // People have read it already; a closed output changes nothing.
                let _ = terminal.json_line(&serde_json::json!({ "problem": problem }));
            }
            problem.class
        }
    };
    ExitCode::from(class.exit_code())
}

fn message(problem: &Problem) -> String {
    let mut message = format!("error: {}", heading(problem));
    for fault in &problem.faults {
        message.push_str("\n  ");
        if !fault.field.is_empty() {
            message.push_str(&fault.field);
            message.push_str(": ");
        }
        message.push_str(&fault.message);
    }
    message
}

/// The detail up to where it begins to repeat the faults, which are listed below it.
fn heading(problem: &Problem) -> &str {
    let detail = problem.detail.trim_end();
    let Some(first) = problem.faults.first() else { return detail };
    let repeated = format!("{}: {}", first.field, first.message);
    let end = detail.find(&repeated).unwrap_or(detail.len());
    detail[..end].trim_end_matches([' ', ';', ':'])
}

#[cfg(test)]
mod tests {
    use fieldmesh_model::validate::Fault;

    use super::*;

    #[test]
    fn every_fault_is_listed_under_the_message() {
        let fault =
            |field: &str, message: &str| Fault { field: field.into(), message: message.into() };
        let problem = Problem {
            class: Class::Invalid,
            detail: "the record is not valid; data.oilVolume: Oil volume cannot be negative; : no \
                     values"
                .into(),
            faults: vec![
                fault("data.oilVolume", "Oil volume cannot be negative"),
                fault("", "no values"),
            ],
        };
        assert_eq!(
            message(&problem),
            "error: the record is not valid\n  data.oilVolume: Oil volume cannot be negative\n  \
             no values"
        );
    }

    #[test]
    fn a_reader_that_goes_away_is_no_failure() {
        let closed = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert!(matches!(closed, Failure::OutputClosed));
        let full = Failure::from(io::Error::from(io::ErrorKind::StorageFull));
        assert!(matches!(full, Failure::Problem(_)));
    }
}
