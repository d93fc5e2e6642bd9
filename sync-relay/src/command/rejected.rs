//! `rejected`: what the apps of a tenant sent and nobody could store.

use fieldmesh_dialect::outcome::Rejected;

use super::{Context, Reached, with_relay};
use crate::args::rejected::RejectedArgs;
use crate::exit::Failure;
use crate::relay::Relay;
use crate::render;

/// `rejected`
pub(super) async fn list(context: &Context<'_>, args: &RejectedArgs) -> Result<(), Failure> {
    let tenant = &args.tenant;
    let (mut rejected, mut dropped): (Vec<Rejected>, u64) = (Vec::new(), 0);
    match context.reach().await? {
        Reached::Running(client) => {
            let mut after = None;
            loop {
                let page = client.rejected(tenant, after.as_deref()).await?;
                rejected.extend(page.rejected);
                dropped = page.dropped;
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
        }
        Reached::Here(data) => {
            let work = async |relay: &Relay| {
                let mut after = None;
                loop {
                    let page = relay.rejected(tenant, after).await?;
                    rejected.extend(page.rejected);
                    dropped = page.dropped;
                    after = page.next;
                    if after.is_none() {
                        return Ok(());
                    }
                }
            };
            with_relay(data, work).await?;
        }
    }
    context.terminal.list(&rejected, render::rejected)?;
    if dropped > 0 {
        let text = "older parts of requests made room for newer ones and are listed no more";
        context.terminal.say(&format!("{dropped} {text}"));
    }
    Ok(())
}
