//! Indexes of the log that are damaged: nothing is lost by them, and they are written anew.

use std::collections::BTreeSet;

use fieldmesh_store::{BadFrame, ClosedSegment, Damage};

use crate::error::Error;

use super::Ledger;

/// Whether a bad part of the log is one that only says where entries lie, or holds none any more.
pub(super) const fn costs_nothing(bad: &BadFrame) -> bool {
    let is_empty = bad.sequences.start >= bad.sequences.end;
    is_empty && matches!(bad.damage, Damage::Index | Damage::Body)
}

impl Ledger {
    /// Writes those parts of the log anew in which only an index is bad; gives what is left of
    /// that, in words.
    pub(super) fn mend_indexes<'b>(
        &self,
        bad: impl Iterator<Item = &'b BadFrame>,
    ) -> Result<Vec<String>, Error> {
        let bad: BTreeSet<u64> = bad.map(|bad| bad.segment).collect();
        if bad.is_empty() {
            return Ok(Vec::new());
        }
        let mut left = Vec::new();
        let _turn = self.pause_upkeep();
        let closed = self.store.closed_segments().map_err(|error| Error::store(&error))?;
        for segment in closed.into_iter().filter(|segment| bad.contains(&segment.number)) {
            let (number, has_index) = (segment.number, segment.has_index);
            let part = if has_index { "a part without entries" } else { "the index" };
            match self.rewrite(&[segment]) {
                Ok(_) if has_index => {
                    self.note_mended(&[format!(
                        "{part} of segment {number} of the log was damaged"
                    )])?;
                }
                // The rewriting has noted it.
                Ok(_) => {}
                Err(error) => left.push(format!(
                    "{part} of segment {number} of the log is damaged, by which no entry is lost; \
                     it could not be written anew, which `fieldmesh compact` does: {error}"
                )),
            }
        }
        Ok(left)
    }

    /// Keeps in mind that damaged indexes among these were written anew.
    pub(super) fn note_indexes(&self, run: &[ClosedSegment]) {
        let found = run.iter().filter(|segment| !segment.has_index);
        let said = |number: u64| format!("the index of segment {number} of the log was damaged");
        let found: Vec<String> = found.map(|segment| said(segment.number)).collect();
        if let Err(error) = self.note_mended(&found) {
            tracing::warn!(%error, "that an index was mended could not be noted");
        }
    }
}
