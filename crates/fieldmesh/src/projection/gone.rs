//! Taking what is let go out of the view: every row of it but the heads of its chains.
//!
//! A view that is built from a log of which parts are gone already finds rests of records there,
//! so whatever the view has of the scope goes, whole or not.

use std::collections::{BTreeMap, BTreeSet};

use fieldmesh_model::{DocumentId, Scope};
use fieldmesh_store::{Direction, KeyRange, Place, Tree};

use crate::clock;
use crate::entry::Entry;
use crate::error::Error;
use crate::harm::{self, Harmed, Outcome};
use crate::keep::{self, LetGo, LetGoChain};
use crate::rows::{self, ChainRow, DocumentRow, QuarantineRow};

use super::alike::Moved;
use super::{Projection, index};

/// Where the view keeps, in [`Tree::Meta`], where the feed stood when records left the view last
/// otherwise than by a change of them: let go or purged. Nothing in the feed tells of them.
pub(crate) const VANISHED_KEY: &[u8] = b"vanished";
/// Where the view keeps what its order of arrival is known by, in [`Tree::Meta`].
pub(crate) const ARRIVALS_KEY: &[u8] = b"arrivals";

/// Records whose rows are deleted together.
const RECORDS_PER_SET: usize = 1_024;

impl Projection<'_> {
    /// Deletes the rows of everything that this step lets go; gives the records.
    pub(super) fn let_go(&mut self) -> Result<Vec<DocumentId>, Error> {
        let pieces = std::mem::take(&mut self.gone);
        if pieces.is_empty() {
            return Ok(Vec::new());
        }
        let last = pieces.iter().filter(|(_, piece)| piece.is_last);
        let scopes: BTreeSet<Scope> = last.map(|(_, piece)| piece.scope).collect();
        if scopes.is_empty() {
            if self.sources.reach.has_notes() {
                self.keep_pieces(pieces)?;
            }
            return Ok(Vec::new());
        }
        let reach = self.sources.reach;
        let gone = match reach.has_records() {
            true => self.forget_documents(&scopes)?,
            false => BTreeSet::new(),
        };
        self.forget_refused(&gone)?;
        if reach.has_notes() {
            for scope in &scopes {
                self.forget_batches(scope)?;
            }
            if !reach.has_records() {
                self.forget_open(&scopes)?;
            }
            self.end_harms(&scopes, &pieces)?;
            // Cursors that were handed out lie before the entry that says it.
            let said = pieces.last().map_or(0, |(place, _)| rows::position_end(*place));
            self.vanished = self.vanished.max(said);
            self.keep_pieces(pieces)?;
        }
        Ok(gone.into_iter().collect())
    }

    /// Notes that records leave the view by no entry that says so: before the next one, and behind
    /// every cursor that was handed out.
    pub(super) fn note_vanished(&mut self) {
        let end = self.sources.store.end().map_or(0, |place| rows::position_end(place) + 1);
        self.vanished = self.vanished.max(end);
    }

    /// Writes where the feed stood when records left the view; each time it is another place, so that
    /// a reader can tell the last time of which he heard from one since.
    pub(super) fn write_vanished(&mut self) -> Result<(), Error> {
        if self.vanished > 0 {
            let known: u64 = rows::find(self.view, Tree::Meta, VANISHED_KEY)?.unwrap_or(0);
            let vanished = self.vanished.max(known + 1);
            self.writes.put(Tree::Meta, VANISHED_KEY, rows::encode(&vanished));
        }
        Ok(())
    }

    /// Names the order of arrival of a view that is begun: what counts by now stands where it lies,
    /// although whoever read another view may have come past that before it counted.
    pub(super) fn name_arrivals(&mut self) -> Result<(), Error> {
        if self.view.applied().map_err(|error| Error::store(&error))?.is_none() {
            let name: [u8; 8] = clock::random();
            self.writes.put(Tree::Meta, ARRIVALS_KEY, rows::encode(&name));
        }
        Ok(())
    }

    fn keep_pieces(&mut self, pieces: Vec<(Place, LetGo)>) -> Result<(), Error> {
        for (place, piece) in pieces {
            self.keep_heads(&piece)?;
            self.writes.put(Tree::Meta, keep::key(piece.scope, place), rows::encode(&piece));
            if piece.is_last {
                self.writes.put(Tree::Meta, keep::end_key(piece.scope), rows::encode(&place));
            }
        }
        Ok(())
    }

    /// A crash may come between two sets: those that are left are found again.
    fn forget_documents(
        &mut self,
        scopes: &BTreeSet<Scope>,
    ) -> Result<BTreeSet<DocumentId>, Error> {
        let mut gone = BTreeSet::new();
        for row in rows::scan(self.view, Tree::Document, KeyRange::all(), Direction::Ascending) {
            let (key, value) = row?;
            let row: DocumentRow = rows::decode(&value)?;
            let Some(id) = rows::indexed_id(&key).filter(|_| scopes.contains(&row.scope)) else {
                continue;
            };
            self.forget_document(id, &row)?;
            gone.insert(id);
            if gone.len().is_multiple_of(RECORDS_PER_SET) {
                self.write_alike()?;
                self.write_counts()?;
                let writes = std::mem::take(&mut self.writes);
                self.sources.readers.apply(self.view, writes)?;
            }
        }
        Ok(gone)
    }

    fn forget_document(&mut self, id: DocumentId, row: &DocumentRow) -> Result<(), Error> {
        let collection = row.scope.collection;
        let schema = self.schemas.before(collection, &id);
        let (store, record) = (self.sources.store, row.record.as_ref());
        index::update((&schema, record), (&schema, None), id, store, &mut self.writes);
        self.note_alike(id, Moved::of(store, (&schema, record), (&schema, None)));
        if record.is_some_and(|record| record.is_live()) {
            *self.counts.entry(collection).or_default() -= 1;
        }
        if record.is_some() {
            self.writes.delete(Tree::Feed, rows::feed_key(collection, row.feed, id));
        }
        self.writes.delete(Tree::Document, id.as_bytes().to_vec());
        self.writes.delete(Tree::Meta, rows::own_key(collection, id));
        for prefix in [rows::waiting_prefix(id, &[]), rows::twin_prefix(id)] {
            self.forget_all(Tree::Meta, &KeyRange::prefix(&prefix))?;
        }
        // An earlier pass knows of changes that came later.
        if self.sources.reach.has_notes() {
            self.forget_all(Tree::Meta, &KeyRange::prefix(&rows::unsealed_prefix(id)))?;
        }
        Ok(())
    }

    /// Changes that wait for a batch go with the rest of their scope, also where no record has been
    /// made of them.
    fn forget_open(&mut self, scopes: &BTreeSet<Scope>) -> Result<(), Error> {
        let range = KeyRange::prefix(rows::UNSEALED_PREFIX);
        for row in rows::scan(self.view, Tree::Meta, range, Direction::Ascending) {
            let (key, value) = row?;
            let entry = self.sources.store.read(rows::decode(&value)?);
            // One that cannot be read stays, and is listed as damage.
            let Ok(Ok(Entry::Change(local))) = entry.map(|entry| Entry::decode(&entry)) else {
                continue;
            };
            if scopes.contains(&local.scope) {
                self.writes.delete(Tree::Meta, key);
            }
        }
        Ok(())
    }

    fn forget_batches(&mut self, scope: &Scope) -> Result<(), Error> {
        let range = KeyRange::prefix(&scope.to_bytes());
        for key in rows::keys(self.view, Tree::Leaf, range, Direction::Ascending) {
            let key = key?;
            if let Some(id) = key.last_chunk::<32>() {
                let id = fieldmesh_model::BatchId::from_bytes(*id);
                self.writes.delete(Tree::Meta, rows::aside_key(&id));
            }
            self.writes.delete(Tree::Leaf, key);
        }
        Ok(())
    }

    fn forget_refused(&mut self, gone: &BTreeSet<DocumentId>) -> Result<(), Error> {
        let range = KeyRange::all();
        for row in rows::scan(self.view, Tree::Quarantine, range, Direction::Ascending) {
            let (key, value) = row?;
            if gone.contains(&rows::decode::<QuarantineRow>(&value)?.document) {
                self.writes.delete(Tree::Quarantine, key);
            }
        }
        Ok(())
    }

    /// Nothing is missing where nothing is wanted.
    fn end_harms(
        &mut self,
        scopes: &BTreeSet<Scope>,
        pieces: &[(Place, LetGo)],
    ) -> Result<(), Error> {
        let mut places: BTreeMap<Scope, Vec<Place>> = BTreeMap::new();
        for harm in harm::all(self.view)? {
            if let Harmed::Batch { scope, .. } = harm.what
                && scopes.contains(&scope)
            {
                places.entry(scope).or_default().push(harm.place);
            }
        }
        for (_, piece) in pieces {
            let places = places.remove(&piece.scope).unwrap_or_default();
            self.damage.end(&places, &Outcome::Settled(piece.at), |_| true)?;
        }
        Ok(())
    }

    fn keep_heads(&mut self, piece: &LetGo) -> Result<(), Error> {
        for LetGoChain { author, epoch, sequence, head, last } in &piece.chains {
            let key = rows::chain_key(*author, *epoch, piece.scope);
            let known: Option<ChainRow> = rows::find(self.view, Tree::Chain, &key)?;
            if known.is_none_or(|row| row.sequence <= *sequence) {
                let row = ChainRow { sequence: *sequence, head: *head, last: *last };
                self.writes.put(Tree::Chain, key, rows::encode(&row));
            }
        }
        Ok(())
    }

    fn forget_all(&mut self, tree: Tree, range: &KeyRange) -> Result<(), Error> {
        for key in rows::keys(self.view, tree, range.clone(), Direction::Ascending) {
            self.writes.delete(tree, key?);
        }
        Ok(())
    }
}
