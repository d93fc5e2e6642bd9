//! Records that are made anew because something else counts than before.

use std::collections::BTreeSet;

use fieldmesh_batch::Batch;
use fieldmesh_model::{BatchId, DocumentId, Moment};
use fieldmesh_store::{Direction, KeyRange, Place, Tree};

use crate::changes::Source;
use crate::entry::Fact;
use crate::error::Error;
use crate::harm::{Harm, Harmed, Outcome};
use crate::keep;
use crate::places::read_batch;
use crate::rows::{self, DocumentRow, QuarantineRow};

use super::touched::Work;
use super::{Projection, leaves};

/// Where the view keeps the pins that its documents were made by, in [`Tree::Meta`].
const PINS_KEY: &[u8] = b"pins";

/// A change for which policy has decided: document, actor, sequence number and hash.
type Pinned = (DocumentId, [u8; 16], u64, [u8; 32]);

impl Projection<'_> {
    /// Does what a fact at `place` has done to records; the rest of it was done by an earlier pass.
    pub(super) fn apply_fact_to_records(&mut self, place: Place, fact: Fact) -> Result<(), Error> {
        match fact {
            Fact::Aside(batches) | Fact::Admitted(batches) => {
                for id in batches {
                    self.rejudge(place, id)?;
                }
            }
            Fact::Healed { places, from, at } => {
                let outcome = Outcome::Healed { from, at };
                let healed = self.damage.ended(&places, &outcome)?;
                self.rejudge_healed(place, healed, &outcome)?;
            }
            Fact::Settled { places, at } => {
                let ended = self.damage.ended(&places, &Outcome::Settled(at))?;
                self.do_without(ended)?;
            }
            Fact::LetGo(let_go) => self.gone.push((place, let_go)),
            _ => {}
        }
        Ok(())
    }

    /// Has batches judged anew that can be read again where they always lay: what came meanwhile
    /// may wait for them.
    pub(super) fn rejudge_healed(
        &mut self,
        place: Place,
        healed: Vec<Harm>,
        outcome: &Outcome,
    ) -> Result<(), Error> {
        for harm in healed {
            if let (Harmed::Batch { id, .. }, Outcome::Healed { from: None, .. }) =
                (harm.what, outcome)
            {
                self.rejudge(place, id)?;
            }
        }
        Ok(())
    }

    /// The batch `id` counts otherwise than before: its documents are made anew.
    ///
    /// One that lies behind the fact at `place` is judged when it is applied.
    pub(super) fn rejudge(&mut self, place: Place, id: BatchId) -> Result<(), Error> {
        if !self.sources.reach.has_records() {
            return Ok(());
        }
        let found = self.sources.places.find(&id).filter(|found| *found < place);
        let Some(found) = found.filter(|_| !self.sources.forward_only) else { return Ok(()) };
        match read_batch(self.sources.store, found) {
            Ok(batch) => {
                // What was let go may lie in the log for a while; it comes back from nowhere else.
                let end = keep::end_of_scope(self.view, batch.header().scope)?;
                if end.is_none_or(|end| end <= found) {
                    self.remake(found, &batch);
                }
            }
            // `verify` lists it, and a peer may bring it again.
            Err(error) => tracing::error!(batch = %id.short(), %error, "a batch is not judged"),
        }
        Ok(())
    }

    /// The user has given up what is lost at these places: records are made anew without it.
    pub(super) fn give_up(&mut self, places: &[Place], at: Moment) -> Result<(), Error> {
        for place in places {
            // What is whole there waits for what is lost.
            if !self.damage.knows(*place)? {
                self.writes.put(Tree::Meta, rows::given_up_key(*place), rows::encode(&at));
            }
        }
        let ended = self.damage.end(places, &Outcome::Settled(at), |_| true)?;
        for harm in &ended {
            if let Harmed::Change(lost) = &harm.what {
                self.writes.delete(Tree::Meta, rows::unsealed_key(lost.document, lost.hash));
            }
        }
        self.do_without(ended)
    }

    /// Has the records made anew that lack what is lost.
    fn do_without(&mut self, lost: Vec<Harm>) -> Result<(), Error> {
        if !self.sources.reach.has_records() {
            return Ok(());
        }
        let mut batches: BTreeSet<Place> = BTreeSet::new();
        for harm in lost {
            match harm.what {
                Harmed::Change(lost) => {
                    let id = lost.document;
                    let row = rows::find(self.view, Tree::Document, id.as_bytes())?;
                    if let Some(row) = row {
                        self.remake_without(id, &row, harm.place);
                    }
                }
                Harmed::Batch { .. } => {
                    batches.insert(harm.place);
                }
                Harmed::Nothing | Harmed::Unknown | Harmed::Item(_) => {}
            }
        }
        if batches.is_empty() {
            return Ok(());
        }
        for row in rows::scan(self.view, Tree::Document, KeyRange::all(), Direction::Ascending) {
            let (key, value) = row?;
            let row: DocumentRow = rows::decode(&value)?;
            let Some(id) = rows::indexed_id(&key) else { continue };
            for change in row.changes.iter().filter(|it| batches.contains(&it.place)) {
                self.remake_without(id, &row, change.place);
            }
        }
        Ok(())
    }

    fn remake_without(&mut self, id: DocumentId, row: &DocumentRow, place: Place) {
        self.changes += 1;
        let work = self.documents.entry(id).or_insert_with(|| Work::new(id, row.scope));
        work.is_remade = true;
        work.given_up.insert(place);
    }

    /// Has every document of `batch` made anew from those of its changes that count.
    pub(super) fn remake(&mut self, place: Place, batch: &Batch) {
        for (index, leaf) in leaves(batch) {
            self.changes += 1;
            let source = Source::of_leaf(batch, leaf);
            self.arrive(leaf.document, batch.header().scope, (place, index), source);
            if let Some(work) = self.documents.get_mut(&leaf.document) {
                work.is_remade = true;
            }
        }
    }

    /// Has the documents made anew for which policy has decided otherwise than the view shows.
    ///
    /// Gives whether there are any: the policy may change after the item that changes it was read.
    pub(crate) fn repin(&mut self) -> Result<bool, Error> {
        if self.sources.forward_only || !self.sources.reach.has_records() {
            return Ok(false);
        }
        let before: BTreeSet<Pinned> =
            rows::find(self.view, Tree::Meta, PINS_KEY)?.unwrap_or_default();
        let after: BTreeSet<Pinned> = self.sources.policy.pins().collect();
        if before == after {
            return Ok(false);
        }
        for (id, ..) in before.symmetric_difference(&after) {
            let row: Option<DocumentRow> = rows::find(self.view, Tree::Document, id.as_bytes())?;
            if let Some(row) = row {
                let work = self.documents.entry(*id).or_insert_with(|| Work::new(*id, row.scope));
                work.is_remade = true;
            }
        }
        self.writes.put(Tree::Meta, PINS_KEY, rows::encode(&after));
        Ok(true)
    }

    /// Tells documents that are made anew which of their changes were refused so far.
    pub(super) fn list_refused(&mut self) -> Result<(), Error> {
        if !self.documents.values().any(|work| work.is_remade) {
            return Ok(());
        }
        let range = KeyRange::all();
        for row in rows::scan(self.view, Tree::Quarantine, range, Direction::Ascending) {
            let (key, value) = row?;
            let row: QuarantineRow = rows::decode(&value)?;
            let Some(work) = self.documents.get_mut(&row.document).filter(|work| work.is_remade)
            else {
                continue;
            };
            work.refused.push(rows::decode(&key)?);
            self.writes.delete(Tree::Quarantine, key);
        }
        Ok(())
    }
}
