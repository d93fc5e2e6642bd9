//! fieldmesh: a store for field crews that keeps every entry, merges by itself and needs no
//! server.
//!
//! A [`Node`] holds the records of one tenant on one device and keeps them in step with other
//! devices and relays. Calls that write return when the data is on disk; calls that read never
//! wait for a network. Start with [`Node::builder`].

mod alike;
pub mod api;
mod approval;
mod author;
pub mod backup;
mod changes;
mod clock;
mod collection;
mod connectivity;
mod ending;
mod entry;
mod error;
pub mod filter;
pub mod gateway;
mod harm;
pub mod home;
pub mod import;
mod keep;
mod ledger;
mod made;
mod making;
mod mesh;
mod node;
mod places;
mod projection;
mod projector;
mod purge;
mod readers;
mod rows;
mod schema;
mod upkeep;

pub use collection::{Collection, Query, Stored, Typed};
pub use error::Error;
pub use fieldmesh_model::{DeviceId, DocumentId, Moment, Role, UserId, Value};
pub use node::{
    Builder, BulkPreview, ClaimCall, ClaimHandler, Dormant, Listener, LiveQuery, Node, RunOptions,
    Snapshot, TenantOptions, Wake,
};
