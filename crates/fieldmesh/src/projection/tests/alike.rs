//! Goal: records that were made for one thing are the same items on every replica, whatever came
//! first, one of them counts meanwhile, and nobody's record is gone without anybody being asked.
//! Method: three wells with one API number, settled by three people who know nothing of each other,
//! in every combination of choices; the batches arrive in many orders and pieces. Then somebody who
//! knows all settles what is open.

use std::sync::atomic::AtomicBool;

use fieldmesh_document::alike_id;

use super::*;
use crate::alike::row::{ALIKE_PREFIX, AlikeRow};
use crate::alike::{Member, judge, left_instead};
use crate::ledger::is_breach;
use crate::made::MadeChanges;
use crate::projection::{Projection, Reach, Sources, VANISHED_KEY};
use crate::readers::Readers;

type Changes = BTreeMap<DocumentId, Vec<Vec<u8>>>;

/// What one person says.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Say {
    Keep(usize),
    All,
    Delete(usize),
    Nothing,
}

const SAYINGS: [Say; 8] = [
    Say::Keep(0),
    Say::Keep(1),
    Say::Keep(2),
    Say::All,
    Say::Delete(0),
    Say::Delete(1),
    Say::Delete(2),
    Say::Nothing,
];

/// What follows in a view for records that are alike.
#[derive(Debug, PartialEq)]
struct Alike {
    inbox: Vec<Vec<u8>>,
    /// What is told of items that have ended.
    ended: Vec<Vec<u8>>,
    rows: Vec<AlikeRow>,
    behind: Vec<(Vec<u8>, Vec<u8>)>,
    live: usize,
}

fn alike(store: &Store) -> Alike {
    let of = |tree, prefix: &[u8]| {
        let range = KeyRange::prefix(prefix);
        let rows = rows::scan(store.view(), tree, range, Direction::Ascending);
        rows.map(Result::unwrap).collect::<Vec<_>>()
    };
    let is_live = |(_, row): &(Vec<u8>, Vec<u8>)| {
        let row: DocumentRow = rows::decode(row).unwrap();
        row.record.is_some_and(|record| !record.deleted)
    };
    // The wells lack what a well needs, which is an item of its own.
    let is_asked = |key: &Vec<u8>| !is_breach(&rows::inbox_id(key));
    let live = of(Tree::Document, &[]).iter().filter(|row| is_live(row)).count();
    let counts = of(Tree::Meta, b"count/").into_iter();
    let counted: u64 = counts.map(|row| rows::decode::<u64>(&row.1).unwrap()).sum();
    assert_eq!(counted, live as u64);
    let items = of(Tree::Inbox, &[]).into_iter().map(|row| row.0).filter(is_asked);
    let (ended, inbox) = items.partition(|key| key.starts_with(b"~"));
    Alike {
        inbox,
        ended,
        rows: of(Tree::Meta, ALIKE_PREFIX)
            .iter()
            .map(|row| rows::decode(&row.1).unwrap())
            .collect(),
        behind: of(Tree::Meta, b"behind/"),
        live,
    }
}

fn seal(crew: &Crew, device: usize, epoch: u64, leaves: Vec<Leaf>) -> Batch {
    let draft = Draft {
        tenant: crew.tenant,
        scope: crew.scope,
        author: crew.keys[device].device(),
        epoch: Epoch(epoch),
        sequence: 1,
        previous: BatchId::default(),
        priority: Priority::default(),
        first: at(1),
        last: at(usize::try_from(epoch).unwrap()),
        leaves,
    };
    Batch::seal(draft, crew.keys[device].signing_key(), [7; 16]).unwrap()
}

/// Wells with one API number, each made on its own.
fn wells_alike(crew: &Crew, count: u8) -> (Changes, Vec<Batch>) {
    let user = UserId::from_bytes([4; 16]);
    let fields = Fields::from([
        ("name".to_owned(), Value::Text("Alder".into())),
        ("apiNumber".to_owned(), Value::Text("42-227-00001".into())),
    ]);
    let (mut changes, mut batches) = (Changes::new(), Vec::new());
    for number in 0..count {
        let (device, epoch) = (usize::from(number % 2), u64::from(number) + 1);
        let identity = identify(wells(), user, at(0), &fields, b"", [number; 16]);
        let record = CreateRecord {
            id: identity.id,
            key: &identity.key,
            collection: wells(),
            scope: crew.scope,
            user,
            device: crew.keys[device].device(),
            actor: actor(crew.keys[device].device(), Epoch(epoch)),
            at: at(0),
            created_at: None,
            zone: None,
            replaces: None,
            name: None,
            made_for: None,
            fields: &fields,
        };
        let (_, change) = Document::create(&record).unwrap();
        changes.insert(identity.id, vec![change.clone()]);
        batches.push(seal(crew, device, epoch, vec![Leaf { document: identity.id, change }]));
    }
    (changes, batches)
}

fn load(id: DocumentId, changes: &[Vec<u8>]) -> Document {
    Document::load(id, changes.iter().map(Vec::as_slice)).unwrap()
}

fn members(known: &Changes) -> Vec<Member> {
    let member = |(id, changes): (&DocumentId, &Vec<Vec<u8>>)| Member {
        id: *id,
        kinship: load(*id, changes).kinship().unwrap(),
    };
    known.iter().map(member).collect()
}

/// What somebody who knows `known` writes, as the ledger does.
fn say(crew: &Crew, epoch: u64, known: &Changes, say: Say) -> Vec<Leaf> {
    let ids: Vec<DocumentId> = known.keys().copied().collect();
    let actor = actor(crew.keys[1].device(), Epoch(epoch));
    let (at, user) = (at(usize::try_from(epoch).unwrap()), UserId::from_bytes([4; 16]));
    let asked = judge(&members(known)).open;
    let item = alike_id(wells().number, 0, &asked);
    let asked: Vec<DocumentId> = asked.into_iter().collect();
    let write = |(id, changes): (&DocumentId, &Vec<Vec<u8>>)| {
        let mut document = load(*id, changes);
        let others: Vec<DocumentId> = ids.iter().copied().filter(|other| other != id).collect();
        if asked.contains(id) {
            document.settling_alike(item, &asked);
        }
        let change = match say {
            Say::Keep(kept) if ids[kept] == *id => document.keep_over(actor, at, &others),
            Say::Keep(kept) => document.give_way(actor, at, user, ids[kept]),
            Say::All => document.tell_apart(actor, at, &others),
            Say::Delete(gone) if ids[gone] == *id => {
                let left = left_instead(&members(known), *id);
                document.delete(actor, at, user, left)
            }
            Say::Delete(_) => Ok(None),
            Say::Nothing => Ok(None),
        };
        Some(Leaf { document: *id, change: change.unwrap()? })
    };
    known.iter().filter_map(write).collect()
}

fn project_alike(crew: &Crew, log: &[Entry], mut pieces: impl FnMut() -> usize) -> Alike {
    let stage = Stage::new();
    let mut rest = log;
    while !rest.is_empty() {
        let (piece, more) = rest.split_at(pieces().clamp(1, rest.len()));
        rest = more;
        stage.project(crew, piece);
    }
    alike(&stage.store)
}

fn entries(batches: &[Batch]) -> Vec<Entry> {
    batches.iter().map(|batch| Entry::Batch(batch.encode())).collect()
}

/// Whether what these people say, who know nothing of each other, is one thing: they keep the same
/// record and delete no other than those that go then; or all but one are deleted, and nobody
/// counted on one of those that is gone by the word of somebody who counted on another.
fn agree(said: &[Say]) -> bool {
    let is_any = |say: Say| said.contains(&say);
    let kept: Vec<usize> = (0..3).filter(|kept| is_any(Say::Keep(*kept))).collect();
    let deleted: Vec<usize> = (0..3).filter(|gone| is_any(Say::Delete(*gone))).collect();
    match (&kept[..], is_any(Say::All)) {
        ([], true) => deleted.is_empty(),
        ([kept], false) => !deleted.contains(kept),
        // Who deletes the first counts on the second, and everybody else on the first.
        ([], false) => deleted == [1, 2] || deleted == [0, 2],
        _ => false,
    }
}

/// The log of what these people say, who know nothing of each other, and all that is known then.
fn said_apart(crew: &Crew, (made, batches): &(Changes, Vec<Batch>), said: [Say; 3]) -> Apart {
    let (mut known, mut log) = (made.clone(), entries(batches));
    for (epoch, one) in (10..).zip(said) {
        let leaves = say(crew, epoch, made, one);
        for leaf in &leaves {
            known.get_mut(&leaf.document).unwrap().push(leaf.change.clone());
        }
        if !leaves.is_empty() {
            log.push(Entry::Batch(seal(crew, 1, epoch, leaves).encode()));
        }
    }
    Apart { known, log }
}

struct Apart {
    known: Changes,
    log: Vec<Entry>,
}

#[test]
fn what_people_settle_apart_is_asked_again_unless_they_agree_whatever_came_first() {
    let crew = Crew::new();
    let made = wells_alike(&crew, 3);
    let mut dice = Dice(7);
    // The three are strangers, so who of them says what makes no difference.
    let all = (0..SAYINGS.len()).flat_map(|first| {
        let pairs = (first..SAYINGS.len())
            .flat_map(|second| (second..SAYINGS.len()).map(move |third| (second, third)));
        pairs.map(move |(second, third)| [first, second, third].map(|number| SAYINGS[number]))
    });
    for said in all {
        let Apart { known, mut log } = said_apart(&crew, &made, said);
        let expected = project_alike(&crew, &log, || usize::MAX);
        let (open, shown) = (expected.inbox.len(), expected.live - expected.behind.len());
        assert!(shown > 0, "nothing counts: {said:?}");
        assert!(shown == 1 || said.contains(&Say::All), "{shown} count: {said:?}");
        assert_eq!(open == 0, agree(&said), "{said:?}: {expected:?}");
        for _ in 0..3 {
            for last in (1..log.len()).rev() {
                log.swap(last, dice.below(last + 1));
            }
            let other = project_alike(&crew, &log, || 1 + dice.below(3));
            assert_eq!(other, expected, "{said:?}");
        }
        let asked = rows::inbox_id(expected.inbox.first().unwrap_or_else(|| &expected.ended[0]));
        for last in [Say::Keep(0), Say::Keep(2), Say::All] {
            let leaves = say(&crew, 20, &known, last);
            let mut log = log.clone();
            if !leaves.is_empty() {
                log.push(Entry::Batch(seal(&crew, 1, 20, leaves).encode()));
            }
            let settled = project_alike(&crew, &log, || 1 + dice.below(3));
            assert_eq!((settled.inbox, settled.rows), (vec![], vec![]), "{said:?}, {last:?}");
            let is_told = |key: &Vec<u8>| rows::inbox_id(key) == asked;
            assert!(settled.ended.iter().any(is_told), "{said:?}, {last:?}");
            assert_eq!(settled.behind, vec![]);
            assert_eq!(settled.live, if last == Say::All { 3 } else { 1 });
        }
    }
}

#[test]
fn a_flood_of_records_of_one_thing_is_one_item_that_says_how_many_more_there_are() {
    let crew = Crew::new();
    let (_, batches) = wells_alike(&crew, 100);
    let found = project_alike(&crew, &entries(&batches), || 9);
    let [row] = &found.rows[..] else { panic!("{} places", found.rows.len()) };
    assert_eq!((row.groups.len(), found.inbox.len()), (1, 1));
    assert_eq!((row.groups[0].members.len(), row.groups[0].more), (64, 36));
    assert_eq!(project_alike(&crew, &entries(&batches), || usize::MAX), found);
}

/// The log may have its end where it was when the record began to count.
#[test]
fn whoever_reads_the_feed_hears_that_a_record_counts_no_longer() {
    let crew = Crew::new();
    let made = wells_alike(&crew, 2);
    let said = [Say::Keep(0), Say::Keep(1), Say::Nothing];
    let Apart { known, mut log } = said_apart(&crew, &made, said);
    let last = say(&crew, 20, &known, Say::Keep(1));
    log.push(Entry::Batch(seal(&crew, 1, 20, last).encode()));
    let stage = Stage::new();
    // All of it is in the log before any of it is in the view.
    let places: Vec<Place> =
        log.iter().filter_map(|entry| stage.append(std::slice::from_ref(entry))).collect();
    let (made_here, readers) = (MadeChanges::default(), Readers::default());
    let sources = Sources {
        store: &stage.store,
        places: &stage.places,
        policy: Arc::new(crew.policy.clone()),
        me: crew.keys[0].device(),
        forward_only: false,
        is_stopped: &AtomicBool::new(false),
        made: &made_here,
        readers: &readers,
        reach: Reach::All,
    };
    let mut entries = places.iter().copied().zip(log);
    let mut step = |count: usize| {
        let mut projection = Projection::new(&sources).unwrap();
        let mut last = None;
        for (place, entry) in entries.by_ref().take(count) {
            projection.apply(place, entry).unwrap();
            last = Some(place);
        }
        projection.finish(last.unwrap()).unwrap();
    };
    let feed = || {
        let row =
            rows::find(stage.store.view(), Tree::Document, known.keys().next().unwrap().as_bytes());
        let row: DocumentRow = row.unwrap().unwrap();
        let vanished = rows::find::<u64>(stage.store.view(), Tree::Meta, VANISHED_KEY).unwrap();
        (row.record.unwrap().deleted, row.feed, vanished)
    };
    step(places.len() - 1);
    let before = feed();
    step(1);
    let after = feed();
    assert_eq!((before.0, after.0), (false, true));
    assert!(after.1 > before.1 || after.2 > before.2, "{before:?} {after:?}");
}
