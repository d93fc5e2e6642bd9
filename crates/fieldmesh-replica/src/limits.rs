//! The ceilings of a replica.

/// The most batches of a tenant that are held and do not count; beyond, none is taken in.
pub const QUARANTINE_MAX: usize = 65_536;
/// The most of them that are of one author.
pub const QUARANTINE_PER_AUTHOR_MAX: usize = 16_384;
/// The most refused batches and policy items that one conversation keeps in mind because there is no
/// room for them; more would end it.
pub const SURPLUS_MAX: u64 = fieldmesh_session::limits::EXCLUDED_MAX as u64 / 2;
/// The most policy items of one signer within an hour that drive out others; each one is written,
/// and what it drives out stays in the log. Further ones are refused until the hour is over, so
/// replicas that are flooded hold the same once that has ended.
pub const ITEMS_DISPLACING_PER_HOUR_MAX: usize = 64;
/// The most policy items of one signer that were driven out and are kept in case that a cut saves
/// them; the ones that came first.
pub const DISPLACED_PER_SIGNER_MAX: usize = 1_024;
/// The most of them of all signers.
pub const DISPLACED_MAX: usize = 4_096;
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
/// Critical batches of which is looked whether a relay holds them: the last ones.
pub const CRITICAL_LOOKED_AT_MAX: usize = 256;
/// The most different grants, and parts of the sets kept for them, at a time. A part is lent at
/// every step of its links, so that a peer with one more grant is told to wait until another one
/// leaves.
pub const GRANTS_MAX: usize = 64;
/// The most of these parts that are kept although no link has their grant: peers come again.
pub const PARTS_RESTING_MAX: usize = 2;
/// The most batches that are looked at within a minute to find the parts for one device.
pub const WALKED_PER_MINUTE_MAX: usize = 4_000_000;
/// The newest arrivals that are never sent as backfill, however old.
pub const ARRIVALS_MAX: usize = 64;
/// A batch that is so much older than the newest one is sent as backfill.
pub const BACKFILL_AGE_MILLIS: u64 = 30 * 24 * 3_600 * 1_000;
/// The longest batch that travels without its signature, so that what waits for one is small.
pub const UNSIGNED_LENGTH_MAX: usize = 4 * 1024;
/// Every so many batches of a chain one keeps its signature on all its ways.
pub const SIGNED_EVERY: u64 = 8;
/// The most batches that do not count and are sent along to prove one that does.
pub const PROVERS_MAX: usize = 1_024;
/// Bytes of batches without signature of one link that wait for the batch that names them.
pub const RUN_BYTES_MAX: usize = 256 * 1024;
/// How long they wait while their link brings nothing; afterwards comparing finds them once more.
pub const RUN_PATIENCE_MILLIS: i64 = 30_000;
/// The most peers of which begun batches are kept for the next link.
pub const PARTIAL_PEERS_MAX: usize = 8;
/// The most begun batches kept of one peer.
pub const PARTIALS_PER_PEER_MAX: usize = fieldmesh_session::limits::PARTIALS_MAX;
/// The most heads that one question for receipts names, and that one receipt acknowledges.
pub const HEADS_PER_RECEIPT_MAX: usize = fieldmesh_batch::RECEIPT_HEADS_MAX;
/// How long after the last new batch its receipt is asked for.
pub const ASK_DELAY_MILLIS: i64 = 1_000;
/// The most questions for receipts that a peer gets answered within a second.
pub const ANSWERS_PER_SECOND_MAX: u32 = 8;
/// The most receipts of relays that one answer passes on.
pub const RELAYED_PER_ANSWER_MAX: usize = 16;
/// The most bytes of receipts in one answer; it travels as one message.
pub const ANSWER_BYTES_MAX: usize = 48 * 1024;
/// The most receipts of relays that are kept to be passed on; beyond, a relay with the most of them
/// loses one.
pub const RELAYED_MAX: usize = 512;
/// The most stores of relays, and as many of others, whose receipts are taken into account.
pub const STORES_MAX: usize = 256;
/// The most stores of one device among them; an older one makes room.
pub const STORES_PER_DEVICE_MAX: usize = 2;
/// The most heads of one chain that are kept of one store; beyond, the one goes that says least.
pub const HEADS_KEPT_MAX: usize = 64;
/// The most ends of one forked chain about which receipts are asked for.
pub const HEADS_PER_CHAIN_MAX: usize = 16;
/// The most receipts of its own that a relay is shown at the beginning of a conversation.
pub const SHOWN_MAX: usize = 4;
/// How long an answer to a question for receipts is waited for before the next one.
pub const ANSWER_PATIENCE_MILLIS: i64 = 10_000;
/// How often a peer may void in one conversation what a store had acknowledged: one that was put
/// back from a copy is doubted, and raises its epoch once it is shown its own word.
pub const SETBACKS_MAX: u32 = 2;
/// After this time a relay in a conversation that goes on is asked to sign once more.
pub const STAMP_MILLIS: i64 = 3_600_000;
/// The most batches for which a peer is asked for earlier receipts of relays that may hide them.
pub const LATE_ASKED_MAX: usize = HEADS_PER_RECEIPT_MAX / 2;
/// The most acknowledged heads of one store that are not here.
pub const AHEAD_MAX: usize = 4_096;
/// The most relays whose completeness is watched.
pub const RELAYS_WATCHED_MAX: usize = 16;
/// The most late batches of one relay that are kept in mind until a receipt convicts it; beyond, an
/// author with the most of them loses its oldest.
pub const LATE_MAX: usize = 4_096;
/// The most gaps that are remembered as reported.
pub const GAPS_REPORTED_MAX: usize = 4_096;
