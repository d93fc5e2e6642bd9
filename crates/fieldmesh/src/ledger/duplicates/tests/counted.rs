//! Goal: while nobody has decided about records that are alike, every list, count, export, live
//! query and snapshot has one of them, which says so.

use std::collections::BTreeSet;

use super::*;
use crate::api::{ExportQuery, ListQuery, LiveEvent, Record};
use crate::gateway::Access;
use crate::{Error, clock};

fn entries(duplicates: bool) -> ListQuery {
    let collection = "field_entry".into();
    ListQuery { collection, duplicates, ..ListQuery::default() }
}

async fn listed(node: &Node, duplicates: bool) -> BTreeSet<DocumentId> {
    ids(node.list(entries(duplicates)).await.unwrap())
}

fn ids(records: Vec<Record>) -> BTreeSet<DocumentId> {
    records.into_iter().map(|record| record.id).collect()
}

async fn exported(node: &Node) -> usize {
    let file = tempfile::NamedTempFile::new().unwrap();
    let query = ExportQuery { list: entries(false), ..ExportQuery::default() };
    node.export(query, file.reopen().unwrap()).await.unwrap();
    std::fs::read_to_string(file.path()).unwrap().lines().count()
}

/// Everywhere the first of two counts, and says so, although each was deleted by somebody.
pub(super) async fn counts_the_first(crew: &Crew, ids: [DocumentId; 2]) {
    counts_only(crew, ids[0]).await;
    for node in [&crew.office, &crew.truck] {
        let list = node.list(entries(false)).await.unwrap();
        assert_eq!((list[0].duplicates.as_slice(), list[0].conflicts.len()), (&ids[1..], 1));
    }
}

/// An app that deletes it is told that there is nothing to delete.
pub(super) async fn is_not_deleted_by_an_app(node: &Node, id: DocumentId) {
    let refused = tokio::task::block_in_place(|| {
        let access = Access::new(node);
        let mut write = access.write().unwrap();
        write.delete(id, None, clock::now(), "ann").unwrap_err()
    });
    assert!(matches!(refused, Error::NotAllowed { .. }), "{refused:?}");
    assert!(refused.to_string().contains("counts only until somebody decides"), "{refused}");
}

pub(super) async fn counts_only(crew: &Crew, id: DocumentId) {
    for node in [&crew.office, &crew.truck] {
        assert_eq!(listed(node, false).await, BTreeSet::from([id]));
        assert_eq!(node.count(entries(false)).await.unwrap(), 1);
        assert_eq!(node.status().await.unwrap().records["field_entry"], 1);
        assert_eq!(exported(node).await, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_duplicate_counts_once_and_says_so() {
    let crew = Crew::new().await;
    let twins = crew.twins().await;
    let item = open(&crew.office).await.remove(0).id;
    for node in [&crew.office, &crew.truck] {
        let list = node.list(entries(false)).await.unwrap();
        assert_eq!(list.len(), 1, "{list:?}");
        assert_eq!((list[0].id, &list[0].duplicates), (twins[0], &vec![twins[1]]));
        assert!(list[0].conflicts.iter().eq([&item]), "{list:?}");
        assert_eq!(node.count(entries(false)).await.unwrap(), 1);
        let status = node.status().await.unwrap();
        assert_eq!((status.records["field_entry"], status.conflicts), (1, 1), "{status:?}");
        assert_eq!(exported(node).await, 1);
        assert_eq!(listed(node, true).await, BTreeSet::from(twins));
        assert_eq!(node.count(entries(true)).await.unwrap(), 2);
        let other = node.show(&twins[1].to_string()).await.unwrap();
        assert_eq!(other.duplicates, [twins[0]]);
    }
    crew.office.resolve(&item, Resolution::Take(Choice::Both)).await.unwrap();
    assert_eq!(listed(&crew.office, false).await, BTreeSet::from(twins));
    assert_eq!(crew.office.count(entries(false)).await.unwrap(), 2);
    assert_eq!(crew.office.status().await.unwrap().conflicts, 0);
    let shown = crew.office.show(&twins[0].to_string()).await.unwrap();
    assert!(shown.duplicates.is_empty() && shown.conflicts.is_empty(), "{shown:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_query_and_a_snapshot_see_a_record_step_behind_another_one() {
    let crew = Crew::new().await;
    let mut own = BTreeSet::new();
    for minute in 0..8 {
        own.insert(crew.entry(&crew.office, minute, 80).await);
        crew.entry(&crew.truck, minute, 81).await;
    }
    let snapshot = crew.office.snapshot().await.unwrap();
    let mut live = crew.office.subscribe(entries(false)).await.unwrap();
    crew.sync().await;
    let expected = listed(&crew.office, false).await;
    assert_eq!(expected.len(), 8);
    assert_eq!(ids(snapshot.page(entries(false)).await.unwrap().records), own);
    assert_eq!(snapshot.count(entries(false)).await.unwrap(), 8);
    let mut mirror = BTreeSet::new();
    while mirror != expected {
        match live.next().await.unwrap().unwrap() {
            LiveEvent::Present(all) | LiveEvent::Resync(all) => mirror = ids(all),
            LiveEvent::Added(record) => assert!(mirror.insert(record.id)),
            LiveEvent::Changed(record) => assert!(mirror.contains(&record.id)),
            LiveEvent::Removed(id) => assert!(mirror.remove(&id)),
        }
    }
}

fn fitting(condition: &str) -> ListQuery {
    ListQuery { filters: vec![condition.into()], ..entries(false) }
}

/// What each way of asking finds.
async fn found(node: &Node, condition: &str) -> BTreeSet<DocumentId> {
    let list = node.list(fitting(condition)).await.unwrap();
    assert!(list.iter().all(|record| record.duplicates.len() == 1), "{list:?}");
    assert_eq!(node.count(fitting(condition)).await.unwrap(), list.len() as u64);
    let file = tempfile::NamedTempFile::new().unwrap();
    let query = ExportQuery { list: fitting(condition), ..ExportQuery::default() };
    node.export(query, file.reopen().unwrap()).await.unwrap();
    assert_eq!(std::fs::read_to_string(file.path()).unwrap().lines().count(), list.len());
    let snapshot = node.snapshot().await.unwrap();
    assert_eq!(snapshot.page(fitting(condition)).await.unwrap().records, list);
    ids(list)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_duplicate_counts_once_whatever_is_asked_of_it() {
    let crew = Crew::new().await;
    let twins = crew.twins().await;
    for node in [&crew.office, &crew.truck] {
        assert_eq!(found(node, "oilVolume>=0").await, BTreeSet::from([twins[0]]));
        let mut each = found(node, "oilVolume=80").await;
        each.append(&mut found(node, "oilVolume=81").await);
        assert_eq!(each, BTreeSet::from(twins), "each is found by what it says");
        assert_eq!(found(node, "oilVolume>81").await, BTreeSet::new());
    }

    let mut live = crew.office.subscribe(fitting("oilVolume<=100")).await.unwrap();
    let LiveEvent::Present(present) = live.next().await.unwrap().unwrap() else { unreachable!() };
    assert_eq!(ids(present), BTreeSet::from([twins[0]]));
    let cursor = live.cursor();
    for (oil, shown) in [("oilVolume=300", twins[1]), ("oilVolume=50", twins[0])] {
        let assignments = vec![oil.into()];
        let edits = Edits { assignments, ..Edits::default() };
        crew.office.edit(&twins[0].to_string(), edits).await.unwrap();
        let LiveEvent::Resync(all) = live.next().await.unwrap().unwrap() else { unreachable!() };
        assert_eq!(ids(all), BTreeSet::from([shown]));
        let query = fitting("oilVolume<=100");
        let mut later = crew.office.subscribe_after(query, &cursor).await.unwrap();
        let LiveEvent::Resync(all) = later.next().await.unwrap().unwrap() else { unreachable!() };
        assert_eq!(ids(all), BTreeSet::from([shown]));
    }
}
