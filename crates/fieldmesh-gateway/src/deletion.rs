//! Where a deletion meets an edit: which of them stands until somebody decides.

use fieldmesh::gateway::Held;
use fieldmesh_dialect::outcome::{Fate, Reason};
use fieldmesh_model::Fields;

use crate::Failure;
use crate::push::Writing;
use crate::ready::Ready;

impl Writing<'_> {
    /// What becomes of an edit of a record that is deleted: it stands beside the deletion until
    /// somebody decides, whether its author knew of that or not, for nobody would see it behind one.
    /// `on` is up to where he knew the record. What says nothing new is about no record.
    pub(crate) fn update_deleted(
        &mut self,
        held: &Held,
        on: u64,
        changed: &Fields,
        ready: &Ready<'_>,
    ) -> Result<Fate, Failure> {
        if changed.is_empty() {
            return Ok(Fate::Rejected(Reason::NoRecord));
        }
        if let Some(why) = self.task.decides_alike(held, Some(changed))? {
            return Ok(Fate::Rejected(Reason::Forbidden { why }));
        }
        let on = self.write.version_before_deletion(held.id)?.min(on);
        self.contest(held, on, changed, &[], ready)
    }
}
