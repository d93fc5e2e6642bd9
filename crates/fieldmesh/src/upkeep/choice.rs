//! When the segment being written is ended, and which closed ones are written anew next.

use std::collections::BTreeSet;

use fieldmesh_store::{
    ClosedSegment, DEAD_PERCENT_MAX, Direction, Form, KeyRange, Place, Store, Tree, neighbours,
    worth_rewriting,
};

use crate::error::Error;
use crate::rows::{self, UNSEALED_PREFIX};

/// A segment smaller than this is not ended for its compression: each has a head of 4 KiB.
pub(crate) const ROTATE_BYTES_MIN: u64 = 256 * 1024;
/// The part of a log that may stay as it was appended, so that a large log has few segments.
const ROTATE_SHARE: u64 = 16;
/// So many small neighbours become one while nobody asks: a start adds one, and what they hold is
/// not written anew for each.
const MERGE_COUNT_MIN: usize = 8;

/// The size at which the segment being written is ended when nobody writes.
pub(crate) fn rotate_at(closed: &[ClosedSegment]) -> u64 {
    let bytes: u64 = closed.iter().map(|segment| segment.bytes).sum();
    ROTATE_BYTES_MIN.max(bytes / ROTATE_SHARE)
}

/// The segment by whose writing anew most is gained, or many small neighbours that become one;
/// none of those in `passed_over`, and empty if nothing is worth it.
///
/// One with many changes that wait for a batch is left alone: soon all of them are dead.
pub(crate) fn next(
    store: &Store,
    mut closed: Vec<ClosedSegment>,
    passed_over: &BTreeSet<u64>,
) -> Result<Vec<ClosedSegment>, Error> {
    closed.retain(|segment| !passed_over.contains(&segment.number));
    let without_index = closed.iter().find(|segment| !segment.has_index).cloned();
    if many(&closed).is_none() && closed.iter().all(|segment| segment.form != Form::Frames) {
        return Ok(without_index.into_iter().collect());
    }
    let unsealed = unsealed(store)?;
    closed.retain(|segment| {
        let places = Place(segment.places.start)..Place(segment.places.end);
        let waiting = unsealed.range(places).count() as u64;
        waiting.saturating_mul(100) <= segment.entries.saturating_mul(DEAD_PERCENT_MAX)
    });
    let frames: Vec<ClosedSegment> =
        closed.iter().filter(|segment| segment.form == Form::Frames).cloned().collect();
    let number = worth_rewriting(&frames, |_| 0);
    let one = frames.into_iter().find(|segment| Some(segment.number) == number);
    // What needs the least room comes first, and last what only costs a walk through all of it at
    // each look into it.
    let run = one.map_or_else(|| many(&closed).unwrap_or_default().to_vec(), |one| vec![one]);
    Ok(if run.is_empty() { without_index.into_iter().collect() } else { run })
}

/// The first neighbours of which there are many.
fn many(closed: &[ClosedSegment]) -> Option<&[ClosedSegment]> {
    neighbours(closed).into_iter().find(|run| run.len() >= MERGE_COUNT_MIN)
}

/// Where the changes lie that no batch holds.
fn unsealed(store: &Store) -> Result<BTreeSet<Place>, Error> {
    let range = KeyRange::prefix(UNSEALED_PREFIX);
    let rows = rows::scan(store.view(), Tree::Meta, range, Direction::Ascending);
    rows.map(|row| rows::decode::<Place>(&row?.1)).collect()
}
