//! The HTTP API of a device for the apps on it: `/v1` over a [`fieldmesh::Node`].
//!
//! It listens on loopback only, and answers whoever has the token that lies in the home. Apps of
//! other people on the same machine cannot read that file; pages in a browser do not get past the
//! checks of `Host` and `Origin`. What may be done is decided by the node, as for its owner.
//!
//! Where [`Options::apps`] says so, it speaks the HTTP contracts of existing apps as well.
//!
//! [`Loopback::bind`] takes the port and writes the file; [`Loopback::serve`] answers.

mod apps;
mod guard;
mod input;
mod openapi;
mod refusal;
mod routes;
mod server;
mod token;

pub use openapi::document;
pub use server::{BindError, Loopback, Options};
pub use token::{ACCESS_FILE, Access};
