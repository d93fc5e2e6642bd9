//! Arguments of `tenant`, `invite` and `join`.

use std::net::SocketAddr;
use std::time::Duration;

use clap::{Args, Subcommand};
use fieldmesh_model::Role;

use super::times;

/// `tenant …`
#[derive(Debug, Args)]
pub(crate) struct TenantArgs {
    #[command(subcommand)]
    pub(crate) command: TenantCommand,
}

/// What can be done with a tenant.
#[derive(Debug, Subcommand)]
pub(crate) enum TenantCommand {
    /// Create a tenant; this device becomes its admin. No network is needed.
    Create(CreateArgs),
}

/// `tenant create …`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fieldmesh tenant create \"Permian West\" --user ana@example.com --device office

On a terminal it asks for a passphrase; without one, a key file is kept in your configuration
folder. Elsewhere FIELDMESH_PASSPHRASE or --key-file decide.")]
pub(crate) struct CreateArgs {
    /// The name of the organisation or crew.
    pub(crate) name: String,
    /// Your e-mail address.
    #[arg(long, value_name = "EMAIL")]
    pub(crate) user: Option<String>,
    /// A name for this device [default: the machine's name].
    #[arg(long, value_name = "NAME")]
    pub(crate) device: Option<String>,
}

/// `invite …`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fieldmesh invite --user ben@example.com
  fieldmesh invite --role manager --valid 2h --qr
  fieldmesh invite --count 5 --json

Without a running daemon the command waits until every invitation is used or has expired; the
daemon serves invitations by itself.")]
pub(crate) struct InviteArgs {
    /// The role of whoever joins.
    #[arg(long, default_value = "operator", value_name = "ROLE")]
    pub(crate) role: Role,
    /// The e-mail address of the person who joins.
    #[arg(long, value_name = "EMAIL")]
    pub(crate) user: Option<String>,
    /// How long the invitation is good for, like `90m`, `24h` or `7d`.
    #[arg(long, default_value = "24h", value_name = "TIME", value_parser = times::duration)]
    pub(crate) valid: Duration,
    /// How many devices to invite.
    #[arg(long, default_value_t = 1, value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) count: u32,
    /// Also print the invitation as a QR code.
    #[arg(long)]
    pub(crate) qr: bool,
    /// The address to listen on while waiting [default: the one used last].
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<SocketAddr>,
}

/// `join …`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fieldmesh join fieldmesh1… --device truck-7
  pbpaste | fieldmesh join -

The inviting device must be reachable while you join. On a terminal it asks for a passphrase;
without one, a key file is kept in your configuration folder.")]
pub(crate) struct JoinArgs {
    /// The invitation, or `-` to read it from standard input.
    #[arg(value_name = "INVITATION|-")]
    pub(crate) invitation: String,
    /// A name for this device [default: the machine's name].
    #[arg(long, value_name = "NAME")]
    pub(crate) device: Option<String>,
}
