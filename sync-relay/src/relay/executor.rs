//! What executes the commands of one tenant: its node, open as long as somebody waits for it.

use std::sync::Arc;

use fieldmesh::Node;
use fieldmesh_dialect::command::{FleetQuery, Pull};
use fieldmesh_dialect::outcome::{Page, Resolved};
use fieldmesh_dialect::{Caller, Command, Dialect, FeedId, Outcome, Refusal};
use fieldmesh_gateway::Gateway;
use fieldmesh_http::Executes;
use fieldmesh_model::Moment;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt as _, StreamExt as _};

use super::answers::Asked;
use super::slot::Slot;
use super::{fleet, roster};
use crate::accounts::{self, Accounts};

/// Executes the commands of one tenant.
pub(super) struct Executor {
    gateway: Gateway,
    /// The tenant is not closed while it is held.
    node: Arc<Node>,
    slot: Arc<Slot>,
    /// Who its people are.
    accounts: Arc<Accounts>,
}

impl Executor {
    /// Nothing where the relay only forwards for this tenant, or its records cannot be read.
    pub(super) async fn open(
        node: Arc<Node>,
        slot: Arc<Slot>,
        accounts: Arc<Accounts>,
    ) -> Option<Self> {
        if !node.is_gateway() {
            let tenant = node.tenant().tenant.short();
            tracing::warn!(tenant, "an app asked, and this relay is no gateway for its tenant");
            return None;
        }
        match Gateway::open(Node::clone(&node)).await {
            Ok(gateway) => Some(Self { gateway, node, slot, accounts }),
            Err(error) => {
                let tenant = node.tenant().tenant.short();
                tracing::error!(tenant, %error, "commands cannot be executed");
                None
            }
        }
    }
}

async fn list_fleet(
    slot: &Slot,
    node: &Node,
    gateway: (&Gateway, Arc<Accounts>),
    query: &FleetQuery,
) -> Outcome {
    match fleet::list(slot, node, Some(gateway)).await {
        Ok(devices) => Outcome::Fleet(fleet::page(devices, query, accounts::now())),
        Err(error) => {
            let tenant = node.tenant().tenant.short();
            tracing::error!(tenant, %error, "the fleet cannot be listed");
            Outcome::Refused(Refusal::Failed)
        }
    }
}

/// Counts what became of a request of an app.
fn note(slot: &Slot, caller: &Caller, asked: Asked, outcome: &Outcome) {
    let now = accounts::now();
    slot.answers.count(outcome);
    let (deleted, forbidden) = asked.noticed(outcome);
    slot.patterns().act(deleted, forbidden);
    if let Some(device) = asked.device() {
        let is_new = slot.fleet().app(device).is_none();
        slot.patterns().come(&caller.user, device, is_new, now);
    }
    if let Outcome::Resolved(Resolved { since: Some(since), at: Some(at), .. }) = outcome {
        slot.fleet().settle(*since, *at);
    }
    if let Some((device, served)) = asked.served(outcome) {
        slot.fleet().serve(&device, &served, now);
    }
}

impl Executes for Executor {
    fn feed(&self) -> FeedId {
        self.gateway.feed()
    }

    fn execute<'a>(
        &'a self,
        caller: &'a Caller,
        dialect: Option<Dialect>,
        command: Command,
        at: Moment,
    ) -> BoxFuture<'a, Outcome> {
        let (gateway, node, caller) =
            (self.gateway.clone(), Arc::clone(&self.node), caller.clone());
        let (slot, accounts) = (Arc::clone(&self.slot), Arc::clone(&self.accounts));
        // It goes on to its end, and the tenant stays open for that, whether or not somebody waits.
        let work = tokio::spawn(async move {
            match &command {
                Command::Fleet(query) => {
                    return list_fleet(&slot, &node, (&gateway, accounts), query).await;
                }
                Command::Traffic(query) => {
                    return Outcome::Traffic(slot.fleet().traffic(query, accounts::now()));
                }
                _ => {}
            }
            let asked = Asked::new(&caller, &command);
            let names_people = roster::is_wanted(&caller, dialect, &command);
            let mut outcome = gateway.execute(&caller, dialect, command, at).await;
            if names_people {
                outcome = roster::add(outcome, accounts, slot.tenant.tenant).await;
            }
            note(&slot, &caller, asked, &outcome);
            drop(node);
            outcome
        });
        async { work.await.unwrap_or(Outcome::Refused(Refusal::Failed)) }.boxed()
    }

    fn photo_size<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Option<usize>> {
        self.gateway.photo_size(id).boxed()
    }

    fn follow(
        &self,
        caller: Caller,
        dialect: Option<Dialect>,
        pull: Pull,
    ) -> BoxStream<'static, Page> {
        let node = Arc::clone(&self.node);
        let pages = self.gateway.follow(caller, dialect, pull);
        let keep_open = move |page| {
            let _open = &node;
            page
        };
        pages.map(keep_open).boxed()
    }
}
