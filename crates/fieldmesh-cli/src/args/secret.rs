//! Arguments of `passphrase`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `passphrase …`
#[derive(Debug, Args)]
pub(crate) struct PassphraseArgs {
    #[command(subcommand)]
    pub(crate) command: PassphraseCommand,
}

/// What can be done with what opens a home.
#[derive(Debug, Subcommand)]
pub(crate) enum PassphraseCommand {
    /// Change what opens this home: a new passphrase, or a key file.
    Change(ChangeArgs),
    /// Let the keyring of the system open this home, until the machine restarts.
    Remember,
    /// Take `remember` back: the passphrase is asked for again.
    Forget,
}

/// `passphrase change`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fieldmesh passphrase change                            asks for the old one and twice for the new
  fieldmesh --key-file old.key passphrase change         a passphrase in place of a key file
  fieldmesh passphrase change --to-key-file /media/key   a key file in place of a passphrase

Without a terminal, FIELDMESH_PASSPHRASE holds the old passphrase and FIELDMESH_NEW_PASSPHRASE the
new one. No data is written anew: whoever has an old copy of this home and the old passphrase can
still read what is written with the same key. `fieldmesh rekey` draws another one.")]
pub(crate) struct ChangeArgs {
    /// Open the home by this key file from now on; it is made if it does not exist.
    #[arg(long, value_name = "FILE")]
    pub(crate) to_key_file: Option<PathBuf>,
    /// Open the home by a key file in your configuration folder from now on.
    #[arg(long, conflicts_with = "to_key_file")]
    pub(crate) to_usual_key_file: bool,
}
