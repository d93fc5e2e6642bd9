//! Damaged entries of the log: what is known of each, and those that nobody has looked at so far.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::{Mutex, MutexGuard};

use fieldmesh_model::{BatchId, DeviceId, DocumentId, Moment, Scope};
use fieldmesh_store::{Direction, KeyRange, Place, Tree, View};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::error::Error;
use crate::rows::{self, RecordRow};

/// Places that wait to be looked at; a check finds those beyond it again.
pub(crate) const WAITING_MAX: usize = 65_536;

/// The prefix of the rows of damaged entries in [`Tree::Meta`].
const PREFIX: &[u8] = b"harm/";

/// A damaged entry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Harm {
    pub(crate) place: Place,
    /// When it was found.
    pub(crate) found: Moment,
    pub(crate) what: Harmed,
    pub(crate) outcome: Outcome,
}

/// What lay at the place, as far as the view says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Harmed {
    /// Nothing that a record needs: a note of this device, or what lies elsewhere too.
    Nothing,
    /// It was damaged before the view had read it.
    Unknown,
    /// A batch: whoever holds it can bring it again.
    Batch { id: BatchId, scope: Scope, author: Option<DeviceId> },
    /// A policy item, by the hash of its bytes: everybody holds it.
    Item([u8; 32]),
    /// A change that no batch holds: nobody else has it.
    Change(Box<LostChange>),
}

/// What is known of a change that is lost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct LostChange {
    pub(crate) document: DocumentId,
    /// The first bytes of its hash.
    pub(crate) hash: [u8; 8],
    /// The number of the collection.
    pub(crate) collection: u16,
    /// Whether it made the record, and nothing was written to it since.
    pub(crate) is_whole: bool,
    /// The record as it was shown last, with the change.
    pub(crate) shown: Option<RecordRow>,
}

/// What became of a damaged entry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Outcome {
    /// It is lacking.
    Open,
    /// It is here once more, from a peer or because the disk gives it again.
    Healed { from: Option<DeviceId>, at: Moment },
    /// The user knows and has given it up.
    Settled(Moment),
}

impl Harm {
    /// Whether something is missing because of it.
    pub(crate) fn is_open(&self) -> bool {
        self.outcome == Outcome::Open && self.what != Harmed::Nothing
    }

    /// Takes out what was shown of a record that was purged; says whether there was anything.
    pub(crate) fn forget_purged(&mut self, is_purged: impl Fn(&DocumentId) -> bool) -> bool {
        match &mut self.what {
            Harmed::Change(lost) if is_purged(&lost.document) => lost.shown.take().is_some(),
            Harmed::Change(_)
            | Harmed::Nothing
            | Harmed::Unknown
            | Harmed::Batch { .. }
            | Harmed::Item(_) => false,
        }
    }

    /// Whether no record needs it, and nobody has been told.
    pub(crate) fn is_needless(&self) -> bool {
        self.outcome == Outcome::Open && self.what == Harmed::Nothing
    }

    /// The lost change of which something is shown, if it is one.
    pub(crate) fn shown(&self) -> Option<&LostChange> {
        match &self.what {
            Harmed::Change(lost) if lost.shown.is_some() => Some(lost),
            Harmed::Change(_)
            | Harmed::Nothing
            | Harmed::Unknown
            | Harmed::Batch { .. }
            | Harmed::Item(_) => None,
        }
    }

    /// What tells another copy of it: the id of a batch, the hash of a policy item.
    pub(crate) fn id(&self) -> Option<[u8; 32]> {
        match &self.what {
            Harmed::Batch { id, .. } => Some(*id.as_bytes()),
            Harmed::Item(hash) => Some(*hash),
            Harmed::Nothing | Harmed::Unknown | Harmed::Change(_) => None,
        }
    }
}

/// The prefix of the rows of what a step could not read, in [`Tree::Meta`].
const PASSED_OVER_PREFIX: &[u8] = b"passed-over/";

/// The key of a row that says that a step has passed over these places: what the view does not list
/// of them may have been anything.
pub(crate) fn passed_over_key(places: &Range<u64>) -> Vec<u8> {
    [PASSED_OVER_PREFIX, &places.start.to_be_bytes(), &places.end.to_be_bytes()].concat()
}

/// All places that steps have passed over.
pub(crate) fn passed_over(view: &View) -> Result<Vec<Range<u64>>, Error> {
    let range = KeyRange::prefix(PASSED_OVER_PREFIX);
    let mut places = Vec::new();
    for key in rows::keys(view, Tree::Meta, range, Direction::Ascending) {
        let key = key?;
        let end = key.split_last_chunk::<8>().map(|(rest, end)| (rest.last_chunk::<8>(), end));
        if let Some((Some(start), end)) = end {
            places.push(u64::from_be_bytes(*start)..u64::from_be_bytes(*end));
        }
    }
    Ok(places)
}

/// The key of the row of a damaged entry.
pub(crate) fn key(place: Place) -> Vec<u8> {
    [PREFIX, &place.to_bytes()].concat()
}

/// Every damaged entry that the view knows of, in the order of the log.
pub(crate) fn all(view: &View) -> Result<Vec<Harm>, Error> {
    let range = KeyRange::prefix(PREFIX);
    let rows = rows::scan(view, Tree::Meta, range, Direction::Ascending);
    rows.map(|row| rows::decode(&row?.1)).collect()
}

/// Damage that waits to be looked at, and what is lacking; shared by all that read the log.
#[derive(Debug, Default)]
pub(crate) struct Harms {
    state: Mutex<State>,
    is_new: Notify,
}

#[derive(Debug, Default)]
struct State {
    waiting: BTreeSet<Place>,
    /// What has been looked at, or is being.
    known: BTreeSet<Place>,
    /// What is looked at once all records are there.
    put_off: BTreeSet<Place>,
    /// Where the lacking batches and policy items lay.
    lacking: BTreeMap<[u8; 32], Place>,
}

impl Harms {
    /// Somebody has read damage.
    pub(crate) fn note(&self, places: Range<u64>) {
        let mut state = self.lock();
        for place in places.map(Place) {
            if state.waiting.len() >= WAITING_MAX {
                break;
            }
            if !state.known.contains(&place) {
                state.waiting.insert(place);
            }
        }
        let is_new = !state.waiting.is_empty();
        drop(state);
        if is_new {
            self.is_new.notify_one();
        }
    }

    /// What waits; it counts as known from here on.
    pub(crate) fn take(&self) -> BTreeSet<Place> {
        let mut state = self.lock();
        let waiting = std::mem::take(&mut state.waiting);
        state.known.extend(&waiting);
        waiting
    }

    /// These are to be told again when they are found again.
    pub(crate) fn forget(&self, places: impl IntoIterator<Item = Place>) {
        let mut state = self.lock();
        for place in places {
            state.known.remove(&place);
        }
    }

    /// What these are is told later.
    pub(crate) fn put_off(&self, places: BTreeSet<Place>) {
        self.lock().put_off.extend(places);
    }

    /// Whether some were put off.
    pub(crate) fn has_put_off(&self) -> bool {
        self.put_off_count() > 0
    }

    /// How many were put off.
    pub(crate) fn put_off_count(&self) -> usize {
        self.lock().put_off.len()
    }

    /// Has those looked at that were put off.
    pub(crate) fn resume(&self) {
        let mut state = self.lock();
        let put_off = std::mem::take(&mut state.put_off);
        state.waiting.extend(put_off);
    }

    /// The view knows of this one.
    pub(crate) fn learn(&self, harm: &Harm) {
        let mut state = self.lock();
        state.known.insert(harm.place);
        if let Some(id) = harm.id().filter(|_| harm.is_open()) {
            state.lacking.insert(id, harm.place);
        }
    }

    /// The places of those of the batches and policy items `ids` that were lacking.
    pub(crate) fn lacking(&self, ids: impl IntoIterator<Item = [u8; 32]>) -> Vec<Place> {
        let state = self.lock();
        if state.lacking.is_empty() {
            return Vec::new();
        }
        ids.into_iter().filter_map(|id| state.lacking.get(&id).copied()).collect()
    }

    /// What lay at these places is durable once more.
    pub(crate) fn healed(&self, places: &[Place]) {
        self.lock().lacking.retain(|_, place| !places.contains(place));
    }

    /// Waits until something waits to be looked at.
    pub(crate) async fn found(&self) {
        self.is_new.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_that_is_read_again_and_again_is_looked_at_once() {
        let harms = Harms::default();
        harms.note(3..6);
        harms.note(4..5);
        assert_eq!(harms.take(), [3, 4, 5].map(Place).into());
        harms.note(3..7);
        assert_eq!(harms.take(), [Place(6)].into());
        harms.forget([Place(4)]);
        harms.note(3..7);
        assert_eq!(harms.take(), [Place(4)].into());
    }

    #[test]
    fn what_is_lacking_is_known_by_its_id_until_it_is_healed() {
        let harms = Harms::default();
        let what = Harmed::Item([7; 32]);
        let (place, found) = (Place(9), Moment::from_millis(1));
        harms.learn(&Harm { place, found, what, outcome: Outcome::Open });
        assert_eq!(harms.lacking([[7; 32], [8; 32]]), [place]);
        harms.healed(&[place]);
        assert!(harms.lacking([[7; 32]]).is_empty());
    }
}
