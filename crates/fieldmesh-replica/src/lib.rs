//! Everything one participant decides, sans-io, over many sessions; shared by device and relay.
//!
//! A [`Replica`] holds the keys of its durable batches, the policy items, and one conversation a
//! link. It judges what arrives, has it stored, passes it on, and never acknowledges or offers
//! what is not durable. The shell owns sockets, disk and clock:
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

mod interface;
mod judge;
pub mod limits;
mod replica;

pub use fieldmesh_session::{CloseReason, LinkId, LinkStats, SessionError, Side, WireError};
pub use interface::{Config, Event, Input, Output, ReplicaError};
pub use judge::RefuseReason;
pub use replica::Replica;

#[cfg(test)]
mod tests;
