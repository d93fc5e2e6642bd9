//! fieldmesh: a store for field crews that keeps every entry, merges by itself and needs no
//! server.
//!
//! A [`Node`] holds the records of one tenant on one device and keeps them in step with other
//! devices and relays. Calls that write return when the data is on disk; calls that read never
//! wait for a network. Start with [`Node::builder`].
//!
//! # Examples
//!
//! Two devices that correct one value apart, and the decision that both follow:
//!
//! ```
//! # let runtime = tokio::runtime::Runtime::new().unwrap();
//! # runtime.block_on(async {
//! use fieldmesh::api::{Choice, ConflictQuery, Edits, InviteOptions, Resolution, SyncOptions};
//! use fieldmesh::{Node, Role, TenantOptions};
//! use serde_json::json;
//! use std::time::Duration;
//!
//! # let folder = tempfile::tempdir().unwrap();
//! let office = Node::builder(folder.path().join("office")).passphrase("correct horse");
//! let crew = TenantOptions { name: "Cedar Creek".into(), ..TenantOptions::default() };
//! let (office, _) = office.create_tenant(crew).await.unwrap();
//! let well = json!({"name": "Alder 1", "apiNumber": "42-227-30001", "status": "ACTIVE"});
//! office.collection("well").insert(well.as_object().unwrap()).await.unwrap();
//! let entry = json!({"wellId": "Alder 1", "entryType": "PRODUCTION", "data": {"oilVolume": 82}});
//! let entries = office.collection("field_entry");
//! let id = entries.insert(entry.as_object().unwrap()).await.unwrap().record.id.to_string();
//!
//! let address = office.listen(Some(([127, 0, 0, 1], 0).into())).await.unwrap();
//! let (role, valid) = (Role::Admin, Duration::from_secs(600));
//! let invite = InviteOptions { role, user: None, valid, count: 1 };
//! let invited = office.invite(invite).await.unwrap().remove(0);
//! let truck = Node::builder(folder.path().join("truck")).passphrase("battery staple");
//! let (truck, _) = truck.join(&invited.invitation, None).await.unwrap();
//! let with = vec![address.to_string()];
//! let sync = SyncOptions { with, mdns: false, ..SyncOptions::default() };
//! truck.sync(sync.clone(), |_| {}).await.unwrap();
//!
//! for (node, volume) in [(&office, 81), (&truck, 79)] {
//!     let assignments = vec![format!("oilVolume={volume}")];
//!     node.edit(&id, Edits { assignments, ..Edits::default() }).await.unwrap();
//! }
//! truck.sync(sync.clone(), |_| {}).await.unwrap();
//! truck.sync(sync.clone(), |_| {}).await.unwrap();
//!
//! let inbox = office.conflicts(ConflictQuery::default()).await.unwrap();
//! assert_eq!(inbox, truck.conflicts(ConflictQuery::default()).await.unwrap());
//! let values: Vec<_> = inbox[0].values.iter().map(|side| side.value.clone()).collect();
//! assert_eq!(values, [json!(81), json!(79)]);
//!
//! let of_the_office = Resolution::Take(Choice::Label(inbox[0].values[0].label.clone()));
//! truck.resolve(&inbox[0].id, of_the_office).await.unwrap();
//! truck.sync(sync, |_| {}).await.unwrap();
//! assert_eq!(office.show(&id).await.unwrap().fields["data"]["oilVolume"], 81);
//! # truck.shutdown().await.unwrap();
//! # office.shutdown().await.unwrap();
//! # });
//! ```

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
