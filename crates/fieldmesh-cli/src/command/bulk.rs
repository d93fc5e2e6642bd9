//! `edit --all`: one change of many records.

use fieldmesh::api::{BulkEdit, Edits, ListQuery};

use super::Context;
use crate::args::EditArgs;
use crate::exit::Failure;
use crate::problem;
use crate::render;

/// `edit --all`
pub(super) async fn edit_all(
    context: &Context<'_>,
    args: &EditArgs,
    collection: &str,
) -> Result<(), Failure> {
    // Without the id of a record its place is the first value's.
    let assignments = std::iter::once(&args.id).chain(&args.values).cloned().collect();
    let bulk = BulkEdit {
        list: ListQuery {
            collection: collection.to_owned(),
            filters: args.filters.clone(),
            site: args.site.clone(),
            since: args.since,
            until: args.until,
            ..ListQuery::default()
        },
        edits: Edits { assignments, ..Edits::default() },
        dry_run: args.dry_run,
    };
    context
        .with_home(async |home| {
            let report = home.edit_all(bulk).await?;
            context.terminal.value(&report, render::bulk)?;
            context.terminal.say(&render::bulk_summary(&report));
            if report.refused.is_empty() {
                return Ok(());
            }
            let count = report.refused.len();
            Err(problem::invalid(format!("{count} cannot be changed so, and none was")).into())
        })
        .await
}
