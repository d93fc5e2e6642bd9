//! What goes into a replica and what comes out of it.

use fieldmesh_batch::{Batch, Chain, Gap};
use fieldmesh_identity::Item;
use fieldmesh_model::{BatchId, DeviceId, ItemId, StoreId, TenantId};
use fieldmesh_session::{CloseReason, LinkId, LinkStats, Side};
use fieldmesh_trie::Key;

use crate::judge::RefuseReason;

/// Who this replica is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// The tenant.
    pub tenant: TenantId,
    /// This device or relay.
    pub device: DeviceId,
    /// Its store.
    pub store: StoreId,
    /// How often the store was restored.
    pub store_epoch: u64,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A connection to an authenticated peer is up.
    LinkUp {
        /// The number of the connection; never used before.
        link: LinkId,
        /// The peer.
        peer: DeviceId,
        /// Who opened it.
        side: Side,
        /// A secret of the connection that both sides know: the TLS exporter.
        channel_key: [u8; 32],
    },
    /// The connection is gone.
    LinkDown {
        /// Which.
        link: LinkId,
    },
    /// Bytes of the peer's control stream, split anyhow.
    Control {
        /// From where.
        link: LinkId,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// Bytes of the peer's data stream, split anyhow.
    Data {
        /// From where.
        link: LinkId,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// The shell has handed so many bytes of [`Output::Data`] to the transport.
    DataWritten {
        /// On which connection.
        link: LinkId,
        /// How many.
        bytes: usize,
    },
    /// Batches of [`Output::StoreBatches`] are durable.
    BatchesStored {
        /// Which.
        ids: Vec<BatchId>,
    },
    /// Policy items of [`Output::StoreItems`] are durable.
    ItemsStored {
        /// Which.
        ids: Vec<ItemId>,
    },
    /// What [`Output::StoreBatches`] or [`Output::StoreItems`] asked for cannot be made durable: the
    /// links that brought it are closed, and it may be sent again.
    StoreFailed {
        /// Which batches.
        batches: Vec<BatchId>,
        /// Which policy items.
        items: Vec<ItemId>,
    },
    /// Batches that [`Output::Load`] asked for.
    BatchesLoaded {
        /// For which connection.
        link: LinkId,
        /// The batches.
        batches: Vec<Batch>,
    },
    /// Batches that [`Output::Load`] asked for and that cannot be read.
    LoadFailed {
        /// For which connection.
        link: LinkId,
        /// Which.
        ids: Vec<BatchId>,
    },
    /// A batch was sealed here and is durable.
    LocalBatch {
        /// Its key.
        key: Key,
    },
    /// A policy item was made here and is durable.
    LocalItem {
        /// The item.
        item: Item,
    },
    /// The roots are to be compared as soon as possible.
    Resync {
        /// With one peer, or with all.
        link: Option<LinkId>,
    },
    /// The moment of [`crate::Replica::deadline`] has passed.
    Tick,
}

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Append to the control stream.
    Control {
        /// To where.
        link: LinkId,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// Append to the data stream, then say [`Input::DataWritten`].
    Data {
        /// To where.
        link: LinkId,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// Make durable, then say [`Input::BatchesStored`].
    StoreBatches {
        /// From where they came.
        link: LinkId,
        /// Verified batches.
        batches: Vec<Batch>,
    },
    /// Make durable, then say [`Input::ItemsStored`].
    StoreItems {
        /// From where they came.
        link: LinkId,
        /// Verified items.
        items: Vec<Item>,
    },
    /// Read durable batches, then say [`Input::BatchesLoaded`] and [`Input::LoadFailed`].
    Load {
        /// For which connection.
        link: LinkId,
        /// Which.
        ids: Vec<BatchId>,
    },
    /// Send what is left of the control stream and close the connection.
    Close {
        /// Which.
        link: LinkId,
        /// Why; not a fault if [`CloseReason::is_fault`] denies it.
        reason: CloseReason,
    },
    /// Something to know.
    Event(Event),
}

/// Something to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A peer has introduced itself.
    Greeted {
        /// Over which connection.
        link: LinkId,
        /// The peer.
        device: DeviceId,
        /// The peer's store.
        store: StoreId,
        /// How often the peer's store was restored.
        store_epoch: u64,
        /// How far the peer's clock is ahead of this one's, the way included.
        skew_millis: i64,
    },
    /// Both hold the same policy items and batches, and all of that is durable on both sides.
    ///
    /// Comes each time this is found. If [`LinkStats::refused`] is not 0, the peer holds so many
    /// batches more, which the policy here refuses.
    InStep {
        /// With whom.
        link: LinkId,
        /// What it took so far.
        stats: LinkStats,
    },
    /// The peer holds something else, and comparing does not help; the next try is a minute away.
    Stalled {
        /// With whom.
        link: LinkId,
        /// What it took so far.
        stats: LinkStats,
    },
    /// Batches of a peer became durable.
    Received {
        /// From where the first copy came.
        link: LinkId,
        /// Which.
        batches: Vec<BatchId>,
    },
    /// Other members, roles or rights than before.
    PolicyChanged,
    /// A batch is not stored.
    Refused {
        /// From where it came.
        link: Option<LinkId>,
        /// Which.
        batch: BatchId,
        /// Why.
        reason: RefuseReason,
    },
    /// Batches of a chain are missing although a peer was in step.
    ChainGap {
        /// The chain.
        chain: Chain,
        /// What is missing.
        gap: Gap,
    },
    /// An author signed two batches for one place of a chain.
    Fork {
        /// The chain.
        chain: Chain,
        /// The place.
        sequence: u64,
        /// The batch seen first.
        known: BatchId,
        /// The other one.
        other: BatchId,
    },
    /// A peer holds a batch that this device signed and does not know: its store was restored or
    /// copied, and the next batch must begin a new epoch.
    OwnBatchUnknown {
        /// Which.
        batch: BatchId,
    },
}

/// A mistake of the shell; the replica is as before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplicaError {
    /// The number of a new connection is in use.
    #[error("link {} is up already", .link.0)]
    LinkInUse {
        /// The number.
        link: LinkId,
    },
    /// A policy item made here belongs to another tenant.
    #[error("policy item {item} belongs to another tenant")]
    ForeignItem {
        /// The item.
        item: ItemId,
    },
}
