//! A device of the crew, as the person who holds it uses it: by commands.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;

use fieldmesh::api::{
    ConflictReport, DeviceReport, InvitationReport, JoinReport, PeerReport, Record, StatusReport,
    SyncReport, TenantReport, VerifyReport,
};
use fieldmesh_model::Role;
use serde_json::Value as Json;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::time::timeout;

use super::acknowledged::Receipt;
use super::error::{DemoError, hold, system};
use super::patience::STEP_TIME_MAX;
use super::program::{Daemon, Program, Programs};

/// A device of the crew.
pub(super) struct Device {
    /// What it and its owner are called.
    pub(super) name: &'static str,
    program: Program,
    home: PathBuf,
    daemon: Option<Daemon>,
}

impl Device {
    /// A device that has no home so far.
    pub(super) fn new(name: &'static str, programs: &Programs, folder: &Path) -> Self {
        let home = folder.join(name);
        Self { name, program: programs.device(name, &home), home, daemon: None }
    }

    /// Its home.
    pub(super) fn home(&self) -> &Path {
        &self.home
    }

    fn email(&self) -> String {
        format!("{}@example.org", self.name)
    }

    /// Makes the tenant.
    pub(super) async fn create_tenant(&self, name: &str) -> Result<TenantReport, DemoError> {
        let email = self.email();
        let args = ["tenant", "create", name, "--user", &email, "--device", self.name];
        self.program.ask(&args).await
    }

    /// Invites somebody.
    pub(super) async fn invite(&self, role: Role, user: &str) -> Result<String, DemoError> {
        let (role, email) = (role.to_string(), format!("{user}@example.org"));
        let args = ["invite", "--role", &role, "--user", &email];
        let invitation: InvitationReport = self.program.ask(&args).await?;
        Ok(invitation.invitation)
    }

    /// Joins by an invitation.
    pub(super) async fn join(&self, invitation: &str) -> Result<JoinReport, DemoError> {
        self.program.ask(&["join", invitation, "--device", self.name]).await
    }

    /// Runs in the background from now on.
    pub(super) async fn start(&mut self, options: &[&str]) -> Result<(), DemoError> {
        let args: Vec<&str> = ["run"].iter().chain(options).copied().collect();
        self.daemon = Some(self.program.start(&args).await?);
        Ok(())
    }

    /// The port on which it listens.
    pub(super) fn port(&self) -> Option<u16> {
        let ready = self.daemon.as_ref()?.ready();
        ready["addresses"][0].as_str()?.rsplit_once(':')?.1.parse().ok()
    }

    /// Stops what runs in the background, in good order.
    pub(super) async fn stop(&mut self) -> Result<(), DemoError> {
        let Some(daemon) = self.daemon.take() else { return Ok(()) };
        self.program.run(&["stop"], "").await?;
        daemon.ended().await
    }

    /// Ends what runs in the background as a loss of power does.
    pub(super) async fn kill(&mut self) {
        if let Some(daemon) = self.daemon.take() {
            daemon.kill().await;
        }
    }

    /// Records things one by one, each by a process of its own.
    pub(super) async fn record(
        &self,
        collection: &'static str,
        all: &[Json],
    ) -> Result<Vec<Receipt>, DemoError> {
        let mut receipts = Vec::with_capacity(all.len());
        for fields in all {
            let begun = Instant::now();
            let args = ["record", collection, "--from", "-"];
            let answer = self.program.run(&args, &fields.to_string()).await?;
            let id = self.id(&args, answer.trim())?;
            receipts.push(Receipt { id, after: begun.elapsed() });
        }
        Ok(receipts)
    }

    /// Records one thing after the other until `count` are acknowledged, kills the daemon that
    /// stores them at that moment, and gives every id that was printed.
    pub(super) async fn record_until_killed(
        &mut self,
        collection: &'static str,
        all: impl Iterator<Item = Json>,
        count: usize,
    ) -> Result<Vec<String>, DemoError> {
        let args = ["record", collection, "--from", "-"];
        let mut child = self.program.spawn(&args, Stdio::null())?;
        let mut stdin = child.stdin.take().expect("its input was asked for as a pipe");
        let stdout = child.stdout.take().expect("its output was asked for as a pipe");
        let mut lines = BufReader::new(stdout).lines();
        let feed = async move {
            for fields in all {
                // The command ends when its daemon does; then nobody reads any more.
                if stdin.write_all(format!("{fields}\n").as_bytes()).await.is_err() {
                    break;
                }
            }
        };
        let mut ids = Vec::new();
        let read = async {
            while let Some(line) =
                lines.next_line().await.map_err(system(format!("read from {}", self.name)))?
            {
                // The last line may be an account of the failure.
                if let Ok(id) = self.id(&args, &line) {
                    ids.push(id);
                }
                if ids.len() == count
                    && let Some(daemon) = self.daemon.take()
                {
                    daemon.kill().await;
                }
            }
            child.wait().await.map_err(system(format!("wait for {}", self.name)))
        };
        let both = async { tokio::join!(feed, read).1 };
        let status = timeout(STEP_TIME_MAX, both).await.map_err(|_| DemoError::TimedOut {
            what: format!("the end of what {} recorded", self.name),
            limit: STEP_TIME_MAX,
        })??;
        hold(
            !status.success() && ids.len() >= count,
            "a command whose device loses power in the middle fails",
            || {
                format!(
                    "`record` of {} printed {} ids and ended with {status}",
                    self.name,
                    ids.len()
                )
            },
        )?;
        Ok(ids)
    }

    fn id(&self, args: &[&str], line: &str) -> Result<String, DemoError> {
        let record: Record =
            serde_json::from_str(line).map_err(|_| self.program.unclear(args, line))?;
        Ok(record.id.to_string())
    }

    /// Changes a field of a record.
    pub(super) async fn edit(&self, id: &str, assignment: &str) -> Result<Record, DemoError> {
        self.program.ask(&["edit", id, assignment]).await
    }

    /// Gets in step with whoever is at an address.
    pub(super) async fn sync_with(&self, address: &str) -> Result<SyncReport, DemoError> {
        self.program.ask(&["sync", "--with", address]).await
    }

    /// Its state.
    pub(super) async fn status(&self) -> Result<StatusReport, DemoError> {
        self.program.ask(&["status"]).await
    }

    /// The other devices, as it sees them.
    pub(super) async fn peers(&self) -> Result<Vec<PeerReport>, DemoError> {
        self.program.list(&["peers"]).await
    }

    /// How many batches it holds that the device `author` sealed.
    pub(super) async fn batches_of(&self, author: &str) -> Result<u64, DemoError> {
        let devices: Vec<DeviceReport> = self.program.list(&["devices"]).await?;
        let found = devices.iter().find(|device| device.name == author);
        Ok(found.map_or(0, |device| device.batches))
    }

    /// Its conflicts.
    pub(super) async fn conflicts(&self) -> Result<Vec<ConflictReport>, DemoError> {
        self.program.list(&["conflicts"]).await
    }

    /// Whether it has a record.
    pub(super) async fn has(&self, id: &str) -> Result<bool, DemoError> {
        match self.program.run(&["show", id], "").await {
            Ok(_) => Ok(true),
            Err(DemoError::Command { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Every record of a collection, in the order of their ids.
    pub(super) async fn export(&self, collection: &str) -> Result<String, DemoError> {
        self.program.run(&["export", collection], "").await
    }

    /// What a check of the whole home finds.
    pub(super) async fn verify(&self) -> Result<VerifyReport, DemoError> {
        self.program.ask(&["verify"]).await
    }
}

/// The ids in an export.
pub(super) fn exported_ids(export: &str) -> impl Iterator<Item = String> {
    let records = export.lines().filter_map(|line| serde_json::from_str::<Json>(line).ok());
    records.filter_map(|record| record["id"].as_str().map(ToOwned::to_owned))
}
