//! Rural health: patients, and what health workers found and prescribed.

use super::parts::{name, notes, plain, proposed, reference, set, texts};
use crate::schema::{Collection, Field, Kind, MergePolicy, Who};

/// The number of the collection `encounter`.
pub const ENCOUNTER: u16 = 48;
/// The number of the collection `patient`.
pub const PATIENT: u16 = 49;

/// The collections of this catalogue.
pub fn collections() -> Vec<Collection> {
    vec![encounter(), patient()]
}

fn encounter() -> Collection {
    let fields = vec![
        Field::new("patientId", reference("patient")).label("Patient").required(),
        // A wrong choice of these harms somebody, so no rule makes it.
        plain("diagnosis", notes()).policy(MergePolicy::Review),
        plain("prescription", notes()).policy(MergePolicy::Review),
        proposed("encounterAt", Kind::Moment).required(),
        proposed("practitionerId", reference("user")).label("Practitioner").required(),
        proposed("notes", notes()).policy(MergePolicy::Text),
    ];
    Collection {
        name: "encounter".to_owned(),
        version: 1,
        fields,
        time_field: Some("encounterAt".to_owned()),
        resolve_by: vec![Who::Author, Who::Manager],
        ..Collection::unknown(ENCOUNTER)
    }
}

fn patient() -> Collection {
    let fields = vec![
        proposed("name", name(1, 200)).required(),
        proposed("birthDate", Kind::Day),
        proposed("sex", name(1, 32)),
        proposed("phone", name(1, 64)),
        proposed("village", name(1, 200)),
        proposed("allergies", set()).policy(MergePolicy::Union),
        proposed("notes", notes()).policy(MergePolicy::Text),
    ];
    Collection {
        name: "patient".to_owned(),
        version: 1,
        fields,
        names: texts(&["name"]),
        resolve_by: vec![Who::Author, Who::Manager],
        ..Collection::unknown(PATIENT)
    }
}
