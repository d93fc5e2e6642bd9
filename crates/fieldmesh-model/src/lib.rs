//! The nouns of fieldmesh: identifiers, roles, moments, limits, collection schemas and their
//! validation.
//!
//! Nothing here does IO, reads a clock or draws randomness: a moment or a nonce is always an
//! argument. Every other crate may use this one.

pub mod id;
pub mod limits;
pub mod moment;
pub mod role;
pub mod scope;
pub mod value;

pub use id::{BatchId, DeviceId, DocumentId, Epoch, ItemId, StoreId, TenantId, TenantTag, UserId};
pub use moment::Moment;
pub use role::Role;
pub use scope::Scope;
pub use value::{Fields, Value};
