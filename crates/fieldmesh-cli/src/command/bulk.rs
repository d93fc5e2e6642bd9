//! `edit --all`: one change of many records.

use fieldmesh::api::{BulkEdit, BulkRefusal, BulkReport, Class, Edits, ListQuery, Problem};
use fieldmesh_model::validate::Fault;

use super::Context;
use super::device::confirm;
use crate::args::EditArgs;
use crate::backend::Backend;
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
        expect: args.expect,
        seen: None,
    };
    let asks = !(args.dry_run || args.yes || args.expect.is_some());
    context
        .with_home(async |home| {
            let bulk = match asks {
                true => looked_at(context, home, bulk).await?,
                false => bulk,
            };
            let report = home.edit_all(bulk).await?;
            // A change that was not made has no result; a preview has one all the same.
            if args.dry_run || report.refused.is_empty() {
                context.terminal.value(&report, render::bulk)?;
                context.terminal.say(&render::bulk_summary(&report));
            }
            match (report.refused.is_empty(), report.skipped.is_empty()) {
                (false, _) => Err(refused(report).into()),
                (true, false) => Err(Failure::Reported(Class::Invalid)),
                (true, true) => Ok(()),
            }
        })
        .await
}

/// Shows what would change and asks; gives the same change of what was shown.
async fn looked_at(
    context: &Context<'_>,
    home: &dyn Backend,
    bulk: BulkEdit,
) -> Result<BulkEdit, Failure> {
    let looked = home.edit_all(BulkEdit { dry_run: true, ..bulk.clone() }).await?;
    // What cannot be done is told before anybody is asked.
    if !looked.refused.is_empty() {
        return Err(refused(looked).into());
    }
    if !looked.changed.is_empty() {
        if !context.terminal.is_interactive() {
            let detail = "there is no terminal to ask on; add --yes, --expect N where N records \
                          are to change, or --dry-run to look first";
            return Err(problem::usage(detail).into());
        }
        confirm(context, &render::bulk_question(&looked, context.terminal.style()))?;
    }
    Ok(BulkEdit { seen: Some(looked.seen()), ..bulk })
}

/// The records that are named where some cannot be changed.
const NAMED_MAX: usize = 10;

/// Which records kept all of them from being changed, and why; of many the first.
fn refused(report: BulkReport) -> Problem {
    let count = report.refused.len();
    let named = report.refused.into_iter().take(NAMED_MAX);
    let faults: Vec<Fault> =
        named.map(|BulkRefusal { id, reason }| Fault::new(id.short(), reason)).collect();
    let records = render::counted(count as u64, "record", "records");
    let rest = match count > NAMED_MAX {
        true => format!("; the first {NAMED_MAX} are named, --dry-run names all"),
        false => String::new(),
    };
    let detail = format!("{records} cannot be changed so, and none was{rest}");
    Problem { faults, ..problem::invalid(detail) }
}

#[cfg(test)]
mod tests {
    use fieldmesh_model::DocumentId;

    use super::*;

    #[test]
    fn of_many_records_that_cannot_be_changed_the_first_are_named() {
        let refusal = |byte| BulkRefusal {
            id: DocumentId::from_bytes([byte; 16]),
            reason: "only its author may".into(),
        };
        let told = |count| {
            let refused = (0..count).map(refusal).collect();
            super::refused(BulkReport { refused, ..BulkReport::default() })
        };
        let many = told(200);
        assert_eq!(many.faults.len(), NAMED_MAX);
        assert!(many.detail.contains("200 records") && many.detail.contains("--dry-run"));
        let one = told(1);
        assert_eq!((one.faults.len(), one.detail.contains("--dry-run")), (1, false));
    }
}
