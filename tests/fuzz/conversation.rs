//! A conversation with a peer whose bytes are the input.
//!
//! The first byte of an input says who the peer is, see [`Manner`].

use fieldmesh_model::{Filter, Moment, StoreId, TenantTag};
use fieldmesh_session::{
    Disk, Input, Lane, Loaded, Output, Partial, Reader, Session, Set, Sets, Settings, Settled,
    Side, Verdict,
};
use fieldmesh_trie::{KEY_LENGTH, Key, Trie};

const NOW: Moment = Moment::from_millis(1_770_000_000_000);
/// Outputs of one conversation; an honest one here has some hundred.
const OUTPUTS_MAX: usize = 100_000;
/// The length of a batch that travels in parts.
const LONG: usize = 40_000;

/// One side of a conversation and the sets behind it.
struct Participant {
    session: Session,
    policy: Trie,
    data: Trie,
    quarantine: Trie,
    control: Vec<u8>,
    /// What it wrote to the data streams, in the order of their lanes.
    lanes: [Vec<u8>; 3],
    grants: bool,
    is_closed: bool,
    outputs: usize,
}

/// How the first byte of an input wants the conversation.
#[derive(Clone, Copy)]
struct Manner(u8);

impl Manner {
    fn side(self) -> Side {
        if self.0 & 1 == 0 { Side::Accepted } else { Side::Dialled }
    }

    fn versions(self) -> (u16, u16) {
        if self.0 & 2 == 0 { (1, 2) } else { (1, 1) }
    }

    /// Whether the sets are granted only after the input.
    fn is_granted_late(self) -> bool {
        self.0 & 4 != 0
    }
}

fn key_of(bytes: &[u8]) -> Key {
    Key::new([0; 8], 0, *blake3::hash(bytes).as_bytes())
}

/// A batch as it is here: its key, then bytes.
fn bytes_of(key: &Key) -> Vec<u8> {
    let length = if key.id()[0] % 16 == 3 { LONG } else { 3 * KEY_LENGTH };
    let mut bytes = key.as_bytes().to_vec();
    bytes.resize(KEY_LENGTH + length, key.id()[1]);
    bytes
}

/// The key at the front of a batch; of other bytes their hash.
fn front_of(bytes: &[u8]) -> Key {
    bytes.first_chunk::<KEY_LENGTH>().map_or_else(|| key_of(bytes), |key| Key::from_bytes(*key))
}

fn lane_of(key: &Key) -> Lane {
    Lane::ALL[usize::from(key.id()[2]) % 3]
}

impl Participant {
    fn new(side: Side, versions: (u16, u16)) -> Self {
        let number = if side == Side::Dialled { 1 } else { 2 };
        let long =
            (0..40).map(|index| key_of(&[3 - number, index])).find(|key| key.id()[0] % 16 == 3);
        let partial = |key: Key| Partial {
            id: key.id(),
            total: (KEY_LENGTH + LONG) as u32,
            bytes: bytes_of(&key)[..LONG / 2].to_vec(),
        };
        let settings = Settings {
            side,
            channel_key: [7; 32],
            tenant: TenantTag::from_bytes([3; 16]),
            store: StoreId::from_bytes([number; 16]),
            store_epoch: 1,
            conversation: 5,
            ingest_window: 1 << 20,
            filter: Filter::everything(),
            versions,
            partials: long.into_iter().map(partial).collect(),
        };
        let mut one = Self {
            session: Session::new(settings, NOW),
            policy: Trie::default(),
            data: Trie::default(),
            quarantine: Trie::default(),
            control: Vec::new(),
            lanes: Default::default(),
            grants: true,
            is_closed: false,
            outputs: 0,
        };
        for index in 0..40 {
            let own = [number, index];
            one.data.insert(if index % 3 == 0 { key_of(&own) } else { key_of(&[index]) });
            one.policy.insert(key_of(&[number, index % 4, 9]));
            one.quarantine.insert(key_of(&[if index < 9 { number } else { 0 }, index, 8]));
        }
        one.handle(Input::Start);
        one
    }

    fn handle(&mut self, input: Input) {
        let mut open = vec![input];
        while let Some(input) = open.pop() {
            if self.is_closed {
                return;
            }
            let mut sets = Sets {
                policy: &mut self.policy,
                data: &mut self.data,
                quarantine: &mut self.quarantine,
                reader: Reader::Member,
                disk: Disk::Settled,
                lane: &lane_of,
            };
            self.is_closed = self.session.handle(NOW, input, &mut sets).is_err();
            while let Some(output) = self.session.poll() {
                self.outputs += 1;
                assert!(self.outputs < OUTPUTS_MAX, "a conversation goes on for ever");
                open.extend(self.perform(output));
            }
        }
    }

    fn perform(&mut self, output: Output) -> Option<Input> {
        match output {
            Output::Control(bytes) => self.control.extend(bytes),
            Output::Data(lane, bytes) => {
                let length = bytes.len();
                self.lanes[usize::from(lane.code())].extend(bytes);
                return Some(Input::DataWritten(lane, length));
            }
            Output::Load(_, keys) => {
                let load = |key: &Key| Loaded { id: key.id(), bytes: bytes_of(key) };
                return Some(Input::Loaded(keys.iter().map(load).collect()));
            }
            Output::Received(received) => {
                let verdict = self.judge(received.frame.set, front_of(&received.bytes));
                return Some(Input::Settled(vec![Settled { frame: received.frame, verdict }]));
            }
            Output::Offered(keys) => return Some(Input::Want(keys)),
            Output::Greeted(_) if self.grants => return Some(Input::Granted),
            Output::Unproven(keys) => {
                let receipts = keys.iter().map(|key| key.as_bytes().to_vec());
                return Some(Input::Receipts(receipts.collect()));
            }
            Output::Greeted(_) | Output::InStep | Output::Receipts(_) | Output::Stalled => {}
        }
        None
    }

    /// Refuses one batch of seven.
    fn judge(&mut self, set: Set, key: Key) -> Verdict {
        if set != Set::Policy && key.id()[3].is_multiple_of(7) {
            return Verdict::Refused(key);
        }
        let is_new = match set {
            Set::Policy => self.policy.insert(key),
            Set::Data => self.data.insert(key),
            Set::Quarantine => self.quarantine.insert(key),
        };
        if is_new { Verdict::Stored } else { Verdict::Known(key) }
    }
}

/// What one side of an honest conversation writes.
#[derive(Default)]
pub(crate) struct Written {
    pub(crate) control: Vec<u8>,
    /// The data streams, in the order of their lanes.
    pub(crate) lanes: [Vec<u8>; 3],
}

/// What both sides of an honest conversation write, the dialling one first.
pub(crate) fn honest(version: u16) -> [Written; 2] {
    let side = |side| Participant::new(side, (1, version));
    let mut sides = [side(Side::Dialled), side(Side::Accepted)];
    let mut written = [Written::default(), Written::default()];
    for turn in 0..400 {
        let (from, to) = (turn % 2, (turn + 1) % 2);
        if turn == 100 || turn == 101 {
            sides[from].handle(Input::Prove(vec![key_of(&[7]), key_of(&[8])]));
        }
        let control = std::mem::take(&mut sides[from].control);
        written[from].control.extend(&control);
        sides[to].handle(Input::Control(control));
        for lane in Lane::ALL {
            let index = usize::from(lane.code());
            let bytes = std::mem::take(&mut sides[from].lanes[index]);
            written[from].lanes[index].extend(&bytes);
            sides[to].handle(Input::Data(lane, bytes));
        }
    }
    written
}

/// One side after the other has greeted it, and whether its sets are still to be granted.
fn greeted(manner: Manner) -> Participant {
    let versions = manner.versions();
    let mut dialled = Participant::new(Side::Dialled, versions);
    let mut accepted = Participant::new(Side::Accepted, versions);
    match manner.side() {
        Side::Accepted => accepted.grants = !manner.is_granted_late(),
        Side::Dialled => dialled.grants = !manner.is_granted_late(),
    }
    accepted.handle(Input::Control(std::mem::take(&mut dialled.control)));
    if manner.side() == Side::Accepted {
        return accepted;
    }
    dialled.handle(Input::Control(std::mem::take(&mut accepted.control)));
    dialled
}

/// Takes an input in two pieces.
fn take(mut one: Participant, bytes: &[u8], input: impl Fn(Vec<u8>) -> Input) {
    let (front, back) = bytes.split_at(bytes.len() / 2);
    one.handle(input(front.to_vec()));
    one.handle(input(back.to_vec()));
    one.handle(Input::Granted);
    one.handle(Input::Wake);
    let _ = one.session.take_partials();
}

/// The first message of a peer.
pub(crate) fn hello(bytes: &[u8]) {
    let Some((manner, rest)) = bytes.split_first() else { return };
    let manner = Manner(*manner);
    let mut one = Participant::new(manner.side(), manner.versions());
    one.grants = !manner.is_granted_late();
    take(one, rest, Input::Control);
}

/// Messages after the greeting.
pub(crate) fn control(bytes: &[u8]) {
    let Some((manner, rest)) = bytes.split_first() else { return };
    take(greeted(Manner(*manner)), rest, Input::Control);
}

/// A data stream after the greeting; the second byte names its lane.
pub(crate) fn data(bytes: &[u8]) {
    let [manner, lane, rest @ ..] = bytes else { return };
    let lane = Lane::ALL[usize::from(*lane) % 3];
    take(greeted(Manner(*manner)), rest, |bytes| Input::Data(lane, bytes));
}

/// The same with the frames as they are, not compressed.
pub(crate) fn frames(bytes: &[u8]) {
    let [manner, lane, rest @ ..] = bytes else { return };
    let lane = Lane::ALL[usize::from(*lane) % 3];
    let stream = [&STREAM_HEAD[..], &block(rest)].concat();
    take(greeted(Manner(*manner)), &stream, |bytes| Input::Data(lane, bytes));
}

/// What a zstd stream begins with: its magic number, no checksum, a window of 512 KiB.
pub(crate) const STREAM_HEAD: [u8; 6] = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x48];

/// Bytes as zstd keeps them where they do not compress, so that a mutation hits what it carries.
pub(crate) fn block(bytes: &[u8]) -> Vec<u8> {
    let mut blocks = Vec::with_capacity(bytes.len() + 3);
    for piece in bytes.chunks(100_000) {
        blocks.extend(&((piece.len() as u32) << 3).to_le_bytes()[..3]);
        blocks.extend(piece);
    }
    blocks
}
