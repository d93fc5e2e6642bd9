//! `edit --all`: one change of many records.

use fieldmesh::api::{BulkEdit, BulkRefusal, BulkReport, Edits, ListQuery, Problem};
use fieldmesh_model::validate::Fault;

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
            // A change that was not made has no result; a preview has one all the same.
            if args.dry_run || report.refused.is_empty() {
                context.terminal.value(&report, render::bulk)?;
                context.terminal.say(&render::bulk_summary(&report));
            }
            if report.refused.is_empty() { Ok(()) } else { Err(refused(report).into()) }
        })
        .await
}

/// Which records kept all of them from being changed, and why.
fn refused(report: BulkReport) -> Problem {
    let faults: Vec<Fault> = report
        .refused
        .into_iter()
        .map(|BulkRefusal { id, reason }| Fault::new(id.short(), reason))
        .collect();
    let records = if faults.len() == 1 { "record" } else { "records" };
    let detail = format!("{} {records} cannot be changed so, and none was", faults.len());
    Problem { faults, ..problem::invalid(detail) }
}
