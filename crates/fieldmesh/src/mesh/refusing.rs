//! What is said to a peer whose batches may not be stored.
//!
//! A store that fails ends the conversation at once. One that is full by its quota works: what the
//! peer lacks goes out first, and the refusal once the peer has all of it for good.

use std::collections::BTreeMap;

use fieldmesh_model::{BatchId, ItemId, Moment};
use fieldmesh_replica::{Input, LinkId, Unstored};
use fieldmesh_store::AppendError;

use crate::clock;
use crate::ending;

use super::MeshTask;

/// How long nothing has to leave before a peer is refused that did not get everything.
const STILL_MILLIS_MAX: i64 = 60_000;
/// How long a refusal may wait in all: so long what the peer sent is held in memory.
const PENDING_MILLIS_MAX: i64 = 600_000;

/// What the store did not take.
#[derive(Debug, Default)]
pub(crate) struct Lost {
    pub(crate) batches: Vec<BatchId>,
    pub(crate) items: Vec<ItemId>,
}

impl Lost {
    fn input(self, why: Unstored) -> Input {
        Input::StoreFailed { batches: self.batches, items: self.items, why }
    }
}

/// Links that are to be refused.
#[derive(Debug, Default)]
pub(super) struct Refusing(BTreeMap<LinkId, Refusal>);

/// What is to be said to a peer.
#[derive(Debug)]
struct Refusal {
    lost: Lost,
    /// Why, for people.
    reason: String,
    begun: Moment,
    /// When something last left for the peer.
    moved: Moment,
}

impl Refusal {
    fn deadline(&self) -> Moment {
        let still = self.moved.plus_millis(STILL_MILLIS_MAX);
        still.min(self.begun.plus_millis(PENDING_MILLIS_MAX))
    }
}

impl Refusing {
    /// Notes what was not taken; whether it is the first of a link.
    fn add(&mut self, link: LinkId, lost: Lost, reason: String, now: Moment) -> bool {
        let is_first = !self.0.contains_key(&link);
        let none = Refusal { lost: Lost::default(), reason, begun: now, moved: now };
        let refusal = self.0.entry(link).or_insert(none);
        // The replica asks for no more than it has room for before any of it is durable.
        refusal.lost.batches.extend(lost.batches);
        refusal.lost.items.extend(lost.items);
        is_first
    }

    /// Something has left for a peer.
    pub(super) fn moved(&mut self, link: LinkId, now: Moment) {
        if let Some(refusal) = self.0.get_mut(&link) {
            refusal.moved = now;
        }
    }

    /// When the next peer is refused at the latest.
    pub(super) fn deadline(&self) -> Option<Moment> {
        self.0.values().map(Refusal::deadline).min()
    }

    /// The links that wait no longer.
    fn due(&self, now: Moment, owes_nothing: impl Fn(LinkId) -> bool) -> Vec<LinkId> {
        let is_due = |link: LinkId, refusal: &Refusal| {
            owes_nothing(link) || refusal.deadline().millis_since(now) <= 0
        };
        self.0.iter().filter(|(link, it)| is_due(**link, it)).map(|(link, _)| *link).collect()
    }

    /// A link is gone: what it sent has to be held no longer.
    pub(super) fn leave(&mut self, link: LinkId) -> Option<Input> {
        self.0.remove(&link).map(|refusal| refusal.lost.input(Unstored::NotGranted))
    }
}

impl MeshTask {
    /// The store did not take what a link sent.
    pub(super) fn store_failed(&mut self, link: LinkId, lost: Lost, error: &AppendError) {
        if !matches!(error, AppendError::QuotaUsed { .. }) {
            let words = ending::not_stored(error);
            if let Some(link) = self.links.get_mut(&link) {
                // What the peer offers next fits as little, so whoever dialled it is to wait.
                link.is_refused = true;
                link.complaint = Some(words.clone());
            }
            self.feed(lost.input(Unstored::Failed));
            let reason = error.to_string();
            tracing::error!(reason, "what a peer sent could not be stored");
            self.tally.failed(&reason);
            return self.drop_link(link, &words);
        }
        if !self.links.contains_key(&link) {
            return self.feed(lost.input(Unstored::NotGranted));
        }
        let reason = ending::not_stored(error);
        if self.refusing.add(link, lost, reason, clock::steady()) {
            // The store itself works, and whoever set the quota is told of it by its figures.
            tracing::info!(reason = %error, "what a peer sent was not taken");
        }
    }

    /// Refuses whom it is time to refuse.
    pub(super) fn refuse_due(&mut self) {
        let owes_nothing = |link| self.replica.owes_nothing(link);
        for link in self.refusing.due(clock::steady(), owes_nothing) {
            let Some(refusal) = self.refusing.0.remove(&link) else { continue };
            self.feed(refusal.lost.input(Unstored::NotGranted));
            self.drop_link(link, &refusal.reason);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Moment {
        Moment::from_millis(millis)
    }

    fn lost(number: u8) -> Lost {
        Lost { batches: vec![BatchId::from_bytes([number; 32])], items: Vec::new() }
    }

    #[test]
    fn a_peer_is_refused_once_it_has_everything_or_nothing_leaves_any_more() {
        let link = LinkId(1);
        let mut refusing = Refusing::default();
        refusing.add(link, lost(1), "full".into(), at(0));
        let due = |refusing: &Refusing, millis| refusing.due(at(millis), |_| false);
        assert_eq!(refusing.due(at(0), |_| true), [link]);
        // However long a line takes for what was handed to it.
        for millis in [2_000, 59_999] {
            assert_eq!(due(&refusing, millis), []);
        }
        assert_eq!(due(&refusing, 60_000), [link]);
        refusing.moved(link, at(59_000));
        assert_eq!(due(&refusing, 60_000), []);
        assert_eq!(refusing.deadline(), Some(at(119_000)));
        refusing.moved(link, at(590_000));
        assert_eq!((due(&refusing, 599_999), due(&refusing, 600_000)), (vec![], vec![link]));
    }

    #[test]
    fn what_a_link_sent_is_given_up_as_soon_as_the_link_is_gone() {
        let link = LinkId(1);
        let mut refusing = Refusing::default();
        refusing.add(link, lost(1), "full".into(), at(0));
        refusing.add(link, lost(2), "full".into(), at(1));
        let why = Unstored::NotGranted;
        let batches = [lost(1).batches, lost(2).batches].concat();
        let given_up = Input::StoreFailed { batches, items: Vec::new(), why };
        assert_eq!(refusing.leave(link), Some(given_up));
        assert_eq!((refusing.leave(link), refusing.deadline()), (None, None));
    }
}
