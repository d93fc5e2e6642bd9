//! `backup` and `restore`.

use std::path::{Path, PathBuf};

use fieldmesh::Node;
use fieldmesh::api::{BackupOptions, Class, Problem};

use super::{Context, progress};
use crate::args::{BackupArgs, RestoreArgs};
use crate::exit::Failure;
use crate::passphrase::Secret;
use crate::problem;
use crate::render;

/// `backup`
pub(super) async fn backup(context: &Context<'_>, args: &BackupArgs) -> Result<(), Failure> {
    if let Some(file) = &args.check {
        return check(context, file).await;
    }
    let Some(file) = &args.file else { return Ok(()) };
    // The daemon that may write it stands in another folder.
    let since = args.since.as_deref().map(absolute).transpose()?;
    let options = BackupOptions { file: absolute(file)?, since };
    context
        .with_home(async |home| {
            let bar = progress::spinner(context.terminal);
            let listener = progress::listener(context.terminal, &bar);
            let report = home.backup(options, listener).await;
            bar.finish_and_clear();
            let report = report?;
            context.terminal.value(&report, render::backed_up)?;
            complete(report.unreadable)
        })
        .await
}

async fn check(context: &Context<'_>, file: &Path) -> Result<(), Failure> {
    let secret = Secret::to_read(context.global, context.terminal, file)?;
    let bar = progress::spinner(context.terminal);
    let listener = progress::listener(context.terminal, &bar);
    let builder = secret.unlock(Node::builder(crate::home::folder(context.global)?));
    let checked = builder.check_backup(file.to_owned(), listener).await;
    bar.finish_and_clear();
    let checked = checked.map_err(|error| error.problem())?;
    context.terminal.value(&checked, render::checked_backup)?;
    complete(checked.unreadable)
}

/// A backup that lacks something is there and no success: whoever runs it by a timer looks at the
/// code alone.
fn complete(unreadable: u64) -> Result<(), Failure> {
    if unreadable == 0 { Ok(()) } else { Err(Failure::Reported(Class::Store)) }
}

/// `restore`
pub(super) async fn restore(context: &Context<'_>, args: &RestoreArgs) -> Result<(), Failure> {
    let folder = super::tenant::new_folder(context)?;
    let Some(first) = args.files.first() else { return Ok(()) };
    let secret = Secret::to_read(context.global, context.terminal, first)?;
    let bar = progress::spinner(context.terminal);
    let listener = progress::listener(context.terminal, &bar);
    let builder = secret.unlock(Node::builder(&folder));
    let restored = builder.restore(args.files.clone(), listener).await;
    bar.finish_and_clear();
    let restored = restored.map_err(|error| error.problem())?;
    context.terminal.value(&restored, render::restored)?;
    context.terminal.say(
        "What was recorded after the backup comes from others with `fieldmesh sync`, as far as \
         they have it. Invitations that were open are void: issue new ones.",
    );
    complete(restored.unreadable)
}

fn absolute(path: &Path) -> Result<PathBuf, Problem> {
    std::path::absolute(path).map_err(|error| problem::unreadable(path, &error))
}
