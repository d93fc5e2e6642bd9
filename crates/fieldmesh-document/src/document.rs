//! One document: its changes, loaded.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use automerge::transaction::CommitOptions;
use automerge::{ActorId, Automerge, AutomergeError, ChangeHash};
use fieldmesh_model::schema::Collection;
use fieldmesh_model::{DocumentId, Edit, Moment, UserId};
use uuid::Uuid;

use crate::create::{CreateError, CreateRecord, first};
use crate::first::First;
use crate::guard::{Panicked, guard};
use crate::{edit, keys};

/// A record as an Automerge document.
#[derive(Debug, Clone)]
pub struct Document {
    pub(crate) id: DocumentId,
    /// The only change of a document that was not loaded yet: most are read and never edited.
    pub(crate) first: Option<Box<First>>,
    inner: OnceLock<Automerge>,
    /// The items of the inbox that the next change says it settles, each with the records that it
    /// is about where these are several.
    settling: Vec<(Uuid, Vec<DocumentId>)>,
}

/// Changes that cannot be loaded together.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// Automerge refuses the changes: one is malformed, lacks a dependency or repeats a sequence
    /// number.
    #[error("changes do not make a document")]
    Automerge(#[source] AutomergeError),
    /// Automerge panicked on the changes.
    #[error(transparent)]
    Panicked(#[from] Panicked),
    /// There are no changes.
    #[error("document has no changes")]
    Empty,
}

/// An edit that cannot be written; the document is as before.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EditError {
    /// A field's key begins with `_`.
    #[error("field {key:?} is reserved")]
    ReservedKey {
        /// The key.
        key: String,
    },
    /// The change would be refused everywhere.
    #[error("change has {operations} operations and {size} bytes, more than any replica takes")]
    TooLarge {
        /// Its operations.
        operations: usize,
        /// Its bytes.
        size: usize,
    },
    /// Automerge refuses the edit.
    #[error("edit does not fit the document")]
    Automerge(#[source] AutomergeError),
    /// Automerge panicked; load the document again.
    #[error(transparent)]
    Panicked(#[from] Panicked),
}

/// What is known of a change besides what it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) hash: [u8; 32],
    pub(crate) actor: Vec<u8>,
    pub(crate) seq: u64,
    pub(crate) start_op: u64,
    pub(crate) max_op: u64,
    pub(crate) at: Moment,
    pub(crate) deps: Vec<[u8; 32]>,
}

impl Document {
    /// Creates a record; returns its document and the bytes of its root change.
    ///
    /// # Errors
    ///
    /// The fields hold a reserved key, or more than one change can carry.
    pub fn create(record: &CreateRecord<'_>) -> Result<(Self, Vec<u8>), CreateError> {
        let first = first(record)?;
        let bytes = first.bytes().to_vec();
        Ok((Self::of_first(record.id, first), bytes))
    }

    /// Loads the document of `id` from all its changes, in any order.
    ///
    /// # Errors
    ///
    /// One bad, missing or equivocal change spoils all: nothing was loaded.
    pub fn load<'a>(
        id: DocumentId,
        changes: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Self, LoadError> {
        let mut changes = changes.into_iter();
        let mut bytes = changes.next().ok_or(LoadError::Empty)?.to_vec();
        let mut is_single = true;
        for change in changes {
            bytes.extend_from_slice(change);
            is_single = false;
        }
        match First::read(&bytes).filter(|_| is_single) {
            Some(first) => Ok(Self::of_first(id, first)),
            None => Self::load_all(id, &bytes),
        }
    }

    /// Loads concatenated changes with Automerge, at once.
    pub(crate) fn load_all(id: DocumentId, bytes: &[u8]) -> Result<Self, LoadError> {
        if bytes.is_empty() {
            return Err(LoadError::Empty);
        }
        let inner = guard(|| Automerge::load(bytes))?.map_err(LoadError::Automerge)?;
        Ok(Self::of(id, inner))
    }

    pub(crate) fn of(id: DocumentId, inner: Automerge) -> Self {
        Self { id, first: None, inner: OnceLock::from(inner), settling: Vec::new() }
    }

    /// The document of a first change whose form was checked.
    pub(crate) fn of_first(id: DocumentId, first: First) -> Self {
        Self { id, first: Some(Box::new(first)), inner: OnceLock::new(), settling: Vec::new() }
    }

    /// Automerge's document. Call it inside [`guard`] only.
    pub(crate) fn inner(&self) -> &Automerge {
        self.inner.get_or_init(|| {
            let first = self.first.as_ref().expect("invariant: a document has a change");
            Automerge::load(first.bytes()).expect("invariant: a change of a first's form loads")
        })
    }

    /// The record's id.
    pub fn id(&self) -> DocumentId {
        self.id
    }

    /// The hashes of the changes that no other builds on, sorted.
    pub fn heads(&self) -> Vec<[u8; 32]> {
        if let Some(first) = &self.first {
            return vec![first.hash()];
        }
        self.inner().get_heads().into_iter().map(|head| head.0).collect()
    }

    /// One hash over the heads: equal exactly where documents are equal.
    pub fn heads_digest(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_derive_key("fieldmesh/heads/1");
        for head in self.heads() {
            hasher.update(&head);
        }
        *hasher.finalize().as_bytes()
    }

    /// How many changes the document has.
    pub fn change_count(&self) -> usize {
        match &self.first {
            Some(_) => 1,
            None => self.inner().get_changes_meta(&[]).len(),
        }
    }

    /// The hashes of all changes.
    pub fn changes(&self) -> Vec<[u8; 32]> {
        match &self.first {
            Some(first) => vec![first.hash()],
            None => self.inner().get_changes_meta(&[]).iter().map(|meta| meta.hash.0).collect(),
        }
    }

    /// Applies edits as one change at `at`; returns its bytes, or `None` if nothing changes.
    ///
    /// An edit of a field replaces all its concurrent values. The caller has validated the edits.
    ///
    /// # Errors
    ///
    /// The edits cannot be written; the document is as before.
    pub fn edit(
        &mut self,
        collection: &Collection,
        actor: [u8; 16],
        at: Moment,
        edits: &[Edit],
    ) -> Result<Option<Vec<u8>>, EditError> {
        self.edit_for(collection, actor, at, edits, None)
    }

    /// As [`Self::edit`], in the name of a user of the gateway that writes; a change that changes
    /// nothing else is none.
    ///
    /// # Errors
    ///
    /// The edits cannot be written; the document is as before.
    pub fn edit_for(
        &mut self,
        collection: &Collection,
        actor: [u8; 16],
        at: Moment,
        edits: &[Edit],
        user: Option<&str>,
    ) -> Result<Option<Vec<u8>>, EditError> {
        if let Some(reserved) = edits.iter().find(|edit| keys::is_system(edit.key())) {
            return Err(EditError::ReservedKey { key: reserved.key().to_owned() });
        }
        self.change(actor, at, |transaction| {
            for one in edits {
                edit::write(transaction, collection, &actor, one)?;
            }
            match user.filter(|_| edit::pending(transaction) > 0) {
                Some(user) => edit::sign_for(transaction, user),
                None => Ok(()),
            }
        })
    }

    /// Deletes the record: a tombstone that only [`Self::restore`] takes away.
    ///
    /// `None` if it is deleted already and nobody edited it unaware of that; otherwise the new
    /// tombstone also settles those edits.
    ///
    /// # Errors
    ///
    /// The change cannot be written; the document is as before.
    pub fn delete(
        &mut self,
        actor: [u8; 16],
        at: Moment,
        user: UserId,
        superseded_by: Option<DocumentId>,
    ) -> Result<Option<Vec<u8>>, EditError> {
        let (is_deleted, edits) = guard(|| (!self.tombstones().is_empty(), self.unaware_edits()))?;
        if is_deleted && edits.is_empty() && superseded_by.is_none() {
            return Ok(None);
        }
        self.change(actor, at, |transaction| edit::delete(transaction, at, user, superseded_by))
    }

    /// Takes the tombstone away; `None` if there is none.
    ///
    /// # Errors
    ///
    /// The change cannot be written; the document is as before.
    pub fn restore(&mut self, actor: [u8; 16], at: Moment) -> Result<Option<Vec<u8>>, EditError> {
        self.restore_for(actor, at, None)
    }

    /// As [`Self::restore`], in the name of a user of the gateway that writes.
    ///
    /// # Errors
    ///
    /// The change cannot be written; the document is as before.
    pub fn restore_for(
        &mut self,
        actor: [u8; 16],
        at: Moment,
        user: Option<&str>,
    ) -> Result<Option<Vec<u8>>, EditError> {
        if guard(|| self.tombstones())?.is_empty() {
            return Ok(None);
        }
        self.change(actor, at, |transaction| {
            edit::restore(transaction)?;
            user.map_or(Ok(()), |user| edit::sign_for(transaction, user))
        })
    }

    /// Has the next change that is made here say that it settles these items of the inbox: what
    /// ends a conflict without that may be by somebody who never saw that there was one.
    pub fn settling(&mut self, items: impl IntoIterator<Item = Uuid>) {
        self.settling.extend(items.into_iter().map(|item| (item, Vec::new())));
    }

    /// Has the next change that is made here say that it settles an item about several records: it
    /// is said in each of them, also where nothing else of it changes.
    pub fn settling_alike(&mut self, item: Uuid, records: &[DocumentId]) {
        self.settling.push((item, records.to_vec()));
    }

    /// Whether the next change decides about several records.
    pub(crate) fn decides(&self) -> bool {
        self.settling.iter().any(|(_, records)| !records.is_empty())
    }

    pub(crate) fn change(
        &mut self,
        actor: [u8; 16],
        at: Moment,
        write: impl FnOnce(&mut edit::Transaction<'_>) -> Result<(), AutomergeError>,
    ) -> Result<Option<Vec<u8>>, EditError> {
        // A panic or a refused change leaves the original untouched.
        let mut inner = guard(|| self.inner().clone())?;
        let written = guard(|| {
            inner.set_actor(ActorId::from(actor));
            let mut transaction = inner.transaction();
            let settled = match write(&mut transaction) {
                Ok(()) if edit::pending(&transaction) > 0 || self.decides() => {
                    edit::settle(&mut transaction, &self.settling)
                }
                written => written,
            };
            if let Err(error) = settled {
                transaction.rollback();
                return Err(error);
            }
            let operations = edit::pending(&transaction);
            if operations == 0 {
                transaction.rollback();
                return Ok(None);
            }
            transaction.commit_with(CommitOptions::default().with_time(at.as_millis()));
            Ok(inner.get_last_local_change().map(|change| (operations, change)))
        })?
        .map_err(EditError::Automerge)?;
        let Some((operations, change)) = written else { return Ok(None) };
        let size = change.raw_bytes().len();
        if crate::gate::exceeds(operations, size) {
            return Err(EditError::TooLarge { operations, size });
        }
        *self = Self::of(self.id, inner);
        Ok(Some(change.raw_bytes().to_vec()))
    }

    /// Every change without its operations, in an order that puts dependencies first.
    pub(crate) fn metas(&self) -> Vec<Meta> {
        let meta = |meta: automerge::ChangeMetadata<'_>| Meta {
            hash: meta.hash.0,
            actor: meta.actor.to_bytes().to_vec(),
            seq: meta.seq,
            start_op: meta.start_op,
            max_op: meta.max_op,
            at: Moment::from_millis(meta.timestamp),
            deps: meta.deps.iter().map(|dep| dep.0).collect(),
        };
        self.inner().get_changes_meta(&[]).into_iter().map(meta).collect()
    }
}

/// The changes of a document by hash.
pub(crate) fn by_hash(metas: &[Meta]) -> BTreeMap<[u8; 32], &Meta> {
    metas.iter().map(|meta| (meta.hash, meta)).collect()
}

/// The root change: the one without dependencies that is earliest, then smallest by hash.
pub(crate) fn root(metas: &[Meta]) -> Option<&Meta> {
    metas.iter().filter(|meta| meta.deps.is_empty()).min_by_key(|meta| (meta.at, meta.hash))
}

/// Hashes as Automerge wants them.
pub(crate) fn hashes(hashes: &[[u8; 32]]) -> Vec<ChangeHash> {
    hashes.iter().copied().map(ChangeHash).collect()
}
