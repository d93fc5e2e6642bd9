//! The commands: each asks a backend and prints what it answers.

mod approval;
mod backup;
mod bulk;
mod compact;
mod conflicts;
mod device;
mod doctor;
mod draft;
mod evict;
mod home;
mod invite;
mod loopback;
mod notice;
mod progress;
mod purge;
mod record;
mod relay;
mod run;
mod schema;
mod secret;
mod sync;
mod tenant;
mod transfer;

use clap::CommandFactory as _;
use clap_complete::Shell;
use fieldmesh::api::Class;

use crate::args::{Cli, Command, Global, PassphraseCommand, TenantCommand};
use crate::backend::Backend;
use crate::exit::Failure;
use crate::log::{Life, Logs};
use crate::terminal::Terminal;

/// Whether a command runs until it is stopped.
pub(crate) const fn life(command: &Command) -> Life {
    if matches!(command, Command::Run(_)) { Life::Daemon } else { Life::Command }
}

/// What every command gets.
struct Context<'a> {
    global: &'a Global,
    terminal: &'a Terminal,
}

impl Context<'_> {
    /// Lets `work` ask the home and closes it afterwards, however the work ends.
    async fn with_home(
        &self,
        work: impl AsyncFnOnce(&dyn Backend) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let warned = async |home: &dyn Backend| {
            let warnings = match home.warnings().await {
                // A daemon of an older version knows no warnings.
                Err(problem) if problem.class == Class::NotFound => Vec::new(),
                warnings => warnings?,
            };
            for warning in warnings {
                self.terminal.complain(&format!("warning: {}", crate::render::one_line(&warning)));
            }
            work(home).await
        };
        self.with_part(&[], warned).await
    }

    /// As [`Self::with_home`], for a home that exchanges only a part of the tenant's records.
    async fn with_part(
        &self,
        only: &[String],
        work: impl AsyncFnOnce(&dyn Backend) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let home = crate::home::open_part(self.global, self.terminal, only).await?;
        progress::until_made(self.terminal, &home).await;
        let result = work(home.backend()).await;
        let closed = home.close().await;
        result?;
        closed?;
        Ok(())
    }
}

/// Runs one command.
pub(crate) async fn run(cli: &Cli, terminal: &Terminal, logs: Logs) -> Result<(), Failure> {
    let context = Context { global: &cli.global, terminal };
    match &cli.command {
        Command::Tenant(args) => match &args.command {
            TenantCommand::Create(args) => tenant::create(&context, args).await,
        },
        Command::Join(args) => tenant::join(&context, args).await,
        Command::Invite(args) => invite::invite(&context, args, logs).await,
        Command::Record(args) => record::record(&context, args).await,
        Command::Edit(args) => record::edit(&context, args).await,
        Command::Delete(args) => record::delete(&context, args).await,
        Command::Approve(args) => approval::approve(&context, args).await,
        Command::RestoreRecord(args) => record::restore(&context, args).await,
        Command::Show(args) => record::show(&context, args).await,
        Command::History(args) => record::history(&context, args).await,
        Command::List(args) => record::list(&context, args).await,
        Command::Import(args) => transfer::import(&context, args).await,
        Command::Export(args) => transfer::export(&context, args).await,
        Command::Sync(args) => sync::sync(&context, args).await,
        Command::Status => home::status(&context).await,
        Command::Peers => home::peers(&context).await,
        Command::Devices(args) => device::devices(&context, args).await,
        Command::Relay(args) => relay::relay(&context, args).await,
        Command::Conflicts(args) => conflicts::conflicts(&context, args).await,
        Command::Notices(args) => notice::notices(&context, args).await,
        Command::Run(args) => run::run(&context, args, logs).await,
        Command::Stop => run::stop(&context).await,
        Command::Verify => home::verify(&context).await,
        Command::Backup(args) => backup::backup(&context, args).await,
        Command::Restore(args) => backup::restore(&context, args).await,
        Command::Compact => compact::compact(&context).await,
        Command::Evict(args) => evict::evict(&context, args).await,
        Command::Passphrase(args) => match &args.command {
            PassphraseCommand::Change(args) => secret::change(&context, args).await,
            PassphraseCommand::Remember => secret::remember(&context).await,
            PassphraseCommand::Forget => secret::forget(&context).await,
        },
        Command::Rekey => secret::rekey(&context).await,
        Command::Doctor(args) => doctor::doctor(&context, args).await,
        Command::Purge(args) => purge::purge(&context, args).await,
        Command::Drafts(args) => draft::drafts(&context, args).await,
        Command::Submit(draft) => draft::submit(&context, &draft.id).await,
        Command::Schema(args) => schema::schema(&context, args).await,
        Command::Demo(args) => crate::demo::demo(args, terminal).await,
        Command::Completions { shell } => completions(terminal, *shell),
    }
}

fn completions(terminal: &Terminal, shell: Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "fieldmesh", &mut script);
    terminal.text(&String::from_utf8_lossy(&script))
}
