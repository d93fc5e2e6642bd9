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
    /// Those that each link was the first to name.
    shares: BTreeMap<LinkId, BTreeSet<Key>>,
}

#[derive(Debug)]
struct Flight {
    /// Who named it first.
    named_by: LinkId,
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
    /// Beyond the limit the link that has named most gives up one: this one, or another that has
    /// more than this one afterwards too, so that nobody's names push out those of others. Given is
    /// the link of which a name is left alone; comparing with it finds the batch.
    pub(super) fn offered(&mut self, now: Moment, link: LinkId, key: Key) -> Option<LinkId> {
        let mut left = None;
        if self.flights.len() >= WANTS_IN_FLIGHT_MAX && !self.flights.contains_key(&key) {
            left = Some(self.busiest(link));
            if left == Some(link) {
                return left;
            }
            let theirs = left.and_then(|busiest| self.shares.get(&busiest)?.last().copied());
            theirs.iter().for_each(|key| self.arrived(key));
        }
        let flight = self.flights.entry(key).or_insert_with(|| {
            self.shares.entry(link).or_default().insert(key);
            Flight { named_by: link, asked: None, since: now, others: BTreeSet::new() }
        });
        if flight.asked != Some(link) {
            flight.others.insert(link);
        }
        left
    }

    /// The link that has named most; `link` if it would have as many with one more.
    fn busiest(&self, link: LinkId) -> LinkId {
        let own = self.shares.get(&link).map_or(0, BTreeSet::len);
        let most = self.shares.iter().max_by_key(|(_, keys)| keys.len());
        most.filter(|(_, keys)| keys.len() > own + 1).map_or(link, |(busiest, _)| *busiest)
    }

    pub(super) fn arrived(&mut self, key: &Key) {
        if let Some(flight) = self.flights.remove(key) {
            self.forget(&flight, key);
        }
    }

    fn forget(&mut self, flight: &Flight, key: &Key) {
        if let Some(keys) = self.shares.get_mut(&flight.named_by) {
            keys.remove(key);
            if keys.is_empty() {
                self.shares.remove(&flight.named_by);
            }
        }
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
        let over = self.flights.extract_if(.., |key, flight| {
            if !is_over(flight) {
                return false;
            }
            let Some(next) = flight.others.pop_first() else { return true };
            (flight.asked, flight.since) = (Some(next), now);
            wants.entry(next).or_default().push(*key);
            false
        });
        let over: Vec<(Key, Flight)> = over.collect();
        for (key, flight) in over {
            self.forget(&flight, &key);
        }
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

    #[test]
    fn names_that_one_member_invents_push_out_nobodys() {
        let mut flights = Flights::default();
        let at = Moment::from_millis;
        let key = |number: usize| Key::new([0; 8], number as u64, [1; 32]);
        let [liar, honest] = [LinkId(1), LinkId(2)];
        for number in 0..WANTS_IN_FLIGHT_MAX {
            assert_eq!(flights.offered(at(0), liar, key(number)), None);
        }
        assert_eq!(flights.offered(at(0), liar, key(50_000)), Some(liar), "one too many");
        assert_eq!(flights.offered(at(0), honest, key(3)), None, "known by now");
        let half = WANTS_IN_FLIGHT_MAX / 2;
        for number in 0..half {
            assert_eq!(flights.offered(at(1), honest, key(60_000 + number)), Some(liar));
        }
        // From here on they have the same.
        assert_eq!(flights.offered(at(1), honest, key(90_000)), Some(honest));
        assert_eq!(flights.offered(at(1), liar, key(90_000)), Some(liar));
        assert_eq!(flights.flights.len(), WANTS_IN_FLIGHT_MAX);
        let asked = flights.expire(at(1_000));
        assert_eq!(asked[&honest].len(), half);
        // The share of a link is free again with what it named, however that ends.
        for number in 0..half {
            flights.arrived(&key(60_000 + number));
        }
        assert_eq!(flights.leave(at(2_000), liar), [(honest, vec![key(3)])].into());
        flights.leave(at(2_000), honest);
        assert!(flights.flights.is_empty() && flights.shares.is_empty(), "{:?}", flights.shares);
    }
}
