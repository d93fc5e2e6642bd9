//! `backup` and `restore`.

use std::path::{Path, PathBuf};

use fieldmesh::api::Problem;

use super::{Context, Reached, upkeep, with_relay};
use crate::archive;
use crate::args::backup::{BackupArgs, RestoreArgs};
use crate::exit::Failure;
use crate::problem;
use crate::render;
use crate::wire::ArchiveOptions;

/// `backup`
pub(super) async fn backup(context: &Context<'_>, args: &BackupArgs) -> Result<(), Failure> {
    let options = ArchiveOptions {
        // The relay that may write it stands in another folder.
        file: absolute(&args.file)?,
        since: args.since.as_deref().map(absolute).transpose()?,
        chosen: upkeep::chosen(&args.chosen),
    };
    let tell = upkeep::teller(context.terminal);
    let summary = match context.reach().await? {
        Reached::Running(client) => client.back_up(&options, &tell).await?,
        Reached::Here(data) => {
            with_relay(data, async |relay| relay.back_up(options, tell).await).await?
        }
    };
    let printed = context.terminal.value(&summary, render::archived);
    upkeep::ended(printed, summary.missing.is_empty())
}

/// `restore`
pub(super) async fn restore(context: &Context<'_>, args: &RestoreArgs) -> Result<(), Failure> {
    let data = match context.reach().await? {
        Reached::Here(data) => data,
        Reached::Running(_) => {
            return Err(problem::usage(format!(
                "a relay runs on {}; restore into another folder with --data",
                context.settings.data.display()
            ))
            .into());
        }
    };
    let tell = upkeep::teller(context.terminal);
    let restored =
        archive::restore(&data, args.key_file.as_deref(), args.files.clone(), tell).await?;
    let printed = context.terminal.value(&restored, render::restored);
    context.terminal.say(&render::after_restore(&restored));
    upkeep::ended(printed, restored.missing.is_empty())
}

fn absolute(path: &Path) -> Result<PathBuf, Problem> {
    std::path::absolute(path).map_err(|error| problem::file(path, &error))
}
