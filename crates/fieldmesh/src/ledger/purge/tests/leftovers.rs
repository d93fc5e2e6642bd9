//! Whether a word of a purged record is left anywhere in a home: in any entry, fact, row or file
//! that was set aside.

use std::fs;

use fieldmesh_model::Moment;

use super::*;
use crate::api::{BackupOptions, ImportOptions, Progress, RevokeOptions};
use crate::harm::{Harm, LostChange, Outcome};

/// What nobody may find any more, whatever it stands in.
const MARKER: &str = "zanzibar7";

const TREES: [Tree; 11] = [
    Tree::Meta,
    Tree::Document,
    Tree::Leaf,
    Tree::Index,
    Tree::Feed,
    Tree::Inbox,
    Tree::Peer,
    Tree::Blob,
    Tree::Item,
    Tree::Chain,
    Tree::Quarantine,
];

fn has_marker(bytes: &[u8]) -> bool {
    bytes.windows(MARKER.len()).any(|part| part == MARKER.as_bytes())
}

/// Where the marker is, in everything that the home can decrypt.
fn found(node: &Node) -> BTreeSet<&'static str> {
    let mut found = BTreeSet::new();
    let replayed = node.ledger().store.replay(None, |_, entry| {
        if has_marker(&entry.bytes) {
            found.insert(match Entry::decode(&entry).unwrap() {
                Entry::Item(_) => "item",
                Entry::Batch(_) => "batch",
                Entry::Change(_) => "change",
                Entry::Fact(_) => "fact",
                Entry::Note(_) => "note",
            });
        }
        ControlFlow::Continue(())
    });
    replayed.unwrap();
    for tree in TREES {
        for row in rows::scan(node.ledger().view(), tree, KeyRange::all(), Direction::Ascending) {
            let (key, value) = row.unwrap();
            if has_marker(&key) || has_marker(&value) {
                found.insert(tree.as_str());
            }
        }
    }
    found
}

fn assert_forgotten(node: &Node, home: &Path) {
    let ledger = node.ledger();
    ledger.catch_up().unwrap();
    ledger.sweep().unwrap();
    ledger.keep_up();
    while ledger.keep_up() {}
    assert_eq!(found(node), BTreeSet::new(), "{}", home.display());
    let quarantine = home.join("store").join("quarantine");
    let kept = fs::read_dir(quarantine).map_or(0, Iterator::count);
    assert_eq!(kept, 0, "nobody can tell what is in what was set aside");
    let log = fs::read_dir(home.join("store").join("log")).unwrap();
    let mut names = log.map(|file| file.unwrap().file_name().into_string().unwrap());
    assert!(!names.any(|name| name.ends_with(".new")));
}

pub(super) fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let copy = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_folder(&path, &copy);
        } else {
            assert!(fs::copy(path, copy).is_ok());
        }
    }
}

/// What an earlier start might have set aside: a part of the log and a view.
fn set_aside(home: &Path) {
    let store = home.join("store");
    let quarantine = store.join("quarantine");
    copy_folder(&store.join("view"), &quarantine.join("view"));
    let segments = fs::read_dir(store.join("log")).unwrap();
    let segment = segments.map(|file| file.unwrap().path()).min().unwrap();
    fs::copy(segment, quarantine.join("log-0000000000000001-0.0")).unwrap();
}

async fn edit(node: &Node, id: DocumentId, who: &str) {
    let photo = format!("https://photos.example/{MARKER}-{who}.jpg");
    let fields = serde_json::json!({ "notes": format!("{MARKER} by {who}"), "photos": [photo] });
    let edits = Edits { fields: fields.as_object().unwrap().clone(), ..Edits::default() };
    node.edit(&id.to_string(), edits).await.unwrap();
}

/// Damage to a change of the record, of which only what was shown is left.
fn lose_a_change(node: &Node, id: DocumentId) {
    let ledger = node.ledger();
    ledger.catch_up().unwrap();
    let row = ledger.row(id).unwrap().unwrap();
    let lost = LostChange {
        document: id,
        hash: [7; 8],
        collection: row.scope.collection,
        is_whole: false,
        shown: row.record,
    };
    let harm = Harm {
        place: Place(2),
        found: Moment::from_millis(5),
        what: Harmed::Change(Box::new(lost)),
        outcome: Outcome::Open,
    };
    ledger.keep_harms(&[harm]).unwrap();
}

async fn root(node: &Node) -> String {
    node.status().await.unwrap().root
}

#[tokio::test(flavor = "multi_thread")]
async fn no_word_of_a_purged_record_is_left_in_what_any_home_can_read() {
    let mut crew = Crew::new().await;
    let tablet = crew.device("tablet", Role::Operator).await;
    let van = crew.device("van", Role::Manager).await;
    let hand = crew.device("hand", Role::Operator).await;
    let secret = entry(&tablet, 1, MARKER).await;
    let kept = entry(&tablet, 2, "all quiet").await;
    sync(&tablet, &crew.address).await;
    sync(&van, &crew.address).await;
    sync(&hand, &crew.address).await;
    // Two write at once, and the tablet goes on after it was revoked.
    edit(&van, secret, "van").await;
    edit(&tablet, secret, "tablet").await;
    sync(&tablet, &crew.address).await;
    sync(&van, &crew.address).await;
    sync(&hand, &crew.address).await;
    edit(&tablet, secret, "thief").await;
    crew.office.revoke("tablet", RevokeOptions::default()).await.unwrap();
    let at_hand = listen(&hand).await;
    sync(&tablet, &at_hand).await;
    sync(&hand, &crew.address).await;
    lose_a_change(&crew.office, secret);
    let home = crew.home("office");
    crew.office.shutdown().await.unwrap();
    set_aside(&home);
    let office = open(&home).await;
    crew = Crew { folder: crew.folder, address: listen(&office).await, office };
    assert_eq!(
        found(&crew.office),
        BTreeSet::from(["batch", "document", "fact", "meta"]),
        "there is something to be found"
    );
    assert!(found(&van).contains("change"));

    purge(&crew.office, secret, "asked for").await.unwrap();
    assert_forgotten(&crew.office, &home);
    let doctor = crew.office.doctor().await.unwrap();
    assert!(!doctor.open, "nobody misses what was purged: {doctor:?}");
    // One that never had it hears of the purge first, and then meets one that has heard nothing.
    let late = crew.device("late", Role::Operator).await;
    sync(&late, &at_hand).await;
    sync(&van, &crew.address).await;
    crew.office.ledger().name_late().unwrap();
    for name in ["van", "late", "hand"] {
        let node = [("van", &van), ("late", &late), ("hand", &hand)];
        let node = node.iter().find(|(it, _)| *it == name).unwrap().1;
        sync(node, &crew.address).await;
        assert_forgotten(node, &crew.home(name));
        assert_eq!(list(node).await, [kept]);
        assert_eq!(root(node).await, root(&crew.office).await);
        let verified = node.verify().await.unwrap();
        assert!(verified.clean && verified.purged > 0, "{verified:?}");
        assert!(node.purges().await.unwrap().iter().all(|it| it.id == secret && it.erased));
    }
    for node in [tablet, van, hand, late] {
        node.shutdown().await.unwrap();
    }
    crew.office.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_backup_does_not_bring_a_purged_record_back() {
    /// A backup is gone on from if its last entries, fewer than these, are as they were.
    const EDITS: usize = 300;
    let crew = Crew::new().await;
    let secret = entry(&crew.office, 1, MARKER).await;
    let kept = entry(&crew.office, 2, "all quiet").await;
    let van = crew.device("van", Role::Operator).await;
    for number in 0..EDITS {
        let fields = serde_json::json!({ "data": { "oilVolume": number } });
        let edits = Edits { fields: fields.as_object().unwrap().clone(), ..Edits::default() };
        crew.office.edit(&kept.to_string(), edits).await.unwrap();
    }
    let files = ["office", "van", "since"].map(|name| crew.home(&format!("{name}.backup")));
    let whole = |file: &PathBuf| BackupOptions { file: file.clone(), since: None };
    crew.office.backup(whole(&files[0]), |_| {}).await.unwrap();
    van.backup(whole(&files[1]), |_| {}).await.unwrap();
    purge(&crew.office, secret, "asked for").await.unwrap();
    let since = BackupOptions { file: files[2].clone(), since: Some(files[0].clone()) };
    crew.office.backup(since, |_| {}).await.unwrap();

    // The van's copy knows of no purge, and hears of it.
    van.shutdown().await.unwrap();
    let home = crew.home("van-again");
    let builder = Node::builder(&home).passphrase("one");
    builder.restore(vec![files[1].clone()], |_| {}).await.unwrap();
    let again = open(&home).await;
    assert!(found(&again).contains("batch"), "the backup still has it");
    sync(&again, &crew.address).await;
    assert_forgotten(&again, &home);
    assert_eq!(list(&again).await, [kept]);
    again.shutdown().await.unwrap();
    // The office's chain of backups has the record in one file and the purge in the other.
    let home = crew.home("office-again");
    let builder = Node::builder(&home).passphrase("one");
    builder.restore(vec![files[0].clone(), files[2].clone()], |_| {}).await.unwrap();
    let again = open(&home).await;
    assert_forgotten(&again, &home);
    assert_eq!(list(&again).await, [kept]);
    again.shutdown().await.unwrap();
    crew.office.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_batch_is_healed_without_what_was_purged() {
    let crew = Crew::new().await;
    let tablet = crew.device("tablet", Role::Operator).await;
    let van = crew.device("van", Role::Operator).await;
    let secret = entry(&tablet, 1, MARKER).await;
    let kept = entry(&tablet, 2, "all quiet").await;
    sync(&tablet, &crew.address).await;
    sync(&van, &crew.address).await;
    purge(&crew.office, secret, "asked for").await.unwrap();
    let ledger = crew.office.ledger();
    ledger.catch_up().unwrap();
    let place = ledger.row(kept).unwrap().unwrap().changes[0].place;
    let batch = crate::places::read_batch(&ledger.store, place).unwrap();
    assert!(batch.has_erased_leaves(), "both lie in one batch");
    let harms = ledger.harms().unwrap();
    assert!(harms.is_empty(), "a purged leaf is no damage: {harms:?}");
    // The van has heard of no purge and has it whole.
    let header = batch.header();
    let (id, author) = (batch.id(), Some(header.author));
    let what = Harmed::Batch { id, scope: header.scope, author };
    let found_at = Moment::from_millis(5);
    ledger.keep_harms(&[Harm { place, found: found_at, what, outcome: Outcome::Open }]).unwrap();
    let at_van = listen(&van).await;
    sync(&crew.office, &at_van).await;
    ledger.catch_up().unwrap();
    assert!(ledger.harms().unwrap().iter().all(|harm| !harm.is_open()));
    assert_forgotten(&crew.office, &crew.home("office"));
    assert_eq!(list(&crew.office).await, [kept]);
    tablet.shutdown().await.unwrap();
    van.shutdown().await.unwrap();
    crew.office.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_does_not_bring_a_purged_key_back_and_names_its_row() {
    let crew = Crew::new().await;
    let rows = "wellId,entryType,recordedAt,deviceId,oilVolume\n\
                Alder 1,PRODUCTION,2026-03-01T08:01:00Z,pump-1,10\n\
                Alder 1,PRODUCTION,2026-03-01T08:02:00Z,pump-1,11\n";
    let import = async || {
        let options =
            ImportOptions { collection: Some("field_entry".into()), ..ImportOptions::default() };
        let (sender, told) = std::sync::mpsc::channel();
        let tell = move |progress| sender.send(progress).unwrap();
        let source = std::io::Cursor::new(rows.as_bytes().to_vec());
        let report = crew.office.import(source, options, tell).await.unwrap();
        let refused = told.iter().filter_map(|it| match it {
            Progress::Refused(row) => Some(format!("{} {:?}", row.row, row.faults)),
            _ => None,
        });
        (report, refused.collect::<Vec<_>>())
    };
    let (first, _) = import().await;
    assert_eq!((first.imported, first.refused), (2, 0));
    let ids = list(&crew.office).await;
    let purged = ids[0];
    purge(&crew.office, purged, "asked for").await.unwrap();
    let (again, refused) = import().await;
    assert_eq!((again.imported, again.unchanged, again.refused), (0, 1, 1), "{refused:?}");
    let told = refused.concat();
    assert!(told.contains("purged") && told.contains("asked for"), "{told}");
    assert_eq!(list(&crew.office).await, ids[1..]);
    crew.office.shutdown().await.unwrap();
}

/// A purge that was said beyond the point up to which its signer counts, heard by a device before
/// the revocation and by another one after it.
#[tokio::test(flavor = "multi_thread")]
async fn what_an_admin_purged_without_a_right_to_comes_back_from_whoever_has_it() {
    let crew = Crew::new().await;
    let boss = crew.device("boss", Role::Admin).await;
    let van = crew.device("van", Role::Operator).await;
    let secret = entry(&van, 1, MARKER).await;
    let kept = entry(&van, 2, "all quiet").await;
    sync(&van, &crew.address).await;
    let at_van = listen(&van).await;
    sync(&boss, &at_van).await;
    purge(&boss, secret, "none of theirs").await.unwrap();
    sync(&boss, &at_van).await;
    assert_forgotten(&van, &crew.home("van"));
    // The office has heard nothing of it, and shuts the boss out.
    crew.office.revoke("boss", RevokeOptions::default()).await.unwrap();
    sync(&van, &crew.address).await;
    van.ledger().catch_up().unwrap();
    van.ledger().sweep().unwrap();
    let open = van.doctor().await.unwrap();
    sync(&van, &crew.address).await;
    van.ledger().catch_up().unwrap();
    let mut all = vec![secret, kept];
    all.sort_unstable();
    for node in [&van, &crew.office] {
        assert_eq!(list(node).await, all, "{open:?}");
        assert!(node.purges().await.unwrap().is_empty());
        assert!(found(node).contains("document"));
        let verified = node.verify().await.unwrap();
        assert!(verified.clean, "{verified:?}");
    }
    assert_eq!(root(&van).await, root(&crew.office).await);
    for node in [boss, van] {
        node.shutdown().await.unwrap();
    }
    crew.office.shutdown().await.unwrap();
}
