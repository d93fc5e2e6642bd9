//! A whole replica that talks to a member, in steps that the input chooses.
//!
//! An input is a list of steps: a byte that says which, two with a length, and so many bytes. Some
//! steps bring bytes of the peer as they are, others what somebody with a key has signed. In the end
//! a replica that is opened on what was stored has to agree with the one that ran.

use std::collections::{BTreeMap, BTreeSet};

use fieldmesh_batch::{Batch, Draft, Leaf, Priority, Receipt};
use fieldmesh_identity::{
    Access, Adoption, Authority, Certificate, ChainHead, DeviceKeys, Item, ItemPlace, Pin, Policy,
    Purge, Revocation, RoleChange, Seed, Statement, found,
};
use fieldmesh_model::{
    BatchId, DocumentId, Epoch, Filter, ItemId, Moment, Role, Scope, StoreId, TenantId, UserId,
};
use fieldmesh_replica::{Config, Held, Input, Lane, LinkId, Output, Replica, Side, Unstored};
use fieldmesh_session as session;
use fieldmesh_trie::{Key, Trie};

use crate::conversation::{STREAM_HEAD, block};

const START: i64 = 1_770_000_000_000;
/// Outputs of one input; the longest honest one here has some thousand.
const OUTPUTS_MAX: usize = 100_000;
/// Steps of one input.
const STEPS_MAX: usize = 64;
const ROLES: [Role; 5] =
    [Role::Admin, Role::Manager, Role::Operator, Role::Client, Role::Practitioner];

/// The replica, its disk and the peer's keys.
struct World {
    replica: Replica,
    config: Config,
    authority: Authority,
    /// The replica's own device, the peer, another member, and a stranger.
    devices: [DeviceKeys; 4],
    /// Every item that was signed, stored or not.
    items: Vec<Item>,
    /// Every batch that was sealed, stored or not.
    sealed: Vec<Batch>,
    disk: BTreeMap<BatchId, Batch>,
    writing: (Vec<BatchId>, Vec<ItemId>),
    /// What the replica wrote to the control stream of the link.
    control: Vec<u8>,
    now: i64,
    link: u64,
    /// Which data streams have begun.
    begun: [bool; 3],
    is_slow: bool,
    has_failed: bool,
    outputs: usize,
}

fn keys(seed: u8) -> DeviceKeys {
    DeviceKeys::from_seed(&Seed::from_bytes([seed; 32]))
}

fn certificate(keys: &DeviceKeys, role: Role) -> Certificate {
    let user = UserId::from_bytes([keys.public_key()[0]; 16]);
    Certificate::new(keys.public_key(), "tablet", user, role)
}

impl World {
    fn new() -> Option<Self> {
        let authority = Authority::from_seed(&Seed::from_bytes([9; 32]));
        let devices = [keys(1), keys(2), keys(3), keys(4)];
        let founder = certificate(&devices[0], Role::Admin);
        let founding = found(&authority, [3; 32], "Nordfeld", &founder).ok()?;
        let config = Config {
            tenant: founding.tenant,
            device: devices[0].device(),
            store: StoreId::from_bytes([1; 16]),
            store_epoch: 1,
        };
        let mut world = Self {
            replica: Replica::new(config, Vec::new(), []),
            config,
            authority,
            devices,
            items: founding.items,
            sealed: Vec::new(),
            disk: BTreeMap::new(),
            writing: Default::default(),
            control: Vec::new(),
            now: START,
            link: 0,
            begun: [false; 3],
            is_slow: false,
            has_failed: false,
            outputs: 0,
        };
        for (index, role) in [(1, Role::Manager), (2, Role::Operator)] {
            let statement = certificate(&world.devices[index], role);
            world.sign(0, &Statement::Certificate(Box::new(statement)), true)?;
        }
        world.replica = Replica::new(config, world.items.clone(), []);
        Some(world)
    }

    fn handle(&mut self, input: Input) {
        let mut open = vec![input];
        while let Some(input) = open.pop() {
            // Only a link that is up twice or a foreign item is an error, and neither happens here.
            assert_eq!(self.replica.handle(Moment::from_millis(self.now), input), Ok(()));
            while let Some(output) = self.replica.poll() {
                self.outputs += 1;
                assert!(self.outputs < OUTPUTS_MAX, "a replica goes on for ever");
                open.extend(self.perform(output));
            }
            if !self.is_slow {
                open.extend(self.durable());
            }
        }
    }

    fn perform(&mut self, output: Output) -> Option<Input> {
        match output {
            Output::Data { link, lane, bytes } => {
                return Some(Input::DataWritten { link, lane, bytes: bytes.len() });
            }
            Output::StoreBatches { batches, .. } => {
                self.writing.0.extend(batches.iter().map(Batch::id));
                self.disk.extend(batches.into_iter().map(|batch| (batch.id(), batch)));
            }
            Output::StoreItems { items, .. } => {
                self.writing.1.extend(items.iter().map(Item::id));
            }
            Output::Load { link, ids } => {
                let found = |id: &BatchId| self.disk.get(id).cloned();
                let batches = ids.iter().filter_map(found).collect();
                return Some(Input::BatchesLoaded { link, batches });
            }
            Output::Sign { link, receipt } => {
                let bytes = receipt.sign(self.devices[0].signing_key());
                return Some(Input::Signed { link, bytes });
            }
            Output::RaiseEpoch { epoch } => return Some(Input::EpochRaised { epoch }),
            Output::Control { bytes, .. } => self.control.extend(bytes),
            Output::Close { .. } | Output::Event(_) => {}
        }
        None
    }

    /// Says that what is being written is durable.
    fn durable(&mut self) -> Vec<Input> {
        let (batches, items) = std::mem::take(&mut self.writing);
        let items = (!items.is_empty()).then_some(Input::ItemsStored { ids: items });
        let batches = (!batches.is_empty()).then_some(Input::BatchesStored { ids: batches });
        batches.into_iter().chain(items).collect()
    }

    fn flush(&mut self) {
        self.durable().into_iter().rev().for_each(|input| self.handle(input));
    }

    /// What is being written is not stored.
    fn fail(&mut self) {
        let (batches, items) = std::mem::take(&mut self.writing);
        for id in batches.iter().filter(|id| !self.replica.holds(id)) {
            self.disk.remove(id);
        }
        self.has_failed = true;
        self.handle(Input::StoreFailed { batches, items, why: Unstored::Failed });
    }

    /// A connection to the peer, which introduces itself.
    fn connect(&mut self, choice: u8) {
        self.handle(Input::LinkDown { link: LinkId(self.link) });
        self.link += 1;
        self.begun = [false; 3];
        let (side, other) = match choice & 1 {
            0 => (Side::Accepted, Side::Dialled),
            _ => (Side::Dialled, Side::Accepted),
        };
        let peer = self.devices[if choice & 2 == 0 { 1 } else { 2 }].device();
        let link = LinkId(self.link);
        let version = if choice & 4 == 0 { 2 } else { 1 };
        let mut greeter = Greeter::new(self.config.tenant, other, (self.link, version));
        let channel_key = Greeter::CHANNEL_KEY;
        let up = Input::LinkUp { link, peer, side, channel_key, filter: None };
        self.control.clear();
        self.handle(up);
        let hello =
            if side == Side::Dialled { std::mem::take(&mut self.control) } else { Vec::new() };
        let bytes = greeter.greet(hello);
        self.handle(Input::Control { link, bytes });
    }

    /// Signs a statement: the authority for 0, else a device.
    fn sign(&mut self, signer: usize, statement: &Statement, follows: bool) -> Option<Item> {
        let policy = Policy::evaluate(self.config.tenant, &self.items);
        let key = match signer.checked_sub(1) {
            None => self.authority.public_key(),
            Some(index) => self.devices[index % 4].public_key(),
        };
        let place = if follows { policy.next_place(&key) } else { ItemPlace::FIRST };
        let tenant = self.config.tenant;
        let signed = match signer.checked_sub(1) {
            None => Item::sign(&self.authority, tenant, place, statement),
            Some(index) => Item::sign(&self.devices[index % 4], tenant, place, statement),
        };
        let item = signed.ok()?;
        self.items.push(item.clone());
        Some(item)
    }

    fn statement(&self, bytes: &[u8; 6]) -> Statement {
        let [_, kind, whose, heads, role, version] = *bytes;
        let keys = &self.devices[usize::from(whose) % 4];
        let (device, version) = (keys.device(), u32::from(version % 4));
        let role = ROLES[usize::from(role) % 5];
        let head = |batch: &Batch| {
            let header = batch.header();
            let (epoch, scope, sequence) = (header.epoch, header.scope, header.sequence);
            ChainHead { epoch, scope, sequence, batch: batch.id() }
        };
        let named = self.sealed.iter().take(8).enumerate();
        let heads: BTreeSet<ChainHead> = named
            .filter(|(index, _)| heads >> index & 1 == 1)
            .map(|(_, batch)| head(batch))
            .collect();
        match kind % 5 {
            0 => {
                let mut certificate = certificate(keys, role);
                certificate.version = version;
                if kind & 0x80 != 0 {
                    certificate.read = Access { collections: [3].into(), ..Access::ALL };
                    certificate.write = certificate.read.clone();
                }
                Statement::Certificate(Box::new(certificate))
            }
            1 => Statement::Role(RoleChange { device, version, role, cut: None }),
            2 => Statement::Revocation(Box::new(Revocation {
                device,
                version,
                heads,
                items: None,
                remaining: (kind & 0x80 != 0).then_some(role),
                wipe: false,
                reason: String::new(),
            })),
            3 => Statement::Adoption(Adoption { device, heads }),
            _ if kind & 0x80 != 0 => self.purge(usize::from(whose)),
            _ => Statement::Pin(Pin {
                document: DocumentId::from_bytes([1; 16]),
                actor: [whose; 16],
                sequence: u64::from(version),
                change: [whose; 32],
            }),
        }
    }

    /// Purges the first leaf of a batch, if there is such a batch.
    fn purge(&self, index: usize) -> Statement {
        let batch = self.sealed.get(index % 8);
        let leaf = batch.and_then(|batch| batch.leaves().first());
        let hashes = batch.map(Batch::leaf_hashes).unwrap_or_default();
        Statement::Purge(Box::new(Purge {
            document: leaf.map(|leaf| leaf.document).unwrap_or_default(),
            leaves: hashes.into_iter().take(1).collect(),
            at: Moment::from_millis(START),
            reason: String::new(),
        }))
    }

    fn seal(&mut self, bytes: &[u8; 6], length: usize) -> Option<Batch> {
        let [who, previous, place, scope, when, _] = *bytes;
        let author = &self.devices[usize::from(who) % 4];
        let before = self.sealed.get(usize::from(previous));
        let same = before.map(Batch::header).filter(|it| it.author == author.device());
        let at = Moment::from_millis(START + i64::from(when) * 86_400_000);
        let (sequence, previous) = match (same, place) {
            (Some(header), 0..0x80) => (header.sequence + 1, before?.id()),
            (_, 0..0xc0) => (1, BatchId::default()),
            _ => (u64::from(place % 8) + 1, BatchId::from_bytes([place; 32])),
        };
        let scope = match same {
            Some(header) if place < 0x80 => header.scope,
            _ => Scope::of(3 + u16::from(scope % 2), u32::from(scope / 2 % 2), at),
        };
        let draft = Draft {
            tenant: self.config.tenant,
            scope,
            author: author.device(),
            epoch: Epoch(1),
            sequence,
            previous,
            priority: if who & 0x80 == 0 { Priority::NORMAL } else { Priority::CRITICAL },
            first: at,
            last: at,
            leaves: vec![Leaf {
                document: DocumentId::from_bytes([when; 16]),
                change: vec![previous.as_bytes()[0]; length.max(1)],
            }],
        };
        let batch = Batch::seal(draft, author.signing_key(), [7; 16]).ok()?;
        self.sealed.push(batch.clone());
        Some(batch)
    }

    fn data(&mut self, lane: u8, frames: &[u8]) {
        let lane = usize::from(lane) % 3;
        let mut bytes = block(frames);
        if !std::mem::replace(&mut self.begun[lane], true) {
            bytes.splice(..0, STREAM_HEAD);
        }
        self.handle(Input::Data { link: LinkId(self.link), lane: Lane::ALL[lane], bytes });
    }

    fn step(&mut self, kind: u8, content: &[u8]) {
        let mut choices = [0; 6];
        let length = content.len().min(6);
        choices[..length].copy_from_slice(&content[..length]);
        let link = LinkId(self.link);
        match kind % 14 {
            0 => self.handle(Input::Control { link, bytes: content.to_vec() }),
            1..4 => self.data(kind % 14 - 1, content),
            4 => {
                self.now += i64::from(u16::from_be_bytes([choices[0], choices[1]])) * 4;
                self.handle(Input::Tick);
            }
            5 | 6 => {
                let Some(batch) = self.seal(&choices, content.len() * 8) else { return };
                let is_signed = choices[5] & 0x80 == 0;
                let bytes = if is_signed { batch.encode() } else { batch.encode_unsigned() };
                let code = [2, 4, 4, 6][usize::from(choices[5]) % 4];
                self.data(choices[5] >> 2, &frame(code, &bytes));
            }
            7 | 8 => {
                let statement = self.statement(&choices);
                let (signer, follows) = (choices[0] & 7, choices[0] & 0x80 == 0);
                let Some(item) = self.sign(usize::from(signer % 5), &statement, follows) else {
                    return;
                };
                if choices[0] & 0x40 == 0 {
                    self.data(0, &frame(3, item.encode()));
                } else {
                    self.handle(Input::LocalItem { item });
                }
            }
            9 => {
                choices[0] &= 0x80;
                let Some(batch) = self.seal(&choices, content.len()) else { return };
                let held = Held::of(&batch);
                self.disk.insert(batch.id(), batch);
                self.handle(Input::LocalBatch { held });
            }
            10 => self.connect(choices[0]),
            11 => {
                self.is_slow = choices[0] & 1 == 1;
                if choices[0] & 2 == 0 { self.flush() } else { self.fail() }
            }
            12 => self.receipt(&choices),
            _ => {
                let again = self.sealed.get(usize::from(choices[0])).map(Batch::encode);
                self.data(choices[1], &frame(4, &again.unwrap_or_default()));
            }
        }
    }

    /// A receipt of a member for some of the batches.
    fn receipt(&mut self, choices: &[u8; 6]) {
        let signer = &self.devices[usize::from(choices[0]) % 4];
        let named = self.sealed.iter().take(8).enumerate();
        let heads =
            named.filter(|(index, _)| choices[1] >> index & 1 == 1).map(|(_, it)| it.key_bytes());
        let store = (StoreId::from_bytes([choices[2] % 4; 16]), u64::from(choices[3] % 4));
        let at = Moment::from_millis(self.now + i64::from(choices[4]));
        let receipt = Receipt::new(self.config.tenant, signer.device(), store, at, heads);
        let receipt = receipt.sign(signer.signing_key());
        let mut message = vec![0x11, 1];
        message.extend(length_of(receipt.len()));
        message.extend(receipt);
        let bytes = [length_of(message.len()), message].concat();
        self.handle(Input::Control { link: LinkId(self.link), bytes });
    }

    /// A replica that is opened on the same disk decides the same.
    fn reopen(mut self) {
        self.flush();
        self.handle(Input::LinkDown { link: LinkId(self.link) });
        self.flush();
        if self.has_failed {
            return;
        }
        let stored = self.disk.values().map(Held::of);
        let items: Vec<Item> = self.replica.items().cloned().collect();
        let again = Replica::new(self.config, items, stored);
        let of = |replica: &Replica| {
            let counting: Vec<Key> = replica.keys().copied().collect();
            let aside: BTreeSet<BatchId> = replica.aside().map(|(id, _)| id).collect();
            let gaps: BTreeMap<_, _> = replica.gaps().collect();
            let forks: BTreeSet<_> = replica.forks().collect();
            (counting, aside, replica.unheld().count(), gaps, forks)
        };
        assert_eq!(of(&self.replica), of(&again), "a replica that is opened anew differs");
    }
}

fn length_of(mut length: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while length >= 0x80 {
        bytes.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    bytes.push(length as u8);
    bytes
}

fn frame(kind: u8, bytes: &[u8]) -> Vec<u8> {
    [&[kind][..], &length_of(bytes.len()), bytes].concat()
}

/// The conversation of the peer as far as the greeting.
struct Greeter(session::Session);

impl Greeter {
    const CHANNEL_KEY: [u8; 32] = [3; 32];

    fn new(tenant: TenantId, side: Side, (conversation, version): (u64, u16)) -> Self {
        let settings = session::Settings {
            side,
            channel_key: Self::CHANNEL_KEY,
            tenant: tenant.tag(),
            store: StoreId::from_bytes([2; 16]),
            store_epoch: 1,
            conversation,
            ingest_window: 1 << 20,
            filter: Filter::everything(),
            versions: (1, version),
            partials: Vec::new(),
        };
        Self(session::Session::new(settings, Moment::from_millis(START)))
    }

    /// The hello, or the answer to one.
    fn greet(&mut self, hello: Vec<u8>) -> Vec<u8> {
        let (mut policy, mut data, mut quarantine) =
            (Trie::default(), Trie::default(), Trie::default());
        let inputs =
            [session::Input::Start, session::Input::Control(hello), session::Input::Granted];
        let mut bytes = Vec::new();
        for input in inputs {
            let mut sets = session::Sets {
                policy: &mut policy,
                data: &mut data,
                quarantine: &mut quarantine,
                reader: session::Reader::Member,
                disk: session::Disk::Settled,
                lane: &|_: &Key| Lane::Recent,
            };
            let _ = self.0.handle(Moment::from_millis(START), input, &mut sets);
            while let Some(output) = self.0.poll() {
                if let session::Output::Control(more) = output {
                    bytes.extend(more);
                }
            }
        }
        bytes
    }
}

/// Plays the steps of an input.
pub(crate) fn replica(bytes: &[u8]) {
    let Some(mut world) = World::new() else { return };
    world.connect(bytes.first().copied().unwrap_or_default());
    let mut rest = bytes.get(1..).unwrap_or_default();
    for _ in 0..STEPS_MAX {
        let [kind, high, low, behind @ ..] = rest else { break };
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(behind.len());
        let (content, next) = behind.split_at(length);
        world.step(*kind, content);
        rest = next;
    }
    world.reopen();
}
