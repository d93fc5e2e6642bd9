//! `devices`: who belongs to the tenant, and who does no longer.

use std::io::{BufRead as _, Write as _};

use fieldmesh::api::{DeviceReport, Problem, RevokeOptions};

use super::Context;
use crate::args::{AdoptArgs, DeviceCommand, DevicesArgs, RevokeArgs};
use crate::backend::Backend;
use crate::exit::Failure;
use crate::problem;
use crate::render;

/// `devices`
pub(super) async fn devices(context: &Context<'_>, args: &DevicesArgs) -> Result<(), Failure> {
    context
        .with_home(async |home| match &args.command {
            None => context.terminal.list(&home.devices().await?, render::devices),
            Some(DeviceCommand::Show { device }) => {
                let devices = home.devices().await?;
                context.terminal.value(
                    DeviceReport::named(&devices, device, DeviceReport::is_member)?,
                    render::device,
                )
            }
            Some(DeviceCommand::Revoke(args)) => revoke(context, home, args).await,
            Some(DeviceCommand::Adopt(args)) => adopt(context, home, args).await,
        })
        .await
}

async fn revoke(
    context: &Context<'_>,
    home: &dyn Backend,
    args: &RevokeArgs,
) -> Result<(), Failure> {
    let devices = home.devices().await?;
    let device = DeviceReport::named(&devices, &args.device, DeviceReport::is_member)?;
    if !args.yes {
        confirm(context, &device.revoke_question(args.wipe))?;
    }
    let options = RevokeOptions { reason: args.reason.clone(), wipe: args.wipe };
    let report = home.revoke(device.device.to_string(), options).await?;
    context.terminal.value(&report, render::revoked)
}

async fn adopt(context: &Context<'_>, home: &dyn Backend, args: &AdoptArgs) -> Result<(), Failure> {
    let devices = home.devices().await?;
    let device = DeviceReport::named(&devices, &args.device, |it| !it.is_member())?;
    let device = device.device.to_string();
    let report = home.adopt(device, args.batches.clone()).await?;
    context.terminal.value(&report, render::adopted)
}

/// Asks before something that cannot be taken back.
pub(super) fn confirm(context: &Context<'_>, question: &str) -> Result<(), Problem> {
    if !context.terminal.is_interactive() {
        let detail = "this cannot be taken back, and there is no terminal to ask on; add --yes";
        return Err(problem::usage(detail));
    }
    context.terminal.complain(question);
    let mut answer = String::new();
    let mut stderr = std::io::stderr().lock();
    // Where nobody listens there is nobody to answer either.
    let _ = write!(stderr, "Go on? [y/N] ").and_then(|()| stderr.flush());
    let read = std::io::stdin().lock().read_line(&mut answer);
    match (read, answer.trim().to_lowercase().as_str()) {
        (Ok(_), "y" | "yes") => Ok(()),
        _ => Err(problem::usage("nothing was done")),
    }
}
