//! What both programs need of the system: a private socket for commands, signals, and memory.
//!
//! Nothing here knows of tenants or records.

pub mod memory;
pub mod signal;
pub mod socket;
