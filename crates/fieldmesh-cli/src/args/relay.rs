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
    /// Take a relay into the tenant by its claim, or say at which address one is found; every device
    /// dials it from then on.
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
  fieldmesh relay add fieldmeshclaim1…                on the device that made the tenant
  fieldmesh relay add fieldmeshclaim1… --gateway      the relay may read and write for people
  fieldmesh relay add relay.example.org
  fieldmesh relay add 192.0.2.7:7843
  fieldmesh relay add 192.0.2.7:7843 --device relay --no-check

A claim is good once and needs no open port here: this device dials the relay, both prove who they
are, and the relay serves the tenant at once. Cut short, the same command goes on with it.

A relay stores and forwards, and opens no record. One whose claim asks to be a gateway reads every
record of the tenant, and writes for the people who log in at it with a password: apps need that. It
is asked for here before anything is done; --gateway says yes where there is no terminal.

An address is that of a relay which is a member: on it, `sync-relay tenant join` took an invitation
for the role relay, or `sync-relay tenant create` has made the tenant. Only an admin may say where it
is. The address is signed, travels with every sync, and needs no --relay and no --with on any
device.")]
pub(crate) struct RelayAddArgs {
    /// The claim that `sync-relay claim` prints, or `-` to read it from standard input; or the
    /// address of a relay that is a member: a host or an IP address, with or without a port.
    #[arg(value_name = "CLAIM|ADDR")]
    pub(crate) address: String,
    /// The relay that answers there: its name, its id, or an ending of the id.
    #[arg(long, value_name = "DEVICE")]
    pub(crate) device: Option<String>,
    /// Do not dial it first, as where the relay does not run yet.
    #[arg(long, requires = "device")]
    pub(crate) no_check: bool,
    /// Let the relay of the claim read the tenant's records, and write for those who log in at it.
    #[arg(long, conflicts_with_all = ["device", "no_check"])]
    pub(crate) gateway: bool,
}
