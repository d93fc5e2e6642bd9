//! What goes into a conversation and what comes out of it.

use std::collections::BTreeSet;

use fieldmesh_model::{Moment, StoreId, TenantTag};
use fieldmesh_trie::{Key, Trie};

use crate::wire::{Frame, FrameKind};

/// One connection to a peer, as the shell numbers it; a later one has a higher number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// Who opened the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// This replica did.
    Dialled,
    /// The peer did.
    Accepted,
}

/// One of the two replicated sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Set {
    /// Signed policy items; made equal first.
    Policy,
    /// Signed batches.
    Data,
}

/// What a conversation is told at its beginning.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Who opened the connection.
    pub side: Side,
    /// A secret of the connection that both sides know: the TLS exporter.
    pub channel_key: [u8; 32],
    /// The tenant.
    pub tenant: TenantTag,
    /// This replica's store.
    pub store: StoreId,
    /// How often the store was restored.
    pub store_epoch: u64,
    /// The number of this conversation; of two to one peer the higher one is newer.
    pub conversation: u64,
    /// Bytes of frames that this side takes before they are durable.
    pub ingest_window: u32,
}

/// The durable sets of the replica, lent for one step.
#[derive(Debug)]
pub struct Sets<'a> {
    /// Keys of the policy items.
    pub policy: &'a mut Trie,
    /// Keys of the batches.
    pub data: &'a mut Trie,
    /// Whether the policy lets the peer read.
    pub reader: Reader,
    /// Whether something that came from this peer is still on its way to the disk.
    pub disk: Disk,
}

/// What the policy says of the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// It is a member.
    Member,
    /// It is unknown; its own certificate may come with the policy items.
    Unknown,
}

/// Whether the sets show everything that came from the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disk {
    /// They do.
    Settled,
    /// Something is still being written.
    Writing,
}

/// One step of a conversation.
#[derive(Debug)]
pub enum Input {
    /// The connection is up.
    Start,
    /// Bytes of the peer's control stream, split anyhow.
    Control(Vec<u8>),
    /// Bytes of the peer's data stream, split anyhow.
    Data(Vec<u8>),
    /// So many bytes of the own data stream have left.
    DataWritten(usize),
    /// What became of received frames, in any order.
    Settled(Vec<Settled>),
    /// Encoded batches or items that [`Output::Load`] asked for.
    Loaded(Vec<Loaded>),
    /// What [`Output::Load`] asked for and cannot be read.
    LoadFailed(Vec<[u8; 32]>),
    /// Something new is durable here and did not come from this peer.
    Offer(Set, Vec<Key>, Manner),
    /// Batches of an [`Output::Offered`] that are wanted.
    Want(Vec<Key>),
    /// The roots are to be compared as soon as possible.
    Check,
    /// The policy changed: of the batches that were refused only these still are.
    Rejudge(BTreeSet<Key>),
    /// Time has passed, or something on the disk has settled.
    Wake,
}

/// How something new is offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Sent at once.
    Push,
    /// Named, to be asked for.
    Name,
}

/// An encoded batch or item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The id in its key.
    pub id: [u8; 32],
    /// The bytes that the peer will decode.
    pub bytes: Vec<u8>,
}

/// A frame that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// To be given back in [`Settled`].
    pub frame: FrameMark,
    /// An encoded batch or policy item, unverified.
    pub bytes: Vec<u8>,
}

/// Which frame it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameMark {
    /// The set that the content claims to belong to.
    pub set: Set,
    pub(crate) kind: FrameKind,
    pub(crate) length: usize,
}

impl FrameMark {
    pub(crate) const fn of(frame: &Frame) -> Self {
        Self { set: frame.kind.set(), kind: frame.kind, length: frame.bytes.len() }
    }

    pub(crate) const fn is_answer(&self) -> bool {
        self.kind.is_answer()
    }
}

/// What became of one received frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// The frame.
    pub frame: FrameMark,
    /// The verdict.
    pub verdict: Verdict,
}

/// What became of one received batch or item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is new and durable.
    Stored,
    /// It was here already.
    Known(Key),
    /// It is refused: this conversation treats it as held and never asks for it.
    Refused(Key),
}

/// What the owner of a conversation has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Append to the control stream.
    Control(Vec<u8>),
    /// Append to the data stream.
    Data(Vec<u8>),
    /// Read these and answer with [`Input::Loaded`] or [`Input::LoadFailed`].
    Load(Set, Vec<Key>),
    /// Judge and store this, then say [`Input::Settled`].
    Received(Received),
    /// The peer holds these batches; answer with [`Input::Want`] where they are lacking.
    Offered(Vec<Key>),
    /// The peer has introduced itself.
    Greeted(Greeting),
    /// Both roots are equal.
    InStep,
    /// The roots differ and comparing does not help; the next try is a minute away.
    Stalled,
}

/// How the peer introduced itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Greeting {
    /// The dialler's number of the conversation.
    pub conversation: u64,
    /// The peer's store.
    pub store: StoreId,
    /// How often the peer's store was restored.
    pub store_epoch: u64,
    /// What the peer's clock showed when it wrote.
    pub clock: Moment,
}

/// What a conversation cost and moved so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LinkStats {
    /// Batches that became durable here.
    pub batches_received: u64,
    /// Batches sent.
    pub batches_sent: u64,
    /// Policy items that became durable here.
    pub items_received: u64,
    /// Policy items sent.
    pub items_sent: u64,
    /// Received batches and items that were here already.
    pub repeated: u64,
    /// Batches that are refused here and count as held in this conversation.
    pub refused: u64,
    /// Bytes of control messages received.
    pub control_bytes_in: u64,
    /// Bytes of control messages sent.
    pub control_bytes_out: u64,
    /// Bytes of the data stream received, as they travelled.
    pub data_bytes_in: u64,
    /// Bytes of the data stream sent, as they travel.
    pub data_bytes_out: u64,
    /// Turns of exchanges taken by both sides.
    pub rounds: u64,
    /// Exchanges begun.
    pub exchanges: u64,
}
