//! Says of records that are alike which of them is meant, where that is more than to delete one.

use fieldmesh_document::Document;
use fieldmesh_model::{DocumentId, Moment};

use super::{Write, refused};
use crate::alike::row::AlikeGroup;
use crate::error::Error;

impl Write<'_> {
    /// Says of each of two records that it is meant beside the other, which settles the items about
    /// both. `at` is when `user` did.
    ///
    /// # Errors
    ///
    /// There is no such record, or this device's member may not settle what it is in.
    pub fn keep_both(&mut self, ids: [DocumentId; 2], at: Moment, user: &str) -> Result<(), Error> {
        let items = self.items_about(ids)?;
        let [first, second] = ids;
        let policy = self.ledger.policy();
        for (id, other) in [(first, second), (second, first)] {
            self.change(&policy, (id, true), None, |document, _, actor| {
                name(&items, document);
                let written = document.tell_apart_for(actor, at, &[other], Some(user));
                written.map_err(|error| refused(&error))
            })?;
        }
        Ok(())
    }

    /// Keeps one of two records of which people have said contrary things, each deleting another
    /// one or keeping both, and deletes the other in its favour: whatever was said before, `user`
    /// has seen it.
    ///
    /// # Errors
    ///
    /// There is no such record, or this device's member may not settle what it is in.
    pub fn keep_one(
        &mut self,
        kept: DocumentId,
        gone: DocumentId,
        at: Moment,
        user: &str,
    ) -> Result<(), Error> {
        let items = self.items_about([kept, gone])?;
        let (policy, by) = (self.ledger.policy(), self.ledger.creator(user));
        self.change(&policy, (kept, true), None, |document, _, actor| {
            name(&items, document);
            let written = document.keep_over_for(actor, at, &[gone], Some(user));
            written.map_err(|error| refused(&error))
        })?;
        self.change(&policy, (gone, true), None, |document, _, actor| {
            name(&items, document);
            document.give_way(actor, at, by, kept).map_err(|error| refused(&error))
        })?;
        Ok(())
    }

    /// The items of the inbox that are about both records.
    fn items_about(&self, ids: [DocumentId; 2]) -> Result<Vec<AlikeGroup>, Error> {
        let Some(row) = self.ledger.row(ids[0])? else { return Ok(Vec::new()) };
        let Some(record) = &row.record else { return Ok(Vec::new()) };
        let schema = self.ledger.schema(row.scope.collection);
        let mut items = self.ledger.groups_of(ids[0], &schema, record)?;
        items.retain(|group| group.members.contains(&ids[1]));
        Ok(items)
    }
}

/// Has the next change of a record say which items it settles.
fn name(items: &[AlikeGroup], document: &mut Document) {
    for group in items {
        if let Ok(item) = group.item.parse() {
            document.settling_alike(item, &group.members);
        }
    }
}
