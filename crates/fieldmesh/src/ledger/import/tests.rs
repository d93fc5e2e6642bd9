//! Rows against records that are there already.

use std::io::Cursor;

use serde_json::Value as Json;

use fieldmesh_model::{Fields, Role, Value};

use crate::api::{
    ExportFormat, ExportQuery, ImportOptions, ImportReport, InviteOptions, ListQuery, NewRecord,
    PurgeOptions, Record, SchemaOptions, SchemaStep, SyncOptions,
};
use crate::projection::alike::{LOOKED_AT_MAX, beside};
use crate::{Error, Node, TenantOptions};

const HEADER: &str = "name,apiNumber,status,operator\n";

struct Office {
    node: Node,
    _folder: tempfile::TempDir,
}

impl Office {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = TenantOptions { name: "Crew".into(), ..TenantOptions::default() };
        let builder = Node::builder(folder.path().join("home")).passphrase("one");
        let (node, _) = builder.create_tenant(options).await.unwrap();
        Self { node, _folder: folder }
    }

    async fn import(&self, rows: &str, more: ImportOptions) -> ImportReport {
        let file = Cursor::new(rows.to_owned());
        self.node.import(file, more, |_| {}).await.unwrap()
    }

    async fn wells(&self, rows: &str, more: ImportOptions) -> (u64, u64, u64, u64) {
        let options = ImportOptions { collection: Some("well".into()), ..more };
        let report = self.import(&format!("{HEADER}{rows}"), options).await;
        let ImportReport { imported, updated, unchanged, refused, .. } = report;
        assert_eq!(imported + updated + unchanged + refused, report.rows);
        (imported, updated, unchanged, refused)
    }

    async fn well(&self, number: &str) -> Record {
        self.node.show(number).await.unwrap()
    }
}

fn update() -> ImportOptions {
    ImportOptions { update: true, ..ImportOptions::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_corrected_file_edits_what_it_says_otherwise_and_nothing_else() {
    let office = Office::new().await;
    let first = "Alder 1,42-227-30001,ACTIVE,Acme\nAlder 2,42-227-30002,ACTIVE,Acme\n";
    assert_eq!(office.wells(first, update()).await, (2, 0, 0, 0));
    let crew = office.well("42-227-30001").await;
    let corrected = "Alder 1,42-227-30001,PLUGGED,\nAlder 2,42-227-30002,ACTIVE,Acme\n\
                     Alder 3,42-227-30003,ACTIVE,\n";
    // Without being asked to, an import replaces nothing that a crew may have written.
    assert_eq!(office.wells(corrected, ImportOptions::default()).await, (1, 0, 1, 1));
    assert_eq!(office.well("42-227-30001").await.fields, crew.fields);

    assert_eq!(office.wells(corrected, update()).await, (0, 1, 2, 0));
    let well = office.well("42-227-30001").await;
    assert_eq!((well.id, &well.fields["status"]), (crew.id, &Json::from("PLUGGED")));
    assert_eq!(well.fields["operator"], "Acme", "a blank says nothing");
    assert_eq!(office.node.history(&well.id.to_string()).await.unwrap().len(), 2);
    assert_eq!(office.wells(corrected, update()).await, (0, 0, 3, 0));
    office.node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_row_of_the_same_file_goes_before_an_earlier_one() {
    let office = Office::new().await;
    let rows = "Alder 1,42-227-30001,ACTIVE,Acme\nAlder 1,42-227-30001,PLUGGED,\n\
                Alder 1,42-227-30001,PLUGGED,Bell\n";
    let dry = ImportOptions { dry_run: true, ..update() };
    assert_eq!(office.wells(rows, dry).await, (1, 2, 0, 0));
    assert!(matches!(office.node.show("42-227-30001").await, Err(Error::NotFound { .. })));
    assert_eq!(office.wells(rows, update()).await, (1, 2, 0, 0));
    let well = office.well("42-227-30001").await;
    assert_eq!(
        (&well.fields["status"], &well.fields["operator"]),
        (&"PLUGGED".into(), &"Bell".into())
    );
    office.node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_corrected_list_of_what_others_recorded_makes_no_second_entries() {
    let office = Office::new().await;
    office.wells("Alder 1,42-227-30001,ACTIVE,Acme\n", update()).await;
    let address = office.node.listen(Some(([127, 0, 0, 1], 0).into())).await.unwrap();
    let valid = std::time::Duration::from_secs(600);
    let invite = InviteOptions { role: Role::Operator, user: None, valid, count: 1 };
    let invitation = office.node.invite(invite).await.unwrap().remove(0).invitation;
    let folder = tempfile::tempdir().unwrap();
    let builder = Node::builder(folder.path().join("truck")).passphrase("one");
    let (truck, _) = builder.join(&invitation, Some("truck".into())).await.unwrap();
    let sync =
        || SyncOptions { with: vec![address.to_string()], mdns: false, ..SyncOptions::default() };
    truck.sync(sync(), |_| {}).await.unwrap();
    let values = ["wellId=Alder 1", "entryType=PRODUCTION", "oilVolume=82.3"];
    let assignments = values.map(String::from).to_vec();
    let entry = NewRecord { collection: "field_entry".into(), assignments, ..NewRecord::default() };
    let entry = truck.record(entry).await.unwrap();
    truck.sync(sync(), |_| {}).await.unwrap();

    let of = |key: &str| entry.fields[key].as_str().unwrap().to_owned();
    let (well, at, device) = (of("wellId"), of("recordedAt"), of("deviceId"));
    let rows = format!(
        "wellId,entryType,recordedAt,deviceId,oilVolume\n{well},PRODUCTION,{at},{device},80\n"
    );
    let entries = || ImportOptions { collection: Some("field_entry".into()), ..update() };
    let report = office.import(&rows, entries()).await;
    assert_eq!((report.updated, report.imported), (1, 0), "{report:?}");
    let shown = office.node.show(&entry.id.to_string()).await.unwrap();
    assert_eq!(shown.fields["data"]["oilVolume"], 80);

    // A row that does not say on which device is about what is there.
    let rows = format!("wellId,entryType,recordedAt,oilVolume\n{well},PRODUCTION,{at},79\n");
    let plain = || ImportOptions { update: false, ..entries() };
    let report = office.import(&rows, plain()).await;
    assert_eq!((report.imported, report.refused), (0, 1), "{report:?}");
    let report = office.import(&rows, entries()).await;
    assert_eq!((report.updated, report.imported), (1, 0), "{report:?}");
    let other = format!(
        "wellId,entryType,recordedAt,deviceId,oilVolume\n{well},PRODUCTION,{at},tablet 3,5\n"
    );
    assert_eq!(office.import(&other, plain()).await.imported, 1, "it says that it is another one");
    for options in [plain(), entries()] {
        let report = office.import(&rows, options).await;
        assert_eq!((report.imported, report.updated, report.refused), (0, 0, 1), "{report:?}");
    }
    truck.shutdown().await.unwrap();
    office.node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_not_whole_edits_a_record_but_makes_none() {
    let office = Office::new().await;
    office.wells("Alder 1,42-227-30001,ACTIVE,Acme\n", update()).await;
    let options = ImportOptions { collection: Some("well".into()), ..update() };
    let rows = "apiNumber,operator\n42-227-30001,Bell\n42-227-30002,Bell\n";
    let report = office.import(rows, options).await;
    assert_eq!((report.updated, report.refused), (1, 1), "{report:?}");
    let well = office.well("42-227-30001").await;
    assert_eq!(
        (&well.fields["name"], &well.fields["operator"]),
        (&"Alder 1".into(), &"Bell".into())
    );
    office.node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_may_be_the_same_are_looked_at_however_many_there_are() {
    let office = Office::new().await;
    office.wells("Alder 1,42-227-30001,ACTIVE,Acme\n", update()).await;
    let well = office.well("42-227-30001").await.id;
    let at = "2026-02-01T08:00:00.000Z";
    let row = |tablet| format!("{well},INSPECTION,{at},tablet {tablet},true\n");
    let rows: String = (0..300).map(row).collect();
    let rows = format!("wellId,entryType,recordedAt,deviceId,leaksDetected\n{rows}");
    assert_eq!(office.take(&rows, "field_entry", ImportOptions::default()).await[0], 300);
    tokio::task::block_in_place(|| {
        let ledger = office.node.ledger();
        let schema = ledger.schema_named("field_entry").unwrap();
        let fields = Fields::from([
            ("wellId".to_owned(), Value::Text(well.to_string())),
            ("entryType".to_owned(), "INSPECTION".into()),
            ("recordedAt".to_owned(), Value::Moment(at.parse().unwrap())),
        ]);
        ledger.catch_up().unwrap();
        let found = |most| {
            let held = (&*ledger.store, ledger.view());
            beside(held, &schema, &fields, |_| true, most).unwrap().len()
        };
        assert_eq!((found(usize::MAX), found(LOOKED_AT_MAX)), (300, LOOKED_AT_MAX));
    });
    office.node.shutdown().await.unwrap();
}

impl Office {
    fn export(&self, collection: &str) -> String {
        let list = ListQuery { collection: collection.into(), ..ListQuery::default() };
        let query = ExportQuery { list, format: ExportFormat::Csv, ..ExportQuery::default() };
        let mut out = Vec::new();
        self.node.ledger().export(&query, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    /// Imported, updated, unchanged, refused.
    async fn take(&self, file: &str, collection: &str, more: ImportOptions) -> [u64; 4] {
        let options = ImportOptions { collection: Some(collection.into()), ..more };
        let ImportReport { imported, updated, unchanged, refused, .. } =
            self.import(file, options).await;
        [imported, updated, unchanged, refused]
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_was_exported_says_what_is_undecided_and_can_be_imported_again() {
    let office = Office::new().await;
    office.wells("Alder 1,42-227-30001,ACTIVE,Acme\n", update()).await;
    let well = office.well("42-227-30001").await.id;
    let at = "2026-02-01T08:00:00.000Z";
    let rows = format!(
        "wellId,entryType,recordedAt,deviceId,oilVolume\n\
         {well},PRODUCTION,{at},tablet 1,100\n{well},PRODUCTION,{at},tablet 2,101\n"
    );
    assert_eq!(office.take(&rows, "field_entry", ImportOptions::default()).await, [2, 0, 0, 0]);
    let list = ListQuery { collection: "field_entry".into(), ..ListQuery::default() };
    let shown = office.node.list(list).await.unwrap().remove(0);
    let table = office.export("field_entry");
    let mut lines = table.lines();
    let header = "id,createdBy,createdAt,updatedAt,device,_conflicts,_duplicates,";
    assert!(lines.next().unwrap().starts_with(header), "{table}");
    let line = lines.next().unwrap();
    assert!(line.contains(&format!(",{},{},", shown.conflicts[0], shown.duplicates[0])), "{line}");

    let plain = ImportOptions::default;
    assert_eq!(office.take(&table, "field_entry", plain()).await, [0, 0, 1, 0]);
    assert_eq!(office.take(&table, "field_entry", update()).await, [0, 0, 1, 0]);
    let volume = shown.fields["data"]["oilVolume"].to_string();
    let corrected = table.replacen(&format!(",{volume},"), ",99,", 1);
    assert_ne!(corrected, table);
    assert_eq!(office.take(&corrected, "field_entry", plain()).await, [0, 0, 0, 1]);
    assert_eq!(office.take(&corrected, "field_entry", update()).await, [0, 1, 0, 0]);
    let found = office.node.show(&shown.id.to_string()).await.unwrap();
    assert_eq!(found.fields["data"]["oilVolume"], 99);
    // What others have written since the export is not taken back by it.
    for options in [plain(), update()] {
        assert_eq!(office.take(&table, "field_entry", options).await, [0, 0, 0, 1]);
    }
    let found = office.node.show(&shown.id.to_string()).await.unwrap();
    assert_eq!(found.fields["data"]["oilVolume"], 99);

    // Nobody there has the record, so it is a new one.
    let other = Office::new().await;
    let wells = office.export("well");
    assert_eq!(other.take(&wells, "well", plain()).await, [1, 0, 0, 0]);
    assert_eq!(other.take(&wells, "well", plain()).await, [0, 0, 1, 0]);
    for office in [office, other] {
        office.node.shutdown().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_come_back_from_a_table_with_the_items_that_they_had() {
    let (office, other) = (Office::new().await, Office::new().await);
    office.wells("Alder 1,42-227-30001,ACTIVE,Acme\n", update()).await;
    let well = office.well("42-227-30001").await.id;
    let lists = [
        serde_json::json!(["tightened; checked", "oiled"]),
        serde_json::json!(["oiled", "greased"]),
        serde_json::json!([" rod \"A\"", "[seal]"]),
    ];
    for (minute, work) in lists.iter().enumerate() {
        let assignments = vec![
            format!("wellId={well}"),
            "entryType=MAINTENANCE".to_owned(),
            format!("recordedAt=2026-02-01T08:{minute:02}:00Z"),
            "deviceId=tablet 1".to_owned(),
            format!("workPerformed:={work}"),
        ];
        let collection = "field_entry".to_owned();
        let new = NewRecord { collection, assignments, ..NewRecord::default() };
        office.node.record(new).await.unwrap();
    }
    let table = office.export("field_entry");
    assert!(table.contains(",oiled; greased,"), "{table}");
    for options in [ImportOptions::default(), update()] {
        assert_eq!(office.take(&table, "field_entry", options).await, [0, 0, 3, 0]);
    }
    // An earlier version wrote it so; what it cannot say is no correction.
    let cell = "\"[\"\"tightened; checked\"\",\"\"oiled\"\"]\"";
    let earlier = table.replacen(cell, "tightened; checked; oiled", 1);
    assert_ne!(earlier, table);
    assert_eq!(office.take(&earlier, "field_entry", update()).await, [0, 0, 3, 0]);

    let wells = office.export("well");
    assert_eq!(other.take(&wells, "well", ImportOptions::default()).await, [1, 0, 0, 0]);
    let there = other.well("42-227-30001").await.id.to_string();
    let table = table.replace(&well.to_string(), &there);
    assert_eq!(other.take(&table, "field_entry", ImportOptions::default()).await, [3, 0, 0, 0]);
    let query = ListQuery { collection: "field_entry".into(), ..ListQuery::default() };
    let mut found = other.node.list(query).await.unwrap();
    found.sort_by(|a, b| a.fields["recordedAt"].as_str().cmp(&b.fields["recordedAt"].as_str()));
    let found: Vec<&Json> = found.iter().map(|it| &it.fields["data"]["workPerformed"]).collect();
    assert_eq!(found, lists.iter().collect::<Vec<_>>());
    for office in [office, other] {
        office.node.shutdown().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_brings_back_nothing_that_is_deleted_or_erased() {
    let office = Office::new().await;
    office.wells("Alder 1,42-227-30001,ACTIVE,Acme\n", update()).await;
    let well = office.well("42-227-30001").await.id;
    let table = office.export("well");
    let renamed = table.replace("42-227-30001", "42-227-30009");
    office.node.delete(&well.to_string()).await.unwrap();
    for (file, options) in [(&table, ImportOptions::default()), (&renamed, update())] {
        assert_eq!(office.take(file, "well", options).await, [0, 0, 0, 1]);
    }
    let records = vec![well.to_string()];
    let purge = PurgeOptions { records, reason: "asked for".into(), dry_run: false };
    office.node.purge(purge).await.unwrap();
    // Under another key it would be another record with the contents of this one.
    for (file, options) in [(&table, ImportOptions::default()), (&renamed, update())] {
        assert_eq!(office.take(file, "well", options).await, [0, 0, 0, 1]);
    }
    office.node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_lack_what_is_unique_are_not_taken_for_one_another() {
    let office = Office::new().await;
    let text = "name = \"valve\"\n[[field]]\nkey = \"tag\"\nkind = \"text\"\n\
                [[field]]\nkey = \"state\"\nkind = \"text\"\n\
                [[unique]]\nfields = [\"tag\"]\nmessage = \"Tag is in use\"\n";
    let schema = SchemaOptions {
        text: text.to_owned(),
        step: SchemaStep::Apply,
        ..SchemaOptions::default()
    };
    office.node.schema(schema).await.unwrap();
    let valves = || ImportOptions { collection: Some("valve".into()), ..update() };
    let report = office.import("tag,state\n,open\n,shut\nV-1,open\n", valves()).await;
    assert_eq!((report.imported, report.refused), (3, 0), "{report:?}");
    let report = office.import("tag,state\nV-1,shut\n", valves()).await;
    assert_eq!((report.updated, report.refused), (1, 0), "{report:?}");
    let query = ListQuery { collection: "valve".into(), ..ListQuery::default() };
    let states = office.node.list(query).await.unwrap();
    let count = |state: &str| states.iter().filter(|it| it.fields["state"] == state).count();
    assert_eq!((count("open"), count("shut")), (1, 2));
    office.node.shutdown().await.unwrap();
}
