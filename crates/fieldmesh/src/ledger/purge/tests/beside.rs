//! Goal: nobody is told that a record is erased while a file of the log may hold it that another
//! segment has taken the place of.
//! Method: a home is opened for each record, so that each lies in a file of its own, and those
//! become one; then some are put back, as a crash may leave them.

use std::fs;

use fieldmesh_store::Kept;

use super::leftovers::copy_folder;
use super::*;
use crate::api::Progress;
use crate::ledger::sweep::note_of_kept;

fn log(home: &Path) -> PathBuf {
    home.join("store").join("log")
}

/// The files of the log with their contents.
fn files(home: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let files = fs::read_dir(log(home)).unwrap().map(|file| file.unwrap().path());
    let mut files: Vec<_> = files.map(|path| (path.clone(), fs::read(path).unwrap())).collect();
    files.sort();
    files
}

/// Opens the home for each record, the third of which is the secret; a copy of the home of before
/// that is kept.
async fn opened_for_each(mut crew: Crew) -> (Crew, DocumentId) {
    let mut secret = None;
    for minute in 1..6 {
        if minute == 3 {
            let (home, copy) = (crew.home("office"), crew.home("copy"));
            crew = crew.restart_office().await;
            copy_folder(&home, &copy);
        }
        let notes = if minute == 3 { SECRET } else { "all quiet" };
        let id = entry(&crew.office, minute, notes).await;
        crew.office.ledger().seal(None).unwrap();
        secret = secret.or((minute == 3).then_some(id));
        crew = crew.restart_office().await;
    }
    (crew, secret.unwrap())
}

/// Flips a bit in the block of the merged file that has all entries, and puts back those of the files
/// of `before` that it took over, but for the last; gives these.
fn damage_and_leave(home: &Path, before: Vec<(PathBuf, Vec<u8>)>) -> Vec<(PathBuf, Vec<u8>)> {
    let (merged, mut bytes) = files(home).swap_remove(0);
    bytes[5_000] ^= 1;
    fs::write(&merged, bytes).unwrap();
    let left: Vec<_> = before.into_iter().filter(|(path, _)| *path < merged).collect();
    assert!(left.len() > 4, "{left:?}");
    left.iter().for_each(|(path, bytes)| fs::write(path, bytes).unwrap());
    left
}

async fn compact(node: &Node) {
    let report = node.compact(|_: Progress| {}).await.unwrap();
    assert!(report.faults.is_empty() && report.segments > 4, "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_damaged_segment_took_over_is_erased_with_what_was_left_of_it() {
    let (crew, secret) = opened_for_each(Crew::new().await).await;
    let home = crew.home("office");
    let before = files(&home);
    compact(&crew.office).await;
    crew.office.shutdown().await.unwrap();
    // As a crash leaves them.
    let left = damage_and_leave(&home, before);
    let office = open(&home).await;
    assert!(is_in_log(&office));
    let report = purge(&office, secret, "asked for").await.unwrap().remove(0);
    assert!(report.erased, "{report:?}");
    assert!(left.iter().all(|(path, _)| !path.exists()));
    assert!(!is_in_log(&office));
    assert_eq!(list(&office).await.len(), 4);
    assert_eq!(office.ledger().sweep_note().unwrap(), None);
    office.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_back_after_a_purge_is_erased_again() {
    let (crew, secret) = opened_for_each(Crew::new().await).await;
    let home = crew.home("office");
    let before = files(&home);
    compact(&crew.office).await;
    let report = purge(&crew.office, secret, "asked for").await.unwrap().remove(0);
    assert!(report.erased, "{report:?}");
    crew.office.shutdown().await.unwrap();
    // The disk gives back what it was told to remove, and a bit flips in what took it over.
    let left = damage_and_leave(&home, before);
    let office = open(&home).await;
    assert!(left.iter().all(|(path, _)| !path.exists()), "the log is mended");
    office.ledger().sweep().unwrap();
    assert!(!is_in_log(&office));
    assert_eq!(fs::read_dir(home.join("store/quarantine")).map_or(0, Iterator::count), 0);
    assert!(!office.ledger().is_unswept().unwrap() && !office.ledger().store.has_returned());
    office.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_is_not_done_while_nobody_can_look_into_a_part_of_the_log() {
    let (crew, secret) = opened_for_each(Crew::new().await).await;
    let home = crew.home("office");
    compact(&crew.office).await;
    crew.office.shutdown().await.unwrap();
    // A bit flips in both copies of the head.
    let (merged, whole) = files(&home).swap_remove(0);
    let mut bytes = whole.clone();
    bytes[9] ^= 8;
    bytes[4_105] ^= 8;
    fs::write(&merged, &bytes).unwrap();
    let office = open(&home).await;
    let report = purge(&office, secret, "asked for").await.unwrap().remove(0);
    assert!(report.purged && !report.erased, "{report:?}");
    assert!(office.purges().await.unwrap().iter().all(|record| !record.erased));
    let note = office.ledger().sweep_note().unwrap().unwrap();
    assert!(note.contains("the beginning of that file is damaged"), "{note}");
    office.shutdown().await.unwrap();

    // Where a copy is put in its place, that says nothing else.
    fs::write(&merged, &whole).unwrap();
    let office = open(&home).await;
    assert!(is_in_log(&office));
    assert!(office.purges().await.unwrap().iter().all(|record| !record.erased));
    let told = office.doctor().await.unwrap();
    let told = told.findings.iter().find(|it| it.kind == "purged").unwrap();
    assert!(told.done.starts_with("Not all of it is erased here"), "{told:?}");
    office.shutdown().await.unwrap();
}

#[test]
fn nobody_is_told_to_remove_what_may_be_the_only_whole_copy() {
    let told = |why| note_of_kept("log/0000000000000002.log", why);
    assert!(told(Kept::Other).contains("remove it while no fieldmesh runs"));
    assert!(told(Kept::Needed).contains("do not remove it"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_is_not_done_while_a_file_is_kept_that_says_something_else() {
    let (crew, secret) = opened_for_each(Crew::new().await).await;
    let (home, copy) = (crew.home("office"), crew.home("copy"));
    // What was recorded in a copy of the home lies under a number that became another's.
    let had: Vec<PathBuf> = files(&copy).into_iter().map(|(path, _)| path).collect();
    fs::remove_file(copy.join("store").join("lock")).ok();
    let other = open(&copy).await;
    entry(&other, 50, SECRET).await;
    other.shutdown().await.unwrap();
    let (from, bytes) = files(&copy).into_iter().find(|(path, _)| !had.contains(path)).unwrap();
    compact(&crew.office).await;
    crew.office.shutdown().await.unwrap();
    let stray = log(&home).join(from.file_name().unwrap());
    assert!(!stray.exists(), "{stray:?}");
    fs::write(&stray, bytes).unwrap();
    let office = open(&home).await;
    let report = purge(&office, secret, "asked for").await.unwrap().remove(0);
    assert!(report.purged && !report.erased, "{report:?}");
    assert!(!is_in_log(&office));
    assert!(office.purges().await.unwrap().iter().all(|record| !record.erased));
    let name = from.file_name().unwrap().to_str().unwrap().to_owned();
    let status = office.status().await.unwrap();
    assert!(status.notes.iter().any(|note| note.contains(&name)), "{status:?}");
    let told = office.doctor().await.unwrap();
    let told = told.findings.iter().find(|it| it.kind == "purged").unwrap();
    assert!(told.done.contains(&name), "{told:?}");
    office.shutdown().await.unwrap();
    fs::remove_file(stray).unwrap();
    let office = open(&home).await;
    assert!(office.purges().await.unwrap().iter().all(|record| record.erased));
    assert_eq!(office.ledger().sweep_note().unwrap(), None);
    office.shutdown().await.unwrap();
}
