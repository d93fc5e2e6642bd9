//! Revoking a device, adopting what it did, and the end of its home.

use fieldmesh::Node;
use fieldmesh::api::{Class, ConflictQuery, ConflictReport, ListQuery, RevokeOptions, Verdict};
use fieldmesh_model::Role;

use super::{Crew, count, entry, export, listen, quarantine, reopen, sync, try_sync, well};

fn reason(text: &str) -> RevokeOptions {
    RevokeOptions { reason: text.into(), wipe: false }
}

/// The truck recorded two entries; the office knows the first, a second tablet both.
struct Scene {
    crew: Crew,
    truck: Node,
    tablet: Node,
}

async fn scene() -> Scene {
    let crew = Crew::new().await;
    well(&crew.lead, "Alder 1").await;
    let truck = crew.device("truck", Role::Operator).await;
    let tablet = crew.device("tablet", Role::Operator).await;
    let address = listen(&tablet).await;
    sync(&truck, &crew.address).await;
    entry(&truck, "Alder 1", "2026-03-01T08:00:00Z").await;
    sync(&truck, &crew.address).await;
    sync(&tablet, &crew.address).await;
    entry(&truck, "Alder 1", "2026-03-01T09:00:00Z").await;
    sync(&truck, &address).await;
    assert_eq!(count(&tablet, "field_entry").await, 2);
    Scene { crew, truck, tablet }
}

#[tokio::test(flavor = "multi_thread")]
async fn honest_work_of_a_revoked_device_is_kept_listed_and_can_be_adopted() {
    let Scene { crew, truck, tablet } = scene().await;
    let revoked = crew.lead.revoke("truck", reason("stolen in Odessa")).await.unwrap();
    assert_eq!((revoked.name.as_str(), revoked.kept), ("truck", 1));
    assert_eq!(count(&crew.lead, "field_entry").await, 1, "what was known goes on counting");

    sync(&tablet, &crew.address).await;
    assert_eq!(count(&tablet, "field_entry").await, 1, "what was not known does not count");
    let listed = quarantine(&tablet).await;
    assert_eq!(listed.len(), 1, "{listed:#?}");
    assert_eq!(listed[0].name, "field_entry of Alder 1", "{listed:#?}");
    let batch = listed[0].batch.as_ref().unwrap();
    assert_eq!((batch.device_name.as_deref(), batch.changes), (Some("truck"), 1));
    assert!(listed[0].reason.as_ref().unwrap().contains("stolen in Odessa"), "{listed:#?}");
    assert!(batch.advice.contains("devices adopt"), "{listed:#?}");
    assert_eq!(export(&tablet, "field_entry").await, export(&crew.lead, "field_entry").await);

    // An operator may not adopt; the admin may, once the batch has come to the office.
    let refused = tablet.adopt("truck", Vec::new()).await.unwrap_err();
    assert_eq!(refused.problem().class, Class::Refused, "{refused}");
    while quarantine(&crew.lead).await.is_empty() {
        sync(&tablet, &crew.address).await;
    }
    let adopted = crew.lead.adopt("truck", vec![batch.batch.short()]).await.unwrap();
    assert_eq!((adopted.batches, adopted.left), (1, 0));
    sync(&tablet, &crew.address).await;
    for node in [&crew.lead, &tablet] {
        assert_eq!(count(node, "field_entry").await, 2);
        assert!(quarantine(node).await.is_empty());
        assert!(node.verify().await.unwrap().clean);
    }
    assert_eq!(export(&tablet, "field_entry").await, export(&crew.lead, "field_entry").await);
    truck.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_looks_for_what_was_adopted_still_finds_it_and_who_adopted_it() {
    let Scene { crew, truck, tablet } = scene().await;
    let entries = ListQuery { collection: "field_entry".into(), ..ListQuery::default() };
    let before = tablet.list(entries).await.unwrap();
    let late = before.iter().max_by_key(|record| record.created_at).unwrap().id.to_string();
    crew.lead.revoke("truck", reason("stolen")).await.unwrap();
    while quarantine(&crew.lead).await.is_empty() {
        sync(&tablet, &crew.address).await;
    }
    let item = quarantine(&crew.lead).await.remove(0).id;
    assert_eq!(closed(&tablet).await.len(), 1, "what counted before was not adopted");
    let adopted = crew.lead.decide(&item, Verdict::Adopt).await.unwrap();
    let advice = adopted.batch.as_ref().map(|batch| batch.advice.as_str());
    assert_eq!((adopted.open, advice), (false, Some("")), "{adopted:#?}");
    sync(&tablet, &crew.address).await;
    for node in [&crew.lead, &tablet] {
        let shown = node.conflict(&item).await.unwrap();
        assert!(!shown.open, "{shown:#?}");
        assert_eq!(shown.adopted_by.as_deref(), Some("the tenant's authority"), "{shown:#?}");
        assert_eq!(closed(node).await, [shown]);
        assert_eq!(quarantine(node).await, []);
        let again = node.decide(&item, Verdict::Adopt).await.unwrap_err();
        assert!(again.to_string().contains("adopted by the tenant's authority"), "{again}");
        let history = node.history(&late).await.unwrap();
        let by = history.iter().map(|it| it.adopted_by.as_deref());
        assert_eq!(by.collect::<Vec<_>>(), [Some("the tenant's authority")], "{history:#?}");
    }
    for node in [truck, tablet, crew.lead] {
        node.shutdown().await.unwrap();
    }
}

async fn closed(node: &Node) -> Vec<ConflictReport> {
    let kind = Some("quarantine".into());
    let query = ConflictQuery { kind, closed: true, ..ConflictQuery::default() };
    node.conflicts(query).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_count_is_still_known_after_a_restart() {
    let Scene { crew, truck, tablet } = scene().await;
    crew.lead.revoke("truck", reason("")).await.unwrap();
    sync(&tablet, &crew.address).await;
    tablet.shutdown().await.unwrap();
    let tablet = reopen(&crew.home("tablet")).await.unwrap();
    assert_eq!(count(&tablet, "field_entry").await, 1);
    assert_eq!(quarantine(&tablet).await.len(), 1);
    tablet.shutdown().await.unwrap();
    // The view can always be made again from the log.
    std::fs::remove_dir_all(crew.home("tablet").join("store").join("view")).unwrap();
    let tablet = reopen(&crew.home("tablet")).await.unwrap();
    assert_eq!(count(&tablet, "field_entry").await, 1);
    assert_eq!(quarantine(&tablet).await.len(), 1);
    tablet.shutdown().await.unwrap();
    truck.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_shuts_out_a_device_of_somebody_else_without_the_right() {
    let crew = Crew::new().await;
    let phone = crew.device_of("phone", Role::Operator, Some("ana@example.org")).await;
    let spare = crew.device_of("spare", Role::Operator, Some("ana@example.org")).await;
    let truck = crew.device("truck", Role::Operator).await;
    for node in [&phone, &spare, &truck] {
        sync(node, &crew.address).await;
    }
    sync(&truck, &crew.address).await;
    let refused = truck.revoke("phone", reason("")).await.unwrap_err();
    assert_eq!(refused.problem().class, Class::Refused, "{refused}");
    let refused = truck.revoke("truck", reason("")).await.unwrap_err();
    assert_eq!(refused.problem().class, Class::Usage, "{refused}");
    let refused = truck.revoke("nobody", reason("")).await.unwrap_err();
    assert_eq!(refused.problem().class, Class::NotFound, "{refused}");

    // Her own device she may, with no network at all.
    sync(&phone, &crew.address).await;
    phone.revoke("spare", reason("lost")).await.unwrap();
    let devices = phone.devices().await.unwrap();
    let spare_listed = devices.iter().find(|device| device.name == "spare").unwrap();
    assert_eq!(spare_listed.revoked.as_ref().unwrap().reason, "lost");
    sync(&phone, &crew.address).await;
    let listed = crew.lead.devices().await.unwrap();
    assert!(listed.iter().any(|device| device.name == "spare" && device.revoked.is_some()));
    for node in [phone, spare, truck] {
        node.shutdown().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stolen_device_keeps_nothing_once_it_meets_the_crew() {
    let Scene { crew, truck, tablet } = scene().await;
    let options = RevokeOptions { reason: "stolen".into(), wipe: true };
    assert!(crew.lead.revoke("truck", options).await.unwrap().wipe);
    // Whether the meeting fails or not, the device learns of it.
    let _ = try_sync(&truck, &crew.address).await;
    let reason =
        tokio::time::timeout(super::Duration::from_secs(20), truck.erased()).await.unwrap();
    assert!(reason.contains("stolen"), "{reason}");
    let refused = truck.show("Alder 1").await.unwrap_err();
    assert_eq!(refused.problem().class, Class::Refused, "{refused}");
    truck.shutdown().await.unwrap();
    let home = crew.home("truck");
    for file in ["profile", "identity", "store"] {
        assert!(!home.join(file).exists(), "{file} is still there");
    }
    let refused = reopen(&home).await.err().unwrap();
    assert!(refused.to_string().contains("revoked (stolen)"), "{refused}");

    // The person goes on with a new invitation, in the same folder.
    let again = crew.device("truck", Role::Operator).await;
    sync(&again, &crew.address).await;
    assert_eq!(count(&again, "field_entry").await, 1);
    again.shutdown().await.unwrap();
    tablet.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_device_is_told_instead_of_recording_into_the_void() {
    let Scene { crew, truck, tablet } = scene().await;
    crew.lead.revoke("truck", reason("left the crew")).await.unwrap();
    let report = try_sync(&truck, &crew.address).await.unwrap();
    let told = report.notes.join("\n");
    assert!(told.contains("this device was revoked (left the crew)"), "{report:?}");
    assert_eq!(truck.status().await.unwrap().state, "revoked");
    let new = fieldmesh::api::NewRecord {
        collection: "field_entry".into(),
        assignments: ["wellId=Alder 1", "entryType=PRODUCTION", "oilVolume=1"]
            .map(Into::into)
            .into(),
        ..fieldmesh::api::NewRecord::default()
    };
    let refused = truck.record(new).await.unwrap_err();
    assert!(refused.to_string().contains("left the crew"), "{refused}");
    truck.shutdown().await.unwrap();
    tablet.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_only_syncs_reads_who_shut_the_device_out_and_what_to_do() {
    let Scene { crew, truck, tablet } = scene().await;
    crew.lead.revoke("truck", reason("left the crew")).await.unwrap();
    // The second pass begins with a policy that says so already.
    for _ in 0..2 {
        let report = try_sync(&truck, &crew.address).await.unwrap();
        assert!(report.revoked, "{report:?}");
        let told = report.notes.join("\n");
        let parts = ["(left the crew)", "by the tenant's authority", "learned of it at 2"];
        for part in parts.into_iter().chain(["a new invitation"]) {
            assert!(told.contains(part), "{part}: {report:?}");
        }
        let error = report.peers[0].error.clone().unwrap_or_default();
        assert!(!error.contains("fault"), "{report:?}");
    }
    let notes = truck.status().await.unwrap().notes.join("\n");
    assert!(notes.contains("by the tenant's authority"), "{notes}");
    let devices = crew.lead.devices().await.unwrap();
    let gone = devices.iter().find(|device| device.name == "truck").unwrap();
    let by = gone.revoked.as_ref().unwrap().by.clone();
    assert_eq!(by.as_deref(), Some("the tenant's authority"));
    truck.shutdown().await.unwrap();
    tablet.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_cannot_revoke_is_told_who_can_and_what_is_wrong_with_the_reason() {
    let crew = Crew::new().await;
    let second = crew.device_of("second", Role::Admin, Some("ana@example.org")).await;
    sync(&second, &crew.address).await;
    let refused = second.revoke("office", reason("")).await.unwrap_err();
    assert_eq!(refused.problem().class, Class::Refused, "{refused}");
    for part in ["office is an admin's device", "the tenant's authority may"] {
        assert!(refused.to_string().contains(part), "{refused}");
    }
    let refused = crew.lead.revoke("second", reason(&"x".repeat(201))).await.unwrap_err();
    assert_eq!(refused.problem().class, Class::Usage, "{refused}");
    assert!(refused.to_string().contains("201 characters, at most 200"), "{refused}");
    let refused = crew.lead.revoke("second", reason("one\ntwo")).await.unwrap_err();
    assert!(refused.to_string().contains("line break"), "{refused}");
    let devices = second.devices().await.unwrap();
    let founders: Vec<_> = devices.iter().filter(|device| device.founder).collect();
    assert!(founders.len() == 1 && founders[0].name == "office", "{devices:?}");
    second.shutdown().await.unwrap();
}
