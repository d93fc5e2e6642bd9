//! Goal: no flipped bit closes a home, and what does close one is named.
//! Method: a home is opened for each of a few records and made one block, its view goes away, and
//! bits flip in the file that has all of it, or files beside it go away.

use std::fs;
use std::path::{Path, PathBuf};

use fieldmesh::Node;
use fieldmesh::api::{Progress, RevokeOptions};
use fieldmesh_model::Role;

use super::{Crew, count, entry, export, listen, reopen, sync, try_sync, well};

/// Where the first block of a segment begins.
const FIRST_BLOCK: usize = 4_176;

/// A crew, and the home of a tablet that is closed, whose log was made one block; all it has
/// recorded is with the office.
async fn merged() -> (Crew, PathBuf) {
    let crew = Crew::new().await;
    well(&crew.lead, "Alder 1").await;
    let mut tablet = crew.device("tablet", Role::Operator).await;
    let home = crew.home("tablet");
    sync(&tablet, &crew.address).await;
    for minute in 10..14 {
        entry(&tablet, "Alder 1", &format!("2026-03-01T08:{minute}:00Z")).await;
        tablet.shutdown().await.unwrap();
        tablet = reopen(&home).await.unwrap();
    }
    sync(&tablet, &crew.address).await;
    tablet.shutdown().await.unwrap();
    let tablet = reopen(&home).await.unwrap();
    let report = tablet.compact(|_: Progress| {}).await.unwrap();
    assert!(report.faults.is_empty() && report.segments > 4, "{report:?}");
    tablet.shutdown().await.unwrap();
    fs::remove_dir_all(home.join("store/view")).unwrap();
    (crew, home)
}

/// The segment that has nearly everything: the first.
fn segment(home: &Path) -> PathBuf {
    let files = fs::read_dir(home.join("store/log")).unwrap();
    files.map(|entry| entry.unwrap().path()).min().unwrap()
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        match path.is_dir() {
            true => copy_folder(&path, &to),
            false => assert!(fs::copy(&path, &to).is_ok()),
        }
    }
}

async fn assert_same(node: &Node, like: &Node) {
    for collection in ["well", "field_entry"] {
        assert_eq!(export(node, collection).await, export(like, collection).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bit_that_flips_in_the_only_block_of_a_home_does_not_close_it() {
    let (crew, home) = merged().await;
    let length = fs::metadata(segment(&home)).unwrap().len() as usize;
    let middle = (FIRST_BLOCK + length) / 2;
    // Its head, the head and the middle of its block, and what follows on that.
    for (number, at) in [9, FIRST_BLOCK, middle, length - 90, length - 1].iter().enumerate() {
        let damaged = crew.home(&format!("damaged-{number}"));
        copy_folder(&home, &damaged);
        flip(&segment(&damaged), *at);
        let tablet = reopen(&damaged).await.unwrap();
        let is_lost = *at != 9 && *at < length - 90;
        assert_eq!(count(&tablet, "field_entry").await, if is_lost { 0 } else { 4 }, "byte {at}");
        let report = tablet.doctor().await.unwrap();
        assert_eq!(report.open, is_lost, "byte {at}");
        // Nobody counts on what it had signed before.
        let is_void = report.findings.iter().any(|it| it.kind == "epochs");
        assert_eq!(is_void, is_lost, "byte {at}");
        sync(&tablet, &crew.address).await;
        assert_same(&tablet, &crew.lead).await;
        entry(&tablet, "Alder 1", "2026-03-02T08:00:00Z").await;
        tablet.shutdown().await.unwrap();
        // The policy is in the log again.
        let copy = damaged.join("founding.copy");
        fs::remove_file(&copy).unwrap();
        fs::remove_dir_all(damaged.join("store/view")).unwrap();
        let tablet = reopen(&damaged).await.unwrap();
        assert_eq!(count(&tablet, "field_entry").await, 5, "byte {at}");
        assert!(copy.is_file());
        tablet.shutdown().await.unwrap();
    }
    crew.lead.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_revoked_since_the_last_open_stays_so_when_the_log_goes_bad() {
    let crew = Crew::new().await;
    let truck = crew.device("truck", Role::Operator).await;
    let tablet = crew.device("tablet", Role::Operator).await;
    let home = crew.home("tablet");
    tablet.shutdown().await.unwrap();
    let tablet = reopen(&home).await.unwrap();
    let options = RevokeOptions { reason: "stolen".into(), wipe: false };
    crew.lead.revoke("truck", options).await.unwrap();
    sync(&tablet, &crew.address).await;
    tablet.compact(|_: Progress| {}).await.unwrap();
    tablet.shutdown().await.unwrap();
    fs::remove_dir_all(home.join("store/view")).unwrap();
    flip(&segment(&home), FIRST_BLOCK + 60);
    let alone = crew.home("alone");
    copy_folder(&home, &alone);
    fs::remove_file(alone.join("founding.copy")).unwrap();
    assert!(reopen(&alone).await.is_err(), "its log has nothing of the policy");
    let tablet = reopen(&home).await.unwrap();
    let address = listen(&tablet).await;
    let report = try_sync(&truck, &address).await.unwrap();
    let refused = report.peers[0].error.as_deref().unwrap_or_default();
    assert!(refused.contains("revoked"), "{report:?}");
    for node in [truck, tablet, crew.lead] {
        node.shutdown().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_copy_of_the_policy_that_goes_bad_is_told_and_written_anew() {
    let (crew, home) = merged().await;
    let copy = home.join("founding.copy");
    let length = fs::metadata(&copy).unwrap().len() as usize;
    flip(&copy, length / 2);
    let tablet = reopen(&home).await.unwrap();
    let report = tablet.doctor().await.unwrap();
    assert!(!report.open, "{report:#?}");
    let told = report.findings.iter().find(|it| it.kind == "home-file").unwrap();
    assert!(told.what.contains("founding.copy was damaged"), "{told:?}");
    tablet.shutdown().await.unwrap();
    fs::remove_dir_all(home.join("store/view")).unwrap();
    flip(&segment(&home), FIRST_BLOCK + 60);
    let tablet = reopen(&home).await.unwrap();
    sync(&tablet, &crew.address).await;
    assert_same(&tablet, &crew.lead).await;
    tablet.shutdown().await.unwrap();
    crew.lead.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_home_that_nothing_opens_names_the_file_that_is_damaged() {
    let (crew, home) = merged().await;
    let damaged = segment(&home);
    flip(&damaged, FIRST_BLOCK + 60);
    fs::remove_file(home.join("founding.copy")).unwrap();
    let told = reopen(&home).await.err().unwrap().to_string();
    assert!(told.contains(&format!("{} is damaged at byte", damaged.display())), "{told}");
    assert!(told.contains("restore") && !told.contains("another home"), "{told}");
    crew.lead.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_was_emptied_is_not_taken_for_one_without_records() {
    let (crew, home) = merged().await;
    fs::remove_dir_all(home.join("store")).unwrap();
    let told = reopen(&home).await.err().unwrap().to_string();
    assert!(told.contains("is missing, empty or of another home"), "{told}");
    crew.lead.shutdown().await.unwrap();
}
