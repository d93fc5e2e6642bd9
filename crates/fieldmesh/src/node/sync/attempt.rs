//! Whom a pass tries to get in step with, and over which links.

use fieldmesh_model::DeviceId;
use fieldmesh_net::Transport;
use fieldmesh_replica::{LinkId, LinkStats};

/// Somebody a pass tries to get in step with.
pub(super) struct Attempt {
    pub(super) device: Option<DeviceId>,
    pub(super) address: String,
    pub(super) link: Option<LinkId>,
    /// Whether nobody asked for this peer: it was merely seen nearby.
    pub(super) is_chance: bool,
    /// The numbers of the link when the pass began.
    pub(super) before: LinkStats,
    pub(super) state: State,
    /// Whether a link that ended or carried too little was followed by another try.
    pub(super) is_redialled: bool,
}

impl Attempt {
    pub(super) fn is_failed(&self) -> bool {
        matches!(self.state, State::Failed(_))
    }
}

#[derive(Clone, PartialEq)]
pub(super) enum State {
    Trying,
    InStep(LinkStats),
    Failed(String),
    /// Another attempt leads to the same device.
    Elsewhere,
}

/// A link that exists or existed during the pass.
pub(super) struct Seen {
    pub(super) device: DeviceId,
    pub(super) transport: Transport,
    /// The numbers of the link when the pass began.
    pub(super) before: LinkStats,
    /// Whether this device lets it carry only a part.
    pub(super) is_part: bool,
    /// Its numbers when both last held the same in this pass; they stay when the link ends.
    pub(super) agreed: Option<LinkStats>,
    pub(super) life: Life,
}

#[derive(Clone, PartialEq)]
pub(super) enum Life {
    /// It was there when the pass began, and nobody has compared so far.
    Old,
    /// It is comparing.
    Up,
    InStep(LinkStats),
    Down(String),
}
