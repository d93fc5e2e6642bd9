//! The first messages of both sides.

use fieldmesh_model::{Filter, Moment, StoreId};
use fieldmesh_trie::wire_root;

use super::{Peer, Phase, Session};
use crate::error::{CloseReason, SessionError, WireError};
use crate::interface::{Disk, Greeting, Output, Partial, Reader, Set, Sets, Side};
use crate::limits::{INGEST_WINDOW_MIN, VERSION_LANES};
use crate::wire::{Hello, Message};

/// The feature bit of a side that will name begun batches with `Resume`.
const FEATURE_RESUMES: u64 = 1;
/// The feature bit of a side that knows the fault [`SessionError::NotGranted`].
const FEATURE_QUOTA: u64 = 2;

impl Session {
    /// Takes what comes before the peer has introduced itself.
    pub(super) fn take_first(&mut self, now: Moment, message: Message) -> Result<(), CloseReason> {
        match (message, self.settings.side) {
            (Message::Hello(hello), Side::Accepted) if self.hello.is_none() => {
                self.check_hello(&hello)?;
                self.take_peer(&hello)?;
                self.hello = Some(hello);
                Ok(())
            }
            (Message::HelloAck(hello), Side::Dialled) if matches!(self.phase, Phase::Checking) => {
                self.check_hello(&hello)?;
                self.take_peer(&hello)?;
                self.pace.active(now);
                Ok(())
            }
            (Message::Ping, _) => {
                self.owes_pong = true;
                Ok(())
            }
            (Message::Pong, _) => Ok(()),
            (Message::Error { code, text }, _) => Err(super::reported(code, &text)),
            (Message::Bye { code }, _) => Err(CloseReason::goodbye(code)),
            _ => Err(SessionError::OutOfTurn { name: "before the hello" }.into()),
        }
    }

    /// Says hello, or answers it, as soon as the sets show everything that came from the peer.
    pub(super) fn greet(&mut self, now: Moment, sets: &mut Sets<'_>) -> Result<(), SessionError> {
        let is_greeting = matches!(self.phase, Phase::Greeting);
        if !is_greeting || sets.disk == Disk::Writing || self.is_held() {
            return Ok(());
        }
        match (self.settings.side, self.hello.take()) {
            (Side::Dialled, _) => {
                let hello = self.introduce(now, sets, None);
                self.phase = Phase::Checking;
                self.send(&Message::Hello(hello))
            }
            (Side::Accepted, None) => Ok(()),
            (Side::Accepted, Some(hello)) => {
                let mine = self.introduce(now, sets, Some(&hello));
                self.phase = Phase::Resting;
                let is_equal = (mine.policy == hello.policy, mine.data == hello.data);
                let counts = (hello.policy.1, hello.data.1);
                self.send(&Message::HelloAck(mine))?;
                self.send_resume()?;
                self.judge(now, is_equal, counts, sets)
            }
        }
    }

    /// The hello of the dialler, or the answer to it: the same number and a version of both.
    fn introduce(&self, now: Moment, sets: &mut Sets<'_>, dialler: Option<&Hello>) -> Hello {
        sets.policy.rehash();
        let policy = (wire_root(sets.policy, &self.key()).to_be_bytes(), sets.policy.len() as u64);
        let data = match sets.reader {
            Reader::Member => self.with_held(Set::Data, sets.data, |data| {
                (wire_root(data, &self.key()).to_be_bytes(), data.len() as u64)
            }),
            Reader::Unknown => ([0; 8], 0),
        };
        let (version_min, version_max) = self.settings.versions;
        let chosen = dialler.map_or(version_max, |hello| hello.versions.1.min(version_max));
        let features = match (chosen >= VERSION_LANES, self.receiver.kept().is_empty()) {
            (false, _) => 0,
            (true, true) => FEATURE_QUOTA,
            (true, false) => FEATURE_QUOTA | FEATURE_RESUMES,
        };
        let conversation = dialler.map_or(self.settings.conversation, |hello| hello.conversation);
        Hello {
            versions: (version_min, chosen),
            features,
            tenant: self.settings.tenant,
            conversation,
            store: (*self.settings.store.as_bytes(), self.settings.store_epoch),
            clock_millis: now.as_millis(),
            policy,
            data,
            filter: self.settings.filter.encode(),
            ingest_window: self.settings.ingest_window,
            live: true,
        }
    }

    fn check_hello(&self, hello: &Hello) -> Result<(), SessionError> {
        let (min, max) = hello.versions;
        let (own_min, own_max) = self.settings.versions;
        // The answer names the version that both speak, which cannot be newer than the own.
        let is_beyond = self.settings.side == Side::Dialled && max > own_max;
        if max < own_min || min > own_max || min > max || is_beyond {
            return Err(SessionError::Version { min, max });
        }
        if hello.tenant != self.settings.tenant {
            return Err(SessionError::Tenant);
        }
        if hello.ingest_window < INGEST_WINDOW_MIN {
            return Err(SessionError::Window { window: hello.ingest_window });
        }
        Ok(())
    }

    /// Names the batches that the last conversation left in the middle.
    pub(super) fn send_resume(&mut self) -> Result<(), SessionError> {
        let kept = self.receiver.kept();
        if kept.is_empty() || !self.has_lanes() {
            return Ok(());
        }
        let name = |partial: &Partial| (partial.id, partial.total, partial.bytes.len() as u32);
        let partials = kept.iter().map(name).collect();
        self.send(&Message::Resume { partials })
    }

    fn take_peer(&mut self, hello: &Hello) -> Result<(), SessionError> {
        let filter = Filter::decode(&hello.filter).map_err(WireError::from)?;
        let version = hello.versions.1.min(self.settings.versions.1);
        let has_lanes = version >= VERSION_LANES;
        let knows_quota = hello.features & FEATURE_QUOTA != 0;
        self.peer = Some(Peer { is_live: hello.live, version, knows_quota });
        // What came on the data streams may have overtaken the greeting.
        self.held.get_or_insert_default();
        let waits_for_resume = has_lanes && hello.features & FEATURE_RESUMES != 0;
        self.sender.open(hello.ingest_window, has_lanes, waits_for_resume);
        let (store, store_epoch) = hello.store;
        self.outputs.push_back(Output::Greeted(Greeting {
            conversation: hello.conversation,
            store: StoreId::from_bytes(store),
            store_epoch,
            clock: Moment::from_millis(hello.clock_millis),
            filter,
            version,
        }));
        Ok(())
    }
}
