//! What is known of each address that admins have signed.

use std::collections::BTreeSet;

use fieldmesh_identity::{Policy, SignedAddress};
use fieldmesh_model::{DeviceId, Moment};
use fieldmesh_net::address;

use crate::api::{RelayReport, RelayState};
use crate::error::Error;
use crate::ledger::{RELAY_ADDRESSES_MAX, dialled_relays, is_relay, signer_of_address};
use crate::mesh::LinkState;

use super::super::Node;
use super::super::contacts::Contact;

/// What this device has seen, and what it does by itself.
struct Seen<'a> {
    node: &'a Node,
    policy: &'a Policy,
    contacts: Vec<Contact>,
    links: Vec<LinkState>,
    dialled: BTreeSet<&'a str>,
}

impl Node {
    /// The addresses of relays that admins have signed, in order.
    ///
    /// # Errors
    ///
    /// The node is shutting down.
    pub async fn relay_addresses(&self) -> Result<Vec<RelayReport>, Error> {
        let snapshot = self.inner.mesh.snapshot().await.ok_or(Error::ShuttingDown)?;
        let policy = self.inner.ledger.policy();
        let seen = Seen {
            node: self,
            policy: &policy,
            contacts: self.inner.contacts.all(),
            links: snapshot.links,
            dialled: dialled_relays(&policy).map(|(address, _)| address).collect(),
        };
        Ok(policy.relay_addresses().map(|(at, relay, said)| seen.report(at, relay, said)).collect())
    }
}

impl Seen<'_> {
    fn report(&self, address: &str, relay: DeviceId, said: &SignedAddress) -> RelayReport {
        let place = address::comparable(address);
        let last_in_step = self.last_in_step(&place, |device| device == relay);
        let (state, error) = self.state(address, &place, relay, said.at, last_in_step);
        RelayReport {
            address: address.to_owned(),
            device: relay,
            name: self.policy.known(&relay).map(|known| known.name.clone()).unwrap_or_default(),
            state,
            by: signer_of_address(self.policy, said),
            since: said.at,
            last_in_step,
            error,
            was: None,
        }
    }

    /// How `relay` is reached at `place`, and why it is not.
    fn state(
        &self,
        address: &str,
        place: &str,
        relay: DeviceId,
        since: Moment,
        last_in_step: Option<Moment>,
    ) -> (RelayState, Option<String>) {
        let linked = self.linked(place);
        if relay == self.node.inner.ledger.device() {
            return (RelayState::Own, None);
        }
        if !is_relay(self.policy, relay) {
            return (RelayState::NoRelay, None);
        }
        if linked.contains(&relay) {
            return (RelayState::Connected, None);
        }
        if let Some(other) = linked.first().copied().or_else(|| {
            // One that had the address before it was given to this relay is no news.
            let since = last_in_step.max(Some(since));
            self.last_in_step(place, |device| device != relay).filter(|at| Some(*at) > since)?;
            self.latest(place)
        }) {
            let name =
                self.policy.known(&other).map_or_else(|| other.short(), |it| it.name.clone());
            let reason = format!("another device answers there: {name}");
            return (RelayState::Unreachable, Some(reason));
        }
        if !self.dialled.contains(address) {
            let reason = match address::is_normal(address) {
                true => format!("devices dial the first {RELAY_ADDRESSES_MAX} addresses alone"),
                false => "it is no address that devices dial; take it back".to_owned(),
            };
            return (RelayState::NotDialled, Some(reason));
        }
        match (self.node.inner.contacts.failure(address), last_in_step) {
            (Some(failure), _) if failure.is_refusal => (RelayState::Reached, Some(failure.words)),
            (Some(failure), _) => (RelayState::Unreachable, Some(failure.words)),
            (None, Some(_)) => (RelayState::Reached, None),
            (None, None) => (RelayState::Untried, None),
        }
    }

    /// Who answered when this device dialled `place`, as far as they are still connected.
    fn linked(&self, place: &str) -> Vec<DeviceId> {
        let is_there = |link: &&LinkState| {
            link.dialled().is_some_and(|dialled| address::comparable(dialled) == place)
        };
        self.links.iter().filter(is_there).map(|link| link.device).collect()
    }

    /// When this device was last in step at `place` with one that is `meant`.
    fn last_in_step(&self, place: &str, meant: impl Fn(DeviceId) -> bool) -> Option<Moment> {
        let there = self.contacts.iter().filter(|it| address::comparable(&it.address) == place);
        there.filter(|it| it.device.is_some_and(&meant)).filter_map(|it| it.last_success).max()
    }

    /// With whom this device was last in step at `place`.
    fn latest(&self, place: &str) -> Option<DeviceId> {
        let there = self.contacts.iter().filter(|it| address::comparable(&it.address) == place);
        there.max_by_key(|it| it.last_success).and_then(|it| it.device)
    }
}
