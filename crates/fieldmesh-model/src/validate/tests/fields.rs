//! Every field of every catalogue, as the requirements list them: what it holds, whether it has to
//! be there, how it merges, and how much of it a source states.

use super::*;
use crate::schema::{Field, Form, Kind, MergePolicy, Range, Stated};

fn list(collection: &str) -> Vec<String> {
    catalogue::named(collection).unwrap().fields.iter().map(describe).collect()
}

fn describe(field: &Field) -> String {
    let mut text = format!("{} {}", field.key, kind(&field.kind));
    let mut add = |part: &str| {
        text.push(' ');
        text.push_str(part);
    };
    if field.required {
        add("req");
    }
    if field.immutable {
        add("fixed");
    }
    if field.policy != MergePolicy::Latest {
        add(&format!("{:?}", field.policy).to_lowercase());
    }
    if let Some(unit) = &field.unit {
        add(&format!("in {unit}"));
    }
    if let Some(default) = &field.default {
        add(&format!("= {}", default.to_cell()));
    }
    if let Some(variant) = &field.variant {
        add(&format!("of {variant}"));
    }
    match field.stated {
        Stated::Everything => add("†"),
        Stated::Kind => add("(†)"),
        Stated::Nothing => {}
    }
    text
}

fn kind(kind: &Kind) -> String {
    let form = |form: &Form| match form {
        Form::Free => "text".to_owned(),
        form => format!("{form:?}").to_lowercase(),
    };
    match kind {
        Kind::Text { min, max, form: it } => format!("{} {min}..{max}", form(it)),
        Kind::Number { range, decimals: None } => format!("number{}", bounds(range)),
        Kind::Number { range, decimals: Some(decimals) } => {
            format!("number{} with {decimals} decimals", bounds(range))
        }
        Kind::Integer { range } => format!("integer{}", bounds(range)),
        Kind::Bool => "bool".to_owned(),
        Kind::Enum(words) => words.join("|"),
        Kind::Word { known, .. } => format!("{}|…", known.join("|")),
        Kind::Moment => "moment".to_owned(),
        Kind::Day => "day".to_owned(),
        Kind::Reference { collection } => format!("-> {collection}"),
        Kind::TextList { items_max, item_max, .. } => format!("texts {items_max} x {item_max}"),
        Kind::IntegerList { items_max } => format!("integers {items_max}"),
        Kind::Set { items_max, item_max, .. } => format!("set {items_max} x {item_max}"),
        Kind::Unknown(_) => "unknown".to_owned(),
    }
}

fn bounds(range: &Range) -> String {
    match (range.above, range.min, range.max) {
        (Some(above), ..) => format!(" > {above}"),
        (None, Some(min), Some(max)) => format!(" {min}..{max}"),
        (None, Some(min), None) => format!(" >= {min}"),
        (None, None, Some(max)) => format!(" <= {max}"),
        (None, None, None) => String::new(),
    }
}

#[test]
fn wells_and_users_have_the_fields_of_8_1_and_8_2() {
    assert_eq!(
        list("well"),
        [
            "name name 1..200 req (†)",
            "apiNumber apinumber 1..32 req (†)",
            "status ACTIVE|INACTIVE|PLUGGED req †",
            "lease name 0..200 (†)",
            "field name 0..200 (†)",
            "operator name 0..200 (†)",
            "latitude number -90..90 in degrees (†)",
            "longitude number -180..180 in degrees (†)",
        ]
    );
    assert_eq!(
        list("user"),
        [
            "email email 3..254 req (†)",
            "name name 1..200 req (†)",
            "role OPERATOR|MANAGER|ADMIN|CLIENT|PRACTITIONER|HEALTH_WORKER|MEMBER req †",
            "practiceIds integers 100 †",
        ]
    );
}

#[test]
fn field_entries_have_the_fields_of_8_3() {
    assert_eq!(
        list("field_entry"),
        [
            "wellId -> well req fixed †",
            "entryType PRODUCTION|INSPECTION|MAINTENANCE req fixed †",
            "recordedAt moment req fixed †",
            "deviceId name 1..128 req fixed (†)",
            "data.oilVolume number >= 0 review in barrels per day of PRODUCTION †",
            "data.gasVolume number >= 0 review in MCF per day of PRODUCTION (†)",
            "data.waterVolume number >= 0 review in barrels per day of PRODUCTION (†)",
            "data.tubingPressure number >= 0 review in PSI of PRODUCTION (†)",
            "data.casingPressure number >= 0 review in PSI of PRODUCTION (†)",
            "data.chokeSize number >= 0 review in 64ths of an inch of PRODUCTION (†)",
            "data.runtime number 0..24 review in hours of PRODUCTION (†)",
            "data.equipmentStatus OPERATIONAL|DEGRADED|FAILED review of INSPECTION (†)",
            "data.leaksDetected bool review of INSPECTION (†)",
            "data.safetyHazards bool review of INSPECTION (†)",
            "data.visualCondition EXCELLENT|GOOD|FAIR|POOR review of INSPECTION (†)",
            "data.inspectionType ROUTINE|DETAILED|EMERGENCY review of INSPECTION (†)",
            "data.nextInspectionDate day review of INSPECTION (†)",
            "data.correctiveActions texts 100 x 1000 review of INSPECTION (†)",
            "data.maintenanceType PREVENTIVE|CORRECTIVE|EMERGENCY review of MAINTENANCE (†)",
            "data.workPerformed texts 100 x 1000 review of MAINTENANCE (†)",
            "data.partsReplaced texts 100 x 1000 review of MAINTENANCE (†)",
            "data.downtime number >= 0 review in hours of MAINTENANCE (†)",
            "data.cost number >= 0 with 2 decimals review in USD of MAINTENANCE (†)",
            "data.vendorName name 1..200 review of MAINTENANCE (†)",
            "data.nextMaintenanceDate day review of MAINTENANCE (†)",
            "latitude number -90..90 in degrees (†)",
            "longitude number -180..180 in degrees (†)",
            "photos texts 50 x 1000 (†)",
            "notes text 0..10000 text (†)",
            "priority CRITICAL|NORMAL = NORMAL",
        ]
    );
}

#[test]
fn field_events_have_the_fields_of_8_4() {
    let types = "WELL_READING_RECORDED|EQUIPMENT_INSPECTED|PRODUCTION_LOGGED|PHOTO_ATTACHED|\
                 NOTES_ADDED|EQUIPMENT_REPAIRED|…";
    let well = |variant: &str, mark: &str| {
        format!("payload.wellId -> well req fixed review of {variant}{mark}")
    };
    let expected = [
        format!("type {types} req fixed †"),
        "timestamp moment req fixed †".into(),
        "deviceId name 1..128 req fixed (†)".into(),
        "userId name 1..128 req fixed (†)".into(),
        well("WELL_READING_RECORDED", " (†)"),
        "payload.readingType PRODUCTION|PRESSURE|TEMPERATURE req review of \
         WELL_READING_RECORDED (†)"
            .into(),
        "payload.value number req review of WELL_READING_RECORDED (†)".into(),
        "payload.unit name 1..32 req review of WELL_READING_RECORDED (†)".into(),
        "payload.recordedAt moment req fixed review of WELL_READING_RECORDED (†)".into(),
        well("EQUIPMENT_INSPECTED", " (†)"),
        "payload.equipmentId name 1..128 req review of EQUIPMENT_INSPECTED (†)".into(),
        "payload.inspectionType ROUTINE|SAFETY|REPAIR req review of EQUIPMENT_INSPECTED (†)".into(),
        "payload.status PASS|FAIL|NEEDS_ATTENTION req review of EQUIPMENT_INSPECTED (†)".into(),
        "payload.notes text 0..10000 text of EQUIPMENT_INSPECTED (†)".into(),
        "payload.inspectedAt moment req fixed review of EQUIPMENT_INSPECTED (†)".into(),
        well("PRODUCTION_LOGGED", " (†)"),
        "payload.volume number >= 0 req review of PRODUCTION_LOGGED (†)".into(),
        "payload.unit name 1..32 req review = barrels of PRODUCTION_LOGGED (†)".into(),
        "payload.recordedAt moment req fixed review of PRODUCTION_LOGGED (†)".into(),
        well("PHOTO_ATTACHED", ""),
        "payload.photoId sha256 64..64 req review of PHOTO_ATTACHED".into(),
        "payload.contentType name 1..128 req review of PHOTO_ATTACHED".into(),
        "payload.size integer >= 0 req review in bytes of PHOTO_ATTACHED".into(),
        "payload.caption text 0..10000 review of PHOTO_ATTACHED".into(),
        "payload.takenAt moment req fixed review of PHOTO_ATTACHED".into(),
        well("NOTES_ADDED", ""),
        "payload.text text 1..10000 req text of NOTES_ADDED".into(),
        "payload.addedAt moment req fixed review of NOTES_ADDED".into(),
        "payload.relatedEventId -> field_event review of NOTES_ADDED".into(),
        well("EQUIPMENT_REPAIRED", ""),
        "payload.equipmentId name 1..128 req review of EQUIPMENT_REPAIRED".into(),
        "payload.description text 0..10000 req review of EQUIPMENT_REPAIRED".into(),
        "payload.partsReplaced set 100 x 1000 union of EQUIPMENT_REPAIRED".into(),
        "payload.repairedAt moment req fixed review of EQUIPMENT_REPAIRED".into(),
        "payload.downtime number >= 0 review in hours of EQUIPMENT_REPAIRED".into(),
    ];
    assert_eq!(list("field_event"), expected);
}

#[test]
fn assets_tasks_and_schedules_have_the_fields_of_8_5() {
    assert_eq!(
        list("asset"),
        [
            "name name 1..200 req",
            "assetTag name 1..200",
            "category name 1..200",
            "status IN_SERVICE|OUT_OF_SERVICE|RETIRED req",
            "locationId name 1..128",
            "serialNumber name 1..200",
            "purchaseDate day",
            "value number >= 0",
            "notes text 0..10000",
        ]
    );
    assert_eq!(
        list("task"),
        [
            "title name 1..200 req",
            "description text 0..10000",
            "status OPEN|IN_PROGRESS|DONE|CANCELLED req",
            "priority LOW|NORMAL|HIGH|CRITICAL req",
            "assigneeId -> user",
            "assetId -> asset",
            "dueAt moment",
        ]
    );
    assert_eq!(
        list("schedule"),
        [
            "name name 1..200 req",
            "assetId -> asset",
            "taskTemplate text 0..10000",
            "startsAt moment req",
            "endsAt moment",
            "recurrence recurrence 1..1000",
        ]
    );
}

#[test]
fn the_practice_has_the_fields_of_8_6() {
    assert_eq!(
        list("appointments"),
        [
            "title name 1..200 req (†)",
            "type name 1..200 req (†)",
            "date moment req †",
            "durationMinutes integer 1..1440 req in minutes (†)",
            "petId -> pet req †",
            "practitionerId -> user req (†)",
            "practiceId integer req (†)",
            "clientId -> user req †",
        ]
    );
    assert_eq!(
        list("pets"),
        [
            "name name 1..100 req",
            "species name 1..100 req",
            "breed name 1..100",
            "birthDate day",
            "sex name 1..32",
            "weightKg number > 0 in kg",
            "ownerId -> user req †",
            "practiceId integer req",
        ]
    );
}

#[test]
fn health_has_the_fields_of_8_7() {
    assert_eq!(
        list("encounter"),
        [
            "patientId -> patient req †",
            "diagnosis text 0..10000 review (†)",
            "prescription text 0..10000 review (†)",
            "encounterAt moment req",
            "practitionerId -> user req",
            "notes text 0..10000 text",
        ]
    );
    assert_eq!(
        list("patient"),
        [
            "name name 1..200 req",
            "birthDate day",
            "sex name 1..32",
            "phone name 1..64",
            "village name 1..200",
            "allergies set 100 x 1000 union",
            "notes text 0..10000 text",
        ]
    );
}
