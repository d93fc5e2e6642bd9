//! Nothing travels twice in one conversation, whatever becomes new while it transfers.

use std::collections::BTreeMap;

use fieldmesh_trie::Key;

use super::ends::{End, content, key_of, pair, settle};
use crate::wire::{DataReader, Frame};
use crate::{Input, Lane, Manner, Set, WireError};

/// A network that delivers in any order and keeps count.
struct Watch {
    readers: BTreeMap<(usize, usize), DataReader>,
    seen: BTreeMap<(usize, Key), u32>,
    random: u64,
}

impl Watch {
    fn draw(&mut self, below: u64) -> u64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.random >> 33) % below
    }

    fn deliver(&mut self, ends: &mut [End; 2], from: usize, wire: usize) {
        let Some(bytes) = ends[from].wires[wire].pop_front() else { return };
        if wire > 0 {
            let seen = &mut self.seen;
            let read =
                self.readers.entry((from, wire)).or_default().read(&bytes, |frame: Frame| {
                    *seen.entry((from, key_of(&frame.bytes))).or_default() += 1;
                    Ok::<(), WireError>(())
                });
            read.unwrap();
        }
        ends[1 - from].take(wire, bytes);
    }
}

fn offer(end: &mut End, set: Set, key: Key, manner: Manner) {
    end.step(Input::Offer(set, vec![key], manner));
}

/// A conversation in which new batches come while others travel.
fn converse(seed: u64) {
    let mut ends = pair();
    let mut watch = Watch { readers: BTreeMap::new(), seen: BTreeMap::new(), random: seed };
    for number in 0..60 {
        ends[(number % 2) as usize].hold(Set::Data, content(number, 300));
    }
    for end in &mut ends {
        end.is_slow = true;
        end.step(Input::Start);
    }
    let mut late = Vec::new();
    for number in 1_000..1_400 {
        let side = watch.draw(2) as usize;
        let wire = watch.draw(4) as usize;
        match watch.draw(12) {
            0 => {
                let bytes = content(number, 200);
                let key = key_of(&bytes);
                if watch.draw(2) == 0 {
                    ends[side].urgent.push(key.id());
                }
                let manner = if watch.draw(3) == 0 { Manner::Name } else { Manner::Push };
                ends[side].hold(Set::Data, bytes);
                // The set may show it before it is offered.
                if watch.draw(2) == 0 {
                    late.push((side, key, manner));
                } else {
                    offer(&mut ends[side], Set::Data, key, manner);
                }
            }
            1 if !late.is_empty() => {
                let (side, key, manner) = late.remove(0);
                offer(&mut ends[side], Set::Data, key, manner);
            }
            2 | 3 if !ends[side].unsettled.is_empty() => {
                let settled = ends[side].unsettled.remove(0);
                ends[side].step(settled);
            }
            4 => Lane::ALL
                .into_iter()
                .for_each(|lane| ends[side].step(Input::DataWritten(lane, usize::MAX))),
            _ => watch.deliver(&mut ends, side, wire),
        }
    }
    for end in &mut ends {
        assert_eq!(end.fault, None);
        end.is_slow = false;
    }
    finish(&mut ends, &mut watch);
    let twice = watch.seen.iter().filter(|(_, count)| **count > 1).count();
    assert_eq!(twice, 0, "seed {seed}: {:?}", watch.seen);
    assert_eq!(ends[0].data.root(), ends[1].data.root(), "seed {seed}");
}

fn finish(ends: &mut [End; 2], watch: &mut Watch) {
    for round in 0..40 {
        for side in 0..2 {
            for settled in std::mem::take(&mut ends[side].unsettled) {
                ends[side].step(settled);
            }
            for lane in Lane::ALL {
                ends[side].step(Input::DataWritten(lane, usize::MAX));
            }
            for wire in 0..4 {
                while !ends[side].wires[wire].is_empty() {
                    watch.deliver(ends, side, wire);
                }
            }
        }
        if round == 20 {
            ends[0].step(Input::Check);
        }
    }
    settle(ends);
}

#[test]
fn a_batch_that_becomes_new_during_a_transfer_travels_once() {
    for seed in 0..200 {
        converse(seed);
    }
}

#[test]
fn a_batch_that_the_peer_sends_meanwhile_is_not_sent_to_it() {
    let mut ends = pair();
    ends[0].is_slow = true;
    for number in 0..200 {
        ends[0].hold(Set::Data, content(number, 4_000));
    }
    for end in &mut ends {
        end.step(Input::Start);
    }
    for _ in 0..20 {
        for from in [0, 1] {
            while let Some(bytes) = ends[from].wires[0].pop_front() {
                ends[1 - from].step(Input::Control(bytes));
            }
        }
    }
    // The last batches of the transfer reach the peer from elsewhere, and it passes them on.
    let sent = ends[0].session.stats().batches_sent;
    assert!(sent < 150);
    for number in 190..200 {
        let batch = content(number, 4_000);
        let key = key_of(&batch);
        ends[1].hold(Set::Data, batch);
        offer(&mut ends[1], Set::Data, key, Manner::Push);
    }
    for from in [1, 0] {
        for wire in 0..4 {
            while let Some(bytes) = ends[from].wires[wire].pop_front() {
                ends[1 - from].take(wire, bytes);
            }
        }
    }
    ends[0].is_slow = false;
    for settled in std::mem::take(&mut ends[0].unsettled) {
        ends[0].step(settled);
    }
    for lane in Lane::ALL {
        ends[0].step(Input::DataWritten(lane, usize::MAX));
    }
    settle(&mut ends);
    assert_eq!(ends[0].data.root(), ends[1].data.root());
    assert_eq!(ends[0].session.stats().batches_sent, 190);
}
