//! Facts of which the last one holds: an earlier one is dead.

use std::collections::BTreeMap;
use std::ops::{ControlFlow, Range};

use fieldmesh_store::{Place, Store};

use crate::entry::{Entry, Fact};
use crate::error::Error;
use crate::projection::{FACTS_ADDED, fact_key};

/// Where the last fact of each kind lies among some entries.
///
/// Only what can be read counts, and only what lies in the part that is written anew together: no
/// damage elsewhere can then leave a kind without any.
#[derive(Debug, Default)]
pub(super) struct Newest(BTreeMap<&'static [u8], Place>);

impl Newest {
    /// Reads the entries at `places`.
    pub(super) fn read(store: &Store, places: &Range<u64>) -> Result<Self, Error> {
        let mut newest = Self::default();
        let after = places.start.checked_sub(1).map(Place);
        let replayed = store.replay(after, |place, entry| {
            if place.0 >= places.end {
                return ControlFlow::Break(());
            }
            if let Ok(Entry::Fact(fact)) = Entry::decode(&entry) {
                newest.0.insert(fact_key(&fact), place);
            }
            ControlFlow::Continue(())
        });
        replayed.map_err(|error| Error::store(&error))?;
        Ok(newest)
    }

    /// Whether another fact of this kind holds.
    pub(super) fn is_behind(&self, place: Place, fact: &Fact) -> bool {
        let key = fact_key(fact);
        key != FACTS_ADDED && self.0.get(key).is_some_and(|newest| place < *newest)
    }
}
