//! Conversations that break off at any byte: little travels twice, and in the end all is there.
//!
//! One conversation is carried byte by byte. What a cut leaves at both sides changes at few of the
//! bytes only, so the conversation that follows is held once for each such state and compared
//! with every cut that leads to it.

use std::collections::BTreeMap;

use fieldmesh_trie::KEY_LENGTH;

use super::ends::{End, content, key_of, settle};
use crate::{Input, Partial, Set, Settings, Side};

/// The most that one cut may cost.
const CUT_COST_MAX: usize = 64 * 1024;

/// What does not compress, so that bytes on the wire are bytes of the batch.
fn noise(number: u32, length: usize) -> Vec<u8> {
    let mut batch = content(number, length);
    let seed = number.to_be_bytes();
    blake3::Hasher::new().update(&seed).finalize_xof().fill(&mut batch[KEY_LENGTH..]);
    batch
}

/// What each side brings: on each lane something, and a large batch in parts.
fn brings(side: usize) -> Vec<(Set, Vec<u8>, bool)> {
    let own = 100 * side as u32;
    vec![
        (Set::Data, noise(own + 1, 36_000 - 1_000 * side), false),
        (Set::Data, noise(own + 2, 3_000), true),
        (Set::Data, noise(own + 3, 5_000), false),
        (Set::Policy, noise(own + 4, 500), true),
        (Set::Quarantine, noise(own + 5, 900), false),
    ]
}

fn prepared(partials: &[Vec<Partial>; 2], disks: [&[Vec<u8>]; 2]) -> [End; 2] {
    let mut ends = [Side::Dialled, Side::Accepted].map(|side| {
        let partials = partials[side as usize].clone();
        End::of(Settings { partials, ..End::settings(side) })
    });
    let all: Vec<_> = (0..2).flat_map(brings).collect();
    for (side, end) in ends.iter_mut().enumerate() {
        end.urgent = all.iter().filter(|it| it.2).map(|it| key_of(&it.1).id()).collect();
        let arrived = all.iter().filter(|it| disks[side].contains(&it.1)).cloned();
        for (set, bytes, _) in brings(side).into_iter().chain(arrived) {
            end.hold(set, bytes);
        }
    }
    ends
}

/// Carries the conversation byte by byte until `stop` says so after a byte, or it is over. Gives
/// the bytes of data streams that were carried.
fn carry(ends: &mut [End; 2], mut stop: impl FnMut(&[End; 2], usize) -> bool) -> usize {
    for end in ends.iter_mut() {
        end.step(Input::Start);
    }
    let (mut carried, mut wire_of) = (0, 0);
    let mut idle = 0;
    while idle < 8 {
        let (from, wire) = (wire_of % 2, wire_of / 2 % 4);
        wire_of += 1;
        idle += 1;
        let Some(bytes) = ends[from].wires[wire].pop_front() else { continue };
        idle = 0;
        for byte in bytes {
            ends[1 - from].take(wire, vec![byte]);
            carried += usize::from(wire > 0);
            if stop(ends, carried) {
                return carried;
            }
        }
    }
    carried
}

type State = [(Vec<[u8; 32]>, Vec<([u8; 32], usize)>); 2];

fn state(ends: &[End; 2]) -> State {
    [0, 1].map(|side| (ends[side].disk.keys().copied().collect(), ends[side].session.begun()))
}

/// The two ends of the conversation that follows.
fn next(ends: &mut [End; 2]) -> [End; 2] {
    let disks = [0, 1].map(|side| ends[side].disk.values().cloned().collect::<Vec<_>>());
    let partials = [0, 1].map(|side| ends[side].session.take_partials());
    prepared(&partials, [&disks[0], &disks[1]])
}

/// Lets the conversation come to its end and gives the bytes of its data streams.
fn finish(ends: &mut [End; 2]) -> usize {
    super::ends::start(ends);
    ends[0].step(Input::Check);
    settle(ends);
    let [first, second] = &mut *ends;
    assert_eq!((&first.fault, &second.fault), (&None, &None));
    assert_eq!(first.data.root(), second.data.root());
    assert_eq!(first.policy.root(), second.policy.root());
    assert_eq!(first.quarantine.root(), second.quarantine.root());
    assert_eq!(first.disk.len(), 10);
    ends.iter().map(|end| end.session.stats().data_bytes_out as usize).sum()
}

#[test]
fn a_cut_at_any_byte_costs_at_most_64_kib() {
    let mut whole = prepared(&Default::default(), [&[], &[]]);
    let mut rest_of: BTreeMap<State, usize> = BTreeMap::new();
    let mut first_cuts: Vec<(usize, State)> = Vec::new();
    let (mut cuts, mut costs) = (0, Vec::new());
    let total = carry(&mut whole, |ends, carried| {
        let state = state(ends);
        cuts += 1;
        if !rest_of.contains_key(&state) {
            rest_of.insert(state.clone(), 0);
            first_cuts.push((carried, state.clone()));
        }
        costs.push((carried, state));
        false
    });
    assert!(total > 70_000 && cuts > total, "{total} of {cuts}");
    for (at, known) in first_cuts {
        let mut ends = prepared(&Default::default(), [&[], &[]]);
        carry(&mut ends, |ends, carried| carried >= at && state(ends) == known);
        rest_of.insert(known, finish(&mut next(&mut ends)));
    }
    for (carried, state) in costs {
        let sent = carried + rest_of[&state];
        assert!(sent <= total + CUT_COST_MAX, "cut at {carried}: {sent} of {total}");
    }
}

#[test]
fn many_cuts_in_a_row_cost_at_most_64_kib_each_and_it_ends() {
    let mut whole = prepared(&Default::default(), [&[], &[]]);
    let total = finish(&mut whole);
    for length in [900, 7_001, 33_000, 40_123] {
        let mut ends = prepared(&Default::default(), [&[], &[]]);
        let (mut cuts, mut sent) = (0, 0);
        while cuts < 60 {
            let mut is_cut = false;
            sent += carry(&mut ends, |_, carried| {
                is_cut = carried >= length * (cuts + 1).min(45);
                is_cut
            });
            if !is_cut {
                break;
            }
            cuts += 1;
            ends = next(&mut ends);
        }
        ends = next(&mut ends);
        sent += finish(&mut ends);
        assert!(cuts > 0 && cuts < 60, "{cuts}");
        assert!(sent <= total + cuts * CUT_COST_MAX, "{cuts} cuts: {sent} of {total}");
    }
}
