//! Collections of a tenant's own on real nodes: who may define one, what is refused, what every
//! device makes of it, and what is found by an index that came later.

use std::time::Duration;

use fieldmesh_model::Role;

use super::*;
use crate::api::{Edits, ExportQuery, ImportOptions, InviteOptions, ListQuery, NewRecord};
use crate::api::{SyncOptions, SyncResult};
use crate::{Node, TenantOptions};

mod anew;
mod apart;

const ROUND: &str = include_str!("../../../../../examples/pump_round.toml");

struct Crew {
    folder: tempfile::TempDir,
    office: Node,
    address: String,
}

impl Crew {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = TenantOptions { name: "Crew".into(), ..TenantOptions::default() };
        let builder = Node::builder(folder.path().join("office")).passphrase("one");
        let (office, _) = builder.create_tenant(options).await.unwrap();
        let address = office.listen(Some(([127, 0, 0, 1], 0).into())).await.unwrap().to_string();
        Self { folder, office, address }
    }

    async fn device(&self, name: &str, role: Role) -> Node {
        let valid = Duration::from_secs(600);
        let options = InviteOptions { role, user: None, valid, count: 1 };
        let invitation = self.office.invite(options).await.unwrap().remove(0).invitation;
        let builder = Node::builder(self.folder.path().join(name)).passphrase("one");
        builder.join(&invitation, Some(name.into())).await.unwrap().0
    }

    async fn sync(&self, node: &Node) {
        let with = vec![self.address.clone()];
        let options = SyncOptions { with, mdns: false, ..SyncOptions::default() };
        let report = node.sync(options, |_| {}).await.unwrap();
        assert_eq!(report.result, SyncResult::Ok, "{report:?}");
    }
}

fn asked(text: &str, step: SchemaStep) -> SchemaOptions {
    SchemaOptions { text: text.to_owned(), step, ..SchemaOptions::default() }
}

async fn apply(node: &Node, text: &str) -> Result<SchemaReport, Error> {
    node.schema(asked(text, SchemaStep::Apply)).await
}

fn round(tag: &str, minute: u32, more: &[&str]) -> NewRecord {
    let mut assignments =
        vec![format!("pumpTag={tag}"), format!("doneAt=2026-03-01T08:{minute:02}:00Z")];
    assignments.extend(more.iter().map(|text| (*text).to_owned()));
    NewRecord { collection: "pump_rounds".into(), assignments, ..NewRecord::default() }
}

async fn tags(node: &Node, filters: &[&str]) -> Vec<String> {
    let filters = filters.iter().map(|text| (*text).to_owned()).collect();
    let query = ListQuery { collection: "pump_round".into(), filters, ..ListQuery::default() };
    let records = node.list(query).await.unwrap();
    records.iter().map(|it| it.fields["pumpTag"].as_str().unwrap_or_default().into()).collect()
}

async fn states(node: &Node) -> Vec<(u32, SchemaState)> {
    let found = node.schemas(Some("pump_round".into())).await.unwrap();
    found.into_iter().map(|one| (one.version, one.state)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collection_of_the_crew_is_recorded_listed_imported_and_exported_everywhere() {
    let crew = Crew::new().await;
    let unknown = crew.office.record(round("P-1", 1, &[])).await.unwrap_err();
    assert!(matches!(unknown, Error::UnknownCollection { .. }), "{unknown}");
    let report = apply(&crew.office, ROUND).await.unwrap();
    assert!(report.applied && report.before.is_none() && report.fields == 10, "{report:?}");
    let bad = crew.office.record(round("P-1", 1, &["pressure=-1"])).await.unwrap_err();
    assert!(bad.to_string().contains("Pressure cannot be negative"), "{bad}");
    crew.office.record(round("P-1", 1, &["state=BROKEN", "greaseUsed=0.5"])).await.unwrap();
    let truck = crew.device("truck", Role::Operator).await;
    crew.sync(&truck).await;
    assert_eq!(tags(&truck, &[]).await, ["P-1"]);
    assert_eq!(tags(&truck, &["state=BROKEN"]).await, ["P-1"]);
    let refused = apply(&truck, &ROUND.replace("version = 1", "version = 2")).await.unwrap_err();
    assert!(matches!(refused, Error::NotAllowed { .. }), "{refused}");
    let id = truck.record(round("P-2", 2, &["state=STOPPED"])).await.unwrap().id.to_string();
    let assignments = vec!["greaseUsed=2".to_owned()];
    truck.edit(&id, Edits { assignments, ..Edits::default() }).await.unwrap();
    let rows = "pumpTag,doneAt,deviceId,state\nP-3,2026-03-01T09:00:00Z,t,RUNNING\n\
                P-4,2026-03-01T09:00:00Z,t,LOST\n";
    let options =
        ImportOptions { collection: Some("pump_round".into()), ..ImportOptions::default() };
    let imported = truck.import(Box::new(rows.as_bytes()), options, |_| {}).await.unwrap();
    assert_eq!((imported.imported, imported.refused), (1, 1));
    crew.sync(&truck).await;
    assert_eq!(tags(&crew.office, &[]).await, ["P-3", "P-2", "P-1"]);
    let grease = crew.office.show("P-2").await.unwrap().fields["greaseUsed"].as_f64();
    assert_eq!(grease, Some(2.0));
    let mut out = Vec::new();
    let list = ListQuery { collection: "pump_round".into(), ..ListQuery::default() };
    crew.office.ledger().export(&ExportQuery { list, ..ExportQuery::default() }, &mut out).unwrap();
    assert_eq!(out.iter().filter(|byte| **byte == b'\n').count(), 3);
    assert_eq!(crew.office.status().await.unwrap().records["pump_round"], 3);
    truck.shutdown().await.unwrap();
    crew.office.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_or_would_lose_something_is_told_and_nothing_is_applied() {
    let crew = Crew::new().await;
    let preview = crew.office.schema(asked(ROUND, SchemaStep::Preview)).await.unwrap();
    assert!(!preview.applied);
    assert!(crew.office.schemas(Some("pump_round".into())).await.is_err(), "it was a dry run");
    apply(&crew.office, ROUND).await.unwrap();
    assert!(apply(&crew.office, ROUND).await.unwrap().changes.is_empty());
    assert_eq!(states(&crew.office).await, [(1, SchemaState::InForce)], "once");
    let next = ROUND.replace("version = 1", "version = 2");
    let narrowed = next
        .replace("\"BROKEN\"]", "\"FIXED\"]")
        .replace("value = \"BROKEN\"", "value = \"FIXED\"");
    let gone = next
        .replace("key = \"nextRound\"", "key = \"another\"")
        .replace("\"nextRound\"", "\"another\"");
    for (text, place) in [
        (narrowed.as_str(), "line 48, field state, kind"),
        (&gone, "field nextRound"),
        (&ROUND.replace("Pump\"", "Pumps\""), "line 5, version"),
        (&ROUND.replace("version = 1", "version = 0"), "line 5, version"),
        (&ROUND.replace("pump_round", "wells"), "line 4, name"),
        (&ROUND.replace("kind = \"day\"", "kind = \"week\""), "line 75, field nextRound, kind"),
        (&"#".repeat(model::SCHEMA_SIZE_MAX + 1), "line 1"),
        (&format!("a = {}", "[".repeat(60_000)), "line 1"),
    ] {
        for step in [SchemaStep::Check, SchemaStep::Preview, SchemaStep::Apply] {
            let error = crew.office.schema(asked(text, step)).await.unwrap_err();
            let Error::Schema { faults } = &error else { panic!("{error}") };
            let places: Vec<&str> = faults.iter().map(|it| it.field.as_str()).collect();
            assert!(places.contains(&place), "{place}: {places:?}");
        }
    }
    assert_eq!(states(&crew.office).await, [(1, SchemaState::InForce)]);
    for index in 1..COLLECTIONS_MAX {
        let text = format!("name = \"list_{index}\"\n[[field]]\nkey = \"a\"\nkind = \"bool\"\n");
        apply(&crew.office, &text).await.unwrap();
    }
    let error = apply(&crew.office, "name = \"more\"\n[[field]]\nkey = \"a\"\nkind = \"bool\"\n");
    assert!(error.await.unwrap_err().to_string().contains("limit is 64"));
    assert!(apply(&crew.office, &next).await.unwrap().applied, "those that are there may grow");
    crew.office.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_recorded_before_is_found_by_an_index_that_came_later() {
    let crew = Crew::new().await;
    apply(&crew.office, ROUND).await.unwrap();
    for minute in 0..30 {
        let state = if minute == 7 { "state=BROKEN" } else { "state=RUNNING" };
        crew.office.record(round("P-1", minute, &[state])).await.unwrap();
    }
    let find = || {
        let filters = vec!["state=BROKEN".to_owned()];
        let query = ListQuery { collection: "pump_round".into(), filters, ..ListQuery::default() };
        let ledger = crew.office.ledger();
        ledger.settle().unwrap();
        let found = ledger.find(&ledger.plan(&query).unwrap(), None).unwrap();
        (found.records.len(), found.read)
    };
    assert_eq!(find(), (1, 30));
    let before = crew.office.history("P-1").await;
    assert!(before.is_err(), "thirty share the name");
    let indexed = ROUND
        .replace("version = 1", "version = 2")
        .replace("default = \"RUNNING\"", "default = \"RUNNING\"\nindexed = true");
    let report = apply(&crew.office, &indexed).await.unwrap();
    assert_eq!(report.changes, ["field state is found by an index"]);
    assert_eq!(find(), (1, 1));
    let dropped = indexed.replace("version = 2", "version = 3").replace("indexed = true\n", "");
    apply(&crew.office, &dropped).await.unwrap();
    assert_eq!(find(), (1, 30));
    crew.office.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_admins_who_change_one_collection_apart_end_with_one_and_see_the_other() {
    let crew = Crew::new().await;
    apply(&crew.office, ROUND).await.unwrap();
    let deputy = crew.device("deputy", Role::Admin).await;
    crew.sync(&deputy).await;
    let with = |key: &str| {
        let version = ROUND.replace("version = 1", "version = 2");
        format!("{version}\n[[field]]\nkey = \"{key}\"\nkind = \"text\"\n")
    };
    apply(&crew.office, &with("weather")).await.unwrap();
    apply(&deputy, &with("mood")).await.unwrap();
    crew.office.record(round("P-1", 1, &["weather=rain"])).await.unwrap();
    deputy.record(round("P-2", 2, &["mood=good"])).await.unwrap();
    crew.sync(&deputy).await;
    crew.sync(&deputy).await;
    let expected = [(2, SchemaState::InForce), (1, SchemaState::Replaced), (2, SchemaState::Apart)];
    for node in [&crew.office, &deputy] {
        assert_eq!(states(node).await, expected);
        let text = node.schemas(Some("pump_round".into())).await.unwrap()[0].text.clone();
        assert!(text.unwrap().contains("weather"), "the greater text");
        assert_eq!(node.show("P-1").await.unwrap().fields["weather"], "rain");
        assert_eq!(node.show("P-2").await.unwrap().fields["mood"], "good", "kept and shown");
    }
    deputy.shutdown().await.unwrap();
    crew.office.shutdown().await.unwrap();
}
