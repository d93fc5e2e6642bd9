//! A small crew over real sockets and real disks: nodes in one process, each with its own home.

#![allow(clippy::unwrap_used, reason = "a test that cannot set up its scene has failed")]

use std::time::Duration;

use fieldmesh::api::{
    ConflictQuery, ExportQuery, InviteOptions, ListQuery, NewRecord, SyncOptions,
};
use fieldmesh::{Node, TenantOptions};
use fieldmesh_model::Role;

struct Crew {
    _folder: tempfile::TempDir,
    home: std::path::PathBuf,
    lead: Node,
    hand: Node,
    address: String,
}

async fn crew() -> Crew {
    let folder = tempfile::tempdir().unwrap();
    let options = TenantOptions {
        name: "Gulf Crew".into(),
        user: Some("lead@example.org".into()),
        device: Some("lead tablet".into()),
    };
    let home = folder.path().join("lead");
    let (lead, _) = Node::builder(home).passphrase("one").create_tenant(options).await.unwrap();
    let bound = lead.listen(Some(([127, 0, 0, 1], 0).into())).await.unwrap();
    let hand = join(&lead, folder.path().join("hand"), Role::Operator).await;
    Crew { home: folder.path().to_owned(), _folder: folder, lead, hand, address: bound.to_string() }
}

async fn join(lead: &Node, home: std::path::PathBuf, role: Role) -> Node {
    let valid = Duration::from_secs(600);
    let invited = lead.invite(InviteOptions { role, user: None, valid, count: 1 }).await.unwrap();
    let builder = Node::builder(home).passphrase("two");
    let (node, report) =
        builder.join(&invited[0].invitation, Some("hand phone".into())).await.unwrap();
    assert_eq!(report.role, role);
    lead.wait_for_joins(&invited).await.unwrap();
    node
}

fn record(collection: &str, assignments: &[&str]) -> NewRecord {
    NewRecord {
        collection: collection.into(),
        assignments: assignments.iter().map(|text| (*text).into()).collect(),
        ..NewRecord::default()
    }
}

async fn export(node: &Node, collection: &str) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    let query = ExportQuery {
        list: ListQuery { collection: collection.into(), ..ListQuery::default() },
        ..ExportQuery::default()
    };
    node.export(query, file.reopen().unwrap()).await.unwrap();
    std::fs::read_to_string(file.path()).unwrap()
}

async fn sync(node: &Node, address: &str) {
    let options = SyncOptions { with: vec![address.into()], mdns: false, ..SyncOptions::default() };
    let report = node.sync(options, |_| {}).await.unwrap();
    assert_eq!(report.result, fieldmesh::api::SyncResult::Ok, "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_devices_that_recorded_apart_end_with_equal_exports() {
    let crew = crew().await;
    let well = ["name=Alder 1", "apiNumber=42-227-30001", "status=ACTIVE"];
    crew.lead.record(record("well", &well)).await.unwrap();
    sync(&crew.hand, &crew.address).await;
    for hour in 0..10 {
        for (node, minute, oil) in [(&crew.lead, 0, 80), (&crew.hand, 30, 20)] {
            let at = format!("recordedAt=2026-03-01T{hour:02}:{minute:02}:00Z");
            let oil = format!("oilVolume={}", oil + hour);
            let fields = ["wellId=Alder 1", "entryType=PRODUCTION", &at, &oil];
            node.record(record("field_entry", &fields)).await.unwrap();
        }
    }
    sync(&crew.hand, &crew.address).await;
    let (ours, theirs) =
        (export(&crew.lead, "field_entry").await, export(&crew.hand, "field_entry").await);
    assert_eq!(ours.lines().count(), 20);
    // The lead's device was dialled and knows as much of the meeting.
    let devices = crew.lead.devices().await.unwrap();
    let hand = devices.iter().find(|device| device.name == "hand phone").unwrap();
    assert!(hand.last_contact.is_some(), "{hand:?}");
    let passed = hand.traffic.unwrap();
    assert!(passed.received > 0 && passed.sent > 0 && passed.bytes_in > 0, "{hand:?}");
    let dealings = crew.lead.take_dealings().await.unwrap();
    let dealt = dealings.devices.iter().find(|dealt| dealt.device == hand.device).unwrap();
    assert!(dealt.agreed >= 2 && dealt.failed == 0, "{dealt:?}");
    assert!(dealt.last_in_step.is_some() && dealt.bytes_in > 0 && dealt.bytes_out > 0, "{dealt:?}");
    assert!(dealings.delays.iter().sum::<u64>() > 0, "{dealings:?}");
    assert!(dealt.last_delay_seconds.is_some(), "{dealt:?}");
    assert_eq!(ours, theirs);
    assert_eq!(export(&crew.lead, "well").await, export(&crew.hand, "well").await);
    let (a, b) = (crew.lead.status().await.unwrap(), crew.hand.status().await.unwrap());
    assert_eq!(a.root, b.root);
    for node in [crew.lead, crew.hand] {
        let report = node.verify().await.unwrap();
        assert!(report.clean, "{report:?}");
        node.shutdown().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_edited_on_two_devices_is_one_conflict_that_either_can_settle() {
    let crew = crew().await;
    let well = ["name=Alder 1", "apiNumber=42-227-30001", "status=ACTIVE"];
    crew.lead.record(record("well", &well)).await.unwrap();
    sync(&crew.hand, &crew.address).await;
    let fields = ["wellId=Alder 1", "entryType=PRODUCTION", "oilVolume=10"];
    let entry = crew.hand.record(record("field_entry", &fields)).await.unwrap();
    let id = entry.id.to_string();
    sync(&crew.hand, &crew.address).await;
    let edit = |text: &str| fieldmesh::api::Edits {
        assignments: vec![text.into()],
        ..fieldmesh::api::Edits::default()
    };
    crew.hand.edit(&id, edit("oilVolume=11")).await.unwrap();
    crew.lead.edit(&id, edit("oilVolume=12")).await.unwrap();
    sync(&crew.hand, &crew.address).await;
    let ours = crew.lead.conflicts(ConflictQuery::default()).await.unwrap();
    let theirs = crew.hand.conflicts(ConflictQuery::default()).await.unwrap();
    assert_eq!(ours.len(), 1, "{ours:?}");
    assert_eq!(ours, theirs);
    let take = fieldmesh::api::Resolution::Take(fieldmesh::api::Choice::Label("A".into()));
    let settled = crew.lead.resolve(&ours[0].id, take).await.unwrap();
    assert!(settled.conflicts.is_empty());
    sync(&crew.hand, &crew.address).await;
    assert!(crew.hand.conflicts(ConflictQuery::default()).await.unwrap().is_empty());
    assert_eq!(export(&crew.lead, "field_entry").await, export(&crew.hand, "field_entry").await);
    crew.hand.shutdown().await.unwrap();
    crew.lead.shutdown().await.unwrap();
}

/// A crew that disputes how much oil an entry says; gives the entry and the conflict.
async fn disputed() -> (Crew, String, String) {
    let crew = crew().await;
    let well = ["name=Alder 1", "apiNumber=42-227-30001", "status=ACTIVE"];
    crew.lead.record(record("well", &well)).await.unwrap();
    sync(&crew.hand, &crew.address).await;
    let fields = ["wellId=Alder 1", "entryType=PRODUCTION", "oilVolume=10"];
    let id = crew.hand.record(record("field_entry", &fields)).await.unwrap().id.to_string();
    sync(&crew.hand, &crew.address).await;
    crew.hand.edit(&id, edit("oilVolume=11")).await.unwrap();
    crew.lead.edit(&id, edit("oilVolume=12")).await.unwrap();
    sync(&crew.hand, &crew.address).await;
    let open = crew.lead.conflicts(ConflictQuery::default()).await.unwrap();
    let conflict = open[0].id.clone();
    (crew, id, conflict)
}

fn edit(text: &str) -> fieldmesh::api::Edits {
    fieldmesh::api::Edits { assignments: vec![text.into()], ..fieldmesh::api::Edits::default() }
}

fn take(label: &str) -> fieldmesh::api::Resolution {
    fieldmesh::api::Resolution::Take(fieldmesh::api::Choice::Label(label.into()))
}

#[tokio::test(flavor = "multi_thread")]
async fn who_settled_a_conflict_is_told_from_who_wrote_over_it_on_every_device() {
    let (crew, id, conflict) = disputed().await;
    let shown = crew.hand.conflict(&conflict[24..]).await.unwrap();
    for value in &shown.values {
        let saw = value.saw.as_ref().unwrap();
        assert_eq!((saw.sides.len(), saw.unseen), (0, 1), "{shown:?}");
    }
    let refused = crew.hand.resolve(&conflict, take("A")).await;
    assert!(matches!(refused, Err(fieldmesh::Error::NotAllowed { .. })), "{refused:?}");
    // Whoever may not settle it says what he knows.
    let said = crew.hand.comment(&conflict, " the gauge was read twice ").await.unwrap();
    assert_eq!(said.comments[0].text, "the gauge was read twice");
    assert!(crew.hand.comment(&conflict, &"x".repeat(2_001)).await.is_err());
    let refused = crew.hand.edit(&id, edit("oilVolume=13")).await;
    assert!(matches!(refused, Err(fieldmesh::Error::NotAllowed { .. })), "{refused:?}");
    let other = join(&crew.lead, crew.home.join("other"), Role::Manager).await;
    sync(&other, &crew.address).await;
    crew.lead.resolve(&conflict, take("A")).await.unwrap();
    other.edit(&id, edit("oilVolume=13")).await.unwrap();
    for node in [&other, &crew.hand] {
        sync(node, &crew.address).await;
    }
    let closed = || ConflictQuery { closed: true, ..ConflictQuery::default() };
    let ours = crew.lead.conflicts(closed()).await.unwrap();
    assert_eq!(ours, crew.hand.conflicts(closed()).await.unwrap());
    assert_eq!(ours.len(), 2, "{ours:?}");
    let old = ours.iter().find(|item| item.id == conflict).unwrap();
    assert_eq!((old.open, old.values.len()), (false, 2));
    assert_eq!(old.comments, said.comments);
    let mut ended: Vec<_> =
        old.ended.iter().map(|end| (end.settled, end.left.to_string())).collect();
    ended.sort_unstable();
    assert_eq!(ended, [(false, "13".to_owned()), (true, "11".to_owned())]);
    // Two who decide differently leave another conflict open.
    let new = ours.iter().find(|item| item.id != conflict).unwrap();
    assert!(new.open);
    let again = crew.lead.resolve(&conflict, take("A")).await;
    assert!(again.unwrap_err().to_string().contains("nothing left to settle"));
    for node in [&crew.lead, &crew.hand] {
        let history = node.history(&id).await.unwrap();
        let settled: Vec<_> = history.iter().flat_map(|it| &it.settled).collect();
        let overwritten: Vec<_> = history.iter().flat_map(|it| &it.overwritten).collect();
        assert_eq!((settled, overwritten), (vec![&conflict], vec![&conflict]));
        assert_eq!(node.status().await.unwrap().conflicts, 1);
    }
    // A page goes on behind the last one.
    let page = ConflictQuery { limit: Some(1), ..closed() };
    let first = crew.lead.conflicts(page.clone()).await.unwrap();
    let after = Some(first[0].id.clone());
    let second = crew.lead.conflicts(ConflictQuery { after, ..page }).await.unwrap();
    assert_eq!([first, second].concat(), ours);
    other.shutdown().await.unwrap();
    crew.hand.shutdown().await.unwrap();
    crew.lead.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn edits_of_different_fields_are_told_apart_from_conflicts() {
    let (crew, id, conflict) = disputed().await;
    crew.lead.resolve(&conflict, take("A")).await.unwrap();
    sync(&crew.hand, &crew.address).await;
    crew.hand.edit(&id, edit("gasVolume=5")).await.unwrap();
    crew.lead.edit(&id, edit("notes=valve replaced")).await.unwrap();
    sync(&crew.hand, &crew.address).await;
    let parallel = || ConflictQuery { kind: Some("parallel".into()), ..ConflictQuery::default() };
    let ours = crew.lead.conflicts(parallel()).await.unwrap();
    assert_eq!(ours, crew.hand.conflicts(parallel()).await.unwrap());
    let fields: Vec<_> = ours[0].values.iter().flat_map(|side| side.fields.keys()).collect();
    assert_eq!(fields, ["data.gasVolume", "notes"]);
    assert_eq!(crew.lead.conflicts(ConflictQuery::default()).await.unwrap(), []);
    assert_eq!(crew.lead.status().await.unwrap().conflicts, 0);
    let settled = crew.lead.resolve(&ours[0].id, take("A")).await;
    assert!(settled.unwrap_err().to_string().contains("do not contradict"));
    crew.hand.shutdown().await.unwrap();
    crew.lead.shutdown().await.unwrap();
}

fn copy_folder(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Two copies of one home sign different changes for one place. Nobody stops, everybody shows the
/// same record, and what lost is listed.
#[tokio::test(flavor = "multi_thread")]
async fn an_edit_made_on_a_copied_home_is_listed_and_stops_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let crew = crew().await;
    let well = ["name=Alder 1", "apiNumber=42-227-30001", "status=ACTIVE"];
    crew.lead.record(record("well", &well)).await.unwrap();
    sync(&crew.hand, &crew.address).await;
    let fields = ["wellId=Alder 1", "entryType=PRODUCTION", "oilVolume=10"];
    let id = crew.hand.record(record("field_entry", &fields)).await.unwrap().id.to_string();
    sync(&crew.hand, &crew.address).await;
    let original = crew.home.join("hand");
    crew.hand.shutdown().await.unwrap();
    let copy = folder.path().join("copy");
    copy_folder(&original, &copy);
    for (home, oil) in [(original, "oilVolume=11"), (copy, "oilVolume=12")] {
        let node = Node::builder(home).passphrase("two").open().await.unwrap();
        let edits = fieldmesh::api::Edits {
            assignments: vec![oil.into()],
            ..fieldmesh::api::Edits::default()
        };
        node.edit(&id, edits).await.unwrap();
        sync(&node, &crew.address).await;
        node.shutdown().await.unwrap();
    }
    // Whoever uses either is told, also by the next program on it.
    for home in [crew.home.join("hand"), folder.path().join("copy")] {
        let node = Node::builder(home).passphrase("two").open().await.unwrap();
        sync(&node, &crew.address).await;
        node.shutdown().await.unwrap();
    }
    for home in [crew.home.join("hand"), folder.path().join("copy")] {
        let node = Node::builder(home).passphrase("two").open().await.unwrap();
        let notes = node.status().await.unwrap().notes.join("\n");
        assert!(notes.contains("this device runs twice"), "{notes}");
        assert!(notes.contains("delete the other"), "{notes}");
        assert_eq!(node.warnings().await.unwrap().len(), 1);
        node.shutdown().await.unwrap();
    }
    assert!(crew.lead.warnings().await.unwrap().is_empty());
    let third = join(&crew.lead, folder.path().join("third"), Role::Operator).await;
    sync(&third, &crew.address).await;
    let (shown, theirs) = (crew.lead.show(&id).await.unwrap(), third.show(&id).await.unwrap());
    // Where it is, each of them knows of its own peers.
    assert_eq!(fieldmesh::api::Record { safe: shown.safe, ..theirs }, shown);
    let quarantine = ConflictQuery { kind: Some("quarantine".into()), ..ConflictQuery::default() };
    assert_eq!(crew.lead.conflicts(quarantine).await.unwrap().len(), 1);
    let another = ["wellId=Alder 1", "entryType=INSPECTION", "leaksDetected=true"];
    crew.lead.record(record("field_entry", &another)).await.unwrap();
    third.shutdown().await.unwrap();
    crew.lead.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_that_ends_before_both_hold_the_same_is_told_as_failed_and_why() {
    let crew = crew().await;
    sync(&crew.hand, &crew.address).await;
    let device = crew.hand.tenant().device;
    let before = crew.lead.take_dealings().await.unwrap();
    let before = before.devices.iter().find(|dealt| dealt.device == device).unwrap();
    assert_eq!((before.agreed, before.failed), (1, 0), "{before:?}");
    let options = fieldmesh::api::RevokeOptions { reason: "lost".into(), wipe: false };
    crew.lead.revoke("hand phone", options).await.unwrap();
    let with = vec![crew.address.clone()];
    let options = SyncOptions { with, mdns: false, ..SyncOptions::default() };
    let report = crew.hand.sync(options, |_| {}).await.unwrap();
    assert_ne!(report.result, fieldmesh::api::SyncResult::Ok, "{report:?}");
    let dealings = crew.lead.take_dealings().await.unwrap();
    let dealt = dealings.devices.iter().find(|dealt| dealt.device == device).unwrap();
    assert_eq!(dealt.agreed, 0, "{dealt:?}");
    assert!(dealt.failed >= 1 && dealt.failure.is_some(), "{dealt:?}");
    crew.lead.shutdown().await.unwrap();
    crew.hand.shutdown().await.unwrap();
}
