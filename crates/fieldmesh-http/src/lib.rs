//! The shell of HTTP around the dialects: everything between a socket and a command.
//!
//! A dialect says what a request means and how it is answered. This crate brings whole requests to
//! it and takes the answers back: it limits bodies, time and rates, undoes and does compression,
//! asks who a token belongs to, and keeps live streams open. It knows no tenant, no password and
//! no store. Those belong to a [`Host`], and what executes the commands of a tenant is an
//! [`Executes`].
//!
//! A [`Shell`] is one such server without a port; [`serve`] gives it one. A server with routes of
//! its own takes [`Bodies`] and [`dressed`] from here.

mod body;
mod budget;
mod busy;
mod counts;
mod host;
mod live;
mod outward;
mod peer;
mod plain;
mod rates;
mod serve;
mod settings;
mod shell;
mod tls;

pub use budget::Shares;
pub use counts::{Counts, Measured};
pub use host::{Executes, Host, Origin, Passed, Proof};
pub use outward::{ANSWER_PATIENCE, ANSWER_SIZE_MAX, Outward, OutwardError};
pub use peer::{Network, NetworkError, Peer, counted};
pub use plain::{Bodies, BodyFault, dressed};
pub use rates::{Rate, Windows};
pub use serve::serve;
pub use settings::{Latecomers, Origins, Settings};
pub use shell::Shell;
pub use tls::{Answering, Certificates, CertificatesError, Pair, Validity};
