//! Goal: what was decided about records that are alike is told on every device like any other item
//! that has ended, in their histories, and to whoever made the one that is gone.

use super::*;
use crate::Error;
use crate::api::{NoticeKind, Revision};
use crate::rows;

async fn closed(node: &Node) -> Vec<ConflictReport> {
    node.conflicts(ConflictQuery { closed: true, ..ConflictQuery::default() }).await.unwrap()
}

async fn history(node: &Node, id: DocumentId) -> Vec<Revision> {
    node.history(&id.to_string()).await.unwrap()
}

/// The one item that has ended, equal on both devices.
async fn ended(crew: &Crew, item: &str) -> ConflictReport {
    crew.sync().await;
    let found = closed(&crew.office).await;
    assert_eq!(closed(&crew.truck).await, found);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!((&*found[0].id, &*found[0].kind, found[0].open), (item, "duplicate", false));
    for node in [&crew.office, &crew.truck] {
        assert_eq!(node.conflict(&item[24..]).await.unwrap(), found[0]);
        assert_eq!(open(node).await, []);
        assert!(node.verify().await.unwrap().faults.is_empty());
    }
    found.into_iter().next().unwrap()
}

fn left(report: &ConflictReport) -> Vec<String> {
    let left = report.ended.last().unwrap().left.as_array().unwrap().iter();
    left.map(|id| id.as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_made_the_one_that_is_gone_hears_of_it_and_both_say_what_became_of_them() {
    let crew = Crew::new().await;
    let ids = crew.twins().await;
    let item = open(&crew.office).await.remove(0);
    crew.truck.comment(&item.id, "read twice").await.unwrap();
    crew.sync().await;
    let records = &item.duplicate.as_ref().unwrap().records;
    let own = crew.office.ledger().device();
    let kept = records.iter().position(|record| record.device_id == own).unwrap();
    let (kept, gone) = (ids[kept], ids[1 - kept]);
    let label = item.values[usize::from(kept == ids[1])].label.clone();
    crew.office.resolve(&item.id, take(&label)).await.unwrap();
    let told = ended(&crew, &item.id).await;
    assert_eq!((told.ended.len(), left(&told)), (1, vec![kept.to_string()]));
    assert!(told.ended[0].settled && told.ended[0].device == Some(own), "{told:?}");
    assert_eq!(told.comments.iter().map(|it| &*it.text).collect::<Vec<_>>(), ["read twice"]);
    let again = crew.truck.resolve(&item.id, take("B")).await.unwrap_err().to_string();
    assert!(again.contains("nothing left to settle: settled by"), "{again}");
    for node in [&crew.office, &crew.truck] {
        let shown = node.show(&gone.to_string()).await.unwrap();
        assert_eq!((shown.superseded_by, shown.deleted), (Some(kept), true));
        let shown = node.show(&kept.to_string()).await.unwrap();
        assert_eq!((shown.superseded_by, &*shown.replaces), (None, &[gone][..]));
        assert_eq!(shown.updated_at, shown.created_at, "nobody has changed it");
        let last = history(node, gone).await.pop().unwrap();
        assert_eq!((last.superseded_by, &last.settled), (Some(kept), &vec![item.id.clone()]));
        let last = history(node, kept).await.pop().unwrap();
        assert_eq!((&last.replaces, &last.settled), (&vec![gone], &vec![item.id.clone()]));
    }
    let notices = crew.truck.notices(false).await.unwrap();
    assert_eq!(notices.len(), 1, "{notices:#?}");
    assert_eq!((notices[0].kind, notices[0].record), (NoticeKind::Overwritten, gone));
    assert_eq!((&notices[0].item, &*notices[0].field), (&item.id, ""));
    assert_eq!(crew.office.notices(false).await.unwrap(), [], "whoever did it knows");
    // It is open again, and no notice of it is left, when both are there once more.
    crew.truck.restore(&gone.to_string()).await.unwrap();
    assert_eq!(open(&crew.truck).await[0].id, item.id);
    assert_eq!(closed(&crew.truck).await.len(), 1);
    assert_eq!(crew.truck.notices(false).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_to_settle_records_that_are_alike_is_told() {
    for way in ["both", "merge", "delete"] {
        let crew = Crew::new().await;
        let ids = crew.twins().await;
        let item = open(&crew.truck).await.remove(0).id;
        match way {
            "both" => {
                crew.truck.resolve(&item, Resolution::Take(Choice::Both)).await.unwrap();
            }
            "merge" => {
                let merged = Resolution::Set(vec!["waterVolume=7".into()]);
                crew.truck.resolve(&item, merged).await.unwrap();
            }
            _ => {
                crew.truck.delete(&ids[1].to_string()).await.unwrap();
            }
        }
        let told = ended(&crew, &item).await;
        let all = ids.map(|id| id.to_string());
        let merged: &[&str] = if way == "merge" { &["data.waterVolume"] } else { &[] };
        assert_eq!(left(&told), if way == "both" { &all[..] } else { &all[..1] }, "{way}");
        assert_eq!(told.ended[0].merged, merged, "{way}");
        let last = history(&crew.office, ids[0]).await.pop().unwrap();
        let apart = if way == "both" { vec![ids[1]] } else { vec![] };
        assert_eq!(last.apart_from, apart, "{way}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_who_settled_one_item_apart_are_named_when_it_has_ended() {
    let crew = Crew::new().await;
    let ids = crew.twins().await;
    let item = open(&crew.office).await.remove(0).id;
    crew.office.resolve(&item, take("A")).await.unwrap();
    crew.truck.resolve(&item, take("B")).await.unwrap();
    crew.sync().await;
    assert_eq!(closed(&crew.office).await, open(&crew.office).await, "it is open once more");
    crew.truck.resolve(&item, take("B")).await.unwrap();
    let told = ended(&crew, &item).await;
    assert_eq!((told.ended.len(), left(&told)), (2, vec![ids[1].to_string()]), "{told:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fast_clock_does_not_bring_back_what_was_decided_otherwise() {
    let crew = Crew::new().await;
    let ids = crew.twins().await;
    let item = open(&crew.office).await.remove(0).id;
    let ledger = crew.office.ledger();
    let schema = ledger.schema(ledger.row(ids[1]).unwrap().unwrap().scope.collection);
    let user = ledger.user();
    let write =
        |document: &mut fieldmesh_document::Document, actor, at: fieldmesh_model::Moment| {
            document.settling_alike(item.parse().unwrap(), &ids);
            document.give_way(actor, at.plus_millis(3_600_000), user, ids[0])
        };
    ledger.change(ledger.target(ids[1], None), &schema, write).unwrap();
    crew.truck.resolve(&item, take("B")).await.unwrap();
    crew.sync().await;
    crew.truck.resolve(&item, take("B")).await.unwrap();
    let told = ended(&crew, &item).await;
    assert_eq!(left(&told), [ids[1].to_string()], "{told:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_three_that_is_deleted_ends_one_item_and_pages_go_on_behind_it() {
    let crew = Crew::new().await;
    crew.valves().await;
    let van = join(&crew.office, crew.folder.path(), "van").await;
    crew.sync_of(&van).await;
    for (node, tag) in [(&crew.office, "tag=1"), (&crew.truck, "tag=2"), (&van, "tag=3")] {
        node.record(record("valve", &["code=V-1", tag])).await.unwrap();
    }
    crew.sync().await;
    crew.sync_of(&van).await;
    let mut items = Vec::new();
    for _ in 0..2 {
        let found = open(&crew.office).await.remove(0);
        items.push(found.id);
        let last = found.duplicate.unwrap().records.pop().unwrap();
        crew.office.delete(&last.id.to_string()).await.unwrap();
    }
    items.sort();
    let found: Vec<String> = closed(&crew.office).await.into_iter().map(|it| it.id).collect();
    assert_eq!(found, items);
    let (mut paged, mut after) = (Vec::new(), None);
    loop {
        let query = ConflictQuery { closed: true, limit: Some(1), after, ..Default::default() };
        let Some(next) = crew.office.conflicts(query).await.unwrap().pop() else { break };
        after = Some(next.id.clone());
        paged.push(next.id);
    }
    assert_eq!(paged, items);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_back_and_corrected_is_not_told_to_be_gone() {
    let crew = Crew::new().await;
    crew.valves().await;
    for (node, tag) in [(&crew.office, "tag=1"), (&crew.truck, "tag=2")] {
        node.record(record("valve", &["code=V-1", tag])).await.unwrap();
    }
    crew.sync().await;
    let item = open(&crew.office).await.remove(0);
    let own = crew.office.ledger().device();
    let records = &item.duplicate.as_ref().unwrap().records;
    let ids: Vec<String> = records.iter().map(|record| record.id.to_string()).collect();
    let kept = records.iter().position(|record| record.device_id == own).unwrap();
    crew.office.resolve(&item.id, take(&item.values[kept].label)).await.unwrap();
    crew.sync().await;
    assert_eq!(crew.truck.notices(false).await.unwrap().len(), 1);
    crew.truck.restore(&ids[1 - kept]).await.unwrap();
    let edits = Edits { assignments: vec!["code=V-2".into()], ..Edits::default() };
    crew.truck.edit(&ids[1 - kept], edits).await.unwrap();
    assert_eq!(left(&ended(&crew, &item.id).await), ids);
    assert_eq!(crew.truck.notices(false).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_like_two_others_and_is_deleted_ends_both_items() {
    let crew = Crew::new().await;
    crew.valves().await;
    let make = |node: &Node, code: &'static str, tag: &'static str| {
        let node = node.clone();
        async move { node.record(record("valve", &[code, tag])).await.unwrap().id }
    };
    let by_code = make(&crew.office, "code=V-1", "tag=1").await;
    let by_tag = make(&crew.office, "code=V-2", "tag=2").await;
    let both = make(&crew.truck, "code=V-1", "tag=2").await;
    crew.sync().await;
    let mut items: Vec<String> = open(&crew.truck).await.into_iter().map(|it| it.id).collect();
    assert_eq!(items.len(), 2);
    crew.truck.delete(&both.to_string()).await.unwrap();
    crew.sync().await;
    items.sort();
    let mut remains = vec![by_code.to_string(), by_tag.to_string()];
    remains.sort();
    for node in [&crew.office, &crew.truck] {
        assert_eq!(open(node).await, []);
        let told = closed(node).await;
        let found: Vec<&String> = told.iter().map(|it| &it.id).collect();
        assert_eq!(found, items.iter().collect::<Vec<_>>());
        let mut kept: Vec<String> = told.iter().flat_map(left).collect();
        kept.sort();
        assert_eq!(kept, remains, "{told:#?}");
        let mut settled = history(node, both).await.pop().unwrap().settled;
        settled.sort();
        assert_eq!(settled, items);
        assert!(node.verify().await.unwrap().faults.is_empty());
    }
}

/// Whoever names many records that nobody has costs others a bounded look at each of them.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_record_that_names_hundreds_of_others_the_newest_items_are_told() {
    let crew = Crew::new().await;
    let id = crew.entry(&crew.truck, 0, 80).await;
    let ledger = crew.truck.ledger();
    ledger.settle().unwrap();
    let schema = ledger.schema(ledger.row(id).unwrap().unwrap().scope.collection);
    let mut items = Vec::new();
    for number in 0..6_u8 {
        let others = (0..63_u8).map(|other| {
            DocumentId::from_bytes([number, other, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1])
        });
        let mut members: Vec<DocumentId> = others.chain([id]).collect();
        members.sort();
        let all = members.iter().copied().collect();
        let item = fieldmesh_document::alike_id(schema.number, 0, &all);
        let write = |document: &mut fieldmesh_document::Document, actor, at| {
            document.settling_alike(item, &members);
            document.keep_over(actor, at, &[])
        };
        ledger.change(ledger.target(id, None), &schema, write).unwrap();
        items.push(item.to_string());
    }
    crew.sync().await;
    // Four times 63 others are within the 256 that are looked at, and a fifth 63 are not.
    let mut newest = items.split_off(2);
    newest.sort();
    for node in [&crew.office, &crew.truck] {
        let found: Vec<String> = closed(node).await.into_iter().map(|it| it.id).collect();
        assert_eq!(found, newest);
        assert_eq!(open(node).await, []);
        for item in &items {
            assert!(node.conflict(item).await.is_err(), "it is not told of");
        }
        let settled = history(node, id).await.into_iter().map(|it| it.settled.len());
        assert_eq!(settled.sum::<usize>(), 6, "each change says what it names");
        assert!(node.verify().await.unwrap().faults.is_empty());
    }
}

/// As earlier versions settled: no change names the item.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_settled_before_items_were_named_is_told_by_what_the_records_say() {
    let crew = Crew::new().await;
    let ids = crew.twins().await;
    let item = open(&crew.office).await.remove(0).id;
    let ledger = crew.office.ledger();
    let schema = ledger.schema(ledger.row(ids[1]).unwrap().unwrap().scope.collection);
    let user = ledger.user();
    let write = |document: &mut fieldmesh_document::Document, actor, at| {
        document.give_way(actor, at, user, ids[0])
    };
    ledger.change(ledger.target(ids[1], None), &schema, write).unwrap();
    let told = ended(&crew, &item).await;
    assert_eq!(left(&told), [ids[0].to_string()]);
    let shown = crew.truck.show(&ids[0].to_string()).await.unwrap();
    assert_eq!(shown.replaces, [ids[1]]);
    let refused = crew.truck.resolve(&item, take("A")).await;
    assert!(matches!(refused, Err(Error::Settled { .. })), "{refused:?}");
    let key = rows::ended_key(&item, ids[1]);
    assert_eq!(rows::inbox_id(&key), item);
}
