//! Arguments of `doctor`.

use clap::Args;

/// `doctor …`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fieldmesh doctor
  fieldmesh doctor --accept

The exit code is 0 where nothing is open and 7 where something is. Nothing is changed without
--accept.")]
pub(crate) struct DoctorArgs {
    /// Give up what is lost for good, once you have read what it is: records are then shown without
    /// it, and can be recorded again.
    #[arg(long)]
    pub(crate) accept: bool,
}
