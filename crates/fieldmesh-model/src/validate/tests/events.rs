//! Field events: a payload for each type, and any payload for types that nobody knows.

use super::*;
use crate::catalogue::wells::FIELD_EVENT;
use crate::natural_key::unique_keys;

fn event(kind: &str, payload: &serde_json::Value) -> Fields {
    flatten(&json!({
        "type": kind, "timestamp": "2026-03-01T08:30:00Z", "deviceId": "tablet 3",
        "userId": "ann", "payload": payload.clone(),
    }))
    .unwrap()
}

fn samples() -> [Fields; 6] {
    let at = "2026-03-01T08:00:00Z";
    [
        event(
            "WELL_READING_RECORDED",
            &json!({ "wellId": WELL, "readingType": "TEMPERATURE", "value": -3.5, "unit": "°C",
                    "recordedAt": at }),
        ),
        event(
            "EQUIPMENT_INSPECTED",
            &json!({ "wellId": WELL, "equipmentId": "P-7", "inspectionType": "SAFETY",
                    "status": "PASS", "notes": "", "inspectedAt": at }),
        ),
        event("PRODUCTION_LOGGED", &json!({ "wellId": WELL, "volume": 80 })),
        event(
            "PHOTO_ATTACHED",
            &json!({ "wellId": WELL, "photoId": "A".repeat(64), "contentType": "image/jpeg",
                    "size": 10, "takenAt": at }),
        ),
        event("NOTES_ADDED", &json!({ "wellId": WELL, "text": "Leak", "addedAt": at })),
        event(
            "EQUIPMENT_REPAIRED",
            &json!({ "wellId": WELL, "equipmentId": "P-7", "description": "New seal",
                    "partsReplaced": ["seal", "seal"], "repairedAt": at }),
        ),
    ]
}

#[test]
fn every_type_of_event_has_its_payload() {
    for fields in samples() {
        assert_eq!(faults(FIELD_EVENT, &fields), [], "{:?}", fields["type"]);
    }
    let [reading, inspected, logged, photo, notes, repaired] = samples();
    for (fields, key, bad, message) in [
        (
            reading.clone(),
            "readingType",
            Value::from("WEIGHT"),
            "Reading type must be PRODUCTION, PRESSURE or TEMPERATURE",
        ),
        (reading.clone(), "unit", of_length(33).into(), "Unit must have 1 to 32 characters"),
        (reading, "value", "cold".into(), "Value must be a number"),
        (
            inspected.clone(),
            "inspectionType",
            "DETAILED".into(),
            "Inspection type must be ROUTINE, SAFETY or REPAIR",
        ),
        (inspected, "status", "GOOD".into(), "Status must be PASS, FAIL or NEEDS_ATTENTION"),
        (logged.clone(), "volume", (-1).into(), "Volume cannot be negative"),
        (logged, "wellId", "north".into(), "Well not found"),
        (photo, "photoId", "x".into(), "Photo must have 64 to 64 characters"),
        (notes, "text", of_length(10_001).into(), "Text must have 1 to 10000 characters"),
        (repaired, "downtime", (-1).into(), "Downtime cannot be negative"),
    ] {
        let key = format!("payload.{key}");
        assert_fault(FIELD_EVENT, &with(fields, &key, bad), &key, message);
    }
}

/// An inspection without notes reads as one whose notes are empty, which an app may send.
#[test]
fn an_inspection_may_have_nothing_to_note() {
    let [_, mut inspected, ..] = samples();
    assert_eq!(inspected["payload.notes"], "".into());
    inspected.remove("payload.notes");
    assert_eq!(faults(FIELD_EVENT, &inspected), []);
}

#[test]
fn a_temperature_may_be_below_zero_and_a_pressure_may_not() {
    let [reading, ..] = samples();
    for (kind, is_good) in [("TEMPERATURE", true), ("PRESSURE", false), ("PRODUCTION", false)] {
        let fields = with(reading.clone(), "payload.readingType", kind);
        assert_eq!(faults(FIELD_EVENT, &fields).is_empty(), is_good, "{kind}");
        assert!(validate_stated(collection(FIELD_EVENT), &fields, &OneWell).is_ok(), "{kind}");
    }
}

#[test]
fn a_production_takes_its_unit_and_time_where_it_has_none() {
    let [reading, _, logged, ..] = samples();
    let normal = validate(collection(FIELD_EVENT), &logged, &OneWell).unwrap();
    assert_eq!(normal["payload.unit"], "barrels".into());
    assert_eq!(normal["payload.recordedAt"], normal["timestamp"]);
    let mut bare = reading;
    bare.remove("payload.unit");
    bare.remove("payload.recordedAt");
    let missing = [("recordedAt", "Recorded at is required"), ("unit", "Unit is required")];
    let missing = missing.map(|(key, text)| (format!("payload.{key}"), text.to_owned()));
    assert_eq!(faults(FIELD_EVENT, &bare), missing, "a reading has to say both");
}

#[test]
fn two_productions_of_a_well_and_time_are_one_and_two_readings_are_not() {
    let [reading, _, logged, ..] = samples();
    let keys = |fields: &Fields| {
        let normal = validate(collection(FIELD_EVENT), fields, &OneWell).unwrap();
        unique_keys(collection(FIELD_EVENT), &normal, b"")
    };
    let other = with(with(logged.clone(), "deviceId", "tablet 4"), "payload.volume", 81);
    assert_eq!(keys(&logged).len(), 1);
    assert_eq!(keys(&logged), keys(&other));
    assert_eq!(keys(&reading), []);
}

#[test]
fn events_of_another_type_keep_their_payload_as_it_is() {
    let fields = event("PIG_LAUNCHED", &json!({ "volume": -5, "pig": "blue", "wellId": "north" }));
    let normal = validate(collection(FIELD_EVENT), &fields, &OneWell).unwrap();
    assert_eq!(normal["payload.volume"], (-5).into());
    assert_eq!(normal["payload.wellId"], "north".into());
}

#[test]
fn a_key_of_another_type_is_refused_here_and_listed_over_the_dialect() {
    let [_, _, logged, ..] = samples();
    let fields = with(logged, "payload.description", "x");
    let message = "description is not allowed for PRODUCTION_LOGGED entries";
    assert_fault(FIELD_EVENT, &fields, "payload.description", message);
    let taken = validate_stated(collection(FIELD_EVENT), &fields, &OneWell).unwrap();
    assert_eq!(taken.violations.len(), 1);
}
