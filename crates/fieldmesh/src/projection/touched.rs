//! A document whose changes are being applied.

use std::collections::BTreeMap;

use fieldmesh_document::gate::Origin;
use fieldmesh_document::{Document, gate};
use fieldmesh_model::{DocumentId, Scope};
use fieldmesh_store::{Store, Tree, WriteSet};

use crate::changes::{Closure, Source, read_change};
use crate::error::Error;
use crate::rows::{self, ChangeRef, DocumentRow, RecordRow};
use crate::schema;

use super::{Sources, index};

/// Changes of one document that wait for others; more stay in the log and are found again when
/// the view is rebuilt.
const WAITING_MAX: usize = 256;

/// A document whose changes are being applied.
pub(super) struct Touched {
    row: DocumentRow,
    before: Option<RecordRow>,
    /// The accepted changes, once they had to be read.
    loaded: Option<Closure>,
    /// The document with all of them, if judging the last one has made it.
    document: Option<Document>,
}

/// A change that was refused.
pub(super) struct Refused {
    pub(super) reference: ChangeRef,
    pub(super) author: fieldmesh_model::DeviceId,
    pub(super) reason: String,
}

enum Verdict {
    Accepted,
    Waits,
    Refused(String),
}

impl Touched {
    pub(super) fn open(row: Option<DocumentRow>, scope: Scope) -> Self {
        let row = row.unwrap_or(DocumentRow {
            scope,
            changes: Vec::new(),
            waiting: Vec::new(),
            record: None,
        });
        let before = row.record.clone();
        Self { row, before, loaded: None, document: None }
    }

    /// Adds one change and every waiting one that it sets free; gives those that were refused.
    pub(super) fn add(
        &mut self,
        id: DocumentId,
        sources: &Sources<'_>,
        reference: ChangeRef,
        source: Source,
    ) -> Result<Vec<Refused>, Error> {
        let known = |list: &[ChangeRef]| list.iter().any(|known| known.hash == reference.hash);
        if known(&self.row.changes) || known(&self.row.waiting) {
            return Ok(Vec::new());
        }
        let mut refused = Vec::new();
        let mut next = vec![(reference, source)];
        while let Some((reference, source)) = next.pop() {
            match self.judge(id, sources, &source) {
                Verdict::Waits => self.wait(reference),
                Verdict::Refused(reason) => {
                    refused.push(Refused { reference, author: source.author, reason });
                }
                Verdict::Accepted => {
                    self.row.changes.push(reference);
                    for waiting in std::mem::take(&mut self.row.waiting) {
                        let source = read_change(sources.store, waiting, sources.me)?;
                        next.push((waiting, source));
                    }
                }
            }
        }
        Ok(refused)
    }

    fn wait(&mut self, reference: ChangeRef) {
        if self.row.waiting.len() < WAITING_MAX {
            self.row.waiting.push(reference);
        } else {
            tracing::warn!(limit = WAITING_MAX, "too many changes of one document wait for others");
        }
    }

    fn judge(&mut self, id: DocumentId, sources: &Sources<'_>, source: &Source) -> Verdict {
        let Ok(peeked) = fieldmesh_document::peek(&source.change) else {
            return Verdict::Refused("the change cannot be read".into());
        };
        let Some(member) = sources.policy.member(&source.author) else {
            return Verdict::Refused("its author is no member of the tenant".into());
        };
        let user = member.user;
        let loaded = match self.load(sources) {
            Ok(loaded) => loaded,
            // One damaged frame must not hold up every other record.
            Err(error) => {
                return Verdict::Refused(format!("an earlier change is lost: {error}"));
            }
        };
        let Some(closure) = loaded.reach(&peeked.deps) else { return Verdict::Waits };
        let is_whole = closure.len() == loaded.len();
        let Source { author, epoch, ref change } = *source;
        let origin = Origin { document: id, author, epoch, user };
        match gate::judge(change, &closure, &origin) {
            Ok(accepted) => {
                loaded.insert(peeked, change.clone());
                self.document = is_whole.then_some(accepted.document);
                Verdict::Accepted
            }
            Err(refusal) => Verdict::Refused(refusal.to_string()),
        }
    }

    fn load(&mut self, sources: &Sources<'_>) -> Result<&mut Closure, Error> {
        let loaded = match self.loaded.take() {
            Some(loaded) => loaded,
            None => Closure::read(sources.store, &self.row.changes, sources.me)?,
        };
        Ok(self.loaded.insert(loaded))
    }

    /// Reads the record anew and writes the row and the index entries that changed.
    pub(super) fn finish(
        mut self,
        id: DocumentId,
        store: &Store,
        counts: &mut BTreeMap<u16, i64>,
        writes: &mut WriteSet,
    ) -> Result<(), Error> {
        let collection = self.row.scope.collection;
        let schema = schema::numbered(collection);
        let document = match (self.document.take(), self.loaded.take()) {
            (Some(document), _) => Some(document),
            (None, Some(loaded)) if !loaded.is_empty() => {
                Some(Document::load(id, loaded.in_order()).map_err(|error| Error::store(&error))?)
            }
            (None, _) => None,
        };
        if let Some(document) = document {
            self.row.record = Some(RecordRow::of(&document, &schema)?);
        }
        writes.put(Tree::Document, id.as_bytes().to_vec(), rows::encode(&self.row));
        let (before, after) = (self.before.as_ref(), self.row.record.as_ref());
        let live = |record: Option<&RecordRow>| i64::from(record.is_some_and(|row| !row.deleted));
        *counts.entry(collection).or_default() += live(after) - live(before);
        index::update(&schema, id, store, before, after, writes);
        Ok(())
    }
}
