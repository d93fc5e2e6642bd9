//! Encounters and patients.

use super::*;
use crate::catalogue::health::{ENCOUNTER, PATIENT};

const ANA: &str = "00000000-0000-8000-8000-000000000031";

struct Village;

impl References for Village {
    fn exists(&self, collection: &str, id: &str) -> bool {
        matches!(collection, "patient" | "user") && id == ANA
    }
}

#[test]
fn an_encounter_is_of_a_patient() {
    let encounter = json!({
        "patientId": ANA, "diagnosis": "Common cold", "prescription": "Rest and fluids",
        "encounterAt": "2026-03-01T08:30:00Z", "practitionerId": ANA,
    });
    let fields = flatten(&encounter).unwrap();
    assert!(validate(collection(ENCOUNTER), &fields, &Village).is_ok());
    let other = with(fields, "patientId", WELL);
    let fault = Fault::new("patientId", "Patient not found");
    assert_eq!(validate(collection(ENCOUNTER), &other, &Village), Err(vec![fault]));
    // The source knows none of the other fields.
    let sparse = flatten(&json!({ "patientId": ANA })).unwrap();
    let taken = validate_stated(collection(ENCOUNTER), &sparse, &Village).unwrap();
    let listed: Vec<_> = taken.violations.iter().map(|fault| fault.message.as_str()).collect();
    assert_eq!(listed, ["Encounter at is required", "Practitioner is required"]);
}

#[test]
fn allergies_are_a_set() {
    let patient = json!({ "name": "Ana", "allergies": ["nuts", " milk ", "nuts"] });
    let fields = flatten(&patient).unwrap();
    let normal = validate(collection(PATIENT), &fields, &Village).unwrap();
    assert_eq!(normal["allergies"], vec!["milk", "nuts"].into());
    let add = |item: &str| Edit::Append { key: "allergies".to_owned(), item: item.into() };
    let edits = validate_edit(collection(PATIENT), &normal, &[add(" eggs ")], &Village);
    assert_eq!(edits, Ok(vec![add("eggs")]));
    let fields = with(fields, "allergies", "nuts");
    let fault = Fault::new("allergies", "Allergies must be a list");
    assert_eq!(validate(collection(PATIENT), &fields, &Village), Err(vec![fault]));
}
