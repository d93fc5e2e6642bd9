//! `compact`

use fieldmesh::api::Class;

use super::{Context, progress};
use crate::exit::Failure;
use crate::render;

/// `compact`
pub(super) async fn compact(context: &Context<'_>) -> Result<(), Failure> {
    context
        .with_home(async |home| {
            let bar = progress::spinner(context.terminal);
            let report = home.compact(progress::listener(context.terminal, &bar)).await;
            bar.finish_and_clear();
            let report = report?;
            context.terminal.value(&report, render::compact)?;
            if report.faults.is_empty() { Ok(()) } else { Err(Failure::Reported(Class::Store)) }
        })
        .await
}
