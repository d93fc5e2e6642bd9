//! Arguments of `schema`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `schema …`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fieldmesh schema check pump_round.toml              every mistake, with its line
  fieldmesh schema apply pump_round.toml --dry-run    what it would change
  fieldmesh schema apply pump_round.toml
  fieldmesh schema show                               the collections that there are
  fieldmesh schema show pump_round > pump_round.toml  the file in force, to change it

Only an admin may apply one. It travels with the policy, and every device records, checks, lists,
imports and exports by it once it has it. Records are never rewritten: what would hide or lose
something is refused. What a device does not understand it keeps, and shows it once it does.")]
pub(crate) struct SchemaArgs {
    #[command(subcommand)]
    pub(crate) command: SchemaCommand,
}

/// What can be done with the collections that a tenant defines.
#[derive(Debug, Subcommand)]
pub(crate) enum SchemaCommand {
    /// Say everything that is wrong with a schema file.
    Check {
        /// The file, TOML; `-` is standard input.
        file: PathBuf,
    },
    /// Put a schema file in force on every device of the tenant.
    Apply {
        /// The file, TOML; `-` is standard input.
        file: PathBuf,
        /// Only say what it would change.
        #[arg(long)]
        dry_run: bool,
        /// Go over a version that this program cannot read, and lose what it has. Only where no
        /// program reads it: a newer one may.
        #[arg(long)]
        replace_unreadable: bool,
    },
    /// Show the collections that there are, or the file of one. Definitions of it that do not count
    /// although somebody made them stand behind it as comments.
    Show {
        /// The collection.
        name: Option<String>,
    },
}
