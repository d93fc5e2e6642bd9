//! What goes into a replica and what comes out of it.

use fieldmesh_batch::{Batch, Chain, Gap, Header, Priority, Receipt};
use fieldmesh_identity::Item;
use fieldmesh_model::{BatchId, DeviceId, Epoch, Filter, ItemId, Moment, Scope, StoreId, TenantId};
use fieldmesh_session::{CloseReason, Lane, LinkId, LinkStats, Side};
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

/// What the replica knows of a durable batch: a part of its header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// The batch.
    pub id: BatchId,
    /// Who signed it.
    pub author: DeviceId,
    /// The part of the tenant's data that it belongs to.
    pub scope: Scope,
    /// The author's run.
    pub epoch: Epoch,
    /// Its position in the chain of author, epoch and scope.
    pub sequence: u64,
    /// The batch before it in the chain; zeros for the first one.
    pub previous: BatchId,
    /// The latest change-time.
    pub last: Moment,
    /// How soon it wants to travel.
    pub priority: Priority,
    /// Whether it is stored with its signature, rather than proven by the one after it.
    pub is_signed: bool,
}

impl Held {
    /// What is to be known of `batch`.
    pub const fn of(batch: &Batch) -> Self {
        Self::from_header(batch.header(), batch.id(), batch.is_signed())
    }

    /// What is to be known of the batch `id` with this header.
    pub const fn from_header(header: &Header, id: BatchId, is_signed: bool) -> Self {
        Self {
            id,
            author: header.author,
            scope: header.scope,
            epoch: header.epoch,
            sequence: header.sequence,
            previous: header.previous,
            last: header.last,
            priority: header.priority,
            is_signed,
        }
    }

    /// The chain that it belongs to.
    pub const fn chain(&self) -> Chain {
        Chain { author: self.author, epoch: self.epoch, scope: self.scope }
    }

    /// The key under which it stands in the set.
    pub fn key(&self) -> Key {
        Key::new(self.scope.to_bytes(), self.last.to_u48(), *self.id.as_bytes())
    }
}

/// What is known about where a batch is, from signed receipts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Proof {
    /// The other stores of members, relays included, that hold it with all before it.
    pub devices: usize,
    /// Whether one of them is a relay's.
    pub is_safe: bool,
}

/// Receipts of a store that are not believed, whoever carries them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Doubt {
    /// Whose store.
    pub device: DeviceId,
    /// The store.
    pub store: StoreId,
    /// All of epochs before this one.
    pub epoch: u64,
    /// And those of this epoch up to this moment.
    pub until: Option<Moment>,
}

/// Two batches that one author signed for one place of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fork {
    /// The chain.
    pub chain: Chain,
    /// The place.
    pub sequence: u64,
    /// The batch with the smallest id at this place.
    pub known: BatchId,
    /// Another one.
    pub other: BatchId,
}

/// Why something cannot be made durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unstored {
    /// The disk is full or fails, or the store is damaged.
    Failed,
    /// The tenant may take no more room than it has taken.
    NotGranted,
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
        /// Where this side wants less over this link than [`crate::Replica::with_filter`] says:
        /// what. It holds in both directions until the link is gone.
        filter: Option<Filter>,
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
    /// Bytes of one of the peer's data streams, split anyhow.
    Data {
        /// From where.
        link: LinkId,
        /// Which stream.
        lane: Lane,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// The shell has handed so many bytes of [`Output::Control`] to the transport. A shell that
    /// never says so counts as one whose peer reads at once.
    ControlWritten {
        /// On which connection.
        link: LinkId,
        /// How many.
        bytes: usize,
    },
    /// The shell has handed so many bytes of [`Output::Data`] to the transport.
    DataWritten {
        /// On which connection.
        link: LinkId,
        /// On which stream.
        lane: Lane,
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
    /// What [`Output::StoreBatches`] or [`Output::StoreItems`] asked for cannot be made durable:
    /// the links that brought it are closed, and it may be sent again.
    StoreFailed {
        /// Which batches.
        batches: Vec<BatchId>,
        /// Which policy items.
        items: Vec<ItemId>,
        /// Why.
        why: Unstored,
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
    /// Batches that were durable cannot be read any more: peers are asked for them again, and what
    /// this store has signed for is void.
    BatchesLost {
        /// Which.
        ids: Vec<BatchId>,
    },
    /// This side wants to hold something else from here on than [`crate::Replica::with_filter`]
    /// said. Links that are up are closed: what they agreed on holds no longer.
    Wanted {
        /// What.
        filter: Filter,
    },
    /// A batch was sealed here and is durable.
    LocalBatch {
        /// What is to be known of it.
        held: Held,
    },
    /// A policy item was made here and is durable. One that the policy does not admit is passed over.
    LocalItem {
        /// The item.
        item: Item,
    },
    /// The receipt of [`Output::Sign`], signed and encoded.
    Signed {
        /// For which connection.
        link: LinkId,
        /// The encoded receipt.
        bytes: Vec<u8>,
    },
    /// The receipt of [`Output::Sign`] cannot be signed.
    NotSigned {
        /// For which connection.
        link: LinkId,
    },
    /// The epoch of [`Output::RaiseEpoch`] is durable.
    EpochRaised {
        /// How often this store was restored.
        epoch: u64,
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
    /// Append to a data stream, then say [`Input::DataWritten`].
    Data {
        /// To where.
        link: LinkId,
        /// To which stream.
        lane: Lane,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// Make durable, then say [`Input::BatchesStored`].
    ///
    /// A batch that is held without its signature may come once more with it; the new copy replaces
    /// the old one.
    StoreBatches {
        /// From where they came.
        link: LinkId,
        /// Verified batches, each behind the one that it names as previous.
        batches: Vec<Batch>,
        /// Whether the policy excludes them: they are kept and do not count.
        aside: bool,
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
    /// Sign this with the device's key, then say [`Input::Signed`]. All that it names is durable.
    ///
    /// Before that its moment, or a later one, is to be durable for
    /// [`crate::Replica::with_signed`]: this store never signs for that moment again.
    Sign {
        /// For which connection.
        link: LinkId,
        /// What to sign.
        receipt: Receipt,
    },
    /// This store was put back from an older copy: count it as restored so often, durably, then say
    /// [`Input::EpochRaised`].
    RaiseEpoch {
        /// How often.
        epoch: u64,
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
        /// The version of the protocol that both speak.
        version: u16,
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
    /// Batches of a peer became durable and count.
    Received {
        /// From where the first copy came.
        link: LinkId,
        /// Which.
        batches: Vec<BatchId>,
    },
    /// Batches of a peer became durable and do not count; the policy excludes them.
    Quarantined {
        /// From where the first copy came.
        link: LinkId,
        /// Which, and why.
        batches: Vec<(BatchId, RefuseReason)>,
    },
    /// Durable batches do not count from now on.
    SetAside {
        /// Which.
        batches: Vec<BatchId>,
    },
    /// Durable batches that did not count do from now on.
    Readmitted {
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
    Fork(Fork),
    /// A peer holds a batch that this device signed and does not know: its store was restored or
    /// copied, and the next batch must begin a new epoch.
    OwnBatchUnknown {
        /// Which.
        batch: BatchId,
    },
    /// A receipt that proves something new; to be kept for [`crate::Replica::with_receipts`].
    Receipt(Receipt),
    /// A store was restored from a backup: what it acknowledged before is void, and kept receipts
    /// of an earlier epoch of it are to be dropped.
    StoreRestored {
        /// Whose store.
        device: DeviceId,
        /// The store.
        store: StoreId,
        /// How often it was restored.
        epoch: u64,
    },
    /// A store lacks what it acknowledged, as if it was put back from an older copy: what it signed
    /// so far is void. To be kept, before anything that follows, for
    /// [`crate::Replica::with_doubts`], as is what [`Self::StoreRestored`] says.
    StoreDoubted {
        /// Which receipts.
        doubt: Doubt,
        /// A batch that it acknowledged and lacks, if one is known.
        batch: Option<BatchId>,
    },
    /// A relay acknowledged this batch and afterwards did not give it to this replica, which got it
    /// from another.
    Withheld {
        /// The relay.
        relay: DeviceId,
        /// The batch.
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
