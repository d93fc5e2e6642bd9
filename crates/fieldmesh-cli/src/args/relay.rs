//! Arguments of `relay`.

use clap::{Args, Subcommand};

/// `relay …`
#[derive(Debug, Args)]
pub(crate) struct RelayArgs {
    #[command(subcommand)]
    pub(crate) command: RelayCommand,
}

/// What can be said of relays.
#[derive(Debug, Subcommand)]
pub(crate) enum RelayCommand {
    /// Say at which address a relay of the tenant is found; every device dials it from then on.
    Add(RelayAddArgs),
    /// List the addresses of relays: whose they are, who signed them, and how they are reached.
    List,
    /// Take an address back; devices dial it no more by themselves.
    Remove {
        /// The address, as `relay list` shows it.
        #[arg(value_name = "ADDR")]
        address: String,
    },
}

/// `relay add …`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fieldmesh relay add relay.example.org
  fieldmesh relay add 192.0.2.7:7843
  fieldmesh relay add 192.0.2.7:7843 --device relay --no-check

The relay has to be a member of the tenant: on it, `sync-relay tenant join` takes an invitation for
the role relay, or `sync-relay tenant create` has made the tenant. Only an admin may say where it
is. The address is signed, travels with every sync, and needs no --relay and no --with on any
device.")]
pub(crate) struct RelayAddArgs {
    /// The address: a host or an IP address, with or without a port.
    #[arg(value_name = "ADDR")]
    pub(crate) address: String,
    /// The relay that answers there: its name, its id, or an ending of the id.
    #[arg(long, value_name = "DEVICE")]
    pub(crate) device: Option<String>,
    /// Do not dial it first, as where the relay does not run yet.
    #[arg(long, requires = "device")]
    pub(crate) no_check: bool,
}
