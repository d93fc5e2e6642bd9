//! A replica with its store in memory, talking over real connections: the runtime in small.
//!
//! Everything that knows the interface of replica and batch is in this file.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fieldmesh_batch::{Batch, Draft, Leaf, Priority};
use fieldmesh_identity::{Certificate, DeviceKeys, Item, Policy, Statement};
use fieldmesh_model::{BatchId, DocumentId, Epoch, ItemId, Moment, Role, Scope, StoreId, UserId};
use fieldmesh_replica::{
    CloseReason, Config, Event, Held, Input, Lane, LinkId, LinkStats, Output, Replica,
    SessionError, Side,
};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::Tenant;
use crate::{CloseCode, ClosedReason, Connection, LaneError, Receiver, StreamError};

/// The most bytes one read takes from a stream.
const READ_MAX: usize = 64 * 1024;

/// One device of the tenant; clones are handles to the same one.
#[derive(Clone)]
pub(super) struct Participant {
    core: Arc<Mutex<Core>>,
    /// Changes with everything that happens.
    changes: watch::Sender<()>,
    tasks: Arc<Mutex<JoinSet<()>>>,
}

struct Core {
    replica: Replica,
    keys: DeviceKeys,
    last: Option<(u64, BatchId)>,
    disk: BTreeMap<BatchId, Batch>,
    links: BTreeMap<LinkId, Queues<mpsc::UnboundedSender<Vec<u8>>>>,
    next_link: u64,
    /// When both sets were found equal, and what it took.
    in_step: Vec<(Duration, LinkStats)>,
    faults: Vec<String>,
    began: Instant,
}

/// What waits to be written.
struct Queues<T> {
    control: T,
    data: [T; 3],
}

/// The policy items that make these devices members.
pub(super) fn members(tenant: &Tenant, devices: [&DeviceKeys; 2]) -> Vec<Item> {
    let mut items = vec![tenant.genesis.clone()];
    for keys in devices {
        let user = UserId::from_bytes([keys.public_key()[0]; 16]);
        let certificate = Certificate::new(keys.public_key(), "Tablet", user, Role::Operator);
        let place =
            Policy::evaluate(tenant.id(), &items).next_place(&tenant.authority.public_key());
        let statement = Statement::Certificate(Box::new(certificate));
        items.push(Item::sign(&tenant.authority, tenant.id(), place, &statement).unwrap());
    }
    items
}

impl Participant {
    pub(super) fn new(items: Vec<Item>, keys: &DeviceKeys) -> Self {
        let config = Config {
            tenant: items[0].tenant(),
            device: keys.device(),
            store: StoreId::from_bytes([keys.public_key()[0]; 16]),
            store_epoch: 1,
        };
        let core = Core {
            replica: Replica::new(config, items, []),
            keys: keys.clone(),
            last: None,
            disk: BTreeMap::new(),
            links: BTreeMap::new(),
            next_link: 1,
            in_step: Vec::new(),
            faults: Vec::new(),
            began: Instant::now(),
        };
        let core = Arc::new(Mutex::new(core));
        let changes = watch::Sender::new(());
        let participant = Self { core, changes, tasks: Arc::default() };
        let ticking = participant.clone();
        lock(&participant.tasks).spawn(async move { ticking.tick().await });
        participant
    }

    /// Seals a batch with a change of `size` bytes, of which half repeat.
    pub(super) fn record(&self, size: usize) {
        let mut core = self.core();
        let batch = core.seal(size);
        let held = Held::of(&batch);
        core.disk.insert(batch.id(), batch);
        core.handle(Input::LocalBatch { held });
        self.changes.send_replace(());
    }

    /// Talks over a connection until either side ends it.
    pub(super) fn attach(&self, connection: Connection) -> LinkId {
        let mut core = self.core();
        let link = LinkId(core.next_link);
        core.next_link += 1;
        let (control, control_queue) = mpsc::unbounded_channel();
        let [urgent, recent, backfill] = [(); 3].map(|()| mpsc::unbounded_channel());
        let data = [urgent.0, recent.0, backfill.0];
        let data_queues = [urgent.1, recent.1, backfill.1];
        core.links.insert(link, Queues { control, data });
        let side = match connection.side() {
            crate::Side::Dialled => Side::Dialled,
            crate::Side::Accepted => Side::Accepted,
        };
        let (peer, channel_key) = (connection.peer(), connection.channel_key());
        core.handle(Input::LinkUp { link, peer, side, channel_key, filter: None });
        let queues = Queues { control: control_queue, data: data_queues };
        let own = self.clone();
        lock(&self.tasks).spawn(async move { own.drive(link, connection, queues).await });
        self.changes.send_replace(());
        link
    }

    /// Ends everything that it does.
    pub(super) fn leave(&self) {
        lock(&self.tasks).abort_all();
    }

    /// Compares the roots over all links.
    pub(super) fn check(&self) {
        self.input(Input::Resync { link: None });
    }

    /// How many connections there were.
    pub(super) fn links(&self) -> u64 {
        self.core().next_link - 1
    }

    /// The number of durable batches.
    pub(super) fn count(&self) -> usize {
        self.core().replica.len()
    }

    /// Equal for equal sets.
    pub(super) fn root(&self) -> Vec<u8> {
        self.core().replica.root().0.to_vec()
    }

    /// How often both sets were found equal.
    pub(super) fn checks(&self) -> usize {
        self.core().in_step.len()
    }

    /// When both sets were last found equal, and what the link took so far.
    pub(super) fn in_step(&self) -> Option<(Duration, LinkStats)> {
        self.core().in_step.last().copied()
    }

    /// What a link that is up took and moved so far.
    pub(super) fn stats(&self, link: LinkId) -> Option<LinkStats> {
        self.core().replica.stats(link)
    }

    /// Waits until a look at this participant says so.
    pub(super) async fn until(&self, is_so: impl Fn(&Self) -> bool) {
        let mut changes = self.changes.subscribe();
        while !is_so(self) {
            assert_eq!(self.core().faults, Vec::<String>::new());
            changes.changed().await.unwrap();
        }
    }

    fn core(&self) -> MutexGuard<'_, Core> {
        lock(&self.core)
    }

    fn input(&self, input: Input) {
        self.core().handle(input);
        self.changes.send_replace(());
    }

    async fn tick(&self) {
        let mut changes = self.changes.subscribe();
        loop {
            changes.mark_unchanged();
            let due = self.core().due();
            let alarm = async {
                match due {
                    Some(due) => sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                changed = changes.changed() => changed.unwrap(),
                () = alarm => self.input(Input::Tick),
            }
        }
    }

    async fn drive(
        &self,
        link: LinkId,
        connection: Connection,
        queues: Queues<mpsc::UnboundedReceiver<Vec<u8>>>,
    ) {
        // However it ends, the replica decides what follows.
        let _ = self.converse(link, &connection, queues).await;
        connection.close(CloseCode::Done, "");
        self.core().links.remove(&link);
        self.input(Input::LinkDown { link });
    }

    async fn converse(
        &self,
        link: LinkId,
        connection: &Connection,
        mut queues: Queues<mpsc::UnboundedReceiver<Vec<u8>>>,
    ) -> Result<(), ClosedReason> {
        let (mut tell, mut told) = connection.control().await?;
        let hear_control = async {
            while let Some(bytes) = told.read_chunk(READ_MAX).await? {
                self.input(Input::Control { link, bytes });
            }
            Err(StreamError::Finished)
        };
        let say_control = async {
            while let Some(bytes) = queues.control.recv().await {
                tell.write(&bytes).await?;
                self.input(Input::ControlWritten { link, bytes: bytes.len() });
            }
            tell.finish()?;
            tell.received().await
        };
        let [urgent, recent, backfill] = &mut queues.data;
        tokio::select! {
            biased;
            ended = hear_control => ended,
            ended = self.hear_lanes(link, connection) => ended,
            ended = say_control => ended,
            ended = self.say(link, Lane::Urgent, connection, urgent) => ended,
            ended = self.say(link, Lane::Recent, connection, recent) => ended,
            ended = self.say(link, Lane::Backfill, connection, backfill) => ended,
        }
        .map_err(closed)
    }

    async fn hear_lanes(&self, link: LinkId, connection: &Connection) -> Result<(), StreamError> {
        let mut readers = JoinSet::new();
        loop {
            let (code, receiver) = connection.accept_lane().await.map_err(broken)?;
            let lane = Lane::ALL[usize::from(code)];
            let own = self.clone();
            readers.spawn(async move { own.hear(link, lane, receiver).await });
        }
    }

    async fn hear(&self, link: LinkId, lane: Lane, mut receiver: Receiver) {
        while let Ok(Some(bytes)) = receiver.read_chunk(READ_MAX).await {
            self.input(Input::Data { link, lane, bytes });
        }
    }

    async fn say(
        &self,
        link: LinkId,
        lane: Lane,
        connection: &Connection,
        queue: &mut mpsc::UnboundedReceiver<Vec<u8>>,
    ) -> Result<(), StreamError> {
        let mut stream = None;
        while let Some(bytes) = queue.recv().await {
            if stream.is_none() {
                stream = Some(connection.open_lane(lane.code()).await.map_err(broken)?);
            }
            if let Some(stream) = &mut stream {
                stream.write(&bytes).await?;
            }
            self.input(Input::DataWritten { link, lane, bytes: bytes.len() });
        }
        std::future::pending().await
    }
}

fn closed(error: StreamError) -> ClosedReason {
    match error {
        StreamError::Closed(reason) => reason,
        StreamError::GivenUp | StreamError::Finished => ClosedReason::Here,
    }
}

fn broken(error: LaneError) -> StreamError {
    match error {
        LaneError::Closed(reason) => StreamError::Closed(reason),
        LaneError::Stream(error) => error,
        LaneError::Unknown { .. } | LaneError::Repeated { .. } => StreamError::Finished,
    }
}

impl Core {
    fn now(&self) -> Moment {
        let millis = i64::try_from(self.began.elapsed().as_millis()).unwrap_or(i64::MAX);
        Moment::from_millis(1_700_000_000_000 + millis)
    }

    fn due(&self) -> Option<Instant> {
        let left = self.replica.deadline()?.millis_since(self.now());
        Some(Instant::now() + Duration::from_millis(u64::try_from(left).unwrap_or(0)))
    }

    fn handle(&mut self, input: Input) {
        let now = self.now();
        self.replica.handle(now, input).unwrap();
        while let Some(output) = self.replica.poll() {
            self.perform(now, output);
        }
    }

    fn perform(&mut self, now: Moment, output: Output) {
        match output {
            Output::Control { link, bytes } => {
                if let Some(queues) = self.links.get(&link) {
                    let _ = queues.control.send(bytes);
                }
            }
            Output::Data { link, lane, bytes } => {
                if let Some(queues) = self.links.get(&link) {
                    let _ = queues.data[usize::from(lane.code())].send(bytes);
                }
            }
            Output::Sign { link, receipt } => {
                let bytes = receipt.sign(self.keys.signing_key());
                self.replica.handle(now, Input::Signed { link, bytes }).unwrap();
            }
            Output::RaiseEpoch { epoch } => {
                self.replica.handle(now, Input::EpochRaised { epoch }).unwrap();
            }
            Output::StoreBatches { batches, .. } => {
                let ids = batches.iter().map(Batch::id).collect();
                self.disk.extend(batches.into_iter().map(|batch| (batch.id(), batch)));
                self.replica.handle(now, Input::BatchesStored { ids }).unwrap();
            }
            Output::StoreItems { items, .. } => {
                let ids: Vec<ItemId> = items.iter().map(Item::id).collect();
                self.replica.handle(now, Input::ItemsStored { ids }).unwrap();
            }
            Output::Load { link, ids } => {
                let batches = ids.iter().map(|id| self.disk[id].clone()).collect();
                self.replica.handle(now, Input::BatchesLoaded { link, batches }).unwrap();
            }
            Output::Close { link, reason } => {
                self.links.remove(&link);
                // Silence is what a bad network sounds like.
                let is_silence = matches!(reason, CloseReason::Fault(SessionError::Silent));
                if reason.is_fault() && !is_silence {
                    self.faults.push(format!("{link:?}: {reason:?}"));
                }
            }
            Output::Event(Event::InStep { stats, .. }) => {
                self.in_step.push((self.began.elapsed(), stats));
            }
            Output::Event(event @ (Event::Refused { .. } | Event::Stalled { .. })) => {
                self.faults.push(format!("{event:?}"));
            }
            Output::Event(_) => {}
        }
    }

    fn seal(&mut self, size: usize) -> Batch {
        let (before, previous) = self.last.unwrap_or_default();
        let sequence = before + 1;
        let now = self.now();
        let mut random = blake3::Hasher::new();
        random.update(self.keys.device().as_bytes()).update(&sequence.to_be_bytes());
        let mut change = vec![b'a'; size];
        random.finalize_xof().fill(&mut change[size / 2..]);
        let mut document = [0x80; 16];
        document[..8].copy_from_slice(&sequence.to_be_bytes());
        let draft = Draft {
            tenant: self.replica.config().tenant,
            scope: Scope::of(3, 0, now),
            author: self.keys.device(),
            epoch: Epoch(1),
            sequence,
            previous,
            priority: Priority::NORMAL,
            first: now,
            last: now,
            leaves: vec![Leaf { document: DocumentId::from_bytes(document), change }],
        };
        let batch = Batch::seal(draft, self.keys.signing_key(), [7; 16]).unwrap();
        self.last = Some((sequence, batch.id()));
        batch
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
