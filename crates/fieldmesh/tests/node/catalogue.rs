//! The other catalogues on real nodes: what follows from other records, and what merges as a set.

use fieldmesh::api::Edits;
use serde_json::json;

use super::*;

fn values(fields: &[&str]) -> Vec<String> {
    fields.iter().copied().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_appointment_belongs_to_the_owner_of_its_pet() {
    let crew = Crew::new().await;
    let owner = ["name=Olga", "email=olga@example.org", "role=CLIENT"];
    let owner = record(&crew.lead, "user", &values(&owner)).await;
    let vet = ["name=Vera", "email=vera@example.org", "role=PRACTITIONER"];
    record(&crew.lead, "user", &values(&vet)).await;
    let pet = ["name=Rex", "species=dog", "ownerId=Olga", "practiceId=1"];
    record(&crew.lead, "pet", &values(&pet)).await;
    let appointment = [
        "title=Check",
        "type=checkup",
        "date=2026-12-01T09:00:00Z",
        "durationMinutes=30",
        "petId=Rex",
        "practitionerId=Vera",
        "practiceId=1",
    ];
    let made = record(&crew.lead, "appointment", &values(&appointment)).await;
    assert_eq!(made.fields["clientId"], json!(owner.id.to_string()));
    // What somebody else would be given is not dropped without a word.
    let client = ["date=2026-12-02T09:00:00Z", "clientId=Vera"];
    let assignments = values(&[&appointment[..], &client[..]].concat());
    let collection = "appointment".into();
    let new = NewRecord { collection, assignments, ..NewRecord::default() };
    let refused = crew.lead.record(new).await.unwrap_err();
    assert!(refused.to_string().contains("follows from another field"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_allergy_is_lost_that_two_devices_wrote_down_apart() {
    let crew = Crew::new().await;
    record(&crew.lead, "patient", &values(&["name=Ana"])).await;
    let clinic = crew.device("clinic", Role::Manager).await;
    sync(&clinic, &crew.address).await;
    for (node, allergy) in [(&crew.lead, "allergies+=penicillin"), (&clinic, "allergies+=nuts")] {
        let edits = Edits { assignments: values(&[allergy]), ..Edits::default() };
        node.edit("Ana", edits).await.unwrap();
    }
    sync(&clinic, &crew.address).await;
    for node in [&crew.lead, &clinic] {
        let shown = node.show("Ana").await.unwrap();
        assert_eq!(shown.fields["allergies"], json!(["nuts", "penicillin"]));
        assert_eq!(shown.conflicts, Vec::<String>::new());
    }
}
