//! `evict`

use std::io::{BufRead as _, Write as _};

use fieldmesh::api::{Class, Evict, EvictOptions, EvictReport};

use super::{Context, progress};
use crate::args::EvictArgs;
use crate::backend::Backend;
use crate::exit::Failure;
use crate::problem;
use crate::render;

/// `evict`
pub(super) async fn evict(context: &Context<'_>, args: &EvictArgs) -> Result<(), Failure> {
    context
        .with_home(async |home| {
            let Some(evict) = asked(args) else {
                let kept = home.kept().await?;
                return context.terminal.value(&kept, render::kept);
            };
            let frees = matches!(evict, Evict::Before { .. } | Evict::KeepMonths { .. });
            if frees && !args.yes && !args.dry_run {
                let looked = ask(context, home, &evict, true).await?;
                if looked.records == 0 && looked.batches == 0 {
                    return context.terminal.value(&looked, render::evicted);
                }
                confirm(context, &looked)?;
            }
            let report = ask(context, home, &evict, args.dry_run).await?;
            context.terminal.value(&report, render::evicted)?;
            if report.faults.is_empty() { Ok(()) } else { Err(Failure::Reported(Class::Store)) }
        })
        .await
}

fn asked(args: &EvictArgs) -> Option<Evict> {
    let EvictArgs { before, keep_months, auto, back_to, .. } = args;
    let before = before.clone().map(|month| Evict::Before { month });
    let keep = keep_months.map(|months| Evict::KeepMonths { months });
    let auto = auto.map(|auto| Evict::Auto { months: auto.0 });
    let back = back_to.clone().map(|month| Evict::BackTo { month });
    before.or(keep).or(auto).or(back)
}

async fn ask(
    context: &Context<'_>,
    home: &dyn Backend,
    evict: &Evict,
    dry_run: bool,
) -> Result<EvictReport, Failure> {
    let options = EvictOptions { evict: evict.clone(), dry_run };
    let bar = progress::spinner(context.terminal);
    let report = home.evict(options, progress::listener(context.terminal, &bar)).await;
    bar.finish_and_clear();
    Ok(report?)
}

/// Asks before records go that only come back over a network.
fn confirm(context: &Context<'_>, looked: &EvictReport) -> Result<(), Failure> {
    if !context.terminal.is_interactive() {
        let detail = "there is no terminal to ask on; add --yes, or --dry-run to look first";
        return Err(problem::usage(detail).into());
    }
    context.terminal.complain(&render::evict_question(looked));
    let mut stderr = std::io::stderr().lock();
    // Where nobody listens there is nobody to answer either.
    let _ = write!(stderr, "Go on? [y/N] ").and_then(|()| stderr.flush());
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    match (read, answer.trim().to_lowercase().as_str()) {
        (Ok(_), "y" | "yes") => Ok(()),
        _ => Err(problem::usage("nothing was done").into()),
    }
}
