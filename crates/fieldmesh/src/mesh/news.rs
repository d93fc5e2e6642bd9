//! What has happened that the node must act on, however far it lags behind the events.
//!
//! Events are for those who wait or show something, and a slow listener loses some. These are
//! counted beside them: whoever looks late acts once for all.

/// How often each has happened since the mesh was started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct News {
    /// Other members, roles or rights than before.
    pub(crate) policies: u64,
    /// The value of `policies` when the items were last the same as those of a peer: until then it
    /// may hold one that takes back what the others say.
    pub(crate) agreed: Option<u64>,
    /// A peer holds a batch that this device signed and does not know.
    pub(crate) unknown_own_batches: u64,
    /// Two batches for one place of this device's chains: another home signs with its key.
    pub(crate) own_forks: u64,
}

impl News {
    /// How often something has shown that another home signs with this device's key.
    pub(crate) const fn copies(&self) -> u64 {
        self.unknown_own_batches + self.own_forks
    }

    /// Whether some peer has had no other policy items since the policy changed last.
    pub(crate) fn is_policy_agreed(&self) -> bool {
        self.agreed == Some(self.policies)
    }
}
