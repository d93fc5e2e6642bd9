//! A peer that changes any byte of what it says: the conversation ends or goes on, and never keeps
//! more than its ceiling.
//!
//! A conversation is recorded; then each side hears its half again with one byte changed.

use fieldmesh_trie::KEY_LENGTH;

use super::ends::{End, content, key_of};
use crate::limits::{INGEST_WINDOW_DEFAULT, held_max};
use crate::{Input, Manner, Output, Partial, Set, Settings, Side};

/// What one side hears: of each scene the wires and their bytes.
type Half = Vec<Vec<(usize, Vec<u8>)>>;

const SCENES: usize = 3;

/// A batch that travels in parts and compresses to few bytes.
fn large(number: u32) -> Vec<u8> {
    let mut batch = content(number, 40_000);
    batch[KEY_LENGTH..].fill(7);
    batch
}

fn prepared(side: Side, version: u16) -> End {
    let is_new = version > 1;
    let begun = large(3 - side as u32 - 1);
    let partial = Partial {
        id: key_of(&begun).id(),
        total: begun.len() as u32,
        bytes: begun[..30_000].to_vec(),
    };
    let partials = if is_new { vec![partial] } else { Vec::new() };
    let mut end = End::of(Settings { versions: (1, version), partials, ..End::settings(side) });
    let own = side as u32 + 1;
    end.hold(Set::Data, large(own));
    end.hold(Set::Data, content(10 + own, 16));
    end.hold(Set::Policy, content(20 + own, 16));
    if is_new {
        end.hold(Set::Quarantine, content(30 + own, 16));
    }
    end
}

/// What a side does by itself at the beginning of a scene.
fn act(end: &mut End, side: Side, scene: usize) {
    let own = 40 + side as u32;
    match scene {
        0 => end.step(Input::Start),
        1 => {
            let (pushed, named) = (content(own, 16), content(own + 10, 16));
            let keys = [key_of(&pushed), key_of(&named)];
            end.hold(Set::Data, pushed);
            end.hold(Set::Data, named);
            end.step(Input::Offer(Set::Data, vec![keys[0]], Manner::Push));
            end.step(Input::Offer(Set::Data, vec![keys[1]], Manner::Name));
            end.step(Input::Prove(vec![keys[0]]));
            end.step(Input::Receipts(vec![vec![7; 20]]));
        }
        _ => end.step(Input::Check),
    }
}

fn record(version: u16) -> [Half; 2] {
    let sides = [Side::Dialled, Side::Accepted];
    let mut ends = sides.map(|side| prepared(side, version));
    let mut halves = [Half::new(), Half::new()];
    for scene in 0..SCENES {
        halves.iter_mut().for_each(|half| half.push(Vec::new()));
        for (end, side) in ends.iter_mut().zip(sides) {
            act(end, side, scene);
        }
        while let Some((from, wire, bytes)) = next_chunk(&mut ends) {
            ends[1 - from].take(wire, bytes.clone());
            halves[1 - from][scene].push((wire, bytes));
        }
    }
    let [first, second] = &ends;
    assert_eq!((&first.fault, &second.fault), (&None, &None));
    assert_eq!((first.data.len(), first.quarantine.len()), (8, usize::from(version > 1) * 2));
    assert_eq!(first.disk.len(), second.disk.len());
    let has_receipts = first.seen.iter().any(|output| matches!(output, Output::Receipts(_)));
    assert_eq!(has_receipts, version > 1);
    halves
}

fn next_chunk(ends: &mut [End; 2]) -> Option<(usize, usize, Vec<u8>)> {
    let all = (0..2).flat_map(|from| (0..4).map(move |wire| (from, wire)));
    all.into_iter().find_map(|(from, wire)| {
        let bytes = ends[from].wires[wire].pop_front()?;
        Some((from, wire, bytes))
    })
}

/// Lets a side hear its half with the byte at `position` changed.
fn hear(side: Side, version: u16, half: &Half, position: usize, change: &dyn Fn(u8) -> u8) {
    let mut end = prepared(side, version);
    let mut before = 0;
    for (scene, chunks) in half.iter().enumerate() {
        act(&mut end, side, scene);
        for (wire, bytes) in chunks {
            let mut bytes = bytes.clone();
            if let Some(byte) = position.checked_sub(before).and_then(|at| bytes.get_mut(at)) {
                *byte = change(*byte);
            }
            before += bytes.len();
            if end.fault.is_none() {
                end.take(*wire, bytes);
            }
        }
    }
    assert!(end.held_peak <= held_max(INGEST_WINDOW_DEFAULT), "{position}: {}", end.held_peak);
    // What was heard is small, and so is what is kept of it.
    assert!(end.held_peak <= 1 << 20, "{position}: {}", end.held_peak);
}

fn hear_all(version: u16) {
    for (half, side) in record(version).iter().zip([Side::Dialled, Side::Accepted]) {
        let total: usize = half.iter().flatten().map(|(_, bytes)| bytes.len()).sum();
        for position in 0..total {
            for bit in 0..8 {
                hear(side, version, half, position, &|byte| byte ^ (1 << bit));
            }
            hear(side, version, half, position, &|_| 0x00);
            hear(side, version, half, position, &|_| 0xff);
        }
    }
}

#[test]
fn no_changed_byte_of_version_two_fills_the_memory() {
    hear_all(2);
}

#[test]
fn no_changed_byte_of_version_one_fills_the_memory() {
    hear_all(1);
}
