//! A conversation with a peer whose bytes are the input.

use fieldmesh_model::{Moment, StoreId, TenantTag};
use fieldmesh_session::{
    Disk, Input, Loaded, Output, Reader, Session, Sets, Settings, Settled, Side, Verdict,
};
use fieldmesh_trie::{Key, Trie};

const NOW: Moment = Moment::from_millis(1_770_000_000_000);
/// Outputs of one conversation; an honest one here has some fifty.
const OUTPUTS_MAX: usize = 100_000;

/// One side of a conversation and the sets behind it.
struct Participant {
    session: Session,
    policy: Trie,
    data: Trie,
    control: Vec<u8>,
    stream: Vec<u8>,
    is_closed: bool,
    outputs: usize,
}

fn bytes_of(key: &Key) -> Vec<u8> {
    key.as_bytes().repeat(4)
}

fn key_of(bytes: &[u8]) -> Key {
    Key::new([0; 8], 0, *blake3::hash(bytes).as_bytes())
}

impl Participant {
    fn new(side: Side) -> Self {
        let number = if side == Side::Dialled { 1 } else { 2 };
        let settings = Settings {
            side,
            channel_key: [7; 32],
            tenant: TenantTag::from_bytes([3; 16]),
            store: StoreId::from_bytes([number; 16]),
            store_epoch: 1,
            conversation: 5,
            ingest_window: 1 << 20,
        };
        let mut one = Self {
            session: Session::new(settings, NOW),
            policy: Trie::default(),
            data: Trie::default(),
            control: Vec::new(),
            stream: Vec::new(),
            is_closed: false,
            outputs: 0,
        };
        for index in 0..40 {
            let own = [number, index];
            let key = if index % 3 == 0 { key_of(&own) } else { key_of(&[index]) };
            one.data.insert(key);
            one.policy.insert(key_of(&[number, index % 4, 9]));
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
                reader: Reader::Member,
                disk: Disk::Settled,
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
            Output::Data(bytes) => {
                let length = bytes.len();
                self.stream.extend(bytes);
                return Some(Input::DataWritten(length));
            }
            Output::Load(_, keys) => {
                let load = |key: &Key| Loaded { id: key.id(), bytes: bytes_of(key) };
                return Some(Input::Loaded(keys.iter().map(load).collect()));
            }
            Output::Received(received) => {
                let verdict = Verdict::Known(key_of(&received.bytes));
                return Some(Input::Settled(vec![Settled { frame: received.frame, verdict }]));
            }
            Output::Offered(keys) => return Some(Input::Want(keys)),
            Output::Greeted(_) | Output::InStep | Output::Stalled => {}
        }
        None
    }
}

/// What both sides of an honest conversation write: control and data of the dialling side, then of
/// the accepting side.
pub(crate) fn honest() -> [Vec<u8>; 4] {
    let mut sides = [Participant::new(Side::Dialled), Participant::new(Side::Accepted)];
    let mut written = [const { Vec::new() }; 4];
    for turn in 0..200 {
        let (from, to) = (turn % 2, (turn + 1) % 2);
        let control = std::mem::take(&mut sides[from].control);
        let stream = std::mem::take(&mut sides[from].stream);
        written[2 * from].extend(&control);
        written[2 * from + 1].extend(&stream);
        sides[to].handle(Input::Control(control));
        sides[to].handle(Input::Data(stream));
    }
    written
}

/// One side after the other has greeted it, the side by the first byte; and the rest.
fn greeted(bytes: &[u8]) -> Option<(Participant, &[u8])> {
    let (side, rest) = bytes.split_first()?;
    let (mut dialled, mut accepted) =
        (Participant::new(Side::Dialled), Participant::new(Side::Accepted));
    accepted.handle(Input::Control(std::mem::take(&mut dialled.control)));
    if side % 2 == 0 {
        return Some((accepted, rest));
    }
    dialled.handle(Input::Control(std::mem::take(&mut accepted.control)));
    Some((dialled, rest))
}

/// The first message of a peer; the first byte says who dialled.
pub(crate) fn hello(bytes: &[u8]) {
    let Some((side, rest)) = bytes.split_first() else { return };
    let side = if side % 2 == 0 { Side::Accepted } else { Side::Dialled };
    Participant::new(side).handle(Input::Control(rest.to_vec()));
}

/// Messages after the greeting, in two pieces.
pub(crate) fn control(bytes: &[u8]) {
    let Some((mut one, rest)) = greeted(bytes) else { return };
    let (front, back) = rest.split_at(rest.len() / 2);
    one.handle(Input::Control(front.to_vec()));
    one.handle(Input::Control(back.to_vec()));
    one.handle(Input::Wake);
}

/// The data stream after the greeting, in two pieces.
pub(crate) fn data(bytes: &[u8]) {
    let Some((mut one, rest)) = greeted(bytes) else { return };
    let (front, back) = rest.split_at(rest.len() / 2);
    one.handle(Input::Data(front.to_vec()));
    one.handle(Input::Data(back.to_vec()));
    one.handle(Input::Wake);
}
