//! A veterinary practice: its patients, and the appointments for them.
//!
//! Clients are users with the role `CLIENT`; the source has no table of their own.

use super::parts::{name, plain, proposed, reference, texts};
use crate::schema::{Collection, Field, Kind, Range, Rule, Who};

/// The number of the collection `appointment`.
pub const APPOINTMENT: u16 = 32;
/// The number of the collection `pet`.
pub const PET: u16 = 33;

const DAY_MINUTES: f64 = 1_440.0;

/// The collections of this catalogue.
pub fn collections() -> Vec<Collection> {
    vec![appointment(), pet()]
}

fn appointment() -> Collection {
    let minutes = Kind::Integer { range: Range::between(1.0, DAY_MINUTES) };
    let fields = vec![
        plain("title", name(1, 200)).required(),
        plain("type", name(1, 200)).required(),
        Field::new("date", Kind::Moment).required(),
        plain("durationMinutes", minutes).label("Duration").unit("minutes").required(),
        Field::new("petId", reference("pet")).label("Pet").required(),
        plain("practitionerId", reference("user")).label("Practitioner").required(),
        plain("practiceId", practice_number()).label("Practice").required(),
        Field::new("clientId", reference("user")).label("Client").required(),
    ];
    Collection {
        name: "appointment".to_owned(),
        version: 1,
        fields,
        names: texts(&["title"]),
        // A pet that changes its owner leaves the client of its appointments as it was.
        rules: vec![Rule::Lookup {
            field: "clientId".to_owned(),
            through: "petId".to_owned(),
            from: "ownerId".to_owned(),
            message: "Pet has no owner, so there is no client for the appointment".to_owned(),
        }],
        proposed: vec![
            Rule::Target {
                field: "practitionerId".to_owned(),
                key: "role".to_owned(),
                one_of: Vec::new(),
                none_of: vec!["CLIENT".into()],
                message: "Practitioner cannot be a client".to_owned(),
            },
            own_practice(),
        ],
        resolve_by: vec![Who::Author, Who::Manager],
        ..Collection::unknown(APPOINTMENT)
    }
}

fn pet() -> Collection {
    let weight = Kind::Number { range: Range::more_than(0.0), decimals: None };
    let fields = vec![
        proposed("name", name(1, 100)).required(),
        proposed("species", name(1, 100)).required(),
        proposed("breed", name(1, 100)),
        proposed("birthDate", Kind::Day),
        proposed("sex", name(1, 32)),
        proposed("weightKg", weight).label("Weight").unit("kg"),
        Field::new("ownerId", reference("user")).label("Owner").required(),
        proposed("practiceId", practice_number()).label("Practice").required(),
    ];
    Collection {
        name: "pet".to_owned(),
        version: 1,
        fields,
        names: texts(&["name"]),
        proposed: vec![
            Rule::Target {
                field: "ownerId".to_owned(),
                key: "role".to_owned(),
                one_of: vec!["CLIENT".into()],
                none_of: Vec::new(),
                message: "Owner must be a client".to_owned(),
            },
            own_practice(),
        ],
        resolve_by: vec![Who::Author, Who::Manager],
        ..Collection::unknown(PET)
    }
}

fn practice_number() -> Kind {
    Kind::Integer { range: Range::default() }
}

fn own_practice() -> Rule {
    Rule::OfCaller {
        field: "practiceId".to_owned(),
        key: "practiceIds".to_owned(),
        message: "Practice must be one of your own".to_owned(),
    }
}
