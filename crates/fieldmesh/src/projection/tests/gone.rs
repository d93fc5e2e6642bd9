//! Goal: what is let go leaves the same view whether the log still has it or not, and comes back as
//! it was.
//! Method: a day is recorded in pieces, with an end of the program after each; its scope is let go
//! in two steps and its batches come again; one home writes its log anew in between, one does not.

use fieldmesh_store::Tree;

use super::rewritten::{Disk, Rows, calm};
use super::*;
use crate::keep::{LetGo, LetGoChain};

/// The last word of each author, in two pieces.
pub(super) fn pieces(crew: &Crew, batches: &[Batch]) -> [Entry; 2] {
    let chain = |device: &DeviceKeys| {
        let own = batches.iter().filter(|batch| batch.header().author == device.device());
        let last = own.max_by_key(|batch| batch.header().sequence)?;
        let header = last.header();
        let (author, epoch, sequence) = (header.author, header.epoch, header.sequence);
        Some(LetGoChain { author, epoch, sequence, head: last.id(), last: header.last })
    };
    let mut records: Vec<[u8; 8]> = crew.wells.keys().map(crate::keep::end_of).collect();
    records.sort_unstable();
    let (first, second) = records.split_at(records.len() / 2);
    [(&crew.keys[0], first, false), (&crew.keys[1], second, true)].map(
        |(device, records, is_last)| {
            let chains = chain(device).into_iter().collect();
            let (scope, records) = (crew.scope, records.to_vec());
            Entry::Fact(Fact::LetGo(LetGo {
                scope,
                at: at(70),
                holders: 2,
                chains,
                records,
                is_last,
            }))
        },
    )
}

fn of(rows: &Rows, tree: Tree) -> Vec<(&Vec<u8>, &Vec<u8>)> {
    let of_tree = rows.iter().filter(|((it, _), _)| *it == tree);
    of_tree.map(|((_, key), value)| (key, value)).collect()
}

/// What people see of every record.
fn records(rows: &Rows) -> Vec<(Vec<u8>, Option<rows::RecordRow>)> {
    let documents = of(rows, Tree::Document).into_iter();
    let record = |value: &[u8]| rows::decode::<DocumentRow>(value).unwrap().record;
    documents.map(|(key, value)| (key.clone(), record(value))).collect()
}

#[test]
fn what_is_let_go_is_gone_alike_from_a_log_that_has_it_and_comes_back_as_it_was() {
    let mut dropped = 0;
    for seed in 0..12 {
        let (mut crew, mut dice) = (Crew::new(), Dice(seed));
        let mut log = calm(&mut crew, &mut dice);
        let leaf = crew.edit(0, 61, &mut dice);
        log.extend(leaf.map(|leaf| Entry::Batch(crew.seal(0, vec![leaf], 61).encode())));
        let batches: Vec<Batch> = log
            .iter()
            .filter_map(|entry| match entry {
                Entry::Batch(bytes) => Some(Batch::decode(bytes).unwrap()),
                _ => None,
            })
            .collect();
        let (kept, swept) = (Disk::new(), Disk::new());
        for disk in [&kept, &swept] {
            disk.record(&crew, &log, &mut dice);
        }
        let before = kept.rows(&crew);
        for (step, piece) in pieces(&crew, &batches).into_iter().enumerate() {
            kept.record(&crew, std::slice::from_ref(&piece), &mut dice);
            swept.record(&crew, std::slice::from_ref(&piece), &mut dice);
            dropped += swept.compact(&crew)[0];
            let rows = kept.rows(&crew);
            let trees = [Tree::Document, Tree::Leaf, Tree::Index, Tree::Inbox, Tree::Quarantine];
            for tree in trees {
                let left = if step == 0 { of(&before, tree) } else { Vec::new() };
                let is_moved = step == 0 && tree == Tree::Document;
                assert!(is_moved || of(&rows, tree) == left, "seed {seed}, step {step}, {tree:?}");
            }
            assert_eq!(of(&rows, Tree::Chain), of(&before, Tree::Chain), "seed {seed}");
            for (disk, name) in [(&kept, "kept"), (&swept, "swept")] {
                assert_eq!(disk.rebuilt(&crew), rows, "seed {seed}, {name}, built anew");
            }
        }
        // A verdict on what is gone brings nothing back.
        let id = batches[dice.below(batches.len())].id();
        let verdicts = [Fact::Aside(vec![id]), Fact::Admitted(vec![id])].map(Entry::Fact);
        kept.record(&crew, &verdicts, &mut dice);
        assert_eq!(of(&kept.rows(&crew), Tree::Document), [], "seed {seed}");
        swept.record(&crew, &verdicts, &mut dice);

        // Changes that no batch held went with the rest; with them it would not have been let go.
        let is_whole = !before.keys().any(|(_, key)| key.starts_with(rows::UNSEALED_PREFIX));
        let again: Vec<Entry> = batches.iter().map(|batch| Entry::Batch(batch.encode())).collect();
        for (disk, name) in [(&kept, "kept"), (&swept, "swept")] {
            disk.record(&crew, &again, &mut dice);
            disk.compact(&crew);
            let rows = disk.rows(&crew);
            let is_alike = of(&rows, Tree::Index) == of(&before, Tree::Index);
            assert!(is_alike || !is_whole, "seed {seed}, {name}");
            assert_eq!(disk.rebuilt(&crew), rows, "seed {seed}, {name}, built anew");
            let unsealed = rows.keys().any(|(_, key)| key.starts_with(rows::UNSEALED_PREFIX));
            assert!(!unsealed, "seed {seed}, {name}");
        }
        if is_whole {
            assert_eq!(records(&kept.rows(&crew)), records(&before), "seed {seed}");
        }
    }
    assert!(dropped > 200, "only {dropped} changes went");
}
