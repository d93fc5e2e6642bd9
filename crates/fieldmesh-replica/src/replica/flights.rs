//! Batches that were asked for by name: of whom, since when, and who else holds them.

use std::collections::{BTreeMap, BTreeSet};

use fieldmesh_model::Moment;
use fieldmesh_session::LinkId;
use fieldmesh_trie::Key;

use crate::limits::{WANT_DELAY_MILLIS, WANT_PATIENCE_MILLIS, WANTS_IN_FLIGHT_MAX};

/// All wants that are unanswered.
#[derive(Debug, Default)]
pub(super) struct Flights {
    flights: BTreeMap<Key, Flight>,
}

#[derive(Debug)]
struct Flight {
    /// Who was asked; nobody while the batch may still come by itself.
    asked: Option<LinkId>,
    since: Moment,
    others: BTreeSet<LinkId>,
}

impl Flight {
    fn is_over(&self, now: Moment) -> bool {
        self.deadline() <= now
    }

    fn deadline(&self) -> Moment {
        let patience = if self.asked.is_some() { WANT_PATIENCE_MILLIS } else { WANT_DELAY_MILLIS };
        self.since.plus_millis(patience)
    }
}

impl Flights {
    /// `link` offers `key`, which is lacking: it is asked for unless it comes by itself.
    ///
    /// Beyond the limit an offer is left alone; comparing finds the batch.
    pub(super) fn offered(&mut self, now: Moment, link: LinkId, key: Key) {
        if self.flights.len() >= WANTS_IN_FLIGHT_MAX && !self.flights.contains_key(&key) {
            return;
        }
        let flight = self.flights.entry(key).or_insert_with(|| Flight {
            asked: None,
            since: now,
            others: BTreeSet::new(),
        });
        if flight.asked != Some(link) {
            flight.others.insert(link);
        }
    }

    pub(super) fn arrived(&mut self, key: &Key) {
        self.flights.remove(key);
    }

    pub(super) fn deadline(&self) -> Option<Moment> {
        self.flights.values().map(Flight::deadline).min()
    }

    /// Asks for what did not come in time.
    pub(super) fn expire(&mut self, now: Moment) -> BTreeMap<LinkId, Vec<Key>> {
        self.pass_on(now, |flight| flight.is_over(now))
    }

    /// Asks others for what `link` was asked for.
    pub(super) fn leave(&mut self, now: Moment, link: LinkId) -> BTreeMap<LinkId, Vec<Key>> {
        for flight in self.flights.values_mut() {
            flight.others.remove(&link);
        }
        self.pass_on(now, |flight| flight.asked == Some(link))
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
            (flight.asked, flight.since) = (Some(next), now);
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
        flights.offered(at(0), LinkId(1), key);
        flights.offered(at(5), LinkId(2), key);
        assert!(flights.expire(at(149)).is_empty(), "it may come by itself");
        assert_eq!(flights.expire(at(150)), [(LinkId(1), vec![key])].into());
        flights.offered(at(151), LinkId(1), key);
        assert!(flights.expire(at(10_149)).is_empty());
        assert_eq!(flights.deadline(), Some(at(10_150)));
        assert_eq!(flights.expire(at(10_150)), [(LinkId(2), vec![key])].into());
        flights.offered(at(10_151), LinkId(3), key);
        assert_eq!(flights.leave(at(11_000), LinkId(2)), [(LinkId(3), vec![key])].into());
        assert!(flights.expire(at(21_000)).is_empty());
        assert_eq!(flights.deadline(), None, "nobody is left");
    }
}
