//! Makes the hostile changes, the same ones each time.

use automerge::legacy::{Key, ObjectId, Op, OpId, OpType, SortedVec};
use automerge::{ActorId, Change, ChangeHash, ExpandedChange, ScalarValue};
use fieldmesh_model::limits::{CHANGE_DEPENDENCIES_MAX, CHANGE_OPERATIONS_MAX, CHANGE_SIZE_MAX};

use super::super::hostile::{busy, damage, rearrange, seal};
use super::*;
use crate::guard::guard;

/// A change and the batch that it pretends to come from.
pub(super) struct Filed {
    pub(super) kind: Kind,
    pub(super) origin: Origin,
    pub(super) change: Vec<u8>,
}

/// What was done to a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Honest,
    Flipped,
    Rearranged,
    Equivocal,
    Orphan,
    BuiltOn,
    Bomb,
    Truncated,
    Oversized,
    WrongActor,
    Copied,
    Numbered,
    Endless,
}

impl Kind {
    pub(super) const ALL: [Self; 13] = [
        Self::Honest,
        Self::Flipped,
        Self::Rearranged,
        Self::Equivocal,
        Self::Orphan,
        Self::BuiltOn,
        Self::Bomb,
        Self::Truncated,
        Self::Oversized,
        Self::WrongActor,
        Self::Copied,
        Self::Numbered,
        Self::Endless,
    ];
}

/// The changes of one record, honest ones first.
struct Maker {
    numbers: Numbers,
    id: DocumentId,
    honest: Vec<(u8, Vec<u8>)>,
    foreign: Vec<(u8, Vec<u8>)>,
    ids: Vec<OpId>,
    made: Vec<Filed>,
}

/// The honest changes of record `number` and `count` mutated ones.
pub(super) fn document(number: usize, count: usize) -> Vec<Filed> {
    let mut maker = Maker::new(number);
    for (author, change) in maker.honest.clone() {
        maker.file(Kind::Honest, author, change);
    }
    let end = maker.made.len() + count;
    while maker.made.len() < end {
        maker.mutate();
    }
    maker.made
}

fn fields(number: usize) -> Fields {
    let mut fields = production();
    fields.insert("recordedAt".to_owned(), at(-i64::try_from(number).unwrap()).into());
    fields
}

fn expand(bytes: &[u8]) -> ExpandedChange {
    Change::try_from(bytes).unwrap().decode()
}

fn encode(change: ExpandedChange) -> Option<Vec<u8>> {
    guard(|| Change::from(change).raw_bytes().to_vec()).ok()
}

impl Maker {
    fn new(number: usize) -> Self {
        let honest = busy(&fields(number));
        let mut ids = Vec::new();
        for (_, bytes) in &honest {
            let change = expand(bytes);
            let own = change.operations.iter().zip(change.start_op.get()..);
            ids.extend(own.map(|(_, counter)| OpId(counter, change.actor_id.clone())));
        }
        Self {
            numbers: Numbers(0x2545_f491_4f6c_dd1d ^ (number as u64 + 1)),
            id: identity(&fields(number)).id,
            honest,
            foreign: busy(&fields(number + 1_000)),
            ids,
            made: Vec::new(),
        }
    }

    fn file(&mut self, kind: Kind, author: u8, change: Vec<u8>) {
        let origin = Origin {
            document: self.id,
            author: device(author),
            epoch: Epoch(1),
            scope: Scope::of(wells::FIELD_ENTRY, 0, at(0)),
            user: user(author),
            is_gateway: false,
        };
        self.made.push(Filed { kind, origin, change });
    }

    fn mutate(&mut self) {
        let (author, bytes) = self.honest[self.numbers.below(self.honest.len())].clone();
        let kind = match self.numbers.below(100) {
            0..40 => Kind::Flipped,
            40..60 => Kind::Rearranged,
            60..66 => Kind::Equivocal,
            66..70 => Kind::Orphan,
            70..76 => Kind::BuiltOn,
            76..77 => Kind::Bomb,
            77..82 => Kind::Truncated,
            82..84 => Kind::Oversized,
            84..88 => Kind::WrongActor,
            88..90 => Kind::Copied,
            90..95 => Kind::Numbered,
            _ => Kind::Endless,
        };
        let change = match kind {
            Kind::Honest => None,
            Kind::Flipped => Some(damage(&bytes, &mut self.numbers)),
            Kind::Rearranged => rearrange(&expand(&bytes), &self.ids, &mut self.numbers),
            Kind::Equivocal => self.equivocal(&bytes),
            Kind::Orphan => self.orphan(&bytes),
            Kind::BuiltOn => self.built_on(author),
            Kind::Bomb => self.bomb(&bytes),
            Kind::Truncated => {
                let keep = 1 + self.numbers.below(bytes.len() - 1);
                let mut cut = bytes[..keep].to_vec();
                seal(&mut cut);
                Some(cut)
            }
            Kind::Oversized => self.oversized(&bytes),
            Kind::WrongActor => return self.file(kind, 3 - author, bytes),
            Kind::Copied => {
                let (author, bytes) = self.foreign[self.numbers.below(self.foreign.len())].clone();
                return self.file(kind, author, bytes);
            }
            Kind::Numbered => self.numbered(&bytes),
            Kind::Endless => endless(&bytes, &mut self.numbers),
        };
        if let Some(change) = change {
            self.file(kind, author, change);
        }
    }

    /// The same place in the chain of its actor with other content.
    fn equivocal(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut change = expand(bytes);
        if self.numbers.below(2) == 0 {
            change.time += 1 + self.numbers.below(1_000) as i64;
        } else {
            let put = change.operations.iter_mut().find(|operation| {
                operation.action == OpType::Put(ScalarValue::F64(99.25))
                    || matches!(&operation.action, OpType::Put(ScalarValue::Str(_)))
            })?;
            put.action = OpType::Put(ScalarValue::Str(self.letter().into()));
        }
        encode(change)
    }

    fn letter(&mut self) -> String {
        char::from(b'a' + u8::try_from(self.numbers.below(26)).unwrap()).to_string()
    }

    /// It builds on changes that nobody has.
    fn orphan(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut change = expand(bytes);
        let hash = std::array::from_fn(|_| u8::try_from(self.numbers.below(256)).unwrap());
        change.deps.push(ChangeHash(hash));
        encode(change)
    }

    /// A plausible edit on top of one or two changes made so far, good or bad.
    fn built_on(&mut self, author: u8) -> Option<Vec<u8>> {
        let mut deps = BTreeSet::new();
        let mut next = 1;
        let mut seq = 1;
        let own = actor(device(author), Epoch(1));
        for _ in 0..=self.numbers.below(2) {
            let below = self.made.len();
            let peeked = peek(&self.made[self.numbers.below(below)].change).ok()?;
            next = next.max(peeked.start_op.checked_add(peeked.operations as u64)?);
            if peeked.actor == own {
                seq = seq.max(peeked.seq.checked_add(1)?);
            }
            deps.insert(peeked.hash);
        }
        let put = Op {
            action: OpType::Put(ScalarValue::Str(self.letter().into())),
            obj: ObjectId::Root,
            key: Key::Map("data.remark".into()),
            pred: SortedVec::new(),
            insert: false,
        };
        encode(ExpandedChange {
            operations: vec![put],
            actor_id: ActorId::from(own),
            hash: None,
            seq,
            start_op: std::num::NonZeroU64::new(next)?,
            time: at(9).as_millis(),
            message: None,
            deps: deps.into_iter().map(ChangeHash).collect(),
            extra_bytes: Vec::new(),
            author: None,
        })
    }

    /// A compressed chunk of a few kilobytes that stands for megabytes, or a column that says so.
    fn bomb(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        if self.numbers.below(2) == 0 {
            let mut change = expand(bytes);
            let first = change.operations.first_mut()?;
            first.action = OpType::Put(ScalarValue::Bytes(vec![0; 2 << 20]));
            return guard(|| Change::from(change).bytes().into_owned()).ok();
        }
        let mut parts = Parts::of(bytes)?;
        let place = self.numbers.below(parts.columns.len());
        parts.columns[place].0 |= 8;
        Some(parts.join())
    }

    /// More bytes, operations or dependencies than a change may have.
    fn oversized(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut change = expand(bytes);
        match self.numbers.below(3) {
            0 => {
                let first = change.operations.first_mut()?;
                first.action = OpType::Put(ScalarValue::Bytes(vec![7; CHANGE_SIZE_MAX]));
            }
            1 => {
                let first = change.operations.first()?.clone();
                change.operations = vec![first; CHANGE_OPERATIONS_MAX + 1];
            }
            _ => {
                let dep = |index: usize| ChangeHash(*blake3::hash(&index.to_le_bytes()).as_bytes());
                change.deps.extend((0..=CHANGE_DEPENDENCIES_MAX).map(dep));
            }
        }
        encode(change)
    }

    /// Its number in the chain, its first operation or its time is made up.
    fn numbered(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        const EDGES: [u64; 12] = [
            0,
            1,
            2,
            65_537,
            1 << 31,
            (1 << 32) - 20,
            (1 << 32) - 1,
            1 << 32,
            (1 << 53) + 1,
            1 << 60,
            u64::MAX >> 1,
            u64::MAX,
        ];
        let mut change = expand(bytes);
        let near = self.numbers.below(80) as u64;
        let edge = EDGES[self.numbers.below(EDGES.len())];
        let start = change.start_op.get();
        match self.numbers.below(4) {
            0 => change.seq = edge,
            1 => change.start_op = std::num::NonZeroU64::new(edge)?,
            2 => change.start_op = std::num::NonZeroU64::new((start + near).max(41) - 40)?,
            _ => change.time = i64::from_ne_bytes(edge.to_ne_bytes()),
        }
        encode(change)
    }
}

/// A run in one of its columns stands for very many items.
fn endless(bytes: &[u8], numbers: &mut Numbers) -> Option<Vec<u8>> {
    let mut parts = Parts::of(bytes)?;
    let place = numbers.below(parts.columns.len());
    let count = [1_u64 << 60, (1 << 60) + 1, 1 << 33, 1 << 20][numbers.below(4)];
    let is_boolean = parts.columns[place].0 & 7 == 4;
    let mut run = Vec::new();
    match numbers.below(3) {
        _ if is_boolean => write_number(&mut run, count),
        0 => {
            run.push(0);
            write_number(&mut run, count);
        }
        1 => {
            write_signed(&mut run, count);
            run.push(0);
        }
        _ => {
            write_signed(&mut run, count);
            run.push(1);
            run.push(b'x');
        }
    }
    let column = &mut parts.columns[place].1;
    match numbers.below(3) {
        0 => *column = run,
        1 => column.extend(run),
        _ => drop(column.splice(0..0, run)),
    }
    Some(parts.join())
}

/// A change taken apart at its columns.
struct Parts {
    front: Vec<u8>,
    columns: Vec<(u64, Vec<u8>)>,
}

impl Parts {
    fn of(bytes: &[u8]) -> Option<Self> {
        let mut rest = &bytes[9..];
        take_number(&mut rest)?;
        let body = rest;
        let deps = take_number(&mut rest)?;
        take(&mut rest, deps.checked_mul(32)?)?;
        let actor = take_number(&mut rest)?;
        take(&mut rest, actor)?;
        for _ in 0..3 {
            take_number(&mut rest)?;
        }
        let message = take_number(&mut rest)?;
        take(&mut rest, message)?;
        for _ in 0..take_number(&mut rest)? {
            let actor = take_number(&mut rest)?;
            take(&mut rest, actor)?;
        }
        let front = body[..body.len() - rest.len()].to_vec();
        let mut lengths = Vec::new();
        for _ in 0..take_number(&mut rest)? {
            lengths.push((take_number(&mut rest)?, take_number(&mut rest)?));
        }
        let mut columns = Vec::new();
        for (specification, length) in lengths {
            columns.push((specification, take(&mut rest, length)?.to_vec()));
        }
        Some(Self { front, columns })
    }

    fn join(&self) -> Vec<u8> {
        let mut body = self.front.clone();
        write_number(&mut body, self.columns.len() as u64);
        for (specification, column) in &self.columns {
            write_number(&mut body, *specification);
            write_number(&mut body, column.len() as u64);
        }
        self.columns.iter().for_each(|(_, column)| body.extend(column));
        let mut bytes = vec![0x85, 0x6f, 0x4a, 0x83, 0, 0, 0, 0, 1];
        write_number(&mut bytes, body.len() as u64);
        bytes.extend(body);
        seal(&mut bytes);
        bytes
    }
}

fn take<'a>(rest: &mut &'a [u8], length: u64) -> Option<&'a [u8]> {
    let (taken, behind) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    *rest = behind;
    Some(taken)
}

fn take_number(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..63).step_by(7) {
        let byte = take(rest, 1)?[0];
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn write_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        bytes.push(u8::try_from(number & 0x7f).unwrap() | 0x80);
        number >>= 7;
    }
    bytes.push(u8::try_from(number).unwrap());
}

/// A positive number as signed LEB128 writes it.
fn write_signed(bytes: &mut Vec<u8>, mut number: u64) {
    while number > 0x3f {
        bytes.push(u8::try_from(number & 0x7f).unwrap() | 0x80);
        number >>= 7;
    }
    bytes.push(u8::try_from(number).unwrap());
}
