//! Old records that a device lets go: only what a relay holds, whole months, and they come back.

use fieldmesh::api::{
    BackupOptions, Class, Edits, Evict, EvictOptions, EvictReport, RevokeOptions, SchemaOptions,
    SchemaStep, SyncOptions, SyncReport,
};
use fieldmesh::{Error, Node};
use fieldmesh_model::Role;

use super::{Crew, count, entry, export, listen, quarantine, record, reopen, sync, try_sync, well};

/// A collection of the crew's own whose records have a time.
const ROUND: &str = include_str!("../../../../examples/pump_round.toml");

async fn ask(node: &Node, evict: Evict, dry_run: bool) -> Result<EvictReport, Error> {
    node.evict(EvictOptions { evict, dry_run }, |_| {}).await
}

async fn let_go(node: &Node, month: &str) -> EvictReport {
    ask(node, Evict::Before { month: month.into() }, false).await.unwrap()
}

async fn want_back(node: &Node, month: &str) {
    ask(node, Evict::BackTo { month: month.into() }, false).await.unwrap();
}

async fn assert_clean(node: &Node) {
    let report = node.verify().await.unwrap();
    assert!(report.clean, "{report:?}");
    let told = node.doctor().await.unwrap();
    assert!(!told.open && told.findings.iter().all(|it| it.kind != "epochs"), "{told:?}");
    assert_eq!(node.warnings().await.unwrap(), Vec::<String>::new());
    assert_eq!(quarantine(node).await.len(), 0);
}

fn moved(report: &SyncReport) -> (u64, u64) {
    report.peers.iter().fold((0, 0), |sum, peer| (sum.0 + peer.received, sum.1 + peer.sent))
}

/// A crew with a relay: the lead has recorded three months, and the hand a part of the first.
struct Season {
    crew: Crew,
    relay: Node,
    /// Where the relay is.
    address: String,
    hand: Node,
}

impl Season {
    async fn new() -> Self {
        let crew = Crew::new().await;
        let relay = crew.device("relay", Role::Relay).await;
        let address = listen(&relay).await;
        let hand = crew.device("hand", Role::Operator).await;
        well(&crew.lead, "Alder 1").await;
        for at in ["2026-01-05", "2026-01-06", "2026-02-05", "2026-03-05"] {
            entry(&crew.lead, "Alder 1", &format!("{at}T08:00:00Z")).await;
        }
        sync(&crew.lead, &address).await;
        sync(&hand, &address).await;
        entry(&hand, "Alder 1", "2026-01-07T08:00:00Z").await;
        let season = Self { crew, relay, address, hand };
        season.meet().await;
        season
    }

    /// Both come into step with the relay, and know what it has signed for.
    async fn meet(&self) {
        for node in [&self.hand, &self.crew.lead, &self.hand] {
            sync(node, &self.address).await;
        }
    }

    async fn assert_equal(&self) {
        for collection in ["well", "field_entry"] {
            let theirs = export(&self.crew.lead, collection).await;
            assert_eq!(export(&self.hand, collection).await, theirs);
        }
        let roots =
            [&self.crew.lead, &self.hand].map(|node| async { node.status().await.unwrap().root });
        let [ours, theirs] = roots;
        assert_eq!(ours.await, theirs.await);
    }

    async fn reopen(&mut self) {
        self.hand.clone().shutdown().await.unwrap();
        self.hand = reopen(&self.crew.home("hand")).await.unwrap();
    }

    async fn end(self) {
        for node in [self.hand, self.relay, self.crew.lead] {
            node.shutdown().await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_relay_holds_goes_stays_gone_and_comes_back_as_it_was() {
    let mut season = Season::new().await;
    let list = fieldmesh::api::ListQuery {
        collection: "field_entry".into(),
        until: Some("2026-01-06T00:00:00Z".parse().unwrap()),
        ..fieldmesh::api::ListQuery::default()
    };
    let oldest = season.hand.list(list).await.unwrap().remove(0).id.to_string();
    let before = Evict::Before { month: "2026-03".into() };
    let looked = ask(&season.hand, before, true).await.unwrap();
    assert_eq!((looked.records, looked.held_back.len()), (4, 0), "{looked:?}");
    assert_eq!(count(&season.hand, "field_entry").await, 5, "only looked at");

    let report = let_go(&season.hand, "2026-03").await;
    assert_eq!((report.records, report.kept.since.as_deref()), (4, Some("2026-03")));
    assert_eq!(report.faults, Vec::<String>::new());
    for attempt in 0..3 {
        assert_eq!(count(&season.hand, "field_entry").await, 1);
        assert_eq!(count(&season.hand, "well").await, 1);
        assert_clean(&season.hand).await;
        let told = season.hand.show(&oldest).await.unwrap_err();
        assert_eq!(told.class(), Class::NotFound);
        let words = told.to_string();
        assert!(words.contains("let go") && words.contains("--back-to 2026-01"), "{words}");
        let report = try_sync(&season.hand, &season.address).await.unwrap();
        assert_eq!(moved(&report), (0, 0), "{report:?}");
        if attempt == 1 {
            // A view that is made anew from what is left of the log is the same.
            season.hand.clone().shutdown().await.unwrap();
            let home = season.crew.home("hand");
            std::fs::remove_dir_all(home.join("store").join("view")).unwrap();
            season.hand = reopen(&home).await.unwrap();
        } else {
            season.reopen().await;
        }
    }
    assert_eq!(count(&season.crew.lead, "field_entry").await, 5);
    assert_clean(&season.crew.lead).await;

    want_back(&season.hand, "2026-01").await;
    season.meet().await;
    season.assert_equal().await;
    assert_clean(&season.hand).await;
    assert!(season.hand.show(&oldest).await.is_ok());
    // The chains of both go on where they were.
    entry(&season.hand, "Alder 1", "2026-01-08T08:00:00Z").await;
    entry(&season.crew.lead, "Alder 1", "2026-01-09T08:00:00Z").await;
    season.meet().await;
    season.assert_equal().await;
    for node in [&season.hand, &season.crew.lead] {
        assert_clean(node).await;
        assert_eq!(node.status().await.unwrap().notes, Vec::<String>::new());
    }
    season.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_are_wanted_back_and_that_nobody_brings_are_missed() {
    let season = Season::new().await;
    assert_eq!(let_go(&season.hand, "2026-03").await.records, 4);
    assert_clean(&season.hand).await;
    want_back(&season.hand, "2026-02").await;
    let words = "1 record that was let go is wanted back and is not here";
    let status = season.hand.status().await.unwrap();
    assert!(status.notes.iter().any(|note| note.starts_with(words)), "{:?}", status.notes);
    let told = season.hand.doctor().await.unwrap();
    let missed = told.findings.iter().find(|it| it.kind == "wanted-back").unwrap();
    assert!(told.open && missed.open && missed.what.starts_with(words), "{told:#?}");
    let report = season.hand.verify().await.unwrap();
    assert!(!report.clean && report.let_go == 3, "{report:?}");
    assert!(report.faults.iter().any(|fault| fault.starts_with(words)), "{report:?}");
    season.meet().await;
    assert_clean(&season.hand).await;
    want_back(&season.hand, "2026-01").await;
    season.meet().await;
    season.assert_equal().await;
    assert_clean(&season.hand).await;
    season.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_rest_on_a_relay_that_was_put_back_from_an_older_copy_are_in_doubt() {
    let mut season = Season::new().await;
    let file = season.crew.home("older");
    let options = BackupOptions { file: file.clone(), since: None };
    season.relay.backup(options, |_| {}).await.unwrap();
    entry(&season.hand, "Alder 1", "2026-01-08T08:00:00Z").await;
    season.meet().await;
    assert_eq!(let_go(&season.hand, "2026-03").await.records, 5);
    assert_clean(&season.hand).await;
    season.relay.clone().shutdown().await.unwrap();
    let builder = || Node::builder(season.crew.home("relay-2")).passphrase("two").forward_only();
    builder().restore(vec![file], |_| {}).await.unwrap();
    season.relay = builder().open().await.unwrap();
    season.address = listen(&season.relay).await;

    sync(&season.hand, &season.address).await;
    sync(&season.hand, &season.address).await;
    let told = season.hand.doctor().await.unwrap();
    let doubted = told.findings.iter().find(|it| it.kind == "let-go-in-doubt").unwrap();
    assert!(told.open && doubted.open && doubted.what.starts_with("5 records"), "{told:#?}");
    assert!(!season.hand.verify().await.unwrap().clean);
    // It brings back what it has, and what it has lost is missed until another device is met.
    want_back(&season.hand, "2026-01").await;
    sync(&season.hand, &season.address).await;
    let told = season.hand.doctor().await.unwrap();
    let missed = told.findings.iter().find(|it| it.kind == "wanted-back").unwrap();
    assert!(missed.open && missed.what.starts_with("1 record that was let go"), "{told:#?}");
    season.meet().await;
    season.assert_equal().await;
    assert!(!season.hand.doctor().await.unwrap().open);
    assert!(season.hand.verify().await.unwrap().clean);
    season.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_is_freed_however_small_the_parts_of_the_log_are_it_lies_in() {
    let mut season = Season::new().await;
    for half in 0..2 {
        season.reopen().await;
        for day in 10..20 {
            let at = format!("2026-02-{day}T08:{half}0:00Z");
            entry(&season.hand, "Alder 1", &at).await;
        }
        season.meet().await;
    }
    season.reopen().await;
    let report = let_go(&season.hand, "2026-03").await;
    assert_eq!((report.records, report.faults.len()), (24, 0), "{report:?}");
    // All of it is less than what a part of the log must have to be worth it by itself.
    assert!(report.log_after + 1_024 < report.log_before, "{report:?}");
    // Nothing of it is left to free.
    let again = season.hand.compact(|_| {}).await.unwrap();
    assert_eq!((again.dropped, again.log_after), (0, again.log_before), "{again:?}");
    assert_clean(&season.hand).await;
    want_back(&season.hand, "2026-01").await;
    season.meet().await;
    season.assert_equal().await;
    season.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_that_no_relay_has_keeps_its_month_and_all_later_ones() {
    let season = Season::new().await;
    let list = fieldmesh::api::ListQuery {
        collection: "field_entry".into(),
        until: Some("2026-03-01T00:00:00Z".parse().unwrap()),
        ..fieldmesh::api::ListQuery::default()
    };
    let february = season.crew.lead.list(list).await.unwrap().remove(0);
    let notes = Edits { assignments: vec!["notes=seen again".into()], ..Edits::default() };
    season.crew.lead.edit(&february.id.to_string(), notes).await.unwrap();
    let report = let_go(&season.crew.lead, "2026-04").await;
    assert_eq!((report.records, report.kept.since.as_deref()), (3, Some("2026-02")));
    let reasons: Vec<&str> = report.held_back.iter().map(|held| held.reason.as_str()).collect();
    assert_eq!(reasons, ["1 record of 2026-02 is not safe yet: `fieldmesh list --unsafe`"]);
    assert_eq!(count(&season.crew.lead, "field_entry").await, 2);
    season.meet().await;
    let report = let_go(&season.crew.lead, "2026-04").await;
    assert_eq!((report.records, report.held_back.len()), (2, 0), "{report:?}");
    season.meet().await;
    assert_eq!(count(&season.hand, "field_entry").await, 5);
    want_back(&season.crew.lead, "2026-01").await;
    season.meet().await;
    season.assert_equal().await;
    season.end().await;
}

async fn define(node: &Node, text: String) {
    let options = SchemaOptions { text, step: SchemaStep::Apply, ..SchemaOptions::default() };
    node.schema(options).await.unwrap();
}

async fn round(node: &Node, collection: &str, at: &str) {
    let fields = ["pumpTag=P-1".to_owned(), format!("doneAt={at}")];
    record(node, collection, &fields).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_of_the_crews_own_stay_and_travel_while_entries_of_their_month_go() {
    let mut season = Season::new().await;
    define(&season.crew.lead, ROUND.into()).await;
    season.meet().await;
    round(&season.crew.lead, "pump_round", "2026-01-05T08:00:00Z").await;
    season.meet().await;
    let report = let_go(&season.hand, "2026-03").await;
    assert_eq!((report.records, report.kept.since.as_deref()), (4, Some("2026-03")), "{report:?}");
    assert_eq!(report.held_back.len(), 0, "{report:?}");
    assert_eq!(count(&season.hand, "pump_round").await, 1);

    // What is older than what this device holds of entries goes both ways.
    round(&season.crew.lead, "pump_round", "2026-01-06T08:00:00Z").await;
    round(&season.hand, "pump_round", "2026-01-07T08:00:00Z").await;
    season.meet().await;
    for reopened in [false, true] {
        if reopened {
            season.reopen().await;
            round(&season.hand, "pump_round", "2026-01-08T08:00:00Z").await;
            season.meet().await;
        }
        for node in [&season.hand, &season.crew.lead] {
            assert_eq!(count(node, "pump_round").await, 3 + u64::from(reopened));
        }
        assert_eq!(season.hand.status().await.unwrap().not_sent, 0);
    }
    // So does what is defined later, once this device has heard of it.
    define(&season.crew.lead, ROUND.replace("\"pump_round\"", "\"tank_round\"")).await;
    round(&season.crew.lead, "tank_round", "2026-01-09T08:00:00Z").await;
    season.meet().await;
    season.meet().await;
    assert_eq!(count(&season.hand, "tank_round").await, 1);
    assert_eq!(count(&season.hand, "field_entry").await, 1);
    assert_clean(&season.hand).await;
    want_back(&season.hand, "2026-01").await;
    season.meet().await;
    season.assert_equal().await;
    season.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_goes_that_only_other_devices_hold() {
    let crew = Crew::new().await;
    let hand = crew.device("hand", Role::Operator).await;
    well(&crew.lead, "Alder 1").await;
    entry(&crew.lead, "Alder 1", "2026-01-05T08:00:00Z").await;
    for node in [&hand, &crew.lead] {
        let with =
            SyncOptions { with: vec![crew.address.clone()], mdns: false, ..SyncOptions::default() };
        drop(node.sync(with, |_| {}).await);
    }
    // Each of two devices could rely on the other.
    for node in [&hand, &crew.lead] {
        let report = let_go(node, "2026-03").await;
        assert_eq!((report.records, report.kept.since), (0, None));
        assert!(report.held_back[0].reason.contains("the crew has none"), "{:?}", report.held_back);
        assert_eq!(count(node, "field_entry").await, 1);
    }
    hand.shutdown().await.unwrap();
    crew.lead.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_comes_late_is_recorded_travels_and_is_not_made_twice() {
    let season = Season::new().await;
    let_go(&season.hand, "2026-03").await;
    entry(&season.hand, "Alder 1", "2026-01-20T08:00:00Z").await;
    season.meet().await;
    assert_eq!(count(&season.crew.lead, "field_entry").await, 6);
    assert_eq!(season.hand.status().await.unwrap().not_sent, 0);
    let again = fieldmesh::api::NewRecord {
        collection: "field_entry".into(),
        assignments: [
            "wellId=Alder 1",
            "entryType=PRODUCTION",
            "recordedAt=2026-01-07T08:00:00Z",
            "oilVolume=11",
        ]
        .map(String::from)
        .to_vec(),
        ..fieldmesh::api::NewRecord::default()
    };
    let refused = season.hand.record(again).await.unwrap_err();
    assert!(refused.to_string().contains("let go"), "{refused}");
    want_back(&season.hand, "2026-01").await;
    season.meet().await;
    season.assert_equal().await;
    season.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_is_revoked_keeps_its_work_that_the_admin_let_go() {
    let season = Season::new().await;
    let report = let_go(&season.crew.lead, "2026-03").await;
    assert_eq!(report.records, 4);
    let revocation = RevokeOptions { reason: "sold".into(), wipe: false };
    season.crew.lead.revoke("hand", revocation).await.unwrap();
    sync(&season.crew.lead, &season.address).await;
    let third = season.crew.device("third", Role::Operator).await;
    sync(&third, &season.address).await;
    assert_eq!(count(&third, "field_entry").await, 5);
    assert_eq!(quarantine(&third).await.len(), 0);
    third.shutdown().await.unwrap();
    season.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_lets_nothing_go() {
    let season = Season::new().await;
    let refused = ask(&season.relay, Evict::KeepMonths { months: 1 }, false).await.unwrap_err();
    assert_eq!(refused.class(), Class::Refused, "{refused}");
    for wrong in ["", "2026", "march", "2026-13", "2026-01-01-01"] {
        let evict = Evict::Before { month: wrong.into() };
        let refused = ask(&season.hand, evict, false).await.unwrap_err();
        assert_eq!(refused.class(), Class::Usage, "{wrong:?}: {refused}");
    }
    season.end().await;
}
