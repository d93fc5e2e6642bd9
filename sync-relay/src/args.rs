//! What can be typed: the commands, their arguments and their help.
//!
//! Nothing here acts; [`crate::command`] does. Settings that are not given here may be in the
//! configuration file, see [`crate::settings`].

pub(crate) mod acme;
pub(crate) mod backup;
pub(crate) mod claim;
mod duration;
pub(crate) mod environment;
pub(crate) mod fleet;
pub(crate) mod http;
pub(crate) mod rejected;
pub(crate) mod user;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, Parser, Subcommand};
use fieldmesh_model::Role;

use self::backup::{BackupArgs, ChosenArgs, RestoreArgs, VerifyArgs};
use self::claim::ClaimArgs;
use self::fleet::FleetArgs;
use self::http::HttpArgs;
use self::rejected::RejectedArgs;
use self::user::UserCommand;
use crate::settings::{Grant, LogFormat, TcpSaid};

/// Stores and forwards the batches of many tenants, and opens none of their documents.
#[derive(Debug, Parser)]
#[command(name = "sync-relay", version, max_term_width = 100, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "\
Examples:
  sync-relay run --public relay.example.org           serves what is in ./data
  sync-relay tenant create \"Permian West\"             a tenant whose authority is this relay
  sync-relay tenant join fieldmesh1…                  a tenant made on an admin's device
  sync-relay claim                                    lets an admin's device take this relay in
  sync-relay invite --tenant permian-west --role admin --user ana@example.org
  sync-relay backup monday.backup                     everything, while it runs

While a relay runs on the data folder, the other commands ask it.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 refused by permission or trust, 4 not found,
5 peer or relay unreachable, 6 validation failed, 7 store damaged or locked, \
8 not so far: ask again later.";

const GLOBAL: &str = "Global options";

/// What every command takes.
#[derive(Debug, Default, Args)]
pub(crate) struct Global {
    /// The configuration file; flags and environment win over it.
    #[arg(
        long, global = true, env = "SYNC_RELAY_CONFIG", value_name = "FILE", help_heading = GLOBAL
    )]
    pub(crate) config: Option<PathBuf>,
    /// The folder that holds everything [default: ./data].
    #[arg(long, global = true, env = "SYNC_RELAY_DATA", value_name = "DIR", help_heading = GLOBAL)]
    pub(crate) data: Option<PathBuf>,
    /// Print JSON: one value, or one a line for lists.
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub(crate) json: bool,
    /// Say nothing but results and errors.
    #[arg(short, long, global = true, conflicts_with = "verbose", help_heading = GLOBAL)]
    pub(crate) quiet: bool,
    /// Log more; twice for even more.
    #[arg(short, long, global = true, action = ArgAction::Count, help_heading = GLOBAL)]
    pub(crate) verbose: u8,
    /// Which log lines to write, like `info` or `warn,fieldmesh_net=debug`.
    #[arg(
        long, global = true, env = "SYNC_RELAY_LOG", value_name = "FILTER", help_heading = GLOBAL
    )]
    pub(crate) log: Option<String>,
    /// How log lines are written [default: text].
    #[arg(
        long, global = true, env = "SYNC_RELAY_LOG_FORMAT", value_name = "FORMAT",
        help_heading = GLOBAL
    )]
    pub(crate) log_format: Option<LogFormat>,
}

/// Everything the program does.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve every tenant of the data folder until stopped.
    Run(Box<RunArgs>),
    /// Create, join, list and remove tenants.
    Tenant {
        #[command(subcommand)]
        command: TenantCommand,
    },
    /// Print a claim, by which the lead of a crew has this relay serve it; list claims, or revoke one.
    Claim(ClaimArgs),
    /// Invite devices into a tenant that was created here, and serve the invitations.
    Invite(InviteArgs),
    /// List the devices of a tenant, and shut one out of it.
    Device {
        #[command(subcommand)]
        command: DeviceCommand,
    },
    /// List the devices of a tenant with how they fare: when they were heard, what fails, what waits.
    Fleet(FleetArgs),
    /// List what the apps of a tenant sent and could not be stored, with its contents and the reason.
    Rejected(RejectedArgs),
    /// Write a backup of everything, or of one tenant, while the relay runs.
    Backup(BackupArgs),
    /// Make a data folder of backups.
    Restore(RestoreArgs),
    /// Check every tenant, or a backup.
    Verify(VerifyArgs),
    /// Make the stores of the tenants as small as they can be.
    Compact(ChosenArgs),
    /// Say who may log in to the apps of a tenant.
    User {
        #[command(subcommand)]
        command: UserCommand,
    },
    /// Show or change which log lines the running relay writes, until it is stopped.
    Log {
        /// Like `info` or `warn,fieldmesh_net=debug`; without one the present filter is shown.
        filter: Option<String>,
    },
}

/// Where a relay is reached by devices.
#[derive(Debug, Default, Args)]
pub(crate) struct ListenArgs {
    /// The UDP address for devices [default: port 7843 of every address, IPv6 and IPv4].
    #[arg(long, env = "SYNC_RELAY_QUIC", value_name = "ADDR")]
    pub(crate) quic: Option<SocketAddr>,
    /// The TCP address for devices in networks that let no UDP through, or `off` [default: that of
    /// --quic].
    #[arg(long, env = "SYNC_RELAY_TCP", value_name = "ADDR|off")]
    pub(crate) tcp: Option<TcpSaid>,
    /// An address at which devices reach this relay, for invitations; may be given again. Without
    /// a port it is that of --quic [default: this machine's own addresses].
    #[arg(
        long = "public",
        env = "SYNC_RELAY_PUBLIC_ADDRESSES",
        value_name = "ADDR",
        value_delimiter = ','
    )]
    pub(crate) public_addresses: Vec<String>,
}

/// `run …`
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) listen: ListenArgs,
    #[command(flatten)]
    pub(crate) http: HttpArgs,
    /// How many tenants are open at a time, besides those that somebody uses; further ones are
    /// opened when they are asked for [default: 500].
    #[arg(long, env = "SYNC_RELAY_OPEN_TENANTS_MAX", value_name = "COUNT")]
    pub(crate) open_tenants_max: Option<usize>,
    /// How much of the disk a tenant may take, like `20 GiB`, of which the file may say otherwise
    /// tenant by tenant; what would be more is refused and stays on the devices [default: none].
    #[arg(long, env = "SYNC_RELAY_STORED_BYTES_MAX", value_name = "SIZE|none")]
    pub(crate) stored_bytes_max: Option<Grant>,
    /// Say what is set and whether it can be used, and serve nothing.
    #[arg(long)]
    pub(crate) check_config: bool,
}

/// The tenant to create.
#[derive(Debug, Clone, Args)]
pub(crate) struct TenantCreateArgs {
    /// The name of the organisation or crew.
    pub(crate) name: String,
    /// What the tenant's devices call this relay [default: the machine's name].
    #[arg(long, value_name = "NAME")]
    pub(crate) device: Option<String>,
    /// Let the apps of the tenant's people read and write its records here, over HTTP: the relay then
    /// opens what it stores.
    #[arg(long)]
    pub(crate) gateway: bool,
}

/// What can be done with tenants.
#[derive(Debug, Subcommand)]
pub(crate) enum TenantCommand {
    /// Create a tenant whose authority this relay holds, so that it can invite.
    Create(TenantCreateArgs),
    /// Join a tenant by an invitation with the role `relay` or `gateway`.
    Join {
        /// The invitation, or `-` to read it from standard input.
        #[arg(value_name = "INVITATION|-")]
        invitation: String,
        /// What the tenant's devices call this relay [default: the machine's name].
        #[arg(long, value_name = "NAME")]
        device: Option<String>,
    },
    /// List the tenants of the data folder.
    List,
    /// Serve a tenant no more, and move its files aside.
    Remove(TenantRemoveArgs),
}

/// `tenant remove …`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sync-relay tenant remove permian-west               says what would be done
  sync-relay tenant remove permian-west --yes         its files lie in the folder `removed`

Its devices are told that nobody here serves the tenant, and keep all they have, sent or not. It can be
taken in again by a claim or an invitation, or by putting its files back.")]
pub(crate) struct TenantRemoveArgs {
    /// The tenant: its slug, its name, its id or the end of that.
    #[arg(value_name = "TENANT")]
    pub(crate) tenant: String,
    /// Erase its files, and do not keep them aside.
    #[arg(long)]
    pub(crate) erase: bool,
    /// With --erase: also what is nowhere but on this relay.
    #[arg(long, requires = "erase")]
    pub(crate) force: bool,
    /// Without this nothing is done but to say what would be.
    #[arg(long, short)]
    pub(crate) yes: bool,
}

/// `invite …`
#[derive(Debug, Args)]
#[command(after_help = "\
While a relay runs on the data folder, it serves the invitation, at its own addresses. Otherwise the
command waits until every invitation is used or has expired.")]
pub(crate) struct InviteArgs {
    /// The tenant: its slug, its name, its id or the end of that.
    #[arg(long, value_name = "TENANT")]
    pub(crate) tenant: String,
    /// The role of whoever joins.
    #[arg(long, default_value = "operator", value_name = "ROLE")]
    pub(crate) role: Role,
    /// The e-mail address of the person who joins.
    #[arg(long, value_name = "EMAIL")]
    pub(crate) user: Option<String>,
    /// How long the invitation is good for, like `90m`, `24h` or `7d`.
    #[arg(long, default_value = "24h", value_name = "TIME", value_parser = duration::parse)]
    pub(crate) valid: Duration,
    /// How many devices to invite.
    #[arg(long, default_value_t = 1, value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) count: u32,
    #[command(flatten)]
    pub(crate) listen: ListenArgs,
}

/// What can be asked about devices.
#[derive(Debug, Subcommand)]
pub(crate) enum DeviceCommand {
    /// List the devices of a tenant.
    List {
        /// The tenant: its slug, its name, its id or the end of that.
        #[arg(long, value_name = "TENANT")]
        tenant: String,
    },
    /// Shut a device out of a tenant for good. What this relay knows of its work goes on counting.
    Revoke(RevokeArgs),
}

/// `device revoke …`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sync-relay device revoke truck-7 --tenant permian-west --reason \"stolen in Odessa\" --yes

The tenant has to be one whose authority is here (`sync-relay tenant create`). Others learn of it
when they meet this relay. Work of the device that arrives later is kept and does not count until
an admin says `fieldmesh devices adopt`.")]
pub(crate) struct RevokeArgs {
    /// The device: its name, its id, or an ending of the id.
    pub(crate) device: String,
    /// The tenant: its slug, its name, its id or the end of that.
    #[arg(long, value_name = "TENANT")]
    pub(crate) tenant: String,
    /// Why, for the others.
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) reason: String,
    /// Have the device erase its home when it learns of it.
    #[arg(long)]
    pub(crate) wipe: bool,
    /// It cannot be taken back; without this nothing is done but to say what would be.
    #[arg(long, short)]
    pub(crate) yes: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_commands_are_put_together_well() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_later_versions_may_do_is_refused() {
        for line in [
            "sync-relay claim now",
            "sync-relay claim --list --valid 2h",
            "sync-relay run --store sled",
        ] {
            assert!(Cli::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
    }
}
