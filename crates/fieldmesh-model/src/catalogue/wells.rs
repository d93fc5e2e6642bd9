//! Oil and gas field data: wells, users, and the entries and events that crews record at wells.

use super::parts::{
    both_or_neither, coordinates, list, name, notes, positive, reference, texts, words,
};
use crate::Value;
use crate::schema::{
    Collection, Field, Form, Kind, MergePolicy, Origin, Range, Rule, Shared, Stated, Unique,
    Variants, Who,
};

mod event;

/// The number of the collection `well`.
pub const WELL: u16 = 1;
/// The number of the collection `user`.
pub const USER: u16 = 2;
/// The number of the collection `field_entry`.
pub const FIELD_ENTRY: u16 = 3;
/// The number of the collection `field_event`.
pub const FIELD_EVENT: u16 = 4;

/// The most characters of notes.
pub const NOTES_MAX: usize = 10_000;
/// The most items of a list.
pub const LIST_ITEMS_MAX: usize = 100;
/// The most characters of an item of a list.
pub const LIST_ITEM_MAX: usize = 1_000;
/// The most photos of an entry.
pub const PHOTOS_MAX: usize = 50;

/// What a well produced at a moment, whichever app it was told to.
const PRODUCED: &str = "production of a well";

const PRODUCTION: &str = "PRODUCTION";
const INSPECTION: &str = "INSPECTION";
const MAINTENANCE: &str = "MAINTENANCE";

/// The collections of this catalogue.
pub fn collections() -> Vec<Collection> {
    vec![well(), user(), field_entry(), event::field_event()]
}

fn well() -> Collection {
    let mut fields = vec![
        Field::new("name", name(1, 200)).required().stated(Stated::Kind),
        Field::new("apiNumber", Kind::Text { min: 1, max: 32, form: Form::ApiNumber })
            .label("API number")
            .required()
            .stated(Stated::Kind),
        Field::new("status", words(&["ACTIVE", "INACTIVE", "PLUGGED"])).required().indexed(),
        Field::new("lease", name(0, 200)).stated(Stated::Kind).indexed(),
        Field::new("field", name(0, 200)).stated(Stated::Kind).indexed(),
        Field::new("operator", name(0, 200)).stated(Stated::Kind).indexed(),
    ];
    fields.extend(coordinates());
    Collection {
        name: "well".to_owned(),
        version: 1,
        fields,
        unique: vec![Unique {
            fields: texts(&["apiNumber"]),
            extended: false,
            message: "API number is already in use".to_owned(),
            when: None,
            origin: Origin::Proposed,
            shared: None,
        }],
        names: texts(&["apiNumber", "name"]),
        proposed: vec![both_or_neither()],
        create_by: vec![Who::Admin],
        edit_by: vec![Who::Admin],
        resolve_by: vec![Who::Admin],
        ..Collection::unknown(WELL)
    }
}

fn user() -> Collection {
    let roles =
        ["OPERATOR", "MANAGER", "ADMIN", "CLIENT", "PRACTITIONER", "HEALTH_WORKER", "MEMBER"];
    Collection {
        name: "user".to_owned(),
        version: 1,
        fields: vec![
            Field::new("email", Kind::Text { min: 3, max: 254, form: Form::Email })
                .required()
                .stated(Stated::Kind),
            Field::new("name", name(1, 200)).required().stated(Stated::Kind),
            Field::new("role", words(&roles)).required(),
            Field::new("practiceIds", Kind::IntegerList { items_max: LIST_ITEMS_MAX }),
        ],
        unique: vec![Unique {
            fields: texts(&["email"]),
            extended: false,
            message: "Email is already in use".to_owned(),
            when: None,
            origin: Origin::Proposed,
            shared: None,
        }],
        names: texts(&["email", "name"]),
        create_by: vec![Who::Admin],
        edit_by: vec![Who::Admin],
        resolve_by: vec![Who::Admin],
        ..Collection::unknown(USER)
    }
}

fn field_entry() -> Collection {
    let mut fields = vec![
        Field::new("wellId", reference("well")).label("Well").required().immutable(),
        Field::new("entryType", words(&[PRODUCTION, INSPECTION, MAINTENANCE]))
            .required()
            .immutable(),
        Field::new("recordedAt", Kind::Moment).required().immutable(),
        Field::new("deviceId", name(1, 128))
            .label("Device")
            .required()
            .immutable()
            .stated(Stated::Kind),
    ];
    fields.extend(production());
    fields.extend(inspection());
    fields.extend(maintenance());
    fields.extend(coordinates());
    fields.extend([
        Field::new(
            "photos",
            Kind::TextList { items_max: PHOTOS_MAX, item_max: LIST_ITEM_MAX, form: Form::Link },
        )
        .stated(Stated::Kind),
        Field::new("notes", notes()).policy(MergePolicy::Text).stated(Stated::Kind),
        Field::new("priority", words(&["CRITICAL", "NORMAL"]))
            .default("NORMAL")
            .stated(Stated::Nothing),
    ]);
    Collection {
        name: "field_entry".to_owned(),
        version: 1,
        fields,
        natural_key: texts(&["wellId", "entryType", "recordedAt", "deviceId"]),
        unique: vec![Unique {
            fields: texts(&["wellId", "entryType", "recordedAt"]),
            extended: true,
            message: "Well has an entry of this type and time already".to_owned(),
            when: None,
            origin: Origin::Source,
            shared: Some(Shared {
                thing: PRODUCED,
                fields: texts(&["wellId", "recordedAt"]),
                when: ("entryType".to_owned(), PRODUCTION.into()),
            }),
        }],
        time_field: Some("recordedAt".to_owned()),
        device_field: Some("deviceId".to_owned()),
        variants: Some(Variants { field: "entryType".to_owned(), prefix: "data".to_owned() }),
        open: texts(&["data"]),
        critical: Some(("priority".to_owned(), "CRITICAL".into())),
        proposed: field_entry_rules(),
        ..Collection::unknown(FIELD_ENTRY)
    }
}

fn field_entry_rules() -> Vec<Rule> {
    let when = |key: &str, value: Value| (format!("data.{key}"), value);
    vec![
        both_or_neither(),
        Rule::AnyKnown {
            prefix: "data".to_owned(),
            message: "Data must have at least one known field".to_owned(),
        },
        Rule::NotBeforeDayOf {
            field: "data.nextInspectionDate".to_owned(),
            earlier: "recordedAt".to_owned(),
            message: "Next inspection date cannot be before the inspection".to_owned(),
        },
        Rule::NotBeforeDayOf {
            field: "data.nextMaintenanceDate".to_owned(),
            earlier: "recordedAt".to_owned(),
            message: "Next maintenance date cannot be before the maintenance".to_owned(),
        },
        Rule::Derive {
            field: "priority".to_owned(),
            value: "CRITICAL".into(),
            when: vec![
                when("equipmentStatus", "FAILED".into()),
                when("safetyHazards", true.into()),
                when("leaksDetected", true.into()),
                when("inspectionType", "EMERGENCY".into()),
                when("maintenanceType", "EMERGENCY".into()),
            ],
        },
    ]
}

fn production() -> Vec<Field> {
    let measure = |key: &str, unit: &str| {
        measured(PRODUCTION, key, positive()).unit(unit).stated(Stated::Kind)
    };
    vec![
        // The only bound whose message the source has.
        measure("oilVolume", "barrels per day").stated(Stated::Everything),
        measure("gasVolume", "MCF per day"),
        measure("waterVolume", "barrels per day"),
        measure("tubingPressure", "PSI"),
        measure("casingPressure", "PSI"),
        measure("chokeSize", "64ths of an inch"),
        measured(
            PRODUCTION,
            "runtime",
            Kind::Number { range: Range::between(0.0, 24.0), decimals: None },
        )
        .unit("hours")
        .message("Runtime must be between 0 and 24 hours")
        .stated(Stated::Kind),
    ]
}

fn inspection() -> Vec<Field> {
    let field = |key: &str, kind: Kind| measured(INSPECTION, key, kind).stated(Stated::Kind);
    vec![
        field("equipmentStatus", words(&["OPERATIONAL", "DEGRADED", "FAILED"])),
        field("leaksDetected", Kind::Bool),
        field("safetyHazards", Kind::Bool),
        field("visualCondition", words(&["EXCELLENT", "GOOD", "FAIR", "POOR"])),
        field("inspectionType", words(&["ROUTINE", "DETAILED", "EMERGENCY"])),
        field("nextInspectionDate", Kind::Day),
        field("correctiveActions", list()),
    ]
}

fn maintenance() -> Vec<Field> {
    let field = |key: &str, kind: Kind| measured(MAINTENANCE, key, kind).stated(Stated::Kind);
    vec![
        field("maintenanceType", words(&["PREVENTIVE", "CORRECTIVE", "EMERGENCY"])),
        field("workPerformed", list()),
        field("partsReplaced", list()),
        field("downtime", positive()).unit("hours"),
        field("cost", Kind::Number { range: Range::at_least(0.0), decimals: Some(2) }).unit("USD"),
        field("vendorName", name(1, 200)),
        field("nextMaintenanceDate", Kind::Day),
    ]
}

fn measured(variant: &str, key: &str, kind: Kind) -> Field {
    Field::new(&format!("data.{key}"), kind).variant(variant).policy(MergePolicy::Review)
}
