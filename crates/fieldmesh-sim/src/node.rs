//! One participant: its replica, its disk, its clock, and what it saw.

use std::collections::{BTreeMap, BTreeSet};

use fieldmesh_model::{BatchId, DeviceId, Moment, StoreId};
use fieldmesh_replica::{Config, LinkId, Replica};
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
    /// When everything asked of the disk so far is durable.
    pub(crate) disk_due: i64,
    /// Its side of the network while that is in two.
    pub(crate) half: usize,
    pub(crate) next_link: u64,
    /// What was asked of the disk for each link, to be sent.
    pub(crate) sent: BTreeMap<LinkId, BTreeSet<BatchId>>,
    /// When each batch became durable here, in the time of the world.
    pub(crate) held_since: BTreeMap<Key, i64>,
    pub(crate) ingest_window: u32,
    config: Config,
}

/// The ingest window of a relay.
const RELAY_WINDOW: u32 = 4 << 20;

impl Node {
    pub(crate) fn new(
        part: Part,
        (tenant, machine): (usize, usize),
        author: Author,
        disk: Disk,
        random: &mut Random,
    ) -> Self {
        let config = Config {
            tenant: author.tenant(),
            device: author.keys().device(),
            store: StoreId::from_bytes(random.array()),
            store_epoch: 1,
        };
        let ingest_window = match part {
            Part::Device | Part::Hostile => fieldmesh_replica::limits::INGEST_WINDOW_DEFAULT,
            Part::Relay => RELAY_WINDOW,
        };
        Self {
            part,
            tenant,
            machine,
            replica: start(config, &disk, ingest_window),
            held_since: disk.keys().map(|key| (key, i64::MIN)).collect(),
            author,
            disk,
            clock: Clock::default(),
            notebook: Notebook::default(),
            meter: Meter::default(),
            is_awake: true,
            is_full_until: 0,
            run: 0,
            disk_due: 0,
            half: 0,
            next_link: 1,
            sent: BTreeMap::new(),
            ingest_window,
            config,
        }
    }

    pub(crate) const fn device(&self) -> DeviceId {
        self.config.device
    }

    pub(crate) fn is_honest(&self) -> bool {
        self.part != Part::Hostile
    }

    /// Starts again from the disk.
    pub(crate) fn restart(&mut self, random: &mut Random) {
        self.run += 1;
        self.author.begin_epoch(random);
        self.clock.restart();
        self.sent.clear();
        self.meter = Meter::default();
        self.replica = start(self.config, &self.disk, self.ingest_window);
    }

    /// The root that a replica with the same batches, told in another order, has.
    pub(crate) fn rebuilt(&self) -> Replica {
        let mut keys: Vec<Key> = self.disk.keys().collect();
        keys.sort_by_key(|key| std::cmp::Reverse(key.id()));
        Replica::new(self.config, Vec::new(), keys)
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

fn start(config: Config, disk: &Disk, ingest_window: u32) -> Replica {
    Replica::new(config, disk.items(), disk.keys()).with_ingest_window(ingest_window)
}
