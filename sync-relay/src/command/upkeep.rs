//! `verify` and `compact`, and what a command shows while stores are at work.

use std::path::PathBuf;
use std::sync::Arc;

use fieldmesh::api::Class;

use super::{Context, Reached, with_relay};
use crate::archive;
use crate::args::backup::{ChosenArgs, VerifyArgs};
use crate::data::KEY_FILE;
use crate::exit::Failure;
use crate::problem;
use crate::render;
use crate::terminal::Terminal;
use crate::wire::{Chosen, Compacted, Step, Teller, Verified};

/// `verify`
pub(super) async fn verify(context: &Context<'_>, args: &VerifyArgs) -> Result<(), Failure> {
    if !args.files.is_empty() {
        return verify_files(context, args).await;
    }
    let (chosen, tell) = (chosen(&args.chosen), teller(context.terminal));
    let verified = match context.reach().await? {
        Reached::Running(client) => client.verify(&chosen, &tell).await?,
        Reached::Here(data) => {
            with_relay(data, async |relay| relay.verify(&chosen, &tell).await).await?
        }
    };
    let printed = context.terminal.list(&verified, render::verified);
    let is_clean = |one: &Verified| {
        one.faults.is_empty() && one.report.as_ref().is_some_and(|report| report.clean)
    };
    ended(printed, verified.iter().all(is_clean))
}

async fn verify_files(context: &Context<'_>, args: &VerifyArgs) -> Result<(), Failure> {
    let own = context.settings.data.join(KEY_FILE);
    let key = archive::read_key(args.key_file.as_deref().unwrap_or(&own))?;
    let files: Vec<PathBuf> = args.files.clone();
    let checking = tokio::task::spawn_blocking(move || archive::check(&files, &key));
    let checked = checking.await.map_err(|error| problem::failed(error.to_string()))?;
    let (checks, missing) = checked?;
    ended(context.terminal.list(&checks, render::checked_archives), missing.is_empty())
}

/// `compact`
pub(super) async fn compact(context: &Context<'_>, args: &ChosenArgs) -> Result<(), Failure> {
    let (chosen, tell) = (chosen(args), teller(context.terminal));
    let compacted = match context.reach().await? {
        Reached::Running(client) => client.compact(&chosen, &tell).await?,
        Reached::Here(data) => {
            with_relay(data, async |relay| relay.compact(&chosen, &tell).await).await?
        }
    };
    let printed = context.terminal.list(&compacted, render::compacted);
    let is_done = |one: &Compacted| {
        one.faults.is_empty() && one.report.as_ref().is_some_and(|report| report.faults.is_empty())
    };
    ended(printed, compacted.iter().all(is_done))
}

/// Whose stores the arguments mean.
pub(super) fn chosen(args: &ChosenArgs) -> Chosen {
    Chosen { tenant: args.tenant.clone() }
}

/// Shows what is going on, or prints it as JSON lines.
pub(super) fn teller(terminal: &Terminal) -> Teller {
    let terminal = terminal.clone();
    Arc::new(move |step: Step| {
        if terminal.json() {
            // The work goes on where nobody reads its progress.
            let _ = terminal.json_line(&step);
        } else if let Some(text) = render::step(&step) {
            terminal.say(&text);
        }
    })
}

/// How a command ends that has `printed` what it found, whether or not somebody reads that.
pub(super) fn ended(printed: Result<(), Failure>, is_well: bool) -> Result<(), Failure> {
    match printed {
        Ok(()) | Err(Failure::OutputClosed) if !is_well => Err(Failure::Reported(Class::Store)),
        printed => printed,
    }
}
