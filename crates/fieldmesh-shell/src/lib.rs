//! What both programs need of the system: a private socket for commands, and signals.
//!
//! Nothing here knows of tenants or records.

pub mod signal;
pub mod socket;
