//! Peers to which this device is no member any more, and whether they have told all they know.
//!
//! A peer that knows of the end of a membership when it is greeted says so once both hold the same
//! policy items. One that learns of it in the middle says so at once, and may hold items that would
//! take it back here. From here both look alike, so it counts only where the peer cannot have
//! learned of it in the middle.

use std::collections::BTreeMap;

use fieldmesh_model::DeviceId;
use fieldmesh_replica::LinkId;

/// Devices of which something is kept; a tenant has fewer.
const DEVICES_MAX: usize = 4_096;

/// The last refusal of each peer.
#[derive(Debug, Default)]
pub(super) struct Refusals(BTreeMap<DeviceId, Refusal>);

#[derive(Debug, Clone, Copy)]
struct Refusal {
    /// How often the policy here had changed.
    policies: u64,
    /// The first link that is younger.
    younger: LinkId,
}

/// A link that ends because the peer takes this device for no member.
#[derive(Debug, Clone, Copy)]
pub(super) struct Refused {
    pub(super) link: LinkId,
    pub(super) device: DeviceId,
    /// Whether the peer itself has brought the end of this device's membership over it.
    pub(super) has_told: bool,
}

impl Refusals {
    /// Notes a refusal; true if the peer holds no policy items but those that are here.
    ///
    /// `policies` counts the policies here so far, and `younger` is the next link.
    pub(super) fn note(&mut self, refused: Refused, policies: u64, younger: LinkId) -> bool {
        let before = self.0.get(&refused.device).copied();
        if before.is_some() || self.0.len() < DEVICES_MAX {
            self.0.insert(refused.device, Refusal { policies, younger });
        }
        // It knew when this link began.
        let has_known = before.is_some_and(|before| before.younger <= refused.link);
        let is_unchanged = before.is_some_and(|before| before.policies == policies);
        refused.has_told || (has_known && is_unchanged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: DeviceId = DeviceId::from_bytes([1; 32]);

    fn refused(link: u64) -> Refused {
        Refused { link: LinkId(link), device: PEER, has_told: false }
    }

    #[test]
    fn a_home_is_not_erased_because_a_peer_learned_of_the_end_before_it_told_all_it_knows() {
        let mut refusals = Refusals::default();
        assert!(!refusals.note(refused(1), 4, LinkId(3)));
        // A second link that was there already ends for the same reason.
        assert!(!refusals.note(refused(2), 4, LinkId(3)));
        // It brought something that counts, and something else may follow.
        assert!(!refusals.note(refused(3), 5, LinkId(4)));
        assert!(refusals.note(refused(4), 5, LinkId(5)));
    }

    #[test]
    fn who_brings_the_end_of_a_membership_knew_of_it_before() {
        let told = Refused { has_told: true, ..refused(1) };
        assert!(Refusals::default().note(told, 4, LinkId(2)));
    }
}
