//! The ceilings of a conversation; exceeding one ends it with an error that carries the number.

use fieldmesh_model::limits::{BATCH_RAW_MAX, CHANGE_SIZE_MAX};

/// The oldest version of the protocol that this program speaks.
pub const VERSION_MIN: u16 = 1;
/// The newest version of the protocol that this program speaks.
pub const VERSION_MAX: u16 = 1;

/// The largest control message.
pub const CONTROL_FRAME_MAX: usize = fieldmesh_model::limits::CONTROL_MESSAGE_MAX;
/// The largest frame of a data stream: a batch of one large change, with room for its header.
pub const DATA_FRAME_MAX: usize = CHANGE_SIZE_MAX + BATCH_RAW_MAX;
/// The most bytes of frames that a group of one flush holds, so that a cut costs no more.
pub const FLUSH_GROUP_MAX: usize = 32 * 1024;
/// The largest ratio of decompressed to compressed bytes of a data stream, beyond the slack.
pub const EXPANSION_MAX: u64 = 64;
/// Decompressed bytes that a data stream may hold whatever its compressed size.
pub const EXPANSION_SLACK: u64 = 1 << 20;
/// The base-2 logarithm of the largest zstd window.
pub const WINDOW_LOG_MAX: u32 = 20;

/// Bytes of frames that a device takes before they are durable.
pub const INGEST_WINDOW_DEFAULT: u32 = 1 << 20;
/// The smallest ingest window that a peer may announce; less could not take a large batch.
pub const INGEST_WINDOW_MIN: u32 = DATA_FRAME_MAX as u32;
/// The largest ingest window of which this side makes use.
pub const INGEST_WINDOW_MAX: u32 = 4 << 20;
/// Compressed bytes handed to the shell that it has not written yet.
pub const UNWRITTEN_MAX: usize = 1 << 20;
/// The most batches asked for in one page of loading.
pub const LOAD_PAGE_MAX: usize = 64;

/// The longest filter of a hello, in prefixes.
pub const FILTER_PREFIXES_MAX: usize = 256;
/// The longest prefix of a filter, in bytes.
pub const FILTER_PREFIX_LENGTH_MAX: usize = 8;
/// The longest text of an error message, in bytes.
pub const ERROR_TEXT_MAX: usize = 256;
/// The most keys in one offer or one want.
pub const KEYS_PER_MESSAGE_MAX: usize = 1_024;
/// The most single wants of a peer that wait for their batches.
pub const WANTS_IN_FLIGHT_MAX: usize = 4_096;
/// The most messages that one exchange takes; the trie is less than 100 half bytes deep.
pub const ROUNDS_MAX: u32 = 128;
/// The most refused batches that one conversation works around.
pub const EXCLUDED_MAX: usize = 1_024;
/// The most offers that wait for the answer to a check; what is beyond is found by comparing.
pub const OFFERS_QUEUED_MAX: usize = 4_096;
/// The most comparisons that an accepting side answers within a second.
pub const CHECKS_PER_SECOND_MAX: u32 = 32;

/// Pushed batches after which the roots are compared again.
pub const PUSHES_PER_CHECK: u32 = 1_000;
/// Idle time after which the roots are compared again.
pub const IDLE_CHECK_MILLIS: i64 = 60_000;
/// How long a peer that owes an answer may stay silent.
pub const SILENCE_MAX_MILLIS: i64 = 60_000;
/// How long a peer that owes nothing may stay silent: more than two of its idle checks.
pub const REST_MAX_MILLIS: i64 = 150_000;
/// How often a side that keeps the other one waiting says that it lives.
pub const PING_MILLIS: i64 = 20_000;
/// The first pause after comparisons that moved little; it doubles up to the idle time.
pub const PAUSE_MILLIS: i64 = 250;
/// Comparisons in a row that may move little before they are spaced out.
pub const SMALL_ROUNDS_FREE: u32 = 4;
/// An exchange that moved fewer items than this counts as small.
pub const SMALL_ROUND_ITEMS: u64 = 16;
