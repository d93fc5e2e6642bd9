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

/// What the name of a tenant's collection ends with where a built-in one has the same: no tenant's
/// name holds it, so that nobody can take the place of what is built in, and nobody loses records
/// when a program comes with a collection of their name.
const OWN_SUFFIX: &str = ".own";

/// The built-in collection with this number.
pub(crate) fn built_in(number: u16) -> Option<Arc<Collection>> {
    BUILT_IN.get(&number).cloned()
}

/// The schema of a collection; one that this version does not know keeps and shows everything.
pub(crate) fn numbered(policy: &Policy, number: u16) -> Arc<Collection> {
    built_in(number)
        .or_else(|| own(policy, number))
        .unwrap_or_else(|| Arc::new(Collection::unknown(number)))
}

/// The tenant's own collection with this number, as far as this version can read one.
pub(crate) fn own(policy: &Policy, number: u16) -> Option<Arc<Collection>> {
    let signed = policy.readable_schema(number)?;
    let own = signed.collection()?;
    Some(match catalogue::named(&own.name) {
        None => Arc::clone(own),
        Some(_) => Arc::new(Collection { name: name(signed), ..Collection::clone(own) }),
    })
}

/// What a tenant's collection is called beside the built-in ones.
pub(crate) fn name(signed: &SignedSchema) -> String {
    match catalogue::named(signed.name()) {
        None => signed.name().to_owned(),
        Some(_) => format!("{}{OWN_SUFFIX}", signed.name()),
    }
}

/// The schema by which records of a collection may be changed, which this version has to know: what
/// it would write otherwise is read in another way by all who do.
pub(crate) fn known(policy: &Policy, number: u16) -> Result<Arc<Collection>, Error> {
    built_in(number).or_else(|| own(policy, number)).ok_or_else(|| {
        let what = "the record can be deleted and restored, but not edited";
        Error::Usage {
            reason: match policy.schema(number) {
                Some(signed) => format!("{}; until then {what}", unreadable(signed)),
                None => format!(
                    "the definition of its collection ({number}) is not here; {what} before it is: \
                     run `fieldmesh sync`, or ask an admin"
                ),
            },
        }
    })
}

fn unreadable(signed: &SignedSchema) -> String {
    let (name, version) = (signed.name(), signed.version());
    format!("{name} has a definition of version {version} that this program cannot read; update it")
}

/// The collection that `of` means by `name`: one that a tenant defined knows its own ones first, as
/// they were there before it.
pub(crate) fn referred(policy: &Policy, of: u16, name: &str) -> Option<Arc<Collection>> {
    let own = || defined(policy).find(|known| known.name.strip_suffix(OWN_SUFFIX) == Some(name));
    let own = if is_foreign(of) { own() } else { None };
    own.or_else(|| find(policy, name))
}

/// The schema of the collection that a person calls `name`, if there is one.
pub(crate) fn find(policy: &Policy, name: &str) -> Option<Arc<Collection>> {
    if let Some(known) = catalogue::named(name) {
        return built_in(known.number);
    }
    let own: Vec<Arc<Collection>> = defined(policy).collect();
    forms(name).iter().find_map(|form| own.iter().find(|known| known.name == *form).cloned())
}

/// What a person may mean by `name`, in the forms that the built-in collections understand: the
/// name itself, else its singular.
fn forms(name: &str) -> Vec<String> {
    let wanted = name.trim().to_lowercase().replace('-', "_");
    let singular = match wanted.strip_suffix("ies") {
        Some(stem) => Some(format!("{stem}y")),
        None => wanted.strip_suffix('s').map(str::to_owned),
    };
    std::iter::once(wanted).chain(singular).collect()
}

/// The schema of the collection that a person calls `name`.
pub(crate) fn named(policy: &Policy, name: &str) -> Result<Arc<Collection>, Error> {
    find(policy, name).ok_or_else(|| {
        let forms = forms(name);
        if let Some(signed) = policy.schemas().find(|it| forms.contains(&self::name(it))) {
            return Error::Usage { reason: unreadable(signed) };
        }
        Error::UnknownCollection { name: name.to_owned(), known: names(policy) }
    })
}

/// The tenant's own collections that this version can read, by number.
pub(crate) fn defined(policy: &Policy) -> impl Iterator<Item = Arc<Collection>> + '_ {
    policy.schemas().filter_map(|signed| own(policy, signed.number()))
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
