//! Says of records that are alike that each of them is meant.

use fieldmesh_model::{DocumentId, Moment};

use super::{Write, refused};
use crate::error::Error;

impl Write<'_> {
    /// Says of each of two records that it is meant beside the other, which settles the items about
    /// both. `at` is when `user` did.
    ///
    /// # Errors
    ///
    /// There is no such record, or this device's member may not settle what it is in.
    pub fn keep_both(&mut self, ids: [DocumentId; 2], at: Moment, user: &str) -> Result<(), Error> {
        let mut items = Vec::new();
        if let Some(row) = self.ledger.row(ids[0])?
            && let Some(record) = &row.record
        {
            let schema = self.ledger.schema(row.scope.collection);
            items = self.ledger.groups_of(ids[0], &schema, record)?;
            items.retain(|group| group.members.contains(&ids[1]));
        }
        let [first, second] = ids;
        let policy = self.ledger.policy();
        for (id, other) in [(first, second), (second, first)] {
            self.change(&policy, (id, true), None, |document, _, actor| {
                for group in &items {
                    if let Ok(item) = group.item.parse() {
                        document.settling_alike(item, &group.members);
                    }
                }
                let written = document.tell_apart_for(actor, at, &[other], Some(user));
                written.map_err(|error| refused(&error))
            })?;
        }
        Ok(())
    }
}
