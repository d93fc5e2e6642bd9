//! `tenant`: what a relay serves.

use std::io::Read as _;

use fieldmesh::api::Problem;

use super::{Context, Reached, with_relay};
use crate::args::{TenantCreateArgs, TenantRemoveArgs};
use crate::exit::Failure;
use crate::problem;
use crate::relay::Relay;
use crate::render;
use crate::wire::{NewTenant, RemoveOptions, TenantSummary};

/// The longest invitation that is read from standard input.
const INVITATION_SIZE_MAX: u64 = 64 << 10;

/// `tenant create`
pub(super) async fn create(context: &Context<'_>, args: &TenantCreateArgs) -> Result<(), Failure> {
    let TenantCreateArgs { name, device, gateway } = args.clone();
    let new = NewTenant::Create { name, device, gateway };
    let (summary, is_served) = admit(context, new).await?;
    context.terminal.value(&summary, render::tenant)?;
    let slug = &summary.tenant.slug;
    context.terminal.say(&format!(
        "This relay holds its authority. Keep a copy of relay.key and of the tenant's folder: \
         without them nobody can be invited. Next: `sync-relay invite --tenant {slug} --role \
         admin`{}.",
        if is_served { "" } else { " and `sync-relay run`" }
    ));
    Ok(())
}

/// `tenant join`
pub(super) async fn join(
    context: &Context<'_>,
    invitation: &str,
    device: &Option<String>,
) -> Result<(), Failure> {
    let invitation = match invitation {
        "-" => read_invitation()?,
        given => given.to_owned(),
    };
    let new = NewTenant::Join { invitation, device: device.clone() };
    let (summary, is_served) = admit(context, new).await?;
    context.terminal.value(&summary, render::tenant)?;
    context.terminal.say(if is_served {
        "Joined; it is served."
    } else {
        "Joined; `sync-relay run` serves it."
    });
    Ok(())
}

/// Lets the relay that runs, or one of our own, take the tenant on; says whether it is served.
async fn admit(context: &Context<'_>, new: NewTenant) -> Result<(TenantSummary, bool), Problem> {
    match context.reach().await? {
        Reached::Running(client) => Ok((client.admit(&new).await?, true)),
        Reached::Here(data) => {
            let summary = with_relay(data, async |relay| relay.admit(new).await).await?;
            Ok((summary, false))
        }
    }
}

/// `tenant list`
pub(super) async fn list(context: &Context<'_>) -> Result<(), Failure> {
    let list = match context.reach().await? {
        Reached::Running(client) => client.list().await?,
        Reached::Here(data) => {
            let listing = async |relay: &Relay| {
                relay.set_quotas(context.settings.quotas.clone()).await;
                Ok(relay.list().await)
            };
            with_relay(data, listing).await?
        }
    };
    context.terminal.list(&list.tenants, render::tenants)?;
    for broken in &list.broken {
        context.terminal.complain(&format!("not served: {}: {}", broken.folder, broken.reason));
    }
    if list.tenants.is_empty() && list.broken.is_empty() {
        context.terminal.say("No tenants so far; see `sync-relay tenant create|join`.");
    }
    Ok(())
}

/// `tenant remove`
pub(super) async fn remove(context: &Context<'_>, args: &TenantRemoveArgs) -> Result<(), Failure> {
    let TenantRemoveArgs { tenant, erase, force, yes } = args;
    let options = RemoveOptions { yes: *yes, erase: *erase, force: *force };
    let removed = match context.reach().await? {
        Reached::Running(client) => client.remove(tenant, &options).await?,
        Reached::Here(data) => {
            with_relay(data, async |relay| relay.remove(tenant, options).await).await?
        }
    };
    context.terminal.value(&removed, render::removed_tenant)
}

fn read_invitation() -> Result<String, Problem> {
    let mut text = String::new();
    std::io::stdin()
        .take(INVITATION_SIZE_MAX)
        .read_to_string(&mut text)
        .map_err(|error| problem::failed(format!("cannot read the invitation: {error}")))?;
    Ok(text)
}
