//! The task that owns the replica: it feeds inputs in and performs what comes out.
//!
//! No decision is made here. Network readers wait when the task is behind, which is how a slow
//! disk slows a fast peer; completions of the task's own work never wait.

mod carried;
mod dealings;
mod inbox;
mod link;
mod marks;
mod mending;
mod news;
mod outbox;
mod perform;
mod published;
mod raising;
mod refusals;
mod refusing;
mod tally;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fieldmesh_batch::{Chain, Gap};
use fieldmesh_identity::{DeviceKeys, Item, Policy};
use fieldmesh_model::{BatchId, DeviceId, Filter, Moment, Scope};
use fieldmesh_net::{Connection, Transport};
use fieldmesh_replica::{Event, Fork, Input, LinkId, LinkStats, Proof, Replica};
use fieldmesh_store::{AppendError, Store};
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::task::JoinSet;

use crate::api::Dealings;
use crate::clock;
use crate::harm::Harms;
use crate::places::Places;
use crate::projector::Projector;

use self::dealings::Books;
use self::inbox::Inbox;
use self::link::Link;
pub(crate) use self::link::Parting;
use self::raising::Raising;
use self::refusals::Refusals;
pub(crate) use self::refusing::Lost;
use self::refusing::Refusing;
use self::tally::Tally;

pub(crate) use self::carried::Carried;
use self::carried::{Freights, changes};
use self::marks::Marks;
pub(crate) use self::marks::ProofMarks;
pub(crate) use self::news::News;
pub(crate) use self::tally::sum;
#[cfg(test)]
pub(crate) use self::watch::Greeted;
pub(crate) use self::watch::Watch;

/// Inputs from the network that wait to be handled.
const INBOX_MAX: usize = 64;
/// Events a slow listener may lag behind.
const EVENTS_MAX: usize = 1_024;
/// Forks and gaps that a snapshot names.
const LISTED_MAX: usize = 1_024;

/// What is asked of the task.
pub(crate) enum Call {
    /// Something for the replica.
    Input(Input),
    /// A connection to drive.
    Attach {
        connection: Connection,
        address: String,
        /// The part of the records that it is to carry, where that is not all of them.
        part: Option<Filter>,
        reply: oneshot::Sender<LinkId>,
    },
    /// A link ended by itself.
    Ended { link: LinkId, reason: String, parting: Parting },
    /// Ends a link that is not needed any more.
    Detach(LinkId),
    /// The store could not take what a link sent.
    StoreFailed { link: LinkId, lost: Lost, error: AppendError },
    /// The state, for people.
    Snapshot(oneshot::Sender<Snapshot>),
    /// What passed with each device since this was asked last.
    Dealings(oneshot::Sender<Dealings>),
    /// Batches became durable: who wrote each, and when its newest change was made.
    Arrived(Vec<(DeviceId, Moment)>),
    /// Where batches are, as receipts prove it, in the order asked for.
    Proofs { batches: Vec<BatchId>, reply: oneshot::Sender<Vec<Proof>> },
    /// Policy items that cannot be read from the log any more, by the hashes of their bytes.
    ItemsLost(Vec<[u8; 32]>),
    /// Which devices' receipts name each of these batches.
    Holders { batches: Vec<BatchId>, reply: oneshot::Sender<Vec<Vec<DeviceId>>> },
    /// This device wants another part of the records from here on; every link begins anew.
    Wanted { filter: Filter, reply: oneshot::Sender<()> },
    /// It is durable that this store may have signed for moments up to this one.
    SignedUntil(Moment),
    /// It is durable that this store was put back so often.
    EpochRaised(u64),
    /// That could not be written.
    EpochNotRaised,
    /// Stop: close every link and end the task.
    Stop,
}

/// What happened on the mesh, for those who wait or show it.
#[derive(Debug, Clone)]
pub(crate) enum MeshEvent {
    /// A connection became a link.
    Linked {
        link: LinkId,
        device: DeviceId,
        address: String,
        transport: Transport,
        /// Whether this device lets it carry only a part.
        is_part: bool,
    },
    /// A link ended; named is the address that this device dialled, where it is to wait there.
    Unlinked { link: LinkId, reason: String, refused_at: Option<String> },
    /// The replica says.
    Replica(Event),
}

/// The state of the mesh at one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Snapshot {
    pub(crate) root: String,
    pub(crate) batches: u64,
    pub(crate) links: Vec<LinkState>,
    pub(crate) tally: Tally,
    /// At most [`LISTED_MAX`] places of chains that hold two batches.
    pub(crate) forks: Vec<Fork>,
    /// At most [`LISTED_MAX`] chains of which batches are missing.
    pub(crate) gaps: Vec<(Chain, Gap)>,
    pub(crate) watch: Watch,
    /// Where critical batches lie that no relay is known to hold.
    pub(crate) critical: BTreeSet<Scope>,
    /// What passed over links that are gone, by device.
    pub(crate) earlier: BTreeMap<DeviceId, LinkStats>,
}

impl Snapshot {
    /// What has passed between each device and this one, whoever dialled.
    pub(crate) fn moved(&self) -> BTreeMap<DeviceId, LinkStats> {
        let mut moved = self.earlier.clone();
        for link in &self.links {
            let known = moved.entry(link.device).or_default();
            *known = sum(known, &link.stats);
        }
        moved
    }
}

/// One link at one moment.
#[derive(Debug, Clone)]
pub(crate) struct LinkState {
    pub(crate) id: LinkId,
    pub(crate) device: DeviceId,
    pub(crate) address: String,
    pub(crate) in_step: bool,
    /// Whether this device dialled.
    pub(crate) is_dialled: bool,
    pub(crate) transport: Transport,
    /// The part of the records that it may carry by this device's word, where that is not all.
    pub(crate) part: Option<Filter>,
    /// Batches here that it may not carry and that the peer is not known to hold.
    pub(crate) held_back: u64,
    pub(crate) stats: LinkStats,
    /// What passed over earlier links with the same device.
    pub(crate) earlier: LinkStats,
    /// Whether the peer still has to sign for what it holds, or what is set aside is being compared.
    pub(crate) is_finishing: bool,
}

impl LinkState {
    /// The address, if this device dialled it: that of others' links leads to no listener.
    pub(crate) fn dialled(&self) -> Option<&str> {
        self.is_dialled.then_some(self.address.as_str())
    }
}

/// A handle on the task.
#[derive(Clone)]
pub(crate) struct Mesh {
    device: DeviceId,
    inbox: mpsc::Sender<Call>,
    urgent: mpsc::UnboundedSender<Call>,
    events: broadcast::Sender<MeshEvent>,
    news: tokio::sync::watch::Sender<News>,
    policy: Arc<std::sync::RwLock<Arc<Policy>>>,
    /// Policy items that were made here and that the replica may not have heard of.
    unheard: Arc<Mutex<Vec<Item>>>,
    /// Grows whenever a batch may be at another number of places than before.
    proofs: Arc<AtomicU64>,
    marks: Arc<Marks>,
    freights: Freights,
}

/// What a mesh is made of.
pub(crate) struct Parts {
    pub(crate) replica: Replica,
    pub(crate) keys: DeviceKeys,
    pub(crate) store: Arc<Store>,
    pub(crate) places: Arc<Places>,
    pub(crate) projector: Projector,
    pub(crate) policy: Arc<std::sync::RwLock<Arc<Policy>>>,
    pub(crate) harms: Arc<Harms>,
}

impl Mesh {
    /// Starts the task in `tasks`.
    pub(crate) fn start(parts: Parts, tasks: &mut JoinSet<()>) -> Self {
        let Parts { replica, keys, store, places, projector, policy, harms } = parts;
        let (inbox, calls) = mpsc::channel(INBOX_MAX);
        let (urgent, urgent_calls) = mpsc::unbounded_channel();
        let (events, _) = broadcast::channel(EVENTS_MAX);
        let news = tokio::sync::watch::Sender::new(News::default());
        let mesh = Self {
            device: keys.device(),
            inbox,
            urgent,
            events,
            news,
            policy,
            unheard: Arc::default(),
            proofs: Arc::default(),
            marks: Arc::default(),
            freights: Freights::default(),
        };
        let task = MeshTask {
            unheld: replica.unheld().collect(),
            replica,
            keys,
            signed_until: None,
            store,
            places,
            harms,
            projector,
            mesh: mesh.clone(),
            links: BTreeMap::new(),
            in_step: BTreeSet::new(),
            earlier: BTreeMap::new(),
            next_link: 1,
            tally: Tally::default(),
            books: Books::default(),
            watch: Watch::default(),
            refusals: Refusals::default(),
            refusing: Refusing::default(),
            raising: Raising::default(),
            tasks: JoinSet::new(),
        };
        tasks.spawn(task.run(Inbox::new(calls, urgent_calls)));
        mesh
    }

    /// Hands over something that must not wait: the completion of our own work.
    pub(crate) fn urgent(&self, call: Call) {
        // The task is gone only while the node stops; then there is nobody left to tell.
        let _ = self.urgent.send(call);
    }

    /// Hands over a network input; waits while the task is behind. False once the task is gone.
    pub(crate) async fn input(&self, input: Input) -> bool {
        self.inbox.send(Call::Input(input)).await.is_ok()
    }

    /// Reports the end of a link.
    async fn ended(&self, link: LinkId, reason: String, parting: Parting) {
        // The task is gone only while the node stops; its links are gone with it.
        let _ = self.inbox.send(Call::Ended { link, reason, parting }).await;
    }

    /// Drives `connection`; `None` once the task is gone.
    pub(crate) async fn attach(
        &self,
        connection: Connection,
        address: String,
        part: Option<Filter>,
    ) -> Option<LinkId> {
        let (reply, answer) = oneshot::channel();
        self.inbox.send(Call::Attach { connection, address, part, reply }).await.ok()?;
        answer.await.ok()
    }

    /// The state now; `None` once the task is gone.
    pub(crate) async fn snapshot(&self) -> Option<Snapshot> {
        let (reply, answer) = oneshot::channel();
        self.urgent.send(Call::Snapshot(reply)).ok()?;
        answer.await.ok()
    }

    /// What passed with each device since this was asked last; `None` once the task is gone.
    pub(crate) async fn take_dealings(&self) -> Option<Dealings> {
        let (reply, answer) = oneshot::channel();
        self.urgent.send(Call::Dealings(reply)).ok()?;
        answer.await.ok()
    }

    /// Where batches are, as receipts prove it; nothing once the task is gone. Blocks.
    pub(crate) fn proofs(&self, batches: Vec<BatchId>) -> Vec<Proof> {
        let (reply, answer) = oneshot::channel();
        self.urgent(Call::Proofs { batches, reply });
        answer.blocking_recv().unwrap_or_default()
    }

    /// Which devices' receipts name each of these batches; nothing once the task is gone. Blocks.
    pub(crate) fn holders(&self, batches: Vec<BatchId>) -> Vec<Vec<DeviceId>> {
        let (reply, answer) = oneshot::channel();
        self.urgent(Call::Holders { batches, reply });
        answer.blocking_recv().unwrap_or_default()
    }

    /// The state now, for whoever may block; `None` once the task is gone.
    pub(crate) fn snapshot_now(&self) -> Option<Snapshot> {
        let (reply, answer) = oneshot::channel();
        self.urgent(Call::Snapshot(reply));
        answer.blocking_recv().ok()
    }

    /// Wants only what `filter` admits from here on. What came before is handed to the store when
    /// this returns, and nothing else follows. Blocks.
    pub(crate) fn want_only(&self, filter: Filter) {
        let (reply, answer) = oneshot::channel();
        self.urgent(Call::Wanted { filter, reply });
        // The task is gone only while the node stops; then nothing comes either.
        let _ = answer.blocking_recv();
    }

    /// A number that grows whenever proofs may be others than before.
    pub(crate) fn proofs_version(&self) -> u64 {
        self.proofs.load(Ordering::Relaxed)
    }

    /// What has changed about what relays are proven to hold.
    pub(crate) fn proof_marks(&self) -> ProofMarks {
        self.marks.read()
    }

    /// How many changes have passed over each link.
    pub(crate) fn carried(&self) -> BTreeMap<LinkId, Carried> {
        self.freights.all()
    }

    /// Everything that happens from here on; a listener that is slow loses some of it.
    pub(crate) fn events(&self) -> broadcast::Receiver<MeshEvent> {
        self.events.subscribe()
    }

    /// What must be acted on, from here on; nothing of it is lost.
    pub(crate) fn news(&self) -> tokio::sync::watch::Receiver<News> {
        self.news.subscribe()
    }

    /// A peer holds the same policy items as this device.
    fn agreed(&self) {
        self.news.send_if_modified(|news| {
            let is_new = !news.is_policy_agreed();
            news.agreed = Some(news.policies);
            is_new
        });
    }

    /// Tells an event to whoever listens.
    pub(crate) fn announce(&self, event: MeshEvent) {
        match &event {
            MeshEvent::Replica(Event::PolicyChanged) => {
                self.news.send_modify(|news| news.policies += 1);
            }
            MeshEvent::Replica(Event::OwnBatchUnknown { .. }) => {
                self.news.send_modify(|news| news.unknown_own_batches += 1);
            }
            MeshEvent::Replica(Event::Fork(Fork { chain, .. })) if chain.author == self.device => {
                self.news.send_modify(|news| news.own_forks += 1);
            }
            MeshEvent::Replica(Event::InStep { .. }) => self.agreed(),
            MeshEvent::Replica(_) | MeshEvent::Linked { .. } | MeshEvent::Unlinked { .. } => {}
        }
        // Nobody listening is fine: events are for those who wait for something.
        let _ = self.events.send(event);
    }

    /// The policy that counts.
    pub(crate) fn policy(&self) -> Arc<Policy> {
        self.policy.read().expect("no holder of this lock panics").clone()
    }
}

struct MeshTask {
    replica: Replica,
    /// The keys of this device, for receipts.
    keys: DeviceKeys,
    /// Batches whose signature was lost before it was durable: they lie in the log and do not
    /// count until they come again.
    unheld: BTreeSet<BatchId>,
    /// Up to which moment it is durable that receipts may have been signed.
    signed_until: Option<Moment>,
    store: Arc<Store>,
    places: Arc<Places>,
    /// What is lacking because it was damaged.
    harms: Arc<Harms>,
    projector: Projector,
    mesh: Mesh,
    links: BTreeMap<LinkId, Link>,
    in_step: BTreeSet<LinkId>,
    /// What passed over links that are gone, by device.
    earlier: BTreeMap<DeviceId, LinkStats>,
    next_link: u64,
    tally: Tally,
    books: Books,
    watch: Watch,
    refusals: Refusals,
    refusing: Refusing,
    raising: Raising,
    tasks: JoinSet<()>,
}

impl MeshTask {
    async fn run(mut self, mut inbox: Inbox) {
        loop {
            let mut next = inbox.next(self.time_to_deadline()).await;
            while let Some(call) = next {
                if matches!(call, Call::Stop) {
                    return self.stop();
                }
                self.handle(call);
                self.refuse_due();
                next = inbox.more();
            }
            while self.tasks.try_join_next().is_some() {}
        }
    }

    fn time_to_deadline(&self) -> Duration {
        const IDLE: Duration = Duration::from_secs(3_600);
        let deadlines =
            [self.replica.deadline(), self.raising.deadline(), self.refusing.deadline()];
        let Some(deadline) = deadlines.into_iter().flatten().min() else { return IDLE };
        let millis = u64::try_from(deadline.millis_since(clock::steady())).unwrap_or(0);
        Duration::from_millis(millis).min(IDLE)
    }

    fn handle(&mut self, call: Call) {
        match call {
            Call::Input(input) => {
                self.tally.count(&input);
                self.notice(&input);
                if let Input::LocalItem { item } = &input {
                    self.mesh.heard(item);
                }
                let is_news = matches!(input, Input::LocalBatch { .. });
                self.feed(input);
                if is_news {
                    // Nobody is in step with what was sealed a moment ago before it says so.
                    self.in_step.clear();
                    self.feed(Input::Resync { link: None });
                }
            }
            Call::Attach { connection, address, part, reply } => {
                let link = self.attach(connection, address, part);
                let _ = reply.send(link);
            }
            Call::Ended { link, reason, parting } => self.ended(link, &reason, parting),
            Call::StoreFailed { link, lost, error } => self.store_failed(link, lost, &error),
            Call::Detach(link) => self.drop_link(link, "everything is in step"),
            Call::Snapshot(reply) => {
                let _ = reply.send(self.snapshot());
            }
            Call::Dealings(reply) => {
                let _ = reply.send(self.books.take());
            }
            Call::Arrived(batches) => {
                for (author, written) in batches {
                    self.books.arrived(author, written, clock::now());
                }
            }
            Call::Proofs { batches, reply } => {
                let proofs = batches.iter().map(|id| self.replica.proof(id)).collect();
                let _ = reply.send(proofs);
            }
            Call::Holders { batches, reply } => {
                let holders = batches.iter().map(|id| self.replica.holders(id)).collect();
                let _ = reply.send(holders);
            }
            Call::ItemsLost(ids) => self.write_items_again(&ids),
            Call::Wanted { filter, reply } => {
                self.want_only(filter);
                let _ = reply.send(());
            }
            Call::SignedUntil(until) => self.signed_until = self.signed_until.max(Some(until)),
            Call::EpochRaised(epoch) => {
                self.raising.done();
                self.feed(Input::EpochRaised { epoch });
            }
            Call::EpochNotRaised => self.raising.failed(clock::steady()),
            Call::Stop => unreachable!("the loop ends before it is handed on"),
        }
    }

    /// Draws what this task itself concludes from an input on its way to the replica.
    fn notice(&mut self, input: &Input) {
        let now = clock::steady();
        match input {
            Input::Control { link, bytes } | Input::Data { link, bytes, .. } => {
                if let Some(link) = self.links.get(link) {
                    self.books.received(link.device, bytes.len(), clock::now());
                }
            }
            Input::DataWritten { link, .. } => self.refusing.moved(*link, now),
            Input::BatchesLoaded { link, batches } => {
                self.mesh.freights.sent(*link, changes(batches));
            }
            Input::BatchesStored { .. } | Input::ItemsStored { .. } => {
                self.raising.store_works(now);
            }
            _ => {}
        }
        if let Some(epoch) = self.raising.due(now) {
            self.raise_epoch(epoch);
        }
    }

    /// Feeds one input and performs everything that follows from it.
    fn feed(&mut self, input: Input) {
        let now: Moment = clock::steady();
        if let Err(error) = self.replica.handle(now, input) {
            tracing::debug!(%error, "the replica refused an input");
        }
        while let Some(output) = self.replica.poll() {
            self.perform(output);
        }
    }

    fn want_only(&mut self, filter: Filter) {
        let links: Vec<LinkId> = self.links.keys().copied().collect();
        for link in links {
            self.spare(link);
            self.drop_link(link, "another part of the records is exchanged from here on");
        }
        self.feed(Input::Wanted { filter });
    }

    fn snapshot(&mut self) -> Snapshot {
        Snapshot {
            root: self.replica.root().0.iter().map(|byte| format!("{byte:02x}")).collect(),
            batches: self.replica.len() as u64,
            links: self
                .links
                .iter()
                .map(|(id, link)| LinkState {
                    id: *id,
                    device: link.device,
                    address: link.address.clone(),
                    in_step: self.in_step.contains(id),
                    is_dialled: link.is_dialled,
                    transport: link.transport,
                    part: link.part.clone(),
                    held_back: self.replica.held_back(*id),
                    stats: self.replica.stats(*id).unwrap_or_default(),
                    earlier: self.earlier.get(&link.device).copied().unwrap_or_default(),
                    is_finishing: self.replica.is_finishing(*id),
                })
                .collect(),
            tally: self.tally.clone(),
            forks: self.replica.forks().take(LISTED_MAX).collect(),
            gaps: self.replica.gaps().take(LISTED_MAX).collect(),
            watch: self.watch.clone(),
            critical: self.replica.critical_scopes(),
            earlier: self.earlier.clone(),
        }
    }

    fn proofs_changed(&self) {
        self.mesh.proofs.fetch_add(1, Ordering::Relaxed);
    }

    fn stop(mut self) {
        let links: Vec<LinkId> = self.links.keys().copied().collect();
        for link in links {
            self.spare(link);
            self.drop_link(link, "the device is shutting down");
        }
    }
}
