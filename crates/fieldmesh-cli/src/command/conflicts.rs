//! `conflicts`

use fieldmesh::api::{CONFLICTS_MAX, ConflictQuery, Resolution};

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
    context
        .with_home(async |home| {
            let settled = home.resolve_all(ConflictQuery::default(), choice).await?;
            let count = u64::try_from(settled.len()).unwrap_or(u64::MAX);
            let records = render::counted(count, "record", "records");
            context.terminal.say(&format!("Settled: changed {records}."));
            if context.terminal.json() {
                return context.terminal.list(&settled, render::records);
            }
            Ok(())
        })
        .await
}
