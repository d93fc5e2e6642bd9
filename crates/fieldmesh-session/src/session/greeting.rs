//! The first messages of both sides.

use fieldmesh_model::{Moment, StoreId};
use fieldmesh_trie::wire_root;

use super::{Peer, Phase, Session};
use crate::error::{CloseReason, SessionError};
use crate::interface::{Disk, Greeting, Output, Reader, Sets, Side};
use crate::limits::{INGEST_WINDOW_MIN, VERSION_MAX, VERSION_MIN};
use crate::wire::{Hello, Message};

impl Session {
    /// Takes what comes before the peer has introduced itself.
    pub(super) fn take_first(&mut self, now: Moment, message: Message) -> Result<(), CloseReason> {
        match (message, self.settings.side) {
            (Message::Hello(hello), Side::Accepted) if self.hello.is_none() => {
                self.check_hello(&hello)?;
                self.hello = Some(hello);
                Ok(())
            }
            (Message::HelloAck(hello), Side::Dialled) if matches!(self.phase, Phase::Checking) => {
                self.check_hello(&hello)?;
                self.take_peer(&hello);
                self.pace.active(now);
                Ok(())
            }
            (Message::Ping, _) => Ok(self.send(&Message::Pong)?),
            (Message::Pong, _) => Ok(()),
            (Message::Error { code, text }, _) => Err(super::reported(code, &text)),
            (Message::Bye { code }, _) => Err(CloseReason::goodbye(code)),
            _ => Err(SessionError::OutOfTurn { name: "before the hello" }.into()),
        }
    }

    /// Says hello, or answers it, as soon as the sets show everything that came from the peer.
    pub(super) fn greet(&mut self, now: Moment, sets: &mut Sets<'_>) -> Result<(), SessionError> {
        if !matches!(self.phase, Phase::Greeting) || sets.disk == Disk::Writing {
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
                self.take_peer(&hello);
                self.phase = Phase::Resting;
                let is_equal = (mine.policy == hello.policy, mine.data == hello.data);
                let counts = (hello.policy.1, hello.data.1);
                self.send(&Message::HelloAck(mine))?;
                self.judge(now, is_equal, counts, sets)
            }
        }
    }

    /// The hello of the dialler, or the answer to it: the same number and a version of both.
    fn introduce(&self, now: Moment, sets: &mut Sets<'_>, dialler: Option<&Hello>) -> Hello {
        sets.policy.rehash();
        let policy = (wire_root(sets.policy, &self.key).to_be_bytes(), sets.policy.len() as u64);
        let data = match sets.reader {
            Reader::Member => self.with_held(sets.data, |data| {
                (wire_root(data, &self.key).to_be_bytes(), data.len() as u64)
            }),
            Reader::Unknown => ([0; 8], 0),
        };
        let chosen = dialler.map_or(VERSION_MAX, |hello| hello.versions.1);
        let conversation = dialler.map_or(self.settings.conversation, |hello| hello.conversation);
        Hello {
            versions: (VERSION_MIN, chosen.min(VERSION_MAX)),
            features: 0,
            tenant: self.settings.tenant,
            conversation,
            store: (*self.settings.store.as_bytes(), self.settings.store_epoch),
            clock_millis: now.as_millis(),
            policy,
            data,
            filter: Vec::new(),
            ingest_window: self.settings.ingest_window,
            live: true,
        }
    }

    fn check_hello(&self, hello: &Hello) -> Result<(), SessionError> {
        let (min, max) = hello.versions;
        if max < VERSION_MIN || min > VERSION_MAX || min > max {
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

    fn take_peer(&mut self, hello: &Hello) {
        self.peer = Some(Peer { is_live: hello.live });
        self.sender.open(hello.ingest_window);
        let (store, store_epoch) = hello.store;
        self.outputs.push_back(Output::Greeted(Greeting {
            conversation: hello.conversation,
            store: StoreId::from_bytes(store),
            store_epoch,
            clock: Moment::from_millis(hello.clock_millis),
        }));
    }
}
