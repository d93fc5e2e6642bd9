//! `drafts` and `submit`.

use fieldmesh::api::{DraftChange, Edits, NewRecord};
use serde_json::Map;

use super::Context;
use crate::args::{DraftsArgs, DraftsCommand, RecordArgs};
use crate::exit::Failure;
use crate::render;

/// `record --draft`
pub(super) async fn begin(context: &Context<'_>, args: &RecordArgs) -> Result<(), Failure> {
    let (collection, assignments) = (args.collection.clone(), args.values.clone());
    let new = NewRecord { collection, fields: Map::new(), assignments, at: args.at };
    context
        .with_home(async |home| {
            let draft = home.change_draft(DraftChange::New(new)).await?;
            context.terminal.value(&draft, |draft, _| draft.id.clone())
        })
        .await
}

/// `drafts`
pub(super) async fn drafts(context: &Context<'_>, args: &DraftsArgs) -> Result<(), Failure> {
    let change = match &args.command {
        None => {
            return context
                .with_home(async |home| {
                    context.terminal.list(&home.drafts().await?, render::drafts)
                })
                .await;
        }
        Some(DraftsCommand::Show(draft)) => {
            let id = draft.id.clone();
            return context
                .with_home(async |home| {
                    context.terminal.value(&home.draft(id).await?, render::draft)
                })
                .await;
        }
        Some(DraftsCommand::Edit { id, values }) => {
            let edits = Edits { assignments: values.clone(), ..Edits::default() };
            DraftChange::Edit { id: id.clone(), edits }
        }
        Some(DraftsCommand::Discard(draft)) => DraftChange::Discard { id: draft.id.clone() },
    };
    let is_gone = matches!(change, DraftChange::Discard { .. });
    context
        .with_home(async |home| {
            let draft = home.change_draft(change).await?;
            match is_gone {
                true => context.terminal.value(&draft, render::draft_gone),
                false => context.terminal.value(&draft, render::draft),
            }
        })
        .await
}

/// `submit`
pub(super) async fn submit(context: &Context<'_>, id: &str) -> Result<(), Failure> {
    let id = id.to_owned();
    context
        .with_home(async |home| {
            let record = home.submit_draft(id).await?;
            context.terminal.value(&record, |record, _| record.id.to_string())
        })
        .await
}
