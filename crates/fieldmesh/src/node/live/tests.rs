//! Live queries and snapshots: a mirror that is kept by events alone holds what a list gives, and
//! what it costs is counted in rows that are read.

use std::collections::BTreeMap;

use fieldmesh_model::DocumentId;
use serde_json::json;

use super::*;
use crate::api::{ExportQuery, ImportOptions, Page};
use crate::{Moment, TenantOptions};

async fn node(folder: &tempfile::TempDir) -> Node {
    let options = TenantOptions { name: "Crew".into(), ..TenantOptions::default() };
    let builder = Node::builder(folder.path().join("home")).passphrase("one");
    builder.create_tenant(options).await.unwrap().0
}

fn wells(filters: &[&str]) -> ListQuery {
    let filters = filters.iter().map(ToString::to_string).collect();
    ListQuery { collection: "well".into(), filters, ..ListQuery::default() }
}

async fn add(node: &Node, number: usize) -> DocumentId {
    let (name, api) = (format!("Alder {number}"), format!("42-227-{number:05}"));
    let well = json!({"name": name, "apiNumber": api, "status": "ACTIVE"});
    node.collection("well").insert(well.as_object().unwrap()).await.unwrap().record.id
}

async fn set(node: &Node, id: DocumentId, status: &str) {
    let edits = crate::api::Edits {
        assignments: vec![format!("status={status}")],
        ..crate::api::Edits::default()
    };
    node.edit(&id.to_string(), edits).await.unwrap();
}

/// What a reader knows who never asked again.
#[derive(Default)]
struct Mirror {
    records: BTreeMap<DocumentId, Record>,
    resyncs: usize,
}

impl Mirror {
    fn take(&mut self, event: LiveEvent) {
        match event {
            LiveEvent::Present(all) => self.begin(all),
            LiveEvent::Resync(all) => {
                self.resyncs += 1;
                self.begin(all);
            }
            LiveEvent::Added(record) => {
                assert!(self.records.insert(record.id, record).is_none(), "added twice");
            }
            LiveEvent::Changed(record) => {
                assert!(self.records.insert(record.id, record).is_some(), "changed, never added");
            }
            LiveEvent::Removed(id) => {
                assert!(self.records.remove(&id).is_some(), "removed, never added");
            }
        }
    }

    fn begin(&mut self, all: Vec<Record>) {
        self.records = all.into_iter().map(|record| (record.id, record)).collect();
    }

    /// Reads until it holds what a list gives; fails if nothing comes any more before.
    async fn catch_up(&mut self, node: &Node, live: &mut LiveQuery, query: &ListQuery) {
        let listed = node.list(query.clone()).await.unwrap();
        let mut wanted: BTreeMap<_, _> = listed.into_iter().map(|it| (it.id, it)).collect();
        let without_safety = |records: &mut BTreeMap<DocumentId, Record>| {
            records.values_mut().for_each(|record| record.safe = None);
        };
        without_safety(&mut wanted);
        without_safety(&mut self.records);
        while self.records != wanted {
            self.take(live.next().await.unwrap().unwrap());
            without_safety(&mut self.records);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_of_events_alone_knows_what_a_list_gives() {
    let folder = tempfile::tempdir().unwrap();
    let node = node(&folder).await;
    let first = add(&node, 1).await;
    let query = wells(&["status=ACTIVE"]);
    let mut live = node.subscribe(query.clone()).await.unwrap();
    let mut mirror = Mirror::default();
    mirror.take(live.next().await.unwrap().unwrap());
    assert_eq!(mirror.records.keys().collect::<Vec<_>>(), [&first]);
    let second = add(&node, 2).await;
    mirror.catch_up(&node, &mut live, &query).await;
    set(&node, first, "PLUGGED").await;
    mirror.catch_up(&node, &mut live, &query).await;
    assert!(!mirror.records.contains_key(&first));
    set(&node, first, "ACTIVE").await;
    node.delete(&second.to_string()).await.unwrap();
    mirror.catch_up(&node, &mut live, &query).await;
    node.restore(&second.to_string()).await.unwrap();
    mirror.catch_up(&node, &mut live, &query).await;
    assert_eq!((mirror.records.len(), mirror.resyncs), (2, 0));
    node.shutdown().await.unwrap();
    assert!(live.next().await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_missed_or_doubled_where_the_answer_ends_and_the_changes_begin() {
    let folder = tempfile::tempdir().unwrap();
    let node = node(&folder).await;
    let writer = node.clone();
    let writing = tokio::spawn(async move {
        for number in 0..60 {
            let id = add(&writer, number).await;
            if number % 3 == 0 {
                set(&writer, id, "INACTIVE").await;
            }
        }
    });
    let query = wells(&["status=ACTIVE"]);
    // Each begins somewhere among the writes; the mirror finds out what comes twice or never.
    let mut readers = Vec::new();
    for _ in 0..12 {
        let mut live = node.subscribe(query.clone()).await.unwrap();
        let mut mirror = Mirror::default();
        mirror.take(live.next().await.unwrap().unwrap());
        readers.push((live, mirror));
    }
    writing.await.unwrap();
    for (live, mirror) in &mut readers {
        mirror.catch_up(&node, live, &query).await;
        assert_eq!((mirror.records.len(), mirror.resyncs), (40, 0));
    }
    drop(readers);
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_for_whom_too_much_came_is_told_to_begin_again() {
    let folder = tempfile::tempdir().unwrap();
    let node = node(&folder).await;
    let query = wells(&[]);
    let mut live = node.subscribe(query.clone()).await.unwrap();
    let mut mirror = Mirror::default();
    let rows: Vec<String> =
        (0..1_200).map(|number| format!("Alder {number},42-227-{number:05},ACTIVE\n")).collect();
    let file = format!("name,apiNumber,status\n{}", rows.concat());
    let options = ImportOptions { collection: Some("well".into()), ..ImportOptions::default() };
    node.import(std::io::Cursor::new(file), options, |_| {}).await.unwrap();
    mirror.catch_up(&node, &mut live, &query).await;
    assert_eq!((mirror.records.len(), mirror.resyncs), (1_200, 1));
    add(&node, 2_000).await;
    mirror.catch_up(&node, &mut live, &query).await;
    assert_eq!((mirror.records.len(), mirror.resyncs), (1_201, 1), "events go on behind it");
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_live_query_costs_follows_from_what_changes_and_not_from_what_is_there() {
    let mut costs = Vec::new();
    for count in [1_000, 10_000] {
        let folder = tempfile::tempdir().unwrap();
        let node = node(&folder).await;
        let rows: Vec<String> = (0..count)
            .map(|number| format!("Alder {number},42-227-{number:05},ACTIVE\n"))
            .collect();
        let file = format!("name,apiNumber,status\n{}", rows.concat());
        let options = ImportOptions { collection: Some("well".into()), ..ImportOptions::default() };
        node.import(std::io::Cursor::new(file), options, |_| {}).await.unwrap();
        let query = wells(&["status=INACTIVE"]);
        let mut live = node.subscribe(query.clone()).await.unwrap();
        let mut mirror = Mirror::default();
        mirror.take(live.next().await.unwrap().unwrap());
        let before = node.ledger().projector.readers().looked_at();
        for number in 0..20 {
            let id = node.show(&format!("Alder {number}")).await.unwrap().id;
            set(&node, id, "INACTIVE").await;
        }
        mirror.catch_up(&node, &mut live, &query).await;
        costs.push(node.ledger().projector.readers().looked_at() - before);
        node.shutdown().await.unwrap();
    }
    // Each change is written at most twice: as it is made, and as it is sealed.
    assert!(costs.iter().all(|cost| (20..=40).contains(cost)), "{costs:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_stays_as_it_was_while_everything_changes() {
    let folder = tempfile::tempdir().unwrap();
    let node = node(&folder).await;
    let mut ids = Vec::new();
    for number in 0..30 {
        ids.push(add(&node, number).await);
    }
    let entry = json!({"wellId": "Alder 1", "entryType": "PRODUCTION", "data": {"oilVolume": 80}});
    node.collection("field_entry").insert(entry.as_object().unwrap()).await.unwrap();
    let before = node.list(wells(&[])).await.unwrap();
    let snapshot = node.snapshot().await.unwrap();
    for (number, id) in ids.iter().enumerate() {
        match number % 3 {
            0 => set(&node, *id, "PLUGGED").await,
            1 => drop(node.delete(&id.to_string()).await.unwrap()),
            _ => {
                add(&node, 100 + number).await;
            }
        }
    }
    let bare = |records: Vec<Record>| -> Vec<Record> {
        records.into_iter().map(|record| Record { safe: None, version: None, ..record }).collect()
    };
    let Page { records, .. } = snapshot.page(wells(&[])).await.unwrap();
    assert_eq!(bare(records), bare(before.clone()));
    let mut paged = Vec::new();
    let mut cursor = None;
    loop {
        let query = ListQuery { limit: Some(4), cursor, ..wells(&["status=ACTIVE"]) };
        let Page { records, next, .. } = snapshot.page(query).await.unwrap();
        paged.extend(records);
        cursor = next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(bare(paged), bare(before));
    let entries = ListQuery { collection: "field_entry".into(), ..ListQuery::default() };
    assert_eq!(snapshot.count(entries).await.unwrap(), 1);
    assert_eq!(snapshot.count(wells(&["status=PLUGGED"])).await.unwrap(), 0);
    assert_eq!(node.count(wells(&["status=PLUGGED"])).await.unwrap(), 10);
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_with_history_ends_where_its_snapshot_was_taken() {
    let folder = tempfile::tempdir().unwrap();
    let node = node(&folder).await;
    let id = add(&node, 1).await;
    set(&node, id, "INACTIVE").await;
    let snapshot = node.snapshot().await.unwrap();
    set(&node, id, "PLUGGED").await;
    let query = || ExportQuery { list: wells(&[]), history: true, ..ExportQuery::default() };
    assert_eq!(snapshot.export(query(), std::io::sink()).await.unwrap(), 2);
    assert_eq!(node.export(query(), std::io::sink()).await.unwrap(), 3);
    let all = ExportQuery { also: vec!["field_entry".into(), "well".into()], ..query() };
    assert_eq!(snapshot.export(all.clone(), std::io::sink()).await.unwrap(), 4);
    let table = ExportQuery { format: crate::api::ExportFormat::Csv, history: false, ..all };
    assert!(matches!(node.export(table, std::io::sink()).await, Err(Error::Usage { .. })));
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_is_shown_as_it_was_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let node = node(&folder).await;
    let id = add(&node, 1).await.to_string();
    set(&node, id.parse().unwrap(), "INACTIVE").await;
    node.delete(&id).await.unwrap();
    let times: Vec<Moment> = node.history(&id).await.unwrap().iter().map(|it| it.at).collect();
    let [made, changed, deleted] = times[..] else { panic!("{times:?}") };
    assert!(made < changed && changed < deleted, "{times:?}");
    let at = async |at| node.show_at(&id, at).await.unwrap();
    assert_eq!(at(made).await.fields["status"], "ACTIVE");
    assert_eq!(at(changed).await.fields["status"], "INACTIVE");
    assert_eq!((at(changed).await.deleted, at(deleted).await.deleted), (false, true));
    let earlier = node.show_at(&id, made.plus_millis(-1)).await.unwrap_err();
    assert!(matches!(&earlier, Error::NotFound { name, .. } if name.contains("there was none")));
    node.shutdown().await.unwrap();
}
