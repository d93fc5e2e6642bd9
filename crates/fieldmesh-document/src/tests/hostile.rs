//! Thousands of damaged changes: none makes the gate panic, and what passes can be used.
//!
//! Each change of a document with texts, lists, conflicts and a tombstone is damaged at random
//! places and its checksum put right, or its operations are rearranged; then it is judged as a
//! foreign change.

use automerge::legacy::{Key, ObjectId, OpId, OpType};
use automerge::{Automerge, Change, ExpandedChange};
use sha2::{Digest, Sha256};

use super::*;
use crate::gate::{Rival, select};
use crate::guard::guard;
use crate::{Accepted, peek};

const ROUNDS: usize = 3_000;

/// A small generator of the same numbers each time.
pub(super) struct Numbers(pub(super) u64);

impl Numbers {
    pub(super) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap() % limit
    }
}

/// A document of many kinds of changes, each with the device that made it.
pub(super) fn busy(fields: &Fields) -> Vec<(u8, Vec<u8>)> {
    let [mut one, mut two] = crew_with(fields);
    let mut authors = BTreeMap::new();
    let mut note = |replica: &Replica| {
        for hash in replica.changes.keys() {
            authors.entry(*hash).or_insert(replica.number);
        }
    };
    note(&one);
    one.set(1, "notes", "the pump ran quite smoothly");
    note(&one);
    two.set(2, "notes", "pump ran");
    two.set(3, "photos", vec!["/upload/2", "/upload/9"]);
    note(&two);
    one.set(3, "data.oilVolume", 99.25);
    one.edit(4, &[Edit::clear("data.runtime"), Edit::set("data.gasVolume", 7)]);
    note(&one);
    two.set(4, "data.oilVolume", 98.5);
    note(&two);
    one.pull(&two);
    one.resolve(5, "A");
    one.edit(6, &[Edit::RemoveItem { key: "photos".to_owned(), item: "/upload/2".into() }]);
    note(&one);
    two.delete(7);
    note(&two);
    one.pull(&two);
    one.restore(8);
    note(&one);
    one.changes.iter().map(|(hash, bytes)| (authors[hash], bytes.clone())).collect()
}

/// Puts the checksum of a change right, as a hostile writer would.
pub(super) fn seal(bytes: &mut [u8]) {
    if bytes.len() > 9 {
        let hash = Sha256::digest(&bytes[8..]);
        bytes[4..8].copy_from_slice(&hash[..4]);
    }
}

pub(super) fn damage(bytes: &[u8], numbers: &mut Numbers) -> Vec<u8> {
    let mut damaged = bytes.to_vec();
    for _ in 0..=numbers.below(3) {
        // Behind the magic and the checksum; the length mostly stays as it is.
        let place = 11 + numbers.below(damaged.len() - 11);
        match numbers.below(3) {
            0 => damaged[place] = u8::try_from(numbers.below(256)).unwrap(),
            _ => damaged[place] ^= 1 << numbers.below(8),
        }
    }
    seal(&mut damaged);
    damaged
}

/// A change whose operations were moved, dropped and pointed elsewhere, well encoded.
pub(super) fn rearrange(
    change: &ExpandedChange,
    ids: &[OpId],
    numbers: &mut Numbers,
) -> Option<Vec<u8>> {
    let mut bad = change.clone();
    for _ in 0..=numbers.below(2) {
        if bad.operations.is_empty() {
            return None;
        }
        let place = numbers.below(bad.operations.len());
        let other = numbers.below(bad.operations.len());
        let id = ids[numbers.below(ids.len())].clone();
        let operation = &mut bad.operations[place];
        match numbers.below(10) {
            0 => bad.operations.swap(place, other),
            1 => drop(bad.operations.remove(place)),
            2 => operation.obj = ObjectId::Id(id),
            3 => operation.obj = ObjectId::Root,
            4 => operation.key = Key::from(id),
            5 => operation.pred = vec![id].into(),
            6 => operation.pred = operation.pred.iter().cloned().chain([id]).collect(),
            7 => operation.insert = !operation.insert,
            8 => operation.action = OpType::Delete,
            _ => bad.start_op = bad.start_op.saturating_add(numbers.below(40) as u64),
        }
    }
    guard(|| Change::from(bad).raw_bytes().to_vec()).ok()
}

/// What was accepted can be read, saved and loaded, alone and beside all other changes.
fn assert_usable(passed: &Accepted, bad: &[u8], all: &[&[u8]]) {
    let id = passed.document.id();
    let view = passed.document.view(entries()).unwrap();
    if passed.root.is_some() {
        // A first change is read without Automerge, and Automerge reads the same.
        let loaded = Document::load_all(id, bad).unwrap();
        assert_eq!(view, loaded.view(entries()).unwrap());
    }
    passed.document.conflicts(entries()).unwrap();
    passed.document.history(entries()).unwrap();
    let saved = passed.document.inner().save();
    let loaded = Automerge::load(&saved).unwrap();
    assert_eq!(loaded.get_heads(), passed.document.inner().get_heads());
    assert_eq!(loaded.hydrate(None), passed.document.inner().hydrate(None));

    // Beside what the others wrote; where it repeats a number, one of the two is left out.
    let changes: Vec<_> = all.iter().copied().chain([bad]).collect();
    let peeked: Vec<_> = changes.iter().map(|bytes| peek(bytes).unwrap()).collect();
    let rivals: Vec<_> = peeked
        .iter()
        .map(|change| Rival { change, author: DeviceId::from_bytes([0; 32]), is_pinned: false })
        .collect();
    let excluded = select(&rivals);
    let kept =
        changes.iter().zip(&peeked).filter(|(_, peeked)| !excluded.contains_key(&peeked.hash));
    let merged = Document::load(id, kept.map(|(bytes, _)| *bytes)).unwrap();
    merged.view(entries()).unwrap();
    merged.conflicts(entries()).unwrap();
    merged.history(entries()).unwrap();
}

fn judge_all(mut make: impl FnMut(usize, &[(u8, Vec<u8>)]) -> Option<Vec<u8>>) {
    let changes = busy(&production());
    let [one] = crew::<1>();
    let all: Vec<_> = changes.iter().map(|(_, bytes)| bytes.as_slice()).collect();
    let (mut accepted, mut refused) = (0, 0);
    for round in 0..ROUNDS {
        let author = changes[round % changes.len()].0;
        let Some(bad) = make(round % changes.len(), &changes) else { continue };
        let origin = Origin { author: device(author), user: user(author), ..one.origin() };
        match judge(&bad, &all, &origin) {
            Ok(passed) => {
                accepted += 1;
                assert_usable(&passed, &bad, &all);
            }
            Err(_) => refused += 1,
        }
    }
    assert!(accepted > 0 && refused > accepted, "{accepted} accepted, {refused} refused");
}

/// Honest changes are read without Automerge, and whatever is read so and is what Automerge would
/// write, Automerge reads alike.
#[test]
fn what_is_read_without_automerge_is_what_automerge_reads() {
    let mut numbers = Numbers(0x2545_f491_4f6c_dd1d);
    let changes = busy(&production());
    let read = |bytes: &[u8]| {
        let peeked = peek(bytes).ok()?;
        let read = crate::chunk::operations::read(bytes, &peeked)?;
        let again = guard(|| Change::from(read.clone())).ok()?;
        (again.raw_bytes() == bytes).then_some(read)
    };
    let mut agreed = 0;
    for round in 0..ROUNDS {
        let (_, honest) = &changes[round % changes.len()];
        assert!(read(honest).is_some(), "of a kind that the gate knows");
        let bytes = if round < changes.len() { honest } else { &damage(honest, &mut numbers) };
        let Some(ours) = read(bytes) else { continue };
        let theirs = Change::try_from(bytes.as_slice()).unwrap().decode();
        assert_eq!(ours.operations, theirs.operations);
        assert_eq!((ours.actor_id, ours.seq), (theirs.actor_id, theirs.seq));
        assert_eq!((ours.start_op, ours.time), (theirs.start_op, theirs.time));
        assert_eq!((ours.deps, ours.message), (theirs.deps, theirs.message));
        assert_eq!(ours.extra_bytes, theirs.extra_bytes);
        agreed += 1;
    }
    assert!(agreed > 2 * changes.len(), "{agreed} agreed");
}

#[test]
fn damaged_changes_never_panic_and_never_spoil_a_document() {
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    judge_all(|index, changes| Some(damage(&changes[index].1, &mut numbers)));
}

#[test]
fn rearranged_operations_never_spoil_a_document() {
    let mut numbers = Numbers(0x1f83_d9ab_fb41_bd6b);
    let expand = |bytes: &[u8]| Change::try_from(bytes).unwrap().decode();
    judge_all(|index, changes| {
        let mut ids = Vec::new();
        for (_, bytes) in changes {
            let change = expand(bytes);
            let counters = change.start_op.get()..;
            let own = change.operations.iter().zip(counters);
            ids.extend(own.map(|(_, counter)| OpId(counter, change.actor_id.clone())));
        }
        rearrange(&expand(&changes[index].1), &ids, &mut numbers)
    });
}

#[test]
fn random_bytes_are_no_change() {
    let [one] = crew::<1>();
    let mut numbers = Numbers(7);
    for length in 0..400 {
        let bytes: Vec<_> =
            (0..length).map(|_| u8::try_from(numbers.below(256)).unwrap()).collect();
        assert!(judge(&bytes, &[], &one.origin()).is_err());
        assert!(Document::load(one.id, [bytes.as_slice()]).is_err());
    }
}
