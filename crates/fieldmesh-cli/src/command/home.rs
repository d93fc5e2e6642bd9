//! The commands that look at the home and at its peers.

use fieldmesh::api::{Class, ConnectivityReport, StatusReport};
use serde::Serialize;

use super::Context;
use crate::exit::Failure;
use crate::render;

/// What `status` shows.
#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    status: StatusReport,
    connectivity: ConnectivityReport,
}

/// `status`
pub(super) async fn status(context: &Context<'_>) -> Result<(), Failure> {
    // The notes of the status say what warnings would.
    context
        .with_part(&[], async |home| {
            let shown =
                Shown { status: home.status().await?, connectivity: home.connectivity().await? };
            context.terminal.value(&shown, |shown, style| {
                let home = render::status(&shown.status, style);
                format!("{home}{}", render::connectivity(&shown.connectivity, style))
            })
        })
        .await
}

/// `peers`
pub(super) async fn peers(context: &Context<'_>) -> Result<(), Failure> {
    context
        .with_home(async |home| {
            let peers = home.peers().await?;
            if peers.is_empty() {
                context.terminal.say("No other device is known so far.");
            }
            context.terminal.list(&peers, render::peers)
        })
        .await
}

/// `verify`
pub(super) async fn verify(context: &Context<'_>) -> Result<(), Failure> {
    context
        .with_home(async |home| {
            let report = home.verify().await?;
            context.terminal.value(&report, render::verify)?;
            if report.clean { Ok(()) } else { Err(Failure::Reported(Class::Store)) }
        })
        .await
}
