//! Goal: whoever reads the feed by its cursor misses nothing and is told nothing twice, and nobody
//! overwrites what he has not seen. Method: nodes with real stores, and a mirror kept by the feed.

use std::collections::BTreeMap;

use fieldmesh_model::DocumentId;
use serde_json::json;

use crate::api::{
    ChangeKind, ChangeReport, ChangesPage, ChangesQuery, Edits, ListQuery, LiveEvent, PurgeOptions,
    Record,
};
use crate::error::Error;
use crate::{Node, TenantOptions};

async fn node(folder: &tempfile::TempDir) -> Node {
    let options = TenantOptions { name: "Crew".into(), ..TenantOptions::default() };
    let builder = Node::builder(folder.path().join("home")).passphrase("one");
    builder.create_tenant(options).await.unwrap().0
}

async fn add(node: &Node, number: usize) -> Record {
    let (name, api) = (format!("Alder {number}"), format!("42-227-{number:05}"));
    let well = json!({"name": name, "apiNumber": api, "status": "ACTIVE"});
    node.collection("well").insert(well.as_object().unwrap()).await.unwrap().record
}

fn status(status: &str) -> Edits {
    Edits { assignments: vec![format!("status={status}")], ..Edits::default() }
}

async fn changes(node: &Node, after: Option<&str>, limit: usize) -> ChangesPage {
    let after = after.map(str::to_owned);
    let query = ChangesQuery { after, limit: Some(limit), ..ChangesQuery::default() };
    node.changes(query).await.unwrap()
}

fn ids(changes: &[ChangeReport]) -> Vec<DocumentId> {
    changes.iter().map(|change| change.id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_of_the_feed_gets_each_change_once_also_over_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let crew = node(&folder).await;
    let mut wells = Vec::new();
    for number in 0..7 {
        wells.push(add(&crew, number).await);
    }
    let first = changes(&crew, None, 5).await;
    assert_eq!(ids(&first.changes), wells[..5].iter().map(|it| it.id).collect::<Vec<_>>());
    assert!(first.more);
    crew.edit(&wells[1].id.to_string(), status("PLUGGED")).await.unwrap();
    crew.delete(&wells[6].id.to_string()).await.unwrap();
    crew.shutdown().await.unwrap();

    let builder = Node::builder(folder.path().join("home")).passphrase("one");
    let crew = builder.open().await.unwrap();
    let second = changes(&crew, Some(&first.next), 5).await;
    let kinds: Vec<_> = second.changes.iter().map(|change| (change.id, change.kind)).collect();
    let expected = [
        (wells[5].id, ChangeKind::Created),
        (wells[1].id, ChangeKind::Changed),
        (wells[6].id, ChangeKind::Deleted),
    ];
    assert_eq!(kinds, expected);
    assert!(!second.more && !second.vanished);
    let versions: Vec<String> = [wells[5].id, wells[1].id].map(|id| id.to_string()).to_vec();
    for (name, change) in versions.iter().zip(&second.changes) {
        assert_eq!(crew.show(name).await.unwrap().version.as_ref(), Some(&change.version));
    }
    // The batches that hold them are sealed meanwhile; that is no news.
    crew.ledger().seal_all().unwrap();
    let third = changes(&crew, Some(&second.next), 5).await;
    assert_eq!(third.changes, []);
    crew.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_of_another_store_is_refused_in_words() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let (ours, theirs) = (node(&folders[0]).await, node(&folders[1]).await);
    let foreign = changes(&theirs, None, 5).await.next;
    let own = changes(&ours, None, 5).await.next;
    let parts: Vec<&str> = own.split('-').collect();
    let ahead = [parts[0], &"f".repeat(16), parts[2], parts[3]].join("-");
    for cursor in [foreign.as_str(), &ahead, "", "01ab", "x-y-z", "ä"] {
        let query = ChangesQuery { after: Some(cursor.into()), ..ChangesQuery::default() };
        let refused = ours.changes(query).await;
        assert!(matches!(refused, Err(Error::Cursor { .. })), "{cursor:?}: {refused:?}");
    }
    let query = ChangesQuery { collection: Some("welles".into()), ..ChangesQuery::default() };
    assert!(matches!(ours.changes(query).await, Err(Error::UnknownCollection { .. })));
    for node in [ours, theirs] {
        node.shutdown().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_overwrites_what_he_has_not_seen() {
    let folder = tempfile::tempdir().unwrap();
    let crew = node(&folder).await;
    let well = add(&crew, 1).await;
    let (name, read) = (well.id.to_string(), well.version.unwrap());
    assert_eq!(crew.show(&name).await.unwrap().version.as_ref(), Some(&read));
    let changed = crew.edit_if(&name, status("PLUGGED"), &read).await.unwrap();
    let newer = changed.version.unwrap();
    assert_ne!(newer, read);
    assert_eq!(crew.show(&name).await.unwrap().version.as_ref(), Some(&newer));

    let stale = crew.edit_if(&name, status("INACTIVE"), &read).await;
    assert!(matches!(stale, Err(Error::Stale { version, .. }) if version == newer));
    assert!(matches!(crew.delete_if(&name, &read).await, Err(Error::Stale { .. })));
    let shown = crew.show(&name).await.unwrap();
    assert_eq!((&shown.fields["status"], shown.deleted), (&json!("PLUGGED"), false));
    let deleted = crew.delete_if(&name, &newer).await.unwrap();
    // That it is gone or what is wrong with the edit comes second: the reader has to read again.
    for edits in [status("ACTIVE"), status("NO SUCH STATUS")] {
        assert!(matches!(crew.edit_if(&name, edits, &newer).await, Err(Error::Stale { .. })));
    }
    assert!(matches!(crew.restore_if(&name, &newer).await, Err(Error::Stale { .. })));
    crew.restore_if(&name, &deleted.version.unwrap()).await.unwrap();
    crew.shutdown().await.unwrap();
}

/// Takes the events that are there.
async fn take(
    live: &mut crate::LiveQuery,
    count: usize,
    mirror: &mut BTreeMap<DocumentId, Record>,
) {
    for _ in 0..count {
        match live.next().await.unwrap().unwrap() {
            LiveEvent::Present(all) | LiveEvent::Resync(all) => {
                *mirror = all.into_iter().map(|record| (record.id, record)).collect();
            }
            LiveEvent::Added(record) | LiveEvent::Changed(record) => {
                mirror.insert(record.id, record);
            }
            LiveEvent::Removed(id) => drop(mirror.remove(&id)),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_query_goes_on_where_an_earlier_one_was() {
    let folder = tempfile::tempdir().unwrap();
    let crew = node(&folder).await;
    let query = ListQuery {
        collection: "well".into(),
        filters: vec!["status=ACTIVE".into()],
        ..ListQuery::default()
    };
    let mut wells = Vec::new();
    for number in 0..4 {
        wells.push(add(&crew, number).await.id.to_string());
    }
    let mut mirror = BTreeMap::new();
    let mut live = crew.subscribe(query.clone()).await.unwrap();
    assert_eq!(live.cursor(), "");
    take(&mut live, 1, &mut mirror).await;
    crew.edit(&wells[0], status("PLUGGED")).await.unwrap();
    take(&mut live, 1, &mut mirror).await;
    assert_eq!(mirror.len(), 3);
    let cursor = live.cursor();
    drop(live);

    crew.delete(&wells[1]).await.unwrap();
    crew.edit(&wells[0], status("ACTIVE")).await.unwrap();
    let edits = Edits { assignments: vec!["operator=Cedar".into()], ..Edits::default() };
    crew.edit(&wells[2], edits).await.unwrap();
    let mut live = crew.subscribe_after(query.clone(), &cursor).await.unwrap();
    take(&mut live, 3, &mut mirror).await;
    let listed = crew.list(query.clone()).await.unwrap();
    let listed: BTreeMap<_, _> = listed.into_iter().map(|record| (record.id, record)).collect();
    assert_eq!(mirror, listed);
    let added = add(&crew, 9).await;
    take(&mut live, 1, &mut mirror).await;
    assert!(mirror.contains_key(&added.id));

    let strange = crew.subscribe_after(query, "no cursor").await.unwrap().next().await;
    assert!(matches!(strange, Some(Ok(LiveEvent::Resync(all))) if all.len() == 4));
    crew.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_of_the_feed_hears_that_something_was_purged() {
    let folder = tempfile::tempdir().unwrap();
    let crew = node(&folder).await;
    let well = add(&crew, 1).await.id.to_string();
    let before = changes(&crew, None, 5).await.next;
    let purge = PurgeOptions { records: vec![well], ..PurgeOptions::default() };
    crew.purge(purge).await.unwrap();
    let wells = ListQuery { collection: "well".into(), ..ListQuery::default() };
    let resumed = crew.subscribe_after(wells, &before).await.unwrap().next().await;
    assert!(matches!(resumed, Some(Ok(LiveEvent::Resync(all))) if all.is_empty()));
    let told = changes(&crew, Some(&before), 5).await;
    assert!(told.vanished && told.changes.is_empty());
    assert!(!changes(&crew, Some(&told.next), 5).await.vanished, "once is enough");
    crew.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_begins_to_read_is_not_told_over_and_over_that_something_vanished() {
    let folder = tempfile::tempdir().unwrap();
    let crew = node(&folder).await;
    let mut wells = Vec::new();
    for number in 0..4 {
        wells.push(add(&crew, number).await.id.to_string());
    }
    let purge = PurgeOptions { records: wells[..1].to_vec(), ..PurgeOptions::default() };
    crew.purge(purge).await.unwrap();
    let mut page = changes(&crew, None, 1).await;
    let mut count = page.changes.len();
    while page.more {
        page = changes(&crew, Some(&page.next), 1).await;
        assert!(!page.vanished, "he has nothing that could have vanished");
        count += page.changes.len();
    }
    assert_eq!(count, 3);
    // Each time that something vanishes is told once, to who has read before.
    for well in &wells[1..3] {
        let purge = PurgeOptions { records: vec![well.clone()], ..PurgeOptions::default() };
        crew.purge(purge).await.unwrap();
        page = changes(&crew, Some(&page.next), 5).await;
        assert!(page.vanished);
        page = changes(&crew, Some(&page.next), 5).await;
        assert!(!page.vanished);
    }
    crew.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_cut_amid_many_changes_loses_none() {
    let folder = tempfile::tempdir().unwrap();
    let crew = node(&folder).await;
    let mut wells = Vec::new();
    for number in 0..40 {
        wells.push(add(&crew, number).await.id.to_string());
    }
    let query = ListQuery { collection: "well".into(), ..ListQuery::default() };
    let mut mirror = BTreeMap::new();
    let mut live = crew.subscribe(query.clone()).await.unwrap();
    take(&mut live, 1, &mut mirror).await;
    for round in 0..20 {
        // One set of rows holds all of these, and the reader hears of the first before the last.
        let writer = {
            let (crew, wells) = (crew.clone(), wells.clone());
            tokio::spawn(async move {
                let edit = |well: &String| {
                    let (crew, well) = (crew.clone(), well.clone());
                    let edits = Edits {
                        assignments: vec![format!("operator=Crew {round}")],
                        ..Edits::default()
                    };
                    async move { crew.edit(&well, edits).await.map(|_| ()) }
                };
                futures::future::try_join_all(wells.iter().map(edit)).await.unwrap();
            })
        };
        take(&mut live, 1 + round % 3, &mut mirror).await;
        let cursor = live.cursor();
        writer.await.unwrap();
        live = crew.subscribe_after(query.clone(), &cursor).await.unwrap();
        let due = |mirror: &BTreeMap<DocumentId, Record>| {
            let new = serde_json::json!(format!("Crew {round}"));
            mirror.values().any(|record| record.fields.get("operator") != Some(&new))
        };
        while due(&mirror) {
            let next = tokio::time::timeout(
                std::time::Duration::from_secs(20),
                take(&mut live, 1, &mut mirror),
            );
            next.await.expect("an edit never came");
        }
    }
    crew.shutdown().await.unwrap();
}
