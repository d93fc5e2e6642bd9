//! P3: a cut at any byte costs at most one group of frames.

use crate::violation::Violation;
use crate::world::World;

/// What one cut may cost: the largest group of frames, and the words to find out what is lacking.
const CUT_BYTES_MAX: u64 = 64 * 1024;
/// What the data streams of a conversation cost beside the batches.
const CONVERSATION_BYTES: u64 = 512;

/// What all cuts of the day cost.
pub(crate) fn retransmission(world: &World<'_>) -> Result<(), Violation> {
    let [_, bytes] = world.moved();
    let conversations = world.cables.len() as u64;
    let limit = world.made_bytes + world.cuts * CUT_BYTES_MAX + conversations * CONVERSATION_BYTES;
    if bytes > limit {
        return Err(Violation::Retransmission { bytes, cuts: world.cuts, limit });
    }
    Ok(())
}
