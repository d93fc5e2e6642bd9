//! What people hear of their own work, on real nodes.

use std::path::Path;
use std::time::Duration;

use fieldmesh_batch::Priority;
use fieldmesh_model::{DocumentId, Moment, Role, Scope};

use crate::api::{
    Choice, Class, ConflictQuery, Edits, InviteOptions, NewRecord, Notice, NoticeKind, Resolution,
    RevokeOptions, SeenNotices, SyncOptions, SyncResult, Verdict,
};
use crate::author::Unsealed;
use crate::{Node, TenantOptions};

struct Crew {
    folder: tempfile::TempDir,
    office: Node,
    truck: Node,
    address: String,
}

async fn join(office: &Node, folder: &Path, name: &str, user: &str) -> Node {
    let (valid, user) = (Duration::from_secs(600), Some(user.to_owned()));
    let options = InviteOptions { role: Role::Manager, user, valid, count: 1 };
    let invitation = office.invite(options).await.unwrap().remove(0).invitation;
    let builder = Node::builder(folder.join(name)).passphrase("one");
    builder.join(&invitation, Some(name.into())).await.unwrap().0
}

impl Crew {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = TenantOptions {
            name: "Crew".into(),
            user: Some("lead@example.org".into()),
            device: Some("office".into()),
        };
        let builder = Node::builder(folder.path().join("office")).passphrase("one");
        let (office, _) = builder.create_tenant(options).await.unwrap();
        let address = office.listen(Some(([127, 0, 0, 1], 0).into())).await.unwrap().to_string();
        let truck = join(&office, folder.path(), "truck", "ben@example.org").await;
        let well = ["name=Alder 1", "apiNumber=42-227-30001", "status=ACTIVE"].map(String::from);
        let (collection, assignments) = ("well".into(), well.to_vec());
        let well = NewRecord { collection, assignments, ..NewRecord::default() };
        office.record(well).await.unwrap();
        let crew = Self { folder, office, truck, address };
        crew.sync(&crew.truck).await;
        crew
    }

    async fn sync(&self, node: &Node) {
        self.sync_with(node, &self.address).await;
    }

    async fn sync_with(&self, node: &Node, address: &str) {
        let with = vec![address.to_owned()];
        let options = SyncOptions { with, mdns: false, ..SyncOptions::default() };
        let report = node.sync(options, |_| {}).await.unwrap();
        assert_eq!(report.result, SyncResult::Ok, "{report:?}");
    }

    async fn entry(&self, node: &Node, at: &str) -> String {
        let values = ["wellId=Alder 1", "entryType=PRODUCTION", "oilVolume=1"].map(String::from);
        let (collection, assignments) = ("field_entry".into(), values.to_vec());
        let at = Some(at.parse().unwrap());
        let new = NewRecord { collection, assignments, at, ..NewRecord::default() };
        node.record(new).await.unwrap().id.to_string()
    }

    /// An entry for which the office says 6 and the truck 7; gives the item of the inbox.
    async fn disputed(&self, at: &str) -> String {
        let entry = self.entry(&self.office, at).await;
        self.sync(&self.truck).await;
        for (node, oil) in [(&self.office, "oilVolume=6"), (&self.truck, "oilVolume=7")] {
            let assignments = vec![oil.into()];
            node.edit(&entry, Edits { assignments, ..Edits::default() }).await.unwrap();
        }
        self.sync(&self.truck).await;
        let open = self.office.conflicts(ConflictQuery::default()).await.unwrap();
        open.into_iter().find(|it| it.record.to_string() == entry).unwrap().id
    }

    /// An entry that one deletes while the other changes it; gives the item of the inbox.
    async fn deleted_and_edited(&self, deletes: &Node, edits: &Node, at: &str) -> String {
        let entry = self.entry(&self.office, at).await;
        self.sync(&self.truck).await;
        deletes.delete(&entry).await.unwrap();
        let assignments = vec!["oilVolume=7".into()];
        edits.edit(&entry, Edits { assignments, ..Edits::default() }).await.unwrap();
        self.sync(&self.truck).await;
        let open = self.office.conflicts(ConflictQuery::default()).await.unwrap();
        open.into_iter().find(|it| it.record.to_string() == entry).unwrap().id
    }
}

async fn unseen(node: &Node) -> Vec<Notice> {
    node.notices(false).await.unwrap()
}

fn ids(notices: &[Notice]) -> Vec<&str> {
    notices.iter().map(|notice| notice.id.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn whose_value_was_not_taken_hears_of_it_once_and_on_all_his_devices() {
    let crew = Crew::new().await;
    let phone = join(&crew.office, crew.folder.path(), "phone", "ben@example.org").await;
    let item = crew.disputed("2026-03-01T08:00:00Z").await;
    assert_eq!(unseen(&crew.truck).await, [], "nobody has decided so far");
    let mut sides = crew.office.conflict(&item).await.unwrap().values.into_iter();
    let own = sides.find(|side| side.value == 6).unwrap().label;
    crew.office.resolve(&item, Resolution::Take(Choice::Label(own))).await.unwrap();
    for node in [&crew.truck, &phone] {
        crew.sync(node).await;
    }
    let told = unseen(&crew.truck).await;
    assert_eq!(told.len(), 1, "{told:#?}");
    assert_eq!((&told[0].wrote, &told[0].left), (&7.into(), &6.into()));
    assert_eq!(
        (told[0].kind, told[0].by.as_deref()),
        (NoticeKind::Overwritten, Some("lead@example.org"))
    );
    assert_eq!(unseen(&phone).await, told, "his other device tells it too");
    assert_eq!(unseen(&crew.office).await, [], "whoever did it knows");
    assert_eq!(crew.truck.status().await.unwrap().notices, Some(1));

    let seen = SeenNotices { ids: Some(vec![told[0].id[24..].to_owned()]) };
    assert_eq!(crew.truck.see_notices(seen).await.unwrap().len(), 1);
    assert_eq!(unseen(&crew.truck).await, []);
    assert_eq!(crew.truck.status().await.unwrap().notices, Some(0));
    assert_eq!(ids(&crew.truck.notices(true).await.unwrap()), ids(&told));
    assert_eq!(ids(&unseen(&phone).await), ids(&told), "to be seen is for one device");

    // It is durable, and not in the view alone.
    let home = crew.folder.path().join("truck");
    crew.truck.shutdown().await.unwrap();
    std::fs::remove_dir_all(home.join("store").join("view")).unwrap();
    let truck = Node::builder(&home).passphrase("one").open().await.unwrap();
    assert_eq!(unseen(&truck).await, []);
    let nothing = SeenNotices { ids: Some(vec!["nothing".into()]) };
    let missing = truck.see_notices(nothing).await.unwrap_err();
    assert_eq!(missing.problem().class, Class::NotFound, "{missing}");
    for node in [truck, phone, crew.office] {
        node.shutdown().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_order_of_arrival_tells_the_same() {
    let crew = Crew::new().await;
    let late = join(&crew.office, crew.folder.path(), "late", "ben@example.org").await;
    let mut items = Vec::new();
    for at in ["2026-03-01T08:00:00Z", "2026-03-01T09:00:00Z", "2026-03-01T10:00:00Z"] {
        items.push(crew.disputed(at).await);
    }
    // The late one hears of a dispute before it is settled, of another one after, and of all that
    // once more in a view that is made anew.
    crew.sync(&late).await;
    for item in &items {
        let label = |value: i64, sides: &[crate::api::ConflictValue]| {
            sides.iter().find(|side| side.value == value).map(|side| side.label.clone()).unwrap()
        };
        let sides = crew.office.conflict(item).await.unwrap().values;
        let choice = Choice::Label(label(6, &sides));
        crew.office.resolve(item, Resolution::Take(choice)).await.unwrap();
        crew.sync(&crew.truck).await;
    }
    crew.sync(&late).await;
    let told = unseen(&crew.truck).await;
    assert_eq!(told.len(), items.len());
    assert_eq!(unseen(&late).await, told);
    let home = crew.folder.path().join("late");
    late.shutdown().await.unwrap();
    std::fs::remove_dir_all(home.join("store").join("view")).unwrap();
    let late = Node::builder(&home).passphrase("one").open().await.unwrap();
    assert_eq!(unseen(&late).await, told);
    for node in [late, crew.truck, crew.office] {
        node.shutdown().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_told_of_what_he_settled_himself_or_won() {
    let crew = Crew::new().await;
    let first = crew.disputed("2026-03-01T08:00:00Z").await;
    let second = crew.disputed("2026-03-01T09:00:00Z").await;
    // The truck gives way once, and once the office does.
    crew.truck.resolve(&first, Resolution::Take(Choice::Server)).await.unwrap();
    crew.office.resolve(&second, Resolution::Take(Choice::Server)).await.unwrap();
    crew.sync(&crew.truck).await;
    for node in [&crew.truck, &crew.office] {
        assert_eq!(unseen(node).await, []);
    }
    for node in [crew.truck, crew.office] {
        node.shutdown().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_told_of_a_loss_while_two_who_settled_it_apart_are_asked_again() {
    let crew = Crew::new().await;
    let phone = join(&crew.office, crew.folder.path(), "phone", "cid@example.org").await;
    crew.sync(&phone).await;
    let entry = crew.entry(&crew.office, "2026-03-01T08:00:00Z").await;
    crew.sync(&crew.truck).await;
    crew.sync(&phone).await;
    for (node, oil) in [(&crew.office, 6), (&crew.truck, 7), (&phone, 8)] {
        let assignments = vec![format!("oilVolume={oil}")];
        node.edit(&entry, Edits { assignments, ..Edits::default() }).await.unwrap();
    }
    let all = || async {
        for node in [&crew.truck, &phone, &crew.truck] {
            crew.sync(node).await;
        }
    };
    all().await;
    let open = |node: Node| async move {
        let mut open = node.conflicts(ConflictQuery::default()).await.unwrap();
        assert_eq!(open.len(), 1, "{open:#?}");
        open.remove(0).id
    };
    let first = open(crew.office.clone()).await;
    for node in [&crew.office, &crew.truck] {
        node.resolve(&first, Resolution::Take(Choice::Client)).await.unwrap();
    }
    all().await;
    let second = open(crew.office.clone()).await;
    assert_ne!(first, second);
    for node in [&crew.office, &crew.truck, &phone] {
        assert_eq!(unseen(node).await, [], "nobody has lost anything so far");
    }

    crew.office.resolve(&second, Resolution::Take(Choice::Client)).await.unwrap();
    all().await;
    assert_eq!(unseen(&crew.office).await, []);
    for (node, wrote) in [(&crew.truck, 7), (&phone, 8)] {
        let told = unseen(node).await;
        assert_eq!(told.len(), 1, "once, and of the last end: {told:#?}");
        assert_eq!((&told[0].wrote, &told[0].left), (&wrote.into(), &6.into()));
        assert_eq!(told[0].by.as_deref(), Some("lead@example.org"));
    }
    for node in [phone, crew.truck, crew.office] {
        node.shutdown().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_author_hears_that_a_change_of_his_was_refused_and_nobody_else_does() {
    let crew = Crew::new().await;
    let ledger = crew.truck.ledger();
    let (at, document) = (Moment::from_millis(1_772_000_000_000), DocumentId::from_bytes([7; 16]));
    let collection = ledger.schema_named("field_entry").unwrap().number;
    let scope = Scope { collection, partition: 0, month: 0 };
    let change = b"no change at all".to_vec();
    let unsealed = Unsealed { document, at, priority: Priority::NORMAL, change };
    let pending = ledger.submit(&mut ledger.desk(), scope, unsealed).unwrap();
    ledger.finish(pending).unwrap();
    ledger.seal_all().unwrap();
    crew.sync(&crew.truck).await;
    let told = unseen(&crew.truck).await;
    assert_eq!((told.len(), told[0].kind), (1, NoticeKind::Refused), "{told:#?}");
    assert_eq!(told[0].record, document);
    assert!(told[0].reason.is_some(), "{told:#?}");
    assert_eq!(unseen(&crew.office).await, []);
    assert_eq!(crew.office.conflicts(ConflictQuery::default()).await.unwrap().len(), 1);
    for node in [crew.truck, crew.office] {
        node.shutdown().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_deletion_and_an_edit_only_whoever_lost_is_told_and_what_he_lost() {
    let crew = Crew::new().await;
    let (office, truck) = (&crew.office, &crew.truck);
    let cases = [
        (truck, office, Verdict::Adopt, true),
        (truck, office, Verdict::Discard, false),
        (office, truck, Verdict::Adopt, false),
        (office, truck, Verdict::Discard, true),
    ];
    for (hour, (deletes, edits, verdict, is_told)) in cases.into_iter().enumerate() {
        let at = format!("2026-03-01T{:02}:00:00Z", hour + 8);
        let item = crew.deleted_and_edited(deletes, edits, &at).await;
        office.decide(&item, verdict).await.unwrap();
        crew.sync(truck).await;
        assert_eq!(unseen(office).await, [], "whoever did it knows");
        let told = unseen(truck).await;
        assert_eq!(told.len(), usize::from(is_told), "{hour}: {told:#?}");
        for notice in &told {
            let is_restored = verdict == Verdict::Adopt;
            assert_eq!(notice.left.is_null(), is_restored, "{notice:#?}");
            assert_eq!(notice.wrote.is_null(), !is_restored, "{notice:#?}");
        }
        truck.see_notices(SeenNotices { ids: None }).await.unwrap();
    }
    for node in [crew.truck, crew.office] {
        node.shutdown().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_lost_a_device_hears_on_another_one_what_of_it_does_not_count() {
    let crew = Crew::new().await;
    let phone = join(&crew.office, crew.folder.path(), "phone", "ben@example.org").await;
    crew.sync(&phone).await;
    crew.sync(&crew.truck).await;
    crew.entry(&crew.truck, "2026-03-01T08:00:00Z").await;
    let port = phone.listen(None).await.unwrap().port();
    crew.sync_with(&crew.truck, &format!("127.0.0.1:{port}")).await;
    assert_eq!(phone.status().await.unwrap().records["field_entry"], 1);
    crew.office.revoke("truck", RevokeOptions::default()).await.unwrap();
    crew.sync(&phone).await;
    let told = unseen(&phone).await;
    assert_eq!(told.len(), 1, "{told:#?}");
    assert_eq!((told.len(), told[0].kind), (1, NoticeKind::Excluded), "{told:#?}");
    assert_eq!(phone.status().await.unwrap().notices, Some(1));
    // It is gone with its cause.
    crew.office.adopt("truck", Vec::new()).await.unwrap();
    crew.sync(&phone).await;
    assert_eq!(unseen(&phone).await, []);
    for node in [phone, crew.truck, crew.office] {
        node.shutdown().await.unwrap();
    }
}
