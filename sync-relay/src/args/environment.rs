//! What the environment says, where that makes no sense.
//!
//! The parser names the flag, which nobody may have typed.

use std::ffi::{OsStr, OsString};

use clap::error::{ContextKind, ContextValue};
use clap::{Arg, Command, Error};

/// Which variable is to blame for an error and what to do, where nobody typed what it names.
pub(crate) fn blamed(
    error: &Error,
    command: &Command,
    typed: &[OsString],
    value: impl Fn(&OsStr) -> Option<OsString>,
) -> Option<String> {
    let Some(ContextValue::String(named)) = error.get(ContextKind::InvalidArg) else { return None };
    let flag = named.split([' ', '=']).next()?;
    let is_typed = |text: &OsString| {
        let rest = text.to_str().and_then(|text| text.strip_prefix(flag));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
    };
    if typed.iter().any(is_typed) {
        return None;
    }
    let variable = find(command, flag.strip_prefix("--")?)?.get_env()?;
    let value = value(variable)?;
    let variable = variable.display();
    Some(match value.is_empty() {
        true => {
            format!("{variable} is set in the environment and empty; unset it, or say something")
        }
        false => format!("{variable} in the environment says this; correct it, or unset it"),
    })
}

fn find<'a>(command: &'a Command, long: &str) -> Option<&'a Arg> {
    let is_it = |arg: &&Arg| arg.get_long() == Some(long) && arg.get_env().is_some();
    let below = || command.get_subcommands().find_map(|below| find(below, long));
    command.get_arguments().find(is_it).or_else(below)
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};

    use super::*;
    use crate::args::Cli;

    /// What is said where an empty or odd value was typed or set.
    fn said(typed: &[&str], set: &str, parsed: &[&str]) -> Option<String> {
        let error = Cli::try_parse_from(parsed).unwrap_err();
        let typed: Vec<OsString> = typed.iter().map(OsString::from).collect();
        blamed(&error, &Cli::command(), &typed, |_| Some(set.into()))
    }

    #[test]
    fn a_variable_is_named_where_nobody_typed_its_flag() {
        let odd = ["sync-relay", "run", "--quic", "here"];
        let words = said(&["sync-relay", "run"], "here", &odd).unwrap();
        assert!(words.contains("SYNC_RELAY_QUIC in the environment says"), "{words}");
        let odd = ["sync-relay", "--log-format", "xml", "tenant", "list"];
        let words = said(&["sync-relay", "tenant", "list"], "xml", &odd).unwrap();
        assert!(words.contains("SYNC_RELAY_LOG_FORMAT"), "{words}");
    }

    #[test]
    fn what_was_typed_is_nobody_elses_fault() {
        for odd in
            [&["sync-relay", "run", "--quic", "here"][..], &["sync-relay", "run", "--quic=x"]]
        {
            assert_eq!(said(odd, "here", odd), None);
        }
        let odd = ["sync-relay", "run", "--unknown"];
        assert_eq!(said(&odd, "here", &odd), None);
    }
}
