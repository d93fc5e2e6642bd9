//! The nouns of fieldmesh: identifiers, roles, moments, limits, collection schemas and their
//! validation.
//!
//! Nothing here does IO, reads a clock or draws randomness: a moment or a nonce is always an
//! argument. Every other crate may use this one.

pub mod catalogue;
pub mod edit;
pub mod filter;
pub mod id;
pub mod input;
pub mod limits;
pub mod moment;
pub mod natural_key;
pub mod role;
pub mod schema;
pub mod scope;
pub mod validate;
pub mod value;

pub use edit::Edit;
pub use filter::{Filter, FilterError, Region};
pub use id::{BatchId, DeviceId, DocumentId, Epoch, ItemId, StoreId, TenantId, TenantTag, UserId};
pub use moment::Moment;
pub use natural_key::natural_key;
pub use role::Role;
pub use schema::Collection;
pub use scope::Scope;
pub use validate::{Fault, References, validate, validate_edit};
pub use value::{Fields, Value};
