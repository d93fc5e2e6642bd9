//! Approval on real nodes: what counts where, by whose word, and what people are told.

use std::time::Duration;

use fieldmesh_identity::{Item, RoleChange, Statement};
use fieldmesh_model::Role;

use crate::api::{
    ApprovalState, ChangeKind, ChangesQuery, Edits, ExportQuery, InviteOptions, ListQuery,
    LiveEvent, NewRecord, NewRuling, NoticeKind, Record, SchemaOptions, SchemaStep, SyncOptions,
    SyncResult,
};
use crate::{Error, LiveQuery, Node, TenantOptions, clock};

const ROUND: &str = include_str!("../../../../../examples/pump_round.toml");

struct Crew {
    folder: tempfile::TempDir,
    office: Node,
    truck: Node,
    address: String,
}

impl Crew {
    /// The office of an admin and the truck of an operator, who records pump rounds that count once
    /// a manager has approved them.
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = TenantOptions { name: "Crew".into(), ..TenantOptions::default() };
        let builder = Node::builder(folder.path().join("office")).passphrase("one");
        let (office, _) = builder.create_tenant(options).await.unwrap();
        let address = office.listen(Some(([127, 0, 0, 1], 0).into())).await.unwrap().to_string();
        apply(&office, &asking(ROUND)).await;
        let truck = device(&office, folder.path(), "truck", Role::Operator).await;
        let crew = Self { folder, office, truck, address };
        crew.sync(&crew.truck).await;
        crew
    }

    async fn sync(&self, node: &Node) {
        let with = vec![self.address.clone()];
        let options = SyncOptions { with, mdns: false, ..SyncOptions::default() };
        let report = node.sync(options, |_| {}).await.unwrap();
        assert_eq!(report.result, SyncResult::Ok, "{report:?}");
    }
}

fn asking(text: &str) -> String {
    text.replace("create = ", "approve = [\"manager\"]\ncreate = ")
}

async fn apply(node: &Node, text: &str) {
    let step = SchemaStep::Apply;
    let options = SchemaOptions { text: text.to_owned(), step, ..SchemaOptions::default() };
    assert!(node.schema(options).await.unwrap().applied);
}

async fn device(office: &Node, folder: &std::path::Path, name: &str, role: Role) -> Node {
    let (valid, user) = (Duration::from_secs(600), Some(format!("{name}@example.org")));
    let options = InviteOptions { role, user, valid, count: 1 };
    let invitation = office.invite(options).await.unwrap().remove(0).invitation;
    let builder = Node::builder(folder.join(name)).passphrase("one");
    builder.join(&invitation, Some(name.into())).await.unwrap().0
}

async fn round(node: &Node, tag: &str) -> Record {
    let assignments = vec![format!("pumpTag={tag}"), "doneAt=2026-03-01T08:00:00Z".to_owned()];
    let collection = "pump_round".to_owned();
    node.record(NewRecord { collection, assignments, ..NewRecord::default() }).await.unwrap()
}

async fn edit(node: &Node, tag: &str, assignment: &str) -> Record {
    let assignments = vec![assignment.to_owned()];
    node.edit(tag, Edits { assignments, ..Edits::default() }).await.unwrap()
}

fn refusal(reason: &str) -> NewRuling {
    NewRuling { refuse: Some(reason.to_owned()), version: None }
}

fn query(awaiting: bool) -> ListQuery {
    ListQuery { collection: "pump_round".into(), awaiting, ..ListQuery::default() }
}

/// The tags of the records that count, or of those that do not: listed, counted and exported alike.
async fn tags(node: &Node, awaiting: bool) -> Vec<String> {
    let records = node.list(query(awaiting)).await.unwrap();
    let mut tags: Vec<String> =
        records.iter().map(|it| it.fields["pumpTag"].as_str().unwrap().to_owned()).collect();
    tags.sort();
    assert_eq!(node.count(query(awaiting)).await.unwrap(), tags.len() as u64);
    let asked = ExportQuery { list: query(awaiting), ..ExportQuery::default() };
    assert_eq!(node.export(asked, std::io::sink()).await.unwrap(), tags.len() as u64);
    tags
}

fn state(record: &Record) -> ApprovalState {
    record.approval.as_ref().unwrap().state
}

async fn shown(node: &Node, tag: &str) -> (ApprovalState, Option<String>) {
    let approval = node.show(tag).await.unwrap().approval.unwrap();
    (approval.state, approval.ruling.and_then(|ruling| ruling.reason))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_round_of_an_operator_counts_on_every_device_once_a_manager_has_approved_it() {
    let crew = Crew::new().await;
    assert_eq!(state(&round(&crew.truck, "P-1").await), ApprovalState::Awaiting);
    assert_eq!(state(&round(&crew.office, "P-2").await), ApprovalState::Approved, "his own");
    crew.sync(&crew.truck).await;
    for node in [&crew.office, &crew.truck] {
        assert_eq!(tags(node, false).await, ["P-2"]);
        assert_eq!(tags(node, true).await, ["P-1"]);
    }
    assert!(crew.office.show("P-1").await.unwrap().approval.unwrap().mine);
    assert!(!crew.truck.show("P-1").await.unwrap().approval.unwrap().mine);
    let approved = crew.office.approve("P-1", NewRuling::default()).await.unwrap();
    assert_eq!(state(&approved), ApprovalState::Approved);
    assert_eq!(approved, crew.office.show("P-1").await.unwrap(), "as it is read afterwards");
    crew.sync(&crew.truck).await;
    for node in [&crew.office, &crew.truck] {
        assert_eq!(tags(node, false).await, ["P-1", "P-2"]);
        assert!(tags(node, true).await.is_empty());
        assert!(node.verify().await.unwrap().faults.is_empty());
    }
    // What is approved is what was seen: an edit of the operator waits again, one of the office
    // does not.
    edit(&crew.office, "P-1", "pressure=4").await;
    assert_eq!(tags(&crew.office, false).await, ["P-1", "P-2"]);
    let edited = edit(&crew.truck, "P-1", "greaseUsed=2").await;
    assert_eq!(state(&edited), ApprovalState::Awaiting);
    crew.sync(&crew.truck).await;
    assert_eq!(tags(&crew.office, true).await, ["P-1"]);
    // The view made anew from the log says the same.
    let home = crew.folder.path().join("truck");
    crew.truck.shutdown().await.unwrap();
    std::fs::remove_dir_all(home.join("store").join("view")).unwrap();
    let truck = Node::builder(&home).passphrase("one").open().await.unwrap();
    assert_eq!(tags(&truck, true).await, ["P-1"]);
    assert_eq!(tags(&truck, false).await, ["P-2"]);
    truck.shutdown().await.unwrap();
    crew.office.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_is_put_right_and_waits_again() {
    let crew = Crew::new().await;
    round(&crew.truck, "P-1").await;
    crew.sync(&crew.truck).await;
    crew.office.approve("P-1", refusal("pump 4 has no such pressure")).await.unwrap();
    crew.sync(&crew.truck).await;
    let reason = Some("pump 4 has no such pressure".to_owned());
    for node in [&crew.office, &crew.truck] {
        assert_eq!(shown(node, "P-1").await, (ApprovalState::Refused, reason.clone()));
        assert_eq!(tags(node, true).await, ["P-1"]);
        assert!(tags(node, false).await.is_empty());
    }
    assert_eq!(crew.office.status().await.unwrap().awaiting, Some(0));
    let told = crew.truck.notices(false).await.unwrap();
    assert_eq!((told.len(), told[0].kind), (1, NoticeKind::Declined));
    assert_eq!((&told[0].reason, told[0].name.as_str()), (&reason, "P-1"));
    assert_eq!(crew.office.notices(true).await.unwrap(), [], "who refused it knows");
    edit(&crew.truck, "P-1", "pressure=3").await;
    assert_eq!(crew.truck.notices(false).await.unwrap(), told, "nobody has approved it so far");
    assert_eq!(crew.truck.status().await.unwrap().awaiting, Some(0), "not for his");
    crew.sync(&crew.truck).await;
    // Whoever decides now sees what was said before.
    assert_eq!(shown(&crew.office, "P-1").await, (ApprovalState::Awaiting, reason));
    assert_eq!(crew.office.status().await.unwrap().awaiting, Some(1));
    // He looked at it before it changed once more.
    let version = crew.office.show("P-1").await.unwrap().version;
    edit(&crew.truck, "P-1", "pressure=5").await;
    crew.sync(&crew.truck).await;
    let late = NewRuling { refuse: None, version };
    let stale = crew.office.approve("P-1", late).await.unwrap_err();
    assert!(matches!(stale, Error::Stale { .. }), "{stale}");
    assert!(tags(&crew.office, false).await.is_empty());
    crew.office.approve("P-1", NewRuling::default()).await.unwrap();
    assert_eq!(tags(&crew.office, false).await, ["P-1"]);
    crew.sync(&crew.truck).await;
    assert_eq!(crew.truck.notices(true).await.unwrap(), [], "its cause is gone");
    let history = crew.truck.history("P-1").await.unwrap();
    let said: Vec<_> = history.into_iter().filter_map(|revision| revision.ruling).collect();
    let words: Vec<_> = said.iter().map(|it| (it.approved, it.counts, it.reason.clone())).collect();
    assert_eq!(words, [(false, true, told[0].reason.clone()), (true, true, None)]);
    crew.truck.shutdown().await.unwrap();
    crew.office.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_decided_is_told_in_words() {
    let crew = Crew::new().await;
    round(&crew.truck, "P-1").await;
    crew.sync(&crew.truck).await;
    let told =
        async |node: &Node, ruling| node.approve("P-1", ruling).await.unwrap_err().to_string();
    let text = told(&crew.truck, NewRuling::default()).await;
    assert!(text.contains("role operator may not approve this pump_round; manager may"), "{text}");
    for reason in ["", "  ", "a\u{1b}[31mb", &"x".repeat(501)] {
        let text = told(&crew.office, refusal(reason)).await;
        assert!(text.contains("a reason"), "{text}");
    }
    crew.office.approve("P-1", NewRuling::default()).await.unwrap();
    let text = told(&crew.office, NewRuling::default()).await;
    assert!(text.contains("awaits no approval"), "{text}");
    crew.office.approve("P-1", refusal("no")).await.unwrap();
    let text = told(&crew.office, refusal("no")).await;
    assert!(text.contains("already"), "{text}");
    crew.office.delete("P-1").await.unwrap();
    let id = crew.office.list(ListQuery { deleted: true, ..query(false) }).await.unwrap()[0].id;
    let gone = crew.office.approve(&id.to_string(), NewRuling::default()).await.unwrap_err();
    assert!(gone.to_string().contains("it is deleted"), "{gone}");
    let both = ListQuery { deleted: true, ..query(true) };
    assert!(crew.office.list(both).await.is_err());
    let well = ["name=Alder 1", "apiNumber=42-227-30001", "status=ACTIVE"].map(String::from);
    let (collection, assignments) = ("well".to_owned(), well.to_vec());
    let new = NewRecord { collection, assignments, ..NewRecord::default() };
    assert_eq!(crew.office.record(new).await.unwrap().approval, None);
    let text = crew.office.approve("Alder 1", NewRuling::default()).await.unwrap_err().to_string();
    assert!(text.contains("well records count without approval"), "{text}");
    crew.truck.shutdown().await.unwrap();
    crew.office.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collection_begins_and_ends_to_ask_and_all_its_records_follow() {
    let crew = Crew::new().await;
    round(&crew.truck, "P-1").await;
    crew.sync(&crew.truck).await;
    assert!(tags(&crew.office, false).await.is_empty());
    let asks = |version: &str| ROUND.replace("version = 1", version);
    apply(&crew.office, &asks("version = 2")).await;
    crew.sync(&crew.truck).await;
    for node in [&crew.office, &crew.truck] {
        assert_eq!(tags(node, false).await, ["P-1"]);
        assert!(tags(node, true).await.is_empty());
        assert_eq!(node.show("P-1").await.unwrap().approval, None);
    }
    apply(&crew.office, &asking(&asks("version = 3"))).await;
    crew.sync(&crew.truck).await;
    for node in [&crew.office, &crew.truck] {
        assert!(tags(node, false).await.is_empty());
        assert_eq!(tags(node, true).await, ["P-1"]);
    }
    crew.truck.shutdown().await.unwrap();
    crew.office.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_of_what_counts_waits_for_whoever_approves_and_is_approved_or_taken_back() {
    let crew = Crew::new().await;
    for tag in ["P-1", "P-2", "P-3"] {
        round(&crew.truck, tag).await;
    }
    crew.sync(&crew.truck).await;
    for tag in ["P-1", "P-2"] {
        crew.office.approve(tag, NewRuling::default()).await.unwrap();
    }
    crew.sync(&crew.truck).await;
    let mut ids = Vec::new();
    for tag in ["P-1", "P-2", "P-3"] {
        ids.push(crew.truck.delete(tag).await.unwrap().id.to_string());
    }
    crew.sync(&crew.truck).await;
    // What never counted concerns nobody.
    assert_eq!(tags(&crew.office, true).await, ["P-1", "P-2"]);
    assert_eq!(crew.office.status().await.unwrap().awaiting, Some(2));
    let refused = crew.office.approve(&ids[1], refusal("we need it")).await.unwrap_err();
    assert!(refused.to_string().contains("`restore-record` brings it back"), "{refused}");
    crew.office.approve(&ids[0], NewRuling::default()).await.unwrap();
    crew.office.restore(&ids[1]).await.unwrap();
    assert_eq!(tags(&crew.office, true).await, ["P-2"]);
    crew.office.approve(&ids[1], NewRuling::default()).await.unwrap();
    assert!(tags(&crew.office, true).await.is_empty());
    assert_eq!(tags(&crew.office, false).await, ["P-2"]);
    crew.truck.shutdown().await.unwrap();
    crew.office.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_follows_records_hears_that_they_count_and_that_they_count_no_more() {
    let crew = Crew::new().await;
    let mut counting = follow(&crew.office, false).await;
    let mut waiting = follow(&crew.office, true).await;
    round(&crew.truck, "P-1").await;
    crew.sync(&crew.truck).await;
    let before = clock::now();
    let LiveEvent::Added(record) = waiting.next().await.unwrap().unwrap() else { panic!() };
    assert_eq!(state(&record), ApprovalState::Awaiting);
    let asked = ChangesQuery { collection: Some("pump_round".into()), ..ChangesQuery::default() };
    let page = crew.office.changes(asked.clone()).await.unwrap();
    assert_eq!(page.changes[0].kind, ChangeKind::Deleted, "it is not among those that count");
    crew.office.approve("P-1", NewRuling::default()).await.unwrap();
    let LiveEvent::Added(record) = counting.next().await.unwrap().unwrap() else { panic!() };
    assert_eq!(state(&record), ApprovalState::Approved);
    assert_eq!(waiting.next().await.unwrap().unwrap(), LiveEvent::Removed(record.id));
    let after = ChangesQuery { after: Some(page.next), ..asked };
    let kinds: Vec<_> = crew.office.changes(after).await.unwrap().changes;
    assert_eq!((kinds.len(), kinds[0].kind), (1, ChangeKind::Changed));
    let then = crew.office.show_at("P-1", before).await.unwrap();
    assert_eq!(state(&then), ApprovalState::Awaiting, "nobody had approved it by then");
    edit(&crew.truck, "P-1", "pressure=3").await;
    crew.sync(&crew.truck).await;
    assert_eq!(counting.next().await.unwrap().unwrap(), LiveEvent::Removed(record.id));
    let LiveEvent::Added(_) = waiting.next().await.unwrap().unwrap() else { panic!() };
    crew.truck.shutdown().await.unwrap();
    crew.office.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_becomes_a_manager_approves_what_he_wrote_and_what_he_approved_stays_so() {
    let crew = Crew::new().await;
    round(&crew.truck, "P-1").await;
    crew.sync(&crew.truck).await;
    let mut counting = follow(&crew.office, false).await;
    promote(&crew, Role::Manager, 1);
    let told = match counting.next().await.unwrap().unwrap() {
        LiveEvent::Resync(records) => records,
        LiveEvent::Added(record) => vec![record],
        other => panic!("{other:?}"),
    };
    assert_eq!((told.len(), &told[0].fields["pumpTag"]), (1, &"P-1".into()));
    promote(&crew, Role::Operator, 2);
    assert_eq!(tags(&crew.office, false).await, ["P-1"]);
    assert!(crew.office.verify().await.unwrap().faults.is_empty());
    crew.truck.shutdown().await.unwrap();
    crew.office.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_step_of_a_career_counts_for_what_was_written_before() {
    let folder = tempfile::tempdir().unwrap();
    let options = TenantOptions { name: "Crew".into(), ..TenantOptions::default() };
    let builder = Node::builder(folder.path().join("office")).passphrase("one");
    let (office, _) = builder.create_tenant(options).await.unwrap();
    let address = office.listen(Some(([127, 0, 0, 1], 0).into())).await.unwrap().to_string();
    let asks = "approve = [\"author\", \"manager\"]\ncreate = ";
    let text = ROUND.replace("create = ", asks);
    apply(&office, &text.replace("edit = [\"author\", \"manager\"]", "edit = [\"crew\"]")).await;
    let truck = device(&office, folder.path(), "truck", Role::Operator).await;
    let crew = Crew { folder, office, truck, address };
    crew.sync(&crew.truck).await;
    round(&crew.office, "P-1").await;
    round(&crew.truck, "P-2").await;
    crew.sync(&crew.truck).await;
    edit(&crew.truck, "P-1", "pressure=3").await;
    crew.sync(&crew.truck).await;
    assert_eq!(tags(&crew.office, false).await, ["P-2"], "what he created is his to approve");
    promote(&crew, Role::Member, 1);
    assert_eq!(tags(&crew.office, true).await, ["P-1"]);
    promote(&crew, Role::Manager, 2);
    assert_eq!(tags(&crew.office, false).await, ["P-1", "P-2"]);
    assert!(crew.office.verify().await.unwrap().faults.is_empty());
    crew.truck.shutdown().await.unwrap();
    crew.office.shutdown().await.unwrap();
}

/// A live query that has said that there is nothing so far.
async fn follow(node: &Node, awaiting: bool) -> LiveQuery {
    let mut live = node.subscribe(query(awaiting)).await.unwrap();
    assert_eq!(live.next().await.unwrap().unwrap(), LiveEvent::Present(Vec::new()));
    live
}

/// The office gives the truck another role.
fn promote(crew: &Crew, role: Role, version: u32) {
    let (office, device) = (crew.office.ledger(), crew.truck.ledger().device());
    let cut = office.policy().head(device.as_bytes());
    let change = Statement::Role(RoleChange { device, version, role, cut });
    let keys = office.identity.keys();
    let place = office.policy().next_place(&keys.public_key());
    let item = Item::sign(&keys, office.identity.tenant, place, &change).unwrap();
    office.add_item(&item).unwrap();
    assert_eq!(office.policy().member(&device).unwrap().role, role);
}

/// Two managers have each kept another one of two that are alike, and of one somebody has written
/// what nobody has approved.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_that_are_gone_apart_the_one_that_is_approved_counts_meanwhile() {
    let crew = Crew::new().await;
    let field = |key: &str| format!("[[field]]\nkey = \"{key}\"\nkind = \"text\"\n");
    let head = "name = \"valve\"\napprove = [\"manager\"]\n";
    let unique = "[[unique]]\nfields = [\"code\"]\n";
    apply(&crew.office, &[head, &field("code"), &field("tag"), unique].concat()).await;
    let manager = device(&crew.office, crew.folder.path(), "manager", Role::Manager).await;
    crew.sync(&crew.truck).await;
    crew.sync(&manager).await;
    let valve = |tag: &str| NewRecord {
        collection: "valve".into(),
        assignments: vec!["code=V-1".into(), format!("tag={tag}")],
        ..NewRecord::default()
    };
    let first = crew.truck.record(valve("1")).await.unwrap().id.to_string();
    crew.sync(&crew.truck).await;
    crew.office.approve(&first, NewRuling::default()).await.unwrap();
    let second = manager.record(valve("2")).await.unwrap().id.to_string();
    crew.sync(&manager).await;
    crew.sync(&crew.truck).await;
    crew.office.delete(&second).await.unwrap();
    manager.delete(&first).await.unwrap();
    let assignments = vec!["tag=3".into()];
    crew.truck.edit(&first, Edits { assignments, ..Edits::default() }).await.unwrap();
    for node in [&crew.truck, &manager, &crew.truck] {
        crew.sync(node).await;
    }
    for node in [&crew.office, &crew.truck, &manager] {
        let list = ListQuery { collection: "valve".into(), ..ListQuery::default() };
        let listed = node.list(list).await.unwrap();
        let listed: Vec<String> = listed.into_iter().map(|it| it.id.to_string()).collect();
        assert_eq!(listed, [second.as_str()]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_only_said_that_a_record_counts_is_not_told_that_his_work_was_refused() {
    let crew = Crew::new().await;
    let manager = device(&crew.office, crew.folder.path(), "manager", Role::Manager).await;
    round(&crew.truck, "P-1").await;
    crew.sync(&crew.truck).await;
    crew.sync(&manager).await;
    manager.approve("P-1", NewRuling::default()).await.unwrap();
    crew.sync(&manager).await;
    crew.office.approve("P-1", refusal("pump 4 has no such pressure")).await.unwrap();
    crew.sync(&manager).await;
    crew.sync(&crew.truck).await;
    assert_eq!(manager.notices(false).await.unwrap(), []);
    assert_eq!(crew.truck.notices(false).await.unwrap().len(), 1);
}
