//! When a node is online, how good the way is, and when it syncs by itself.
//!
//! Nothing here reads a clock, opens a socket or logs: the owner feeds [`Input`]s in, drains
//! [`Machine::poll`] and performs what comes out, and says [`Input::Tick`] at
//! [`Machine::deadline`]. Who is dialled and how bytes move is no concern of this module.

mod class;
mod line;
mod machine;
mod meter;
mod retry;
mod window;

pub(crate) use class::{class_of, part};
pub(crate) use machine::{Asked, Input, Machine, Outcome, Output, Standing, Token};
pub(crate) use retry::Retry;
pub(crate) use window::Answer;
