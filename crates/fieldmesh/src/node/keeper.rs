//! What a running node does by itself: seal, dial, look around, compare.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use fieldmesh_model::DeviceId;
use fieldmesh_net::discovery::{Announcement, Discovery, Sighting};
use fieldmesh_net::mdns::{Interfaces, Mdns};
use fieldmesh_replica::{Event, Fork, Input, LinkId};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::clock;
use crate::connectivity::{Input as Noticed, Retry};
use crate::error::Error;
use crate::ledger::Ledger;
use crate::mesh::{Call, MeshEvent, News};

use super::{Listener, Node};

/// How often the keeper looks whether somebody is to be dialled.
const TICK: Duration = Duration::from_millis(500);
/// How often a node looks whether something is to be sealed.
const SEAL_TICK: Duration = Duration::from_millis(100);
/// How long a change waits for others to share its batch while a peer is connected.
const SEAL_AFTER: Duration = Duration::from_millis(300);
/// How long after an acknowledged change a connected node has surely sealed it.
pub(super) const SEALED_WITHIN: Duration = Duration::from_millis(500);
/// How often a running node compares with everybody although nothing happened.
const COMPARE_EVERY: Duration = Duration::from_secs(300);
/// How often the address book is written if only times in it have changed; each time costs room
/// in the log. A new address is written at once.
const SAVE_EVERY: Duration = Duration::from_secs(3_600);

/// How a node runs by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunOptions {
    /// Where to listen; the port of the last time where absent.
    pub listen: Option<SocketAddr>,
    /// Addresses to keep connected besides those that are remembered.
    pub relays: Vec<String>,
    /// Whether to dial the relays that the tenant's admins have signed. Not for a machine that
    /// serves tenants of others: their admins could have it dial into its own network.
    pub dials_signed: bool,
    /// Whether to announce this device and look for others by mDNS.
    pub mdns: bool,
}

impl Default for RunOptions {
    fn default() -> Self {
        Self { listen: None, relays: Vec::new(), dials_signed: true, mdns: true }
    }
}

impl Node {
    /// Listens; gives the address of the socket. A node that listens already keeps its socket.
    ///
    /// # Errors
    ///
    /// The address is in use or not this device's.
    pub async fn listen(&self, address: Option<SocketAddr>) -> Result<SocketAddr, Error> {
        let mut slot = self.inner.listener.lock().await;
        if let Some(listener) = &*slot {
            return listener.local_addr();
        }
        let listener = match address {
            Some(address) => Listener::bind(address).await?,
            None => {
                let any = |port| SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
                let port = self.inner.home.read_port().unwrap_or(0);
                match Listener::bind(any(port)).await {
                    Ok(listener) => listener,
                    // Somebody else has the port of the last time; another one does as well.
                    Err(_) => Listener::bind(any(0)).await?,
                }
            }
        };
        let bound = listener.local_addr()?;
        self.inner.home.write_port(bound.port());
        listener.add(self)?;
        *slot = Some(listener);
        Ok(bound)
    }

    /// Uses a socket that is shared with other nodes.
    pub(super) async fn share(&self, listener: Listener) -> Result<(), Error> {
        listener.add(self)?;
        *self.inner.listener.lock().await = Some(listener);
        Ok(())
    }

    /// Listens, looks around and keeps in step with everyone reachable, until shutdown.
    ///
    /// # Errors
    ///
    /// The address to listen on is in use or not this device's.
    pub async fn run(&self, options: RunOptions) -> Result<SocketAddr, Error> {
        let bound = self.listen(options.listen).await?;
        for relay in &options.relays {
            self.inner.contacts.heard(None, relay);
        }
        self.inner.dials_signed.store(options.dials_signed, Ordering::Relaxed);
        self.inner.is_running.store(true, Ordering::Relaxed);
        let keeper = Keeper {
            node: Arc::downgrade(&self.inner),
            waits: BTreeMap::new(),
            dials: JoinSet::new(),
            nearby: BTreeMap::new(),
            port: bound.port(),
        };
        self.watch_network(&options.relays, bound.port()).await;
        let mut tasks = self.inner.tasks.lock().expect("no holder of this lock panics");
        tasks.spawn(keeper.run(options.mdns));
        Ok(bound)
    }

    /// Seals what waits, because a conversation begins.
    pub(super) async fn seal_before_talking(&self) {
        if let Err(error) = self.blocking(|ledger| ledger.seal(None)).await {
            tracing::error!(%error, "changes could not be sealed; they stay and are tried again");
        }
    }

    /// Seals changes that have waited long enough for others, if there is anybody to offer them to.
    async fn seal_what_waits(&self) {
        // Whoever writes much at once keeps others from the answer for a while: no thread that
        // serves sockets may wait for it.
        let Ok((_, oldest)) = self.blocking(|ledger| Ok(ledger.unsealed())).await else { return };
        let due = oldest.is_some_and(|since| since.elapsed() >= SEAL_AFTER);
        if !due {
            return;
        }
        let snapshot = self.inner.mesh.snapshot().await;
        if snapshot.is_some_and(|snapshot| !snapshot.links.is_empty()) {
            self.seal_before_talking().await;
        }
    }

    /// Follows the mesh and the clock: seals what waits, and starts a new epoch where it must.
    pub(super) fn watch(&self) {
        let (mut events, mut news) = (self.events(), self.inner.mesh.news());
        let weak = Arc::downgrade(&self.inner);
        let mut tasks = self.inner.tasks.lock().expect("no holder of this lock panics");
        tasks.spawn(super::upkeep::run(weak.clone()));
        tasks.spawn(async move {
            let mut ticks = interval(SEAL_TICK);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut known = News::default();
            // Something may have happened before anybody looked.
            news.mark_changed();
            loop {
                let happened = tokio::select! {
                    Ok(()) = news.changed() => Happened::News,
                    event = events.recv() => Happened::Event(event),
                    _ = ticks.tick() => Happened::Tick,
                };
                let Some(inner) = weak.upgrade() else { return };
                let node = Self { inner };
                match happened {
                    Happened::News => {
                        let latest = *news.borrow_and_update();
                        node.act_on(&known, &latest).await;
                        known = latest;
                    }
                    Happened::Event(Ok(MeshEvent::Replica(event))) => {
                        if let Event::Greeted { device, .. } = &event {
                            node.inner.contacts.met(*device);
                        }
                        note(event);
                    }
                    Happened::Event(Ok(MeshEvent::Linked { .. } | MeshEvent::Unlinked { .. })) => {}
                    Happened::Event(Err(RecvError::Lagged(count))) => {
                        tracing::warn!(count, "events are missing from the log");
                    }
                    Happened::Event(Err(RecvError::Closed)) => return,
                    Happened::Tick => node.seal_what_waits().await,
                }
            }
        });
    }

    /// Does what news demand.
    async fn act_on(&self, known: &News, latest: &News) {
        // One new epoch is enough for all the batches that it does not know.
        if latest.unknown_own_batches != known.unknown_own_batches
            && let Err(error) = self.blocking(Ledger::leave_epoch).await
        {
            tracing::error!(%error, "no new epoch could be written");
        }
        if latest.copies() != known.copies() {
            self.heed_copies().await;
        }
        if latest.agreed != known.agreed {
            self.obey_policy().await;
        }
    }
}

/// What the node follows.
enum Happened {
    News,
    Event(Result<MeshEvent, RecvError>),
    Tick,
}

/// Writes into the program's log what somebody should know.
fn note(event: Event) {
    match event {
        Event::Fork(Fork { chain, sequence, .. }) => {
            tracing::warn!(author = %chain.author.short(), sequence, "forked chain");
        }
        Event::ChainGap { chain, .. } => {
            tracing::debug!(author = %chain.author.short(), "batches are missing");
        }
        Event::Refused { batch, reason, .. } => {
            tracing::warn!(batch = %batch.short(), ?reason, "a batch is refused");
        }
        Event::Quarantined { batches, .. } => {
            for (batch, reason) in batches {
                tracing::warn!(batch = %batch.short(), ?reason, "a batch is set aside");
            }
        }
        Event::SetAside { batches } => {
            tracing::warn!(count = batches.len(), "batches do not count any more");
        }
        Event::Readmitted { batches } => {
            tracing::info!(count = batches.len(), "batches that were aside count again");
        }
        Event::Withheld { relay, batch } => {
            let (relay, batch) = (relay.short(), batch.short());
            tracing::warn!(relay, batch, "a relay did not give what it acknowledged");
        }
        Event::StoreRestored { device, epoch, .. } => {
            tracing::warn!(device = %device.short(), epoch, "a store was restored");
        }
        Event::StoreDoubted { doubt, .. } => {
            let device = doubt.device.short();
            tracing::warn!(device, "a store lacked what it acknowledged; it is not believed");
        }
        Event::PolicyChanged
        | Event::OwnBatchUnknown { .. }
        | Event::Greeted { .. }
        | Event::InStep { .. }
        | Event::Stalled { .. }
        | Event::Received { .. }
        | Event::Receipt(_) => {}
    }
}

/// When an address is tried again.
struct Wait {
    failures: Retry,
    next: Instant,
    is_dialling: bool,
}

/// Somebody whom mDNS shows.
struct Nearby {
    addresses: Vec<String>,
    /// Who it is, once one of the addresses has answered.
    device: Option<DeviceId>,
}

/// What came of dialling an address, and how long that took.
type Dialled = (String, Option<DeviceId>, Duration, Result<DeviceId, String>);

struct Keeper {
    node: std::sync::Weak<super::Inner>,
    waits: BTreeMap<String, Wait>,
    dials: JoinSet<Dialled>,
    /// What mDNS shows, by instance.
    nearby: BTreeMap<String, Nearby>,
    port: u16,
}

impl Keeper {
    async fn run(mut self, mdns: bool) {
        let (mdns, mut sightings) = self.look_around(mdns);
        let Some(mut events) = self.node().map(|node| node.events()) else { return };
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut compared, mut saved) = (Instant::now(), Instant::now());
        loop {
            tokio::select! {
                _ = ticks.tick() => {
                    if !self.tick(&mut compared, &mut saved).await {
                        break;
                    }
                }
                Some(Ok(dialled)) = self.dials.join_next() => {
                    self.dialled(dialled, mdns.as_ref());
                }
                event = events.recv() => self.happened(event).await,
                Some(sighting) = async {
                    match &mut sightings {
                        Some(sightings) => sightings.recv().await,
                        None => std::future::pending().await,
                    }
                } => self.sighted(sighting),
            }
        }
        if let Some(mdns) = mdns {
            mdns.stop().await;
        }
    }

    fn node(&self) -> Option<Node> {
        self.node.upgrade().map(|inner| Node { inner })
    }

    fn look_around(&self, wanted: bool) -> (Option<Mdns>, Option<mpsc::Receiver<Sighting>>) {
        let Some(node) = self.node().filter(|_| wanted) else { return (None, None) };
        let (mdns, sightings) = Mdns::start(&Interfaces::default(), clock::random());
        let tenants = vec![node.inner.ledger.identity.tenant];
        mdns.announce(&Announcement { port: self.port, tenants });
        (Some(mdns), Some(sightings))
    }

    /// One look at everything that time decides; false once the node is gone.
    async fn tick(&mut self, compared: &mut Instant, saved: &mut Instant) -> bool {
        let Some(node) = self.node() else { return false };
        let Some(snapshot) = node.inner.mesh.snapshot().await else { return false };
        let connected: BTreeSet<DeviceId> = snapshot.links.iter().map(|link| link.device).collect();
        node.reopen_links(&snapshot);
        self.hurry(&node);
        self.dial_who_is_due(&node, &connected, &snapshot);
        if compared.elapsed() >= COMPARE_EVERY {
            *compared = Instant::now();
            node.inner.mesh.urgent(Call::Input(Input::Resync { link: None }));
        }
        if node.inner.contacts.has_news() || saved.elapsed() >= SAVE_EVERY {
            *saved = Instant::now();
            let inner = Arc::clone(&node.inner);
            let result = node.blocking(move |ledger| inner.contacts.save(ledger)).await;
            if let Err(error) = result {
                tracing::warn!(%error, "the address book could not be written");
            }
        }
        true
    }

    /// Has those dialled soon who are to be tried although they failed.
    fn hurry(&mut self, node: &Node) {
        let urged = node.inner.watch.take_urged();
        let is_new = node.inner.watch.take_forgetting();
        for (address, wait) in self.waits.iter_mut().filter(|(_, wait)| !wait.is_dialling) {
            if is_new {
                wait.failures.reset();
            }
            if is_new || urged.contains(address) {
                wait.next = Instant::now();
            }
        }
    }

    fn dial_who_is_due(
        &mut self,
        node: &Node,
        connected: &BTreeSet<DeviceId>,
        snapshot: &crate::mesh::Snapshot,
    ) {
        let linked: BTreeSet<&str> =
            snapshot.links.iter().map(|link| link.address.as_str()).collect();
        let name = |device: DeviceId| device.to_string();
        let contacts = node.ways().into_iter().map(|contact| {
            let who = contact.device.map_or_else(|| contact.address.clone(), name);
            (who, contact.device, contact.address)
        });
        let nearby = self.nearby.iter().flat_map(|(instance, nearby)| {
            let who = nearby.device.map_or_else(|| instance.clone(), name);
            let addresses = nearby.addresses.iter().cloned();
            addresses.map(move |address| (who.clone(), nearby.device, address))
        });
        let due: Vec<(String, Option<DeviceId>, String)> = contacts.chain(nearby).collect();
        let mut dialled = BTreeSet::new();
        for (who, device, address) in due {
            let is_connected = device.is_some_and(|device| connected.contains(&device))
                || linked.contains(address.as_str());
            let now = Instant::now();
            let is_waiting = self.waits.get(&address).is_some_and(|wait| wait.next > now);
            // The next address of somebody is dialled at the next look, if the first has not led
            // to a connection until then: several connections to one device are of no use.
            if is_connected || is_waiting || !node.inner.watch.may_dial() {
                continue;
            }
            if !dialled.insert(who) {
                continue;
            }
            let wait = self.waits.entry(address.clone()).or_insert_with(|| Wait {
                failures: Retry::default(),
                next: now,
                is_dialling: true,
            });
            // Until the dial is over nobody else dials this address.
            wait.next = now + Duration::from_secs(3_600);
            wait.is_dialling = true;
            let node = node.clone();
            self.dials.spawn(async move {
                let result = node.dial(&address).await.map(|(_, device)| device);
                (address, device, now.elapsed(), result)
            });
        }
    }

    fn dialled(&mut self, (address, device, took, result): Dialled, mdns: Option<&Mdns>) {
        let address = address.as_str();
        let Some(node) = self.node() else { return };
        let Some(wait) = self.waits.get_mut(address) else { return };
        let delay = wait.failures.failed(u64::from_be_bytes(clock::random()));
        wait.next = Instant::now() + delay;
        wait.is_dialling = false;
        node.inner.watch.dialled(address, result.is_ok().then_some(took), wait.failures);
        let shown = |nearby: &Nearby| nearby.addresses.iter().any(|known| known == address);
        let nearby = self.nearby.iter_mut().find(|(_, nearby)| shown(nearby));
        match (result, nearby) {
            (Ok(device), Some((_, nearby))) => nearby.device = Some(device),
            (Ok(_), None) => {}
            (Err(error), nearby) => {
                tracing::debug!(address, error, "not reached");
                node.inner.contacts.failed(device, address, &error);
                if let (Some((instance, _)), Some(mdns)) = (nearby, mdns) {
                    mdns.verify(&fieldmesh_net::discovery::Instance::new(instance.clone()));
                }
            }
        }
    }

    async fn happened(&mut self, event: Result<MeshEvent, RecvError>) {
        let Some(node) = self.node() else { return };
        match event {
            Ok(MeshEvent::Replica(Event::InStep { link, .. })) => {
                self.in_step(&node, link).await;
            }
            Ok(MeshEvent::Unlinked { refused_at: Some(address), .. }) => {
                self.refused(&node, &address);
            }
            // Who is in step by now says the state.
            Err(RecvError::Lagged(_)) => {
                let Some(snapshot) = node.inner.mesh.snapshot().await else { return };
                for link in snapshot.links.iter().filter(|link| link.in_step) {
                    self.in_step(&node, link.id).await;
                }
            }
            Ok(MeshEvent::Linked { .. } | MeshEvent::Unlinked { .. } | MeshEvent::Replica(_))
            | Err(RecvError::Closed) => {}
        }
    }

    async fn in_step(&mut self, node: &Node, link: LinkId) {
        let worked = node.remember_in_step(link).await;
        if let Some(wait) = worked.and_then(|address| self.waits.get_mut(&address)) {
            wait.failures.reset();
        }
    }

    /// Whoever refused a conversation is not dialled before a pause, at none of its addresses.
    fn refused(&mut self, node: &Node, address: &str) {
        let ways = node.ways();
        let known = ways.iter().find(|way| way.address == address).and_then(|way| way.device);
        let others = ways.iter().filter(|way| known.is_some() && way.device == known);
        let others = others.map(|way| way.address.as_str()).filter(|other| *other != address);
        let failures = self.waits.get(address).map(|wait| wait.failures).unwrap_or_default();
        let next = Instant::now() + failures.wait(u64::from_be_bytes(clock::random()));
        for address in others.chain([address]) {
            let none = Wait { failures: Retry::default(), next, is_dialling: false };
            let wait = self.waits.entry(address.to_owned()).or_insert(none);
            wait.next = wait.next.max(next);
        }
    }

    fn sighted(&mut self, sighting: Sighting) {
        match sighting {
            Sighting::Found { instance, addresses, .. } => {
                let addresses: Vec<String> =
                    addresses.into_iter().map(|address| address.to_string()).collect();
                let known = self.nearby.remove(instance.as_str());
                let old = known.as_ref().map_or(&[][..], |known| known.addresses.as_slice());
                for address in addresses.iter().filter(|address| !old.contains(address)) {
                    self.waits.remove(address);
                }
                let device = known.and_then(|known| known.device);
                self.nearby.insert(instance.as_str().to_owned(), Nearby { addresses, device });
            }
            Sighting::Lost { instance } => {
                self.nearby.remove(instance.as_str());
            }
            Sighting::Unavailable { reason } => tracing::info!(reason, "no discovery by mDNS"),
        }
        if let Some(node) = self.node() {
            let shown = self.nearby.values().flat_map(|nearby| nearby.addresses.clone());
            node.inner.contacts.set_nearby(shown.collect());
            node.inner.watch.feed(Noticed::Nearby(self.nearby.len() as u64));
        }
    }
}

#[cfg(test)]
mod tests {
    use fieldmesh_model::BatchId;

    use super::*;
    use crate::TenantOptions;
    use crate::api::NewRecord;

    /// More than a slow listener may lag behind.
    const FLOOD: u64 = 5_000;

    fn unlinked(link: u64, refused_at: Option<&str>) -> MeshEvent {
        let refused_at = refused_at.map(str::to_owned);
        MeshEvent::Unlinked { link: LinkId(link), reason: "no room".into(), refused_at }
    }

    #[tokio::test]
    async fn a_device_that_is_refused_waits_at_every_address_of_who_refused_it() {
        let folder = tempfile::tempdir().unwrap();
        let options = TenantOptions { name: "Crew".into(), ..TenantOptions::default() };
        let builder = Node::builder(folder.path().join("home")).passphrase("one");
        let (node, _) = builder.create_tenant(options).await.unwrap();
        let (relay, places) = (DeviceId::from_bytes([9; 32]), ["192.0.2.7:1", "192.0.2.8:1"]);
        let began = Instant::now();
        let mut waits = BTreeMap::new();
        for place in places {
            node.inner.contacts.succeeded(relay, place);
            let mut wait = Wait { failures: Retry::default(), next: began, is_dialling: false };
            wait.failures.failed(0);
            waits.insert(place.to_owned(), wait);
        }
        let (dials, nearby) = (JoinSet::new(), BTreeMap::new());
        let node_of = Arc::downgrade(&node.inner);
        let mut keeper = Keeper { node: node_of, waits, dials, nearby, port: 0 };
        keeper.happened(Ok(unlinked(1, None))).await;
        assert!(keeper.waits.values().all(|wait| wait.next == began));
        let failures = keeper.waits[places[0]].failures;
        keeper.happened(Ok(unlinked(2, Some(places[0])))).await;
        assert!(keeper.waits.values().all(|wait| wait.next > began));
        // The pause is that of the dial that led there; a refusal does not count twice.
        assert!(keeper.waits.values().all(|wait| wait.failures == failures));
        node.shutdown().await.unwrap();
    }

    #[tokio::test]
    async fn a_batch_signed_elsewhere_is_heeded_also_among_thousands_of_events() {
        let folder = tempfile::tempdir().unwrap();
        let options = TenantOptions { name: "Crew".into(), ..TenantOptions::default() };
        let builder = Node::builder(folder.path().join("home")).passphrase("one");
        let (node, _) = builder.create_tenant(options).await.unwrap();
        let assignments = ["name=Alder 1", "apiNumber=42-227-30001", "status=ACTIVE"];
        let assignments = assignments.map(String::from).to_vec();
        let collection = "well".into();
        node.record(NewRecord { collection, assignments, ..NewRecord::default() }).await.unwrap();
        assert!(node.inner.ledger.has_written());
        // Nobody else runs between these: all of it waits for the one that follows.
        let mesh = &node.inner.mesh;
        let batch = BatchId::from_bytes([1; 32]);
        mesh.announce(MeshEvent::Replica(Event::OwnBatchUnknown { batch }));
        for link in 0..FLOOD {
            mesh.announce(unlinked(link, None));
        }
        let heeded = async {
            while node.inner.ledger.has_written() {
                tokio::task::yield_now().await;
            }
        };
        let patience = Duration::from_secs(20);
        tokio::time::timeout(patience, heeded).await.expect("it goes on in a copied chain");
        node.shutdown().await.unwrap();
    }
}
