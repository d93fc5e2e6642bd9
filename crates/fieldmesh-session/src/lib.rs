//! One conversation with one peer as a sans-io state machine; owns the wire format.
//!
//! A [`Session`] compares sets with the peer's, first the policy items, then the batches that
//! count, last those that are set aside; it moves what either side lacks, in lanes by urgency, and
//! afterwards passes on what is new. It moves opaque bytes and
//! keys: whether a batch is acceptable is the owner's judgement, and so is making it durable.
//!
//! The dialling side compares, the accepting side answers:
//!
//! ```text
//! dialled                                   accepted
//! Hello (roots) ------------------------>
//!               <------------------------   HelloAck, then Equal, or Nodes
//! Nodes, wants  ------------------------>                         } one exchange, in turns,
//!               <------------------------   Nodes, wants          } about policy or batches
//! ============ items and batches ========   both ways, from the first difference on
//! Root          ------------------------>
//!               <------------------------   Equal: both are in step. Else the next exchange
//! ```
//!
//! Nothing here touches a socket, a disk or a clock; the same inputs in the same order always give
//! the same outputs.

mod error;
mod interface;
pub mod limits;
mod session;
#[cfg(test)]
mod tests;
mod wire;

pub use error::{CloseReason, SessionError, WireError};
pub use interface::{
    Disk, FrameMark, Greeting, Input, Lane, LinkId, LinkStats, Loaded, Manner, Output, Partial,
    Reader, Received, Set, Sets, Settings, Settled, Side, Verdict,
};
pub use session::Session;
