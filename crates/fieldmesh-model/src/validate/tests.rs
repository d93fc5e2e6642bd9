//! Every rule of the wells catalogue, as a table: a record that is good but for one thing.

use super::*;
use crate::Moment;
use crate::catalogue::{self, wells};
use crate::input::flatten;
use serde_json::json;

mod assets;
mod events;
mod fields;
mod health;
mod practice;

const WELL: &str = "67e55044-10b1-426f-9247-bb680e5fe0c8";

struct OneWell;

impl References for OneWell {
    fn exists(&self, collection: &str, id: &str) -> bool {
        collection == "well" && id == WELL
    }

    fn is_taken(&self, _collection: &str, _fields: &[String], values: &[&Value]) -> bool {
        values == [&Value::from("42-227-30001")]
    }
}

fn collection(number: u16) -> &'static Collection {
    catalogue::numbered(number).unwrap()
}

fn entry(kind: &str) -> Fields {
    let data = match kind {
        "PRODUCTION" => json!({ "oilVolume": 82.3 }),
        "INSPECTION" => json!({ "equipmentStatus": "OPERATIONAL" }),
        _ => json!({ "maintenanceType": "PREVENTIVE" }),
    };
    flatten(&json!({
        "wellId": WELL, "entryType": kind, "recordedAt": "2026-03-01T08:30:00Z",
        "deviceId": "tablet 3", "data": data,
    }))
    .unwrap()
}

fn with(mut fields: Fields, key: &str, value: impl Into<Value>) -> Fields {
    fields.insert(key.to_owned(), value.into());
    fields
}

fn faults(number: u16, fields: &Fields) -> Vec<(String, String)> {
    match validate(collection(number), fields, &OneWell) {
        Ok(_) => Vec::new(),
        Err(faults) => faults.into_iter().map(|fault| (fault.field, fault.message)).collect(),
    }
}

#[track_caller]
fn assert_fault(number: u16, fields: &Fields, key: &str, message: &str) {
    assert_eq!(faults(number, fields), [(key.to_owned(), message.to_owned())]);
}

fn of_length(length: usize) -> String {
    "é".repeat(length)
}

#[test]
fn numbers_of_a_production_entry_have_their_ranges_and_messages() {
    for (key, bad, message) in [
        ("oilVolume", -0.1, "Oil volume cannot be negative"),
        ("gasVolume", -1.0, "Gas volume cannot be negative"),
        ("waterVolume", -1.0, "Water volume cannot be negative"),
        ("tubingPressure", -1.0, "Tubing pressure cannot be negative"),
        ("casingPressure", -1.0, "Casing pressure cannot be negative"),
        ("chokeSize", -1.0, "Choke size cannot be negative"),
        ("runtime", -1.0, "Runtime must be between 0 and 24 hours"),
        ("runtime", 24.1, "Runtime must be between 0 and 24 hours"),
    ] {
        let key = format!("data.{key}");
        assert_fault(3, &with(entry("PRODUCTION"), &key, bad), &key, message);
        for good in [0.0, 24.0] {
            assert_eq!(faults(3, &with(entry("PRODUCTION"), &key, good)), []);
        }
    }
    let key = "data.oilVolume";
    let message = "Oil volume must be a number";
    for bad in [Value::Float(f64::NAN), Value::Float(f64::INFINITY), "5".into(), true.into()] {
        assert_fault(3, &with(entry("PRODUCTION"), key, bad), key, message);
    }
}

#[test]
fn the_other_entries_have_their_words_numbers_and_dates() {
    let inspection = || entry("INSPECTION");
    let maintenance = || entry("MAINTENANCE");
    for (fields, key, bad, message) in [
        (
            inspection(),
            "equipmentStatus",
            Value::from("BROKEN"),
            "Equipment status must be OPERATIONAL, DEGRADED or FAILED",
        ),
        (inspection(), "leaksDetected", "yes".into(), "Leaks detected must be true or false"),
        (inspection(), "safetyHazards", 1.into(), "Safety hazards must be true or false"),
        (
            inspection(),
            "visualCondition",
            "BAD".into(),
            "Visual condition must be EXCELLENT, GOOD, FAIR or POOR",
        ),
        (
            inspection(),
            "inspectionType",
            "SAFETY".into(),
            "Inspection type must be ROUTINE, DETAILED or EMERGENCY",
        ),
        (
            inspection(),
            "nextInspectionDate",
            "2026-02-28".into(),
            "Next inspection date cannot be before the inspection",
        ),
        (
            inspection(),
            "nextInspectionDate",
            "soon".into(),
            "Next inspection date must be a date like 2026-03-01",
        ),
        (
            inspection(),
            "correctiveActions",
            vec!["x"; 101].into(),
            "Corrective actions can have at most 100 items",
        ),
        (
            maintenance(),
            "maintenanceType",
            "ROUTINE".into(),
            "Maintenance type must be PREVENTIVE, CORRECTIVE or EMERGENCY",
        ),
        (
            maintenance(),
            "workPerformed",
            vec![of_length(1_001)].into(),
            "Work performed must have 1 to 1000 characters",
        ),
        (maintenance(), "partsReplaced", "seal".into(), "Parts replaced must be a list"),
        (maintenance(), "downtime", (-1).into(), "Downtime cannot be negative"),
        (maintenance(), "cost", Value::Float(-0.01), "Cost cannot be negative"),
        (maintenance(), "vendorName", "  ".into(), "Vendor name must have 1 to 200 characters"),
        (
            maintenance(),
            "nextMaintenanceDate",
            "2026-02-28T23:59:59Z".into(),
            "Next maintenance date cannot be before the maintenance",
        ),
    ] {
        let key = format!("data.{key}");
        assert_fault(3, &with(fields, &key, bad), &key, message);
    }
    for date in ["2026-03-01", "2026-03-01T00:00:00Z", "2027-01-01T09:00:00+02:00"] {
        assert_eq!(faults(3, &with(inspection(), "data.nextInspectionDate", date)), [], "{date}");
    }
}

#[test]
fn the_common_fields_of_an_entry_have_their_rules() {
    let entry = || entry("PRODUCTION");
    let other_well = "67e55044-10b1-426f-9247-bb680e5fe0c9";
    for (key, bad, message) in [
        ("wellId", Value::from(other_well), "Well not found"),
        ("wellId", "north 7".into(), "Well not found"),
        ("recordedAt", "yesterday".into(), "Recorded at must be a time like 2026-03-01T08:30:00Z"),
        ("recordedAt", 5.into(), "Recorded at must be a time like 2026-03-01T08:30:00Z"),
        ("deviceId", of_length(129).into(), "Device must have 1 to 128 characters"),
        ("notes", of_length(10_001).into(), "Notes can have at most 10000 characters"),
        ("notes", "a\0b".into(), "Notes cannot contain NUL characters"),
        ("notes", 5.into(), "Notes must be text"),
        ("photos", vec!["/upload/1"; 51].into(), "Photos can have at most 50 items"),
        ("photos", vec!["ftp://host/1"].into(), "Photos must be http(s) URLs or /upload/ paths"),
        ("priority", "HIGH".into(), "Priority must be CRITICAL or NORMAL"),
        ("recorded", 1.into(), "Unknown field \"recorded\", did you mean recordedAt?"),
        ("oilVolum", 1.into(), "Unknown field \"oilVolum\", did you mean oilVolume?"),
        ("barometer", 1.into(), "Unknown field \"barometer\""),
    ] {
        assert_fault(3, &with(entry(), key, bad), key, message);
    }
    for (key, message) in [
        ("wellId", "Well is required"),
        ("entryType", "Entry type must be PRODUCTION, INSPECTION or MAINTENANCE"),
        ("recordedAt", "Recorded at is required"),
        ("deviceId", "Device is required"),
    ] {
        let mut fields = entry();
        fields.remove(key);
        assert_fault(3, &fields, key, message);
    }
    let bad_type = with(entry(), "entryType", "LUNCH");
    let message = "Entry type must be PRODUCTION, INSPECTION or MAINTENANCE";
    assert_fault(3, &bad_type, "entryType", message);
    assert_eq!(faults(3, &with(entry(), "notes", of_length(10_000))), []);
    let photos = vec!["/upload/1", "https://example.com/a.jpg"];
    assert_eq!(faults(3, &with(entry(), "photos", photos)), []);
}

#[test]
fn coordinates_are_given_together_and_within_their_range() {
    let together = "Latitude and longitude must be given together";
    for number in [wells::FIELD_ENTRY, wells::WELL] {
        let base = if number == wells::WELL { well() } else { entry("PRODUCTION") };
        let at = |latitude: f64, longitude: f64| {
            with(with(base.clone(), "latitude", latitude), "longitude", longitude)
        };
        assert_eq!(faults(number, &at(-90.0, 180.0)), []);
        let message = "Latitude must be between -90 and 90";
        assert_fault(number, &at(90.1, 0.0), "latitude", message);
        let message = "Longitude must be between -180 and 180";
        assert_fault(number, &at(0.0, -180.1), "longitude", message);
        assert_fault(number, &with(base.clone(), "latitude", 1.0), "longitude", together);
        assert_fault(number, &with(base.clone(), "longitude", 1.0), "latitude", together);
    }
}

fn well() -> Fields {
    flatten(&json!({ "name": "North 7", "apiNumber": "42-227-30002", "status": "ACTIVE" })).unwrap()
}

#[test]
fn wells_and_users_have_their_rules() {
    for (key, bad, message) in [
        ("name", Value::from(" "), "Name must have 1 to 200 characters"),
        ("name", of_length(201).into(), "Name must have 1 to 200 characters"),
        ("apiNumber", "42-227-3000".into(), "API number must look like 42-227-30001"),
        ("apiNumber", "42-227-30001-1".into(), "API number must look like 42-227-30001"),
        ("apiNumber", "42-227-30001".into(), "API number is already in use"),
        ("status", "OPEN".into(), "Status must be ACTIVE, INACTIVE or PLUGGED"),
        ("lease", of_length(201).into(), "Lease can have at most 200 characters"),
        ("field", of_length(201).into(), "Field can have at most 200 characters"),
        ("operator", of_length(201).into(), "Operator can have at most 200 characters"),
    ] {
        assert_fault(wells::WELL, &with(well(), key, bad), key, message);
    }
    for good in ["42-227-30002-00", "42-227-30002-00-01"] {
        assert_eq!(faults(wells::WELL, &with(well(), "apiNumber", good)), []);
    }
    let ann = json!({ "email": "Ann@Example.com", "name": "Ann", "role": "OPERATOR" });
    let ann = flatten(&ann).unwrap();
    let normal = validate(collection(wells::USER), &ann, &OneWell).unwrap();
    assert_eq!(normal["email"], "ann@example.com".into());
    let bad_email = "Email must be an address like ann@example.com";
    for email in ["ann", "a@b@c", "@b.c", "a b@c.d"] {
        assert_fault(wells::USER, &with(ann.clone(), "email", email), "email", bad_email);
    }
    let roles = "Role must be OPERATOR, MANAGER, ADMIN, CLIENT, PRACTITIONER, HEALTH_WORKER or \
                 MEMBER";
    assert_fault(wells::USER, &with(ann.clone(), "role", "BOSS"), "role", roles);
    let ids = "Practice ids must be a list of whole numbers";
    let floats = Value::List(vec![Value::Float(1.5)]);
    assert_fault(wells::USER, &with(ann, "practiceIds", floats), "practiceIds", ids);
}

#[test]
fn all_faults_are_reported_at_once() {
    let mut fields = entry("PRODUCTION");
    fields.remove("deviceId");
    fields.insert("data.oilVolume".to_owned(), (-5).into());
    fields.insert("data.leaksDetected".to_owned(), true.into());
    fields.insert("latitude".to_owned(), 100.into());
    fields.insert("moon".to_owned(), "full".into());
    let expected = [
        ("data.leaksDetected", "leaksDetected is not allowed for PRODUCTION entries"),
        ("data.oilVolume", "Oil volume cannot be negative"),
        ("deviceId", "Device is required"),
        ("latitude", "Latitude must be between -90 and 90"),
        ("longitude", "Latitude and longitude must be given together"),
        ("moon", "Unknown field \"moon\""),
    ];
    let expected = expected.map(|(key, message)| (key.to_owned(), message.to_owned()));
    assert_eq!(faults(3, &fields), expected);
}

#[test]
fn data_keeps_unknown_keys_and_refuses_those_of_another_type() {
    let fields = with(entry("INSPECTION"), "data.paint", "peeling");
    let normal = validate(collection(3), &fields, &OneWell).unwrap();
    assert_eq!(normal["data.paint"], "peeling".into());
    let message = "oilVolume is not allowed for INSPECTION entries";
    let mixed = with(entry("INSPECTION"), "data.oilVolume", 1);
    assert_fault(3, &mixed, "data.oilVolume", message);
    let mut only_unknown = fields;
    only_unknown.remove("data.equipmentStatus");
    assert_fault(3, &only_unknown, "data", "Data must have at least one known field");
    let large = with(entry("INSPECTION"), "data.paint", of_length(10_001));
    assert_fault(3, &large, "data.paint", "data.paint can have at most 10000 characters");
}

#[test]
fn a_record_has_a_largest_size() {
    let mut fields = entry("INSPECTION");
    for number in 0..30 {
        fields.insert(format!("data.field{number}"), "x".repeat(10_000).into());
    }
    assert_fault(3, &fields, "", "Record is larger than 256 KiB");
}

#[test]
fn the_normal_form_is_the_same_for_all_ways_to_write_it() {
    let fields = flatten(&json!({
        "wellId": WELL.to_uppercase(), "entryType": "MAINTENANCE", "deviceId": " tablet 3 ",
        "recordedAt": "2026-03-01T09:30:00.0009+01:00", "notes": " kept as it is ",
        "data": { "downtime": 24.0, "cost": 10.126, "vendorName": " Smith ", "workPerformed": [] },
        "photos": null,
    }))
    .unwrap();
    let normal = validate(collection(3), &fields, &OneWell).unwrap();
    let recorded_at: Moment = "2026-03-01T08:30:00Z".parse().unwrap();
    let expected = Fields::from([
        ("wellId".to_owned(), WELL.into()),
        ("entryType".to_owned(), "MAINTENANCE".into()),
        ("deviceId".to_owned(), "tablet 3".into()),
        ("recordedAt".to_owned(), recorded_at.into()),
        ("notes".to_owned(), " kept as it is ".into()),
        ("data.downtime".to_owned(), Value::Int(24)),
        ("data.cost".to_owned(), Value::Float(10.13)),
        ("data.vendorName".to_owned(), "Smith".into()),
        ("priority".to_owned(), "NORMAL".into()),
    ]);
    assert_eq!(normal, expected);
    assert_eq!(validate(collection(3), &normal, &OneWell), Ok(expected));
}

#[test]
fn what_endangers_people_is_critical() {
    for (kind, key, value) in [
        ("INSPECTION", "equipmentStatus", Value::from("FAILED")),
        ("INSPECTION", "safetyHazards", true.into()),
        ("INSPECTION", "leaksDetected", true.into()),
        ("INSPECTION", "inspectionType", "EMERGENCY".into()),
        ("MAINTENANCE", "maintenanceType", "EMERGENCY".into()),
    ] {
        let fields = with(entry(kind), &format!("data.{key}"), value);
        let fields = with(fields, "priority", "NORMAL");
        let normal = validate(collection(3), &fields, &OneWell).unwrap();
        assert_eq!(normal["priority"], "CRITICAL".into(), "{key}");
        assert!(collection(3).is_critical(&normal), "{key}");
    }
    let calm = with(entry("INSPECTION"), "data.leaksDetected", false);
    let normal = validate(collection(3), &calm, &OneWell).unwrap();
    assert_eq!(normal["priority"], "NORMAL".into());
    assert!(!collection(3).is_critical(&normal));
}

fn edit(current: &Fields, edits: &[Edit]) -> Result<Vec<Edit>, Vec<Fault>> {
    validate_edit(collection(3), current, edits, &OneWell)
}

#[test]
fn an_edit_is_brought_into_normal_form() {
    let current = validate(collection(3), &entry("INSPECTION"), &OneWell).unwrap();
    let edits = [
        Edit::set("data.equipmentStatus", "FAILED"),
        Edit::set("data.nextInspectionDate", "2026-04-01"),
        Edit::set("data.correctiveActions", Vec::<Value>::new()),
        Edit::clear("notes"),
        Edit::set("wellId", WELL.to_uppercase()),
    ];
    let april: Moment = "2026-04-01T00:00:00Z".parse().unwrap();
    let expected = vec![
        Edit::set("data.equipmentStatus", "FAILED"),
        Edit::set("data.nextInspectionDate", april),
        Edit::clear("data.correctiveActions"),
        Edit::clear("notes"),
        Edit::set("wellId", WELL),
        Edit::set("priority", "CRITICAL"),
    ];
    assert_eq!(edit(&current, &edits), Ok(expected));
}

#[test]
fn an_edit_cannot_break_what_was_good() {
    let current = validate(collection(3), &entry("PRODUCTION"), &OneWell).unwrap();
    for (edits, key, message) in [
        (
            vec![Edit::set("entryType", "INSPECTION"), Edit::clear("data.oilVolume")],
            "data",
            "Data must have at least one known field",
        ),
        (vec![Edit::clear("data.oilVolume")], "data", "Data must have at least one known field"),
        (vec![Edit::clear("wellId")], "wellId", "Well is required"),
        (vec![Edit::set("data.oilVolume", -1)], "data.oilVolume", "Oil volume cannot be negative"),
        (
            vec![Edit::set("latitude", 5)],
            "longitude",
            "Latitude and longitude must be given together",
        ),
        (
            vec![Edit::set("recordedAt", "2026-03-02T00:00:00Z")],
            "recordedAt",
            "Recorded at cannot be changed; delete this and record anew",
        ),
        (vec![Edit::set("ntes", "x")], "ntes", "Unknown field \"ntes\", did you mean notes?"),
        (
            vec![Edit::Append { key: "photos".to_owned(), item: "x".into() }],
            "photos",
            "Photos must be http(s) URLs or /upload/ paths",
        ),
    ] {
        let faults = edit(&current, &edits).unwrap_err();
        assert!(faults.contains(&Fault::new(key, message)), "{faults:?}");
    }
}

#[test]
fn a_fault_that_is_there_already_does_not_stop_other_edits() {
    let merged = with(entry("PRODUCTION"), "data.runtime", 30);
    assert!(edit(&merged, &[Edit::set("notes", "x")]).is_ok());
    assert!(edit(&merged, &[Edit::set("data.runtime", 31)]).is_err());
    assert!(edit(&merged, &[Edit::set("data.runtime", 20)]).is_ok());
    assert_eq!(violations(collection(3), &merged, &AnyReference).len(), 1);
}

#[test]
fn an_edit_cannot_take_what_another_record_holds() {
    let current = validate(collection(wells::WELL), &well(), &OneWell).unwrap();
    let rename = |number: &str| {
        let edits = [Edit::set("apiNumber", number)];
        validate_edit(collection(wells::WELL), &current, &edits, &OneWell)
    };
    let taken = Fault::new("apiNumber", "API number is already in use");
    assert_eq!(rename("42-227-30001"), Err(vec![taken]));
    assert!(rename("42-227-30003").is_ok());
}
