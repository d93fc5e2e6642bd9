//! What can be typed about the stores: backups, checks, and making them smaller.

use std::path::PathBuf;

use clap::Args;

/// `backup …`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sync-relay backup /backups/monday.backup
  sync-relay backup /backups/tuesday.backup --since /backups/monday.backup
  sync-relay backup crew.backup --tenant permian-west

A backup holds the records of every tenant, its authority where it was made here, the people who log
in, and photos. It is encrypted, and opened by relay.key alone, which is not in it: keep a copy of
that elsewhere. Where a relay runs on the data folder, it writes the file, and goes on serving.")]
pub(crate) struct BackupArgs {
    /// The file to write, which must not exist.
    pub(crate) file: PathBuf,
    /// An earlier backup of this relay: write what came after it.
    #[arg(long, value_name = "FILE")]
    pub(crate) since: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) chosen: ChosenArgs,
}

/// `restore …`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sync-relay --data new restore monday.backup --key-file /safe/relay.key
  sync-relay --data new restore monday.backup tuesday.backup --key-file /safe/relay.key

The data folder has to be empty, but for its relay.key. Nothing is made unless every file is whole.
The relay that was backed up may go on running: devices hear both, and nothing is lost or written
twice.")]
pub(crate) struct RestoreArgs {
    /// A whole backup, then those that go on from it, in order.
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// The relay.key of the relay that was backed up [default: the one in the data folder].
    #[arg(long, value_name = "FILE")]
    pub(crate) key_file: Option<PathBuf>,
}

/// `verify …`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sync-relay verify                                   every tenant: log, records, photos, people
  sync-relay verify --tenant permian-west
  sync-relay verify monday.backup tuesday.backup      whether these are whole and follow each other

A backup is read to its end, and its checksums and seals are checked; the records in it are checked
when it is restored. Nothing is made.")]
pub(crate) struct VerifyArgs {
    /// Backups to check instead of the tenants: a whole one, then those that go on from it.
    #[arg(value_name = "FILE", conflicts_with = "tenant")]
    pub(crate) files: Vec<PathBuf>,
    /// The relay.key that they were written with [default: the one in the data folder].
    #[arg(long, value_name = "FILE", requires = "files")]
    pub(crate) key_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) chosen: ChosenArgs,
}

/// Whose stores are meant.
#[derive(Debug, Args)]
pub(crate) struct ChosenArgs {
    /// One tenant only: its slug, its name, its id or the end of that.
    #[arg(long, value_name = "TENANT")]
    pub(crate) tenant: Option<String>,
}
