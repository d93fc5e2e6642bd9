//! Sides of different versions, and what two lanes leave at a cut.

use fieldmesh_trie::KEY_LENGTH;

use super::ends::{End, content, key_of, pair, settle, start};
use super::transcript::{Entry, Thing};
use crate::{Input, Lane, Set, Settings, Side};

#[test]
fn versions_one_and_two_bring_each_other_everything_whoever_dials() {
    for versions in [[(1, 1), (1, 2)], [(1, 2), (1, 1)]] {
        let mut number = 0;
        let mut ends = [Side::Dialled, Side::Accepted].map(|side| {
            let versions = versions[side as usize];
            End::of(Settings { versions, ..End::settings(side) })
        });
        for end in &mut ends {
            for length in [100, 300, 50_000] {
                number += 1;
                end.play(Entry::Holds(Set::Data, Thing(number, length)));
            }
            end.play(Entry::Holds(Set::Policy, Thing(100 + number, 60)));
            end.play(Entry::Holds(Set::Quarantine, Thing(200 + number, 60)));
        }
        start(&mut ends);
        for end in &mut ends {
            number += 1;
            end.play(Entry::New(Set::Data, Thing(number, 40_000)));
            end.play(Entry::Named(Thing(300 + number, 40)));
        }
        settle(&mut ends);
        let [first, second] = &mut ends;
        assert_eq!((&first.fault, &second.fault), (&None, &None));
        assert_eq!((first.data.len(), first.policy.len(), first.quarantine.len()), (10, 2, 1));
        assert_eq!(first.data.root(), second.data.root());
        for end in [first, second] {
            assert_eq!(end.session.stats().batches_sent, 5);
            assert!(end.log.len() > 2);
        }
    }
}

#[test]
fn batches_that_two_lanes_had_begun_are_continued() {
    let mut batches = [content(1, 90_000), content(2, 90_000)];
    for (seed, batch) in batches.iter_mut().enumerate() {
        let rest = &mut batch[KEY_LENGTH..];
        blake3::Hasher::new().update(&[seed as u8]).finalize_xof().fill(rest);
    }
    let prepare = |mut ends: [End; 2]| {
        ends[0].urgent.push(key_of(&batches[0]).id());
        batches.iter().for_each(|batch| ends[0].hold(Set::Data, batch.clone()));
        ends
    };
    let mut ends = prepare(pair());
    for end in &mut ends {
        end.step(Input::Start);
    }
    for from in [0, 1].repeat(20) {
        while let Some(bytes) = ends[from].wires[0].pop_front() {
            ends[1 - from].step(Input::Control(bytes));
        }
    }
    for lane in [Lane::Urgent, Lane::Backfill] {
        let first = ends[0].wires[1 + lane.index()].pop_front().unwrap();
        ends[1].step(Input::Data(lane, first));
    }
    let partials = ends[1].session.take_partials();
    let kept: usize = partials.iter().map(|partial| partial.bytes.len()).sum();
    assert_eq!(partials.len(), 2);
    let accepted = Settings { partials, ..End::settings(Side::Accepted) };
    let mut ends = prepare([End::new(Side::Dialled), End::of(accepted)]);
    start(&mut ends);
    assert_eq!((&ends[1].fault, ends[1].data.len()), (&None, 2));
    assert!(batches.iter().all(|batch| ends[1].disk.get(&key_of(batch).id()) == Some(batch)));
    let sent = ends[0].session.stats().data_bytes_out as usize;
    assert!(sent + kept < 2 * 90_000 + 1_000, "{sent} and {kept}");
}
