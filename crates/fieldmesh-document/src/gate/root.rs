//! What the first change of a document must say.

use automerge::legacy::{Key, ObjectId, OpType};
use automerge::{ExpandedChange, ScalarValue};
use fieldmesh_model::{Scope, UserId};

use super::{Origin, Root};
use crate::chunk::Peeked;
use crate::keys;
use crate::view::{bytes, number};

/// A first change that may not begin its document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RootError {
    /// It does not say which collection, scope or key the record has.
    #[error("first change lacks {key}")]
    Lacks {
        /// What is missing.
        key: &'static str,
    },
    /// The document's id commits to another user or key.
    #[error("document does not belong to the user of this change")]
    NotTheirs,
    /// It names another user as the creator.
    #[error("change names another user as the creator")]
    WrongCreator,
    /// Collection and scope do not fit each other.
    #[error("scope of the record is of another collection")]
    WrongScope,
}

pub(super) fn check(
    change: &ExpandedChange,
    peeked: &Peeked,
    origin: &Origin,
) -> Result<Root, RootError> {
    let find = |name: &'static str| find(change, name);
    let Some(ScalarValue::Bytes(key)) = find(keys::KEY) else {
        return Err(RootError::Lacks { key: keys::KEY });
    };
    let lacks_scope = RootError::Lacks { key: keys::SCOPE };
    let scope = scope(change).ok_or(lacks_scope)?;
    let lacks_collection = RootError::Lacks { key: keys::COLLECTION };
    let collection = find(keys::COLLECTION).map(number).ok_or(lacks_collection)?;
    if collection != scope.collection {
        return Err(RootError::WrongScope);
    }
    let lacks_creator = RootError::Lacks { key: keys::CREATED_BY };
    let creator = find(keys::CREATED_BY).and_then(bytes).ok_or(lacks_creator)?;
    let creator = UserId::from_bytes(creator);
    if creator != origin.user && !origin.is_gateway {
        return Err(RootError::WrongCreator);
    }
    if !origin.document.is_derived_from(creator, origin.document.moment(), key) {
        return Err(RootError::NotTheirs);
    }
    Ok(Root { collection, scope, key: key.clone(), at: peeked.at })
}

/// The scope that a first change gives its document.
pub(super) fn scope(change: &ExpandedChange) -> Option<Scope> {
    find(change, keys::SCOPE).and_then(bytes).map(Scope::from_bytes)
}

// The last value that the change writes under a key of the root map.
fn find<'a>(change: &'a ExpandedChange, name: &str) -> Option<&'a ScalarValue> {
    change.operations.iter().rev().find_map(|operation| {
        match (&operation.obj, &operation.key, &operation.action) {
            (ObjectId::Root, Key::Map(key), OpType::Put(value)) if key == name => Some(value),
            _ => None,
        }
    })
}
