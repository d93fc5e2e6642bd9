//! Goal: a view that is brought up in two passes, while others write and the program ends now and
//! then, has in the end every row that one has which is made at rest; and it never says that it has
//! everything before it has.
//! Method: a day with verdicts, damage, receipts and a scope that is let go lies in the log; its
//! view is made from nothing in small steps, with ends of the program and more entries in between.

use std::ops::Bound;

use fieldmesh_model::DeviceId;
use fieldmesh_store::view::rows::RowsSource as _;

use super::gone::pieces;
use super::rewritten::{Disk, Rows, all_rows, day};
use super::*;
use crate::harm::{Harm, Harmed, LostChange, Outcome};
use crate::making::{Hold, Position, hold, release};

/// Damage that was found, and what became of it.
fn damage(crew: &Crew, log: &[Entry], dice: &mut Dice) -> Vec<Entry> {
    let place = Place(dice.below(log.len()) as u64);
    let document = *crew.wells.keys().next().unwrap();
    let lost = LostChange {
        document,
        hash: [1; 8],
        collection: wells().number,
        is_whole: false,
        shown: None,
    };
    let batch = log.iter().find_map(|entry| match entry {
        Entry::Batch(bytes) => Some(Batch::decode(bytes).unwrap()),
        _ => None,
    });
    let batch = batch.unwrap();
    let held = Harmed::Batch { id: batch.id(), scope: crew.scope, author: None };
    let harm = |place, what| Harm { place, found: at(50), what, outcome: Outcome::Open };
    let elsewhere = Place(place.0 + 1);
    let found = vec![harm(place, Harmed::Change(Box::new(lost))), harm(elsewhere, held)];
    let healed = Fact::Healed { places: vec![elsewhere], from: None, at: at(52) };
    let settled = Fact::Settled { places: vec![place], at: at(51) };
    [Fact::Harmed(found), settled, healed].map(Entry::Fact).into()
}

/// The log without those local changes that lie behind their batch, which no device writes.
fn without_late_locals(crew: &Crew, mut log: Vec<Entry>) -> Vec<Entry> {
    let mut sealed = BTreeSet::new();
    log.retain(|entry| {
        if let Entry::Batch(bytes) = entry {
            let batch = Batch::decode(bytes).unwrap();
            let is_own = batch.header().author == crew.keys[0].device();
            sealed.extend(batch.leaves().iter().filter(|_| is_own).map(|it| it.change.clone()));
        }
        !matches!(entry, Entry::Change(local) if sealed.contains(&local.change))
    });
    log
}

/// Makes the view of a log in two passes; gives the rows, and how often the program ended while the
/// records lagged behind.
fn in_passes(disk: &Disk, crew: &Crew, later: &[Entry], dice: &mut Dice) -> (Rows, usize) {
    let view = MemoryRows::new();
    let (mut rest, mut cuts) = (later, 0);
    loop {
        let ended = disk.with_lagging(&view, |stage| {
            let work = Work { lag_max: 0, step_changes: 1 + dice.below(9), ..stage.work(crew) };
            let (projector, thread) = Projector::start(work).unwrap();
            let (piece, more) = rest.split_at(dice.below(4).min(rest.len()));
            rest = more;
            stage.append(piece);
            projector.wake();
            if let Some(end) = stage.store.end() {
                projector.wait_noted(end).unwrap();
            }
            let is_last = rest.is_empty() && dice.one_in(3);
            if is_last {
                projector.wait(stage.store.end().unwrap()).unwrap();
            }
            projector.stop();
            thread.join();
            let position = Position::read(stage.store.view()).unwrap();
            assert_eq!(position.noted, stage.store.end());
            if position.making.is_none() {
                let (rows, whole) = (all_rows(&stage.store), disk.rebuilt(crew));
                assert!(comparable(rows) == comparable(whole), "it says that it is whole");
            }
            cuts += usize::from(position.making.is_some());
            (is_last || position.making.is_none() && rest.is_empty())
                .then(|| all_rows(&stage.store))
        });
        if let Some(rows) = ended {
            return (rows, cuts);
        }
    }
}

#[test]
fn a_view_made_anew_while_others_write_and_the_program_ends_has_every_row_of_one_made_at_rest() {
    let mut cuts = 0;
    for seed in 0..16 {
        let (mut crew, mut dice) = (Crew::new(), Dice(seed));
        let log = day(seed % 2 == 0, &mut crew, &mut dice);
        let mut log = without_late_locals(&crew, log);
        log.extend(damage(&crew, &log, &mut dice));
        let batches: Vec<Batch> = log
            .iter()
            .filter_map(|entry| match entry {
                Entry::Batch(bytes) => Some(Batch::decode(bytes).unwrap()),
                _ => None,
            })
            .collect();
        if seed % 3 == 0 {
            log.extend(pieces(&crew, &batches));
            let again = batches.iter().skip(1).map(|batch| Entry::Batch(batch.encode()));
            log.extend(again);
        }
        let (earlier, later) = log.split_at(log.len() - dice.below(log.len() / 3));
        let [all, grown] = [Disk::new(), Disk::new()];
        all.record(&crew, &log, &mut dice);
        grown.record(&crew, earlier, &mut dice);
        let expected = all.rebuilt(&crew);
        let (rows, ends) = in_passes(&grown, &crew, later, &mut dice);
        cuts += ends;
        let (rows, expected) = (comparable(rows), comparable(expected));
        let differs = |it: &(&(Tree, Vec<u8>), &Vec<u8>)| expected.get(it.0) != Some(it.1);
        let more: Vec<_> = rows.iter().filter(differs).collect();
        let lacks: Vec<_> = expected.keys().filter(|key| !rows.contains_key(*key)).collect();
        assert_eq!((more, lacks), (Vec::new(), Vec::new()), "seed {seed}");
    }
    assert!(cuts > 20, "the program ended only {cuts} times while records were made");
}

#[test]
fn records_are_made_although_something_comes_in_all_the_time() {
    let (mut crew, mut dice) = (Crew::new(), Dice(1));
    let log = day(false, &mut crew, &mut dice);
    let stage = Stage::new();
    let end = stage.append(&log);
    let work = Work { lag_max: 0, step_changes: 8, ..stage.work(&crew) };
    let position = work.after_steps(2 * log.len(), || {
        stage.append(&[Entry::Fact(Fact::LastSync(at(60)))]);
    });
    assert!(position.shown() >= end, "{position:?}");
}

#[test]
fn a_daemon_that_is_stopped_does_not_first_make_all_it_received_readable() {
    let (mut crew, mut dice) = (Crew::new(), Dice(1));
    let log = day(false, &mut crew, &mut dice);
    let stage = Stage::new();
    stage.append(&log);
    let before = stage.store.view().applied().unwrap();
    assert!(stage.work(&crew).breaks_off());
    assert_eq!(stage.store.view().applied().unwrap(), before);
}

/// Flips a bit in every page; there are some where a view has so many rows.
fn rot(rows: &MemoryRows) {
    let below = rows.open().unwrap();
    let pages = (Bound::Included(vec![1]), Bound::Excluded(vec![2]));
    for (key, mut stored) in below.scan(&pages, Direction::Ascending, 9_999).unwrap() {
        stored[20] ^= 1;
        below.write([(key, Some(stored))].into()).unwrap();
    }
}

#[test]
fn a_view_that_is_begun_anew_says_so_before_anybody_misses_a_record_in_it() {
    let (mut crew, mut dice) = (Crew::new(), Dice(1));
    let log = day(false, &mut crew, &mut dice);
    let (disk, view) = (Disk::new(), MemoryRows::new());
    disk.record(&crew, &log, &mut dice);
    disk.with_lagging(&view, |stage| {
        // Another device than those of other tests, whose records go on.
        let me = DeviceId::from_bytes([77; 32]);
        let end = stage.store.end();
        let (projector, thread) = Projector::start(Work { me, ..stage.work(&crew) }).unwrap();
        projector.wait(end.unwrap()).unwrap();
        let before = projector.view_number();
        assert_eq!(projector.position(), Position { noted: end, making: None });

        hold(me, Hold::At(None));
        let mut set = fieldmesh_store::WriteSet::new();
        for number in 0..9_000_u16 {
            set.put(Tree::Peer, number.to_be_bytes(), b"1");
        }
        stage.store.view().apply(set).unwrap();
        rot(&view);
        stage.store.view().get(Tree::Peer, b"a").unwrap_err();
        projector.reopen();
        projector.wait_noted(end.unwrap()).unwrap();
        assert_ne!(projector.view_number(), before);
        assert!(projector.position().making.is_some(), "{:?}", projector.position());
        assert!(all_rows(&stage.store).keys().all(|(tree, _)| *tree != Tree::Document));
        release(me);
        projector.wait(end.unwrap()).unwrap();
        projector.stop();
        thread.join();
    });
}

/// The rows without the order in which changes arrived, and without which copy of a change waits
/// for what: of several that say the same any one may stand for it.
fn comparable(rows: Rows) -> Rows {
    let one = |((tree, mut key), mut value): ((Tree, Vec<u8>), Vec<u8>)| {
        if tree == Tree::Document {
            let mut row: DocumentRow = rows::decode(&value).unwrap();
            row.changes.sort_by_key(|change| (change.place, change.leaf));
            value = rows::encode(&row);
        }
        if tree == Tree::Meta && key.starts_with(rows::WAITING_PREFIX) {
            let reference: rows::ChangeRef = rows::decode(&value).unwrap();
            key.truncate(rows::WAITING_PREFIX.len() + size_of::<DocumentId>());
            key.extend_from_slice(&reference.hash);
            value.clear();
        }
        ((tree, key), value)
    };
    rows.into_iter().map(one).collect()
}
