//! Assets of an organisation, the tasks about them and their schedules.
//!
//! The source names the types and no fields, so every field is one of this project and unknown
//! keys are kept.

use super::parts::{name, notes, positive, proposed, reference, texts, words};
use crate::schema::{Collection, Field, Form, Kind, Who};

/// The number of the collection `asset`.
pub const ASSET: u16 = 16;
/// The number of the collection `task`.
pub const TASK: u16 = 17;
/// The number of the collection `schedule`.
pub const SCHEDULE: u16 = 18;

/// The collections of this catalogue.
pub fn collections() -> Vec<Collection> {
    vec![asset(), task(), schedule()]
}

// Everyone of the organisation may settle what is about shared things.
fn shared(number: u16, singular: &str, fields: Vec<Field>) -> Collection {
    Collection {
        name: singular.to_owned(),
        version: 1,
        fields,
        open: texts(&[""]),
        resolve_by: vec![Who::Crew],
        ..Collection::unknown(number)
    }
}

fn asset() -> Collection {
    let fields = vec![
        proposed("name", name(1, 200)).required(),
        proposed("assetTag", name(1, 200)),
        proposed("category", name(1, 200)),
        proposed("status", words(&["IN_SERVICE", "OUT_OF_SERVICE", "RETIRED"])).required(),
        proposed("locationId", name(1, 128)).label("Location"),
        proposed("serialNumber", name(1, 200)),
        proposed("purchaseDate", Kind::Day),
        proposed("value", positive()),
        proposed("notes", notes()),
    ];
    Collection { names: texts(&["assetTag", "name"]), ..shared(ASSET, "asset", fields) }
}

fn task() -> Collection {
    let fields = vec![
        proposed("title", name(1, 200)).required(),
        proposed("description", notes()),
        proposed("status", words(&["OPEN", "IN_PROGRESS", "DONE", "CANCELLED"])).required(),
        proposed("priority", words(&["LOW", "NORMAL", "HIGH", "CRITICAL"])).required(),
        proposed("assigneeId", reference("user")).label("Assignee"),
        proposed("assetId", reference("asset")).label("Asset"),
        proposed("dueAt", Kind::Moment),
    ];
    Collection {
        names: texts(&["title"]),
        critical: Some(("priority".to_owned(), "CRITICAL".into())),
        ..shared(TASK, "task", fields)
    }
}

fn schedule() -> Collection {
    let recurrence = Kind::Text { min: 1, max: 1_000, form: Form::Recurrence };
    let fields = vec![
        proposed("name", name(1, 200)).required(),
        proposed("assetId", reference("asset")).label("Asset"),
        proposed("taskTemplate", notes()),
        proposed("startsAt", Kind::Moment).required(),
        proposed("endsAt", Kind::Moment),
        proposed("recurrence", recurrence),
    ];
    Collection { names: texts(&["name"]), ..shared(SCHEDULE, "schedule", fields) }
}
