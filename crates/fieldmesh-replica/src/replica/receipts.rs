//! Asking peers what they hold, answering such questions, and keeping the proofs.
//!
//! A relay is also asked to sign for the moment alone, with a key that no batch has. A question
//! names heads, newest batches of chains; the answer is one receipt that the asked peer signs over
//! those of them that it holds with everything before them, and receipts of relays that it has for
//! them.

use std::collections::{BTreeMap, BTreeSet};

use fieldmesh_batch::Receipt;
use fieldmesh_identity::Policy;
use fieldmesh_model::{BatchId, Moment, StoreId};
use fieldmesh_session::{Input as Step, LinkId, SessionError};
use fieldmesh_trie::{KEY_LENGTH, Key};

use super::Replica;
use super::doubts::Suspicion;
use super::late::Round;
use crate::index::{Line, Mark, Spot};
use crate::interface::{Doubt, Event, Output, Proof};
use crate::limits::{
    ANSWER_BYTES_MAX, ANSWER_PATIENCE_MILLIS, ANSWERS_PER_SECOND_MAX, ASK_DELAY_MILLIS,
    HEADS_PER_CHAIN_MAX, HEADS_PER_RECEIPT_MAX, RELAYED_PER_ANSWER_MAX, SETBACKS_MAX, STAMP_MILLIS,
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
#[derive(Debug)]
pub(super) struct Questions {
    /// When to ask for what became new.
    ask_at: Option<Moment>,
    /// The head asked last; the next question goes on behind it.
    cursor: Option<Turn>,
    /// Everything that was here at this point is proven.
    proven: Option<Spot>,
    /// Since when the peer owes an answer.
    waiting_since: Option<Moment>,
    /// Whether there is more to ask once it has answered.
    has_more: bool,
    /// Questions of which no answer came.
    unanswered: u32,
    /// The epoch and the latest moment of the peer that were known when it was asked, if the next
    /// answer is to that question.
    floor: Option<(u64, Moment)>,
    /// When the peer last signed something.
    stamped: Option<Moment>,
    /// Whether the peer was asked to sign for the moment, if it is a relay.
    pub(super) has_greeted: bool,
    /// Whether the peer, a relay, was shown its own word.
    pub(super) has_shown: bool,
    /// Whether the peer was asked for relays' receipts for what no relay is known to hold.
    has_asked_relays: bool,
    /// What of the late batches the peer was asked about.
    pub(super) late: Round,
    /// The chains of which the peer sent something.
    lines: BTreeSet<Line>,
    /// The heads of the answer that is being signed.
    signing: Option<Vec<Spot>>,
    /// Questions answered since the moment.
    answered: Option<(u32, Moment)>,
    /// How often what the peer brought in this conversation voided what a store had acknowledged.
    setbacks: u32,
    /// The epoch and the latest moment that the peer has signed for in this conversation.
    pub(super) peer_clock: Option<(u64, Moment)>,
    /// Whether it was in step.
    pub(super) has_stepped: bool,
    /// What arrived at this replica from here on was not here at the beginning.
    pub(super) end: Spot,
    /// The epochs and the latest moments of the peer's stores that were known at the beginning.
    pub(super) known: BTreeMap<StoreId, (u64, Moment)>,
    /// Whether what the peer may be given is as it was at the beginning.
    pub(super) may_suspect: bool,
    /// What the peer lacks and has signed for.
    pub(super) suspicion: Option<Suspicion>,
}

impl Questions {
    pub(super) const fn new(end: Spot, known: BTreeMap<StoreId, (u64, Moment)>) -> Self {
        Self {
            ask_at: None,
            cursor: None,
            proven: None,
            waiting_since: None,
            has_more: false,
            unanswered: 0,
            floor: None,
            stamped: None,
            has_greeted: false,
            has_shown: false,
            has_asked_relays: false,
            late: Round::FIRST,
            lines: BTreeSet::new(),
            signing: None,
            answered: None,
            setbacks: 0,
            peer_clock: None,
            has_stepped: false,
            end,
            known,
            may_suspect: false,
            suspicion: None,
        }
    }

    /// The peer has sent a batch of this chain.
    pub(super) fn brought(&mut self, line: Line) {
        self.lines.insert(line);
        self.proven = None;
    }

    /// Something counts or may be shown that did not or might not.
    pub(super) const fn reopen(&mut self) {
        self.proven = None;
        self.may_suspect = false;
        self.suspicion = None;
    }

    /// Something that was proven is not. Whoever voids it again and again neither hastens nor delays
    /// the question.
    pub(super) fn ask_anew(&mut self, now: Moment) {
        self.proven = None;
        self.has_asked_relays = false;
        let soon = now.plus_millis(ASK_DELAY_MILLIS);
        self.ask_at = Some(self.ask_at.map_or(soon, |at| at.min(soon)));
    }

    /// Something new is on its way; its receipt is asked for once that has settled.
    pub(super) const fn ask_soon(&mut self, now: Moment) {
        self.ask_at = Some(now.plus_millis(ASK_DELAY_MILLIS));
    }

    /// Drops the answer that is being signed, unless its heads are as they were.
    pub(super) fn forget_signing_unless(&mut self, is_whole: impl Fn(&Vec<Spot>) -> bool) {
        self.signing = self.signing.take().filter(is_whole);
    }

    /// Whether the peer owes an answer.
    pub(super) const fn is_waiting(&self) -> bool {
        self.waiting_since.is_some()
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
    /// about this device's own and those of chains that it brought, and about what is late. A relay
    /// is asked to sign for the moment if it has not for long.
    pub(super) fn ask(&mut self, now: Moment, id: LinkId) {
        let Some(link) = self.links.get_mut(&id) else { return };
        link.receipts.ask_at = None;
        if !link.takes_questions() {
            // Being in step, which comes later, asks.
            return;
        }
        let is_patient = |since: Moment| now.millis_since(since) < ANSWER_PATIENCE_MILLIS;
        if link.receipts.waiting_since.is_some_and(is_patient) {
            link.receipts.has_more = true;
            return;
        }
        link.receipts.has_more = false;
        let is_stamped = |at: Moment| now.millis_since(at) < STAMP_MILLIS;
        let is_stamped = link.receipts.stamped.is_some_and(is_stamped);
        let Some(place) = self.place_of(id) else { return };
        let (late, last) = self.late_for(id);
        let heads = self.next_heads(id, &place, HEADS_PER_RECEIPT_MAX - late.len());
        let spots: BTreeSet<Spot> = late.into_iter().chain(heads).collect();
        let index = &self.holdings.index;
        let mut keys: Vec<Key> = spots.into_iter().map(|spot| index.key(spot)).collect();
        if keys.is_empty() && !is_stamped && self.is_relay(&place.0) {
            keys.push(moment_alone());
        }
        if let Some(link) = self.links.get_mut(&id) {
            link.receipts.late.asked(last, self.holdings.index.end());
        }
        if !keys.is_empty() {
            self.prove(now, id, keys);
        }
    }

    /// Asks for a receipt for these.
    pub(super) fn prove(&mut self, now: Moment, id: LinkId, keys: Vec<Key>) {
        self.show_word(now, id);
        let latest = self.place_of(id).and_then(|place| self.proofs.latest(&place));
        let Some(link) = self.links.get_mut(&id) else { return };
        link.receipts.waiting_since = Some(now);
        // Of several answers that are due one cannot tell to which question the next one is.
        link.receipts.floor = latest.filter(|_| link.receipts.unanswered == 0);
        link.receipts.unanswered += 1;
        self.step(now, id, Step::Prove(keys));
    }

    /// The heads whose turn it is to be asked about.
    fn next_heads(&mut self, id: LinkId, place: &Place, limit: usize) -> Vec<Spot> {
        let Some(link) = self.links.get(&id) else { return Vec::new() };
        let (proven, after) = (link.receipts.proven, link.receipts.cursor);
        let end = self.holdings.index.end();
        if proven == Some(end) {
            return Vec::new();
        }
        let mut heads = self.unproven(id, place, after, limit);
        let is_whole = heads.is_empty() && after.is_none();
        if heads.is_empty() && after.is_some() {
            heads = self.unproven(id, place, None, limit);
        }
        let Some(link) = self.links.get_mut(&id) else { return Vec::new() };
        let is_full = heads.len() == limit;
        link.receipts.cursor = heads.last().map(|head| head.turn).filter(|_| is_full);
        link.receipts.has_asked_relays |= !is_full;
        if is_whole {
            link.receipts.proven = Some(end);
        }
        heads.into_iter().map(|head| head.spot).collect()
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
        if let Some(waiting) = &mut self.raising {
            waiting.insert(id, keys.to_vec());
            return;
        }
        let index = &self.holdings.index;
        let is_here = |spot: &Spot| {
            index.has(*spot, Mark::Rooted) && self.grants.shows(id, &self.holdings, *spot)
        };
        let keys: BTreeSet<Key> = keys.iter().take(HEADS_PER_RECEIPT_MAX).copied().collect();
        let found = keys.iter().filter_map(|key| find(index, key)).filter(is_here);
        let spots: Vec<Spot> = found.collect();
        let store = (self.config.store, self.config.store_epoch);
        let heads = spots.iter().map(|spot| *index.key(*spot).as_bytes());
        let at = self.signing.next(now);
        let receipt = Receipt::new(self.config.tenant, self.config.device, store, at, heads);
        link.receipts.signing = Some(spots);
        self.outputs.push_back(Output::Sign { link: id, receipt });
    }

    /// The shell cannot sign; whoever asked asks again.
    pub(super) fn not_signed(&mut self, id: LinkId) {
        if let Some(link) = self.links.get_mut(&id) {
            link.receipts.signing = None;
        }
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
            link.receipts.waiting_since = Some(Moment::from_millis(0));
        }
    }

    /// The peer answers a question, with a receipt of its own first. Of what nobody asked for only
    /// what this device has signed itself is read.
    pub(crate) fn take_receipts(
        &mut self,
        now: Moment,
        id: LinkId,
        receipts: &[Vec<u8>],
    ) -> Result<(), SessionError> {
        let Some(link) = self.links.get(&id) else { return Ok(()) };
        let (peer, is_awaited) = (link.peer, link.receipts.is_waiting());
        let receipts = receipts.iter().take(1 + RELAYED_PER_ANSWER_MAX);
        let read: Result<Vec<Receipt>, _> = receipts.map(|it| Receipt::decode(it)).collect();
        let read = match read {
            Ok(read) => read,
            Err(_) if is_awaited => return Err(SessionError::Content),
            Err(_) => return Ok(()),
        };
        read.iter().for_each(|receipt| self.hear_own_word(receipt));
        let is_shown = read.iter().all(|receipt| receipt.signer == self.config.device);
        if !is_awaited || is_shown {
            return Ok(());
        }
        let Some(link) = self.links.get_mut(&id) else { return Ok(()) };
        link.receipts.waiting_since = None;
        link.receipts.unanswered = link.receipts.unanswered.saturating_sub(1);
        let is_first = link.receipts.peer_clock.is_none();
        let store = link.greeting.as_ref().map(|greeting| greeting.store);
        for receipt in read {
            let is_own = receipt.signer == self.config.device;
            let is_relay = self.is_relay(&receipt.signer);
            let is_peers = receipt.signer == peer && Some(receipt.store) == store;
            if is_own || !(is_peers || (is_relay && receipt.signer != peer)) {
                continue;
            }
            if !stands(&self.policy, &receipt) {
                return Err(SessionError::Content);
            }
            if is_peers {
                self.note_clock(now, id, &receipt);
            }
            let is_setback = self.proofs.is_behind(&place_of(&receipt), receipt.store_epoch);
            if is_setback && !self.takes_setback(id, is_peers) {
                continue;
            }
            self.take_receipt(now, &receipt, is_relay);
        }
        if self.links.get(&id).is_some_and(|link| link.receipts.setbacks > SETBACKS_MAX) {
            return Err(SessionError::OutOfTurn { name: "Receipts" });
        }
        self.go_on_asking(now, id, is_first);
        Ok(())
    }

    /// An answer has been taken in.
    fn go_on_asking(&mut self, now: Moment, id: LinkId, is_first: bool) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let (peer, has_more) = (link.peer, link.receipts.has_more);
        if link.receipts.cursor.is_some() || link.receipts.late.is_open() {
            link.receipts.ask_soon(now);
        }
        // What a relay had before it signed shows only the comparison after that.
        let is_to_compare = is_first && link.receipts.has_stepped && self.is_relay(&peer);
        if is_to_compare {
            self.step(now, id, Step::Check);
        }
        if has_more {
            self.ask(now, id);
        }
    }

    /// The peer has signed something in this conversation. If it takes a moment that is not later
    /// than one that was known when it was asked, it has forgotten that, or acts as if.
    fn note_clock(&mut self, now: Moment, id: LinkId, receipt: &Receipt) {
        let Some(link) = self.links.get_mut(&id) else { return };
        link.receipts.stamped = Some(now);
        let clock = &mut link.receipts.peer_clock;
        *clock = (*clock).max(Some((receipt.store_epoch, receipt.at)));
        let Some((epoch, floor)) = link.receipts.floor.take() else { return };
        if receipt.store_epoch == epoch && receipt.at <= floor {
            link.receipts.setbacks += 1;
            let (device, store) = (receipt.signer, receipt.store);
            self.doubt(now, Doubt { device, store, epoch, until: Some(floor) }, None);
        }
    }

    /// Whether one more receipt over this link may void what its store had acknowledged. Those that
    /// the peer only carries are passed over beyond the limit; it answers for its own.
    fn takes_setback(&mut self, id: LinkId, is_peers: bool) -> bool {
        let Some(link) = self.links.get_mut(&id) else { return false };
        let takes = is_peers || link.receipts.setbacks < SETBACKS_MAX;
        link.receipts.setbacks += u32::from(takes);
        takes
    }

    /// The store shows its epoch: an epoch that has risen voids what it acknowledged.
    pub(super) fn note_epoch(&mut self, now: Moment, place: Place, epoch: u64) {
        if self.is_relay(&place.0) {
            self.proofs.note_relay(&place, epoch, now);
        }
        if self.proofs.note_epoch(&place, epoch) {
            self.restored(now, place, epoch);
        }
    }

    /// Something new travels over the link, in either direction.
    pub(super) fn ask_soon(&mut self, now: Moment, id: LinkId) {
        if let Some(link) = self.links.get_mut(&id) {
            link.receipts.ask_soon(now);
        }
    }

    fn take_receipt(&mut self, now: Moment, receipt: &Receipt, is_relay: bool) {
        let Gain { is_new, is_restored } =
            self.proofs.take(&self.holdings.index, receipt, is_relay);
        if is_restored {
            self.restored(now, place_of(receipt), receipt.store_epoch);
        }
        if is_new {
            self.event(Event::Receipt(receipt.clone()));
        }
        if is_relay {
            self.watch_receipt(now, receipt);
        }
    }

    fn restored(&mut self, now: Moment, (device, store): Place, epoch: u64) {
        self.watch.forget(&(device, store));
        for link in self.links.values_mut() {
            link.receipts.ask_anew(now);
        }
        self.event(Event::StoreRestored { device, store, epoch });
    }

    /// The store at the other end of a link that may be asked.
    pub(super) fn place_of(&self, id: LinkId) -> Option<Place> {
        let link = self.links.get(&id)?;
        let greeting = link.greeting.as_ref().filter(|_| link.takes_runs())?;
        self.policy.member(&link.peer)?;
        Some((link.peer, greeting.store))
    }

    /// The first heads behind `after` that the store has not acknowledged, own ones first.
    fn unproven(&self, id: LinkId, place: &Place, after: Option<Turn>, limit: usize) -> Vec<Head> {
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
        heads.filter(is_asked).take(limit).collect()
    }
}

/// The store that signed the receipt.
const fn place_of(receipt: &Receipt) -> Place {
    (receipt.signer, receipt.store)
}

/// What asks for the moment alone: a key that no batch has.
pub(super) const fn moment_alone() -> Key {
    Key::from_bytes([0; KEY_LENGTH])
}

/// Whether the receipt is of this tenant and its signer's.
pub(super) fn stands(policy: &Policy, receipt: &Receipt) -> bool {
    let key = policy.verifying_key(&receipt.signer);
    receipt.tenant == policy.tenant() && key.is_some_and(|key| receipt.verify(key).is_ok())
}
