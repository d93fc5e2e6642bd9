//! Problems that the relay itself finds, before or beside its nodes.

use std::fmt::Display;
use std::path::Path;

use fieldmesh::api::{Class, Problem};
use fieldmesh_shell::socket::Silence;

fn problem(class: Class, detail: impl Into<String>) -> Problem {
    Problem { class, detail: detail.into(), faults: Vec::new() }
}

/// What was asked makes no sense.
pub(crate) fn usage(detail: impl Into<String>) -> Problem {
    problem(Class::Usage, detail)
}

/// It may not be.
pub(crate) fn refused(detail: impl Into<String>) -> Problem {
    problem(Class::Refused, detail)
}

/// There is no such thing.
pub(crate) fn not_found(detail: impl Into<String>) -> Problem {
    problem(Class::NotFound, detail)
}

/// Not so far.
pub(crate) fn later(detail: impl Into<String>) -> Problem {
    problem(Class::Later, detail)
}

/// What was given does not say enough.
pub(crate) fn invalid(detail: impl Into<String>) -> Problem {
    problem(Class::Invalid, detail)
}

/// Something failed that nobody here caused.
pub(crate) fn failed(detail: impl Into<String>) -> Problem {
    problem(Class::Failed, detail)
}

/// The data folder cannot be used.
pub(crate) fn store(detail: impl Into<String>) -> Problem {
    problem(Class::Store, detail)
}

/// A file or folder cannot be used.
pub(crate) fn file(path: &Path, error: &std::io::Error) -> Problem {
    let class = match error.kind() {
        std::io::ErrorKind::NotFound => Class::NotFound,
        _ => Class::Failed,
    };
    problem(class, format!("cannot use {}: {error}", path.display()))
}

/// The running relay did not answer as it should.
pub(crate) fn running(error: impl Display) -> Problem {
    failed(format!(
        "the relay that holds this data folder broke off: {error}; see its log, or restart it"
    ))
}

/// The signals that ask the program to end.
pub(crate) fn signals() -> Result<fieldmesh_shell::signal::Signals, Problem> {
    fieldmesh_shell::signal::Signals::take()
        .map_err(|error| failed(format!("cannot take signals: {error}")))
}

/// The signal that asks the program to read again what it was given.
pub(crate) fn hangups() -> Result<fieldmesh_shell::signal::Hangups, Problem> {
    fieldmesh_shell::signal::Hangups::take()
        .map_err(|error| failed(format!("cannot take signals: {error}")))
}

/// The relay took a connection and does not answer.
pub(crate) fn silent(silence: Silence) -> Problem {
    failed(silence.advice("relay", "data folder"))
}
