//! The relay as its operator and its devices see it.
//!
//! Goal: devices that only meet at a relay end equal, tenants never meet, and whatever happens to
//! the process loses nothing and is explained. Method: the real program as a process, devices as
//! nodes in this one, everything over loopback on ports of the system's choice.

#![allow(clippy::unwrap_used, reason = "a test that cannot set up its scene has failed")]

#[path = "relay/abuse.rs"]
mod abuse;
#[path = "relay/acme.rs"]
mod acme;
#[path = "relay/authority.rs"]
mod authority;
#[path = "relay/challenge.rs"]
mod challenge;
#[path = "relay/claims.rs"]
mod claims;
#[path = "relay/crew.rs"]
mod crew;
#[path = "relay/damage.rs"]
mod damage;
#[path = "relay/documented.rs"]
mod documented;
#[path = "relay/fleet.rs"]
mod fleet;
#[path = "relay/jws.rs"]
mod jws;
#[path = "relay/life.rs"]
mod life;
#[path = "relay/many.rs"]
mod many;
#[path = "relay/operate.rs"]
mod operate;
#[path = "relay/process.rs"]
mod process;
#[path = "relay/quota.rs"]
mod quota;
#[path = "relay/rejected.rs"]
mod rejected;
#[path = "relay/removal.rs"]
mod removal;
#[path = "relay/tenants.rs"]
mod tenants;
#[path = "relay/users.rs"]
mod users;
