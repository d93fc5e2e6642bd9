//! `conflicts`

use fieldmesh::api::{CONFLICTS_MAX, Class, ConflictQuery, Resolution, ResolveAll};

use super::device::confirm;
use super::{Context, record};
use crate::args::{ConflictCommand, ConflictsArgs, ResolveArgs};
use crate::backend::Backend;
use crate::exit::Failure;
use crate::problem;
use crate::render;

/// `conflicts`
pub(super) async fn conflicts(context: &Context<'_>, args: &ConflictsArgs) -> Result<(), Failure> {
    match &args.command {
        None => list(context, args).await,
        Some(ConflictCommand::Show { id }) => {
            context
                .with_home(async |home| {
                    let conflict = home.conflict(id.clone()).await?;
                    context.terminal.value(&conflict, render::conflict)
                })
                .await
        }
        Some(ConflictCommand::Comment { id, text }) => {
            context
                .with_home(async |home| {
                    let conflict = home.comment(id.clone(), text.clone()).await?;
                    context.terminal.value(&conflict, render::conflict)
                })
                .await
        }
        Some(ConflictCommand::Resolve(args)) => match &args.id {
            Some(id) => resolve(context, args, id).await,
            None => resolve_all(context, args).await,
        },
    }
}

async fn list(context: &Context<'_>, args: &ConflictsArgs) -> Result<(), Failure> {
    let query = ConflictQuery {
        kind: args.kind.map(|kind| kind.as_str().to_owned()),
        closed: args.closed,
        after: args.after.clone(),
        limit: args.limit,
    };
    let limit = args.limit.unwrap_or(CONFLICTS_MAX);
    context
        .with_home(async |home| {
            let conflicts = home.conflicts(query).await?;
            match conflicts.last() {
                None => context.terminal.say("No conflicts."),
                Some(last) if conflicts.len() as u64 >= limit => {
                    let text = format!("There may be more: --after {}", last.id);
                    context.terminal.say(&text);
                }
                Some(_) => {}
            }
            context.terminal.list(&conflicts, render::conflicts)
        })
        .await
}

async fn resolve(context: &Context<'_>, args: &ResolveArgs, id: &str) -> Result<(), Failure> {
    if let Some(verdict) = args.verdict() {
        return context
            .with_home(async |home| {
                let conflict = home.decide(id.to_owned(), verdict).await?;
                context.terminal.value(&conflict, render::conflict)
            })
            .await;
    }
    let resolution = match &args.take {
        Some(choice) => Resolution::Take(choice.clone()),
        None => Resolution::Set(args.set.clone()),
    };
    context
        .with_home(async |home| {
            let settled = home.resolve(id.to_owned(), resolution).await?;
            record::done(context, &settled, "Settled: changed")
        })
        .await
}

async fn resolve_all(context: &Context<'_>, args: &ResolveArgs) -> Result<(), Failure> {
    let Some(choice) = args.take.clone() else {
        return Err(problem::usage("--all needs --take").into());
    };
    let kind = args.kind.map(|kind| kind.as_str().to_owned());
    let query = ConflictQuery { kind, ..ConflictQuery::default() };
    let all =
        ResolveAll { query, dry_run: args.dry_run, expect: args.expect, ..ResolveAll::of(choice) };
    let asks = !(args.dry_run || args.yes || args.expect.is_some());
    context
        .with_home(async |home| {
            let all = match asks {
                true => looked_at(context, home, all).await?,
                false => all,
            };
            let report = home.resolve_all(all).await?;
            context.terminal.value(&report, render::settled)?;
            context.terminal.say(&render::settled_summary(&report));
            match report.stopped {
                Some(problem) => Err(problem.into()),
                None if report.left.is_empty() => Ok(()),
                None => Err(Failure::Reported(Class::Invalid)),
            }
        })
        .await
}

/// Shows what would be settled and asks; gives the same of what was shown.
async fn looked_at(
    context: &Context<'_>,
    home: &dyn Backend,
    all: ResolveAll,
) -> Result<ResolveAll, Failure> {
    let looked = home.resolve_all(ResolveAll { dry_run: true, ..all.clone() }).await?;
    if !looked.settled.is_empty() {
        if !context.terminal.is_interactive() {
            let detail = "there is no terminal to ask on; add --yes, --expect N where N conflicts \
                          are to be settled, or --dry-run to look first";
            return Err(problem::usage(detail).into());
        }
        confirm(context, &render::settled_question(&looked, context.terminal.style()))?;
    }
    Ok(ResolveAll { seen: Some(looked.seen()), ..all })
}
