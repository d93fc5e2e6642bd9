//! Bytes of the log go bad, files go away: what others have comes back, and what nobody has is
//! told.

use std::fs;
use std::path::{Path, PathBuf};

use fieldmesh::Node;
use fieldmesh::api::{BackupOptions, DoctorReport, DraftChange, Edits, Finding, NewRecord, Safety};
use fieldmesh_model::Role;

use super::{Crew, count, entry, export, listen, reopen, sync, well};

/// Where frames begin in a segment that is written frame by frame.
const FRAMES_START: usize = 4_176;

/// The segments of a home, oldest first.
fn segments(home: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(home.join("store/log")).unwrap();
    let mut paths: Vec<PathBuf> = files.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// Flips a byte in every few hundred of a segment.
fn spoil(segment: &Path, step: usize) {
    let mut bytes = fs::read(segment).unwrap();
    let spoiled: Vec<usize> = (FRAMES_START + 60..bytes.len()).step_by(step).collect();
    assert!(!spoiled.is_empty(), "the segment has no frames");
    for index in spoiled {
        bytes[index] ^= 1;
    }
    fs::write(segment, bytes).unwrap();
}

fn spoil_all(home: &Path) {
    for segment in segments(home) {
        if fs::metadata(&segment).unwrap().len() as usize > FRAMES_START + 60 {
            spoil(&segment, 150);
        }
    }
}

async fn doctor(node: &Node) -> DoctorReport {
    node.doctor().await.unwrap()
}

fn find<'a>(report: &'a DoctorReport, kind: &str) -> &'a Finding {
    let found = report.findings.iter().find(|finding| finding.kind == kind);
    found.unwrap_or_else(|| panic!("no {kind} in {report:#?}"))
}

async fn assert_whole(node: &Node, like: &Node) {
    for collection in ["well", "field_entry"] {
        assert_eq!(export(node, collection).await, export(like, collection).await);
    }
    node.accept_losses().await.unwrap();
    let report = doctor(node).await;
    assert!(!report.open, "{report:#?}");
    let verified = node.verify().await.unwrap();
    let verified = if verified.clean { verified } else { node.verify().await.unwrap() };
    assert!(verified.clean, "{:#?}", verified.faults);
    // What is here once more is in every backup of it, too.
    let folder = tempfile::tempdir().unwrap();
    let options = BackupOptions { file: folder.path().join("whole"), since: None };
    let backup = node.backup(options, |_| {}).await.unwrap();
    assert_eq!(backup.unreadable, 0, "{backup:?}");
}

/// A crew whose office and tablet hold the same ten records.
async fn crew() -> (Crew, Node) {
    let crew = Crew::new().await;
    well(&crew.lead, "Alder 1").await;
    for minute in 10..19 {
        entry(&crew.lead, "Alder 1", &format!("2026-03-01T08:{minute}:00Z")).await;
    }
    let tablet = crew.device("tablet", Role::Operator).await;
    listen(&tablet).await;
    sync(&tablet, &crew.address).await;
    assert_eq!(count(&tablet, "field_entry").await, 9);
    (crew, tablet)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_went_bad_while_it_was_closed_comes_back_from_the_office() {
    let (crew, tablet) = crew().await;
    let home = crew.home("tablet");
    tablet.shutdown().await.unwrap();
    spoil_all(&home);
    let tablet = reopen(&home).await.unwrap();
    // What the view shows is still there.
    assert_eq!(count(&tablet, "field_entry").await, 9);
    assert!(!tablet.verify().await.unwrap().clean);
    let report = doctor(&tablet).await;
    assert!(report.open, "{report:#?}");
    let lacking = find(&report, "lacking-batches");
    assert!(lacking.open && lacking.next.contains("office"), "{lacking:#?}");
    assert!(lacking.what.contains("Alder 1"), "{lacking:#?}");

    sync(&tablet, &crew.address).await;
    let report = doctor(&tablet).await;
    assert!(report.findings.iter().any(|it| it.done.contains("office brought")), "{report:#?}");
    assert_whole(&tablet, &crew.lead).await;
    // Edits need the changes themselves.
    tablet.history("Alder 1").await.unwrap();
    tablet.shutdown().await.unwrap();
    let tablet = reopen(&home).await.unwrap();
    assert_whole(&tablet, &crew.lead).await;
    tablet.shutdown().await.unwrap();
    crew.lead.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_home_that_lost_its_view_and_got_its_own_batches_back_is_not_said_to_run_twice() {
    let (crew, tablet) = crew().await;
    entry(&tablet, "Alder 1", "2026-03-01T09:00:00Z").await;
    sync(&tablet, &crew.address).await;
    let home = crew.home("tablet");
    tablet.shutdown().await.unwrap();
    fs::remove_dir_all(home.join("store/view")).unwrap();
    spoil_all(&home);
    let tablet = reopen(&home).await.unwrap();
    sync(&tablet, &crew.address).await;
    sync(&tablet, &crew.address).await;
    assert_eq!(count(&tablet, "field_entry").await, 10);
    let warnings = tablet.warnings().await.unwrap();
    assert!(!warnings.iter().any(|it| it.contains("runs twice")), "{warnings:?}");
    let told = doctor(&tablet).await.findings;
    assert!(!told.iter().any(|it| it.kind == "runs-twice"), "{told:#?}");
    tablet.shutdown().await.unwrap();
    crew.lead.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_goes_bad_under_a_running_node_is_found_by_verify_and_heals() {
    let (crew, tablet) = crew().await;
    let home = crew.home("tablet");
    spoil_all(&home);
    assert!(!tablet.verify().await.unwrap().clean);
    assert!(doctor(&tablet).await.open);
    sync(&tablet, &crew.address).await;
    assert_whole(&tablet, &crew.lead).await;
    tablet.shutdown().await.unwrap();
    crew.lead.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_author_of_a_damaged_batch_gets_it_back_from_the_only_other_device_that_has_it() {
    let (crew, tablet) = crew().await;
    let relay = crew.device("relay", Role::Relay).await;
    let (first, second) = (listen(&relay).await, listen(&tablet).await);
    let office = crew.home("office");
    let Crew { folder, lead, .. } = crew;
    lead.shutdown().await.unwrap();
    spoil_all(&office);
    let lead = Node::builder(&office).passphrase("one").open().await.unwrap();
    assert!(!lead.verify().await.unwrap().clean);
    // The relay has nothing of it.
    super::try_sync(&lead, &first).await.ok();
    assert!(doctor(&lead).await.open);
    sync(&lead, &second).await;
    assert_whole(&lead, &tablet).await;
    // And goes on where it was.
    well(&lead, "Birch 2").await;
    sync(&lead, &second).await;
    assert_eq!(count(&tablet, "well").await, 2);
    for node in [lead, tablet, relay] {
        node.shutdown().await.unwrap();
    }
    drop(folder);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_devices_with_damage_in_different_places_heal_each_other() {
    let (crew, tablet) = crew().await;
    let (office, home) = (crew.home("office"), crew.home("tablet"));
    entry(&crew.lead, "Alder 1", "2026-03-02T08:00:00Z").await;
    sync(&tablet, &crew.address).await;
    let Crew { folder, lead, .. } = crew;
    lead.shutdown().await.unwrap();
    tablet.shutdown().await.unwrap();
    // The oldest part of one, and the newest of the other.
    spoil(&segments(&office)[0], 4_000);
    let last = segments(&home).pop().unwrap();
    let mut bytes = fs::read(&last).unwrap();
    let middle = bytes.len() - 700;
    bytes[middle] ^= 1;
    fs::write(&last, bytes).unwrap();
    let lead = Node::builder(&office).passphrase("one").open().await.unwrap();
    let tablet = reopen(&home).await.unwrap();
    lead.verify().await.unwrap();
    tablet.verify().await.unwrap();
    let address = listen(&lead).await;
    sync(&tablet, &address).await;
    assert_whole(&tablet, &lead).await;
    assert_whole(&lead, &tablet).await;
    lead.shutdown().await.unwrap();
    tablet.shutdown().await.unwrap();
    drop(folder);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_that_is_gone_comes_back() {
    let (crew, tablet) = crew().await;
    let home = crew.home("tablet");
    tablet.shutdown().await.unwrap();
    // One more begins behind it: where the last one is gone, nobody knows what else was in it.
    let tablet = reopen(&home).await.unwrap();
    let draft = NewRecord { collection: "field_entry".into(), ..NewRecord::default() };
    tablet.change_draft(DraftChange::New(draft)).await.unwrap();
    tablet.shutdown().await.unwrap();
    let [_, with_records, _] = &segments(&home)[..] else { panic!("{:?}", segments(&home)) };
    fs::remove_file(with_records).unwrap();
    let tablet = reopen(&home).await.unwrap();
    assert_eq!(count(&tablet, "field_entry").await, 9);
    assert!(doctor(&tablet).await.open);
    sync(&tablet, &crew.address).await;
    for collection in ["well", "field_entry"] {
        assert_eq!(export(&tablet, collection).await, export(&crew.lead, collection).await);
    }
    tablet.history("Alder 1").await.unwrap();
    // Nobody has to accept what is here again.
    for _ in 0..2 {
        let report = doctor(&tablet).await;
        assert!(!report.open, "{report:#?}");
    }
    let status = tablet.status().await.unwrap();
    assert!(status.damage.is_empty() && status.state != "damaged", "{status:#?}");
    tablet.shutdown().await.unwrap();
    let tablet = reopen(&home).await.unwrap();
    assert!(tablet.status().await.unwrap().damage.is_empty());
    tablet.shutdown().await.unwrap();
    crew.lead.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_folder_that_is_gone_takes_no_record_along() {
    let (crew, tablet) = crew().await;
    let home = crew.home("tablet");
    // Sealed and sent nowhere: only the view knows of it.
    let shown = entry(&tablet, "Alder 1", "2026-03-03T08:00:00Z").await;
    tablet.show(&shown.id.to_string()).await.unwrap();
    tablet.shutdown().await.unwrap();
    fs::remove_dir_all(home.join("store/log")).unwrap();
    let tablet = reopen(&home).await.unwrap();
    assert_eq!(count(&tablet, "field_entry").await, 10, "what the view shows is kept");
    let report = doctor(&tablet).await;
    assert!(report.open && find(&report, "lacking-batches").open, "{report:#?}");
    sync(&tablet, &crew.address).await;
    assert_eq!(count(&tablet, "field_entry").await, 10);
    tablet.history("Alder 1").await.unwrap();
    entry(&tablet, "Alder 1", "2026-03-04T08:00:00Z").await;
    sync(&tablet, &crew.address).await;
    assert_eq!(count(&crew.lead, "field_entry").await, 10);
    tablet.shutdown().await.unwrap();
    let tablet = reopen(&home).await.unwrap();
    assert_eq!(count(&tablet, "field_entry").await, 11);
    tablet.shutdown().await.unwrap();
    crew.lead.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_only_this_device_had_is_told_with_what_was_shown_of_it() {
    let (crew, tablet) = crew().await;
    let home = crew.home("tablet");
    tablet.shutdown().await.unwrap();
    let tablet = reopen(&home).await.unwrap();
    let lost = entry(&tablet, "Alder 1", "2026-03-03T08:00:00Z").await;
    // Nobody has looked at it: what closes the home makes it known by what it says.
    tablet.shutdown().await.unwrap();
    spoil(&segments(&home).pop().unwrap(), 150);
    let tablet = reopen(&home).await.unwrap();
    assert_eq!(tablet.show(&lost.id.to_string()).await.unwrap().fields, lost.fields);
    let report = doctor(&tablet).await;
    let told = find(&report, "lost-change").clone();
    assert!(report.open && told.open, "{report:#?}");
    assert!(told.what.contains("field_entry of Alder 1"), "{}", told.what);
    assert!(told.what.contains("oilVolume 10"), "{}", told.what);
    assert!(told.next.contains("fieldmesh record field_entry"), "{}", told.next);
    assert_eq!(told.record.unwrap().fields, lost.fields);
    // It is told until somebody has read it, also when the view is made again.
    tablet.shutdown().await.unwrap();
    fs::remove_dir_all(home.join("store/view")).unwrap();
    let tablet = reopen(&home).await.unwrap();
    let told = find(&doctor(&tablet).await, "lost-change").clone();
    assert_eq!(told.record.unwrap().fields, lost.fields);
    assert!(tablet.accept_losses().await.unwrap() > 0);
    let report = doctor(&tablet).await;
    assert!(!report.open && !find(&report, "lost-change").open, "{report:#?}");
    // And can then be recorded once more.
    entry(&tablet, "Alder 1", "2026-03-03T08:00:00Z").await;
    assert_eq!(count(&tablet, "field_entry").await, 10);
    tablet.shutdown().await.unwrap();
    crew.lead.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_went_with_the_end_of_the_log_is_told_until_its_loss_is_accepted() {
    let (crew, tablet) = crew().await;
    let home = crew.home("tablet");
    tablet.shutdown().await.unwrap();
    let tablet = reopen(&home).await.unwrap();
    entry(&tablet, "Alder 1", "2026-03-03T08:00:00Z").await;
    tablet.shutdown().await.unwrap();
    let last = segments(&home).pop().unwrap();
    let mut bytes = fs::read(&last).unwrap();
    let near_the_end = bytes.len() - 60;
    bytes[near_the_end] ^= 1;
    fs::write(&last, bytes).unwrap();
    fs::remove_dir_all(home.join("store/view")).unwrap();
    let tablet = reopen(&home).await.unwrap();
    assert_eq!(count(&tablet, "field_entry").await, 9, "nothing shows the record any more");
    for _ in 0..2 {
        let report = doctor(&tablet).await;
        assert!(report.open && find(&report, "damage").open, "{report:#?}");
        assert_eq!(tablet.status().await.unwrap().state, "damaged");
        assert!(!tablet.verify().await.unwrap().clean);
    }
    tablet.accept_losses().await.unwrap();
    assert!(!doctor(&tablet).await.open && tablet.verify().await.unwrap().clean);
    tablet.shutdown().await.unwrap();
    crew.lead.shutdown().await.unwrap();
}

/// A tablet with three edits of one record that were sent to nobody, each in a segment of its own,
/// of which the first is damaged.
async fn damaged_first_edit(home: &Path, view: View) -> (Node, String) {
    let tablet = reopen(home).await.unwrap();
    let id = entry(&tablet, "Alder 1", "2026-03-03T08:00:00Z").await.id.to_string();
    tablet.shutdown().await.unwrap();
    for assignment in ["oilVolume=778", "gasVolume=5", "waterVolume=6"] {
        let tablet = reopen(home).await.unwrap();
        let assignments = vec![assignment.to_owned()];
        let edits = Edits { assignments, ..Edits::default() };
        tablet.edit(&id, edits).await.unwrap();
        tablet.shutdown().await.unwrap();
    }
    let segments = segments(home);
    spoil(&segments[segments.len() - 3], 150);
    if view == View::Lost {
        fs::remove_dir_all(home.join("store/view")).unwrap();
    }
    (reopen(home).await.unwrap(), id)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum View {
    Kept,
    Lost,
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_lost_with_the_view_is_told_by_the_first_command_that_is_asked() {
    for asks_status in [false, true] {
        let (crew, tablet) = crew().await;
        let home = crew.home("tablet");
        tablet.shutdown().await.unwrap();
        let (tablet, _) = damaged_first_edit(&home, View::Lost).await;
        if asks_status {
            let status = tablet.status().await.unwrap();
            assert!(!status.damage.is_empty() && status.state == "damaged", "{status:#?}");
        } else {
            let report = doctor(&tablet).await;
            assert!(report.open, "{report:#?}");
            let meets_itself = |it: &Finding| it.next.contains("Meet tablet");
            assert!(!report.findings.iter().any(meets_itself), "{report:#?}");
        }
        tablet.shutdown().await.unwrap();
        crew.lead.shutdown().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_of_a_view_that_was_made_over_damage_say_that_they_may_come_short() {
    let (crew, tablet) = crew().await;
    let home = crew.home("tablet");
    entry(&tablet, "Alder 1", "2026-03-01T09:00:00Z").await;
    assert!(tablet.warnings().await.unwrap().is_empty());
    tablet.shutdown().await.unwrap();
    fs::remove_dir_all(home.join("store/view")).unwrap();
    spoil_all(&home);
    let tablet = reopen(&home).await.unwrap();
    assert!(!tablet.verify().await.unwrap().clean);
    let warnings = tablet.warnings().await.unwrap();
    assert!(warnings.iter().any(|it| it.contains("records may be missing here")), "{warnings:?}");
    let told = find(&doctor(&tablet).await, "unknown-entries").clone();
    assert!(told.next.contains("whether records of yours are missing"), "{}", told.next);
    tablet.accept_losses().await.unwrap();
    assert!(tablet.warnings().await.unwrap().is_empty());
    tablet.shutdown().await.unwrap();
    crew.lead.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_nobody_else_has_is_told_as_lost_and_can_be_recorded_once_more() {
    let (crew, tablet) = crew().await;
    let home = crew.home("tablet");
    tablet.shutdown().await.unwrap();
    let tablet = reopen(&home).await.unwrap();
    entry(&tablet, "Alder 1", "2026-03-03T08:00:00Z").await;
    entry(&tablet, "Alder 1", "2026-03-03T09:00:00Z").await;
    let file = crew.home("x.bk");
    tablet.backup(BackupOptions { file, since: None }, |_| {}).await.unwrap();
    tablet.shutdown().await.unwrap();
    let sealed = segments(&home).pop().unwrap();
    let tablet = reopen(&home).await.unwrap();
    entry(&tablet, "Alder 1", "2026-03-04T08:00:00Z").await;
    tablet.shutdown().await.unwrap();
    spoil(&sealed, 150);
    let tablet = reopen(&home).await.unwrap();
    assert!(!tablet.verify().await.unwrap().clean);
    sync(&tablet, &crew.address).await;
    let report = doctor(&tablet).await;
    assert!(report.open, "{report:#?}");
    let promises = |it: &Finding| it.next.contains("whoever was in step");
    assert!(!report.findings.iter().any(promises), "{report:#?}");
    let told = find(&report, "lost-batch").clone();
    assert!(told.open && told.what.contains("oilVolume 10"), "{}", told.what);
    assert!(told.next.contains("fieldmesh record field_entry"), "{}", told.next);

    assert!(tablet.accept_losses().await.unwrap() > 0);
    let report = doctor(&tablet).await;
    assert!(!report.open, "{report:#?}");
    for hour in ["08", "09"] {
        entry(&tablet, "Alder 1", &format!("2026-03-03T{hour}:00:00Z")).await;
    }
    sync(&tablet, &crew.address).await;
    assert_whole(&tablet, &crew.lead).await;
    assert_eq!(count(&crew.lead, "field_entry").await, 12);
    tablet.shutdown().await.unwrap();
    // What was given up is not taken for held by the next run.
    let tablet = reopen(&home).await.unwrap();
    sync(&tablet, &crew.address).await;
    assert_whole(&tablet, &crew.lead).await;
    tablet.shutdown().await.unwrap();
    crew.lead.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn edits_behind_a_batch_that_was_given_up_are_told() {
    let (crew, tablet) = crew().await;
    let home = crew.home("tablet");
    tablet.shutdown().await.unwrap();
    let tablet = reopen(&home).await.unwrap();
    let id = entry(&tablet, "Alder 1", "2026-03-03T08:00:00Z").await.id;
    let file = crew.home("x.bk");
    tablet.backup(BackupOptions { file, since: None }, |_| {}).await.unwrap();
    tablet.shutdown().await.unwrap();
    let sealed = segments(&home).pop().unwrap();
    let tablet = reopen(&home).await.unwrap();
    let assignments = vec!["oilVolume=99".to_owned()];
    tablet.edit(&id.to_string(), Edits { assignments, ..Edits::default() }).await.unwrap();
    tablet.shutdown().await.unwrap();
    spoil(&sealed, 150);
    let tablet = reopen(&home).await.unwrap();
    assert!(!tablet.verify().await.unwrap().clean);
    let told = find(&doctor(&tablet).await, "lost-batch").clone();
    assert!(told.next.contains("fieldmesh record field_entry"), "{}", told.next);

    assert!(tablet.accept_losses().await.unwrap() > 0);
    let report = doctor(&tablet).await;
    let told = find(&report, "stranded-changes");
    assert!(report.open && told.open, "{report:#?}");
    assert!(told.what.contains("data.oilVolume 99"), "{}", told.what);
    assert!(tablet.accept_losses().await.unwrap() > 0);
    let report = doctor(&tablet).await;
    assert!(!report.open, "{report:#?}");
    // The office hears that the tablet does not have it either, and does not forget that.
    let at_tablet = listen(&tablet).await;
    sync(&crew.lead, &at_tablet).await;
    let at_office = crew.home("office");
    crew.lead.shutdown().await.unwrap();
    let office = Node::builder(&at_office).passphrase("one").open().await.unwrap();
    let report = doctor(&office).await;
    let told = find(&report, "lost-elsewhere");
    assert!(!told.open && told.what.contains("1 change by tablet waits"), "{told:#?}");
    assert!(report.findings.iter().all(|it| it.kind != "waiting-changes"), "{report:#?}");
    tablet.shutdown().await.unwrap();
    office.shutdown().await.unwrap();
}

/// What is said of the two edits behind the damaged one, and that nothing calls them safe.
async fn assert_stranded(crew: &Crew, tablet: &Node, id: &str) {
    sync(tablet, &crew.address).await;
    let report = doctor(tablet).await;
    let told = find(&report, "stranded-changes");
    assert!(report.open && told.open, "{report:#?}");
    assert!(told.what.contains("field_entry of Alder 1"), "{}", told.what);
    assert!(told.what.contains("data.gasVolume 5, data.waterVolume 6: 2 changes wait"));
    let command = format!("fieldmesh edit {id} data.gasVolume=5 data.waterVolume=6");
    assert!(told.next.contains(&command), "{}", told.next);
    let faults = tablet.verify().await.unwrap().faults;
    assert!(faults.iter().any(|it| it.contains(id) && it.contains("2 changes wait")), "{faults:?}");
    assert_eq!(tablet.show(id).await.unwrap().safe, Some(Safety::Here));
    assert!(tablet.status().await.unwrap().places.here > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn edits_behind_one_that_was_lost_before_anything_was_read_of_it_are_told() {
    let (crew, tablet) = crew().await;
    let home = crew.home("tablet");
    tablet.shutdown().await.unwrap();
    let (tablet, id) = damaged_first_edit(&home, View::Lost).await;
    assert_stranded(&crew, &tablet, &id).await;
    // The office held the same as the tablet, which does not have what they build on either.
    let note = find(&doctor(&crew.lead).await, "lost-elsewhere").clone();
    assert!(!note.open && note.what.contains("2 changes by tablet wait"), "{}", note.what);

    let assignments = ["gasVolume=5", "waterVolume=6"].map(String::from).to_vec();
    tablet.edit(&id, Edits { assignments, ..Edits::default() }).await.unwrap();
    tablet.accept_losses().await.unwrap();
    let report = doctor(&tablet).await;
    let told = find(&report, "stranded-changes");
    assert!(!report.open && told.done.contains("given up on"), "{report:#?}");
    assert!(tablet.verify().await.unwrap().clean);
    sync(&tablet, &crew.address).await;
    assert_ne!(tablet.show(&id).await.unwrap().safe, Some(Safety::Here));
    // A view that is made again knows as much.
    tablet.shutdown().await.unwrap();
    fs::remove_dir_all(home.join("store/view")).unwrap();
    let tablet = reopen(&home).await.unwrap();
    let report = doctor(&tablet).await;
    assert!(!report.open && !find(&report, "stranded-changes").open, "{report:#?}");
    tablet.shutdown().await.unwrap();
    crew.lead.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn edits_behind_one_that_was_given_up_are_told() {
    let (crew, tablet) = crew().await;
    let home = crew.home("tablet");
    tablet.shutdown().await.unwrap();
    let (tablet, id) = damaged_first_edit(&home, View::Kept).await;
    let assignments = vec!["oilVolume=779".to_owned()];
    let edits = Edits { assignments, ..Edits::default() };
    let refused = tablet.edit(&id, edits).await.unwrap_err().to_string();
    assert!(refused.contains("`fieldmesh doctor`"), "{refused}");
    let told = find(&doctor(&tablet).await, "lost-change").clone();
    assert!(told.what.contains("oilVolume 778"), "{}", told.what);
    tablet.accept_losses().await.unwrap();
    assert_stranded(&crew, &tablet, &id).await;
    tablet.accept_losses().await.unwrap();
    assert!(!doctor(&tablet).await.open && tablet.verify().await.unwrap().clean);
    tablet.shutdown().await.unwrap();
    crew.lead.shutdown().await.unwrap();
}
