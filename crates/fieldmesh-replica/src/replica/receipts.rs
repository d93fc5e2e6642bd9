//! Asking peers what they hold, answering such questions, and keeping the proofs.
//!
//! A question names heads, newest batches of chains; the answer is one receipt that the asked peer
//! signs over those of them that it holds with everything before them, and receipts of relays that
//! it has for them.

use std::collections::BTreeSet;

use fieldmesh_batch::Receipt;
use fieldmesh_identity::Policy;
use fieldmesh_model::{BatchId, Moment};
use fieldmesh_session::{Input as Step, LinkId, SessionError};
use fieldmesh_trie::Key;

use super::Replica;
use crate::index::{Line, Mark, Spot};
use crate::interface::{Event, Output, Proof};
use crate::limits::{
    ANSWER_BYTES_MAX, ANSWERS_PER_SECOND_MAX, ASK_DELAY_MILLIS, HEADS_PER_CHAIN_MAX,
    HEADS_PER_RECEIPT_MAX, RELAYED_PER_ANSWER_MAX,
};
use crate::proofs::{Gain, Place, find};

/// Where a head stands in the order of questions: own ones first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    is_foreign: bool,
    line: Line,
    tip: Spot,
}

/// A head to ask about.
#[derive(Debug, Clone, Copy)]
struct Head {
    turn: Turn,
    spot: Spot,
}

/// What one conversation has asked and answered.
#[derive(Debug, Default)]
pub(super) struct Questions {
    /// When to ask for what became new.
    ask_at: Option<Moment>,
    /// The head asked last; the next question goes on behind it.
    cursor: Option<Turn>,
    /// Everything that was here at this point is proven.
    proven: Option<Spot>,
    /// Whether the peer owes an answer.
    is_waiting: bool,
    /// Whether the peer was asked for relays' receipts for what no relay is known to hold.
    has_asked_relays: bool,
    /// The chains of which the peer sent something.
    lines: BTreeSet<Line>,
    /// The heads of the answer that is being signed.
    signing: Option<Vec<Spot>>,
    /// Questions answered since the moment.
    answered: Option<(u32, Moment)>,
    /// The latest time of the peer's own clock that it has signed.
    pub(super) peer_clock: Option<Moment>,
}

impl Questions {
    /// The peer has sent a batch of this chain.
    pub(super) fn brought(&mut self, line: Line) {
        self.lines.insert(line);
        self.proven = None;
    }

    /// Something may have to be proven that had not.
    pub(super) const fn reopen(&mut self) {
        self.proven = None;
    }

    /// Something new is on its way; its receipt is asked for once that has settled.
    pub(super) const fn ask_soon(&mut self, now: Moment) {
        self.ask_at = Some(now.plus_millis(ASK_DELAY_MILLIS));
    }

    /// Whether the peer owes an answer.
    pub(super) const fn is_waiting(&self) -> bool {
        self.is_waiting
    }

    pub(super) const fn deadline(&self) -> Option<Moment> {
        self.ask_at
    }

    /// Whether one more question may be answered within this second.
    fn takes_question(&mut self, now: Moment) -> bool {
        let (count, since) = self.answered.unwrap_or((0, now));
        let is_over = now.millis_since(since) >= 1_000;
        let (count, since) = if is_over { (0, now) } else { (count, since) };
        self.answered = Some((count + 1, since));
        count < ANSWERS_PER_SECOND_MAX
    }
}

impl Replica {
    /// Knows kept receipts, as [`Event::Receipt`] gave them; those that do not stand are left out.
    #[must_use]
    pub fn with_receipts(mut self, receipts: impl IntoIterator<Item = Receipt>) -> Self {
        for receipt in receipts {
            if stands(&self.policy, &receipt) {
                let is_relay = self.is_relay(&receipt.signer);
                self.proofs.take(&self.holdings.index, &receipt, is_relay);
            }
        }
        self
    }

    /// Where else a batch is, by signed receipts of members.
    pub fn proof(&self, batch: &BatchId) -> Proof {
        let index = &self.holdings.index;
        let own = (self.config.device, self.config.store);
        let proof = |spot| self.proofs.proof(index, &self.policy, &own, spot);
        index.find(batch).map(proof).unwrap_or_default()
    }

    /// Asks the peer about heads that its store has not acknowledged: a relay about all, a device
    /// about this device's own and those of chains that it brought.
    pub(super) fn ask(&mut self, now: Moment, id: LinkId) {
        let Some(link) = self.links.get_mut(&id) else { return };
        link.receipts.ask_at = None;
        let (proven, after) = (link.receipts.proven, link.receipts.cursor);
        let end = self.holdings.index.end();
        let Some(place) = self.place_of(id).filter(|_| proven != Some(end)) else { return };
        let mut heads = self.unproven(id, &place, after);
        let is_whole = heads.is_empty() && after.is_none();
        if heads.is_empty() && after.is_some() {
            heads = self.unproven(id, &place, None);
        }
        let Some(link) = self.links.get_mut(&id) else { return };
        let is_full = heads.len() == HEADS_PER_RECEIPT_MAX;
        link.receipts.cursor = heads.last().map(|head| head.turn).filter(|_| is_full);
        link.receipts.has_asked_relays |= !is_full;
        if is_whole {
            link.receipts.proven = Some(end);
        }
        if !heads.is_empty() {
            link.receipts.is_waiting = true;
            let index = &self.holdings.index;
            let keys = heads.into_iter().map(|head| index.key(head.spot)).collect();
            self.step(now, id, Step::Prove(keys));
        }
    }

    /// Asks where it is time to.
    pub(super) fn ask_if_due(&mut self, now: Moment) {
        let is_due = |at: Option<Moment>| at.is_some_and(|at| at <= now);
        let links = self.links.iter().filter(|(_, link)| is_due(link.receipts.ask_at));
        let due: Vec<LinkId> = links.map(|(id, _)| *id).collect();
        for id in due {
            self.ask(now, id);
        }
    }

    /// The peer asks about heads.
    pub(crate) fn asked(&mut self, now: Moment, id: LinkId, keys: &[Key]) {
        let Some(link) = self.links.get_mut(&id) else { return };
        // A question that is left alone is asked again, at the latest when roots are compared.
        if link.receipts.signing.is_some() || !link.receipts.takes_question(now) {
            return;
        }
        let index = &self.holdings.index;
        let is_here = |spot: &Spot| {
            index.has(*spot, Mark::Rooted) && self.grants.shows(id, &self.holdings, *spot)
        };
        let keys: BTreeSet<Key> = keys.iter().take(HEADS_PER_RECEIPT_MAX).copied().collect();
        let found = keys.iter().filter_map(|key| find(index, key)).filter(is_here);
        let spots: Vec<Spot> = found.collect();
        if spots.is_empty() {
            return;
        }
        let store = (self.config.store, self.config.store_epoch);
        let heads = spots.iter().map(|spot| *index.key(*spot).as_bytes());
        let receipt = Receipt::new(self.config.tenant, self.config.device, store, now, heads);
        link.receipts.signing = Some(spots);
        self.outputs.push_back(Output::Sign { link: id, receipt });
    }

    /// The shell has signed the answer.
    pub(super) fn signed(&mut self, now: Moment, id: LinkId, bytes: Vec<u8>) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let Some(spots) = link.receipts.signing.take() else { return };
        let is_shown = |key: &Key| {
            let scope = fieldmesh_model::Scope::from_bytes(key.scope());
            self.grants.admits(id, &scope)
        };
        let index = &self.holdings.index;
        let relayed = self.proofs.relayed(index, &spots, RELAYED_PER_ANSWER_MAX, is_shown);
        let mut length = bytes.len();
        let mut receipts = vec![bytes];
        for receipt in relayed.iter().map(Receipt::encode) {
            length += receipt.len();
            if length <= ANSWER_BYTES_MAX {
                receipts.push(receipt);
            }
        }
        self.step(now, id, Step::Receipts(receipts));
    }

    /// Expects an answer as if a question had been asked.
    #[cfg(test)]
    pub(crate) fn expect_receipts(&mut self, id: LinkId) {
        if let Some(link) = self.links.get_mut(&id) {
            link.receipts.is_waiting = true;
        }
    }

    /// The peer answers a question; receipts that nobody asked for are not read.
    pub(crate) fn take_receipts(
        &mut self,
        now: Moment,
        id: LinkId,
        receipts: &[Vec<u8>],
    ) -> Result<(), SessionError> {
        let Some(link) = self.links.get_mut(&id).filter(|link| link.receipts.is_waiting) else {
            return Ok(());
        };
        link.receipts.is_waiting = false;
        let (peer, goes_on) = (link.peer, link.receipts.cursor.is_some());
        let store = link.greeting.as_ref().map(|greeting| greeting.store);
        for bytes in receipts.iter().take(1 + RELAYED_PER_ANSWER_MAX) {
            let receipt = Receipt::decode(bytes).map_err(|_| SessionError::Content)?;
            let is_own = receipt.signer == self.config.device;
            let is_relay = self.is_relay(&receipt.signer);
            let is_peers = receipt.signer == peer && Some(receipt.store) == store;
            if is_own || !(is_peers || (is_relay && receipt.signer != peer)) {
                continue;
            }
            if !stands(&self.policy, &receipt) {
                return Err(SessionError::Content);
            }
            self.take_receipt(id, receipt, is_relay);
        }
        if goes_on {
            self.ask_soon(now, id);
        }
        Ok(())
    }

    /// The store shows its epoch: an epoch that has risen voids what it acknowledged.
    pub(super) fn note_epoch(&mut self, now: Moment, place: Place, epoch: u64) {
        if self.is_relay(&place.0) {
            self.proofs.note_relay(&place, epoch, now);
        }
        if self.proofs.note_epoch(&place, epoch) {
            self.restored(place, epoch);
        }
    }

    /// Something new travels over the link, in either direction.
    pub(super) fn ask_soon(&mut self, now: Moment, id: LinkId) {
        if let Some(link) = self.links.get_mut(&id) {
            link.receipts.ask_soon(now);
        }
    }

    fn take_receipt(&mut self, id: LinkId, receipt: Receipt, is_relay: bool) {
        let place = (receipt.signer, receipt.store);
        if let Some(link) = self.links.get_mut(&id).filter(|link| link.peer == receipt.signer) {
            let clock = &mut link.receipts.peer_clock;
            *clock = (*clock).max(Some(receipt.at));
        }
        let Gain { is_new, is_restored } =
            self.proofs.take(&self.holdings.index, &receipt, is_relay);
        if is_restored {
            self.restored(place, receipt.store_epoch);
        }
        if is_relay {
            self.watch_receipt(&receipt);
        }
        if is_new {
            self.event(Event::Receipt(receipt));
        }
    }

    fn restored(&mut self, (device, store): Place, epoch: u64) {
        self.watch.forget(&(device, store));
        for link in self.links.values_mut() {
            link.receipts.proven = None;
        }
        self.event(Event::StoreRestored { device, store, epoch });
    }

    /// The store at the other end of a link that may be asked.
    fn place_of(&self, id: LinkId) -> Option<Place> {
        let link = self.links.get(&id)?;
        let greeting = link.greeting.as_ref().filter(|_| link.takes_runs())?;
        self.policy.member(&link.peer)?;
        Some((link.peer, greeting.store))
    }

    /// The first heads behind `after` that the store has not acknowledged, own ones first.
    fn unproven(&self, id: LinkId, place: &Place, after: Option<Turn>) -> Vec<Head> {
        let Some(link) = self.links.get(&id) else { return Vec::new() };
        let is_relay = self.is_relay(&link.peer);
        let index = &self.holdings.index;
        let heads = [false, true].into_iter().flat_map(|is_foreign| {
            let mut count = (None, 0);
            index.tips().filter_map(move |tip| {
                let (line, chain) = (index.line(tip), index.chain(tip));
                count = (Some(line), if count.0 == Some(line) { count.1 + 1 } else { 1 });
                let is_own = chain.author == self.config.device;
                let is_wanted = is_relay || is_own || link.receipts.lines.contains(&line);
                let turn = Turn { is_foreign, line, tip };
                let is_due = is_own != is_foreign
                    && is_wanted
                    && count.1 <= HEADS_PER_CHAIN_MAX
                    && after.is_none_or(|it| turn > it);
                let spot = is_due.then(|| self.holdings.last_counting(tip))??;
                Some(Head { turn, spot })
            })
        });
        // A device may have been where a relay was and this one was not; it is asked once.
        let asks_for_relays = !is_relay && !link.receipts.has_asked_relays;
        let is_unsafe = |spot: Spot| !self.proof(&index.id(spot)).is_safe;
        let is_asked = |head: &Head| {
            self.grants.shows(id, &self.holdings, head.spot)
                && (self.proofs.acknowledged(index, place, head.spot).is_none()
                    || (asks_for_relays && is_unsafe(head.spot)))
        };
        heads.filter(is_asked).take(HEADS_PER_RECEIPT_MAX).collect()
    }
}

/// Whether the receipt is of this tenant and its signer's.
fn stands(policy: &Policy, receipt: &Receipt) -> bool {
    let key = policy.verifying_key(&receipt.signer);
    receipt.tenant == policy.tenant() && key.is_some_and(|key| receipt.verify(key).is_ok())
}
