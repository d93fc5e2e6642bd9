//! One participant: its replica, its disk, its clock, and what it saw.

use std::collections::{BTreeMap, BTreeSet};

use fieldmesh_batch::{Chain, Receipt};
use fieldmesh_identity::Access;
use fieldmesh_model::{BatchId, DeviceId, Filter, Moment, Scope, StoreId};
use fieldmesh_replica::{Config, Doubt, Held, LinkId, Replica};
use fieldmesh_trie::Key;

use crate::author::Author;
use crate::clock::Clock;
use crate::disk::Disk;
use crate::meter::Meter;
use crate::notebook::Notebook;
use crate::random::Random;

/// What a node is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// It writes.
    Device,
    /// It stores and forwards, for several tenants.
    Relay,
    /// It breaks the protocol.
    Hostile,
    /// It is one of two relays that have one key and one store, and tell each other nothing.
    Face,
    /// It keeps to the protocol and signs two batches for one place of its chains.
    Forker,
}

/// What a node holds and speaks.
#[derive(Debug, Clone, Default)]
pub(crate) struct Share {
    pub(crate) filter: Filter,
    pub(crate) read: Access,
    pub(crate) is_old: bool,
    /// A store that another node calls its own too.
    pub(crate) store: Option<StoreId>,
}

/// A device or a relay, as one tenant knows it.
pub(crate) struct Node {
    pub(crate) part: Part,
    pub(crate) tenant: usize,
    /// Nodes of one machine fail together.
    pub(crate) machine: usize,
    pub(crate) author: Author,
    pub(crate) replica: Replica,
    pub(crate) disk: Disk,
    pub(crate) clock: Clock,
    pub(crate) notebook: Notebook,
    pub(crate) meter: Meter,
    /// Whether it is switched on.
    pub(crate) is_awake: bool,
    /// Until when its disk refuses everything.
    pub(crate) is_full_until: i64,
    /// How often it was started; what an earlier run asked of the disk does not matter.
    pub(crate) run: u64,
    /// When it was started last.
    pub(crate) run_began: i64,
    /// When everything asked of the disk so far is durable.
    pub(crate) disk_due: i64,
    /// Its side of the network while that is in two.
    pub(crate) half: usize,
    pub(crate) next_link: u64,
    /// What was asked of the disk for each link, to be sent.
    pub(crate) sent: BTreeMap<LinkId, BTreeSet<BatchId>>,
    /// What each link was the first to bring.
    pub(crate) got: BTreeMap<LinkId, BTreeSet<BatchId>>,
    /// When each batch became durable here, in the time of the world.
    pub(crate) held_since: BTreeMap<Key, i64>,
    /// What it wants to hold.
    pub(crate) filter: Filter,
    /// The first month that it holds of all.
    pub(crate) since: u32,
    /// Up to where chains of its own went that it let go, as its disk has it.
    pub(crate) let_go: BTreeMap<Chain, u64>,
    /// What it may read.
    pub(crate) read: Access,
    /// Whether it speaks the first version of the protocol only.
    pub(crate) is_old: bool,
    /// The receipts it keeps, as its disk does.
    pub(crate) receipts: Vec<Receipt>,
    /// What it does not believe of others, as its disk has it.
    pub(crate) doubts: Vec<Doubt>,
    /// The latest moment for which it has signed, as its disk has it.
    pub(crate) signed_until: Option<Moment>,
    /// A copy of its disk that was made during the day.
    pub(crate) copy: Option<Copy>,
    /// Whether its disk was put back from that.
    pub(crate) was_put_back: bool,
    /// The batches that it signed receipts for and cannot have lost since.
    pub(crate) promised: BTreeSet<BatchId>,
    /// All that it ever signed receipts for.
    pub(crate) ever_promised: BTreeSet<BatchId>,
    pub(crate) ingest_window: u32,
    config: Config,
}

/// What was on a disk at a time.
pub(crate) struct Copy {
    disk: Disk,
    receipts: Vec<Receipt>,
    doubts: Vec<Doubt>,
    signed_until: Option<Moment>,
    store_epoch: u64,
}

/// The ingest window of a relay.
const RELAY_WINDOW: u32 = 4 << 20;

impl Node {
    pub(crate) fn new(
        part: Part,
        (tenant, machine): (usize, usize),
        author: Author,
        disk: Disk,
        share: Share,
        random: &mut Random,
    ) -> Self {
        let Share { filter, read, is_old, store } = share;
        let config = Config {
            tenant: author.tenant(),
            device: author.keys().device(),
            store: store.unwrap_or_else(|| StoreId::from_bytes(random.array())),
            store_epoch: 1,
        };
        let ingest_window = match part {
            Part::Device | Part::Forker | Part::Hostile => {
                fieldmesh_replica::limits::INGEST_WINDOW_DEFAULT
            }
            Part::Relay | Part::Face => RELAY_WINDOW,
        };
        Self {
            part,
            tenant,
            machine,
            replica: start(config, &disk, (ingest_window, &filter, is_old)),
            held_since: disk.keys().map(|key| (key, i64::MIN)).collect(),
            author,
            disk,
            clock: Clock::default(),
            notebook: Notebook::default(),
            meter: Meter::default(),
            is_awake: true,
            is_full_until: 0,
            run: 0,
            run_began: 0,
            disk_due: 0,
            half: 0,
            next_link: 1,
            sent: BTreeMap::new(),
            got: BTreeMap::new(),
            filter,
            since: 0,
            let_go: BTreeMap::new(),
            read,
            is_old,
            receipts: Vec::new(),
            doubts: Vec::new(),
            signed_until: None,
            copy: None,
            was_put_back: false,
            promised: BTreeSet::new(),
            ever_promised: BTreeSet::new(),
            ingest_window,
            config,
        }
    }

    pub(crate) const fn device(&self) -> DeviceId {
        self.config.device
    }

    pub(crate) fn is_honest(&self) -> bool {
        !matches!(self.part, Part::Hostile | Part::Face)
    }

    /// Whether it writes batches.
    pub(crate) fn writes(&self) -> bool {
        matches!(self.part, Part::Device | Part::Forker)
    }

    /// Starts again from the disk.
    pub(crate) fn restart(&mut self, random: &mut Random) {
        self.run += 1;
        self.author.begin_epoch(random);
        self.clock.restart();
        self.sent.clear();
        self.got.clear();
        self.meter = Meter::default();
        let how = (self.ingest_window, &self.filter, self.is_old);
        let replica = start(self.config, &self.disk, how);
        self.replica = replica
            .with_let_go(self.let_go.clone())
            .with_signed(self.signed_until)
            .with_doubts(self.doubts.iter().copied())
            .with_receipts(self.receipts.iter().cloned());
    }

    /// Somebody copies its disk.
    pub(crate) fn copy_disk(&mut self) {
        self.copy = Some(Copy {
            disk: self.disk.clone(),
            receipts: self.receipts.clone(),
            doubts: self.doubts.clone(),
            signed_until: self.signed_until,
            store_epoch: self.config.store_epoch,
        });
    }

    /// Somebody puts the copy in the place of its disk; it has to be started again.
    pub(crate) fn put_back(&mut self) {
        let Some(copy) = self.copy.take() else { return };
        (self.disk, self.receipts, self.doubts) = (copy.disk, copy.receipts, copy.doubts);
        (self.signed_until, self.config.store_epoch) = (copy.signed_until, copy.store_epoch);
        self.was_put_back = true;
        let disk = &self.disk;
        self.promised.retain(|batch| disk.batch(batch).is_some());
        let keys: BTreeSet<Key> = disk.keys().collect();
        self.held_since.retain(|key, _| keys.contains(key));
    }

    /// Its disk cannot give these any more.
    pub(crate) fn spoil(&mut self, ids: &[BatchId]) {
        for batch in ids.iter().filter_map(|id| self.disk.remove(id)) {
            self.held_since.remove(&Key::from_bytes(batch.key_bytes()));
            self.promised.remove(&batch.id());
        }
        self.was_put_back = true;
    }

    /// It knows from here on that it was put back.
    pub(crate) const fn raise_epoch(&mut self, epoch: u64) {
        self.config.store_epoch = epoch;
    }

    /// The root that a replica with the same batches, told in another order, has.
    pub(crate) fn rebuilt(&self) -> Replica {
        let mut held: Vec<Held> = self.disk.held().collect();
        held.sort_by_key(|held| std::cmp::Reverse(held.id));
        Replica::new(self.config, self.disk.items(), held)
    }

    /// Whether a batch on the disk counts.
    pub(crate) fn counts(&self, batch: &BatchId) -> bool {
        self.replica.holds(batch) && !self.replica.is_aside(batch)
    }

    /// Whether it holds what lies in `scope`.
    pub(crate) fn wants(&self, scope: &Scope) -> bool {
        self.filter.admits(scope) && self.read.allows(scope)
    }

    pub(crate) fn has_link_to(&self, peer: &DeviceId) -> bool {
        self.replica.links().any(|(_, device)| device == *peer)
    }

    pub(crate) fn take_link(&mut self) -> LinkId {
        self.next_link += 1;
        LinkId(self.next_link - 1)
    }

    /// What the replica is told of the time.
    pub(crate) const fn moment(&self, now: i64) -> Moment {
        self.clock.steady(now)
    }
}

fn start(
    config: Config,
    disk: &Disk,
    (ingest_window, filter, is_old): (u32, &Filter, bool),
) -> Replica {
    let replica = Replica::new(config, disk.items(), disk.held())
        .with_ingest_window(ingest_window)
        .with_filter(filter.clone());
    if is_old { replica.with_versions(1, 1) } else { replica }
}
