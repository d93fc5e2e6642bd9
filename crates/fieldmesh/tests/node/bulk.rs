//! Many records changed and many conflicts settled by one command: what nobody has looked at stays.

use fieldmesh::api::{
    BulkEdit, Choice, ConflictQuery, ConflictReport, Edits, ListQuery, Resolution, ResolveAll,
    ResolveAllReport,
};
use fieldmesh::{Error, Node};
use fieldmesh_model::Role;

use super::{Crew, entry, sync, well};

fn wells(filters: &[&str]) -> ListQuery {
    let filters = filters.iter().map(ToString::to_string).collect();
    ListQuery { collection: "well".into(), filters, ..ListQuery::default() }
}

fn edits(texts: &[&str]) -> Edits {
    let assignments = texts.iter().map(ToString::to_string).collect();
    Edits { assignments, ..Edits::default() }
}

async fn operator(node: &Node, name: &str) -> String {
    let fields = node.show(name).await.unwrap().fields;
    fields.get("operator").and_then(|it| it.as_str()).unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changed_after_the_preview_is_told_and_not_replaced() {
    let crew = Crew::new().await;
    for name in ["Alder 1", "Alder 22", "Alder 333"] {
        well(&crew.lead, name).await;
    }
    let truck = crew.device("truck", Role::Admin).await;
    sync(&truck, &crew.address).await;
    let preview =
        crew.lead.preview_edit(wells(&["status=ACTIVE"]), edits(&["operator=Cedar"])).await;
    let preview = preview.unwrap();
    assert_eq!(preview.report().changed.len(), 3);
    // Another device has its say about two of them meanwhile, and makes a fourth.
    truck.edit("Alder 22", edits(&["operator=Beech"])).await.unwrap();
    truck.edit("Alder 333", edits(&["status=INACTIVE"])).await.unwrap();
    let fourth = well(&truck, "Alder 4444").await;
    sync(&truck, &crew.address).await;
    let done = preview.apply().await.unwrap();
    assert_eq!((done.changed.len(), done.skipped.len(), done.written), (1, 3, true), "{done:?}");
    let of = |id| done.skipped.iter().find(|it| it.id == id).map(|it| it.reason.clone());
    assert!(of(fourth.id).unwrap().contains("not there"), "{done:?}");
    let changed = crew.lead.show("Alder 22").await.unwrap().id;
    assert!(of(changed).unwrap().contains("has changed"), "{done:?}");
    let gone = crew.lead.show("Alder 333").await.unwrap().id;
    assert!(of(gone).unwrap().contains("any more"), "{done:?}");
    assert_eq!(operator(&crew.lead, "Alder 1").await, "Cedar");
    assert_eq!(operator(&crew.lead, "Alder 22").await, "Beech");
    assert_eq!(operator(&crew.lead, "Alder 333").await, "");
    assert_eq!(operator(&crew.lead, "Alder 4444").await, "");
    truck.shutdown().await.unwrap();
    crew.lead.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_changed_where_another_number_was_expected() {
    let crew = Crew::new().await;
    for name in ["Alder 1", "Alder 22"] {
        well(&crew.lead, name).await;
    }
    let bulk = |expect| BulkEdit {
        list: wells(&[]),
        edits: edits(&["operator=Cedar"]),
        expect: Some(expect),
        ..BulkEdit::default()
    };
    let other = crew.lead.edit_all(bulk(3)).await.unwrap_err();
    assert!(matches!(other, Error::Unexpected { expected: 3, found: 2 }), "{other}");
    assert_eq!(operator(&crew.lead, "Alder 1").await, "");
    assert!(crew.lead.edit_all(bulk(2)).await.unwrap().written);
    assert_eq!(operator(&crew.lead, "Alder 1").await, "Cedar");
    crew.lead.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_written_of_a_preview_that_shows_a_record_that_cannot_be_changed() {
    let crew = Crew::new().await;
    well(&crew.lead, "Alder 1").await;
    let others = entry(&crew.lead, "Alder 1", "2026-03-01T08:00:00Z").await.id;
    let hand = crew.device("hand", Role::Operator).await;
    sync(&hand, &crew.address).await;
    let own = entry(&hand, "Alder 1", "2026-03-01T09:00:00Z").await.id;
    let entries = ListQuery { collection: "field_entry".into(), ..ListQuery::default() };
    let preview = hand.preview_edit(entries, edits(&["oilVolume=5"])).await.unwrap();
    let looked = preview.report().clone();
    assert_eq!((looked.changed.len(), looked.changed[0].id), (1, own), "{looked:?}");
    assert_eq!((looked.refused.len(), looked.refused[0].id), (1, others), "{looked:?}");
    let before = hand.show(&own.to_string()).await.unwrap();
    let done = preview.apply().await.unwrap();
    assert_eq!((done.written, &done), (false, &looked));
    assert_eq!(hand.show(&own.to_string()).await.unwrap(), before);
    hand.shutdown().await.unwrap();
    crew.lead.shutdown().await.unwrap();
}

async fn conflicts(node: &Node) -> Vec<ConflictReport> {
    node.conflicts(ConflictQuery::default()).await.unwrap()
}

async fn resolve_all(node: &Node, choice: Choice, dry_run: bool) -> ResolveAllReport {
    let all = ResolveAll { dry_run, ..ResolveAll::of(choice) };
    node.resolve_all(all).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_conflict_that_cannot_be_settled_so_does_not_keep_the_others_open() {
    let crew = Crew::new().await;
    well(&crew.lead, "Alder 1").await;
    let hand = crew.device("hand", Role::Manager).await;
    let truck = crew.device("truck", Role::Manager).await;
    let mut ids = Vec::new();
    for hour in 8..11 {
        let time = format!("2026-03-01T{hour:02}:00:00Z");
        ids.push(entry(&crew.lead, "Alder 1", &time).await.id.to_string());
    }
    for node in [&hand, &truck] {
        sync(node, &crew.address).await;
    }
    let sides = [(&crew.lead, &hand), (&hand, &truck), (&crew.lead, &truck)];
    for (id, (one, other)) in ids.iter().zip(sides) {
        one.edit(id, edits(&["oilVolume=6"])).await.unwrap();
        other.edit(id, edits(&["oilVolume=7"])).await.unwrap();
    }
    for node in [&hand, &truck, &hand] {
        sync(node, &crew.address).await;
    }
    assert_eq!(conflicts(&crew.lead).await.len(), 3);
    let looked = resolve_all(&crew.lead, Choice::Client, true).await;
    assert_eq!((looked.settled.len(), looked.left.len(), looked.written), (2, 1, false));
    assert_eq!(looked.left[0].record.to_string(), ids[1], "{looked:?}");
    assert!(looked.settled.iter().all(|it| it.after == 6), "{looked:?}");
    assert_eq!(conflicts(&crew.lead).await.len(), 3, "only shown");
    let done = resolve_all(&crew.lead, Choice::Client, false).await;
    assert_eq!((&done.settled, &done.left, done.written), (&looked.settled, &looked.left, true));
    let open = conflicts(&crew.lead).await;
    assert_eq!(open.len(), 1);
    assert_eq!(open[0].record.to_string(), ids[1]);
    let one = Resolution::Take(Choice::Latest);
    crew.lead.resolve(&open[0].id, one).await.unwrap();
    let none = resolve_all(&crew.lead, Choice::Latest, false).await;
    assert_eq!(none, ResolveAllReport::default());
    for node in [hand, truck, crew.lead] {
        node.shutdown().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_sides_is_not_settled_by_one() {
    let crew = Crew::new().await;
    for kind in ["rule", "quarantine", "parallel", "pumps"] {
        let query = ConflictQuery { kind: Some(kind.into()), ..ConflictQuery::default() };
        let all = ResolveAll { query, ..ResolveAll::of(Choice::Latest) };
        let refused = crew.lead.resolve_all(all).await.unwrap_err();
        assert!(matches!(refused, Error::Usage { .. }), "{kind}: {refused}");
    }
    crew.lead.shutdown().await.unwrap();
}
