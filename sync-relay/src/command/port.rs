//! The port for devices: UDP for QUIC, and TCP beside it.

use fieldmesh::api::Problem;
use fieldmesh::{Error, Listener};
use fieldmesh_net::TcpPort;

use super::Context;
use crate::address;
use crate::problem;
use crate::relay::Port;
use crate::settings::{TcpPlan, not_over_tcp};

/// A port that is open, and what somebody should know of it.
pub(super) struct Opened {
    pub(super) port: Port,
    pub(super) warning: Option<String>,
}

impl Context<'_> {
    /// Opens the port for devices.
    ///
    /// Where nobody has asked for TCP and its port is taken, QUIC alone is served: a relay that
    /// served before there was TCP goes on to do so.
    pub(super) async fn open_port(&self) -> Result<Opened, Problem> {
        let TcpPlan { port, mut warning } = self.settings.tcp_plan()?;
        let listener = match Listener::bind_with(self.settings.quic, port).await {
            Err(Error::ListenTcp { reason }) if port == TcpPort::Beside => {
                warning = Some(not_over_tcp(&reason));
                Listener::bind(self.settings.quic).await
            }
            opened => opened,
        };
        let listener = listener.map_err(|error| not_opened(&error))?;
        if let Some(warning) = &warning {
            tracing::warn!(warning, "TCP for devices needs attention");
        }
        let bound = listener.local_addr().map_err(|error| error.problem())?;
        let advertised = address::advertised(&self.settings.public_addresses, bound);
        Ok(Opened { port: Port { listener, advertised }, warning })
    }
}

fn not_opened(error: &Error) -> Problem {
    let flag = match error {
        Error::ListenTcp { .. } => "--tcp, or turn it off with `--tcp off`",
        _ => "--quic",
    };
    let reason = error.problem().detail;
    problem::failed(format!("{reason}; give another address with {flag}"))
}
