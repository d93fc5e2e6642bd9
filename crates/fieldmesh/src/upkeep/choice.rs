//! When the segment being written is ended, and which closed one is written anew next.

use std::collections::BTreeSet;

use fieldmesh_store::{
    ClosedSegment, DEAD_PERCENT_MAX, Direction, Form, KeyRange, Place, Store, Tree, worth_rewriting,
};

use crate::error::Error;
use crate::rows::{self, UNSEALED_PREFIX};

/// A segment smaller than this is not ended for its compression: each has a head of 4 KiB.
pub(crate) const ROTATE_BYTES_MIN: u64 = 256 * 1024;
/// The part of a log that may stay as it was appended, so that a large log has few segments.
const ROTATE_SHARE: u64 = 16;

/// The size at which the segment being written is ended when nobody writes.
pub(crate) fn rotate_at(closed: &[ClosedSegment]) -> u64 {
    let bytes: u64 = closed.iter().map(|segment| segment.bytes).sum();
    ROTATE_BYTES_MIN.max(bytes / ROTATE_SHARE)
}

/// The segment by whose writing anew most is gained, apart from those in `passed_over`.
///
/// One with many changes that wait for a batch is left alone: soon all of them are dead.
pub(crate) fn next(
    store: &Store,
    mut closed: Vec<ClosedSegment>,
    passed_over: &BTreeSet<u64>,
) -> Result<Option<ClosedSegment>, Error> {
    closed.retain(|segment| segment.form == Form::Frames && !passed_over.contains(&segment.number));
    if closed.is_empty() {
        return Ok(None);
    }
    let unsealed = unsealed(store)?;
    closed.retain(|segment| {
        let places = Place(segment.places.start)..Place(segment.places.end);
        let waiting = unsealed.range(places).count() as u64;
        waiting.saturating_mul(100) <= segment.entries.saturating_mul(DEAD_PERCENT_MAX)
    });
    let number = worth_rewriting(&closed, |_| 0);
    Ok(closed.into_iter().find(|segment| Some(segment.number) == number))
}

/// Where the changes lie that no batch holds.
fn unsealed(store: &Store) -> Result<BTreeSet<Place>, Error> {
    let range = KeyRange::prefix(UNSEALED_PREFIX);
    let rows = rows::scan(store.view(), Tree::Meta, range, Direction::Ascending);
    rows.map(|row| rows::decode::<Place>(&row?.1)).collect()
}
