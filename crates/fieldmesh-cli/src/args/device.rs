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
}
