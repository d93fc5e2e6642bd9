//! A disk in memory that tells written from synced bytes, crashes, and fails on request.
//!
//! It is stricter than most file systems: bytes survive a crash for certain only after a sync of
//! their file, names only after a sync of their folder, and what a failed sync should have written
//! is lost for good, as on Linux. The simulator and the crash tests run the store on it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::files::{Files, ReadFile, WriteFile};

/// Bytes that survive a crash together or not at all.
const PAGE: usize = 4096;

/// What of the unsynced writes a crash leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crash {
    /// Nothing that was not synced.
    NothingUnsynced,
    /// Random pages of it, in any combination, chosen by the seed.
    Pieces {
        /// Decides which.
        seed: u64,
    },
    /// Everything: only the process ended, and the system still holds what it wrote. It is as
    /// unsynced as before.
    ProcessOnly,
}

/// How an operation that changes the disk fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The disk is full: half of a write arrives.
    NoSpace,
    /// The disk reports an error: half of a write arrives, or a sync loses what it should keep.
    Io,
    /// The power goes: this and everything after it fails until [`MemoryFiles::crash`].
    PowerOff,
}

/// A disk in memory; clones are the same disk.
#[derive(Clone, Default)]
pub struct MemoryFiles {
    disk: Arc<Mutex<Disk>>,
}

#[derive(Default)]
struct Disk {
    nodes: BTreeMap<u64, Node>,
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    pending_names: Vec<NameChange>,
    /// Counts crashes, so that handles from before one are dead.
    boots: u64,
    changes: u64,
    faults: BTreeMap<u64, Fault>,
    is_off: bool,
    free_bytes: Option<u64>,
    dead_sectors: BTreeSet<(u64, u64)>,
}

#[derive(Default)]
struct Node {
    content: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Change>,
    /// Covered by a failed sync: no later sync writes them, but a crash may find them written.
    doubtful: Vec<Change>,
}

enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Truncate { length: usize },
}

enum NameChange {
    Link { name: String, node: u64 },
    Unlink { name: String },
    Rename { from: String, to: String },
}

impl MemoryFiles {
    /// An empty disk.
    pub fn new() -> Self {
        Self::default()
    }

    /// The number of operations so far that changed the disk or tried to.
    pub fn changes(&self) -> u64 {
        self.disk().changes
    }

    /// Lets the operation number `at` (as [`MemoryFiles::changes`] counts, from 0) fail.
    pub fn fail_at(&self, at: u64, fault: Fault) {
        self.disk().faults.insert(at, fault);
    }

    /// Says how many bytes are free from here on; unlimited at first.
    pub fn set_free_bytes(&self, free: u64) {
        self.disk().free_bytes = Some(free);
    }

    /// The power goes and comes back: handles are dead, unsynced bytes and names may be gone.
    pub fn crash(&self, crash: Crash) {
        self.disk().crash(crash);
    }

    /// The 4 KiB of a file around `offset` cannot be read any more.
    ///
    /// # Panics
    ///
    /// There is no such file.
    pub fn lose_sector(&self, name: &str, offset: u64) {
        let mut disk = self.disk();
        let node = disk.names[name];
        disk.dead_sectors.insert((node, offset / PAGE as u64));
    }

    /// Every file and its bytes as a reader sees them.
    pub fn contents(&self) -> BTreeMap<String, Vec<u8>> {
        let disk = self.disk();
        disk.names.iter().map(|(name, node)| (name.clone(), disk.content(*node))).collect()
    }

    /// A disk of its own with the same files, everything synced.
    pub fn fork(&self) -> Self {
        let copy = Self::new();
        for (name, content) in self.contents() {
            copy.place(&name, content);
        }
        copy
    }

    /// Puts a file on the disk, synced, replacing one of that name.
    pub fn place(&self, name: &str, content: Vec<u8>) {
        let mut disk = self.disk();
        let node = disk.new_node();
        disk.nodes
            .insert(node, Node { content: content.clone(), durable: content, ..Node::default() });
        disk.names.insert(name.to_owned(), node);
        disk.durable_names.insert(name.to_owned(), node);
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Disk {
    fn content(&self, node: u64) -> Vec<u8> {
        self.nodes.get(&node).map(|node| node.content.clone()).unwrap_or_default()
    }

    fn new_node(&self) -> u64 {
        self.nodes.last_key_value().map_or(0, |(node, _)| node + 1)
    }

    /// Counts a change; says whether it fails.
    fn change(&mut self) -> Option<Fault> {
        let number = self.changes;
        self.changes += 1;
        let fault = self.faults.get(&number).copied();
        if fault == Some(Fault::PowerOff) {
            self.is_off = true;
        }
        if self.is_off { Some(Fault::PowerOff) } else { fault }
    }

    fn check(&mut self) -> io::Result<()> {
        self.change().map_or(Ok(()), |fault| Err(fault_error(fault)))
    }

    fn check_power(&self) -> io::Result<()> {
        if self.is_off { Err(fault_error(Fault::PowerOff)) } else { Ok(()) }
    }

    fn node_of(&self, name: &str) -> io::Result<u64> {
        self.names.get(name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn node(&mut self, node: u64) -> &mut Node {
        self.nodes.entry(node).or_default()
    }

    fn link(&mut self, name: &str) -> u64 {
        let node = self.new_node();
        self.nodes.insert(node, Node::default());
        self.names.insert(name.to_owned(), node);
        self.pending_names.push(NameChange::Link { name: name.to_owned(), node });
        node
    }

    fn crash(&mut self, crash: Crash) {
        self.boots += 1;
        self.is_off = false;
        self.faults.clear();
        let mut dice = match crash {
            Crash::NothingUnsynced => None,
            Crash::Pieces { seed } => Some(Dice(seed)),
            Crash::ProcessOnly => return,
        };
        // A journal writes names in order, so a crash keeps a beginning of them.
        let pending = std::mem::take(&mut self.pending_names);
        let kept = dice.as_mut().map_or(0, |dice| dice.below(pending.len() as u64 + 1));
        for change in pending.iter().take(usize::try_from(kept).unwrap_or(0)) {
            change.apply(&mut self.durable_names);
        }
        self.names.clone_from(&self.durable_names);
        for node in self.nodes.values_mut() {
            let doubtful = std::mem::take(&mut node.doubtful);
            for change in doubtful.into_iter().chain(std::mem::take(&mut node.pending)) {
                if let Some(dice) = &mut dice {
                    change.apply_partly(&mut node.durable, dice);
                }
            }
            node.content.clone_from(&node.durable);
        }
        let names = &self.names;
        self.nodes.retain(|node, _| names.values().any(|named| named == node));
    }
}

impl Node {
    fn apply(&mut self, change: Change) {
        change.apply(&mut self.content);
        self.pending.push(change);
    }

    fn sync(&mut self) {
        for change in self.pending.drain(..) {
            change.apply(&mut self.durable);
        }
    }

    /// A durable cut takes the doubtful bytes behind it along.
    fn truncate(&mut self, length: usize) {
        self.apply(Change::Truncate { length });
        self.sync();
        for change in &mut self.doubtful {
            if let Change::Write { offset, bytes } = change {
                bytes.truncate(length.saturating_sub(*offset));
            }
        }
    }
}

impl Change {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Write { offset, bytes } => write_at(content, *offset, bytes),
            Self::Truncate { length } => content.resize(*length, 0),
        }
    }

    fn apply_partly(&self, content: &mut Vec<u8>, dice: &mut Dice) {
        match self {
            Self::Write { offset, bytes } => {
                let mut start = 0;
                while start < bytes.len() {
                    let page_end = ((offset + start) / PAGE + 1) * PAGE - offset;
                    let end = page_end.min(bytes.len());
                    if dice.below(2) == 0 {
                        write_at(content, offset + start, &bytes[start..end]);
                    }
                    start = end;
                }
            }
            Self::Truncate { length } => {
                if dice.below(2) == 0 {
                    content.resize(*length, 0);
                }
            }
        }
    }
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<String, u64>) {
        match self {
            Self::Link { name, node } => {
                names.insert(name.clone(), *node);
            }
            Self::Unlink { name } => {
                names.remove(name);
            }
            Self::Rename { from, to } => {
                if let Some(node) = names.remove(from) {
                    names.insert(to.clone(), node);
                }
            }
        }
    }

    fn is_in(&self, folder: &str) -> bool {
        let (Self::Link { name, .. } | Self::Unlink { name } | Self::Rename { to: name, .. }) =
            self;
        name.rsplit_once('/').map_or("", |(parent, _)| parent) == folder
    }
}

fn write_at(content: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    content[offset..end].copy_from_slice(bytes);
}

fn fault_error(fault: Fault) -> io::Error {
    match fault {
        Fault::NoSpace => io::ErrorKind::StorageFull.into(),
        Fault::Io => io::Error::other("the disk reports an error"),
        Fault::PowerOff => io::Error::other("the power is off"),
    }
}

/// SplitMix64: enough to choose pages.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

impl Files for MemoryFiles {
    fn create(&self, name: &str) -> io::Result<Box<dyn WriteFile>> {
        let mut disk = self.disk();
        disk.check()?;
        if disk.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let node = disk.link(name);
        Ok(Box::new(self.handle(node, disk.boots)))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn ReadFile>> {
        let disk = self.disk();
        disk.check_power()?;
        let node = disk.node_of(name)?;
        Ok(Arc::new(self.handle(node, disk.boots)))
    }

    fn truncate(&self, name: &str, length: u64) -> io::Result<()> {
        let mut disk = self.disk();
        disk.check()?;
        let node = disk.node_of(name)?;
        disk.node(node).truncate(usize::try_from(length).unwrap_or(usize::MAX));
        Ok(())
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        let mut disk = self.disk();
        let node = disk.node_of(name)?;
        disk.sync_node(node)
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let disk = self.disk();
        disk.check_power()?;
        let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        let names = disk.names.keys().filter_map(|name| name.strip_prefix(&prefix));
        Ok(names.filter(|name| !name.contains('/')).map(str::to_owned).collect())
    }

    fn size_of_folder(&self, folder: &str) -> io::Result<u64> {
        let disk = self.disk();
        disk.check_power()?;
        let prefix = format!("{folder}/");
        let inside = disk.names.iter().filter(|(name, _)| name.starts_with(&prefix));
        Ok(inside.map(|(_, node)| disk.content(*node).len() as u64).sum())
    }

    fn create_folder(&self, _folder: &str) -> io::Result<()> {
        self.disk().check_power()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut disk = self.disk();
        disk.check()?;
        disk.node_of(from)?;
        let change = NameChange::Rename { from: from.to_owned(), to: to.to_owned() };
        change.apply(&mut disk.names);
        disk.pending_names.push(change);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut disk = self.disk();
        disk.check_power()?;
        disk.node_of(name)?;
        disk.check()?;
        let change = NameChange::Unlink { name: name.to_owned() };
        change.apply(&mut disk.names);
        disk.pending_names.push(change);
        Ok(())
    }

    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        let mut disk = self.disk();
        disk.check()?;
        let pending = std::mem::take(&mut disk.pending_names);
        let (synced, rest) = pending.into_iter().partition(|change| change.is_in(folder));
        disk.pending_names = rest;
        let synced: Vec<NameChange> = synced;
        for change in synced {
            change.apply(&mut disk.durable_names);
        }
        Ok(())
    }

    fn allocate(&self, name: &str, length: u64) -> io::Result<()> {
        let mut disk = self.disk();
        disk.check()?;
        let node = disk.names.get(name).copied().unwrap_or_else(|| disk.link(name));
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        disk.node(node).apply(Change::Truncate { length });
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        Ok(self.disk().free_bytes.unwrap_or(u64::MAX))
    }
}

impl Disk {
    fn sync_node(&mut self, node: u64) -> io::Result<()> {
        let fault = self.change();
        let node = self.node(node);
        match fault {
            None => node.sync(),
            Some(Fault::PowerOff) => {}
            // Linux marks the pages clean: they stay readable and no later sync writes them.
            Some(Fault::Io | Fault::NoSpace) => node.doubtful.append(&mut node.pending),
        }
        fault.map_or(Ok(()), |fault| Err(fault_error(fault)))
    }
}

impl MemoryFiles {
    fn handle(&self, node: u64, boot: u64) -> Handle {
        Handle { files: self.clone(), node, boot }
    }
}

struct Handle {
    files: MemoryFiles,
    node: u64,
    boot: u64,
}

impl Handle {
    fn disk(&self) -> io::Result<MutexGuard<'_, Disk>> {
        let disk = self.files.disk();
        if disk.boots == self.boot { Ok(disk) } else { Err(fault_error(Fault::PowerOff)) }
    }
}

impl WriteFile for Handle {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut disk = self.disk()?;
        let fault = disk.change();
        let arriving = if fault.is_some() { &bytes[..bytes.len() / 2] } else { bytes };
        let node = disk.node(self.node);
        let offset = node.content.len();
        node.apply(Change::Write { offset, bytes: arriving.to_vec() });
        fault.map_or(Ok(()), |fault| Err(fault_error(fault)))
    }

    fn sync(&mut self) -> io::Result<()> {
        self.disk()?.sync_node(self.node)
    }
}

impl ReadFile for Handle {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut disk = self.disk()?;
        disk.check_power()?;
        let page = PAGE as u64;
        let sectors = offset / page..(offset + buffer.len() as u64).div_ceil(page);
        if disk.dead_sectors.iter().any(|(n, s)| *n == self.node && sectors.contains(s)) {
            return Err(fault_error(Fault::Io));
        }
        let content = &disk.node(self.node).content;
        let rest = content.get(usize::try_from(offset).unwrap_or(usize::MAX)..).unwrap_or(&[]);
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.disk()?.node(self.node).content.len() as u64)
    }
}
