//! What goes into a conversation and what comes out of it.

use std::collections::BTreeSet;
use std::fmt;

use fieldmesh_model::{Filter, Moment, StoreId, TenantTag};
use fieldmesh_trie::{Key, Trie};

use crate::error::WireError;
use crate::wire::FrameKind;

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

/// One of the replicated sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Set {
    /// Signed policy items; made equal first.
    Policy,
    /// Signed batches that count.
    Data,
    /// Signed batches that the policy excludes; made equal last.
    Quarantine,
}

/// One of the data streams that a side opens; what is more urgent overtakes the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// Policy items and critical batches.
    Urgent,
    /// What is new, and everything towards a peer of version 1.
    Recent,
    /// What has been there for long.
    Backfill,
}

impl Lane {
    /// All of them, the most urgent first.
    pub const ALL: [Self; 3] = [Self::Urgent, Self::Recent, Self::Backfill];

    /// The byte at the front of its stream, which the transport writes and reads.
    pub const fn code(self) -> u8 {
        match self {
            Self::Urgent => 0,
            Self::Recent => 1,
            Self::Backfill => 2,
        }
    }

    pub(crate) const fn index(self) -> usize {
        self.code() as usize
    }
}

impl TryFrom<u8> for Lane {
    type Error = WireError;

    fn try_from(code: u8) -> Result<Self, WireError> {
        let lane = Self::ALL.into_iter().find(|lane| lane.code() == code);
        lane.ok_or(WireError::Priority { priority: code })
    }
}

/// The beginning of a batch that a conversation could not finish.
///
/// It is for the next conversation with the same peer only: another one's bytes prove nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partial {
    /// The id in the key of the batch, as the peer stated it.
    pub id: [u8; 32],
    /// How long the encoded batch is.
    pub total: u32,
    /// Its front.
    pub bytes: Vec<u8>,
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
    /// What this replica wants to hold.
    pub filter: Filter,
    /// The oldest and the newest version that it speaks; see [`crate::limits`].
    pub versions: (u16, u16),
    /// What [`crate::Session::take_partials`] of the last conversation with this peer gave.
    pub partials: Vec<Partial>,
}

/// The durable sets of the replica, lent for one step.
///
/// Both sets of batches are restricted to what this side wants to hold and the peer may read, and
/// from [`Input::Granted`] on also to what the peer wants to hold.
pub struct Sets<'a> {
    /// Keys of the policy items.
    pub policy: &'a mut Trie,
    /// Keys of the batches that count.
    pub data: &'a mut Trie,
    /// Keys of the batches that the policy excludes.
    pub quarantine: &'a mut Trie,
    /// Whether the policy lets the peer read.
    pub reader: Reader,
    /// Whether something that came from this peer is still on its way to the disk.
    pub disk: Disk,
    /// How urgent a batch of [`Self::data`] is.
    pub lane: &'a dyn Fn(&Key) -> Lane,
}

impl fmt::Debug for Sets<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Sets");
        shown.field("policy", &self.policy.len()).field("data", &self.data.len());
        shown.field("quarantine", &self.quarantine.len()).finish_non_exhaustive()
    }
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
    /// Bytes of a data stream of the peer, split anyhow, behind the byte that names its lane.
    Data(Lane, Vec<u8>),
    /// So many bytes of an own data stream have left.
    DataWritten(Lane, usize),
    /// So many bytes of the own control stream have left. A shell that never says so counts as one
    /// that writes at once, and what a peer leaves unread is then not limited here.
    ControlWritten(usize),
    /// The answer to [`Output::Greeted`]: the sets are lent for this peer from here on.
    Granted,
    /// What became of received frames, in any order.
    Settled(Vec<Settled>),
    /// Encoded batches or items that [`Output::Load`] asked for.
    Loaded(Vec<Loaded>),
    /// What [`Output::Load`] asked for and cannot be read.
    LoadFailed(Vec<[u8; 32]>),
    /// Something new is durable here and did not come from this peer.
    Offer(Set, Vec<Key>, Manner),
    /// These are to be sent along with what is being loaded, in the same lane, whatever set they
    /// are in.
    Along(Lane, Vec<Key>),
    /// Batches of an [`Output::Offered`] that are wanted.
    Want(Vec<Key>),
    /// The roots are to be compared as soon as possible.
    Check,
    /// Asks a peer for receipts that cover these batches; version 1 knows none.
    Prove(Vec<Key>),
    /// Encoded receipts for the peer.
    Receipts(Vec<Vec<u8>>),
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
    /// How many frames brought it in this conversation, and their bytes.
    pub(crate) frames: u32,
    pub(crate) length: usize,
}

impl FrameMark {
    pub(crate) const fn of(kind: FrameKind, frames: u32, length: usize) -> Self {
        Self { set: kind.set(), kind, frames, length }
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
    /// Append to the data stream of a lane, behind the byte that names it.
    Data(Lane, Vec<u8>),
    /// Read these and answer with [`Input::Loaded`] or [`Input::LoadFailed`].
    Load(Set, Vec<Key>),
    /// Judge and store this, then say [`Input::Settled`].
    Received(Received),
    /// The peer holds these batches; answer with [`Input::Want`] where they are lacking.
    Offered(Vec<Key>),
    /// The peer has introduced itself; nothing goes on until [`Input::Granted`].
    Greeted(Greeting),
    /// Both roots are equal; what is set aside may still differ.
    InStep,
    /// The peer asks for receipts that cover these batches.
    Unproven(Vec<Key>),
    /// Encoded receipts of the peer, unverified.
    Receipts(Vec<Vec<u8>>),
    /// The roots differ and comparing does not help; the next try is a minute away.
    Stalled,
}

/// How the peer introduced itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Greeting {
    /// The dialler's number of the conversation.
    pub conversation: u64,
    /// The peer's store.
    pub store: StoreId,
    /// How often the peer's store was restored.
    pub store_epoch: u64,
    /// What the peer's clock showed when it wrote.
    pub clock: Moment,
    /// What the peer wants to hold.
    pub filter: Filter,
    /// The version that both speak from here on.
    pub version: u16,
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
