//! What is quarantined or was deleted and edited, on real nodes: adopted and discarded.

use std::path::Path;
use std::time::Duration;

use fieldmesh_batch::Priority;
use fieldmesh_model::{DocumentId, Moment, Role, Scope};

use crate::api::{
    Class, ConflictQuery, ConflictReport, Edits, InviteOptions, NewRecord, SyncOptions, SyncResult,
    Verdict,
};
use crate::author::Unsealed;
use crate::{Node, TenantOptions};

/// In how many syncs what does not count has arrived: it comes last.
const SYNCS_MAX: usize = 50;

struct Crew {
    folder: tempfile::TempDir,
    office: Node,
    truck: Node,
    address: String,
}

impl Crew {
    async fn new(role: Role) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = TenantOptions { name: "Crew".into(), ..TenantOptions::default() };
        let builder = Node::builder(folder.path().join("office")).passphrase("one");
        let (office, _) = builder.create_tenant(options).await.unwrap();
        let address = office.listen(Some(([127, 0, 0, 1], 0).into())).await.unwrap().to_string();
        let valid = Duration::from_secs(600);
        let options = InviteOptions { role, user: None, valid, count: 1 };
        let invitation = office.invite(options).await.unwrap().remove(0).invitation;
        let builder = Node::builder(folder.path().join("truck")).passphrase("one");
        let (truck, _) = builder.join(&invitation, Some("truck".into())).await.unwrap();
        let well = ["name=Alder 1", "apiNumber=42-227-30001", "status=ACTIVE"].map(String::from);
        let (collection, assignments) = ("well".into(), well.to_vec());
        let well = NewRecord { collection, assignments, ..NewRecord::default() };
        office.record(well).await.unwrap();
        let crew = Self { folder, office, truck, address };
        crew.sync().await;
        crew
    }

    async fn sync(&self) {
        let with = vec![self.address.clone()];
        let options = SyncOptions { with, mdns: false, ..SyncOptions::default() };
        let report = self.truck.sync(options, |_| {}).await.unwrap();
        assert_eq!(report.result, SyncResult::Ok, "{report:?}");
    }

    /// An entry that the office deletes while the truck changes it: the record, and the item of the
    /// inbox about it.
    async fn deleted_and_edited(&self, at: &str) -> (String, String) {
        let values = ["wellId=Alder 1", "entryType=PRODUCTION", "oilVolume=1"].map(String::from);
        let at = Some(at.parse().unwrap());
        let (collection, assignments) = ("field_entry".into(), values.to_vec());
        let new = NewRecord { collection, assignments, at, ..NewRecord::default() };
        let entry = self.office.record(new).await.unwrap().id.to_string();
        self.sync().await;
        self.office.delete(&entry).await.unwrap();
        let assignments = vec!["oilVolume=7".into()];
        self.truck.edit(&entry, Edits { assignments, ..Edits::default() }).await.unwrap();
        self.sync().await;
        let open = items(&self.office, false).await;
        let item = open.into_iter().find(|it| it.record.to_string() == entry).unwrap().id;
        (entry, item)
    }
}

async fn items(node: &Node, closed: bool) -> Vec<ConflictReport> {
    node.conflicts(ConflictQuery { closed, ..ConflictQuery::default() }).await.unwrap()
}

fn ids(items: &[ConflictReport]) -> Vec<&str> {
    items.iter().map(|it| it.id.as_str()).collect()
}

/// Has a device write something that no device can read.
fn write_nonsense(node: &Node) {
    write_nonsense_in(node, node.ledger().schema_named("field_entry").unwrap().number);
}

fn write_nonsense_in(node: &Node, collection: u16) {
    let ledger = node.ledger();
    let (at, document) = (Moment::from_millis(1_772_000_000_000), DocumentId::from_bytes([7; 16]));
    let scope = Scope { collection, partition: 0, month: 0 };
    let change = b"no change at all".to_vec();
    let unsealed = Unsealed { document, at, priority: Priority::NORMAL, change };
    let pending = ledger.submit(&mut ledger.desk(), scope, unsealed).unwrap();
    ledger.finish(pending).unwrap();
    ledger.seal_all().unwrap();
}

async fn reopen(folder: &Path) -> Node {
    Node::builder(folder).passphrase("one").open().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_refused_is_called_alike_everywhere_and_discarded_on_one_device() {
    let crew = Crew::new(Role::Manager).await;
    write_nonsense(&crew.truck);
    crew.sync().await;
    let (here, there) = (items(&crew.office, false).await, items(&crew.truck, false).await);
    assert_eq!(here.len(), 1, "{here:?}");
    assert_eq!(ids(&here), ids(&there), "two devices call one change differently");
    assert_eq!(crew.office.status().await.unwrap().quarantined, 1);

    let adopted = crew.office.decide(&here[0].id, Verdict::Adopt).await.unwrap_err();
    assert_eq!(adopted.problem().class, Class::Usage, "{adopted}");
    let gone = crew.office.decide(&here[0].id, Verdict::Discard).await.unwrap();
    assert!(!gone.open && gone.discarded.is_some(), "{gone:?}");
    assert_eq!(items(&crew.office, false).await, []);
    assert_eq!(ids(&items(&crew.office, true).await), ids(&here), "it is kept, and told");
    assert_eq!(crew.office.status().await.unwrap().quarantined, 0);
    assert_eq!(items(&crew.truck, false).await.len(), 1, "others decide for themselves");

    // It is durable, and not in the view alone.
    let home = crew.folder.path().join("office");
    crew.office.shutdown().await.unwrap();
    std::fs::remove_dir_all(home.join("store").join("view")).unwrap();
    let office = reopen(&home).await;
    assert_eq!(items(&office, false).await, []);
    let again = office.decide(&here[0].id, Verdict::Reopen).await.unwrap();
    assert!(again.open && again.discarded.is_none(), "{again:?}");
    assert_eq!(ids(&items(&office, false).await), ids(&here));
    office.shutdown().await.unwrap();
    crew.truck.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_settle_conflicts_discards_nothing() {
    let crew = Crew::new(Role::Operator).await;
    write_nonsense(&crew.truck);
    let listed = items(&crew.truck, false).await;
    let refused = crew.truck.decide(&listed[0].id, Verdict::Discard).await.unwrap_err();
    assert_eq!(refused.problem().class, Class::Refused, "{refused}");
    assert_eq!(items(&crew.truck, false).await, listed);
    crew.office.shutdown().await.unwrap();
    crew.truck.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_record_that_was_edited_is_brought_back_or_left_on_every_device() {
    let crew = Crew::new(Role::Manager).await;
    let (back, kept) = crew.deleted_and_edited("2026-03-01T08:00:00Z").await;
    let (gone, left) = crew.deleted_and_edited("2026-03-01T09:00:00Z").await;
    assert!(!crew.truck.decide(&kept, Verdict::Adopt).await.unwrap().open);
    assert!(!crew.office.decide(&left, Verdict::Discard).await.unwrap().open);
    crew.sync().await;
    for node in [&crew.office, &crew.truck] {
        assert_eq!(items(node, false).await, []);
        let back = node.show(&back).await.unwrap();
        assert_eq!((back.deleted, &back.fields["data"]["oilVolume"]), (false, &7.into()));
        assert!(node.show(&gone).await.unwrap().deleted, "what was dropped came back");
    }
    for verdict in [Verdict::Adopt, Verdict::Discard, Verdict::Reopen] {
        let settled = crew.office.decide(&kept, verdict).await.unwrap_err();
        assert_eq!(settled.problem().class, Class::Usage, "{settled}");
    }
    crew.office.shutdown().await.unwrap();
    crew.truck.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_role_may_not_write_is_not_said_to_be_adopted() {
    let crew = Crew::new(Role::Operator).await;
    let wells = crew.truck.ledger().schema_named("well").unwrap().number;
    write_nonsense_in(&crew.truck, wells);
    let mut listed = items(&crew.office, false).await;
    for _ in 0..SYNCS_MAX {
        if !listed.is_empty() {
            break;
        }
        crew.sync().await;
        listed = items(&crew.office, false).await;
    }
    assert!(listed.iter().any(|it| it.batch.is_some()), "{listed:?}");
    let refused = crew.office.decide(&listed[0].id, Verdict::Adopt).await.unwrap_err();
    assert_eq!(refused.problem().class, Class::Refused, "{refused}");
    assert_eq!(items(&crew.office, false).await, listed);
    crew.office.shutdown().await.unwrap();
    crew.truck.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_of_a_collection_that_nobody_knows_here_is_discarded_by_a_manager() {
    let crew = Crew::new(Role::Manager).await;
    write_nonsense_in(&crew.truck, 999);
    let listed = items(&crew.truck, false).await;
    assert_eq!(listed.len(), 1, "{listed:?}");
    let gone = crew.truck.decide(&listed[0].id, Verdict::Discard).await.unwrap();
    assert!(gone.discarded.is_some(), "{gone:?}");
    assert_eq!(items(&crew.truck, false).await, []);
    crew.office.shutdown().await.unwrap();
    crew.truck.shutdown().await.unwrap();
}
