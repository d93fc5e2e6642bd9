//! Devices, as nodes in this process.

use std::path::Path;
use std::time::Duration;

use fieldmesh::api::{
    ExportQuery, InviteOptions, ListQuery, NewRecord, SyncOptions, SyncReport, SyncResult,
};
use fieldmesh::{Node, TenantOptions};
use fieldmesh_model::Role;

/// A device that joins by an invitation.
pub(crate) async fn join(folder: &Path, name: &str, invitation: &str) -> Node {
    let builder = Node::builder(folder.join(name)).key_file(folder.join("devices.key"));
    let (node, report) = builder.join(invitation, Some(name.into())).await.unwrap();
    assert_eq!(report.tenant.device_name, name);
    node
}

/// Ends a device and opens it anew, as from one command to the next.
pub(crate) async fn reopen(folder: &Path, name: &str, node: Node) -> Node {
    node.shutdown().await.unwrap();
    let builder = Node::builder(folder.join(name)).key_file(folder.join("devices.key"));
    builder.open().await.unwrap()
}

/// A device that makes a tenant, and listens.
pub(crate) async fn found(folder: &Path, name: &str) -> Node {
    let builder = Node::builder(folder.join(name)).key_file(folder.join("devices.key"));
    let options = TenantOptions {
        name: "Office Made".into(),
        user: Some("ana@example.org".into()),
        device: Some(name.into()),
    };
    let (node, _) = builder.create_tenant(options).await.unwrap();
    node.listen(Some(([127, 0, 0, 1], 0).into())).await.unwrap();
    node
}

/// An invitation of a device that made its tenant.
pub(crate) async fn invite(node: &Node, role: Role) -> String {
    let valid = Duration::from_secs(600);
    let options = InviteOptions { role, user: None, valid, count: 1 };
    node.invite(options).await.unwrap().remove(0).invitation
}

/// A well, which entries need.
pub(crate) async fn record_well(node: &Node, name: &str) {
    let assignments =
        [&format!("name={name}"), "apiNumber=42-227-30001", "status=ACTIVE"].map(String::from);
    record(node, "well", &assignments).await;
}

/// Entries of a day at a well.
pub(crate) async fn record_entries(node: &Node, well: &str, day: u32, count: u32) {
    for number in 0..count {
        let assignments = [
            format!("wellId={well}"),
            "entryType=PRODUCTION".into(),
            format!("recordedAt=2026-03-{day:02}T{:02}:{:02}:00Z", number / 60, number % 60),
            format!("oilVolume={number}"),
        ];
        record(node, "field_entry", &assignments).await;
    }
}

async fn record(node: &Node, collection: &str, assignments: &[String]) {
    let new = NewRecord {
        collection: collection.into(),
        assignments: assignments.to_vec(),
        ..NewRecord::default()
    };
    node.record(new).await.unwrap();
}

/// One pass with an address, however it ends.
pub(crate) async fn try_sync(node: &Node, address: &str) -> SyncReport {
    pass(node, vec![address.into()]).await
}

/// One pass with whoever is connected, that ends in step.
pub(crate) async fn sync_with_connected(node: &Node) {
    let report = pass(node, Vec::new()).await;
    assert_eq!(report.result, SyncResult::Ok, "{report:?}");
}

async fn pass(node: &Node, with: Vec<String>) -> SyncReport {
    let options = SyncOptions {
        with,
        timeout: Duration::from_secs(30),
        mdns: false,
        ..SyncOptions::default()
    };
    node.sync(options, |_| {}).await.unwrap()
}

/// One pass with an address that ends in step.
pub(crate) async fn sync(node: &Node, address: &str) {
    let report = try_sync(node, address).await;
    assert_eq!(report.result, SyncResult::Ok, "{report:?}");
}

/// Everything in a collection, as bytes that are equal on equal devices.
pub(crate) async fn export(node: &Node, collection: &str) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    let list = ListQuery { collection: collection.into(), ..ListQuery::default() };
    let query = ExportQuery { list, ..ExportQuery::default() };
    node.export(query, file.reopen().unwrap()).await.unwrap();
    std::fs::read_to_string(file.path()).unwrap()
}

/// Checks that devices hold the same, and how many entries that is.
pub(crate) async fn assert_equal(nodes: &[&Node], entries: usize) {
    let expected = (export(nodes[0], "well").await, export(nodes[0], "field_entry").await);
    assert_eq!(expected.1.lines().count(), entries);
    for node in nodes {
        assert_eq!((export(node, "well").await, export(node, "field_entry").await), expected);
        let report = node.verify().await.unwrap();
        assert!(report.clean, "{report:?}");
    }
}
