//! A crew of certified devices, and the wires between them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use fieldmesh_batch::{Batch, Draft, Leaf, Priority, Receipt};
use fieldmesh_identity::{
    Access, Adoption, Authority, Certificate, ChainHead, DeviceKeys, Genesis, Item, ItemPlace,
    Policy, Revocation, Seed, Statement,
};
use fieldmesh_model::{
    BatchId, DeviceId, DocumentId, Epoch, Filter, ItemId, Moment, Role, Scope, StoreId, TenantId,
    UserId,
};
use fieldmesh_trie::Key;

use crate::{
    CloseReason, Config, Doubt, Event, Held, Input, Lane, LinkId, LinkStats, Output, Replica, Side,
};

pub(crate) fn at(millis: i64) -> Moment {
    Moment::from_millis(1_700_000_000_000 + millis)
}

/// A tenant's authority and its policy items.
pub(crate) struct Office {
    authority: Authority,
    pub(crate) tenant: TenantId,
    pub(crate) items: Vec<Item>,
}

impl Office {
    pub(crate) fn new(seed: u8) -> Self {
        let authority = Authority::from_seed(&Seed::from_bytes([seed; 32]));
        let genesis = Statement::Genesis(Genesis {
            authority: authority.public_key(),
            recovery: [0; 32],
            name: "Crew".into(),
        });
        let item = Item::sign(&authority, TenantId::default(), ItemPlace::FIRST, &genesis).unwrap();
        Self { authority, tenant: item.tenant(), items: vec![item] }
    }

    pub(crate) fn certify(&mut self, keys: &DeviceKeys, role: Role) -> Item {
        self.certify_for(keys, role, Access::ALL)
    }

    /// Certifies a device that may read only what `read` opens.
    pub(crate) fn certify_for(&mut self, keys: &DeviceKeys, role: Role, read: Access) -> Item {
        let user = UserId::from_bytes([keys.public_key()[0]; 16]);
        let mut certificate = Certificate::new(keys.public_key(), "Tablet", user, role);
        certificate.read = read;
        self.sign(&Statement::Certificate(Box::new(certificate)))
    }

    /// Revokes a device; of what it signed that counts to which `heads` lead.
    pub(crate) fn revoke(&mut self, device: DeviceId, heads: BTreeSet<ChainHead>) -> Item {
        self.sign(&Statement::Revocation(Box::new(Revocation {
            device,
            version: 1,
            heads,
            items: None,
            remaining: None,
            wipe: false,
            reason: "lost".into(),
        })))
    }

    pub(crate) fn adopt(&mut self, device: DeviceId, heads: BTreeSet<ChainHead>) -> Item {
        self.sign(&Statement::Adoption(Adoption { device, heads }))
    }

    /// Certifies once more, with other rights.
    pub(crate) fn renew(&mut self, keys: &DeviceKeys, role: Role, read: Access) -> Item {
        let user = UserId::from_bytes([keys.public_key()[0]; 16]);
        let mut certificate = Certificate::new(keys.public_key(), "Tablet", user, role);
        (certificate.read, certificate.version) = (read, 2);
        self.sign(&Statement::Certificate(Box::new(certificate)))
    }

    pub(crate) fn sign(&mut self, statement: &Statement) -> Item {
        let policy = Policy::evaluate(self.tenant, &self.items);
        let place = policy.next_place(&self.authority.public_key());
        let item = Item::sign(&self.authority, self.tenant, place, statement).unwrap();
        self.items.push(item.clone());
        item
    }
}

pub(crate) fn keys(seed: u8) -> DeviceKeys {
    DeviceKeys::from_seed(&Seed::from_bytes([seed; 32]))
}

/// Bytes that no compression shortens.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = 88_172_645_463_325_252_u64;
    let bytes = (0..length).map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_be_bytes()[2]
    });
    bytes.collect()
}

/// Seals one batch a call, in one chain.
pub(crate) struct Author {
    pub(crate) keys: DeviceKeys,
    pub(crate) tenant: TenantId,
    pub(crate) sequence: u64,
    pub(crate) previous: BatchId,
    pub(crate) collection: u16,
    pub(crate) partition: u32,
}

impl Author {
    pub(crate) fn new(seed: u8, tenant: TenantId) -> Self {
        Self {
            keys: keys(seed),
            tenant,
            sequence: 0,
            previous: BatchId::default(),
            collection: 3,
            partition: 0,
        }
    }

    pub(crate) fn seal(&mut self, when: i64, change: &[u8]) -> Batch {
        self.sequence += 1;
        let batch =
            Batch::seal(self.draft(when, change), self.keys.signing_key(), [7; 16]).unwrap();
        self.previous = batch.id();
        batch
    }

    pub(crate) fn draft(&self, when: i64, change: &[u8]) -> Draft {
        let mut document = [0x80; 16];
        document[..8].copy_from_slice(&self.sequence.to_be_bytes());
        let document = DocumentId::from_bytes(document);
        Draft {
            tenant: self.tenant,
            scope: Scope::of(self.collection, self.partition, at(when)),
            author: self.keys.device(),
            epoch: Epoch(1),
            sequence: self.sequence,
            previous: self.previous,
            priority: Priority::NORMAL,
            first: at(when),
            last: at(when),
            leaves: vec![Leaf { document, change: change.to_vec() }],
        }
    }
}

pub(crate) fn head_of(batch: &Batch) -> ChainHead {
    let header = batch.header();
    ChainHead {
        epoch: header.epoch,
        scope: header.scope,
        sequence: header.sequence,
        batch: batch.id(),
    }
}

pub(crate) fn key_of(batch: &Batch) -> Key {
    Key::from_bytes(batch.key_bytes())
}

/// One participant with its disk.
pub(crate) struct Node {
    pub(crate) replica: Replica,
    pub(crate) author: Author,
    pub(crate) disk: BTreeMap<BatchId, Batch>,
    /// What is written and not durable yet; only used while `is_slow`.
    pub(crate) writing: Vec<BatchId>,
    pub(crate) is_slow: bool,
    /// Whether it keeps its epoch whatever it is shown.
    pub(crate) is_stubborn: bool,
    /// Batches that were loaded, with their links.
    pub(crate) loaded: Vec<(LinkId, BatchId)>,
    /// Batches that the shell was told to store as not counting.
    pub(crate) stored_aside: BTreeSet<BatchId>,
    /// How many policy items of peers the shell was told to store.
    pub(crate) stored_items: usize,
    /// What it signs instead of a receipt that it was asked for, by how many it has signed.
    pub(crate) forge: Option<fn(usize, Receipt) -> Receipt>,
    /// How many receipts it has signed.
    pub(crate) signed: usize,
    /// The latest moment for which it has, which survives everything.
    pub(crate) signed_until: Option<Moment>,
    pub(crate) events: Vec<Event>,
    pub(crate) closed: Vec<(LinkId, CloseReason)>,
}

impl Node {
    pub(crate) fn new(seed: u8, office: &Office) -> Self {
        Self {
            replica: Replica::new(Self::config(seed, office), office.items.clone(), []),
            author: Author::new(seed, office.tenant),
            disk: BTreeMap::new(),
            writing: Vec::new(),
            is_slow: false,
            is_stubborn: false,
            loaded: Vec::new(),
            stored_aside: BTreeSet::new(),
            stored_items: 0,
            forge: None,
            signed: 0,
            signed_until: None,
            events: Vec::new(),
            closed: Vec::new(),
        }
    }

    pub(crate) fn config(seed: u8, office: &Office) -> Config {
        Config {
            tenant: office.tenant,
            device: keys(seed).device(),
            store: StoreId::from_bytes([seed; 16]),
            store_epoch: 1,
        }
    }

    pub(crate) fn device(&self) -> DeviceId {
        self.author.keys.device()
    }

    pub(crate) fn put(&mut self, now: Moment, batch: Batch) {
        let held = Held::of(&batch);
        self.disk.insert(batch.id(), batch);
        self.replica.handle(now, Input::LocalBatch { held }).unwrap();
    }

    /// Starts anew from what is on the disk.
    pub(crate) fn restart(&mut self) {
        let items: Vec<Item> = self.replica.items().cloned().collect();
        let config = *self.replica.config();
        let filter = self.replica.filter().clone();
        let receipts = self.events.iter().filter_map(|event| match event {
            Event::Receipt(receipt) => Some(receipt.clone()),
            _ => None,
        });
        let doubts = self.events.iter().filter_map(|event| match event {
            Event::StoreDoubted { doubt, .. } => Some(*doubt),
            Event::StoreRestored { device, store, epoch } => {
                Some(Doubt { device: *device, store: *store, epoch: *epoch, until: None })
            }
            _ => None,
        });
        let held = self.disk.values().map(Held::of);
        self.replica = Replica::new(config, items, held)
            .with_filter(filter)
            .with_signed(self.signed_until)
            .with_doubts(doubts)
            .with_receipts(receipts);
    }

    pub(crate) fn in_step(&self) -> Option<LinkStats> {
        self.events.iter().rev().find_map(|event| match event {
            Event::InStep { stats, .. } => Some(*stats),
            _ => None,
        })
    }

    pub(crate) fn refused(&self) -> usize {
        self.events.iter().filter(|event| matches!(event, Event::Refused { .. })).count()
    }

    pub(crate) fn finish_writing(&mut self, now: Moment) {
        let ids = std::mem::take(&mut self.writing);
        self.replica.handle(now, Input::BatchesStored { ids }).unwrap();
    }
}

/// The bytes on their way, by sender and link.
type Wires = BTreeMap<(usize, LinkId), [VecDeque<u8>; 4]>;

/// What brings bytes of the control stream or a data stream.
pub(crate) fn input(link: LinkId, stream: usize, bytes: Vec<u8>) -> Input {
    match stream {
        0 => Input::Control { link, bytes },
        _ => Input::Data { link, lane: Lane::ALL[stream - 1], bytes },
    }
}

/// Nodes, links and virtual time.
pub(crate) struct Crew {
    pub(crate) nodes: Vec<Node>,
    pub(crate) now: i64,
    /// Most bytes handed over at once.
    pub(crate) chunk: usize,
    /// The other end of each end of a link.
    ends: BTreeMap<(usize, LinkId), (usize, LinkId)>,
    wires: Wires,
    next_link: u64,
    /// Bytes delivered of control and data streams.
    pub(crate) delivered: [usize; 2],
    /// Position, counted over all bytes, of a byte to change, and with what.
    pub(crate) fault: Option<(usize, u8)>,
    /// What was delivered to the second node, if that is to be kept.
    pub(crate) recorded: Option<Vec<(usize, Vec<u8>)>>,
}

impl Crew {
    pub(crate) fn new(count: u8) -> (Self, Office) {
        let mut office = Office::new(200);
        for seed in 1..=count {
            office.certify(&keys(seed), Role::Operator);
        }
        let nodes = (1..=count).map(|seed| Node::new(seed, &office)).collect();
        (Self::of(nodes), office)
    }

    pub(crate) fn of(nodes: Vec<Node>) -> Self {
        Self {
            nodes,
            now: 0,
            chunk: usize::MAX,
            ends: BTreeMap::new(),
            wires: BTreeMap::new(),
            next_link: 1,
            delivered: [0; 2],
            fault: None,
            recorded: None,
        }
    }

    /// `a` dials `b`.
    pub(crate) fn connect(&mut self, a: usize, b: usize) -> (LinkId, LinkId) {
        self.connect_for(a, b, None)
    }

    /// `a` dials `b` and wants only `filter` over this link.
    pub(crate) fn connect_for(
        &mut self,
        a: usize,
        b: usize,
        filter: Option<&Filter>,
    ) -> (LinkId, LinkId) {
        let (at_a, at_b) = (LinkId(self.next_link), LinkId(self.next_link + 1));
        self.next_link += 2;
        self.ends.insert((a, at_a), (b, at_b));
        self.ends.insert((b, at_b), (a, at_a));
        let mut channel_key = [3; 32];
        channel_key[..8].copy_from_slice(&at_a.0.to_be_bytes());
        for (node, link, other, side) in [(a, at_a, b, Side::Dialled), (b, at_b, a, Side::Accepted)]
        {
            let peer = self.nodes[other].device();
            let filter = filter.filter(|_| node == a).cloned();
            self.input(node, Input::LinkUp { link, peer, side, channel_key, filter });
        }
        (at_a, at_b)
    }

    /// The links of a node are another one's from here on.
    pub(crate) fn move_end(&mut self, from: usize, to: usize) {
        let at_from = |it: &&(usize, LinkId)| it.0 == from;
        let moved: Vec<(usize, LinkId)> = self.ends.keys().filter(at_from).copied().collect();
        for (_, link) in moved {
            let Some(other) = self.ends.remove(&(from, link)) else { continue };
            self.ends.insert((to, link), other);
            self.ends.insert(other, (to, link));
        }
    }

    /// A node is killed and starts anew, with links counted from one again; nobody else knows.
    pub(crate) fn kill(&mut self, node: usize) {
        let is_dead =
            |end: &(usize, LinkId), other: &(usize, LinkId)| end.0 == node || other.0 == node;
        let dead: Vec<_> = self
            .ends
            .iter()
            .filter(|(end, other)| is_dead(end, other))
            .map(|(end, _)| *end)
            .collect();
        for end in dead {
            self.ends.remove(&end);
            self.wires.remove(&end);
        }
        self.next_link = 1;
        self.nodes[node].restart();
    }

    pub(crate) fn cut(&mut self, node: usize, link: LinkId) {
        let Some((other, end)) = self.ends.remove(&(node, link)) else { return };
        self.ends.remove(&(other, end));
        self.wires.remove(&(node, link));
        self.wires.remove(&(other, end));
        self.input(node, Input::LinkDown { link });
        self.input(other, Input::LinkDown { link: end });
    }

    pub(crate) fn input(&mut self, node: usize, input: Input) {
        let now = at(self.now);
        self.nodes[node].replica.handle(now, input).unwrap();
        self.perform(node);
    }

    pub(crate) fn seal(&mut self, node: usize, change: &[u8]) -> Batch {
        let when = self.now;
        let batch = self.nodes[node].author.seal(when, change);
        self.nodes[node].put(at(when), batch.clone());
        self.perform(node);
        batch
    }

    pub(crate) fn perform(&mut self, index: usize) {
        let now = at(self.now);
        while let Some(output) = self.nodes[index].replica.poll() {
            let node = &mut self.nodes[index];
            match output {
                Output::Control { link, bytes } => {
                    self.wires.entry((index, link)).or_default()[0].extend(bytes);
                }
                Output::Data { link, lane, bytes } => {
                    let written = Input::DataWritten { link, lane, bytes: bytes.len() };
                    let stream = 1 + Lane::ALL.iter().position(|it| *it == lane).unwrap();
                    self.wires.entry((index, link)).or_default()[stream].extend(bytes);
                    node.replica.handle(now, written).unwrap();
                }
                Output::StoreBatches { batches, aside, .. } => {
                    let ids: Vec<BatchId> = batches.iter().map(Batch::id).collect();
                    node.stored_aside.extend(ids.iter().filter(|_| aside));
                    node.disk.extend(batches.into_iter().map(|batch| (batch.id(), batch)));
                    node.writing.extend(ids);
                    if !node.is_slow {
                        node.finish_writing(now);
                    }
                }
                Output::StoreItems { items, .. } => {
                    node.stored_items += items.len();
                    let ids: Vec<ItemId> = items.iter().map(Item::id).collect();
                    node.replica.handle(now, Input::ItemsStored { ids }).unwrap();
                }
                Output::Sign { link, receipt } => {
                    node.signed += 1;
                    node.signed_until = node.signed_until.max(Some(receipt.at));
                    let signed = node.signed;
                    let receipt = node.forge.map_or(receipt.clone(), |it| it(signed, receipt));
                    let bytes = receipt.sign(node.author.keys.signing_key());
                    node.replica.handle(now, Input::Signed { link, bytes }).unwrap();
                }
                Output::Load { link, ids } => {
                    node.loaded.extend(ids.iter().map(|id| (link, *id)));
                    let found = |id: &BatchId| node.disk.get(id).cloned();
                    let batches: Vec<Batch> = ids.iter().filter_map(found).collect();
                    let lost: BTreeSet<BatchId> =
                        ids.into_iter().filter(|id| !node.disk.contains_key(id)).collect();
                    let ids = lost.into_iter().collect();
                    node.replica.handle(now, Input::BatchesLoaded { link, batches }).unwrap();
                    node.replica.handle(now, Input::LoadFailed { link, ids }).unwrap();
                }
                Output::RaiseEpoch { epoch } => {
                    let epoch = epoch - u64::from(node.is_stubborn);
                    node.replica.handle(now, Input::EpochRaised { epoch }).unwrap();
                }
                Output::Close { link, reason } => node.closed.push((link, reason)),
                Output::Event(event) => node.events.push(event),
            }
        }
    }

    /// Delivers bytes until nothing moves; closed links are cut when all their bytes arrived.
    pub(crate) fn run(&mut self) {
        assert!(self.run_for(1_000_000), "the exchange does not end");
    }

    /// Delivers so many pieces; whether nothing is left.
    pub(crate) fn run_for(&mut self, pieces: usize) -> bool {
        for _ in 0..pieces {
            let Some(((node, link), stream)) = self.next_wire() else { return true };
            let Some(wire) = self.wires.get_mut(&(node, link)) else { return true };
            let length = self.chunk.min(wire[stream].len());
            let mut bytes: Vec<u8> = wire[stream].drain(..length).collect();
            let Some(&(other, end)) = self.ends.get(&(node, link)) else { continue };
            let before: usize = self.delivered.iter().sum();
            self.delivered[stream.min(1)] += length;
            if let Some((position, mask)) = self.fault
                && let Some(byte) =
                    position.checked_sub(before).and_then(|index| bytes.get_mut(index))
            {
                *byte ^= mask;
            }
            if let Some(recorded) = self.recorded.as_mut().filter(|_| other == 1) {
                recorded.push((stream, bytes.clone()));
            }
            self.input(other, input(end, stream, bytes));
        }
        self.next_wire().is_none()
    }

    /// Delivers what one end of a link has sent on its control stream, before all others.
    pub(crate) fn deliver(&mut self, node: usize, link: LinkId) {
        let Some(wire) = self.wires.get_mut(&(node, link)) else { return };
        let bytes = wire[0].drain(..).collect();
        let Some(&(other, end)) = self.ends.get(&(node, link)) else { return };
        self.input(other, Input::Control { link: end, bytes });
    }

    fn next_wire(&self) -> Option<((usize, LinkId), usize)> {
        self.wires.iter().find_map(|(end, streams)| {
            streams.iter().position(|bytes| !bytes.is_empty()).map(|stream| (*end, stream))
        })
    }

    /// Lets time pass, with a tick whenever a deadline comes.
    pub(crate) fn pass(&mut self, millis: i64) {
        let end = self.now + millis;
        for _ in 0..100_000 {
            self.run();
            let deadlines = self.nodes.iter().filter_map(|node| node.replica.deadline());
            let Some(next) = deadlines.min().filter(|next| *next <= at(end)) else {
                self.now = end;
                return;
            };
            self.now = self.now.max(next.millis_since(at(0)));
            for index in 0..self.nodes.len() {
                self.input(index, Input::Tick);
            }
        }
        panic!("the timers spin");
    }

    /// Two nodes hold the same, of what counts and of what does not.
    pub(crate) fn assert_same(&self, nodes: [usize; 2]) {
        let [one, other] = nodes.map(|node| &self.nodes[node].replica);
        assert_eq!(one.root(), other.root());
        assert_eq!(one.quarantine_root(), other.quarantine_root());
        assert_eq!(one.policy_root(), other.policy_root());
    }

    pub(crate) fn assert_equal(&self) {
        let roots: BTreeSet<_> = self.nodes.iter().map(|node| node.replica.root().0).collect();
        assert_eq!(roots.len(), 1, "roots differ");
    }
}
