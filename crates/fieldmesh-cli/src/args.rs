//! What can be typed: the commands, their arguments and their help.
//!
//! Nothing here acts; [`crate::command`] does.

mod approval;
mod backup;
mod conflicts;
mod demo;
mod device;
mod doctor;
mod draft;
mod evict;
mod loopback;
mod notice;
mod purge;
mod records;
mod relay;
mod schema;
mod secret;
mod sync;
mod tenant;
mod times;
mod transfer;

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand};

pub(crate) use approval::ApproveArgs;
pub(crate) use backup::{BackupArgs, RestoreArgs};
pub(crate) use conflicts::{ConflictCommand, ConflictsArgs, Kind, ResolveArgs};
pub(crate) use demo::DemoArgs;
pub(crate) use device::{AdoptArgs, DeviceCommand, DevicesArgs, RevokeArgs};
pub(crate) use doctor::DoctorArgs;
pub(crate) use draft::{DraftId, DraftsArgs, DraftsCommand};
pub(crate) use evict::EvictArgs;
pub(crate) use loopback::{Http, LoopbackArgs};
pub(crate) use notice::NoticesArgs;
pub(crate) use purge::PurgeArgs;
pub(crate) use records::{EditArgs, IdArgs, ListArgs, RecordArgs, ShowArgs};
pub(crate) use relay::{RelayArgs, RelayCommand};
pub(crate) use schema::{SchemaArgs, SchemaCommand};
pub(crate) use secret::{ChangeArgs, PassphraseArgs, PassphraseCommand};
pub(crate) use sync::{RunArgs, SyncArgs};
pub(crate) use tenant::{CreateArgs, InviteArgs, JoinArgs, TenantArgs, TenantCommand};
pub(crate) use transfer::{ExportArgs, Format, ImportArgs};

/// Records field data where there is no network and keeps a crew's devices in step.
#[derive(Debug, Parser)]
#[command(name = "fieldmesh", version, max_term_width = 100, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "\
Examples:
  fieldmesh tenant create \"Permian West\"       a new tenant; this device is its admin
  fieldmesh invite --role operator             on the admin's device: prints an invitation
  fieldmesh join fieldmesh1…                   on the other device
  fieldmesh record well name=\"State 12-4\" apiNumber=42-227-30001 status=ACTIVE
  fieldmesh record field_entry wellId=\"State 12-4\" entryType=PRODUCTION oilVolume=82.3
  fieldmesh sync                               with everyone who can be reached
  fieldmesh conflicts                          what two people wrote differently

Wherever an ID is asked, give the full id, an unambiguous ending of it, or a unique name.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 refused by permission or trust, 4 not found,
5 peer or relay unreachable, 6 validation failed, 7 store damaged or locked, \
8 not so far: ask again later.";

/// What every command takes.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// The folder that holds this device's data [default: the platform's data folder].
    #[arg(long, global = true, env = "FIELDMESH_HOME", value_name = "DIR", help_heading = GLOBAL)]
    pub(crate) home: Option<PathBuf>,
    /// Print JSON: one value, or one a line for lists and progress.
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub(crate) json: bool,
    /// Say nothing but results and errors.
    #[arg(short, long, global = true, conflicts_with = "verbose", help_heading = GLOBAL)]
    pub(crate) quiet: bool,
    /// Log more; twice for even more.
    #[arg(short, long, global = true, action = ArgAction::Count, help_heading = GLOBAL)]
    pub(crate) verbose: u8,
    /// Which log lines to write, like `info` or `fieldmesh_net=debug`; a running daemon takes it
    /// over.
    #[arg(long, global = true, env = "FIELDMESH_LOG", value_name = "FILTER", help_heading = GLOBAL)]
    pub(crate) log: Option<String>,
    /// The file that opens the home, where it is not kept in its usual place.
    /// `FIELDMESH_PASSPHRASE` holds the passphrase of a home that has one.
    #[arg(long, global = true, value_name = "FILE", help_heading = GLOBAL)]
    pub(crate) key_file: Option<PathBuf>,
}

const REKEY: &str = "\
It is for the case that somebody has a copy of the file `profile` of this home and the secret that
opens it: what is recorded afterwards, and what is here when it is done, does not open to them.
Old copies of the home still do. Change the passphrase first if others may know it.

Recording, reading and sync go on meanwhile. If the program is killed, the next start goes on with
it, and `fieldmesh status` tells how far it has come.";

const GLOBAL: &str = "Global options";

/// Everything the program does.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create a tenant.
    Tenant(TenantArgs),
    /// Invite devices into this tenant and serve the invitations.
    Invite(InviteArgs),
    /// Join a tenant with an invitation.
    Join(JoinArgs),
    /// Record something and print its id.
    Record(RecordArgs),
    /// Show what is not finished, change it, or throw it away.
    Drafts(DraftsArgs),
    /// Record a draft and print the id of the record.
    Submit(DraftId),
    /// Change fields of a record, or of many alike.
    Edit(EditArgs),
    /// Delete a record; its history stays.
    Delete(IdArgs),
    /// Approve records that wait for it, or refuse them.
    Approve(ApproveArgs),
    /// Bring a deleted record back.
    RestoreRecord(IdArgs),
    /// Show a record, also as it was at a time.
    Show(ShowArgs),
    /// Show every change of a record: who, when, on which device, what.
    History(IdArgs),
    /// List the records of a collection, newest first.
    List(ListArgs),
    /// Import a file: csv, JSON lines, or either of them gzipped.
    Import(ImportArgs),
    /// Write a collection to standard output.
    Export(ExportArgs),
    /// Get in step with everyone who can be reached, once.
    Sync(SyncArgs),
    /// Show this device: its tenant, role, counts, addresses and health.
    Status,
    /// Show other devices as this one reaches them, and why it cannot.
    Peers,
    /// Show the tenant's devices, revoke one, or adopt work of a revoked one.
    Devices(DevicesArgs),
    /// Say where the tenant's relays are, for every device.
    Relay(RelayArgs),
    /// Show and settle what people wrote differently without knowing of each other.
    Conflicts(ConflictsArgs),
    /// Show what others did with your work: what was not taken, refused or does not count.
    Notices(NoticesArgs),
    /// Keep in step in the background and serve the other commands.
    Run(RunArgs),
    /// Stop the running daemon of this home.
    Stop,
    /// Check everything this home holds: log, signatures, authors, records.
    Verify,
    /// Write everything this home holds, or what came since, to an encrypted file.
    Backup(BackupArgs),
    /// Make a home of backups.
    Restore(RestoreArgs),
    /// Make this home take as little of the disk as it can.
    Compact,
    /// Let old records go from this device, once a relay holds them.
    Evict(EvictArgs),
    /// Change what opens this home, or let the system remember it.
    Passphrase(PassphraseArgs),
    /// Draw another data key and write everything in this home anew with it.
    #[command(after_help = REKEY)]
    Rekey,
    /// Say in plain words what is wrong with this home, what was done, and what you can do.
    Doctor(DoctorArgs),
    /// Erase records on every device, for good.
    Purge(PurgeArgs),
    /// Check, apply and show collections of the tenant's own.
    Schema(SchemaArgs),
    /// Play a crew's day with real processes on this machine, and check that nothing is lost.
    Demo(DemoArgs),
    /// Print the completions of a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

#[cfg(test)]
mod tests;
