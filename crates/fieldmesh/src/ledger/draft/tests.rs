//! Drafts on real homes: nothing that was typed is lost, and nothing is recorded twice.

use std::fs;
use std::path::{Path, PathBuf};

use fieldmesh_store::{Direction, KeyRange, Place, Tree};
use serde_json::json;

use crate::api::{Draft, DraftChange, Edits, Finding, ListQuery, NewRecord};
use crate::projection::NoteRow;
use crate::rows;
use crate::{Error, Node, TenantOptions};

async fn node(path: &Path) -> Node {
    let options = TenantOptions { name: "Crew".into(), ..TenantOptions::default() };
    Node::builder(path).passphrase("one").create_tenant(options).await.unwrap().0
}

async fn again(node: Node, path: &Path) -> Node {
    node.shutdown().await.unwrap();
    Node::builder(path).passphrase("one").open().await.unwrap()
}

async fn begin(node: &Node, collection: &str, values: &[&str]) -> Result<Draft, Error> {
    let assignments = values.iter().map(|text| (*text).to_owned()).collect();
    let new = NewRecord { collection: collection.into(), assignments, ..NewRecord::default() };
    node.change_draft(DraftChange::New(new)).await
}

async fn edit(node: &Node, id: &str, values: &[&str]) -> Result<Draft, Error> {
    let assignments = values.iter().map(|text| (*text).to_owned()).collect();
    let edits = Edits { assignments, ..Edits::default() };
    node.change_draft(DraftChange::Edit { id: id.into(), edits }).await
}

async fn count(node: &Node, collection: &str) -> u64 {
    let query = ListQuery { collection: collection.into(), ..ListQuery::default() };
    node.count(query).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_is_not_finished_is_there_after_a_restart_and_is_recorded_once_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("home");
    let crew = node(&path).await;
    let draft = begin(&crew, "wells", &["name=Alder 1", "status=ACTIVE"]).await.unwrap();
    assert_eq!(draft.collection, "well");
    let missing: Vec<_> = draft.faults.iter().map(|fault| fault.field.as_str()).collect();
    assert_eq!(missing, ["apiNumber"]);
    assert_eq!(count(&crew, "well").await, 0, "nothing counts it");
    let refused = crew.submit_draft(&draft.id).await;
    assert!(matches!(refused, Err(Error::Invalid { .. })), "{refused:?}");

    let crew = again(crew, &path).await;
    assert_eq!(crew.drafts().await.unwrap(), std::slice::from_ref(&draft));
    let draft = edit(&crew, &draft.id[..6], &["apiNumber=42-227-30001"]).await.unwrap();
    assert_eq!((draft.fields["name"].clone(), draft.faults), (json!("Alder 1"), vec![]));
    let record = crew.submit_draft(&draft.id).await.unwrap();
    assert_eq!(record.fields["apiNumber"], "42-227-30001");
    assert_eq!(crew.drafts().await.unwrap(), []);
    let crew = again(crew, &path).await;
    assert_eq!((count(&crew, "well").await, crew.drafts().await.unwrap().len()), (1, 0));
    crew.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_behind_the_record_of_a_draft_leaves_no_second_one_to_come() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("home");
    let crew = node(&path).await;
    // One that has to be unique, one of a time of its own, and one of its natural key.
    let wells = ["name=Alder 1", "apiNumber=42-227-30001", "status=ACTIVE"];
    let reading = ["wellId=Alder 1", "entryType=PRODUCTION", "oilVolume=82.3"];
    for (collection, values) in [
        ("well", &wells[..]),
        ("asset", &["name=Pump", "status=IN_SERVICE"]),
        ("field_entry", &reading),
    ] {
        let draft = begin(&crew, collection, values).await.unwrap();
        assert_eq!(draft.faults, [], "{collection}");
        let (id, mut row) = crew.ledger().draft_row(&draft.id).unwrap();
        let record = crew.submit_draft(&draft.id).await.unwrap();
        row.becomes = Some(record.id);
        crew.ledger().note_draft(id, Some(&row)).unwrap();
        // What is typed into it now would be in no record.
        let edited = edit(&crew, &draft.id, &["notes=late"]).await;
        assert!(matches!(edited, Err(Error::Usage { .. })), "{edited:?}");
        assert_eq!(crew.submit_draft(&draft.id).await.unwrap().id, record.id);
        assert_eq!((count(&crew, collection).await, crew.drafts().await.unwrap().len()), (1, 0));
    }
    crew.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draft_whose_key_is_taken_can_still_be_corrected_and_submitted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("home");
    let crew = node(&path).await;
    let wells = ["name=Alder 1", "apiNumber=42-227-30001", "status=ACTIVE"];
    begin(&crew, "well", &wells).await.unwrap();
    let well = crew.drafts().await.unwrap().remove(0);
    crew.submit_draft(&well.id).await.unwrap();
    let at = "recordedAt=2026-03-01T08:30:00Z";
    let values = ["wellId=Alder 1", "entryType=PRODUCTION", "oilVolume=82.3", at];
    let first = begin(&crew, "field_entry", &values).await.unwrap();
    let second = begin(&crew, "field_entry", &values).await.unwrap();
    crew.submit_draft(&first.id).await.unwrap();
    edit(&crew, &second.id, &["oilVolume=80"]).await.unwrap();
    let taken = crew.submit_draft(&second.id).await;
    assert!(matches!(taken, Err(Error::Taken { .. })), "{taken:?}");
    edit(&crew, &second.id, &["recordedAt=2026-03-01T09:30:00Z"]).await.unwrap();
    crew.submit_draft(&second.id).await.unwrap();
    assert_eq!(count(&crew, "field_entry").await, 2);
    crew.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reading_that_is_finished_in_the_evening_is_of_when_it_was_taken() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("home");
    let crew = node(&path).await;
    let wells = ["name=Alder 1", "apiNumber=42-227-30001", "status=ACTIVE"];
    let assignments = wells.map(String::from).to_vec();
    let well = NewRecord { collection: "well".into(), assignments, ..NewRecord::default() };
    crew.record(well).await.unwrap();
    let values = ["wellId=Alder 1", "entryType=PRODUCTION"];
    let draft = begin(&crew, "field_entry", &values).await.unwrap();
    edit(&crew, &draft.id, &["oilVolume=82.3"]).await.unwrap();
    let record = crew.submit_draft(&draft.id).await.unwrap();
    assert_eq!(record.fields["recordedAt"], json!(draft.begun_at.to_string()));
    crew.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_a_draft_is_refused_in_words_and_changes_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("home");
    let crew = node(&path).await;
    let unknown = begin(&crew, "boat", &["name=x"]).await;
    assert!(matches!(unknown, Err(Error::UnknownCollection { .. })), "{unknown:?}");
    let draft = begin(&crew, "well", &["name=Alder 1"]).await.unwrap();
    let second = begin(&crew, "well", &["name=Alder 2"]).await.unwrap();
    for id in ["", "zz", "7c21a9f0"] {
        let missing = edit(&crew, id, &["name=x"]).await;
        assert!(matches!(missing, Err(Error::NotFound { kind: "draft", .. })), "{missing:?}");
        let missing = crew.submit_draft(id).await;
        assert!(matches!(missing, Err(Error::NotFound { kind: "draft", .. })), "{missing:?}");
    }
    let odd = edit(&crew, &draft.id, &["latitude=north"]).await.unwrap();
    assert!(odd.faults.iter().any(|fault| fault.field == "latitude"), "kept, and said: {odd:?}");
    let discarded = crew.change_draft(DraftChange::Discard { id: second.id.clone() }).await;
    assert_eq!(discarded.unwrap().id, second.id);
    let left = crew.drafts().await.unwrap();
    assert_eq!(left.iter().map(|it| &it.id).collect::<Vec<_>>(), [&draft.id]);
    assert_eq!(crew.draft(&draft.id).await.unwrap(), left[0]);
    crew.shutdown().await.unwrap();
}

fn segments(home: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(home.join("store").join("log")).unwrap();
    let mut paths: Vec<PathBuf> = files.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

fn flip(segment: &Path, at: impl Fn(usize) -> usize) {
    let mut bytes = fs::read(segment).unwrap();
    let at = at(bytes.len());
    bytes[at] ^= 1;
    fs::write(segment, bytes).unwrap();
}

/// A home of which nothing is written by itself any more.
async fn quiet(path: &Path) -> Node {
    let node = node(path).await;
    while node.ledger().scrub_state().unwrap().finished.is_none() {
        tokio::task::yield_now().await;
    }
    node
}

/// Where the drafts of the view lie in the log.
fn places(node: &Node) -> Vec<Place> {
    let prefix = rows::note_key(super::PREFIX);
    let range = KeyRange::prefix(&prefix);
    let rows = rows::scan(node.ledger().view(), Tree::Meta, range, Direction::Ascending);
    rows.map(|row| rows::decode::<NoteRow>(&row.unwrap().1).unwrap().place).collect()
}

/// That damage was found by which no record has lost anything, and is told.
async fn assert_needless(node: &Node) {
    let report = node.doctor().await.unwrap();
    let is_told = |it: &Finding| it.kind == "needless-entries" && it.done.contains("once more");
    assert!(!report.open && report.findings.iter().any(is_told), "{report:#?}");
    assert!(node.status().await.unwrap().damage.is_empty());
}

async fn without_view(node: Node, home: &Path) -> Node {
    node.shutdown().await.unwrap();
    fs::remove_dir_all(home.join("store").join("view")).unwrap();
    Node::builder(home).passphrase("one").open().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draft_whose_place_in_the_log_goes_bad_is_not_lost_with_the_view() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    let crew = quiet(&home).await;
    let draft = begin(&crew, "well", &["name=Alder 1"]).await.unwrap();
    crew.ledger().catch_up().unwrap();
    let segment = segments(&home).pop().unwrap();
    let end = fs::read(&segment).unwrap().len();
    // Behind the last entry nobody would know that it is damage and not an end.
    let other = begin(&crew, "well", &["name=Alder 2"]).await.unwrap();
    flip(&segment, |_| end - 1);
    crew.verify().await.unwrap();
    assert_needless(&crew).await;
    assert!(crew.verify().await.unwrap().clean);
    // What was typed since holds.
    let draft = edit(&crew, &draft.id, &["status=ACTIVE"]).await.unwrap();
    let crew = without_view(crew, &home).await;
    let mut drafts = crew.drafts().await.unwrap();
    drafts.sort_by_key(|draft| draft.begun_at);
    assert_eq!(drafts, [draft, other]);
    assert_needless(&crew).await;
    assert_eq!(crew.accept_losses().await.unwrap(), 0);
    let report = crew.doctor().await.unwrap();
    assert!(report.findings.iter().all(|it| it.kind != "needless-entries"), "{report:#?}");
    crew.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draft_that_was_discarded_stays_so_where_that_goes_bad_and_the_view_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    let crew = quiet(&home).await;
    let draft = begin(&crew, "well", &["name=Alder 1"]).await.unwrap();
    crew.change_draft(DraftChange::Discard { id: draft.id }).await.unwrap();
    crew.ledger().catch_up().unwrap();
    let segment = segments(&home).pop().unwrap();
    let end = fs::read(&segment).unwrap().len();
    let other = begin(&crew, "well", &["name=Alder 2"]).await.unwrap();
    flip(&segment, |_| end - 1);
    crew.verify().await.unwrap();
    assert_needless(&crew).await;
    let crew = without_view(crew, &home).await;
    assert_eq!(crew.drafts().await.unwrap(), [other]);
    crew.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draft_that_went_with_a_file_of_the_log_is_not_lost_with_the_view() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    let crew = again(node(&home).await, &home).await;
    let draft = begin(&crew, "well", &["name=Alder 1"]).await.unwrap();
    let lost = segments(&home).pop().unwrap();
    let crew = again(crew, &home).await;
    let other = begin(&crew, "well", &["name=Alder 2"]).await.unwrap();
    assert!(segments(&home).pop().unwrap() > lost);
    crew.shutdown().await.unwrap();
    fs::remove_file(&lost).unwrap();
    let crew = Node::builder(&home).passphrase("one").open().await.unwrap();
    assert_needless(&crew).await;
    let crew = without_view(crew, &home).await;
    let mut drafts = crew.drafts().await.unwrap();
    drafts.sort_by_key(|draft| draft.begun_at);
    assert_eq!(drafts, [draft, other]);
    crew.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn drafts_in_a_damaged_block_are_written_once_more() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    let mut crew = node(&home).await;
    for number in 0..3 {
        crew = again(crew, &home).await;
        begin(&crew, "well", &[&format!("name=Alder {number}")]).await.unwrap();
    }
    crew = again(crew, &home).await;
    crew.compact(|_| {}).await.unwrap();
    let (drafts, end) = (crew.drafts().await.unwrap(), crew.ledger().store.end());
    let merged = segments(&home).remove(0);
    crew.shutdown().await.unwrap();
    flip(&merged, |_| 4_300);
    let crew = Node::builder(&home).passphrase("one").open().await.unwrap();
    // An open needs other entries of the block, so it has come across the damage.
    crew.ledger().mend().unwrap();
    let written = places(&crew);
    assert!(written.iter().all(|place| Some(*place) > end), "{written:?} behind {end:?}");
    assert_eq!(crew.drafts().await.unwrap(), drafts);
    crew.shutdown().await.unwrap();
}
