//! What can be asked about what could not be stored.

use clap::Args;

/// `rejected …`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sync-relay rejected --tenant permian-west          who sent what, and why it is not stored
  sync-relay rejected --tenant permian-west --json   with all of its contents

An operation is tried again by its app, or by its user with POST /api/sync/queue/retry. A part of a
request that is no operation has to be put right by hand.")]
pub(crate) struct RejectedArgs {
    /// The tenant: its slug, its name, its id or the end of that.
    #[arg(long, value_name = "TENANT")]
    pub(crate) tenant: String,
}
