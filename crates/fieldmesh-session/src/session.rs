//! The state of one conversation and the order of its steps.

mod assembly;
mod check;
mod exchange;
mod greeting;
mod live;
mod memory;
mod outlet;
mod pace;
mod proof;
mod receiver;
mod sender;

use std::collections::{BTreeMap, VecDeque};

use fieldmesh_model::Moment;
use fieldmesh_trie::{Form, Key, Trie, WireKey};

use crate::error::{CloseReason, SessionError, WireError};
use crate::interface::{
    Disk, Input, Lane, LinkStats, Loaded, Manner, Output, Partial, Set, Sets, Settings, Side,
};
use crate::limits::{CONTROL_HELD_MAX, CONTROL_UNWRITTEN_MAX, ERROR_TEXT_MAX, VERSION_LANES};
use crate::wire::{ControlReader, Hello, Message, control};
use check::{KnownRoots, Roots};
use exchange::{Exchange, Turn};
use pace::Pace;
use receiver::Receiver;
use sender::Sender;

/// One conversation with one peer.
///
/// Feed it inputs with [`Self::handle`], drain [`Self::poll`] after each, and wake it when
/// [`Self::deadline`] has passed.
pub struct Session {
    settings: Settings,
    wire_secret: [u8; 32],
    phase: Phase,
    /// The dialler's hello, until it can be answered.
    hello: Option<Hello>,
    peer: Option<Peer>,
    /// What came while the owner has not granted the sets yet.
    held: Option<Held>,
    control: ControlReader,
    receiver: Receiver,
    sender: Sender,
    pace: Pace,
    /// Batches of the peer that are refused here; in this conversation they count as held.
    excluded: BTreeMap<Key, Set>,
    /// How often those have changed.
    exclusions: u64,
    known_roots: KnownRoots,
    /// What became new while the answer to a check was outstanding.
    offers: VecDeque<(Set, Key, Manner)>,
    /// Whether there was more than fits; comparing finds it.
    has_lost_offers: bool,
    /// What is new and only named to the peer; sent at the end of a step.
    names: Vec<Key>,
    /// Whether the peer gets what is new sooner from another side.
    is_lazy: bool,
    /// Whether what is set aside was compared since the greeting, or is about to be.
    has_compared_aside: bool,
    /// Whether the accepting side still has to ask for a comparison.
    owes_again: bool,
    /// Whether the peer has asked for a sign of life; one is enough for all of a step.
    owes_pong: bool,
    /// Control bytes handed to the shell that it has not written yet.
    control_unwritten: usize,
    /// Whether the shell says what it has written.
    counts_written: bool,
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
    version: u16,
    /// Whether it knows the fault that a tenant may store no more.
    knows_quota: bool,
}

/// Data that came before the sets were granted.
#[derive(Debug, Default)]
struct Held {
    data: [Vec<u8>; 3],
}

impl Held {
    fn bytes(&self) -> usize {
        self.data.iter().map(Vec::len).sum()
    }
}

impl Session {
    /// A conversation over a new connection; begin with [`Input::Start`].
    pub fn new(mut settings: Settings, now: Moment) -> Self {
        Self {
            wire_secret: blake3::derive_key("fieldmesh/wire/1", &settings.channel_key),
            phase: Phase::Greeting,
            hello: None,
            peer: None,
            // A stream may be faster than the greeting.
            held: Some(Held::default()),
            control: ControlReader::default(),
            receiver: Receiver::new(settings.ingest_window, std::mem::take(&mut settings.partials)),
            sender: Sender::new(),
            pace: Pace::new(now),
            excluded: BTreeMap::new(),
            exclusions: 0,
            known_roots: KnownRoots::default(),
            offers: VecDeque::new(),
            has_lost_offers: false,
            names: Vec::new(),
            is_lazy: false,
            has_compared_aside: false,
            owes_again: false,
            owes_pong: false,
            control_unwritten: 0,
            counts_written: false,
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
            Input::Data(lane, bytes) => self.take_data(now, lane, bytes)?,
            Input::DataWritten(lane, bytes) => self.sender.written(lane, bytes),
            Input::ControlWritten(bytes) => {
                self.counts_written = true;
                self.control_unwritten = self.control_unwritten.saturating_sub(bytes);
            }
            Input::Granted => self.granted(now, sets)?,
            Input::Settled(settled) => self.settle(settled)?,
            Input::Loaded(loaded) => self.take_loaded(loaded)?,
            Input::LoadFailed(ids) => self.take_failed(&ids)?,
            Input::Offer(set, keys, manner) => {
                let manner = if self.is_lazy { Manner::Name } else { manner };
                for key in keys {
                    self.offer(now, set, key, manner, sets);
                }
            }
            Input::Along(lane, keys) => self.send_along(lane, &keys),
            Input::Want(keys) => self.send_keys(&keys, |keys| Message::WantId { keys })?,
            Input::Check => self.request_check(),
            Input::Prove(keys) => self.ask_proof(&keys)?,
            Input::Receipts(receipts) => self.send_receipts(receipts)?,
            Input::Rejudge(refused) => self.rejudge(&refused),
        }
        Ok(self.advance(now, sets)?)
    }

    /// The next output; drain until none is left.
    pub fn poll(&mut self) -> Option<Output> {
        let output = self.outputs.pop_front();
        if let Some(Output::Control(bytes)) = &output
            && !self.counts_written
        {
            self.control_unwritten = self.control_unwritten.saturating_sub(bytes.len());
        }
        output
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

    /// Whether nothing is being compared, so that only what is new will travel.
    pub const fn is_resting(&self) -> bool {
        matches!(self.phase, Phase::Resting)
    }

    /// Whether the peer has for good whatever it is known to lack: nothing is being found out, nor
    /// on its way there.
    pub fn owes_nothing(&self) -> bool {
        let is_known = match &self.phase {
            Phase::Resting => true,
            Phase::Exchanging(exchange) => exchange.is_over(),
            Phase::Greeting | Phase::Checking => false,
        };
        is_known && self.offers.is_empty() && self.sender.is_idle()
    }

    /// Whether the peer has introduced itself.
    pub const fn is_greeted(&self) -> bool {
        self.peer.is_some()
    }

    /// Whether this side has introduced itself, which waits for what the peer sent before to be
    /// durable; until then it may say nothing else.
    pub const fn is_introduced(&self) -> bool {
        !matches!(self.phase, Phase::Greeting)
    }

    /// Whether something new reaches the peer without being found by a comparison to come.
    pub fn takes_offers(&self) -> bool {
        match &self.phase {
            Phase::Checking | Phase::Resting => true,
            Phase::Exchanging(exchange) => {
                exchange.is_aside() || (exchange.is_over() && self.has_lanes())
            }
            Phase::Greeting => false,
        }
    }

    /// How often the roots of this side were computed.
    #[cfg(test)]
    pub(crate) const fn roots_computed(&self) -> usize {
        self.known_roots.computed
    }

    /// The beginnings of batches that came; for the next conversation with this peer.
    pub fn take_partials(&mut self) -> Vec<Partial> {
        self.receiver.take_partials()
    }

    /// The batches that are begun, and how much of each is here.
    #[cfg(test)]
    pub(crate) fn begun(&self) -> Vec<([u8; 32], usize)> {
        self.receiver.begun()
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
    pub fn farewell(&self, reason: &CloseReason) -> Vec<u8> {
        let message = if reason.is_fault() {
            let text = printable(&reason.to_string());
            Message::Error { code: self.code_for_peer(reason), text }
        } else {
            Message::Bye { code: reason.code() }
        };
        let mut bytes = Vec::new();
        let written = control::write(&message, &mut bytes);
        debug_assert!(written.is_ok(), "a farewell is far below the frame limit");
        bytes
    }

    /// The number of a reason, or of the nearest one that the peer has words for.
    fn code_for_peer(&self, reason: &CloseReason) -> u16 {
        let knows_quota = self.peer.is_some_and(|peer| peer.knows_quota);
        match reason {
            CloseReason::Fault(SessionError::NotGranted) if !knows_quota => {
                CloseReason::Fault(SessionError::NotStored).code()
            }
            reason => reason.code(),
        }
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
        self.take_messages(now, sets)
    }

    fn take_messages(&mut self, now: Moment, sets: &mut Sets<'_>) -> Result<(), CloseReason> {
        while !self.is_held()
            && let Some(message) = self.control.next().map_err(SessionError::from)?
        {
            self.take_message(now, message, sets)?;
        }
        let (length, limit) = (self.control.held(), CONTROL_HELD_MAX);
        if length > limit {
            return Err(SessionError::from(WireError::FrameTooLong { length, limit }).into());
        }
        Ok(())
    }

    /// Whether the peer is known and the sets are not granted yet.
    const fn is_held(&self) -> bool {
        self.peer.is_some() && self.held.is_some()
    }

    /// Takes what came while the sets were not granted.
    fn granted(&mut self, now: Moment, sets: &mut Sets<'_>) -> Result<(), CloseReason> {
        if self.peer.is_none() {
            return Ok(());
        }
        let Some(held) = self.held.take() else { return Ok(()) };
        if self.settings.side == Side::Dialled {
            self.send_resume()?;
        }
        for (lane, bytes) in Lane::ALL.into_iter().zip(held.data) {
            self.read_data(lane, &bytes)?;
        }
        self.take_messages(now, sets)
    }

    fn take_message(
        &mut self,
        now: Moment,
        message: Message,
        sets: &mut Sets<'_>,
    ) -> Result<(), CloseReason> {
        if self.peer.is_none() || matches!(self.phase, Phase::Greeting) {
            return self.take_first(now, message);
        }
        if !matches!(message, Message::Ping | Message::Pong) {
            // Begun batches are named before anything else.
            self.sender.give_up_resume();
        }
        match message {
            Message::Root { both, policy } => {
                self.take_root(now, &Roots { both, policy, quarantine: None }, sets)?;
            }
            Message::Equal => self.take_equal(now, sets)?,
            Message::Busy => self.take_busy(now, sets)?,
            Message::Again => self.take_again()?,
            Message::Nodes { set, sends, nodes, wants } => {
                let turn = Turn { set: set.into(), sends, nodes, wants };
                self.take_turn(now, &turn, sets)?;
            }
            Message::Short { count } => self.receiver.expect_less(count),
            Message::Have { keys } => self.take_have(&keys),
            Message::WantId { keys } => self.take_want(now, &keys, sets),
            Message::Credit { frames, bytes, repeated } => {
                self.sender.credit(frames, bytes)?;
                // The peer gets what is new from another side sooner: from here on, names do.
                self.is_lazy |= repeated > 0;
            }
            Message::Ping => self.owes_pong = true,
            Message::Pong => {}
            Message::RootAside { .. }
            | Message::Resume { .. }
            | Message::Unproven { .. }
            | Message::Receipts { .. }
                if !self.has_lanes() =>
            {
                return Err(SessionError::OutOfTurn { name: "of a later version" }.into());
            }
            Message::RootAside { both, policy, quarantine } => {
                let quarantine = Some(quarantine);
                self.take_root(now, &Roots { both, policy, quarantine }, sets)?;
            }
            Message::Resume { partials } => self.sender.resume(partials),
            Message::Unproven { keys } => self.take_unproven(&keys),
            Message::Receipts { receipts } => self.outputs.push_back(Output::Receipts(receipts)),
            Message::Hello(_) | Message::HelloAck(_) => {
                return Err(SessionError::OutOfTurn { name: "Hello" }.into());
            }
            Message::Error { code, text } => return Err(reported(code, &text)),
            Message::Bye { code } => return Err(CloseReason::goodbye(code)),
        }
        Ok(())
    }

    fn take_data(&mut self, now: Moment, lane: Lane, bytes: Vec<u8>) -> Result<(), SessionError> {
        self.stats.data_bytes_in += bytes.len() as u64;
        self.pace.heard(now);
        self.pace.active(now);
        let Some(held) = &mut self.held else { return self.read_data(lane, &bytes) };
        held.data[lane.index()].extend(bytes);
        let (bytes, limit) = (held.bytes() as u64, self.receiver.limit());
        if bytes > limit {
            return Err(SessionError::Flood { bytes, limit });
        }
        Ok(())
    }

    fn read_data(&mut self, lane: Lane, bytes: &[u8]) -> Result<(), SessionError> {
        if bytes.is_empty() {
            return Ok(());
        }
        if lane != Lane::Recent && !self.has_lanes() {
            return Err(WireError::Priority { priority: lane.code() }.into());
        }
        self.receiver.read(lane, bytes, &mut self.outputs)
    }

    /// Whether both sides speak a version with lanes and all that came with them.
    fn has_lanes(&self) -> bool {
        self.peer.is_some_and(|peer| peer.version >= VERSION_LANES)
    }

    /// What shortens hashes and ids for this peer; roots are the same for all.
    fn key(&self) -> WireKey {
        let form = if self.has_lanes() { Form::Summed } else { Form::Plain };
        WireKey::new(self.wire_secret, form)
    }

    fn take_loaded(&mut self, loaded: Vec<Loaded>) -> Result<(), SessionError> {
        for Loaded { id, bytes } in loaded {
            self.sender.loaded(id, bytes)?;
        }
        Ok(())
    }

    fn take_failed(&mut self, ids: &[[u8; 32]]) -> Result<(), SessionError> {
        let count = ids.iter().filter(|id| self.sender.failed(id)).count();
        self.fall_short(count)
    }

    /// So many items that the peer expects from an exchange do not come.
    fn fall_short(&mut self, count: usize) -> Result<(), SessionError> {
        if count == 0 {
            return Ok(());
        }
        if let Phase::Exchanging(exchange) = &mut self.phase {
            exchange.not_moved(count as u64);
        }
        self.send(&Message::Short { count: narrow(count) })
    }

    /// Does whatever has become possible; harmless to call at any time.
    fn advance(&mut self, now: Moment, sets: &mut Sets<'_>) -> Result<(), SessionError> {
        if std::mem::take(&mut self.owes_pong) {
            self.send(&Message::Pong)?;
        }
        self.greet(now, sets)?;
        if self.is_held() {
            return Ok(());
        }
        if let Some(credit) = self.receiver.take_credit() {
            self.send(&credit)?;
        }
        self.release_after_turns(sets);
        self.send_names()?;
        self.pump(now)?;
        self.finish_exchange(now, sets)?;
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
        while let Some((lane, bytes)) = self.sender.write_group(&mut self.stats)? {
            self.stats.data_bytes_out += bytes.len() as u64;
            self.pace.active(now);
            self.outputs.push_back(Output::Data(lane, bytes));
        }
        while let Some((set, keys)) = self.sender.next_page() {
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

    /// Runs `read` over the batches of `set` with those that are refused but count as held.
    fn with_held<R>(&self, set: Set, data: &mut Trie, read: impl FnOnce(&Trie) -> R) -> R {
        let refused = self.excluded.iter().filter(|(_, excluded)| **excluded == set);
        let added: Vec<Key> =
            refused.map(|(key, _)| *key).filter(|key| data.insert(*key)).collect();
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
        self.control_unwritten += bytes.len();
        if self.control_unwritten > CONTROL_UNWRITTEN_MAX {
            return Err(SessionError::Unread { bytes: self.control_unwritten });
        }
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
