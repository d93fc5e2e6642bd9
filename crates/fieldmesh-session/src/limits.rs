//! The ceilings of a conversation; exceeding one ends it with an error that carries the number.

use fieldmesh_model::limits::{BATCH_RAW_MAX, CHANGE_SIZE_MAX};

/// The oldest version of the protocol that this program speaks.
pub const VERSION_MIN: u16 = 1;
/// The newest version of the protocol that this program speaks.
pub const VERSION_MAX: u16 = 2;
/// The first version with lanes, parts, receipts and the comparison of what is set aside.
pub const VERSION_LANES: u16 = 2;

/// The largest control message.
pub const CONTROL_FRAME_MAX: usize = fieldmesh_model::limits::CONTROL_MESSAGE_MAX;
/// The most control bytes that wait for the sets to be granted, and an unfinished message.
pub const CONTROL_HELD_MAX: usize = 4 * CONTROL_FRAME_MAX;
/// Control bytes handed to the shell that it has not written yet; a peer that lets more wait does
/// not read.
pub const CONTROL_UNWRITTEN_MAX: usize = 1 << 20;
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
/// What a whole frame takes of the ingest window at least: no batch and no policy item is shorter,
/// and a stream that expands to tiny frames must not fill the memory with them.
pub const FRAME_COST_MIN: usize = 172;
/// The smallest ingest window that a peer may announce; less could not take a large batch.
pub const INGEST_WINDOW_MIN: u32 = DATA_FRAME_MAX as u32;
/// The largest ingest window of which this side makes use.
pub const INGEST_WINDOW_MAX: u32 = 4 << 20;
/// Compressed bytes handed to the shell that it has not written yet.
pub const UNWRITTEN_MAX: usize = 1 << 20;
/// Compressed backfill handed to the shell that it has not written yet.
pub const BACKFILL_UNWRITTEN_MAX: usize = 128 * 1024;
/// Backfill takes three quarters of the peer's window at most; the rest is for what is urgent.
pub const BACKFILL_WINDOW_SHARE: (u64, u64) = (3, 4);
/// A batch longer than this travels in parts of this length, so that a cut costs no more.
pub const PART_MAX: usize = 32 * 1024;
/// The most begun batches that a side keeps for the next conversation with the same peer.
pub const PARTIALS_MAX: usize = 2;
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
/// The most batches that wait to be sent because exchanges found them lacking; more are found by
/// the next exchange.
pub const ANSWERS_QUEUED_MAX: usize = 65_536;
/// The most new batches that wait to be sent; what is beyond is found by comparing.
pub const PUSHES_QUEUED_MAX: usize = 16_384;
/// The most batches on their way of which a side knows so, and does not send them again.
pub const GIVEN_MAX: usize = 131_072;
/// The most keys in one question for receipts.
pub const UNPROVEN_MAX: usize = 256;
/// The most receipts in one message.
pub const RECEIPTS_PER_MESSAGE_MAX: usize = 64;
/// The longest receipt, in bytes.
pub const RECEIPT_LENGTH_MAX: usize = 16 * 1024;
/// The most messages that one exchange takes; the trie is less than 100 half bytes deep.
pub const ROUNDS_MAX: u32 = 128;
/// The most refused batches that one conversation works around.
pub const EXCLUDED_MAX: usize = 1_024;
/// The most offers that wait for the answer to a check; what is beyond is found by comparing.
pub const OFFERS_QUEUED_MAX: usize = 4_096;
/// The most comparisons that an accepting side answers within a second.
pub const CHECKS_PER_SECOND_MAX: u32 = 32;

/// Exchanges in a row that move nothing before a conversation rests for the idle time: one that the
/// greeting began while filters were unknown, one about the policy for the case that its front is
/// equal by chance, and one that was overtaken by what came meanwhile.
pub const FRUITLESS_ROUNDS_MAX: u32 = 3;
/// The same towards a peer of version 1, which knows no filters.
pub const FRUITLESS_ROUNDS_PLAIN: u32 = 2;
/// How long the exchanges about what is set aside lie apart.
pub const QUARANTINE_MILLIS: i64 = 10_000;
/// A peer that begins them more often than this is refused; clocks may differ by the rest.
pub const QUARANTINE_EARLIEST_MILLIS: i64 = 9_000;
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

/// The most that one conversation keeps in memory, see [`crate::Session::held_bytes`], at an ingest
/// window of its own.
///
/// Most of it is room for pages of the largest batches on their way out; only an owner that holds
/// nothing else comes near.
pub const fn held_max(ingest_window: u32) -> usize {
    let understood = CONTROL_HELD_MAX + LANES * (DATA_FRAME_MAX + EXPANSION_STEP);
    // Each short frame counts as a longer one does, which is more than what surrounds it.
    let arrived = 2 * (ingest_window as usize + DATA_FRAME_MAX);
    let begun = PARTIALS_MAX * DATA_FRAME_MAX;
    let loaded = LANES * LOAD_PAGE_MAX * DATA_FRAME_MAX;
    let compressed = 2 * UNWRITTEN_MAX + BACKFILL_UNWRITTEN_MAX + LANES * DATA_FRAME_MAX;
    let queued = (ANSWERS_QUEUED_MAX + PUSHES_QUEUED_MAX + ROUNDS_MAX as usize) * KEY_COST;
    let known = GIVEN_MAX * 32 + (OFFERS_QUEUED_MAX + EXCLUDED_MAX + 1) * KEY_COST;
    let said = CONTROL_UNWRITTEN_MAX + CONTROL_FRAME_MAX;
    understood + arrived + begun + loaded + compressed + queued + known + said
}

/// The data streams of a direction.
const LANES: usize = 3;
/// What is decompressed before it is looked at.
const EXPANSION_STEP: usize = 16 * 1024;
/// What a key takes that waits.
const KEY_COST: usize = 64;
