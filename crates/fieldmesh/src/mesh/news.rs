//! What has happened that the node must act on, however far it lags behind the events.
//!
//! Events are for those who wait or show something, and a slow listener loses some. These are
//! counted beside them: whoever looks late acts once for all.

/// How often each has happened since the mesh was started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct News {
    /// Other members, roles or rights than before.
    pub(crate) policies: u64,
    /// A peer holds a batch that this device signed and does not know.
    pub(crate) unknown_own_batches: u64,
}
