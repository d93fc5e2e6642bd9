//! P11 and P12: the root that grew is the root built anew, whatever the history; inserting and
//! removing again leads back to it.

use fieldmesh_trie::{Key, Trie};

use crate::random::Random;
use crate::violation::Violation;
use crate::world::World;

/// How many keys are inserted and removed again.
const DETOUR: usize = 40;

/// The root of one node in the middle of its work.
pub(crate) fn root(world: &mut World<'_>, node: usize) -> Result<(), Violation> {
    let state = &world.nodes[node];
    let rebuilt = state.rebuilt();
    // Of what was let go a replica knows still what it named: of what comes back without a signature
    // the signed one may be on its way. Nobody is promised anything on that, see `receipts`.
    let waits = |key: &&Key| {
        let id = fieldmesh_model::BatchId::from_bytes(key.id());
        !rebuilt.contains(key) && state.disk.batch(&id).is_some_and(|batch| !batch.is_signed())
    };
    if world.plan.faults.evictions > 0 && state.replica.keys().any(|key| waits(&key)) {
        return Ok(());
    }
    if state.replica.root() != rebuilt.root()
        || state.replica.quarantine_root() != rebuilt.quarantine_root()
    {
        return Err(Violation::RootNotCanonical { node });
    }
    Ok(())
}

/// Every root, against the same set built otherwise.
pub(crate) fn roots(world: &World<'_>) -> Result<(), Violation> {
    let mut random = Random::new("canonical", world.seed);
    for (node, state) in world.honest() {
        let root = state.replica.root();
        let counting = state.disk.held().filter(|held| state.counts(&held.id));
        let mut trie: Trie = counting.map(|held| held.key()).collect();
        trie.rehash();
        let keys: Vec<Key> = (0..DETOUR).map(|_| Key::from_bytes(random.array())).collect();
        for key in &keys {
            trie.insert(*key);
            trie.rehash();
        }
        for key in &keys {
            trie.remove(key);
        }
        if state.rebuilt().root() != root || trie.root() != root {
            return Err(Violation::RootNotCanonical { node });
        }
    }
    Ok(())
}
