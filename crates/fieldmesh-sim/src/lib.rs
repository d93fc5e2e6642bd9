//! A deterministic world: virtual clock, lossy network, generated crews, reference model, checkers.
//!
//! A [`Plan`] says what kind of day a crew has, a seed says which one. [`run`] lives through it with
//! real replicas, real signatures and an imitated network and disk, compares the end with plain
//! sets, and names the property that does not hold. The same plan and seed give the same trace.
//! [`shrink()`] looks for a smaller day that goes wrong in the same way.

mod author;
mod cable;
mod check;
mod clock;
mod disk;
mod hostile;
mod meter;
mod node;
mod notebook;
mod office;
mod plan;
mod random;
mod reference;
mod scenarios;
mod shrink;
mod tenant;
mod trace;
mod violation;
mod world;

pub use plan::{Checks, Content, Faults, FirstBreak, Links, Plan, SettingError, Shape};
pub use scenarios::{Scenario, scenarios};
pub use shrink::shrink;
pub use trace::TraceHash;
pub use violation::{Failure, Violation};
pub use world::{Outcome, run};

#[cfg(test)]
mod tests;
