//! Records that were taken in though they break rules which no source states.

use fieldmesh::Error;
use fieldmesh::gateway::Access;
use fieldmesh_model::{DocumentId, Fault};

use crate::{keys, stored};

/// A record that breaks rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The record.
    pub record: DocumentId,
    /// Which rules, in the words of people.
    pub faults: Vec<Fault>,
}

/// The violations behind that of the record `after`; at most `count`.
pub(crate) fn list(
    access: &Access,
    after: Option<DocumentId>,
    count: usize,
) -> Result<Vec<Violation>, Error> {
    let after = after.map(keys::violation);
    let mut listed = Vec::new();
    for (key, note) in access.notes(keys::VIOLATIONS, after.as_deref(), count)? {
        let Some(id) = key.last_chunk::<16>() else { continue };
        let rows: Vec<(String, String)> = stored::decode(&note)?;
        let faults = rows.into_iter().map(|(field, message)| Fault::new(field, message)).collect();
        listed.push(Violation { record: DocumentId::from_bytes(*id), faults });
    }
    Ok(listed)
}
