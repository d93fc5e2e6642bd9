//! Lanes, parts and windows: what is urgent comes first, a cut costs little, memory stays bounded.

use fieldmesh_trie::KEY_LENGTH;

use super::ends::{End, content, key_of, pair, settle, start};
use super::transcript::{Entry, Thing};
use crate::limits::{BACKFILL_UNWRITTEN_MAX, FLUSH_GROUP_MAX, INGEST_WINDOW_MIN, PART_MAX};
use crate::{CloseReason, Input, Lane, SessionError, Set, Settings, Side, WireError};

/// Lets the greeting and the comparison travel, and no data.
fn talk(ends: &mut [End; 2]) {
    for end in ends.iter_mut() {
        end.step(Input::Start);
    }
    loop {
        let mut is_idle = true;
        for from in [0, 1] {
            while let Some(bytes) = ends[from].wires[0].pop_front() {
                is_idle = false;
                ends[1 - from].step(Input::Control(bytes));
            }
        }
        if is_idle {
            return;
        }
    }
}

#[test]
fn a_lane_that_nobody_knows_is_refused() {
    assert_eq!(Lane::try_from(2), Ok(Lane::Backfill));
    assert_eq!(Lane::try_from(3), Err(WireError::Priority { priority: 3 }));
    let mut ends = [
        End::new(Side::Dialled),
        End::of(Settings { versions: (1, 1), ..End::settings(Side::Accepted) }),
    ];
    start(&mut ends);
    ends[0].step(Input::Data(Lane::Urgent, vec![1]));
    let unknown = SessionError::Wire(WireError::Priority { priority: 0 });
    assert_eq!(ends[0].fault, Some(CloseReason::Fault(unknown)));
}

#[test]
fn an_urgent_batch_overtakes_all_backfill_that_is_not_in_flight() {
    let mut ends = pair();
    for number in 0..60 {
        ends[0].play(Entry::Holds(Set::Data, Thing(number, 30_000)));
    }
    ends[0].is_slow = true;
    talk(&mut ends);
    let in_flight: usize = ends[0].wires[3].iter().map(Vec::len).sum();
    assert!(in_flight > 0 && in_flight <= BACKFILL_UNWRITTEN_MAX + 2 * FLUSH_GROUP_MAX);
    ends[0].urgent.push(key_of(&content(900, 10)).id());
    ends[0].play(Entry::New(Set::Data, Thing(900, 10)));
    assert_eq!(ends[0].wires[1].len(), 1);
    assert_eq!(ends[0].wires[3].iter().map(Vec::len).sum::<usize>(), in_flight);
}

#[test]
fn two_sides_that_send_into_the_smallest_window_both_finish() {
    let narrow = |side| Settings { ingest_window: INGEST_WINDOW_MIN, ..End::settings(side) };
    let mut ends = [End::of(narrow(Side::Dialled)), End::of(narrow(Side::Accepted))];
    for end in &mut ends {
        end.is_slow = true;
    }
    for number in 0..6 {
        ends[0].play(Entry::Holds(Set::Data, Thing(number, 500_000)));
        ends[1].play(Entry::Holds(Set::Data, Thing(100 + number, 500_000)));
    }
    for end in &mut ends {
        end.step(Input::Start);
    }
    for _ in 0..400 {
        settle(&mut ends);
        for end in &mut ends {
            assert!(end.unsettled.len() <= 1);
            for lane in Lane::ALL {
                end.step(Input::DataWritten(lane, usize::MAX));
            }
            if let Some(settled) = end.unsettled.pop() {
                end.step(settled);
            }
        }
    }
    assert_eq!(ends[0].data.len(), 12);
    assert_eq!(ends[0].data.root(), ends[1].data.root());
}

#[test]
fn a_cut_anywhere_in_a_large_batch_costs_at_most_two_parts() {
    // What does not compress, so that bytes on the wire are bytes of the batch.
    let mut batch = content(1, 200_000);
    blake3::Hasher::new().finalize_xof().fill(&mut batch[KEY_LENGTH..]);
    let mut first = pair();
    first[0].hold(Set::Data, batch.clone());
    talk(&mut first);
    let stream: Vec<u8> = first[0].wires[3].iter().flatten().copied().collect();
    for cut in (0..stream.len()).step_by(1_499) {
        let mut ends = pair();
        ends[0].hold(Set::Data, batch.clone());
        talk(&mut ends);
        ends[1].step(Input::Data(Lane::Backfill, stream[..cut].to_vec()));
        let partials = ends[1].session.take_partials();
        let kept: usize = partials.iter().map(|partial| partial.bytes.len()).sum();
        let mut again = [
            End::new(Side::Dialled),
            End::of(Settings { partials, ..End::settings(Side::Accepted) }),
        ];
        again[0].hold(Set::Data, batch.clone());
        start(&mut again);
        assert_eq!(again[1].fault, None);
        assert_eq!(again[0].data.root(), again[1].data.root());
        let sent = again[0].session.stats().data_bytes_out as usize + cut;
        assert!(sent <= stream.len() + 2 * PART_MAX, "cut at {cut}: {sent} of {}", stream.len());
        assert!(kept <= batch.len());
    }
}

#[test]
fn an_urgent_policy_item_overtakes_backfill_at_a_slow_disk() {
    let mut ends = pair();
    for number in 0..60 {
        ends[0].play(Entry::Holds(Set::Data, Thing(number, 30_000)));
    }
    ends.iter_mut().for_each(|end| end.is_slow = true);
    talk(&mut ends);
    // The peer has what is in flight and its disk has taken none of it.
    let in_flight: Vec<Vec<u8>> = ends[0].wires[3].drain(..).collect();
    in_flight.into_iter().for_each(|bytes| ends[1].step(Input::Data(Lane::Backfill, bytes)));
    ends[0].play(Entry::New(Set::Policy, Thing(900, 10)));
    assert_eq!((ends[0].wires[1].len(), ends[0].wires[3].len()), (1, 0));
    let urgent = ends[0].wires[1].pop_front().unwrap();
    ends[1].step(Input::Data(Lane::Urgent, urgent));
    ends[1].unsettled.pop().into_iter().for_each(|settled| ends[1].step(settled));
    assert_eq!((ends[1].policy.len(), ends[1].fault.clone()), (1, None));
}

#[test]
fn a_large_urgent_batch_finds_room_although_the_peer_has_stored_none_of_the_backfill() {
    let mut ends = pair();
    for number in 0..60 {
        ends[0].play(Entry::Holds(Set::Data, Thing(number, 30_000)));
    }
    ends[1].is_slow = true;
    talk(&mut ends);
    assert!(!ends[0].wires[3].is_empty());
    ends[0].urgent.push(key_of(&content(900, 100_000)).id());
    ends[0].play(Entry::New(Set::Data, Thing(900, 100_000)));
    assert!(!ends[0].wires[1].is_empty());
}

#[test]
fn an_urgent_batch_of_the_turns_of_an_exchange_does_not_wait_for_backfill() {
    let mut ends = pair();
    for number in 0..400 {
        let side = usize::from(number % 7 == 0);
        ends[side].play(Entry::Holds(Set::Data, Thing(number, 8_000)));
    }
    ends.iter_mut().for_each(|end| end.is_slow = true);
    for end in &mut ends {
        end.step(Input::Start);
    }
    let mut is_offered = false;
    for from in [0, 1].repeat(40) {
        let Some(bytes) = ends[from].wires[0].pop_front() else { continue };
        ends[1 - from].step(Input::Control(bytes));
        let is_between = ends[1].session.is_greeted() && !ends[1].session.takes_offers();
        if is_between && !is_offered {
            is_offered = true;
            ends[1].urgent.push(key_of(&content(9_000, 10)).id());
            ends[1].play(Entry::New(Set::Data, Thing(9_000, 10)));
        }
    }
    assert!(is_offered && ends[1].session.takes_offers());
    assert_eq!(ends[1].wires[1].len(), 1);
}
