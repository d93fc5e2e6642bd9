//! The `fieldmesh` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    fieldmesh_cli::main()
}
