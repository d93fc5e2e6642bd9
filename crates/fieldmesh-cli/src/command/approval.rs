//! `approve`

use fieldmesh::api::{ApprovalState, ListQuery, NewRuling, Record};

use super::Context;
use super::device::confirm;
use super::record::done;
use crate::args::ApproveArgs;
use crate::backend::Backend;
use crate::exit::Failure;
use crate::problem;
use crate::render;

/// `approve`
pub(super) async fn approve(context: &Context<'_>, args: &ApproveArgs) -> Result<(), Failure> {
    if args.expect.is_some() && args.ids.len() != 1 {
        let detail = "--expect is for one record; approve each with its own version";
        return Err(problem::usage(detail).into());
    }
    context
        .with_home(async |home| {
            let looked = match (&args.expect, &args.ids[..]) {
                (Some(version), [id]) => vec![(id.clone(), Some(version.clone()))],
                _ => looked_at(context, home, args).await?,
            };
            decide(context, home, args, looked).await
        })
        .await
}

/// Writes the answer to every record that still reads as it was looked at, and tells of others.
async fn decide(
    context: &Context<'_>,
    home: &dyn Backend,
    args: &ApproveArgs,
    looked: Vec<(String, Option<String>)>,
) -> Result<(), Failure> {
    let (is_one, mut failed) = (looked.len() == 1, None);
    for (id, version) in looked {
        let ruling = NewRuling { refuse: args.refuse.clone(), version };
        match home.approve(id.clone(), ruling).await {
            Ok(record) => {
                done(context, &record, if args.refuse.is_some() { "Refused" } else { "Approved" })?;
            }
            Err(problem) if is_one => return Err(problem.into()),
            Err(problem) => {
                context.terminal.complain(&format!("{id}: {}", problem.detail));
                failed.get_or_insert(problem.class);
            }
        }
    }
    failed.map_or(Ok(()), |class| Err(Failure::Reported(class)))
}

/// The records with the versions that whoever decides has seen, once he has said so.
async fn looked_at(
    context: &Context<'_>,
    home: &dyn Backend,
    args: &ApproveArgs,
) -> Result<Vec<(String, Option<String>)>, Failure> {
    let records = match &args.all {
        Some(collection) => waiting(home, args, collection).await?,
        None => named(home, &args.ids).await?,
    };
    if records.is_empty() {
        context.terminal.say("Nothing waits for your approval.");
        return Ok(Vec::new());
    }
    // What is not to be decided is told before anybody is asked.
    let is_asked = records.iter().all(|record| record.approval.is_some());
    if is_asked && !args.yes {
        if !context.terminal.is_interactive() {
            let detail = "there is no terminal to ask on; add --yes, or --expect VERSION with the \
                          version that was looked at";
            return Err(problem::usage(detail).into());
        }
        let style = context.terminal.style();
        confirm(context, &render::approval_question(&records, args.refuse.is_some(), style))?;
    }
    Ok(records.into_iter().map(|record| (record.id.to_string(), record.version)).collect())
}

/// The records of these names, each once.
async fn named(home: &dyn Backend, ids: &[String]) -> Result<Vec<Record>, Failure> {
    let mut records: Vec<Record> = Vec::with_capacity(ids.len());
    for id in ids {
        let record = home.show(id.clone()).await?;
        if records.iter().all(|known| known.id != record.id) {
            records.push(record);
        }
    }
    Ok(records)
}

/// The records of a collection that wait for this person and fulfil the conditions. A deletion is
/// decided by its record's id, not along with others.
async fn waiting(
    home: &dyn Backend,
    args: &ApproveArgs,
    collection: &str,
) -> Result<Vec<Record>, Failure> {
    let query = ListQuery {
        collection: collection.to_owned(),
        filters: args.filters.clone(),
        since: args.since,
        until: args.until,
        awaiting: true,
        ..ListQuery::default()
    };
    let mut records = home.page(query).await?.records;
    records.retain(|record| {
        let approval = record.approval.as_ref();
        let is_asked = approval.is_some_and(|it| it.mine && it.state == ApprovalState::Awaiting);
        is_asked && !record.deleted
    });
    Ok(records)
}
