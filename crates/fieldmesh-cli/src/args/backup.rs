//! Arguments of `backup` and `restore`.

use std::path::PathBuf;

use clap::Args;

/// `backup …`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fieldmesh backup monday.backup                          everything this home holds
  fieldmesh backup tuesday.backup --since monday.backup   what came after Monday's
  fieldmesh backup --check monday.backup                  whether a backup is whole

A backup is encrypted, and opened by what opens this home now: the passphrase, or the key file, of
which you need a copy elsewhere then. It can be written while the daemon runs.")]
pub(crate) struct BackupArgs {
    /// The file to write, which must not exist.
    #[arg(required_unless_present = "check")]
    pub(crate) file: Option<PathBuf>,
    /// An earlier backup of this home: write what came after it.
    #[arg(long, value_name = "FILE", conflicts_with = "check")]
    pub(crate) since: Option<PathBuf>,
    /// Read a backup to its end and say whether it is whole; writes nothing.
    #[arg(long, value_name = "FILE", conflicts_with = "file")]
    pub(crate) check: Option<PathBuf>,
}

/// `restore …`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fieldmesh --home new restore monday.backup
  fieldmesh restore monday.backup tuesday.backup          a chain, in the order it was made

Nothing is made unless every file is whole, and only in a folder that is empty or not there yet. The
device that was backed up may go on running: both hand over what they record, and nothing is lost or
written twice.

The exit code is 7 where the backup lacks something: the home is made, and it says what is not in it.")]
pub(crate) struct RestoreArgs {
    /// A whole backup, then those that go on from it.
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
}
