//! `relay`: where the tenant's relays are.

use fieldmesh::api::RelayOptions;
use serde_json::json;

use super::Context;
use super::device::confirm;
use super::tenant::read_invitation;
use crate::args::{RelayArgs, RelayCommand};
use crate::backend::Backend;
use crate::exit::Failure;
use crate::problem;
use crate::render;

/// `relay`
pub(super) async fn relay(context: &Context<'_>, args: &RelayArgs) -> Result<(), Failure> {
    let work = async |home: &dyn Backend| match &args.command {
        RelayCommand::Add(args) => {
            let mut options = RelayOptions {
                address: match args.address.as_str() {
                    "-" => read_invitation()?,
                    given => given.to_owned(),
                },
                device: args.device.clone(),
                unchecked: args.no_check,
                gateway: args.gateway,
            };
            if options.asks_for_gateway() && !options.gateway {
                allow_gateway(context)?;
                options.gateway = true;
            }
            let relays = home.add_relay(options).await?;
            context.terminal.list(&relays, render::relays_added)
        }
        RelayCommand::List => {
            let relays = home.relays().await?;
            if relays.is_empty() {
                context.terminal.say(
                    "No address of a relay is signed; an admin adds one with `fieldmesh relay \
                     add ADDR`.",
                );
            }
            context.terminal.list(&relays, render::relays)
        }
        RelayCommand::Remove { address } => {
            let was = home.remove_relay(address.clone()).await?;
            let removed = json!({ "address": address, "was": was });
            context.terminal.value(&removed, |_, style| render::relay_removed(address, &was, style))
        }
    };
    context.with_home(work).await
}

/// Asks whether a relay may be a gateway.
fn allow_gateway(context: &Context<'_>) -> Result<(), Failure> {
    if !context.terminal.is_interactive() {
        let detail = format!(
            "{} There is no terminal to ask on; say --gateway if it may, or ask for a claim that was \
             made without",
            render::GATEWAY_QUESTION
        );
        return Err(problem::usage(detail).into());
    }
    Ok(confirm(context, render::GATEWAY_QUESTION)?)
}
