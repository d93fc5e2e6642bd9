//! What a record says of others that were recorded for the same thing: that one of them takes its
//! place, or that both are meant.

use std::collections::BTreeSet;

use automerge::{AutomergeError, ROOT, ReadDoc, ScalarValue, transaction::Transactable};
use fieldmesh_model::{DocumentId, Moment, UserId};

use crate::document::{Document, EditError};
use crate::edit::{self, Transaction};
use crate::guard::guard;
use crate::view::{ReadError, bytes};
use crate::{keys, scalar};

/// What a record says of others, by all its concurrent changes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Kinship {
    /// Whether it is deleted.
    pub is_deleted: bool,
    /// The records that take its place.
    pub superseded_by: BTreeSet<DocumentId>,
    /// The records beside which it is meant.
    pub apart_from: BTreeSet<DocumentId>,
}

impl Document {
    /// What the record says of others.
    ///
    /// # Errors
    ///
    /// The document cannot be read; that of gated changes always can.
    pub fn kinship(&self) -> Result<Kinship, ReadError> {
        // The first change of an honest record says nothing of others.
        if self.first.as_ref().is_some_and(|first| first.view(self.id).is_some()) {
            return Ok(Kinship::default());
        }
        Ok(guard(|| self.read_kinship())??)
    }

    fn read_kinship(&self) -> Result<Kinship, AutomergeError> {
        let is_deleted = !self.tombstones().is_empty();
        let superseding = self.scalars(keys::SUPERSEDED_BY)?.into_iter();
        let superseded_by =
            superseding.filter_map(|value| bytes(&value).map(DocumentId::from_bytes)).collect();
        let mut apart_from = BTreeSet::new();
        for item in self.inner().map_range(ROOT, ..) {
            let Some(other) = keys::apart_from(&item.key) else { continue };
            // Whoever says that both are meant is not overruled by somebody who did not know.
            if self.scalars(&item.key)?.contains(&ScalarValue::Boolean(true)) {
                apart_from.insert(other);
            }
        }
        Ok(Kinship { is_deleted, superseded_by, apart_from })
    }

    fn scalars(&self, key: &str) -> Result<Vec<ScalarValue>, AutomergeError> {
        let values = self.inner().get_all(ROOT, key)?.into_iter();
        Ok(values.filter_map(|(value, _)| value.into_scalar().ok()).collect())
    }

    /// Says that the record is meant beside `others`, and takes its tombstone away.
    ///
    /// It is written anew where it is said already, so that whoever says the contrary at the same
    /// time does not overrule it. `None` if there are no others.
    ///
    /// # Errors
    ///
    /// The change cannot be written; the document is as before.
    pub fn tell_apart(
        &mut self,
        actor: [u8; 16],
        at: Moment,
        others: &[DocumentId],
    ) -> Result<Option<Vec<u8>>, EditError> {
        self.tell_apart_for(actor, at, others, None)
    }

    /// As [`Self::tell_apart`], in the name of a user of the gateway that writes.
    ///
    /// # Errors
    ///
    /// The change cannot be written; the document is as before.
    pub fn tell_apart_for(
        &mut self,
        actor: [u8; 16],
        at: Moment,
        others: &[DocumentId],
        user: Option<&str>,
    ) -> Result<Option<Vec<u8>>, EditError> {
        let is_deleted = !guard(|| self.tombstones())?.is_empty();
        self.change(actor, at, |transaction| {
            if is_deleted {
                edit::restore(transaction)?;
            }
            for other in others {
                edit::force(transaction, &keys::apart(*other), ScalarValue::Boolean(true))?;
            }
            match user.filter(|_| edit::pending(transaction) > 0) {
                Some(user) => edit::sign_for(transaction, user),
                None => Ok(()),
            }
        })
    }

    /// Deletes the record in favour of `kept`, as somebody who knows all that is said here; `None`
    /// if that is what it says already.
    ///
    /// # Errors
    ///
    /// The change cannot be written; the document is as before.
    pub fn give_way(
        &mut self,
        actor: [u8; 16],
        at: Moment,
        user: UserId,
        kept: DocumentId,
    ) -> Result<Option<Vec<u8>>, EditError> {
        let said = guard(|| self.read_kinship())?.map_err(EditError::Automerge)?;
        let is_done = said.is_deleted
            && said.superseded_by == BTreeSet::from([kept])
            && !said.apart_from.contains(&kept);
        match is_done {
            false => self.delete(actor, at, user, Some(kept)),
            // Who decides the same once more deletes nothing anew.
            true if self.decides() => self.change(actor, at, |transaction| {
                let kept = ScalarValue::Bytes(kept.as_bytes().to_vec());
                edit::force(transaction, keys::SUPERSEDED_BY, kept)
            }),
            true => Ok(None),
        }
    }

    /// Takes the tombstone away, and what says that the record is meant beside `others`; `None` if
    /// there is neither.
    ///
    /// # Errors
    ///
    /// The change cannot be written; the document is as before.
    pub fn keep_over(
        &mut self,
        actor: [u8; 16],
        at: Moment,
        others: &[DocumentId],
    ) -> Result<Option<Vec<u8>>, EditError> {
        self.keep_over_for(actor, at, others, None)
    }

    /// As [`Self::keep_over`], in the name of a user of the gateway that writes.
    ///
    /// # Errors
    ///
    /// The change cannot be written; the document is as before.
    pub fn keep_over_for(
        &mut self,
        actor: [u8; 16],
        at: Moment,
        others: &[DocumentId],
        user: Option<&str>,
    ) -> Result<Option<Vec<u8>>, EditError> {
        let is_deleted = !guard(|| self.tombstones())?.is_empty();
        self.change(actor, at, |transaction| {
            if is_deleted {
                edit::restore(transaction)?;
            }
            others.iter().try_for_each(|other| rejoin(transaction, *other))?;
            match user.filter(|_| edit::pending(transaction) > 0) {
                Some(user) => edit::sign_for(transaction, user),
                None => Ok(()),
            }
        })
    }
}

/// Takes away what says that the record is meant beside `other`.
pub(crate) fn rejoin(
    transaction: &mut Transaction<'_>,
    other: DocumentId,
) -> Result<(), AutomergeError> {
    let key = keys::apart(other);
    let values = transaction.get_all(ROOT, &key)?;
    let is_said = values.iter().any(|(value, _)| match value {
        automerge::Value::Scalar(value) => !scalar::from_scalar(value).is_cleared(),
        automerge::Value::Object(_) => true,
    });
    if is_said { transaction.put(ROOT, key, ScalarValue::Null) } else { Ok(()) }
}
