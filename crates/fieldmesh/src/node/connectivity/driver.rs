//! The task that performs what the machine wants.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use fieldmesh_model::DeviceId;
use fieldmesh_replica::{Event, Input as ReplicaInput, LinkId};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::connectivity::{Answer, Input, Output, Standing};
use crate::mesh::{Call, LinkState, MeshEvent};

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
                let leads = |(relay, known): &(String, Option<DeviceId>)| {
                    *relay == address || *known == Some(device)
                };
                let relays: Vec<String> =
                    node.relays().into_iter().filter(leads).map(|(relay, _)| relay).collect();
                for relay in &relays {
                    self.watch.feed(Input::Signal { relay: relay.clone(), is_up: true });
                }
                self.links.insert(link, relays);
            }
            Some(MeshEvent::Unlinked { link, .. }) => {
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

impl Node {
    /// The addresses of relays, with the device where it is known: those that the policy calls so
    /// and those that were named when the node was started.
    pub(super) fn relays(&self) -> Vec<(String, Option<DeviceId>)> {
        let policy = self.inner.mesh.policy();
        let named = self.inner.watch.named_relays();
        let contacts = self.ways();
        let is_relay = |device: Option<DeviceId>| {
            let member = device.and_then(|device| policy.member(&device));
            member.is_some_and(|member| member.role.is_relay())
        };
        let known: BTreeMap<String, Option<DeviceId>> = contacts
            .into_iter()
            .filter(|contact| named.contains(&contact.address) || is_relay(contact.device))
            .map(|contact| (contact.address, contact.device))
            .collect();
        let unknown = named.into_iter().filter(|address| !known.contains_key(address));
        let unknown: Vec<_> = unknown.map(|address| (address, None)).collect();
        known.into_iter().chain(unknown).collect()
    }

    /// Tells the machine what the node holds and whom it knows; gives the links to relays.
    pub(super) async fn look(&self) -> Option<Vec<LinkState>> {
        let snapshot = self.inner.mesh.snapshot().await?;
        self.note_parts(&snapshot.links);
        let relays = self.relays();
        let devices: BTreeSet<DeviceId> = relays.iter().filter_map(|(_, device)| *device).collect();
        let addresses: BTreeSet<String> = relays.into_iter().map(|(address, _)| address).collect();
        let links: Vec<LinkState> = snapshot
            .links
            .into_iter()
            .filter(|link| devices.contains(&link.device) || addresses.contains(&link.address))
            .collect();
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
        let device = self.relays().into_iter().find(|(relay, _)| *relay == address);
        let device = device.and_then(|(_, device)| device);
        let links = self.inner.mesh.snapshot().await.map_or_else(Vec::new, |one| one.links);
        let link = links.iter().find(|link| link.address == address || device == Some(link.device));
        let answer = match link {
            Some(link) => self.round_trip(link.id, link.stats.control_bytes_in).await,
            None if self.inner.watch.may_dial() => {
                self.inner.watch.urge(address);
                return;
            }
            None => self.knock(&address).await,
        };
        self.inner.watch.feed(Input::Probed { relay: address, answer });
    }

    async fn knock(&self, address: &str) -> Answer {
        let started = Instant::now();
        match self.reach(address).await {
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
