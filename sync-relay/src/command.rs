//! The commands: each asks a relay, one that runs or one that it opens, and prints the answer.

mod backup;
mod check;
mod claim;
mod device;
mod fleet;
mod invite;
mod log;
mod port;
mod rejected;
mod run;
mod tenant;
mod upkeep;
mod user;

use std::collections::BTreeMap;
use std::time::Duration;

use fieldmesh::api::Problem;
use tokio::time::Instant;

use crate::args::{Cli, Command, DeviceCommand, TenantCommand};
use crate::client::Client;
use crate::data::{DataFolder, NotHeld};
use crate::exit::Failure;
use crate::log::{Life, Lines};
use crate::relay::{OPEN_TENANTS_MAX_DEFAULT, Quotas, Relay};
use crate::settings::Settings;
use crate::terminal::Terminal;

/// How long a command waits for another one, or for a relay that starts or ends.
const IN_USE_PATIENCE: Duration = Duration::from_secs(5);
/// How often it looks meanwhile.
const IN_USE_INTERVAL: Duration = Duration::from_millis(50);

/// Whether a command runs until it is stopped.
pub(crate) const fn life(command: &Command) -> Life {
    if matches!(command, Command::Run(_)) { Life::Server } else { Life::Command }
}

/// What every command gets.
struct Context<'a> {
    settings: &'a Settings,
    lines: &'a Lines,
    terminal: &'a Terminal,
    cli: &'a Cli,
}

/// Runs one command.
pub(crate) async fn run(
    cli: &Cli,
    settings: &Settings,
    lines: &Lines,
    terminal: &Terminal,
) -> Result<(), Failure> {
    let context = Context { settings, lines, terminal, cli };
    match &cli.command {
        Command::Run(args) if args.check_config => check::check(&context),
        Command::Run(_) => run::run(&context).await,
        Command::Tenant { command } => match command {
            TenantCommand::Create(args) => tenant::create(&context, args).await,
            TenantCommand::Join { invitation, device } => {
                tenant::join(&context, invitation, device).await
            }
            TenantCommand::List => tenant::list(&context).await,
            TenantCommand::Remove(args) => tenant::remove(&context, args).await,
        },
        Command::Claim(args) => claim::claim(&context, args).await,
        Command::Invite(args) => invite::invite(&context, args).await,
        Command::Device { command } => match command {
            DeviceCommand::List { tenant } => device::list(&context, tenant).await,
            DeviceCommand::Revoke(args) => device::revoke(&context, args).await,
        },
        Command::Fleet(args) => fleet::list(&context, args).await,
        Command::Rejected(args) => rejected::list(&context, args).await,
        Command::Backup(args) => backup::backup(&context, args).await,
        Command::Restore(args) => backup::restore(&context, args).await,
        Command::Verify(args) => upkeep::verify(&context, args).await,
        Command::Compact(args) => upkeep::compact(&context, args).await,
        Command::User { command } => user::user(&context, command).await,
        Command::Log { filter } => log::log(&context, filter.as_deref()).await,
    }
}

/// Who answers for the data folder.
enum Reached {
    /// A relay in another process.
    Running(Client),
    /// Nobody else: the folder is this process's now.
    Here(DataFolder),
}

impl Context<'_> {
    /// Finds the relay that runs on the data folder, or takes the folder.
    async fn reach(&self) -> Result<Reached, Problem> {
        let deadline = Instant::now() + IN_USE_PATIENCE;
        loop {
            if let Some(socket) =
                fieldmesh_shell::socket::find(crate::PROGRAM, &self.settings.data).await
            {
                return Ok(Reached::Running(Client::new(socket)));
            }
            match DataFolder::take(&self.settings.data) {
                Ok(data) => {
                    fieldmesh_shell::socket::remove_stale(crate::PROGRAM, data.path());
                    return Ok(Reached::Here(data));
                }
                // What holds it may be a relay that is about to serve.
                Err(NotHeld::InUse(_)) if Instant::now() < deadline => {
                    tokio::time::sleep(IN_USE_INTERVAL).await;
                }
                Err(not_held) => return Err(not_held.into()),
            }
        }
    }
}

/// Opens a relay without a port for as long as `work` takes.
async fn with_relay<T>(
    data: DataFolder,
    work: impl AsyncFnOnce(&Relay) -> Result<T, Problem>,
) -> Result<T, Problem> {
    let (max, quotas) = (OPEN_TENANTS_MAX_DEFAULT, Quotas::default());
    let relay = Relay::open(data, None, max, BTreeMap::new(), quotas).await?;
    let result = work(&relay).await;
    let closed = relay.shutdown().await;
    let value = result?;
    closed.map(|()| value)
}
