//! `purge`: records that are erased everywhere, for good.

use fieldmesh::api::PurgeOptions;

use super::Context;
use super::device::confirm;
use crate::args::PurgeArgs;
use crate::backend::Backend;
use crate::exit::Failure;
use crate::render;

/// `purge`
pub(super) async fn purge(context: &Context<'_>, args: &PurgeArgs) -> Result<(), Failure> {
    let work = async |home: &dyn Backend| match args.list {
        true => {
            let purges = home.purges().await?;
            if purges.is_empty() {
                context.terminal.say("Nothing was purged.");
            }
            context.terminal.list(&purges, render::purges)
        }
        false => erase(context, home, args).await,
    };
    context.with_home(work).await
}

async fn erase(context: &Context<'_>, home: &dyn Backend, args: &PurgeArgs) -> Result<(), Failure> {
    let dry =
        PurgeOptions { records: args.records.clone(), reason: args.reason.clone(), dry_run: true };
    if args.dry_run {
        return context.terminal.list(&home.purge(dry).await?, render::purged);
    }
    let options = if args.yes {
        PurgeOptions { dry_run: false, ..dry }
    } else {
        // Whoever may not, or has named what is not there, is told before being asked.
        let found = home.purge(dry.clone()).await?;
        confirm(context, &render::purge_question(&found))?;
        // An ending of an id may mean another record by the time of the answer.
        let records = found.iter().map(|report| report.id.to_string()).collect();
        PurgeOptions { records, dry_run: false, ..dry }
    };
    context.terminal.list(&home.purge(options).await?, render::purged)
}
