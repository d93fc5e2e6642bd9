//! The fieldmesh program: commands and daemon over a node.
//!
//! [`main`] reads the arguments, runs one command and gives its exit code. Commands ask a backend,
//! which is a node in this process or the daemon that holds the home.

mod args;
mod backend;
mod command;
mod daemon;
mod demo;
mod exit;
mod home;
mod log;
mod passphrase;
mod problem;
mod render;
mod terminal;
mod wire;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;

use args::Cli;
use exit::Failure;
use terminal::Terminal;

/// The name under which the program keeps its sockets.
const PROGRAM: &str = "fieldmesh";
/// How long the program waits at its end for threads that are still busy.
const LAST_THREADS_MAX: Duration = Duration::from_millis(200);

/// Runs the command of the process's arguments.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Nobody is left to tell where this cannot be printed.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    if command::life(&cli.command) == log::Life::Daemon {
        fieldmesh_shell::memory::give_back();
    }
    let terminal = Terminal::new(&cli.global);
    let result = run(&cli, &terminal);
    exit::finish(result, &terminal)
}

fn run(cli: &Cli, terminal: &Terminal) -> Result<(), Failure> {
    let logs = log::start(&cli.global, command::life(&cli.command), terminal.colour())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| problem::failed(format!("cannot start threads: {error}")))?;
    let result = runtime.block_on(Box::pin(command::run(cli, terminal, logs)));
    runtime.shutdown_timeout(LAST_THREADS_MAX);
    result
}
