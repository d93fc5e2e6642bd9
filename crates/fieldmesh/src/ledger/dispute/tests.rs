//! Goal: who may not settle a conflict does not end it with an edit either, on any way.

use std::path::Path;
use std::time::Duration;

use fieldmesh_model::Role;

use crate::api::{
    BulkEdit, ConflictQuery, Edits, ImportOptions, InviteOptions, ListQuery, NewRecord,
    SchemaOptions, SchemaStep, SyncOptions, SyncResult,
};
use crate::error::Error;
use crate::{Node, TenantOptions};

async fn join(office: &Node, folder: &Path, name: &str, role: Role) -> Node {
    let (valid, user) = (Duration::from_secs(600), Some(format!("{name}@example.org")));
    let options = InviteOptions { role, user, valid, count: 1 };
    let invitation = office.invite(options).await.unwrap().remove(0).invitation;
    let builder = Node::builder(folder.join(name)).passphrase("one");
    builder.join(&invitation, Some(name.into())).await.unwrap().0
}

async fn sync(node: &Node, address: &str) {
    let with = vec![address.to_owned()];
    let options = SyncOptions { with, mdns: false, ..SyncOptions::default() };
    assert_eq!(node.sync(options, |_| {}).await.unwrap().result, SyncResult::Ok);
}

fn edits(text: &str) -> Edits {
    Edits { assignments: vec![text.into()], ..Edits::default() }
}

fn bulk(text: &str) -> BulkEdit {
    let list = ListQuery { collection: "field_entry".into(), ..ListQuery::default() };
    BulkEdit { list, edits: edits(text), ..BulkEdit::default() }
}

async fn record(node: &Node, collection: &str, assignments: &[&str]) -> String {
    let assignments = assignments.iter().map(|text| (*text).to_owned()).collect();
    let new = NewRecord { collection: collection.into(), assignments, ..NewRecord::default() };
    node.record(new).await.unwrap().id.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_settle_a_conflict_does_not_end_it_with_an_edit() {
    let folder = tempfile::tempdir().unwrap();
    let options = TenantOptions { name: "Crew".into(), ..TenantOptions::default() };
    let builder = Node::builder(folder.path().join("office")).passphrase("one");
    let (office, _) = builder.create_tenant(options).await.unwrap();
    let address = office.listen(Some(([127, 0, 0, 1], 0).into())).await.unwrap().to_string();
    let truck = join(&office, folder.path(), "truck", Role::Operator).await;
    let well = ["name=Alder 1", "apiNumber=42-227-30001", "status=ACTIVE"];
    record(&office, "well", &well).await;
    sync(&truck, &address).await;
    let at = "recordedAt=2026-03-01T08:00:00Z";
    let entry = ["wellId=Alder 1", "entryType=PRODUCTION", at, "oilVolume=1"];
    let entry = record(&truck, "field_entry", &entry).await;
    sync(&truck, &address).await;
    office.edit(&entry, edits("oilVolume=6")).await.unwrap();
    truck.edit(&entry, edits("oilVolume=7")).await.unwrap();
    sync(&truck, &address).await;
    let open = truck.conflicts(ConflictQuery::default()).await.unwrap();
    assert_eq!(open.len(), 1, "{open:?}");

    let refused = truck.edit(&entry, edits("oilVolume=11")).await.unwrap_err();
    assert!(matches!(refused, Error::NotAllowed { .. }), "{refused:?}");
    let refused = refused.to_string();
    assert!(refused.contains(&open[0].id) && refused.contains("manager may"), "{refused}");
    let report = truck.edit_all(bulk("oilVolume=11")).await.unwrap();
    assert!(report.changed.is_empty() && report.refused.len() == 1, "{report:?}");
    assert!(report.refused[0].reason.contains(&open[0].id), "{report:?}");
    let rows = "wellId,entryType,recordedAt,oilVolume\n\
                Alder 1,PRODUCTION,2026-03-01T08:00:00Z,11\n";
    let collection = Some("field_entry".into());
    let options = ImportOptions { collection, update: true, ..ImportOptions::default() };
    let report = truck.import(std::io::Cursor::new(rows), options, |_| {}).await.unwrap();
    assert_eq!((report.updated, report.refused), (0, 1), "{report:?}");
    assert_eq!(truck.conflicts(ConflictQuery::default()).await.unwrap(), open);

    // What nobody disputes goes on, and so does whoever may settle it.
    truck.edit(&entry, edits("gasVolume=2")).await.unwrap();
    sync(&truck, &address).await;
    office.edit(&entry, edits("oilVolume=9")).await.unwrap();
    assert_eq!(office.conflicts(ConflictQuery::default()).await.unwrap(), []);
}

/// A conflict that is not decided, as the one who is told so is told of it.
async fn is_refused(done: Result<crate::api::Record, Error>, item: &str) {
    let refused = done.unwrap_err();
    assert!(matches!(refused, Error::NotAllowed { .. }), "{refused:?}");
    let refused = refused.to_string();
    assert!(refused.contains(item) && refused.contains("manager may"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_settle_a_conflict_ends_it_by_no_deletion_and_by_bringing_nothing_back() {
    let folder = tempfile::tempdir().unwrap();
    let options = TenantOptions { name: "Crew".into(), ..TenantOptions::default() };
    let builder = Node::builder(folder.path().join("office")).passphrase("one");
    let (office, _) = builder.create_tenant(options).await.unwrap();
    let address = office.listen(Some(([127, 0, 0, 1], 0).into())).await.unwrap().to_string();
    let truck = join(&office, folder.path(), "truck", Role::Operator).await;
    let well = ["name=Alder 1", "apiNumber=42-227-30001", "status=ACTIVE"];
    record(&office, "well", &well).await;
    sync(&truck, &address).await;
    let entry = |at: &'static str| ["wellId=Alder 1", "entryType=PRODUCTION", at, "oilVolume=1"];
    let gone = record(&truck, "field_entry", &entry("recordedAt=2026-03-01T08:00:00Z")).await;
    sync(&truck, &address).await;
    office.delete(&gone).await.unwrap();
    truck.edit(&gone, edits("oilVolume=7")).await.unwrap();
    let mut twins = Vec::new();
    for node in [&office, &truck] {
        let twin = entry("recordedAt=2026-03-02T08:00:00Z");
        twins.push(record(node, "field_entry", &twin).await);
    }
    sync(&truck, &address).await;
    let open = truck.conflicts(ConflictQuery::default()).await.unwrap();
    let item = |kind: &str| open.iter().find(|item| item.kind == kind).unwrap().id.clone();
    is_refused(truck.restore(&gone).await, &item("deleted-and-edited")).await;
    is_refused(truck.delete(&gone).await, &item("deleted-and-edited")).await;
    let version = truck.show(&twins[1]).await.unwrap().version.unwrap();
    is_refused(truck.delete(&twins[1]).await, &item("duplicate")).await;
    is_refused(truck.delete_if(&twins[1], &version).await, &item("duplicate")).await;
    assert_eq!(truck.conflicts(ConflictQuery::default()).await.unwrap(), open);

    // Where nobody has to decide the author deletes what is his, and brings it back.
    let own = record(&truck, "field_entry", &entry("recordedAt=2026-03-03T08:00:00Z")).await;
    truck.delete(&own).await.unwrap();
    truck.restore(&own).await.unwrap();
    // What each of two managers kept counts meanwhile, and is not brought back by him.
    let manager = join(&office, folder.path(), "manager", Role::Manager).await;
    sync(&manager, &address).await;
    for (node, twin) in [(&office, 0), (&manager, 1)] {
        node.delete(&twins[twin]).await.unwrap();
    }
    sync(&manager, &address).await;
    sync(&truck, &address).await;
    is_refused(truck.restore(&twins[1]).await, &item("duplicate")).await;
    manager.restore(&twins[1]).await.unwrap();
    office.restore(&gone).await.unwrap();
    assert_eq!(office.conflicts(ConflictQuery::default()).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_shares_one_field_with_another_record_changes_what_nobody_shares() {
    let folder = tempfile::tempdir().unwrap();
    let options = TenantOptions { name: "Crew".into(), ..TenantOptions::default() };
    let builder = Node::builder(folder.path().join("office")).passphrase("one");
    let (office, _) = builder.create_tenant(options).await.unwrap();
    let address = office.listen(Some(([127, 0, 0, 1], 0).into())).await.unwrap().to_string();
    let truck = join(&office, folder.path(), "truck", Role::Operator).await;
    let text = "name = \"valve\"\n[[field]]\nkey = \"code\"\nkind = \"text\"\n\
                [[field]]\nkey = \"tag\"\nkind = \"text\"\n\
                [[unique]]\nfields = [\"code\"]\n[[unique]]\nfields = [\"tag\"]\n";
    let (text, step) = (text.to_owned(), SchemaStep::Apply);
    office.schema(SchemaOptions { text, step, ..SchemaOptions::default() }).await.unwrap();
    sync(&truck, &address).await;
    let own = record(&truck, "valve", &["code=V-1", "tag=1"]).await;
    record(&office, "valve", &["code=V-1", "tag=2"]).await;
    sync(&truck, &address).await;
    let open = truck.conflicts(ConflictQuery::default()).await.unwrap();
    assert_eq!(open.len(), 1, "{open:?}");
    is_refused(truck.edit(&own, edits("code=V-2")).await, &open[0].id).await;
    truck.edit(&own, edits("tag=3")).await.unwrap();
    assert_eq!(truck.conflicts(ConflictQuery::default()).await.unwrap().len(), 1);
}
