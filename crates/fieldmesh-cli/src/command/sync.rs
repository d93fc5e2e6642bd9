//! `sync`

use fieldmesh::api::{Class, SyncOptions, SyncResult, SyncSettingsChange};

use super::{Context, progress};
use crate::args::SyncArgs;
use crate::exit::Failure;
use crate::problem;
use crate::render;

/// `sync --pause` and its like.
async fn configure(context: &Context<'_>, change: SyncSettingsChange) -> Result<(), Failure> {
    context
        .with_home(async |home| {
            let report = home.configure_sync(change).await?;
            context.terminal.value(&report, render::connectivity)
        })
        .await
}

/// `sync --now`
async fn sync_now(context: &Context<'_>) -> Result<(), Failure> {
    // A home that is opened for this command alone has no connection and no address to try.
    if crate::home::daemon(context.global).await?.is_none() {
        let detail = "no daemon runs on this home; use `fieldmesh sync`";
        return Err(problem::usage(detail).into());
    }
    context
        .with_home(async |home| {
            let answer = home.sync_now().await?;
            context.terminal.value(&answer, render::synced_now)?;
            if answer.success { Ok(()) } else { Err(Failure::Reported(Class::Unreachable)) }
        })
        .await
}

/// `sync`
pub(super) async fn sync(context: &Context<'_>, args: &SyncArgs) -> Result<(), Failure> {
    if args.now {
        return sync_now(context).await;
    }
    if let Some(change) = args.change() {
        return configure(context, change).await;
    }
    let options = SyncOptions {
        with: args.with.clone(),
        timeout: args.timeout,
        mdns: !args.no_mdns,
        only: args.only.clone(),
    };
    context
        .with_part(&args.only, async |home| {
            let bar = progress::spinner(context.terminal);
            bar.set_message("looking for peers");
            let listener = progress::listener(context.terminal, &bar);
            let report = home.sync(options, listener).await;
            bar.finish_and_clear();
            let report = report?;
            context.terminal.value(&report, render::synced)?;
            match outcome(report.result, !args.with.is_empty()) {
                None => Ok(()),
                Some(_) if report.revoked => Err(Failure::Reported(Class::Refused)),
                Some(class) => Err(Failure::Reported(class)),
            }
        })
        .await
}

/// Devices that are merely known may be switched off; those that were named should be there.
const fn outcome(result: SyncResult, named: bool) -> Option<Class> {
    match (result, named) {
        (SyncResult::Ok, _) | (SyncResult::Partial, false) => None,
        (SyncResult::Partial, true) | (SyncResult::Failed, _) => Some(Class::Unreachable),
    }
}
