//! `conflicts`

use fieldmesh::api::{CONFLICTS_MAX, Class, ConflictQuery, Resolution, ResolveAll};

use super::{Context, record};
use crate::args::{ConflictCommand, ConflictsArgs, ResolveArgs};
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
    let all = ResolveAll { query, choice, dry_run: args.dry_run };
    context
        .with_home(async |home| {
            let report = home.resolve_all(all).await?;
            context.terminal.value(&report, render::settled)?;
            context.terminal.say(&render::settled_summary(&report));
            let is_whole = report.left.is_empty();
            if is_whole { Ok(()) } else { Err(Failure::Reported(Class::Invalid)) }
        })
        .await
}
