//! What a change writes, read from the change alone: what it builds on may be lost.

use std::collections::BTreeMap;

use automerge::legacy::{Key, ObjectId, OpType};
use automerge::{ChangeHash, ReadDoc};
use fieldmesh_model::Value;

use crate::document::Document;
use crate::first::First;
use crate::guard::guard;
use crate::history::made_for;
use crate::{keys, part, peek, scalar};

/// The fields that a change writes, by key: with the value it leaves, null if it clears the field,
/// and none where the value is put together with what the change builds on. Deletion and restoring
/// stand under `_deletedAt`.
///
/// Nothing vouches for it: whether the change counts, only what it builds on can tell. Nothing at
/// all is given of bytes that are no change.
pub fn written(change: &[u8]) -> BTreeMap<String, Option<Value>> {
    let decoded = peek(change).ok().and_then(|_| First::decode(change));
    let mut fields = BTreeMap::new();
    for operation in decoded.iter().flat_map(|change| &change.operations) {
        let (ObjectId::Root, Key::Map(key)) = (&operation.obj, &operation.key) else { continue };
        if keys::is_system(key) && key != keys::DELETED_AT {
            continue;
        }
        let field = part::field_of(key);
        let value = match &operation.action {
            OpType::Put(value) if field == key => Some(scalar::from_scalar(value)),
            OpType::Delete => Some(Value::Null),
            _ => None,
        };
        fields.insert(field.to_owned(), value);
    }
    fields
}

/// The user in whose name a change says that it was made, read from the change alone; none where it
/// says nothing, and whoever signed it made it.
pub fn written_for(change: &[u8]) -> Option<String> {
    let decoded = peek(change).ok().and_then(|_| First::decode(change))?;
    made_for(&decoded)
}

impl Document {
    /// The user in whose name a change of the record says that it was made, as [`written_for`].
    pub fn change_for(&self, change: &[u8; 32]) -> Option<String> {
        let said = guard(|| {
            let change = self.inner().get_change_by_hash(&ChangeHash(*change))?;
            made_for(&change.decode())
        });
        said.ok().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_change_write_nothing() {
        assert!(written(b"no change").is_empty());
    }
}
