//! The state of one conversation and the order of its steps.

mod check;
mod exchange;
mod greeting;
mod live;
mod pace;
mod receiver;
mod sender;

use std::collections::{BTreeSet, VecDeque};

use fieldmesh_model::Moment;
use fieldmesh_trie::{Key, Trie, WireKey};

use crate::error::{CloseReason, SessionError};
use crate::interface::{Disk, Input, LinkStats, Loaded, Manner, Output, Set, Sets, Settings, Side};
use crate::limits::ERROR_TEXT_MAX;
use crate::wire::{ControlReader, Hello, Message, control};
use exchange::Exchange;
use pace::Pace;
use receiver::Receiver;
use sender::Sender;

/// One conversation with one peer.
///
/// Feed it inputs with [`Self::handle`], drain [`Self::poll`] after each, and wake it when
/// [`Self::deadline`] has passed.
pub struct Session {
    settings: Settings,
    key: WireKey,
    phase: Phase,
    /// The dialler's hello, until it can be answered.
    hello: Option<Hello>,
    peer: Option<Peer>,
    control: ControlReader,
    receiver: Receiver,
    sender: Sender,
    pace: Pace,
    /// Batches of the peer that are refused here; in this conversation they count as held.
    excluded: BTreeSet<Key>,
    /// What became new while the answer to a check was outstanding.
    offers: VecDeque<(Set, Key, Manner)>,
    /// Whether there was more than fits; comparing finds it.
    has_lost_offers: bool,
    /// What is new and only named to the peer; sent at the end of a step.
    names: Vec<Key>,
    /// Whether the peer gets what is new sooner from another side.
    is_lazy: bool,
    /// Whether the accepting side still has to ask for a comparison.
    owes_again: bool,
    outputs: VecDeque<Output>,
    stats: LinkStats,
}

/// What a conversation is doing.
#[derive(Debug)]
enum Phase {
    /// No root was shown yet.
    Greeting,
    /// The dialler has shown its roots and waits for the verdict.
    Checking,
    /// Both sides take turns to find the difference.
    Exchanging(Exchange),
    /// Nothing known is lacking; what is new is passed on.
    Resting,
}

/// What the peer's hello said.
#[derive(Debug, Clone, Copy)]
struct Peer {
    is_live: bool,
}

impl Session {
    /// A conversation over a new connection; begin with [`Input::Start`].
    pub fn new(settings: Settings, now: Moment) -> Self {
        let wire_key = blake3::derive_key("fieldmesh/wire/1", &settings.channel_key);
        Self {
            key: WireKey(wire_key),
            phase: Phase::Greeting,
            hello: None,
            peer: None,
            control: ControlReader::default(),
            receiver: Receiver::new(settings.ingest_window),
            sender: Sender::new(),
            pace: Pace::new(now),
            excluded: BTreeSet::new(),
            offers: VecDeque::new(),
            has_lost_offers: false,
            names: Vec::new(),
            is_lazy: false,
            owes_again: false,
            outputs: VecDeque::new(),
            stats: LinkStats::default(),
            settings,
        }
    }

    /// Applies one input; afterwards drain [`Self::poll`].
    ///
    /// # Errors
    ///
    /// Any error ends the conversation: send [`Self::farewell`], close the connection and drop the
    /// session.
    pub fn handle(
        &mut self,
        now: Moment,
        input: Input,
        sets: &mut Sets<'_>,
    ) -> Result<(), CloseReason> {
        match input {
            Input::Start | Input::Wake => {}
            Input::Control(bytes) => self.take_control(now, &bytes, sets)?,
            Input::Data(bytes) => self.take_data(now, &bytes)?,
            Input::DataWritten(bytes) => self.sender.written(bytes),
            Input::Settled(settled) => self.settle(settled)?,
            Input::Loaded(loaded) => self.take_loaded(loaded)?,
            Input::LoadFailed(ids) => self.take_failed(&ids)?,
            Input::Offer(set, keys, manner) => {
                let manner = if self.is_lazy { Manner::Name } else { manner };
                keys.into_iter().for_each(|key| self.offer(set, key, manner));
            }
            Input::Want(keys) => self.send_keys(&keys, |keys| Message::WantId { keys })?,
            Input::Check => self.request_check(),
            Input::Rejudge(refused) => self.rejudge(&refused),
        }
        Ok(self.advance(now, sets)?)
    }

    /// The next output; drain until none is left.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to say [`Input::Wake`] if nothing else happens before.
    pub fn deadline(&self) -> Option<Moment> {
        let is_resting = matches!(self.phase, Phase::Resting);
        let compares = self.settings.side == Side::Dialled || self.owes_again;
        Some(self.pace.deadline(is_resting, compares))
    }

    /// What the conversation cost and moved so far.
    pub fn stats(&self) -> LinkStats {
        let mut stats = self.stats;
        stats.refused = self.excluded.len() as u64;
        stats
    }

    /// Whether the peer has introduced itself.
    pub const fn is_greeted(&self) -> bool {
        self.peer.is_some()
    }

    /// Whether something new reaches the peer without being found by a comparison to come.
    pub const fn takes_offers(&self) -> bool {
        matches!(self.phase, Phase::Checking | Phase::Resting)
    }

    /// When the peer was heard last.
    pub const fn last_heard(&self) -> Moment {
        self.pace.last_heard()
    }

    /// Asks the peer for a sign of life.
    pub fn ping(&mut self, now: Moment) {
        // A ping is far below the frame limit, which is the only thing that can fail.
        if self.send(&Message::Ping).is_ok() {
            self.pace.sent(now);
        }
    }

    /// The last bytes for the peer's control stream.
    pub fn farewell(reason: &CloseReason) -> Vec<u8> {
        let message = if reason.is_fault() {
            let text = printable(&reason.to_string());
            Message::Error { code: reason.code(), text }
        } else {
            Message::Bye { code: reason.code() }
        };
        let mut bytes = Vec::new();
        let written = control::write(&message, &mut bytes);
        debug_assert!(written.is_ok(), "a farewell is far below the frame limit");
        bytes
    }

    fn take_control(
        &mut self,
        now: Moment,
        bytes: &[u8],
        sets: &mut Sets<'_>,
    ) -> Result<(), CloseReason> {
        self.stats.control_bytes_in += bytes.len() as u64;
        self.pace.heard(now);
        self.control.extend(bytes);
        while let Some(message) = self.control.next().map_err(SessionError::from)? {
            self.take_message(now, message, sets)?;
        }
        Ok(())
    }

    fn take_message(
        &mut self,
        now: Moment,
        message: Message,
        sets: &mut Sets<'_>,
    ) -> Result<(), CloseReason> {
        if self.peer.is_none() {
            return self.take_first(now, message);
        }
        match message {
            Message::Root { both, policy } => self.take_root(now, (both, policy), sets)?,
            Message::Equal => self.take_equal(now)?,
            Message::Busy => self.take_busy(now)?,
            Message::Again => self.take_again()?,
            Message::Nodes { set, sends, nodes, wants } => {
                self.take_turn(set.into(), sends, &nodes, &wants, sets)?;
            }
            Message::Short { count } => self.receiver.expect_less(count),
            Message::Have { keys } => self.take_have(&keys),
            Message::WantId { keys } => self.take_want(&keys, sets),
            Message::Credit { frames, bytes, repeated } => {
                self.sender.credit(frames, bytes)?;
                // The peer gets what is new from another side sooner: from here on, names do.
                self.is_lazy |= repeated > 0;
            }
            Message::Ping => self.send(&Message::Pong)?,
            Message::Pong => {}
            Message::Hello(_) | Message::HelloAck(_) => {
                return Err(SessionError::OutOfTurn { name: "Hello" }.into());
            }
            Message::Error { code, text } => return Err(reported(code, &text)),
            Message::Bye { code } => return Err(CloseReason::goodbye(code)),
        }
        Ok(())
    }

    fn take_data(&mut self, now: Moment, bytes: &[u8]) -> Result<(), SessionError> {
        self.stats.data_bytes_in += bytes.len() as u64;
        self.pace.heard(now);
        self.pace.active(now);
        self.receiver.read(bytes, &mut self.outputs)
    }

    fn take_loaded(&mut self, loaded: Vec<Loaded>) -> Result<(), SessionError> {
        for Loaded { id, bytes } in loaded {
            self.sender.loaded(id, bytes)?;
        }
        Ok(())
    }

    fn take_failed(&mut self, ids: &[[u8; 32]]) -> Result<(), SessionError> {
        let count = ids.iter().filter(|id| self.sender.failed(id)).count();
        if count > 0 {
            if let Phase::Exchanging(exchange) = &mut self.phase {
                exchange.not_moved(count as u64);
            }
            self.send(&Message::Short { count: narrow(count) })?;
        }
        Ok(())
    }

    /// Does whatever has become possible; harmless to call at any time.
    fn advance(&mut self, now: Moment, sets: &mut Sets<'_>) -> Result<(), SessionError> {
        self.greet(now, sets)?;
        if let Some(credit) = self.receiver.take_credit() {
            self.send(&credit)?;
        }
        self.send_names()?;
        self.pump(now)?;
        self.finish_exchange(now);
        let is_quiet = self.is_quiet(sets);
        self.compare_if_due(now, is_quiet, sets)?;
        self.pace.note_quiet(is_quiet);
        self.pace.note_waiting(now, self.waits_for_peer());
        if self.pace.is_silent(now) {
            return Err(SessionError::Silent);
        }
        if self.outputs.iter().any(|output| matches!(output, Output::Control(_))) {
            self.pace.sent(now);
        }
        if self.pace.takes_ping(now, matches!(self.phase, Phase::Resting)) {
            self.ping(now);
        }
        Ok(())
    }

    /// Hands frames to the shell and asks for the next page.
    fn pump(&mut self, now: Moment) -> Result<(), SessionError> {
        while let Some(bytes) = self.sender.write_group(&mut self.stats)? {
            self.stats.data_bytes_out += bytes.len() as u64;
            self.pace.active(now);
            self.outputs.push_back(Output::Data(bytes));
        }
        if let Some((set, keys)) = self.sender.next_page() {
            self.outputs.push_back(Output::Load(set, keys));
        }
        Ok(())
    }

    /// Whether nothing is under way in either direction, so that roots can be compared.
    fn is_quiet(&self, sets: &Sets<'_>) -> bool {
        sets.disk == Disk::Settled && self.sender.is_idle() && self.receiver.is_idle()
    }

    fn waits_for_peer(&self) -> bool {
        match self.phase {
            Phase::Greeting | Phase::Checking | Phase::Exchanging(_) => true,
            Phase::Resting => self.settings.side == Side::Dialled && !self.sender.is_idle(),
        }
    }

    /// Runs `read` over the batches with those that are refused but count as held.
    fn with_held<R>(&self, data: &mut Trie, read: impl FnOnce(&Trie) -> R) -> R {
        let added: Vec<Key> =
            self.excluded.iter().copied().filter(|key| data.insert(*key)).collect();
        data.rehash();
        let result = read(data);
        for key in &added {
            data.remove(key);
        }
        result
    }

    fn send(&mut self, message: &Message) -> Result<(), SessionError> {
        let mut bytes = Vec::new();
        control::write(message, &mut bytes)?;
        self.stats.control_bytes_out += bytes.len() as u64;
        match self.outputs.back_mut() {
            // Messages of one step travel together.
            Some(Output::Control(before)) => before.extend(bytes),
            _ => self.outputs.push_back(Output::Control(bytes)),
        }
        Ok(())
    }
}

/// A count as messages carry it.
fn narrow(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn reported(code: u16, text: &str) -> CloseReason {
    SessionError::Reported { code, text: printable(text) }.into()
}

/// The front of `text` that fits an error message, without control characters.
fn printable(text: &str) -> String {
    let mut printable = String::new();
    for letter in text.chars().filter(|letter| !letter.is_control()) {
        if printable.len() + letter.len_utf8() > ERROR_TEXT_MAX {
            break;
        }
        printable.push(letter);
    }
    printable
}
