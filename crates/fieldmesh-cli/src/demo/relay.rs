//! The relay of the crew.

use std::path::Path;

use serde_json::Value as Json;

use super::error::DemoError;
use super::program::{Daemon, Program, Programs};

/// The relay of the crew.
pub(super) struct Relay {
    program: Program,
    daemon: Option<Daemon>,
    /// Where it was reached first, and will be again.
    address: Option<String>,
}

impl Relay {
    /// A relay that serves nobody so far.
    pub(super) fn new(programs: &Programs, folder: &Path) -> Self {
        Self { program: programs.relay(&folder.join("relay")), daemon: None, address: None }
    }

    /// Starts it: the first time on a free port, later on the same one, as its devices expect.
    pub(super) async fn start(&mut self) -> Result<(), DemoError> {
        let quic = self.address.as_deref().unwrap_or("127.0.0.1:0");
        let args = ["run", "--quic", quic, "--http", "127.0.0.1:0"];
        let daemon = self.program.start(&args).await?;
        let bound = daemon.ready()["quic"].as_str().map(ToOwned::to_owned);
        self.address =
            Some(bound.ok_or_else(|| self.program.unclear(&args, &daemon.ready().to_string()))?);
        self.daemon = Some(daemon);
        Ok(())
    }

    /// Where devices reach it.
    pub(super) fn address(&self) -> String {
        self.address.clone().unwrap_or_default()
    }

    /// Joins a tenant.
    pub(super) async fn join(&self, invitation: &str) -> Result<(), DemoError> {
        let args = ["tenant", "join", invitation, "--device", "relay"];
        self.program.run(&args, "").await.map(drop)
    }

    /// How many batches it holds.
    pub(super) async fn batches(&self) -> Result<u64, DemoError> {
        let args = ["tenant", "list"];
        let tenant: Json = self.program.ask(&args).await?;
        tenant["batches"].as_u64().ok_or_else(|| self.program.unclear(&args, &tenant.to_string()))
    }

    /// Stops it in good order.
    pub(super) async fn stop(&mut self) -> Result<(), DemoError> {
        let Some(daemon) = self.daemon.take() else { return Ok(()) };
        daemon.terminate()?;
        daemon.ended().await
    }

    /// Ends it at once.
    pub(super) async fn kill(&mut self) {
        if let Some(daemon) = self.daemon.take() {
            daemon.kill().await;
        }
    }
}
