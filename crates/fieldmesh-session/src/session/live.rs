//! Passing on what is new while nothing known is lacking.

use std::collections::BTreeSet;

use fieldmesh_trie::{KEY_LENGTH, Key};

use super::{Phase, Session};
use crate::error::SessionError;
use crate::interface::{Manner, Output, Set, Sets, Settled, Verdict};
use crate::limits::{EXCLUDED_MAX, KEYS_PER_MESSAGE_MAX, OFFERS_QUEUED_MAX, WANTS_IN_FLIGHT_MAX};
use crate::wire::{FrameKind, Message};

impl Session {
    /// Something new is durable here.
    pub(super) fn offer(&mut self, set: Set, key: Key, manner: Manner) {
        match self.phase {
            // The comparison that is under way or comes next finds it.
            Phase::Greeting | Phase::Exchanging(_) => {}
            Phase::Checking if self.offers.len() < OFFERS_QUEUED_MAX => {
                self.offers.push_back((set, key, manner));
            }
            Phase::Checking => self.has_lost_offers = true,
            Phase::Resting => self.offer_now(set, key, manner),
        }
    }

    /// Passes on what became new during a comparison that found nothing.
    pub(super) fn release_offers(&mut self) -> Result<(), SessionError> {
        for (set, key, manner) in std::mem::take(&mut self.offers) {
            self.offer_now(set, key, manner);
        }
        if std::mem::take(&mut self.has_lost_offers) {
            self.request_check();
        }
        Ok(())
    }

    /// Sends the names of what is offered without being pushed.
    pub(super) fn send_names(&mut self) -> Result<(), SessionError> {
        let names = std::mem::take(&mut self.names);
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
        let keys = keys_of(keys).into_iter().filter(|key| !self.excluded.contains(key)).collect();
        self.outputs.push_back(Output::Offered(keys));
    }

    /// Sends what the peer wants of an offer.
    ///
    /// During an exchange the peer gets it as a part of that. Wants beyond the limit are left out;
    /// the peer asks again or asks another.
    pub(super) fn take_want(&mut self, keys: &[u8], sets: &Sets<'_>) {
        // What is only named here does not reach the peer from another side soon enough.
        self.is_lazy = false;
        for key in keys_of(keys) {
            let is_full = self.sender.waiting() >= WANTS_IN_FLIGHT_MAX;
            if is_full || !sets.data.contains(&key) || self.sender.is_queued(&key) {
                continue;
            }
            self.offer(Set::Data, key, Manner::Push);
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
                    self.sender.forget(&key);
                }
                Verdict::Refused(key) => {
                    self.excluded.insert(key);
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
        self.excluded.retain(|key| refused.contains(key));
        if self.excluded.len() < before {
            self.request_check();
        }
    }

    fn note_stored(&mut self, set: Set) {
        match set {
            Set::Policy => self.stats.items_received += 1,
            Set::Data => self.stats.batches_received += 1,
        }
        if let Phase::Exchanging(exchange) = &mut self.phase {
            exchange.moved(1);
        }
    }

    fn offer_now(&mut self, set: Set, key: Key, manner: Manner) {
        if !self.peer.is_some_and(|peer| peer.is_live) {
            return;
        }
        match (set, manner) {
            (Set::Policy, _) => self.sender.enqueue(FrameKind::PushedItem, key),
            (Set::Data, Manner::Push) => self.sender.enqueue(FrameKind::PushedBatch, key),
            (Set::Data, Manner::Name) => self.names.push(key),
        }
        if self.pace.pushed() {
            self.request_check();
        }
    }
}

fn keys_of(bytes: &[u8]) -> Vec<Key> {
    let (keys, _) = bytes.as_chunks::<KEY_LENGTH>();
    keys.iter().map(|key| Key::from_bytes(*key)).collect()
}
