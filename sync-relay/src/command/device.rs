//! `device`: for whom a relay serves a tenant.

use fieldmesh::api::{DeviceReport, Problem, RevokeOptions};

use super::{Context, Reached, with_relay};
use crate::args::RevokeArgs;
use crate::exit::Failure;
use crate::problem;
use crate::render;

/// `device list`
pub(super) async fn list(context: &Context<'_>, tenant: &str) -> Result<(), Failure> {
    let devices = match context.reach().await? {
        Reached::Running(client) => client.devices(tenant).await?,
        Reached::Here(data) => with_relay(data, async |relay| relay.devices(tenant).await).await?,
    };
    context.terminal.list(&devices, render::devices)
}

/// `device revoke`
pub(super) async fn revoke(context: &Context<'_>, args: &RevokeArgs) -> Result<(), Failure> {
    let RevokeArgs { device, tenant, reason, wipe, yes } = args;
    let options = RevokeOptions { reason: reason.clone(), wipe: *wipe };
    let report = match context.reach().await? {
        Reached::Running(client) => {
            let device = chosen(&client.devices(tenant).await?, device, *wipe, *yes)?;
            client.revoke(tenant, &device, &options).await?
        }
        Reached::Here(data) => {
            with_relay(data, async |relay| {
                let device = chosen(&relay.devices(tenant).await?, device, *wipe, *yes)?;
                relay.revoke(tenant, &device, options).await
            })
            .await?
        }
    };
    context.terminal.value(&report, render::revoked)
}

/// The id of the device that is meant, if it may go on.
fn chosen(devices: &[DeviceReport], name: &str, wipe: bool, yes: bool) -> Result<String, Problem> {
    let device = DeviceReport::named(devices, name, DeviceReport::is_member)?;
    if yes {
        return Ok(device.device.to_string());
    }
    Err(problem::usage(format!(
        "nothing was done so far. {} This cannot be taken back; add --yes to go on",
        device.revoke_question(wipe)
    )))
}
