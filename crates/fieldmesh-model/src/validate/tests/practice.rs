//! Appointments and pets: the client follows from the pet.

use super::*;
use crate::catalogue::practice::{APPOINTMENT, PET};

const REX: &str = "00000000-0000-8000-8000-000000000001";
const STRAY: &str = "00000000-0000-8000-8000-000000000002";
const ROY: &str = "00000000-0000-8000-8000-000000000003";
const OLGA: &str = "00000000-0000-8000-8000-000000000011";
const PAUL: &str = "00000000-0000-8000-8000-000000000012";
const VERA: &str = "00000000-0000-8000-8000-000000000021";

/// Olga owns Rex and Paul owns Roy; the stray has no owner; Vera is a vet of practice 1.
struct Practice;

impl References for Practice {
    fn exists(&self, collection: &str, id: &str) -> bool {
        match collection {
            "pet" => [REX, STRAY, ROY].contains(&id),
            "user" => [OLGA, PAUL, VERA].contains(&id),
            _ => false,
        }
    }

    fn value(&self, collection: &str, id: &str, key: &str) -> Option<Value> {
        Some(match (collection, id, key) {
            ("pet", REX, "ownerId") => OLGA.into(),
            ("pet", ROY, "ownerId") => PAUL.into(),
            ("user", VERA, "role") => "PRACTITIONER".into(),
            ("user", OLGA | PAUL, "role") => "CLIENT".into(),
            _ => return None,
        })
    }

    fn of_caller(&self, key: &str) -> Option<Value> {
        (key == "practiceIds").then(|| vec![1_i64].into())
    }
}

fn appointment() -> Fields {
    flatten(&json!({
        "title": "Annual check", "type": "checkup", "date": "2026-03-01T09:00:00Z",
        "durationMinutes": 30, "petId": REX, "practitionerId": VERA, "practiceId": 1,
    }))
    .unwrap()
}

fn pet() -> Fields {
    flatten(&json!({ "name": "Rex", "species": "dog", "ownerId": OLGA, "practiceId": 1 })).unwrap()
}

fn found(number: u16, fields: &Fields) -> Vec<(String, String)> {
    match validate(collection(number), fields, &Practice) {
        Ok(_) => Vec::new(),
        Err(faults) => faults.into_iter().map(|fault| (fault.field, fault.message)).collect(),
    }
}

#[test]
fn v_012_the_client_is_the_owner_of_the_pet() {
    let normal = validate(collection(APPOINTMENT), &appointment(), &Practice).unwrap();
    assert_eq!(normal["clientId"], OLGA.into());
}

#[test]
fn v_013_an_appointment_for_a_pet_that_does_not_exist_is_refused() {
    let fields = with(appointment(), "petId", OLGA);
    let expected = [("petId".to_owned(), "Pet not found".to_owned())];
    assert_eq!(found(APPOINTMENT, &fields), expected);
    let over = validate_stated(collection(APPOINTMENT), &fields, &Practice).unwrap_err();
    assert_eq!(over, [Fault::new("petId", "Pet not found")], "over the dialect as well");
}

#[test]
fn v_014_an_appointment_is_never_without_a_client() {
    let fields = with(appointment(), "petId", STRAY);
    let text = "Pet has no owner, so there is no client for the appointment";
    assert_eq!(found(APPOINTMENT, &fields)[0], ("clientId".to_owned(), text.to_owned()));
    assert!(validate_stated(collection(APPOINTMENT), &fields, &Practice).is_err());
    let merged = validate(collection(APPOINTMENT), &appointment(), &Practice).unwrap();
    assert_eq!(violations(collection(APPOINTMENT), &merged, &AnyReference), []);
    let mut without = merged;
    without.remove("clientId");
    let fault = Fault::new("clientId", "Client is required");
    assert_eq!(violations(collection(APPOINTMENT), &without, &AnyReference), [fault]);
}

#[test]
fn v_015_a_client_that_somebody_gives_is_not_used() {
    for given in [Value::from(PAUL), "nobody".into(), 5.into()] {
        let fields = with(appointment(), "clientId", given);
        let normal = validate(collection(APPOINTMENT), &fields, &Practice).unwrap();
        assert_eq!(normal["clientId"], OLGA.into());
    }
}

#[test]
fn a_client_stays_when_the_pet_moves_on_and_follows_when_the_pet_is_corrected() {
    let current = validate(collection(APPOINTMENT), &appointment(), &Practice).unwrap();
    let of_paul = with(current, "clientId", PAUL);
    let edit = |edits: &[Edit]| validate_edit(collection(APPOINTMENT), &of_paul, edits, &Practice);
    // Rex was Paul's when the appointment was made.
    assert_eq!(edit(&[Edit::set("title", "x")]), Ok(vec![Edit::set("title", "x")]));
    assert_eq!(
        edit(&[Edit::set("petId", ROY), Edit::set("title", "x")]).unwrap().len(),
        2,
        "Roy is Paul's too"
    );
    let current = with(of_paul.clone(), "petId", ROY);
    let corrected =
        validate_edit(collection(APPOINTMENT), &current, &[Edit::set("petId", REX)], &Practice);
    assert_eq!(corrected, Ok(vec![Edit::set("petId", REX), Edit::set("clientId", OLGA)]));
    let text = "Client follows from another field and cannot be set";
    assert_eq!(edit(&[Edit::set("clientId", OLGA)]), Err(vec![Fault::new("clientId", text)]));
    let over = [Edit::set("clientId", OLGA)];
    let over = validate_edit_stated(collection(APPOINTMENT), &of_paul, &over, &Practice).unwrap();
    assert_eq!(over.content, [Edit::set("clientId", PAUL)], "listed, and without effect");
    assert_eq!(over.violations.len(), 1);
}

#[test]
fn the_fields_of_an_appointment_have_their_rules() {
    for (key, bad, message) in [
        ("title", Value::from(" "), "Title must have 1 to 200 characters"),
        ("type", 5.into(), "Type must be text"),
        ("date", "soon".into(), "Date must be a time like 2026-03-01T08:30:00Z"),
        ("durationMinutes", 0.into(), "Duration must be between 1 and 1440"),
        ("durationMinutes", 1_441.into(), "Duration must be between 1 and 1440"),
        ("durationMinutes", Value::Float(30.5), "Duration must be a whole number"),
        ("practitionerId", REX.into(), "Practitioner not found"),
        ("practitionerId", OLGA.into(), "Practitioner cannot be a client"),
        ("practiceId", 2.into(), "Practice must be one of your own"),
    ] {
        let expected = [(key.to_owned(), message.to_owned())];
        assert_eq!(found(APPOINTMENT, &with(appointment(), key, bad)), expected);
    }
}

#[test]
fn the_fields_of_a_pet_have_their_rules() {
    assert_eq!(found(PET, &pet()), []);
    for (key, bad, message) in [
        ("name", Value::from(of_length(101)), "Name must have 1 to 100 characters"),
        ("weightKg", 0.into(), "Weight must be more than 0"),
        ("ownerId", VERA.into(), "Owner must be a client"),
        ("ownerId", REX.into(), "Owner not found"),
        ("birthDate", "spring".into(), "Birth date must be a date like 2026-03-01"),
    ] {
        let expected = [(key.to_owned(), message.to_owned())];
        assert_eq!(found(PET, &with(pet(), key, bad)), expected);
    }
    let mut ownerless = pet();
    ownerless.remove("ownerId");
    assert_eq!(found(PET, &ownerless), [("ownerId".to_owned(), "Owner is required".to_owned())]);
}

#[test]
fn what_the_source_does_not_state_is_listed_and_never_refused_over_its_dialect() {
    let mut fields = with(appointment(), "durationMinutes", 5_000);
    fields.insert("practitionerId".to_owned(), OLGA.into());
    fields.insert("practiceId".to_owned(), 9.into());
    fields.insert("title".to_owned(), of_length(300).into());
    fields.insert("colour".to_owned(), "red".into());
    let taken = validate_stated(collection(APPOINTMENT), &fields, &Practice).unwrap();
    let listed: Vec<_> = taken.violations.iter().map(|fault| fault.field.as_str()).collect();
    assert_eq!(listed, ["colour", "durationMinutes", "practiceId", "practitionerId", "title"]);
    assert_eq!(taken.content["durationMinutes"], 5_000.into());
    assert_eq!(taken.content["clientId"], OLGA.into());
    assert_eq!(found(APPOINTMENT, &fields).len(), 5, "a device refuses all of it");
    let stated = with(fields, "date", "soon");
    let faults = validate_stated(collection(APPOINTMENT), &stated, &Practice).unwrap_err();
    assert_eq!(faults.len(), 1, "{faults:?}");
}
