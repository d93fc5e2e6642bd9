//! The schema that a collection's number or name stands for: built in, or the tenant's own.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use fieldmesh_identity::{Policy, SignedSchema};
use fieldmesh_model::catalogue;
use fieldmesh_model::schema::Collection;

use crate::error::Error;

static BUILT_IN: LazyLock<BTreeMap<u16, Arc<Collection>>> = LazyLock::new(|| {
    let known = catalogue::collections().iter();
    known.map(|known| (known.number, Arc::new(known.clone()))).collect()
});

/// The built-in collection with this number.
pub(crate) fn built_in(number: u16) -> Option<Arc<Collection>> {
    BUILT_IN.get(&number).cloned()
}

/// The schema of a collection; one that this version does not know keeps and shows everything.
pub(crate) fn numbered(policy: &Policy, number: u16) -> Arc<Collection> {
    let own = || policy.schema(number).and_then(SignedSchema::collection).cloned();
    built_in(number).or_else(own).unwrap_or_else(|| Arc::new(Collection::unknown(number)))
}

/// The schema of the collection that a person calls `name`, if there is one.
pub(crate) fn find(policy: &Policy, name: &str) -> Option<Arc<Collection>> {
    if let Some(known) = catalogue::named(name) {
        return built_in(known.number);
    }
    let wanted = name.trim().to_lowercase().replace('-', "_");
    let own: Vec<Arc<Collection>> = defined(policy).collect();
    let called = |wanted: &str| own.iter().find(|known| known.name == wanted).cloned();
    // The forms that the built-in ones understand; a name itself goes before those.
    let singular = match wanted.strip_suffix("ies") {
        Some(stem) => Some(format!("{stem}y")),
        None => wanted.strip_suffix('s').map(str::to_owned),
    };
    called(&wanted).or_else(|| called(&singular?))
}

/// The schema of the collection that a person calls `name`.
pub(crate) fn named(policy: &Policy, name: &str) -> Result<Arc<Collection>, Error> {
    find(policy, name).ok_or_else(|| {
        let unread = policy.schemas().find(|it| it.name() == name && it.collection().is_none());
        if let Some(unread) = unread {
            let (name, version) = (unread.name(), unread.version());
            let reason = format!(
                "{name} is defined by version {version} of a schema that this program cannot \
                 read; update it"
            );
            return Error::Usage { reason };
        }
        Error::UnknownCollection { name: name.to_owned(), known: names(policy) }
    })
}

/// The tenant's own collections that this version can read, by number.
pub(crate) fn defined(policy: &Policy) -> impl Iterator<Item = Arc<Collection>> + '_ {
    policy.schemas().filter_map(SignedSchema::collection).cloned()
}

/// Every collection that there is: the built-in ones and the tenant's own.
pub(crate) fn all(policy: &Policy) -> Vec<Arc<Collection>> {
    BUILT_IN.values().cloned().chain(defined(policy)).collect()
}

/// What the collections are called.
pub(crate) fn names(policy: &Policy) -> String {
    all(policy).iter().map(|known| known.name.clone()).collect::<Vec<_>>().join(", ")
}

/// Whether this version does not know the collection as one that is built in.
pub(crate) fn is_foreign(number: u16) -> bool {
    built_in(number).is_none()
}
