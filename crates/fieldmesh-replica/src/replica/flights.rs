//! Batches that were asked for by name: of whom, since when, and who else holds them.

use std::collections::{BTreeMap, BTreeSet};

use fieldmesh_model::Moment;
use fieldmesh_session::LinkId;
use fieldmesh_trie::Key;

use crate::limits::{WANT_PATIENCE_MILLIS, WANTS_IN_FLIGHT_MAX};

/// All wants that are unanswered.
#[derive(Debug, Default)]
pub(super) struct Flights {
    flights: BTreeMap<Key, Flight>,
}

#[derive(Debug)]
struct Flight {
    link: LinkId,
    since: Moment,
    others: BTreeSet<LinkId>,
}

impl Flights {
    /// `link` offers `key`; true if it is to be asked for there.
    ///
    /// Beyond the limit an offer is left alone; comparing finds the batch.
    pub(super) fn offered(&mut self, now: Moment, link: LinkId, key: Key) -> bool {
        if let Some(flight) = self.flights.get_mut(&key) {
            if flight.link != link {
                flight.others.insert(link);
            }
            return false;
        }
        if self.flights.len() >= WANTS_IN_FLIGHT_MAX {
            return false;
        }
        self.flights.insert(key, Flight { link, since: now, others: BTreeSet::new() });
        true
    }

    pub(super) fn arrived(&mut self, key: &Key) {
        self.flights.remove(key);
    }

    pub(super) fn deadline(&self) -> Option<Moment> {
        let since = self.flights.values().map(|flight| flight.since).min()?;
        Some(since.plus_millis(WANT_PATIENCE_MILLIS))
    }

    /// Asks others for what did not come in time.
    pub(super) fn expire(&mut self, now: Moment) -> BTreeMap<LinkId, Vec<Key>> {
        self.pass_on(now, |flight| now.millis_since(flight.since) >= WANT_PATIENCE_MILLIS)
    }

    /// Asks others for what `link` was asked for.
    pub(super) fn leave(&mut self, now: Moment, link: LinkId) -> BTreeMap<LinkId, Vec<Key>> {
        for flight in self.flights.values_mut() {
            flight.others.remove(&link);
        }
        self.pass_on(now, |flight| flight.link == link)
    }

    fn pass_on(
        &mut self,
        now: Moment,
        is_over: impl Fn(&Flight) -> bool,
    ) -> BTreeMap<LinkId, Vec<Key>> {
        let mut wants: BTreeMap<LinkId, Vec<Key>> = BTreeMap::new();
        self.flights.retain(|key, flight| {
            if !is_over(flight) {
                return true;
            }
            let Some(next) = flight.others.pop_first() else { return false };
            (flight.link, flight.since) = (next, now);
            wants.entry(next).or_default().push(*key);
            true
        });
        wants
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_asked_of_one_peer_at_a_time_until_all_were_asked() {
        let mut flights = Flights::default();
        let key = Key::new([0; 8], 0, [1; 32]);
        let at = Moment::from_millis;
        assert!(flights.offered(at(0), LinkId(1), key));
        assert!(!flights.offered(at(5), LinkId(2), key));
        assert!(flights.expire(at(9_999)).is_empty());
        assert_eq!(flights.deadline(), Some(at(10_000)));
        assert_eq!(flights.expire(at(10_000)), [(LinkId(2), vec![key])].into());
        assert!(!flights.offered(at(10_001), LinkId(3), key));
        assert_eq!(flights.leave(at(11_000), LinkId(2)), [(LinkId(3), vec![key])].into());
        assert!(flights.expire(at(21_000)).is_empty());
        assert!(flights.offered(at(21_001), LinkId(1), key));
    }
}
