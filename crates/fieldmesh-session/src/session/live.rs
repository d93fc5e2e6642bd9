//! Passing on what is new while nothing known is lacking.

use std::collections::BTreeSet;

use fieldmesh_model::Moment;
use fieldmesh_trie::{KEY_LENGTH, Key};

use super::{Phase, Session};
use crate::error::SessionError;
use crate::interface::{Lane, Manner, Output, Set, Sets, Settled, Verdict};
use crate::limits::{
    CONTROL_UNWRITTEN_MAX, EXCLUDED_MAX, KEYS_PER_MESSAGE_MAX, OFFERS_QUEUED_MAX,
    PUSHES_QUEUED_MAX, QUARANTINE_MILLIS, WANTS_IN_FLIGHT_MAX,
};
use crate::wire::{FrameKind, Message};

impl Session {
    /// Something new is durable here.
    pub(super) fn offer(
        &mut self,
        now: Moment,
        set: Set,
        key: Key,
        manner: Manner,
        sets: &Sets<'_>,
    ) {
        if set == Set::Quarantine {
            return self.request_check_by(now.plus_millis(QUARANTINE_MILLIS));
        }
        let is_urgent = set == Set::Policy || (sets.lane)(&key) == Lane::Urgent;
        match &self.phase {
            // The comparison that comes next finds it.
            Phase::Greeting => {}
            Phase::Exchanging(exchange) if exchange.is_aside() => {
                self.queue_offer(set, key, manner);
            }
            // All differences are named: what is new need not wait until they have travelled.
            Phase::Exchanging(exchange) if exchange.is_over() && self.has_lanes() => {
                self.offer_now(set, key, manner, sets);
            }
            Phase::Exchanging(_) if is_urgent && self.has_lanes() => {
                self.queue_offer(set, key, manner);
            }
            Phase::Exchanging(_) => {}
            Phase::Checking => self.queue_offer(set, key, manner),
            Phase::Resting => self.offer_now(set, key, manner, sets),
        }
    }

    /// Passes on what became new while the turns of an exchange were taken.
    pub(super) fn release_after_turns(&mut self, sets: &Sets<'_>) {
        let Phase::Exchanging(exchange) = &self.phase else { return };
        if exchange.is_over() && !exchange.is_aside() && self.has_lanes() {
            self.release_offers(sets);
        }
    }

    fn queue_offer(&mut self, set: Set, key: Key, manner: Manner) {
        if self.offers.len() < OFFERS_QUEUED_MAX {
            self.offers.push_back((set, key, manner));
        } else {
            self.has_lost_offers = true;
        }
    }

    /// Passes on what became new during a comparison that found nothing.
    pub(super) fn release_offers(&mut self, sets: &Sets<'_>) {
        for (set, key, manner) in std::mem::take(&mut self.offers) {
            self.offer_now(set, key, manner, sets);
        }
        if std::mem::take(&mut self.has_lost_offers) {
            self.request_check();
        }
    }

    /// Sends the names of what is offered without being pushed.
    pub(super) fn send_names(&mut self) -> Result<(), SessionError> {
        let names = std::mem::take(&mut self.names);
        if self.control_unwritten + names.len() * KEY_LENGTH > CONTROL_UNWRITTEN_MAX / 2 {
            // The peer reads slowly; comparing finds what is not named.
            self.request_check();
            return Ok(());
        }
        self.send_keys(&names, |keys| Message::Have { keys })
    }

    pub(super) fn send_keys(
        &mut self,
        keys: &[Key],
        message: impl Fn(Vec<u8>) -> Message,
    ) -> Result<(), SessionError> {
        for keys in keys.chunks(KEYS_PER_MESSAGE_MAX) {
            let bytes = keys.iter().flat_map(Key::as_bytes).copied().collect();
            self.send(&message(bytes))?;
        }
        Ok(())
    }

    pub(super) fn take_have(&mut self, keys: &[u8]) {
        let keys =
            keys_of(keys).into_iter().filter(|key| !self.excluded.contains_key(key)).collect();
        self.outputs.push_back(Output::Offered(keys));
    }

    /// Sends what the peer wants of an offer.
    ///
    /// During an exchange the peer gets it as a part of that. Wants beyond the limit are left out;
    /// the peer asks again or asks another.
    pub(super) fn take_want(&mut self, now: Moment, keys: &[u8], sets: &Sets<'_>) {
        // What is only named here does not reach the peer from another side soon enough.
        self.is_lazy = false;
        for key in keys_of(keys) {
            let is_full = self.sender.pushes_waiting() >= WANTS_IN_FLIGHT_MAX;
            if is_full || !sets.data.contains(&key) {
                continue;
            }
            self.offer(now, Set::Data, key, Manner::Push, sets);
        }
    }

    /// Frames were stored or judged.
    pub(super) fn settle(&mut self, settled: Vec<Settled>) -> Result<(), SessionError> {
        for Settled { frame, verdict } in settled {
            self.receiver.settled(frame);
            match verdict {
                Verdict::Stored => self.note_stored(frame.set),
                Verdict::Known(key) => {
                    self.stats.repeated += 1;
                    self.receiver.repeated(frame);
                    let left = self.sender.forget(&key);
                    self.fall_short(left)?;
                }
                Verdict::Refused(key) => {
                    self.excluded.insert(key, frame.set);
                    self.exclusions += 1;
                    if self.excluded.len() > EXCLUDED_MAX {
                        return Err(SessionError::TooManyRefused);
                    }
                }
            }
        }
        Ok(())
    }

    /// The policy changed: of the refused batches only `refused` still are.
    pub(super) fn rejudge(&mut self, refused: &BTreeSet<Key>) {
        let before = self.excluded.len();
        self.excluded.retain(|key, _| refused.contains(key));
        if self.excluded.len() < before {
            self.exclusions += 1;
            self.request_check();
        }
    }

    /// Sends what the peer has not asked for and needs to judge what it has.
    pub(super) fn send_along(&mut self, lane: Lane, keys: &[Key]) {
        for key in keys {
            if self.sender.pushes_waiting() < PUSHES_QUEUED_MAX {
                self.sender.enqueue(lane, FrameKind::PushedBatch, *key);
            }
        }
    }

    fn note_stored(&mut self, set: Set) {
        match set {
            Set::Policy => self.stats.items_received += 1,
            Set::Data | Set::Quarantine => self.stats.batches_received += 1,
        }
        if let Phase::Exchanging(exchange) = &mut self.phase {
            exchange.moved(1);
        }
    }

    fn offer_now(&mut self, set: Set, key: Key, manner: Manner, sets: &Sets<'_>) {
        if !self.peer.is_some_and(|peer| peer.is_live) {
            return;
        }
        let is_named = set == Set::Data && manner == Manner::Name;
        if !is_named && self.sender.pushes_waiting() >= PUSHES_QUEUED_MAX {
            return self.request_check();
        }
        let is_new = match (set, manner) {
            (Set::Quarantine, _) => return,
            (Set::Policy, _) => self.sender.enqueue(Lane::Urgent, FrameKind::PushedItem, key),
            (Set::Data, Manner::Push) => {
                // What is new is never backfill, whatever its dates say.
                let lane = (sets.lane)(&key).min(Lane::Recent);
                self.sender.enqueue(lane, FrameKind::PushedBatch, key)
            }
            (Set::Data, Manner::Name) => {
                self.names.push(key);
                true
            }
        };
        if is_new && self.pace.pushed() {
            self.request_check();
        }
    }
}

pub(super) fn keys_of(bytes: &[u8]) -> Vec<Key> {
    let (keys, _) = bytes.as_chunks::<KEY_LENGTH>();
    keys.iter().map(|key| Key::from_bytes(*key)).collect()
}
