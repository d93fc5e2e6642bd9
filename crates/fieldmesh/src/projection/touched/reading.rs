//! A document read anew from the changes that count, and which of them do not.

use std::collections::BTreeMap;

use fieldmesh_document::gate::Excluded;
use fieldmesh_model::DeviceId;

use crate::changes::{Closure, read_change};
use crate::rows::{ChangeRef, RecordRow};

use super::{Touched, full_hash};

impl Touched<'_> {
    /// Reads the record anew from the changes that count.
    pub(super) fn read(&mut self) {
        if !self.is_changed {
            return;
        }
        if let Some(record) = self.record.take() {
            self.row.record = Some(record);
            return;
        }
        self.load();
        // With one of its changes damaged the record stays as it was shown last.
        let Some((loaded, None)) = self.loaded.take() else { return };
        if loaded.is_empty() {
            return;
        }
        let policy = &self.sources.policy;
        self.list_excluded(&loaded.excluded(self.id, policy));
        let document = match self.document.take() {
            Some(document) => Ok(document),
            None => loaded.document(self.id, policy),
        };
        let schema = self.schemas.after(self.row.scope.collection, &self.id);
        let was_unreadable = self.row.record.is_none() && self.had_changes;
        let read =
            document.and_then(|document| RecordRow::judged(&document, &loaded, (policy, &schema)));
        match read {
            Ok(record) => {
                self.row.record = Some(record);
                if was_unreadable {
                    self.list_no_others();
                }
            }
            // What was shown before depends on what came when, so nothing is.
            Err(error) => {
                tracing::error!(document = %self.id.short(), %error, "a document cannot be read");
                self.row.record = None;
                self.refuse_newest(&loaded, format!("the record cannot be read: {error}"));
                self.list_no_others();
            }
        }
    }

    /// Lists the newest change, whichever came last.
    fn refuse_newest(&mut self, loaded: &Closure, reason: String) {
        let Some((newest, author)) = loaded.newest() else { return };
        let listed = self.row.changes.iter().find(|known| newest.starts_with(&known.hash));
        if let Some(reference) = listed.copied() {
            self.refuse(reference, author, reason);
        }
    }

    /// Takes off the list what is not listed by this reading of the document.
    fn list_no_others(&mut self) {
        let is_refused =
            |known: &ChangeRef| self.refused.iter().any(|refused| refused.reference == *known);
        self.counting =
            self.row.changes.iter().copied().filter(|known| !is_refused(known)).collect();
    }

    /// Lists which changes do not count although they are right, and no others.
    fn list_excluded(&mut self, excluded: &BTreeMap<[u8; 32], Excluded>) {
        if excluded.is_empty() {
            return;
        }
        let mut counting = Vec::new();
        for reference in self.row.changes.clone() {
            let mut named = excluded.keys().filter(|hash| hash.starts_with(&reference.hash));
            let source = named
                .next()
                .and_then(|_| read_change(self.sources.store, reference, self.sources.me).ok());
            let why = source.as_ref().and_then(|found| excluded.get(&full_hash(&found.change)?));
            match (source.as_ref(), why) {
                (Some(source), Some(why)) => self.refuse_excluded(reference, source.author, *why),
                _ => counting.push(reference),
            }
        }
        self.counting = counting;
    }

    fn refuse_excluded(&mut self, reference: ChangeRef, author: DeviceId, why: Excluded) {
        let reason = match why {
            Excluded::Equivocation => "its author signed another change for the same place",
            _ => "it builds on a change that does not count",
        };
        self.refuse(reference, author, reason.into());
    }
}
