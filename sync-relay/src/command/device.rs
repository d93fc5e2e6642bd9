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

/// The id of the device that is meant, if it may go on: a name that was used again means the one
/// that is a member.
fn chosen(devices: &[DeviceReport], name: &str, wipe: bool, yes: bool) -> Result<String, Problem> {
    let wanted = name.trim();
    let is_meant = |device: &&DeviceReport| {
        let id = device.device.to_string();
        device.name == wanted || (!wanted.is_empty() && id.ends_with(&wanted.to_ascii_lowercase()))
    };
    let mut found: Vec<&DeviceReport> = devices.iter().filter(is_meant).collect();
    if found.iter().filter(|device| device.revoked.is_none()).count() == 1 {
        found.retain(|device| device.revoked.is_none());
    }
    match found.as_slice() {
        [device] if yes => Ok(device.device.to_string()),
        [device] => Err(problem::usage(format!(
            "nothing was done so far. {} This cannot be taken back; add --yes to go on",
            render::revoke_question(device, wipe)
        ))),
        [] => Err(problem::not_found(format!(
            "there is no device {wanted:?}; `sync-relay device list` shows them"
        ))),
        several => {
            let ids: Vec<String> = several.iter().map(|device| device.device.short()).collect();
            let ids = ids.join(", ");
            Err(problem::invalid(format!("{wanted:?} names several devices: {ids}; give an id")))
        }
    }
}
