//! Arguments of `purge`.

use clap::Args;

/// `purge …`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fieldmesh purge 7c21a9f0 --reason \"asked for by the person\" --dry-run
  fieldmesh purge 7c21a9f0 4be02d17 --yes
  fieldmesh purge --list

Only an admin may. Contents and history of the records are erased here at once, and on every other
device and relay as soon as it hears of it; what somebody wrote to them out of reach is erased when
it arrives. Salted hashes stay, so that the signatures of what was signed together with them still
verify; nothing can be read from a hash. The reason, who purged and when stay readable for good.

What cannot be recalled: backups made before (a home restored from one erases again), exports,
printouts, and devices that never come back. Other records that repeat the same words are records
of their own. Nothing can be recorded under the same time and key again.")]
pub(crate) struct PurgeArgs {
    /// The records: their ids, endings of them, or unique names.
    #[arg(value_name = "ID", required_unless_present = "list", conflicts_with = "list")]
    pub(crate) records: Vec<String>,
    /// Why, for the others; leave out what must be forgotten.
    #[arg(long, value_name = "TEXT", default_value = "", conflicts_with = "list")]
    pub(crate) reason: String,
    /// Only say what would go.
    #[arg(long, conflicts_with = "list")]
    pub(crate) dry_run: bool,
    /// Do not ask.
    #[arg(long, short, conflicts_with = "list")]
    pub(crate) yes: bool,
    /// List what was purged: who, when, why, and whether this home has erased it.
    #[arg(long)]
    pub(crate) list: bool,
}
