//! Two conversations with their sets and disks, and the wires between them.

use std::collections::{BTreeMap, VecDeque};

use fieldmesh_model::{Filter, Moment, StoreId, TenantTag};
use fieldmesh_trie::{KEY_LENGTH, Key, Trie};

use super::transcript::Entry;
use crate::wire::{ControlReader, Hello, Message, control};
use crate::{
    CloseReason, Disk, Input, Lane, Loaded, Manner, Output, Reader, Session, Set, Sets, Settings,
    Settled, Side, Verdict,
};

pub(super) fn at(millis: i64) -> Moment {
    Moment::from_millis(1_700_000_000_000 + millis)
}

/// A batch as these tests have it: its key, then bytes.
pub(super) fn content(number: u32, length: usize) -> Vec<u8> {
    let mut id = [0; 32];
    blake3::Hasher::new().update(&number.to_be_bytes()).finalize_xof().fill(&mut id);
    let scope = [0, 3, 0, 0, 0, 0, 0x5e, 0x01];
    let key = Key::new(scope, 1_700_000_000_000 + u64::from(number) * 1_000, id);
    let mut bytes = key.as_bytes().to_vec();
    let mut rest = vec![0; length];
    // Some of it compresses, as real changes do.
    blake3::Hasher::new().update(&id).finalize_xof().fill(&mut rest[..length / 4]);
    bytes.extend(rest);
    bytes
}

pub(super) fn key_of(bytes: &[u8]) -> Key {
    let mut key = [0; KEY_LENGTH];
    key.copy_from_slice(&bytes[..KEY_LENGTH]);
    Key::from_bytes(key)
}

/// One side of a conversation.
pub(super) struct End {
    pub(super) session: Session,
    pub(super) policy: Trie,
    pub(super) data: Trie,
    pub(super) disk: BTreeMap<[u8; 32], Vec<u8>>,
    pub(super) refuses: Vec<[u8; 32]>,
    pub(super) now: Moment,
    pub(super) quarantine: Trie,
    /// Bytes on their way out: control, then the lanes.
    pub(super) wires: [VecDeque<Vec<u8>>; 4],
    /// Whether frames settle and bytes leave only when the test says so.
    pub(super) is_slow: bool,
    pub(super) grants: bool,
    /// Whether what the peer names is left alone.
    pub(super) wants_nothing: bool,
    /// Whether a recorded data stream has begun.
    pub(super) has_data: bool,
    pub(super) unsettled: Vec<Input>,
    pub(super) urgent: Vec<[u8; 32]>,
    pub(super) seen: Vec<Output>,
    pub(super) fault: Option<CloseReason>,
    /// The most that the session kept at any time.
    pub(super) held_peak: usize,
    /// What was sent, in order.
    pub(super) log: VecDeque<Entry>,
}

impl End {
    pub(super) fn new(side: Side) -> Self {
        Self::of(Self::settings(side))
    }

    pub(super) fn settings(side: Side) -> Settings {
        Settings {
            side,
            channel_key: [9; 32],
            tenant: TenantTag::from_bytes([1; 16]),
            store: StoreId::from_bytes([2 + side as u8; 16]),
            store_epoch: 1,
            conversation: 5,
            ingest_window: crate::limits::INGEST_WINDOW_DEFAULT,
            filter: Filter::everything(),
            versions: (1, 2),
            partials: Vec::new(),
        }
    }

    pub(super) fn of(settings: Settings) -> Self {
        Self {
            session: Session::new(settings, at(0)),
            policy: Trie::new(),
            data: Trie::new(),
            disk: BTreeMap::new(),
            refuses: Vec::new(),
            now: at(0),
            quarantine: Trie::new(),
            wires: Default::default(),
            is_slow: false,
            grants: true,
            wants_nothing: false,
            has_data: false,
            unsettled: Vec::new(),
            urgent: Vec::new(),
            seen: Vec::new(),
            fault: None,
            held_peak: 0,
            log: VecDeque::new(),
        }
    }

    /// Takes part in one event of a conversation.
    pub(super) fn play(&mut self, entry: Entry) {
        match entry {
            Entry::Holds(set, thing) => self.hold(set, thing.bytes()),
            Entry::Lost(thing) => {
                self.disk.remove(&key_of(&thing.bytes()).id());
            }
            Entry::Refuses(thing) => self.refuses.push(key_of(&thing.bytes()).id()),
            Entry::Time(millis) => {
                self.now = at(millis);
                self.step(Input::Wake);
            }
            Entry::Start => self.step(Input::Start),
            Entry::Control(bytes) => self.step(Input::Control(bytes)),
            Entry::Data(bytes) => self.step(Input::Data(Lane::Recent, bytes)),
            Entry::New(set, thing) => {
                let key = key_of(&thing.bytes());
                self.hold(set, thing.bytes());
                self.step(Input::Offer(set, vec![key], Manner::Push));
            }
            Entry::Named(thing) => {
                let key = key_of(&thing.bytes());
                self.hold(Set::Data, thing.bytes());
                self.step(Input::Offer(Set::Data, vec![key], Manner::Name));
            }
            Entry::Check => self.step(Input::Check),
            Entry::Rejudged => {
                self.refuses.clear();
                self.step(Input::Rejudge(Default::default()));
            }
            Entry::ControlSent(_) | Entry::DataSent(_) => {}
        }
    }

    /// Takes bytes of the control stream, 0, or of a lane.
    pub(super) fn take(&mut self, wire: usize, bytes: Vec<u8>) {
        self.step(match wire {
            0 => Input::Control(bytes),
            lane => Input::Data(Lane::ALL[lane - 1], bytes),
        });
    }

    pub(super) fn hold(&mut self, set: Set, bytes: Vec<u8>) {
        let key = key_of(&bytes);
        match set {
            Set::Policy => self.policy.insert(key),
            Set::Data => self.data.insert(key),
            Set::Quarantine => self.quarantine.insert(key),
        };
        self.disk.insert(key.id(), bytes);
    }

    pub(super) fn step(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        let urgent = self.urgent.clone();
        let lane = |key: &Key| match urgent.contains(&key.id()) {
            true => Lane::Urgent,
            false => Lane::Backfill,
        };
        while let Some(input) = inputs.pop_front() {
            let mut sets = Sets {
                policy: &mut self.policy,
                data: &mut self.data,
                quarantine: &mut self.quarantine,
                lane: &lane,
                reader: Reader::Member,
                disk: Disk::Settled,
            };
            let handled = self.session.handle(self.now, input, &mut sets);
            self.held_peak = self.held_peak.max(self.session.held_bytes());
            if let Err(fault) = handled {
                self.fault = Some(fault);
                return;
            }
            while let Some(output) = self.session.poll() {
                self.perform(output, &mut inputs);
            }
        }
    }

    fn perform(&mut self, output: Output, next: &mut VecDeque<Input>) {
        match output {
            Output::Control(bytes) => {
                self.log.push_back(Entry::ControlSent(bytes.clone()));
                self.wires[0].push_back(bytes);
            }
            Output::Data(lane, bytes) => {
                self.log.push_back(Entry::DataSent(bytes.clone()));
                if !self.is_slow {
                    next.push_back(Input::DataWritten(lane, bytes.len()));
                }
                self.wires[1 + lane.index()].push_back(bytes);
            }
            Output::Load(_, keys) => {
                let (mut loaded, mut failed) = (Vec::new(), Vec::new());
                for id in keys.iter().map(Key::id) {
                    match self.disk.get(&id) {
                        Some(bytes) => loaded.push(Loaded { id, bytes: bytes.clone() }),
                        None => failed.push(id),
                    }
                }
                next.push_back(Input::Loaded(loaded));
                next.push_back(Input::LoadFailed(failed));
            }
            Output::Received(received) => {
                if received.bytes.len() < KEY_LENGTH {
                    return;
                }
                let key = key_of(&received.bytes);
                let verdict = if self.refuses.contains(&key.id()) {
                    Verdict::Refused(key)
                } else if self.disk.contains_key(&key.id()) {
                    Verdict::Known(key)
                } else {
                    self.hold(received.frame.set, received.bytes);
                    Verdict::Stored
                };
                let settled = Input::Settled(vec![Settled { frame: received.frame, verdict }]);
                if self.is_slow {
                    self.unsettled.push(settled);
                } else {
                    next.push_back(settled);
                }
            }
            Output::Offered(_) if self.wants_nothing => {}
            Output::Offered(keys) => next.push_back(Input::Want(keys)),
            Output::Greeted(_) => {
                self.seen.push(output);
                if self.grants {
                    next.push_front(Input::Granted);
                }
            }
            output @ (Output::InStep
            | Output::Stalled
            | Output::Unproven(_)
            | Output::Receipts(_)) => {
                self.seen.push(output);
            }
        }
    }
}

/// Carries bytes to and fro until none is left.
pub(super) fn settle(ends: &mut [End; 2]) {
    loop {
        let mut is_idle = true;
        for from in [0, 1] {
            for wire in 0..4 {
                while let Some(bytes) = ends[from].wires[wire].pop_front() {
                    is_idle = false;
                    ends[1 - from].take(wire, bytes);
                }
            }
        }
        if is_idle {
            return;
        }
    }
}

/// A dialling and an accepting side.
pub(super) fn pair() -> [End; 2] {
    [End::new(Side::Dialled), End::new(Side::Accepted)]
}

/// Begins the conversation and lets it come to rest.
pub(super) fn start(ends: &mut [End; 2]) {
    for end in ends.iter_mut() {
        end.step(Input::Start);
    }
    settle(ends);
}

/// The hello with which a dialling side that was started begins.
pub(super) fn first_hello(end: &mut End) -> Hello {
    let mut reader = ControlReader::default();
    reader.extend(&end.wires[0].pop_front().unwrap());
    let Ok(Some(Message::Hello(hello))) = reader.next() else { panic!("no hello") };
    hello
}

/// Tells `end` something that a peer of no honesty could say.
pub(super) fn say(end: &mut End, message: &Message) {
    let mut bytes = Vec::new();
    control::write(message, &mut bytes).unwrap();
    end.step(Input::Control(bytes));
}
