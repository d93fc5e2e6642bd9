//! `approve`

use fieldmesh::api::{NewRuling, Record};

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
    if args.expect.is_some() && args.ids.len() > 1 {
        let detail = "--expect is for one record; approve each with its own version";
        return Err(problem::usage(detail).into());
    }
    context
        .with_home(async |home| {
            let looked = looked_at(context, home, args).await?;
            for (id, version) in looked {
                let ruling = NewRuling { refuse: args.refuse.clone(), version };
                let record = home.approve(id, ruling).await?;
                done(context, &record, if args.refuse.is_some() { "Refused" } else { "Approved" })?;
            }
            Ok(())
        })
        .await
}

/// The records with the versions that whoever decides has seen, once he has said so.
async fn looked_at(
    context: &Context<'_>,
    home: &dyn Backend,
    args: &ApproveArgs,
) -> Result<Vec<(String, Option<String>)>, Failure> {
    if let (Some(version), [id]) = (&args.expect, &args.ids[..]) {
        return Ok(vec![(id.clone(), Some(version.clone()))]);
    }
    let mut records: Vec<Record> = Vec::with_capacity(args.ids.len());
    for id in &args.ids {
        let record = home.show(id.clone()).await?;
        if records.iter().all(|known| known.id != record.id) {
            records.push(record);
        }
    }
    // What is not to be decided is told before anybody is asked.
    let is_asked = records.iter().all(|record| record.approval.is_some());
    if is_asked && !args.yes {
        if !context.terminal.is_interactive() {
            let detail = "there is no terminal to ask on; add --yes, or --expect VERSION with the \
                          version that was looked at";
            return Err(problem::usage(detail).into());
        }
        let is_refused = args.refuse.is_some();
        confirm(
            context,
            &render::approval_question(&records, is_refused, context.terminal.style()),
        )?;
    }
    Ok(records.into_iter().map(|record| (record.id.to_string(), record.version)).collect())
}
