//! Batches that a relay had to give and that came from others.

use std::collections::{BTreeMap, BTreeSet};

use fieldmesh_model::{DeviceId, Moment};

use crate::index::{Line, Spot};
use crate::limits::LATE_MAX;

/// The late batches of one relay. Where they are too many, an author with the most of them loses
/// its oldest one: whoever writes much hides nothing that is kept back of another.
#[derive(Debug, Default)]
pub(super) struct Late {
    /// When they were not here yet.
    since: BTreeMap<Spot, Moment>,
    authors: BTreeMap<DeviceId, BTreeSet<Spot>>,
}

impl Late {
    pub(super) fn insert(&mut self, author: DeviceId, spot: Spot, since: Moment) {
        if self.since.insert(spot, since).is_none() {
            self.authors.entry(author).or_default().insert(spot);
        }
        if self.since.len() > LATE_MAX {
            let largest = self.authors.iter().max_by_key(|(_, spots)| spots.len());
            let oldest = largest.and_then(|(author, spots)| Some((*author, *spots.first()?)));
            if let Some((author, spot)) = oldest {
                self.remove(&author, spot);
            }
        }
    }

    pub(super) fn remove(&mut self, author: &DeviceId, spot: Spot) {
        self.since.remove(&spot);
        if let Some(spots) = self.authors.get_mut(author) {
            spots.remove(&spot);
            if spots.is_empty() {
                self.authors.remove(author);
            }
        }
    }

    /// Those that arrived from `from` on, and since when they are late.
    pub(super) fn from(&self, from: Spot) -> impl Iterator<Item = (Spot, Moment)> + '_ {
        self.since.range(from..).map(|(spot, since)| (*spot, *since))
    }
}

/// Which late batches a peer was asked about: in rounds, of which one takes as many questions as
/// it needs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Round {
    /// All that arrived before this one.
    from: Spot,
    /// Where the round ends: what arrived from here on is for the next one.
    until: Spot,
    /// The chain that was asked about last, while others are left.
    after: Option<Line>,
}

impl Round {
    pub(super) const FIRST: Self = Self { from: Spot::FIRST, until: Spot::FIRST, after: None };

    pub(super) const fn from(&self) -> Spot {
        self.from
    }

    /// Whether chains are left to ask about.
    pub(super) const fn is_open(&self) -> bool {
        self.after.is_some()
    }

    /// Whether this chain is still to be asked about.
    pub(super) fn is_left(&self, line: Line) -> bool {
        self.after.is_none_or(|after| line > after)
    }

    /// The next ones are asked about, of what lies before `end`; `last` is the chain of the last one
    /// if others are left.
    pub(super) const fn asked(&mut self, last: Option<Line>, end: Spot) {
        if self.after.is_none() {
            self.until = end;
        }
        self.after = last;
        if last.is_none() {
            self.from = self.until;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_writes_much_does_not_hide_what_is_kept_back_of_another() {
        let [quiet, loud] = [1, 2].map(|byte| DeviceId::from_bytes([byte; 32]));
        let since = Moment::from_millis(7);
        let mut spots = (0..).filter_map(Spot::of);
        let mut late = Late::default();
        let hidden = spots.next().unwrap();
        late.insert(quiet, hidden, since);
        let flood: Vec<Spot> = spots.take(LATE_MAX + 10).collect();
        flood.iter().for_each(|spot| late.insert(loud, *spot, since));
        assert_eq!(late.from(Spot::FIRST).next(), Some((hidden, since)));
        assert_eq!(late.from(Spot::FIRST).count(), LATE_MAX);
        assert_eq!(late.from(flood[LATE_MAX]).count(), 10, "the newest stay");
    }
}
