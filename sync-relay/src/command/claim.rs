//! `claim`: how tenants that exist elsewhere take this relay in.

use super::{Context, Reached, with_relay};
use crate::args::claim::ClaimArgs;
use crate::exit::Failure;
use crate::render;
use crate::wire::NewClaim;

/// `claim`
pub(super) async fn claim(context: &Context<'_>, args: &ClaimArgs) -> Result<(), Failure> {
    if args.list {
        return list(context).await;
    }
    if let Some(id) = &args.revoke {
        return revoke(context, id).await;
    }
    let new = NewClaim { valid_seconds: args.valid.as_secs(), gateway: args.gateway };
    let report = match context.reach().await? {
        Reached::Running(client) => client.claim(new).await?,
        Reached::Here(data) => with_relay(data, async |relay| relay.claim(new).await).await?,
    };
    context.terminal.value(&report, render::claim)?;
    context.terminal.say(&render::claim_advice(&report));
    Ok(())
}

async fn list(context: &Context<'_>) -> Result<(), Failure> {
    let claims = match context.reach().await? {
        Reached::Running(client) => client.claims().await?,
        Reached::Here(data) => with_relay(data, async |relay| relay.claims()).await?,
    };
    if claims.is_empty() {
        context.terminal.say("There are no claims.");
    }
    context.terminal.list(&claims, render::claims)
}

async fn revoke(context: &Context<'_>, id: &str) -> Result<(), Failure> {
    let revoked = match context.reach().await? {
        Reached::Running(client) => client.revoke_claim(id).await?,
        Reached::Here(data) => with_relay(data, async |relay| relay.revoke_claim(id).await).await?,
    };
    context.terminal.value(&revoked, render::revoked_claim)
}
