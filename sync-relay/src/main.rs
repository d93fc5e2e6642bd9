//! The `sync-relay` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    sync_relay::main()
}
