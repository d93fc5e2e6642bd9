//! What both programs need of the system: a private socket for commands, signals, memory and files.
//!
//! Nothing here knows of tenants or records.

pub mod limits;
pub mod memory;
pub mod owner;
pub mod signal;
pub mod socket;
