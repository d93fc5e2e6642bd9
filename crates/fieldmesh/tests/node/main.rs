//! What a crew is promised beyond one meeting: who counts, where a record is, what travels.
//!
//! Real nodes over real sockets and disks in one process. Each test is named after what somebody
//! would have lost.
#![allow(clippy::unwrap_used, reason = "a test that cannot set up its scene has failed")]

mod backup;
mod bulk;
mod catalogue;
mod evict;
mod founding;
mod heal;
mod parts;
mod revoke;
mod safety;
mod typed;

use std::path::{Path, PathBuf};
use std::time::Duration;

use fieldmesh::api::{
    ConflictQuery, ConflictReport, ExportQuery, InviteOptions, ListQuery, NewRecord, Record,
    SyncOptions, SyncReport,
};
use fieldmesh::{Error, Node, TenantOptions};
use fieldmesh_model::Role;

/// A tenant, its first device, and a folder for all homes.
struct Crew {
    folder: tempfile::TempDir,
    lead: Node,
    address: String,
}

impl Crew {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = TenantOptions {
            name: "Gulf Crew".into(),
            user: Some("lead@example.org".into()),
            device: Some("office".into()),
        };
        let builder = Node::builder(folder.path().join("office")).passphrase("one");
        let (lead, _) = builder.create_tenant(options).await.unwrap();
        let address = listen(&lead).await;
        Self { folder, lead, address }
    }

    fn home(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A device of somebody else.
    async fn device(&self, name: &str, role: Role) -> Node {
        self.device_of(name, role, None).await
    }

    async fn device_of(&self, name: &str, role: Role, user: Option<&str>) -> Node {
        let builder = Node::builder(self.home(name)).passphrase("two");
        let builder = if role == Role::Relay { builder.forward_only() } else { builder };
        let invitation = self.invite(role, user).await;
        builder.join(&invitation, Some(name.into())).await.unwrap().0
    }

    async fn invite(&self, role: Role, user: Option<&str>) -> String {
        let valid = Duration::from_secs(600);
        let user = user.map(Into::into);
        let options = InviteOptions { role, user, valid, count: 1 };
        self.lead.invite(options).await.unwrap().remove(0).invitation
    }
}

async fn reopen(home: &Path) -> Result<Node, Error> {
    Node::builder(home).passphrase("two").open().await
}

async fn listen(node: &Node) -> String {
    node.listen(Some(([127, 0, 0, 1], 0).into())).await.unwrap().to_string()
}

async fn try_sync(node: &Node, address: &str) -> Result<SyncReport, Error> {
    let with = vec![address.into()];
    node.sync(SyncOptions { with, mdns: false, ..SyncOptions::default() }, |_| {}).await
}

async fn sync(node: &Node, address: &str) {
    let report = try_sync(node, address).await.unwrap();
    assert_eq!(report.result, fieldmesh::api::SyncResult::Ok, "{report:?}");
}

/// Records a well; admins may.
async fn well(node: &Node, name: &str) -> Record {
    let number = name.bytes().map(u32::from).sum::<u32>();
    let fields = [
        format!("name={name}"),
        format!("apiNumber=42-227-{number:05}"),
        "status=ACTIVE".to_owned(),
    ];
    record(node, "well", &fields).await
}

/// Records an entry of the well `name`.
async fn entry(node: &Node, well: &str, at: &str) -> Record {
    let fields = [
        format!("wellId={well}"),
        "entryType=PRODUCTION".to_owned(),
        format!("recordedAt={at}"),
        "oilVolume=10".to_owned(),
    ];
    record(node, "field_entry", &fields).await
}

async fn record(node: &Node, collection: &str, fields: &[String]) -> Record {
    let new = NewRecord {
        collection: collection.into(),
        assignments: fields.to_vec(),
        ..NewRecord::default()
    };
    node.record(new).await.unwrap()
}

async fn count(node: &Node, collection: &str) -> u64 {
    node.status().await.unwrap().records[collection]
}

async fn export(node: &Node, collection: &str) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    let list = ListQuery { collection: collection.into(), ..ListQuery::default() };
    let query = ExportQuery { list, ..ExportQuery::default() };
    node.export(query, file.reopen().unwrap()).await.unwrap();
    std::fs::read_to_string(file.path()).unwrap()
}

async fn quarantine(node: &Node) -> Vec<ConflictReport> {
    let query = ConflictQuery { kind: Some("quarantine".into()), ..ConflictQuery::default() };
    node.conflicts(query).await.unwrap()
}
