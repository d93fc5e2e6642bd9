//! Everything one participant decides, sans-io, over many sessions; shared by device and relay.
//!
//! A [`Replica`] holds an index of its durable batches, the policy items, and one conversation a
//! link. It judges what arrives, has it stored, passes it on, and never acknowledges or offers
//! what is not durable. What the policy excludes is kept and stands aside; the split follows from
//! the batches and the policy alone. The shell owns sockets, disk, keys and clock:
//!
//! ```text
//! loop {
//!     replica.handle(now, input)?;
//!     while let Some(output) = replica.poll() { perform(output) }
//!     wait for an input, or until replica.deadline() and then Input::Tick
//! }
//! ```
//!
//! The same inputs at the same moments always give the same outputs.

mod holdings;
mod index;
mod interface;
mod judge;
pub mod limits;
mod proofs;
mod replica;
mod signing;

pub use fieldmesh_session::{CloseReason, Lane, LinkId, LinkStats, SessionError, Side, WireError};
pub use interface::{
    Config, Doubt, Event, Fork, Held, Input, Output, Proof, ReplicaError, Unstored,
};
pub use judge::{RefuseReason, has_known_gaps, without_purged};
pub use replica::Replica;

#[cfg(test)]
mod tests;
