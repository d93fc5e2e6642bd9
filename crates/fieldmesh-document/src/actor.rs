//! The Automerge actor of a device.

use fieldmesh_model::{DeviceId, Epoch};

/// What Automerge puts before an actor that writes concurrently with itself.
const CONCURRENT_MAGIC: [u8; 4] = [0x13, 0xb2, 0x23, 0x09];

/// The actor of `author` in one run of its chains; a new epoch is a new actor, so that a restored
/// backup never writes two changes with one sequence number.
pub fn actor(author: DeviceId, epoch: Epoch) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new_derive_key("fieldmesh/actor/1");
    hasher.update(author.as_bytes());
    hasher.update(&epoch.0.to_be_bytes());
    let mut actor = [0; 16];
    actor.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    actor
}

/// Whether `bytes` is `expected` or Automerge's concurrent form of it: magic, a level, the actor.
pub(crate) fn is_actor(bytes: &[u8], expected: &[u8; 16]) -> bool {
    if bytes == expected {
        return true;
    }
    // A level below 128 is one byte; nobody writes 128 times concurrently with himself.
    match bytes.strip_prefix(&CONCURRENT_MAGIC) {
        Some([level, rest @ ..]) => (1..128).contains(level) && rest == expected,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_actor_is_recognised_in_both_forms() {
        let own = actor(DeviceId::from_bytes([1; 32]), Epoch(7));
        assert_ne!(own, actor(DeviceId::from_bytes([1; 32]), Epoch(8)));
        assert_ne!(own, actor(DeviceId::from_bytes([2; 32]), Epoch(7)));
        assert!(is_actor(&own, &own));
        let concurrent = [&CONCURRENT_MAGIC[..], &[1], &own].concat();
        assert!(is_actor(&concurrent, &own));
        assert!(!is_actor(&[&CONCURRENT_MAGIC[..], &[0], &own].concat(), &own));
        assert!(!is_actor(&[&own[..], &[1]].concat(), &own));
        assert!(!is_actor(&[], &own));
    }
}
