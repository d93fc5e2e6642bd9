//! The task that performs what the machine wants.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use fieldmesh_identity::Policy;
use fieldmesh_model::DeviceId;
use fieldmesh_net::address;
use fieldmesh_replica::{Event, Input as ReplicaInput, LinkId};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::connectivity::{Answer, Input, Output, Standing};
use crate::ledger::is_relay;
use crate::mesh::{Call, LinkState, MeshEvent};

use super::super::contacts::Contact;
use super::super::{Inner, Node};
use super::Watch;
use super::parts::Errand;

/// How often the driver looks at what the node holds and whom it knows.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a relay may take to answer over a connection that is there.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// A rate is measured over at least so many bytes.
const RATE_BYTES_MIN: u64 = 16 * 1024;

pub(super) struct Driver {
    node: Weak<Inner>,
    watch: Arc<Watch>,
    work: JoinSet<()>,
    /// Addresses of relays by the link that leads there.
    links: BTreeMap<LinkId, Vec<String>>,
    /// Since when, and from how many bytes on, something is under way with a relay.
    busy: Option<(Instant, u64)>,
}

impl Driver {
    pub(super) fn new(node: &Node) -> Self {
        Self {
            node: Arc::downgrade(&node.inner),
            watch: Arc::clone(&node.inner.watch),
            work: JoinSet::new(),
            links: BTreeMap::new(),
            busy: None,
        }
    }

    pub(super) async fn run(mut self) {
        let Some(mut events) = self.node().map(|node| node.events()) else { return };
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            while let Some(output) = self.watch.poll() {
                self.perform(output);
            }
            let wait = self.watch.time_to_deadline();
            tokio::select! {
                () = self.watch.wake.notified() => {}
                () = tokio::time::sleep(wait) => self.watch.feed(Input::Tick),
                _ = looks.tick() => {
                    if !self.look().await {
                        return;
                    }
                }
                Some(_) = self.work.join_next() => {}
                event = events.recv() => self.happened(event.ok()),
            }
        }
    }

    fn node(&self) -> Option<Node> {
        self.node.upgrade().map(|inner| Node { inner })
    }

    fn perform(&mut self, output: Output) {
        match output {
            Output::Log(line) => line.write(),
            Output::Event(event) => self.watch.tell(event),
            Output::ForgetFailures => self.watch.forget_failures(),
            Output::Probe { relay } => {
                if let Some(node) = self.node() {
                    self.work.spawn(async move { node.probe(relay).await });
                }
            }
            Output::Start { token } => {
                if let Some(node) = self.node() {
                    self.work
                        .spawn(async move { drop(node.sync_under(token, Errand::ByItself).await) });
                }
            }
        }
    }

    /// Looks at everything that nobody tells; false once the node is gone.
    async fn look(&mut self) -> bool {
        let Some(node) = self.node() else { return false };
        let Some(links) = node.look().await else { return false };
        self.measure(&links);
        true
    }

    /// Measures how fast a relay is while something is under way.
    fn measure(&mut self, relays: &[LinkState]) {
        let is_busy = relays.iter().any(|link| !link.in_step);
        if !is_busy {
            self.busy = None;
            return;
        }
        let bytes = |link: &LinkState| link.stats.data_bytes_in + link.stats.data_bytes_out;
        let bytes: u64 = relays.iter().map(bytes).sum();
        let (since, before) = *self.busy.get_or_insert((Instant::now(), bytes));
        let moved = bytes.saturating_sub(before);
        let millis = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
        if moved >= RATE_BYTES_MIN && millis >= 500 {
            self.watch.feed(Input::Rate(moved.saturating_mul(8_000) / millis));
            self.busy = Some((Instant::now(), bytes));
        }
    }

    fn happened(&mut self, event: Option<MeshEvent>) {
        match event {
            Some(MeshEvent::Linked { link, device, address, .. }) => {
                let Some(node) = self.node() else { return };
                let policy = node.inner.mesh.policy();
                let relays = node.relays().into_iter();
                let relays = relays.filter(|relay| relay.is_at(&policy, &address, device));
                let relays: Vec<String> = relays.map(|relay| relay.address).collect();
                for relay in &relays {
                    self.watch.feed(Input::Signal { relay: relay.clone(), is_up: true });
                }
                self.links.insert(link, relays);
            }
            Some(MeshEvent::Unlinked { link, reason, refused_at }) => {
                // Before it is asked whether the relay is still there, which is to dial none.
                if let (Some(address), Some(node)) = (refused_at, self.node()) {
                    node.inner.contacts.refused(&address, &reason);
                }
                for relay in self.links.remove(&link).unwrap_or_default() {
                    // Of two links to one relay the other one is still there.
                    if !self.links.values().flatten().any(|other| *other == relay) {
                        self.watch.feed(Input::Signal { relay, is_up: false });
                    }
                }
            }
            Some(MeshEvent::Replica(_)) | None => {}
        }
    }
}

/// An address of a relay.
pub(super) struct Relay {
    pub(super) address: String,
    /// The device, where it is known.
    pub(super) device: Option<DeviceId>,
}

impl Relay {
    /// Whether a link with `device` at `address` leads to this relay. At an address that is signed
    /// for one device no other one counts, whoever answers.
    pub(super) fn is_at(&self, policy: &Policy, address: &str, device: DeviceId) -> bool {
        self.device == Some(device)
            || (address::comparable(&self.address) == address::comparable(address)
                && self.may_be(policy, device))
    }

    /// Whether `device` may be who is meant by the address.
    fn may_be(&self, policy: &Policy, device: DeviceId) -> bool {
        let said = policy.relay_address(&address::comparable(&self.address));
        said.and_then(|said| said.relay).is_none_or(|relay| relay == device)
    }
}

impl Node {
    /// The addresses of relays, with the device where it is known: those that the policy calls so
    /// and those that were named when the node was started.
    pub(super) fn relays(&self) -> Vec<Relay> {
        let policy = self.inner.mesh.policy();
        let named = self.inner.watch.named_relays();
        let places: BTreeSet<String> = named.iter().map(|it| address::comparable(it)).collect();
        let mut relays: BTreeMap<String, Relay> = BTreeMap::new();
        for Contact { device, address, .. } in self.ways() {
            let place = address::comparable(&address);
            if places.contains(&place) || device.is_some_and(|device| is_relay(&policy, device)) {
                // Who was met there last comes first.
                relays.entry(place).or_insert(Relay { device, address });
            }
        }
        for address in named {
            let place = address::comparable(&address);
            relays.entry(place).or_insert(Relay { device: None, address });
        }
        relays.into_values().collect()
    }

    /// Tells the machine what the node holds and whom it knows; gives the links to relays.
    pub(super) async fn look(&self) -> Option<Vec<LinkState>> {
        let snapshot = self.inner.mesh.snapshot().await?;
        self.note_parts(&snapshot.links);
        let (relays, policy) = (self.relays(), self.inner.mesh.policy());
        let mut links = snapshot.links;
        links.retain(|link| {
            relays.iter().any(|relay| relay.is_at(&policy, &link.address, link.device))
        });
        let addresses = relays.into_iter().map(|relay| relay.address).collect();
        let is_in_step = links.iter().any(|link| link.in_step && link.part.is_none());
        // A store that cannot be read has proven nothing.
        let pending = self.blocking(crate::ledger::Ledger::unproven).await.unwrap_or(1);
        self.inner.watch.feed(Input::Standing(Standing { pending, is_in_step }));
        self.inner.watch.feed(Input::Relays(addresses));
        Some(links)
    }

    /// Asks a relay whether it is there: over its link, by having it dialled, or, where nothing may
    /// travel, by a connection that ends at once. Each way ends with TLS proving who answered.
    async fn probe(&self, address: String) {
        let known = self.relays().into_iter().find(|relay| relay.address == address);
        let relay = known.unwrap_or(Relay { address: address.clone(), device: None });
        let policy = self.inner.mesh.policy();
        let links = self.inner.mesh.snapshot().await.map_or_else(Vec::new, |one| one.links);
        let link = links.iter().find(|link| relay.is_at(&policy, &link.address, link.device));
        let answer = match link {
            Some(link) => self.round_trip(link.id, link.stats.control_bytes_in).await,
            // Who was refused there dials after a pause, which a probe does not shorten.
            None if self.inner.watch.may_dial() && !self.inner.contacts.is_refused(&address) => {
                self.inner.watch.urge(address);
                return;
            }
            None => self.knock(&relay).await,
        };
        self.inner.watch.feed(Input::Probed { relay: address, answer });
    }

    async fn knock(&self, relay: &Relay) -> Answer {
        let started = Instant::now();
        let address = relay.address.as_str();
        match self.reach(address).await {
            Ok(found) if !relay.may_be(&self.inner.mesh.policy(), found.peer()) => {
                tracing::debug!(address, "another device answers there");
                Answer::Lost
            }
            Ok(_) => Answer::Ok { millis: u64::try_from(started.elapsed().as_millis()).ok() },
            Err(error) => {
                tracing::debug!(address, error, "not reached");
                Answer::Lost
            }
        }
    }

    /// Compares with the peer, which costs a few bytes each way.
    async fn round_trip(&self, link: LinkId, bytes_before: u64) -> Answer {
        let mut events = self.events();
        let started = Instant::now();
        self.inner.mesh.urgent(Call::Input(ReplicaInput::Resync { link: Some(link) }));
        let answered = async {
            while let Ok(event) = events.recv().await {
                match event {
                    MeshEvent::Replica(Event::InStep { link: other, .. }) if other == link => {
                        let millis = u64::try_from(started.elapsed().as_millis()).ok();
                        return Answer::Ok { millis };
                    }
                    MeshEvent::Replica(Event::Stalled { link: other, .. }) if other == link => {
                        return Answer::Odd;
                    }
                    MeshEvent::Unlinked { link: other, .. } if other == link => break,
                    _ => {}
                }
            }
            Answer::Lost
        };
        if let Ok(answer) = timeout(ANSWER_TIMEOUT, answered).await {
            return answer;
        }
        // It may be too busy sending to compare.
        let links = self.inner.mesh.snapshot().await.map_or_else(Vec::new, |one| one.links);
        let heard = links.iter().any(|state| {
            let stats = &state.stats;
            state.id == link && (stats.control_bytes_in > bytes_before || !state.in_step)
        });
        if heard { Answer::Ok { millis: None } } else { Answer::Lost }
    }
}

#[cfg(test)]
mod tests {
    use fieldmesh_model::Role;
    use fieldmesh_store::AppendError;

    use super::*;
    use crate::TenantOptions;
    use crate::api::InviteOptions;
    use crate::mesh::Lost;

    #[tokio::test]
    async fn a_relay_that_refused_a_conversation_is_asked_without_another_one() {
        let folder = tempfile::tempdir().unwrap();
        let options = TenantOptions { name: "Crew".into(), ..TenantOptions::default() };
        let builder = Node::builder(folder.path().join("home")).passphrase("one");
        let (node, _) = builder.create_tenant(options).await.unwrap();
        let address = "127.0.0.1:9";
        let mut driver = Driver::new(&node);
        driver.links.insert(LinkId(1), vec![address.to_owned()]);
        let refused_at = Some(address.to_owned());
        let reason = "no room".to_owned();
        driver.happened(Some(MeshEvent::Unlinked { link: LinkId(1), reason, refused_at }));
        node.probe(address.to_owned()).await;
        assert!(node.inner.watch.take_urged().is_empty());
        node.inner.contacts.failed(None, address, "no answer");
        node.probe(address.to_owned()).await;
        assert_eq!(node.inner.watch.take_urged(), [address.to_owned()].into());
        node.shutdown().await.unwrap();
    }

    #[tokio::test]
    async fn a_device_whose_disk_is_full_dials_no_sooner_for_that_and_says_why() {
        let folder = tempfile::tempdir().unwrap();
        let options = TenantOptions { name: "Crew".into(), ..TenantOptions::default() };
        let builder = Node::builder(folder.path().join("office")).passphrase("one");
        let (office, _) = builder.create_tenant(options).await.unwrap();
        let place = office.listen(Some(([127, 0, 0, 1], 0).into())).await.unwrap().to_string();
        let valid = Duration::from_secs(600);
        let options = InviteOptions { role: Role::Operator, user: None, valid, count: 1 };
        let invited = office.invite(options).await.unwrap().remove(0);
        let builder = Node::builder(folder.path().join("device")).passphrase("one");
        let (device, _) = builder.join(&invited.invitation, None).await.unwrap();
        device.listen(Some(([127, 0, 0, 1], 0).into())).await.unwrap();
        let mut driver = Driver::new(&device);
        let mut events = device.events();
        device.inner.contacts.heard(Some(office.tenant().device), &place);
        let (link, _) = device.dial(&place).await.unwrap();
        let error = AppendError::DiskFull { free_bytes: 11 << 20, needed_bytes: 32 << 20 };
        device.inner.mesh.urgent(Call::StoreFailed { link, lost: Lost::default(), error });
        loop {
            let event = events.recv().await.unwrap();
            let is_end = matches!(event, MeshEvent::Unlinked { .. });
            driver.happened(Some(event));
            if is_end {
                break;
            }
        }
        device.probe(place.clone()).await;
        assert!(device.inner.watch.take_urged().is_empty());
        let peers = device.peers().await.unwrap();
        let peer = peers.iter().find(|peer| peer.addresses.contains(&place)).unwrap();
        let why = peer.error.as_deref().unwrap();
        assert!(peer.state == "refused" && why.contains("11.0 MiB free"), "{peer:?}");
        device.shutdown().await.unwrap();
        office.shutdown().await.unwrap();
    }
}
