//! The relay: serves many tenants on one port, stores their batches and forwards them, and opens
//! no document.
//!
//! [`main`] reads the arguments, runs one command and gives its exit code. A tenant of a relay is
//! a node that forwards; everything here is about having several of them in one process, in one
//! data folder, and about the person who operates it.

mod accounts;
mod acme;
mod address;
mod archive;
mod args;
mod claims;
mod client;
mod command;
mod control;
mod data;
mod exit;
mod fleet;
mod gateway;
mod log;
mod metrics;
mod operations;
mod problem;
mod reader;
mod relay;
mod render;
mod settings;
mod terminal;
mod wire;

use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory as _, Parser as _};

use args::{Cli, environment};
use exit::Failure;
use settings::Settings;
use terminal::Terminal;

/// The name under which the program keeps its sockets.
const PROGRAM: &str = "sync-relay";
/// How long the program waits at its end for threads that are still busy.
const LAST_THREADS_MAX: Duration = Duration::from_millis(200);

/// Runs the command of the process's arguments.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Nobody is left to tell where this cannot be printed.
            let _ = error.print();
            let typed: Vec<_> = std::env::args_os().collect();
            let command = Cli::command();
            if let Some(words) =
                environment::blamed(&error, &command, &typed, |name| std::env::var_os(name))
            {
                terminal::hint(&words);
            }
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    if command::life(&cli.command) == log::Life::Server {
        fieldmesh_shell::memory::give_back();
    }
    let terminal = Terminal::new(&cli.global);
    let result = run(&cli, &terminal);
    exit::finish(result, &terminal)
}

fn run(cli: &Cli, terminal: &Terminal) -> Result<(), Failure> {
    let settings = Settings::read(cli)?;
    let lines = log::start(&cli.global, &settings, command::life(&cli.command))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| problem::failed(format!("cannot start threads: {error}")))?;
    let result = runtime.block_on(Box::pin(command::run(cli, &settings, &lines, terminal)));
    runtime.shutdown_timeout(LAST_THREADS_MAX);
    result
}
