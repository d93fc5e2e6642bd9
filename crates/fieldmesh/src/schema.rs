//! The schema that a collection's number or name stands for.

use std::borrow::Cow;

use fieldmesh_model::catalogue;
use fieldmesh_model::schema::Collection;

use crate::error::Error;

/// The schema of a collection; one that this version does not know keeps and shows everything.
pub(crate) fn numbered(number: u16) -> Cow<'static, Collection> {
    match catalogue::numbered(number) {
        Some(known) => Cow::Borrowed(known),
        None => Cow::Owned(Collection::unknown(number)),
    }
}

/// The schema of the collection that a person calls `name`.
pub(crate) fn named(name: &str) -> Result<&'static Collection, Error> {
    catalogue::named(name).ok_or_else(|| Error::UnknownCollection {
        name: name.to_owned(),
        known: catalogue::collections()
            .iter()
            .map(|collection| collection.name.as_str())
            .collect::<Vec<_>>()
            .join(", "),
    })
}

/// Whether this version does not know the collection.
pub(crate) fn is_unknown(number: u16) -> bool {
    catalogue::numbered(number).is_none()
}
