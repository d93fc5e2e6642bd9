//! Records of kinds that nobody has described: whatever an app of an existing system sends under a
//! type that is neither built in nor the tenant's own.
//!
//! What the app sent lies below `payload`, field by field, so that edits of different fields merge.
//! Nobody knows what a wrong choice would harm, so of two values for one field a person decides.

use super::parts::{name, notes, proposed, texts};
use crate::schema::{Collection, MergePolicy, Who};

/// The number of the collection `free_record`.
pub const FREE_RECORD: u16 = 64;

/// The field that says over which contract a record came; a type of one is none of another.
pub const SOURCE: &str = "source";
/// The field that says what the app calls the type of the record.
pub const KIND: &str = "kind";
/// The field that says what the app calls the record, where it gave it a name.
pub const EXTERNAL_ID: &str = "externalId";
/// What the app sent lies below this.
pub const PAYLOAD: &str = "payload";

/// The most characters that an app may call a type.
pub const KIND_MAX: usize = 64;

/// The collections of this catalogue.
pub fn collections() -> Vec<Collection> {
    let fields = vec![
        proposed(SOURCE, name(1, KIND_MAX)).required().immutable(),
        proposed(KIND, name(1, KIND_MAX)).required().immutable().indexed(),
        proposed(EXTERNAL_ID, name(1, 256)).label("External id").immutable(),
        // Many apps call so what people call the thing; the payload need not have it.
        proposed("payload.name", notes()).policy(MergePolicy::Review),
    ];
    vec![Collection {
        name: "free_record".to_owned(),
        version: 1,
        fields,
        names: texts(&[EXTERNAL_ID, "payload.name"]),
        open: texts(&[PAYLOAD]),
        resolve_by: vec![Who::Crew],
        ..Collection::unknown(FREE_RECORD)
    }]
}
