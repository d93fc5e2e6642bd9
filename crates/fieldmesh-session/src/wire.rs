//! What travels between two replicas: the only place that knows the bytes.
//!
//! A conversation has one control stream each way, a sequence of short frames with one message
//! each, and data streams each way, compressed sequences of policy items and batches. The
//! structs here are wire structs; nothing outside this crate sees them.

pub(crate) mod control;
pub(crate) mod data;
pub(crate) mod message;
mod pending;

pub(crate) use control::ControlReader;
pub(crate) use data::{DataReader, DataWriter, Frame, FrameKind, Part};
pub(crate) use message::{Hello, Message};
