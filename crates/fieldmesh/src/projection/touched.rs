//! A document to which changes have arrived: judged, merged and read anew.
//!
//! Documents do not depend on each other, so each is worked on by whichever core is free.

use fieldmesh_document::gate::{self, Excluded, Origin};
use fieldmesh_model::{DeviceId, DocumentId, Scope};
use fieldmesh_store::Tree;

use crate::changes::{Closure, Source, read_change};
use crate::error::Error;
use crate::rows::{self, ChangeRef, DocumentRow, RecordRow};
use crate::schema;

use super::Sources;

/// Changes of one document that wait for others; more are refused, and listed.
const WAITING_MAX: usize = 256;

/// The largest record that is shown, as its row; an honest one has at most a quarter of it.
const RECORD_ROW_MAX: usize = 1024 * 1024;

/// A change that has arrived.
pub(super) struct Arrival {
    pub(super) reference: ChangeRef,
    pub(super) source: Source,
}

/// A document after its changes.
pub(super) struct Done {
    pub(super) id: DocumentId,
    pub(super) row: DocumentRow,
    pub(super) before: Option<RecordRow>,
    pub(super) refused: Vec<Refused>,
}

/// A change that was refused.
pub(super) struct Refused {
    pub(super) reference: ChangeRef,
    pub(super) author: DeviceId,
    pub(super) reason: String,
}

enum Verdict {
    Accepted,
    Waits,
    Refused(String),
}

/// A document while its changes are applied.
struct Touched<'a> {
    id: DocumentId,
    sources: &'a Sources<'a>,
    row: DocumentRow,
    /// The accepted changes, once they had to be read.
    loaded: Option<Closure>,
    /// The document with all of them, if judging the last one has made it.
    document: Option<fieldmesh_document::Document>,
    refused: Vec<Refused>,
}

/// Applies `arrivals` to the document `id`.
///
/// # Errors
///
/// The view cannot be read. What is wrong with a change or with the document's past is no error:
/// it is refused, so that one damaged frame never holds up every other record.
pub(super) fn apply(
    id: DocumentId,
    scope: Scope,
    arrivals: Vec<Arrival>,
    sources: &Sources<'_>,
) -> Result<Done, Error> {
    let row: Option<DocumentRow> = rows::find(sources.store.view(), Tree::Document, id.as_bytes())?;
    let row = row.unwrap_or_else(|| DocumentRow::new(scope));
    let before = row.record.clone();
    let mut touched =
        Touched { id, sources, row, loaded: None, document: None, refused: Vec::new() };
    for Arrival { reference, source } in arrivals {
        touched.add(reference, source);
    }
    touched.read();
    Ok(Done { id, row: touched.row, before, refused: touched.refused })
}

impl Touched<'_> {
    /// Adds one change and every waiting one that it sets free.
    fn add(&mut self, reference: ChangeRef, source: Source) {
        let mut listed = self.row.changes.iter_mut().chain(&mut self.row.waiting);
        if let Some(known) = listed.find(|known| known.hash == reference.hash) {
            // The newer copy is the one that a batch holds, or that a peer brought again because
            // the older one is damaged.
            *known = reference;
            return;
        }
        let mut next = vec![(reference, source)];
        while let Some((reference, source)) = next.pop() {
            match self.judge(&source) {
                Verdict::Waits => self.wait(reference, source.author),
                Verdict::Refused(reason) => self.refuse(reference, source.author, reason),
                Verdict::Accepted => {
                    self.row.changes.push(reference);
                    for waiting in std::mem::take(&mut self.row.waiting) {
                        match read_change(self.sources.store, waiting, self.sources.me) {
                            Ok(source) => next.push((waiting, source)),
                            // It stays in line; a healed frame can be read another time.
                            Err(_) => self.row.waiting.push(waiting),
                        }
                    }
                }
            }
        }
    }

    fn wait(&mut self, reference: ChangeRef, author: DeviceId) {
        if self.row.waiting.len() < WAITING_MAX {
            self.row.waiting.push(reference);
        } else {
            let reason = format!("{WAITING_MAX} changes of the record wait for others already");
            self.refuse(reference, author, reason);
        }
    }

    fn refuse(&mut self, reference: ChangeRef, author: DeviceId, reason: String) {
        self.refused.push(Refused { reference, author, reason });
    }

    fn judge(&mut self, source: &Source) -> Verdict {
        let Ok(peeked) = fieldmesh_document::peek(&source.change) else {
            return Verdict::Refused("the change cannot be read".into());
        };
        let Some(member) = self.sources.policy.member(&source.author) else {
            return Verdict::Refused("its author is no member of the tenant".into());
        };
        let Source { author, epoch, scope, ref change } = *source;
        let origin = Origin { document: self.id, author, epoch, scope, user: member.user };
        if let Err(error) = self.load() {
            // An earlier change is damaged; a peer may bring it again.
            tracing::error!(document = %self.id.short(), %error, "a change has to wait");
            return Verdict::Waits;
        }
        let loaded = self.loaded.get_or_insert_default();
        let Some(closure) = loaded.reach(&peeked.deps) else { return Verdict::Waits };
        let is_whole = closure.len() == loaded.len();
        match gate::judge(change, &closure, &origin) {
            Ok(accepted) => {
                let hash = peeked.hash;
                loaded.insert(peeked, author, change.clone());
                // Of several roots the earliest counts, whichever came first.
                if let Some(root) = accepted.root.filter(|_| loaded.root() == Some(hash)) {
                    self.row.scope = root.scope;
                }
                self.document = is_whole.then_some(accepted.document);
                Verdict::Accepted
            }
            Err(refusal) => Verdict::Refused(refusal.to_string()),
        }
    }

    fn load(&mut self) -> Result<(), Error> {
        if self.loaded.is_none() {
            let Sources { store, me, .. } = *self.sources;
            self.loaded = Some(Closure::read(store, &self.row.changes, me)?);
        }
        Ok(())
    }

    /// Reads the record anew from the changes that count.
    fn read(&mut self) {
        let Some(loaded) = self.loaded.take().filter(|loaded| !loaded.is_empty()) else { return };
        for (hash, why) in loaded.excluded() {
            let reference =
                self.row.changes.iter().find(|reference| hash.starts_with(&reference.hash));
            if let Some(reference) = reference.copied() {
                self.refuse_excluded(reference, why);
            }
        }
        let document = match self.document.take() {
            Some(document) => Ok(document),
            None => loaded.document(self.id),
        };
        let schema = schema::numbered(self.row.scope.collection);
        match document.and_then(|document| RecordRow::of(&document, &schema)) {
            Ok(record) if rows::encode(&record).len() <= RECORD_ROW_MAX => {
                self.row.record = Some(record);
            }
            Ok(_) => self.refuse_last("the record has grown beyond what can be shown".into()),
            Err(error) => {
                tracing::error!(document = %self.id.short(), %error, "a document cannot be read");
                self.refuse_last(format!("the record cannot be read: {error}"));
            }
        }
    }

    /// Lists the newest change; the record stays as it was shown last.
    fn refuse_last(&mut self, reason: String) {
        if let Some(reference) = self.row.changes.last().copied() {
            let found = read_change(self.sources.store, reference, self.sources.me);
            let author = found.map_or(self.sources.me, |source| source.author);
            self.refuse(reference, author, reason);
        }
    }

    fn refuse_excluded(&mut self, reference: ChangeRef, why: Excluded) {
        let found = read_change(self.sources.store, reference, self.sources.me);
        let author = found.map_or(self.sources.me, |source| source.author);
        let reason = match why {
            Excluded::Equivocation => "its author signed another change for the same place",
            _ => "it builds on a change that does not count",
        };
        self.refuse(reference, author, reason.into());
    }
}
