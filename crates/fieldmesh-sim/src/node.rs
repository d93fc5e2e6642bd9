//! One participant: its replica, its disk, and what it saw.

use std::collections::{BTreeMap, BTreeSet};

use fieldmesh_model::{BatchId, DeviceId, Moment, StoreId};
use fieldmesh_replica::{Config, LinkId, Replica};
use fieldmesh_trie::Key;

use crate::author::Author;
use crate::disk::Disk;
use crate::random::Random;

/// A device or a relay.
pub(crate) struct Node {
    pub(crate) author: Author,
    pub(crate) replica: Replica,
    pub(crate) disk: Disk,
    /// Whether it is switched on.
    pub(crate) is_awake: bool,
    /// Whether it writes batches.
    pub(crate) is_writer: bool,
    /// How often it was started; what an earlier run asked of the disk does not matter.
    pub(crate) run: u64,
    /// When everything asked of the disk so far is durable.
    pub(crate) disk_due: i64,
    /// Its part of the network while that is in parts.
    pub(crate) part: usize,
    pub(crate) next_link: u64,
    /// What was asked of the disk for each link, to be sent.
    pub(crate) sent: BTreeMap<LinkId, BTreeSet<BatchId>>,
    /// When each batch became durable here.
    pub(crate) held_since: BTreeMap<Key, Moment>,
    ingest_window: u32,
    config: Config,
}

/// The ingest window of a relay.
const RELAY_WINDOW: u32 = 4 << 20;

impl Node {
    pub(crate) fn new(author: Author, disk: Disk, is_writer: bool, random: &mut Random) -> Self {
        let config = Config {
            tenant: author.tenant(),
            device: author.keys().device(),
            store: StoreId::from_bytes(random.array()),
            store_epoch: 1,
        };
        let ingest_window =
            if is_writer { fieldmesh_replica::limits::INGEST_WINDOW_DEFAULT } else { RELAY_WINDOW };
        Self {
            replica: start(config, &disk, ingest_window),
            held_since: disk.keys().map(|key| (key, Moment::ZERO)).collect(),
            author,
            disk,
            is_awake: true,
            is_writer,
            run: 0,
            disk_due: 0,
            part: 0,
            next_link: 1,
            sent: BTreeMap::new(),
            ingest_window,
            config,
        }
    }

    pub(crate) fn device(&self) -> DeviceId {
        self.config.device
    }

    /// Starts again from the disk.
    pub(crate) fn restart(&mut self, random: &mut Random) {
        self.run += 1;
        self.author.begin_epoch(random);
        self.sent.clear();
        self.replica = start(self.config, &self.disk, self.ingest_window);
    }

    pub(crate) fn has_link_to(&self, peer: &DeviceId) -> bool {
        self.replica.links().any(|(_, device)| device == *peer)
    }

    pub(crate) fn take_link(&mut self) -> LinkId {
        self.next_link += 1;
        LinkId(self.next_link - 1)
    }
}

fn start(config: Config, disk: &Disk, ingest_window: u32) -> Replica {
    Replica::new(config, disk.items(), disk.keys()).with_ingest_window(ingest_window)
}
