//! Records that were made for one thing, on real nodes: found on every device, settled on any.

use std::path::Path;
use std::time::Duration;

use fieldmesh_model::{DocumentId, Role};

use crate::api::{
    Choice, ConflictQuery, ConflictReport, Edits, ImportOptions, InviteOptions, NewRecord,
    Resolution, ResolveAll, SchemaOptions, SchemaStep, SyncOptions, SyncResult,
};
use crate::{Node, TenantOptions};

mod across;
mod counted;
mod settled;

struct Crew {
    folder: tempfile::TempDir,
    office: Node,
    truck: Node,
    address: String,
    well: DocumentId,
}

fn record(collection: &str, assignments: &[&str]) -> NewRecord {
    let assignments = assignments.iter().map(|text| (*text).to_owned()).collect();
    NewRecord { collection: collection.into(), assignments, ..NewRecord::default() }
}

async fn join(office: &Node, folder: &Path, name: &str) -> Node {
    let valid = Duration::from_secs(600);
    let options = InviteOptions { role: Role::Manager, user: None, valid, count: 1 };
    let invitation = office.invite(options).await.unwrap().remove(0).invitation;
    let builder = Node::builder(folder.join(name)).passphrase("one");
    builder.join(&invitation, Some(name.into())).await.unwrap().0
}

impl Crew {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = TenantOptions { name: "Crew".into(), ..TenantOptions::default() };
        let builder = Node::builder(folder.path().join("office")).passphrase("one");
        let (office, _) = builder.create_tenant(options).await.unwrap();
        let address = office.listen(Some(([127, 0, 0, 1], 0).into())).await.unwrap().to_string();
        let truck = join(&office, folder.path(), "truck").await;
        let well = ["name=Alder 1", "apiNumber=42-227-30001", "status=ACTIVE"];
        let well = office.record(record("well", &well)).await.unwrap().id;
        let crew = Self { folder, office, truck, address, well };
        crew.sync().await;
        crew
    }

    async fn sync(&self) {
        self.sync_of(&self.truck).await;
    }

    async fn sync_of(&self, node: &Node) {
        let with = vec![self.address.clone()];
        let options = SyncOptions { with, mdns: false, ..SyncOptions::default() };
        let report = node.sync(options, |_| {}).await.unwrap();
        assert_eq!(report.result, SyncResult::Ok, "{report:?}");
        assert_eq!(report.conflicts, node.status().await.unwrap().conflicts);
    }

    /// An entry of one moment, which each device may make once.
    async fn entry(&self, node: &Node, minute: u32, oil: u32) -> DocumentId {
        let (well, oil) = (format!("wellId={}", self.well), format!("oilVolume={oil}"));
        let at = format!("recordedAt=2026-03-01T08:{minute:02}:00Z");
        let assignments = [&*well, "entryType=PRODUCTION", &*at, &*oil];
        node.record(record("field_entry", &assignments)).await.unwrap().id
    }

    /// A collection of whose records no two share a code, and no two a tag.
    async fn valves(&self) {
        let text = "name = \"valve\"\n[[field]]\nkey = \"code\"\nkind = \"text\"\n\
                    [[field]]\nkey = \"tag\"\nkind = \"text\"\n\
                    [[unique]]\nfields = [\"code\"]\n[[unique]]\nfields = [\"tag\"]\n";
        self.define(text).await;
    }

    async fn define(&self, text: &str) {
        let (text, step) = (text.to_owned(), SchemaStep::Apply);
        let options = SchemaOptions { text, step, ..SchemaOptions::default() };
        self.office.schema(options).await.unwrap();
        self.sync().await;
    }

    /// One entry on each device, of one thing, by id.
    async fn twins(&self) -> [DocumentId; 2] {
        let mut ids = [self.entry(&self.office, 0, 80).await, self.entry(&self.truck, 0, 81).await];
        self.sync().await;
        ids.sort();
        ids
    }
}

async fn open(node: &Node) -> Vec<ConflictReport> {
    node.conflicts(ConflictQuery::default()).await.unwrap()
}

async fn is_deleted(node: &Node, id: DocumentId) -> bool {
    node.show(&id.to_string()).await.unwrap().deleted
}

fn take(label: &str) -> Resolution {
    Resolution::Take(Choice::Label(label.into()))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_made_on_two_devices_is_one_item_on_both_until_one_is_deleted() {
    let crew = Crew::new().await;
    let ids = crew.twins().await;
    let found = open(&crew.office).await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((&*found[0].kind, found[0].record), ("duplicate", ids[0]));
    let duplicate = found[0].duplicate.as_ref().unwrap();
    assert_eq!(duplicate.records.iter().map(|it| it.id).collect::<Vec<_>>(), ids);
    assert_eq!(duplicate.differ, ["data.oilVolume", "deviceId"]);
    assert_eq!(open(&crew.truck).await, found);
    // The same entry once more is itself.
    let again = crew.office.show(&ids[0].to_string()).await.unwrap();
    assert!(crew.office.record(record("field_entry", &["wellId=Alder 1"])).await.is_err());
    assert!(!again.deleted);

    let edits = Edits { assignments: vec!["gasVolume=2".into()], ..Edits::default() };
    crew.office.edit(&ids[1].to_string(), edits).await.unwrap();
    assert_eq!(open(&crew.office).await.len(), 1);
    crew.office.delete(&ids[1].to_string()).await.unwrap();
    assert_eq!(open(&crew.office).await, []);
    crew.sync().await;
    assert_eq!(open(&crew.truck).await, []);
    crew.truck.restore(&ids[1].to_string()).await.unwrap();
    assert_eq!(open(&crew.truck).await.len(), 1, "both are there again");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_is_kept_with_what_the_other_knew_and_both_devices_agree() {
    let crew = Crew::new().await;
    let ids = crew.twins().await;
    let item = open(&crew.truck).await.remove(0).id;
    let wrong = crew.truck.resolve(&item, take("C")).await;
    assert!(matches!(wrong, Err(crate::Error::Usage { .. })), "{wrong:?}");
    let merged = Resolution::Set(vec!["waterVolume=7".into()]);
    assert_eq!(crew.truck.resolve(&item, merged).await.unwrap().id, ids[0]);
    assert_eq!(open(&crew.truck).await, []);
    crew.sync().await;
    assert_eq!(open(&crew.office).await, []);
    let kept = crew.office.show(&ids[0].to_string()).await.unwrap();
    assert_eq!(kept.fields["data"]["waterVolume"], 7, "{kept:?}");
    assert!(!kept.deleted && is_deleted(&crew.office, ids[1]).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_are_both_meant_are_no_item_any_more() {
    let crew = Crew::new().await;
    let ids = crew.twins().await;
    let item = open(&crew.office).await.remove(0).id;
    crew.office.resolve(&item, Resolution::Take(Choice::Both)).await.unwrap();
    crew.sync().await;
    for node in [&crew.office, &crew.truck] {
        assert_eq!(open(node).await, []);
        assert!(!is_deleted(node, ids[0]).await && !is_deleted(node, ids[1]).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_each_device_kept_is_asked_again_and_the_one_that_is_taken_comes_back() {
    let crew = Crew::new().await;
    let ids = crew.twins().await;
    let item = open(&crew.office).await.remove(0).id;
    crew.office.resolve(&item, take("A")).await.unwrap();
    crew.truck.resolve(&item, take("B")).await.unwrap();
    crew.sync().await;
    let found = open(&crew.office).await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(open(&crew.truck).await, found);
    counted::counts_the_first(&crew, ids).await;
    let deleted = crew.office.delete(&ids[0].to_string()).await.unwrap_err().to_string();
    assert!(deleted.contains("counts only until somebody decides"), "{deleted}");
    counted::is_not_deleted_by_an_app(&crew.office, ids[0]).await;
    for node in [&crew.office, &crew.truck] {
        assert!(node.verify().await.unwrap().faults.is_empty(), "its row says what counts");
    }
    crew.truck.resolve(&found[0].id, take("b")).await.unwrap();
    crew.sync().await;
    for node in [&crew.office, &crew.truck] {
        assert_eq!(open(node).await, []);
        assert!(is_deleted(node, ids[0]).await && !is_deleted(node, ids[1]).await);
    }
    counted::counts_only(&crew, ids[1]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_deletes_the_twin_that_somebody_else_kept_is_asked_again() {
    let crew = Crew::new().await;
    let ids = crew.twins().await;
    let item = open(&crew.office).await.remove(0).id;
    crew.office.resolve(&item, take("B")).await.unwrap();
    crew.truck.delete(&ids[1].to_string()).await.unwrap();
    crew.sync().await;
    for node in [&crew.office, &crew.truck] {
        assert_eq!(open(node).await.len(), 1);
    }
    counted::counts_the_first(&crew, ids).await;
    crew.office.resolve(&item, take("B")).await.unwrap();
    assert_eq!(open(&crew.office).await, []);
    crew.office.delete(&ids[1].to_string()).await.unwrap();
    assert_eq!(open(&crew.office).await, [], "nobody counted on the other one");
    assert!(is_deleted(&crew.office, ids[0]).await && is_deleted(&crew.office, ids[1]).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_people_who_each_delete_the_twin_of_the_other_are_asked_again() {
    let crew = Crew::new().await;
    let ids = crew.twins().await;
    crew.office.delete(&ids[0].to_string()).await.unwrap();
    crew.truck.delete(&ids[1].to_string()).await.unwrap();
    crew.sync().await;
    assert_eq!(open(&crew.office).await.len(), 1);
    assert_eq!(open(&crew.truck).await, open(&crew.office).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_are_alike_in_two_ways_are_settled_by_one_command() {
    let crew = Crew::new().await;
    crew.valves().await;
    for node in [&crew.office, &crew.truck] {
        node.record(record("valve", &["code=V-1", "tag=T-1"])).await.unwrap();
    }
    crew.sync().await;
    let query = || ConflictQuery { kind: Some("duplicate".into()), ..ConflictQuery::default() };
    assert_eq!(crew.office.conflicts(query()).await.unwrap().len(), 2);
    let all = |dry_run| ResolveAll { query: query(), dry_run, ..ResolveAll::of(Choice::Latest) };
    let looked = crew.office.resolve_all(all(true)).await.unwrap();
    assert_eq!((looked.settled.len(), looked.written), (1, false), "{looked:?}");
    assert_eq!((looked.ended.len(), looked.left.len()), (1, 0), "{looked:?}");
    let done = crew.office.resolve_all(all(false)).await.unwrap();
    assert_eq!((done.settled.len(), done.left.len(), done.written), (1, 0, true), "{done:?}");
    assert_eq!((&looked.settled, &looked.ended), (&done.settled, &done.ended));
    assert_eq!(crew.office.conflicts(query()).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_meant_beside_the_one_that_is_kept_stays() {
    let crew = Crew::new().await;
    crew.valves().await;
    let van = join(&crew.office, crew.folder.path(), "van").await;
    crew.sync_of(&van).await;
    let mut ids = Vec::new();
    for (node, tag) in [(&crew.office, "tag=1"), (&crew.truck, "tag=2"), (&van, "tag=3")] {
        ids.push(node.record(record("valve", &["code=V-1", tag])).await.unwrap().id);
    }
    crew.sync().await;
    let item = open(&crew.office).await.remove(0).id;
    crew.office.resolve(&item, Resolution::Take(Choice::Both)).await.unwrap();
    crew.sync_of(&van).await;
    let found = open(&crew.office).await.remove(0);
    let records = &found.duplicate.as_ref().unwrap().records;
    assert_eq!(records.len(), 3);
    let label = records.iter().position(|it| it.id == ids[0]).unwrap();
    let label = &found.values[label].label;
    let query = ConflictQuery { kind: Some("duplicate".into()), ..ConflictQuery::default() };
    let of = ResolveAll::of(Choice::Label(label.clone()));
    let looked = ResolveAll { query, dry_run: true, ..of };
    let looked = crew.office.resolve_all(looked).await.unwrap().settled.remove(0);
    for one in looked.alike {
        assert_eq!(one.kept, one.record != ids[2], "what is told before it is done");
    }
    crew.office.resolve(&found.id, take(label)).await.unwrap();
    assert_eq!(open(&crew.office).await, []);
    for (id, gone) in ids.into_iter().zip([false, false, true]) {
        assert_eq!(is_deleted(&crew.office, id).await, gone);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_settles_records_as_they_were_before_somebody_wrote() {
    let crew = Crew::new().await;
    let ids = crew.twins().await;
    let read = open(&crew.office).await.remove(0);
    let edits = || Edits { assignments: vec!["gasVolume=2".into()], ..Edits::default() };
    let both = || Resolution::Take(Choice::Both);
    for id in ids {
        crew.office.edit(&id.to_string(), edits()).await.unwrap();
        for resolution in
            [take("A"), take("B"), both(), Resolution::Set(vec!["oilVolume=1".into()])]
        {
            let ledger = crew.office.ledger();
            let refused =
                ledger.settle_duplicate(ledger.projector.view_number(), &read, &resolution);
            let refused = refused.unwrap_err().to_string();
            assert!(refused.contains("look again"), "{refused}");
        }
        let read = crew.office.show(&id.to_string()).await.unwrap();
        assert!(!read.deleted);
    }
    let item = open(&crew.office).await.remove(0).id;
    crew.office.resolve(&item, take("A")).await.unwrap();
    assert_eq!(open(&crew.office).await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_double_is_found_however_many_records_share_one_of_its_values() {
    let crew = Crew::new().await;
    let text = ["pump", "shift", "by"].map(|key| {
        format!("[[field]]\nkey = \"{key}\"\nkind = \"text\"\nrequired = true\nimmutable = true\n")
    });
    let text = format!(
        "name = \"round\"\nnatural_key = [\"pump\", \"shift\", \"by\"]\n{}\
         [[unique]]\nfields = [\"pump\", \"shift\"]\n",
        text.concat()
    );
    crew.define(&text).await;
    let busy = (1..=300).map(|number| format!("P-0,S-{number},Ann\nP-{number},S-0,Ann\n"));
    let rows = std::iter::once("pump,shift,by\n".to_owned()).chain(busy).collect::<String>();
    let options = ImportOptions { collection: Some("round".into()), ..ImportOptions::default() };
    let report = crew.office.import(std::io::Cursor::new(rows), options, |_| {}).await.unwrap();
    assert_eq!((report.imported, report.refused), (600, 0), "{report:?}");
    for (node, by) in [(&crew.office, "by=Ann"), (&crew.truck, "by=Bo")] {
        node.record(record("round", &["pump=P-0", "shift=S-0", by])).await.unwrap();
    }
    crew.sync().await;
    for node in [&crew.office, &crew.truck] {
        assert_eq!(open(node).await.len(), 1);
    }
}
