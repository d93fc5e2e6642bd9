//! Stores that lack what they signed for, because they were put back from an older copy.
//!
//! Such a store does not know it. A relay is shown the newest receipts of its own when it
//! introduces itself: if it cannot have signed one in the past that it remembers, it raises its
//! epoch before it signs again. Beside that a peer is judged by what it lacks: it was given, in an
//! exchange, what it had signed for before the conversation began. What such a store signed up to
//! then is void for good, and whoever carries a copy of it is not believed.

use std::collections::BTreeMap;

use fieldmesh_batch::Receipt;
use fieldmesh_model::{BatchId, Moment};
use fieldmesh_session::{Input as Step, LinkId, Side};
use fieldmesh_trie::{Digest, Key};

use super::receipts::{moment_alone, stands};
use super::{Replica, batch_id};
use crate::index::{Mark, Spot};
use crate::interface::{Doubt, Event, Output};
use crate::signing::Signing;

/// A batch that a peer lacks and has signed for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Suspicion {
    spot: Spot,
    /// The root of the policy items that were here. The peer is in step with the same in the end,
    /// or what it shows may have depended on others: one item may drive out another, so their
    /// number says nothing.
    policy: Digest,
}

impl Replica {
    /// Goes on signing behind what was made durable for [`Output::Sign`]; to be said before the
    /// first link.
    #[must_use]
    pub fn with_signed(mut self, until: Option<Moment>) -> Self {
        self.signing = Signing::after(until);
        self
    }

    /// Knows what is not to be believed, as [`Event::StoreDoubted`] and [`Event::StoreRestored`]
    /// gave it; to be said before [`Self::with_receipts`].
    #[must_use]
    pub fn with_doubts(mut self, doubts: impl IntoIterator<Item = Doubt>) -> Self {
        for doubt in doubts {
            let is_relay = self.is_relay(&doubt.device);
            self.proofs.doubt(&doubt, is_relay);
        }
        self
    }

    /// Both sides have introduced themselves: a relay is asked to sign for the moment, unless it
    /// was asked for more already.
    pub(super) fn greet_relay(&mut self, now: Moment, id: LinkId) {
        let Some(link) = self.links.get_mut(&id).filter(|link| link.takes_questions()) else {
            return;
        };
        if std::mem::replace(&mut link.receipts.has_greeted, true) || link.receipts.is_waiting() {
            return;
        }
        if self.place_of(id).is_some_and(|place| self.is_relay(&place.0)) {
            self.prove(now, id, vec![moment_alone()]);
        }
    }

    /// Shows a relay its own word, once and before it has to sign: what it signs in ignorance may
    /// take moments that it took before.
    pub(super) fn show_word(&mut self, now: Moment, id: LinkId) {
        let Some(place) = self.place_of(id).filter(|place| self.is_relay(&place.0)) else { return };
        let Some(link) = self.links.get_mut(&id) else { return };
        if std::mem::replace(&mut link.receipts.has_shown, true) {
            return;
        }
        let shown: Vec<Vec<u8>> = self.proofs.newest(&place).map(Receipt::encode).collect();
        self.step(now, id, Step::Receipts(shown));
    }

    /// A peer shows a receipt that this device has signed.
    pub(super) fn hear_own_word(&mut self, receipt: &Receipt) {
        let config = &self.config;
        let is_of_this_store = receipt.signer == config.device
            && receipt.store == config.store
            && receipt.store_epoch == config.store_epoch;
        let is_lost = is_of_this_store
            && self.raising.is_none()
            && self.signing.never_signed_for(receipt.at)
            && stands(&self.policy, receipt);
        if is_lost {
            let epoch = config.store_epoch.saturating_add(1);
            self.raising = Some(BTreeMap::new());
            self.outputs.push_back(Output::RaiseEpoch { epoch });
        }
    }

    /// The new epoch of this store is durable.
    pub(super) fn epoch_raised(&mut self, now: Moment, epoch: u64) {
        self.config.store_epoch = epoch;
        for (id, keys) in self.raising.take().unwrap_or_default() {
            self.asked(now, id, &keys);
        }
    }

    /// From here on it means something if the peer lacks what it signed for.
    pub(super) fn may_suspect(&mut self, id: LinkId) {
        if let Some(link) = self.links.get_mut(&id) {
            link.receipts.may_suspect = true;
        }
    }

    /// Batches are about to be sent to a peer: did it sign for one of them before it said that it
    /// lacks it?
    ///
    /// What the peer says in a conversation of which it has heard this side follows on what was
    /// known here at its beginning. What arrived since is passed on unasked, and proves nothing.
    pub(super) fn note_lacking(&mut self, id: LinkId, keys: &[Key]) {
        let Some((link, place)) = self.links.get(&id).zip(self.place_of(id)) else { return };
        let questions = &link.receipts;
        let has_heard = link.side == Side::Dialled || questions.has_stepped;
        let known = questions.known.get(&place.1).filter(|(epoch, _)| {
            link.greeting.as_ref().is_some_and(|greeting| greeting.store_epoch == *epoch)
        });
        let Some((_, latest)) = known.filter(|_| has_heard && questions.may_suspect) else {
            return;
        };
        let index = &self.holdings.index;
        let has_signed = |spot: &Spot| {
            *spot < questions.end
                && !index.has(*spot, Mark::Aside)
                && self.holdings.counts_all(index.line(*spot))
                && self.proofs.acknowledged(index, &place, *spot).is_some_and(|at| at <= *latest)
        };
        let spots = keys.iter().filter_map(|key| index.find(&batch_id(key)));
        let Some(spot) = spots.filter(|_| questions.suspicion.is_none()).find(has_signed) else {
            return;
        };
        let suspicion = Suspicion { spot, policy: self.policy_root() };
        if let Some(link) = self.links.get_mut(&id) {
            link.receipts.suspicion = Some(suspicion);
        }
    }

    /// The peer is in step: what it lacked before, it lacked by the same policy.
    pub(super) fn settle_suspicion(&mut self, now: Moment, id: LinkId) {
        let Some(place) = self.place_of(id) else { return };
        let policy = self.policy_root();
        let Some(link) = self.links.get_mut(&id) else { return };
        let suspicion = link.receipts.suspicion.take();
        let suspicion = suspicion.filter(|it| it.policy == policy);
        let known = link.receipts.known.remove(&place.1);
        let Some((Suspicion { spot, .. }, (epoch, until))) = suspicion.zip(known) else {
            return;
        };
        let batch = self.holdings.index.id(spot);
        let (device, store) = place;
        self.doubt(now, Doubt { device, store, epoch, until: Some(until) }, Some(batch));
    }

    /// What a store signed is void from here on.
    pub(super) fn doubt(&mut self, now: Moment, doubt: Doubt, batch: Option<BatchId>) {
        let is_relay = self.is_relay(&doubt.device);
        if !self.proofs.doubt(&doubt, is_relay) {
            return;
        }
        for link in self.links.values_mut() {
            link.receipts.ask_anew(now);
        }
        self.event(Event::StoreDoubted { doubt, batch });
    }
}
