//! `fleet`: how the devices of a tenant fare.

use fieldmesh_dialect::command::FleetQuery;
use fieldmesh_dialect::outcome::FleetDevice;

use super::{Context, Reached, with_relay};
use crate::accounts;
use crate::args::fleet::FleetArgs;
use crate::exit::Failure;
use crate::render;

/// `fleet`
pub(super) async fn list(context: &Context<'_>, args: &FleetArgs) -> Result<(), Failure> {
    let FleetArgs { tenant, silent, failing, backlog } = args;
    let devices = match context.reach().await? {
        Reached::Running(client) => client.fleet(tenant).await?,
        Reached::Here(data) => with_relay(data, async |relay| relay.fleet(tenant).await).await?,
    };
    let query = FleetQuery {
        silent_hours: *silent,
        failing: *failing,
        backlog: *backlog,
        ..FleetQuery::default()
    };
    let now = accounts::now();
    let meant: Vec<FleetDevice> =
        devices.into_iter().filter(|device| query.admits(device, now)).collect();
    context.terminal.list(&meant, render::fleet)
}
