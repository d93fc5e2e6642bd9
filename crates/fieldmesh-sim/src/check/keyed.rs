//! P8: what one connection shows of a set says nothing on another one.
//!
//! Hashes are keyed by the connection, so that nobody can prepare batches that collide, or tell from
//! afar who holds the same.

use crate::hostile::shown_root;
use crate::violation::Violation;
use crate::world::World;

/// An honest node says something over a connection.
pub(crate) fn says(
    world: &mut World<'_>,
    (cable, node): (usize, usize),
    messages: &[Vec<u8>],
) -> Result<(), Violation> {
    if !world.nodes[node].is_honest() {
        return Ok(());
    }
    for root in messages.iter().filter_map(|message| shown_root(message)) {
        if *world.shown_on.entry(root).or_insert(cable) != cable {
            return Err(Violation::NotKeyed { node });
        }
    }
    Ok(())
}
