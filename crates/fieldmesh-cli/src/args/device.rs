//! Arguments of `devices`.

use clap::{Args, Subcommand};

/// `devices …`
#[derive(Debug, Args)]
pub(crate) struct DevicesArgs {
    #[command(subcommand)]
    pub(crate) command: Option<DeviceCommand>,
}

/// What can be done with devices.
#[derive(Debug, Subcommand)]
pub(crate) enum DeviceCommand {
    /// Show one device.
    Show {
        /// The device: its name, its id, or an ending of the id.
        device: String,
    },
    /// Shut a device out of the tenant for good. What this device knows of its work goes on
    /// counting.
    Revoke(RevokeArgs),
    /// Let work of a revoked device count that arrived after it was revoked.
    Adopt(AdoptArgs),
}

/// `devices revoke …`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fieldmesh devices revoke truck-7 --reason \"stolen in Odessa\"
  fieldmesh devices revoke truck-7 --wipe --yes

It needs no network: others learn of it when they meet. Whoever has used the device joins again
with a new invitation; a revoked device never comes back. Work of it that arrives later is kept
and does not count until `devices adopt` says so.")]
pub(crate) struct RevokeArgs {
    /// The device: its name, its id, or an ending of the id.
    pub(crate) device: String,
    /// Why, for the others.
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) reason: String,
    /// Have the device erase its home when it learns of it.
    #[arg(long)]
    pub(crate) wipe: bool,
    /// Do not ask.
    #[arg(long, short)]
    pub(crate) yes: bool,
}

/// `devices adopt …`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fieldmesh conflicts --kind quarantine
  fieldmesh devices adopt truck-7 1f3a9c02
  fieldmesh devices adopt truck-7

A batch counts together with all that its device signed before it.")]
pub(crate) struct AdoptArgs {
    /// The device: its name, its id, or an ending of the id.
    pub(crate) device: String,
    /// The batches: their ids or endings of them, as `conflicts --kind quarantine` shows them
    /// [default: all that are here].
    #[arg(value_name = "BATCH")]
    pub(crate) batches: Vec<String>,
}
