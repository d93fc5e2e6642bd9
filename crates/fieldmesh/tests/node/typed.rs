//! Records as Rust values, and changes of many at once.

use fieldmesh::api::{BulkEdit, Edits, ListQuery};
use fieldmesh::{Error, Stored};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Crew, Role, entry, sync, well};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Well {
    name: String,
    api_number: String,
    status: String,
    operator: Option<String>,
}

impl Stored for Well {
    const COLLECTION: &'static str = "well";
}

fn named(name: &str, api_number: &str) -> Well {
    let (name, api_number) = (name.to_owned(), api_number.to_owned());
    Well { name, api_number, status: "ACTIVE".into(), operator: None }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_type_does_not_know_survives_an_update_by_it() {
    let crew = Crew::new().await;
    let wells = crew.lead.collection_of::<Well>();
    let json = json!({
        "name": "Alder 1",
        "apiNumber": "42-227-30001",
        "status": "ACTIVE",
        "operator": "Cedar",
        "lease": "North",
    });
    crew.lead.collection("well").insert(json.as_object().unwrap()).await.unwrap();
    let before = wells.get("Alder 1").await.unwrap();
    assert_eq!(before.value.operator.as_deref(), Some("Cedar"));
    let changed = Well { operator: None, status: "INACTIVE".into(), ..before.value };
    let after = wells.update("Alder 1", &changed).await.unwrap();
    assert_eq!(after.value, changed);
    assert_eq!(after.record.fields["lease"], "North");
    assert!(!after.record.fields.contains_key("operator"), "what is None is cleared");
    let again = wells.update("Alder 1", &changed).await.unwrap();
    assert_eq!(
        again.record.updated_at, after.record.updated_at,
        "nothing differs, nothing written"
    );
    assert_eq!(wells.history("Alder 1").await.unwrap().len(), 2);
    crew.lead.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_wrong_way_to_ask_has_an_error_of_its_own() {
    let crew = Crew::new().await;
    let wells = crew.lead.collection_of::<Well>();
    let alder = wells.insert(&named("Alder 1", "42-227-30001")).await.unwrap();
    let id = alder.record.id.to_string();
    let entry = entry(&crew.lead, "Alder 1", "2026-03-01T08:00:00Z").await.id.to_string();
    assert!(matches!(wells.get("Birch 2").await, Err(Error::NotFound { .. })));
    assert!(matches!(wells.get(&entry).await, Err(Error::NotFound { .. })), "that is no well");
    let faults = wells.insert(&named("", "1")).await;
    assert!(matches!(faults, Err(Error::Invalid { faults }) if faults.len() == 2));
    let wrong = crew.lead.collection("pump").query().count().await;
    assert!(matches!(wrong, Err(Error::UnknownCollection { .. })));
    let wrong = wells.query().above("depht", 5).all().await;
    assert!(matches!(wrong, Err(Error::Condition { field, .. }) if field == "depht"));
    let wrong = wells.query().cursor("0102").page().await;
    assert!(matches!(wrong, Err(Error::Cursor { .. })));
    let wrong = wells.query().limit(5).subscribe().await;
    assert!(matches!(wrong, Err(Error::Usage { .. })));
    wells.delete(&id).await.unwrap();
    assert_eq!(wells.query().deleted().first().await.unwrap().unwrap().value.name, "Alder 1");
    assert!(!wells.restore(&id).await.unwrap().record.deleted);
    crew.lead.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_none_of_a_type_says_which_one_and_why() {
    #[derive(Debug, Serialize, Deserialize)]
    struct Drilled {
        drilled: String,
    }
    impl Stored for Drilled {
        const COLLECTION: &'static str = "well";
    }
    let crew = Crew::new().await;
    let id = well(&crew.lead, "Alder 1").await.id;
    let shape = crew.lead.collection_of::<Drilled>().get("Alder 1").await.unwrap_err();
    let text = shape.to_string();
    assert!(text.contains(&id.to_string()) && text.contains("drilled"), "{text}");
    crew.lead.shutdown().await.unwrap();
}

fn active(edits: &[&str], dry_run: bool) -> BulkEdit {
    let list = ListQuery {
        collection: "well".into(),
        filters: vec!["status=ACTIVE".into()],
        ..ListQuery::default()
    };
    let assignments = edits.iter().map(ToString::to_string).collect();
    BulkEdit {
        list,
        edits: Edits { assignments, ..Edits::default() },
        dry_run,
        ..BulkEdit::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_preview_shows_is_what_is_then_done() {
    let crew = Crew::new().await;
    for name in ["Alder 1", "Alder 22", "Alder 333"] {
        well(&crew.lead, name).await;
    }
    crew.lead
        .collection_of::<Well>()
        .modify("Alder 1", |it| it.operator = Some("Cedar".into()))
        .await
        .unwrap();
    let edits = &["operator=Cedar"];
    let preview = crew.lead.edit_all(active(edits, true)).await.unwrap();
    assert_eq!((preview.changed.len(), preview.unchanged, preview.written), (2, 1, false));
    let query = || crew.lead.collection_of::<Well>().query();
    assert_eq!(query().equals("operator", "Cedar").count().await.unwrap(), 1, "only shown");
    let done = crew.lead.edit_all(active(edits, false)).await.unwrap();
    assert_eq!((done.changed, done.written), (preview.changed, true));
    assert_eq!(query().equals("operator", "Cedar").count().await.unwrap(), 3);
    crew.lead.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn where_one_record_cannot_be_changed_none_is() {
    let crew = Crew::new().await;
    well(&crew.lead, "Alder 1").await;
    let truck = crew.device("truck", Role::Operator).await;
    sync(&truck, &crew.address).await;
    entry(&crew.lead, "Alder 1", "2026-03-01T08:00:00Z").await;
    sync(&truck, &crew.address).await;
    entry(&truck, "Alder 1", "2026-03-01T09:00:00Z").await;
    let list = ListQuery { collection: "field_entry".into(), ..ListQuery::default() };
    let edits = Edits { assignments: vec!["notes=checked".into()], ..Edits::default() };
    let bulk = BulkEdit { list, edits, ..BulkEdit::default() };
    let report = truck.edit_all(bulk).await.unwrap();
    assert_eq!((report.changed.len(), report.refused.len(), report.written), (1, 1, false));
    assert!(report.refused[0].reason.contains("author"), "{report:?}");
    let noted = truck.collection("field_entry").query().equals("notes", "checked");
    assert_eq!(noted.count().await.unwrap(), 0);
    well(&crew.lead, "Alder 22").await;
    let twice = crew.lead.edit_all(active(&["apiNumber=42-227-30009"], false)).await;
    assert!(matches!(twice, Err(Error::Invalid { .. })), "two wells would get one number");
    truck.shutdown().await.unwrap();
    crew.lead.shutdown().await.unwrap();
}
