//! Taking what is let go out of the view: every row of it but the heads of its chains.
//!
//! A view that is built from a log of which parts are gone already finds rests of records there,
//! so whatever the view has of the scope goes, whole or not.

use std::collections::{BTreeMap, BTreeSet};

use fieldmesh_model::{DocumentId, Scope};
use fieldmesh_store::{Direction, KeyRange, Place, Tree};

use crate::error::Error;
use crate::harm::{self, Harmed, Outcome};
use crate::keep::{self, LetGo, LetGoChain};
use crate::rows::{self, ChainRow, DocumentRow, QuarantineRow};

use super::{Projection, index};

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
            self.keep_pieces(pieces)?;
            return Ok(Vec::new());
        }
        let gone = self.forget_documents(&scopes)?;
        for scope in &scopes {
            self.forget_batches(scope)?;
        }
        self.forget_refused(&gone)?;
        self.end_harms(&scopes, &pieces)?;
        self.keep_pieces(pieces)?;
        Ok(gone.into_iter().collect())
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
        if record.is_some_and(|record| !record.deleted) {
            *self.counts.entry(collection).or_default() -= 1;
        }
        if record.is_some() {
            self.writes.delete(Tree::Feed, rows::feed_key(collection, row.feed, id));
        }
        self.writes.delete(Tree::Document, id.as_bytes().to_vec());
        let prefixes =
            [rows::waiting_prefix(id, &[]), rows::twin_prefix(id), rows::unsealed_prefix(id)];
        for prefix in prefixes {
            self.forget_all(Tree::Meta, &KeyRange::prefix(&prefix))?;
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
