//! What the view has and the log has lost is written once more.
//!
//! Nobody else has what is noted on this device alone: drafts, what apps have to know again, what
//! was settled. A view that is made anew from the log would lack it without a word.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;

use fieldmesh_model::Moment;
use fieldmesh_store::{Direction, KeyRange, Place, Tree};

use crate::clock;
use crate::entry::{Entry, Fact};
use crate::error::Error;
use crate::harm::{Harm, Harmed};
use crate::keep::{self, LetGo};
use crate::projection::{FACT_PREFIX, NoteRow};
use crate::rows;

use super::Ledger;
use super::mend::{HARMS_PER_FACT, PLACES_PER_FACT};
use super::written::in_parts;

/// A note of the view: where it lies, its key and its value.
type Noted = (Place, Vec<u8>, Vec<u8>);

impl Ledger {
    /// Writes those notes once more, durably, that lie at these places; gives the places of those.
    ///
    /// A view that has one has read the entry, so nothing else of that is missing.
    pub(super) fn write_notes_again(
        &self,
        places: &BTreeSet<Place>,
    ) -> Result<BTreeSet<Place>, Error> {
        let of_notes: BTreeSet<Place> =
            self.notes_at(places)?.into_iter().map(|(place, ..)| place).collect();
        if of_notes.is_empty() {
            return Ok(of_notes);
        }
        // What somebody notes meanwhile must not be taken back by what stood there before.
        let _gateway = self.gateway.lock().unwrap_or_else(PoisonError::into_inner);
        let _drafts = self.drafts.lock().unwrap_or_else(PoisonError::into_inner);
        self.catch_up_noted()?;
        let left = self.notes_at(&of_notes)?;
        if !left.is_empty() {
            let notes = in_parts(left.into_iter().map(|it| (it.1, Some(it.2))).collect(), None);
            let entries = notes.into_iter().map(|note| Entry::Note(note).encode()).collect();
            let written = self.store.append(entries).map_err(|error| Error::store(&error))?;
            written.last().map_or(Ok(()), |place| self.projector.wait_noted(*place))?;
        }
        Ok(of_notes)
    }

    /// Writes once more what only this device knows, where entries are damaged that may have said
    /// so. For an open only: nobody else says anything then that this would take back.
    pub(crate) fn write_facts_again(&self) -> Result<(), Error> {
        let mut harms = self.harms()?;
        let unsure = harms.iter().filter(|harm| harm.may_be_needed());
        let places: BTreeSet<Place> = unsure.map(|harm| harm.place).collect();
        if places.is_empty() {
            return Ok(());
        }
        if self.store.view_was_rebuilt() {
            // A view that was made of what is left knows no more than that.
            harms.retain(Harm::may_be_needed);
            harms.iter_mut().for_each(|harm| harm.what = Harmed::Unknown);
            let harmed = |some: &[Harm]| Fact::Harmed(some.to_vec());
            return self.remember_all(harms.chunks(HARMS_PER_FACT).map(harmed));
        }
        self.write_notes_again(&places)?;
        let mut facts = self.facts_that_hold()?;
        facts.extend(self.let_go_at(&places)?);
        facts.extend(harms.chunks(HARMS_PER_FACT).map(|some| Fact::Harmed(some.to_vec())));
        let places: Vec<Place> = places.into_iter().collect();
        let (from, at) = (Some(self.device()), clock::now());
        let healed = |some: &[Place]| Fact::Healed { places: some.to_vec(), from, at };
        facts.extend(places.chunks(PLACES_PER_FACT).map(healed));
        self.remember_all(facts.into_iter())
    }

    /// The facts of which the last one holds, and what waits for a lost change and was given up.
    fn facts_that_hold(&self) -> Result<Vec<Fact>, Error> {
        let (view, up) = (self.view(), Direction::Ascending);
        let mut facts = Vec::new();
        for row in rows::scan(view, Tree::Meta, KeyRange::prefix(FACT_PREFIX), up) {
            facts.push(rows::decode(&row?.1)?);
        }
        let mut given_up: BTreeMap<Moment, Vec<Place>> = BTreeMap::new();
        for row in rows::scan(view, Tree::Meta, KeyRange::prefix(rows::GIVEN_UP_PREFIX), up) {
            let (key, value) = row?;
            let Some(place) = key.last_chunk().map(|bytes| Place::from_bytes(*bytes)) else {
                continue;
            };
            given_up.entry(rows::decode(&value)?).or_default().push(place);
        }
        for (at, places) in given_up {
            let settled = |some: &[Place]| Fact::Settled { places: some.to_vec(), at };
            facts.extend(places.chunks(PLACES_PER_FACT).map(settled));
        }
        Ok(facts)
    }

    /// What was let go, where the word of it lay at these places. It is said once more without its
    /// end, as some of it may have come back since.
    fn let_go_at(&self, places: &BTreeSet<Place>) -> Result<Vec<Fact>, Error> {
        let mut facts = Vec::new();
        for piece in keep::pieces(self.view()) {
            let (place, piece) = piece?;
            if !places.contains(&place) {
                continue;
            }
            let mut piece = LetGo { is_last: false, ..piece };
            let given_up = rows::given_up_key(place);
            if rows::find::<Moment>(self.view(), Tree::Meta, &given_up)?.is_some() {
                // Nobody is told of these once more; the heads of the chains hold all the same.
                piece.records.clear();
            }
            facts.push(Fact::LetGo(piece));
        }
        Ok(facts)
    }

    /// The notes of the view that lie at these places.
    fn notes_at(&self, places: &BTreeSet<Place>) -> Result<Vec<Noted>, Error> {
        let prefix = rows::note_key(&[]);
        let mut found = Vec::new();
        let range = KeyRange::prefix(&prefix);
        for row in rows::scan(self.view(), Tree::Meta, range, Direction::Ascending) {
            let (key, value) = row?;
            let NoteRow { place, value } = rows::decode(&value)?;
            if places.contains(&place)
                && let Some(key) = key.strip_prefix(prefix.as_slice())
            {
                found.push((place, key.to_vec(), value));
            }
        }
        Ok(found)
    }
}
