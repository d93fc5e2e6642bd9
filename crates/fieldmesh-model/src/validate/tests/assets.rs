//! Assets, tasks and schedules: few rules, and every other key is kept.

use super::*;
use crate::catalogue::assets::{ASSET, SCHEDULE, TASK};

fn found(number: u16, fields: &Fields) -> Vec<(String, String)> {
    faults(number, fields)
}

#[test]
fn an_asset_keeps_what_no_schema_knows() {
    let pump = json!({ "name": "Pump 7", "status": "IN_SERVICE", "torque": { "max": 40 } });
    let normal = validate(collection(ASSET), &flatten(&pump).unwrap(), &OneWell).unwrap();
    assert_eq!(normal["torque.max"], 40.into());
    let mut bare = flatten(&json!({ "value": -1, "torque": 5 })).unwrap();
    let expected = [
        ("name", "Name is required"),
        ("status", "Status must be IN_SERVICE, OUT_OF_SERVICE or RETIRED"),
        ("value", "Value cannot be negative"),
    ];
    let expected = expected.map(|(key, text)| (key.to_owned(), text.to_owned()));
    assert_eq!(found(ASSET, &bare), expected);
    let taken = validate_stated(collection(ASSET), &bare, &OneWell).unwrap();
    assert_eq!(taken.violations.len(), 3, "any JSON object is accepted over the dialect");
    // What belongs to the sums of other devices cannot be written by hand.
    bare.insert(format!("value+{}", "0".repeat(32)), 5.into());
    assert_eq!(found(ASSET, &bare).len(), 4);
}

#[test]
fn tasks_and_schedules_have_their_words_and_rules() {
    let task = json!({ "title": "Grease", "status": "OPEN", "priority": "CRITICAL" });
    let task = flatten(&task).unwrap();
    assert!(collection(TASK).is_critical(&validate(collection(TASK), &task, &OneWell).unwrap()));
    for (key, bad, message) in [
        ("status", "LATE", "Status must be OPEN, IN_PROGRESS, DONE or CANCELLED"),
        ("priority", "HIGHEST", "Priority must be LOW, NORMAL, HIGH or CRITICAL"),
        ("assetId", WELL, "Asset not found"),
        ("assigneeId", "ann", "Assignee not found"),
    ] {
        assert_fault(TASK, &with(task.clone(), key, bad), key, message);
    }
    let schedule = json!({ "name": "Weekly", "startsAt": "2026-03-01T08:30:00Z" });
    let schedule = flatten(&schedule).unwrap();
    for rule in ["FREQ=WEEKLY;BYDAY=MO", "RRULE:FREQ=DAILY;COUNT=10"] {
        assert_eq!(found(SCHEDULE, &with(schedule.clone(), "recurrence", rule)), []);
    }
    for rule in ["weekly", "FREQ=OFTEN", "BYDAY=MO", "FREQ=DAILY;", "FREQ=DAILY; COUNT=1"] {
        let message = "Recurrence must be a rule like FREQ=WEEKLY;BYDAY=MO";
        assert_fault(SCHEDULE, &with(schedule.clone(), "recurrence", rule), "recurrence", message);
    }
}
