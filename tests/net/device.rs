//! A device: its home, the commands on it and its daemon.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value as Json;

use crate::process::{Outcome, Running, eventually};

/// How long two daemons may take to come into step.
pub(crate) const STEP_TIME_MAX: Duration = Duration::from_secs(60);

/// A device, whether a program runs on it or not.
#[derive(Clone)]
pub(crate) struct Device {
    pub(crate) name: String,
    pub(crate) home: PathBuf,
    command: Arc<dyn Fn() -> Command + Send + Sync>,
}

/// A `fieldmesh run` that is ready.
pub(crate) struct Daemon {
    device: Device,
    running: Running,
    pub(crate) ready: Json,
}

impl Device {
    pub(crate) fn new(
        name: &str,
        home: PathBuf,
        command: impl Fn() -> Command + Send + Sync + 'static,
    ) -> Self {
        Self { name: name.into(), home, command: Arc::new(command) }
    }

    /// The same device on another host or with other surroundings.
    pub(crate) fn with(&self, change: impl Fn(Command) -> Command + Send + Sync + 'static) -> Self {
        let command = Arc::clone(&self.command);
        Self { command: Arc::new(move || change(command())), ..self.clone() }
    }

    /// The same device with its home in another folder.
    pub(crate) fn at_home(&self, home: impl AsRef<Path>) -> Self {
        Self { home: home.as_ref().to_owned(), ..self.clone() }
    }

    /// Starts a command.
    pub(crate) fn start(&self, arguments: &[&str]) -> Running {
        self.start_with(arguments, None)
    }

    /// Starts a command that reads `input`.
    pub(crate) fn start_with(&self, arguments: &[&str], input: Option<String>) -> Running {
        let mut command = (self.command)();
        command.arg("--home").arg(&self.home).args(arguments);
        Running::start(command, input)
    }

    /// Runs a command to its end, however it ends.
    pub(crate) fn run(&self, arguments: &[&str]) -> Outcome {
        self.start(arguments).finish()
    }

    /// Runs a command that has to end well.
    #[track_caller]
    pub(crate) fn ok(&self, arguments: &[&str]) -> Outcome {
        self.run(arguments).ok()
    }

    /// Runs a command with `--json`; gives the last line of what it printed.
    #[track_caller]
    pub(crate) fn json(&self, arguments: &[&str]) -> Json {
        self.ok(&[&["--json"], arguments].concat()).json()
    }

    /// Founds a tenant.
    pub(crate) fn found(&self, tenant: &str) {
        let email = format!("{}@example.org", self.name);
        self.ok(&["tenant", "create", tenant, "--user", &email, "--device", &self.name]);
    }

    /// An invitation that the running daemon serves.
    pub(crate) fn invite(&self, role: &str) -> String {
        let report = self.json(&["invite", "--role", role]);
        report["invitation"].as_str().unwrap().to_owned()
    }

    /// Joins with an invitation.
    #[track_caller]
    pub(crate) fn join(&self, invitation: &str) {
        self.ok(&["join", invitation, "--device", &self.name]);
    }

    /// Records something; gives its id.
    #[track_caller]
    pub(crate) fn record(&self, collection: &str, values: &[&str]) -> String {
        self.ok(&[&["record", collection], values].concat()).stdout.trim().to_owned()
    }

    /// Records a well that entries can be about.
    #[track_caller]
    pub(crate) fn well(&self, name: &str) -> String {
        let name = format!("name={name}");
        self.record("well", &[&name, "apiNumber=42-227-30001", "status=ACTIVE"])
    }

    /// Records a production entry of one well and minute.
    #[track_caller]
    pub(crate) fn entry(&self, well: &str, minute: usize, oil: usize) -> String {
        let (well, oil) = (format!("wellId={well}"), format!("oilVolume={oil}"));
        let at = minute_of_march(minute);
        self.record("field_entry", &[&well, "entryType=PRODUCTION", &oil, "--at", &at])
    }

    /// A collection as it is exported.
    pub(crate) fn export(&self, collection: &str) -> String {
        self.ok(&["export", collection]).stdout
    }

    /// Ids of everything in a collection, in order.
    pub(crate) fn ids(&self, collection: &str) -> Vec<String> {
        let export = self.ok(&["export", collection]);
        export.lines().iter().map(|line| line["id"].as_str().unwrap().to_owned()).collect()
    }

    /// Starts the daemon on a port of its own, without looking around.
    pub(crate) fn daemon(&self) -> Daemon {
        self.daemon_with(&["--listen", "127.0.0.1:0", "--no-mdns"])
    }

    /// Starts the daemon and waits until it is ready.
    pub(crate) fn daemon_with(&self, arguments: &[&str]) -> Daemon {
        let mut running = self.start(&[&["--json", "run"], arguments].concat());
        let ready = serde_json::from_str(&running.line()).unwrap();
        Daemon { device: self.clone(), running, ready }
    }

    /// Comes into step with one address.
    #[track_caller]
    pub(crate) fn sync(&self, address: &str) -> Json {
        let report = self.json(&["sync", "--no-mdns", "--timeout", "60", "--with", address]);
        assert_eq!(report["result"], "ok", "{report}");
        report
    }

    /// Comes into step with a device on which nothing runs.
    #[track_caller]
    pub(crate) fn meet(&self, other: &Self) {
        let daemon = other.daemon();
        self.sync(&daemon.address());
        daemon.stop();
    }

    /// Checks the whole home.
    #[track_caller]
    pub(crate) fn verify(&self) {
        let report = self.json(&["verify"]);
        assert_eq!(report["clean"], true, "{}: {report:#}", self.name);
    }
}

impl Daemon {
    /// Where it listens.
    pub(crate) fn address(&self) -> String {
        self.ready["addresses"][0].as_str().unwrap().to_owned()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.running.pid()
    }

    pub(crate) fn is_alive(&mut self) -> bool {
        self.running.is_alive()
    }

    /// Ends it in order.
    #[track_caller]
    pub(crate) fn stop(self) -> Outcome {
        self.device.ok(&["stop"]);
        self.running.finish().ok()
    }

    /// Ends it with SIGKILL.
    pub(crate) fn kill(self) -> Outcome {
        self.running.kill()
    }
}

/// The RFC 3339 time of a minute, counted from the beginning of March 2026.
pub(crate) fn minute_of_march(minute: usize) -> String {
    let (day, hour, minute) = (1 + minute / 1_440, minute / 60 % 24, minute % 60);
    format!("2026-03-{day:02}T{hour:02}:{minute:02}:00Z")
}

/// Fails the test unless all of them hold and show the same, and are sound.
#[track_caller]
pub(crate) fn assert_in_step(devices: &[&Device]) {
    let first = devices[0];
    for other in &devices[1..] {
        for collection in ["well", "field_entry"] {
            let (ours, theirs) = (first.export(collection), other.export(collection));
            assert!(ours == theirs, "{collection} of {} and {} differ", first.name, other.name);
        }
        let conflicts = |device: &Device| device.ok(&["--json", "conflicts", "--closed"]).stdout;
        assert_eq!(conflicts(first), conflicts(other));
        assert_eq!(root(first), root(other), "{} and {}", first.name, other.name);
    }
    for device in devices {
        device.verify();
    }
}

/// Waits until the devices, whose daemons run, are in step with nothing left to seal.
#[track_caller]
pub(crate) fn until_in_step(devices: &[&Device]) {
    let what = "the daemons are in step";
    eventually(what, STEP_TIME_MAX, || {
        let all: Vec<Json> = devices.iter().map(|device| device.json(&["status"])).collect();
        let same = all.iter().all(|one| one["unsealed"] == 0 && one["root"] == all[0]["root"]);
        same.then_some(())
    });
}

/// The root of the set of batches; equal on devices that are in step.
pub(crate) fn root(device: &Device) -> String {
    device.json(&["status"])["root"].as_str().unwrap().to_owned()
}
