//! The ceilings of a replica.

/// The most policy items of a tenant.
pub const ITEMS_MAX: usize = 65_536;
/// Bytes of batches that wait in memory for a policy under which they count.
pub const WAITING_BYTES_MAX: usize = 1 << 20;
/// The most links to which a new batch is sent at once; the others are told its name.
pub const EAGER_LINKS_MAX: usize = 3;
/// The most batches that were asked for by name and have not come.
pub const WANTS_IN_FLIGHT_MAX: usize = 4_096;
/// How long a batch that was named may take to come from another side before it is asked for.
pub const WANT_DELAY_MILLIS: i64 = 150;
/// After this time a batch that was asked for is asked of another peer.
pub const WANT_PATIENCE_MILLIS: i64 = 10_000;
/// The most links to one peer: a conversation and one that replaces it.
pub const LINKS_PER_PEER_MAX: usize = 2;
/// How long the better of two links may take to show that it lives.
pub const PROBE_MILLIS: i64 = 3_000;
/// A link that was heard within this time needs no probe.
pub const FRESH_MILLIS: i64 = 1_000;
/// Bytes of frames that a device takes from one link before they are durable.
pub const INGEST_WINDOW_DEFAULT: u32 = fieldmesh_session::limits::INGEST_WINDOW_DEFAULT;
