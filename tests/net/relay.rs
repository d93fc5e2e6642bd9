//! A relay: its data folder, the commands on it and its running program.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value as Json;

use crate::device::Device;
use crate::process::{Outcome, Running};

/// A relay, whether its program runs or not.
#[derive(Clone)]
pub(crate) struct Relay {
    pub(crate) data: PathBuf,
    command: Arc<dyn Fn() -> Command + Send + Sync>,
}

/// A `sync-relay run` that is ready.
pub(crate) struct RunningRelay {
    running: Running,
    ready: Json,
}

impl Relay {
    pub(crate) fn new(
        data: PathBuf,
        command: impl Fn() -> Command + Send + Sync + 'static,
    ) -> Self {
        Self { data, command: Arc::new(command) }
    }

    /// The same relay on another host.
    pub(crate) fn with(&self, change: impl Fn(Command) -> Command + Send + Sync + 'static) -> Self {
        let command = Arc::clone(&self.command);
        Self { command: Arc::new(move || change(command())), ..self.clone() }
    }

    /// Runs a command to its end, however it ends.
    pub(crate) fn run(&self, arguments: &[&str]) -> Outcome {
        self.start_command(arguments, None).finish()
    }

    /// Runs a command that reads `input`.
    pub(crate) fn run_with(&self, arguments: &[&str], input: &str) -> Outcome {
        self.start_command(arguments, Some(input.to_owned())).finish()
    }

    fn start_command(&self, arguments: &[&str], input: Option<String>) -> Running {
        let mut command = (self.command)();
        command.arg("--data").arg(&self.data).args(arguments);
        Running::start(command, input)
    }

    /// Starts it and waits until it is ready.
    pub(crate) fn start(&self) -> RunningRelay {
        self.start_at("127.0.0.1:0")
    }

    /// Starts it on a host and waits until it is ready; where it does not become so, how it ended.
    pub(crate) fn try_start(&self, host: &str) -> Result<RunningRelay, Outcome> {
        let any_port = format!("{host}:0");
        let arguments = ["--json", "run", "--http", &any_port, "--quic", &any_port];
        let mut running = self.start_command(&arguments, None);
        let line = running.try_line();
        match line.and_then(|line| serde_json::from_str::<Json>(&line).ok()) {
            Some(ready) if ready["ready"] == true => Ok(RunningRelay { running, ready }),
            _ => Err(running.finish()),
        }
    }

    /// Starts it on an address of devices.
    pub(crate) fn start_at(&self, address: &str) -> RunningRelay {
        self.start_with(address, &[])
    }

    /// The same with more to be said.
    pub(crate) fn start_with(&self, address: &str, more: &[&str]) -> RunningRelay {
        let arguments = ["--json", "run", "--http", "127.0.0.1:0", "--quic", address];
        let mut running = self.start_command(&[&arguments, more].concat(), None);
        let ready = serde_json::from_str(&running.line()).unwrap();
        RunningRelay { running, ready }
    }

    /// The same relay with another data folder.
    pub(crate) fn at_data(&self, data: PathBuf) -> Self {
        Self { data, ..self.clone() }
    }

    /// Makes it a member of a tenant.
    #[track_caller]
    pub(crate) fn join(&self, invitation: &str) {
        self.run(&["tenant", "join", invitation, "--device", "relay"]).ok();
    }

    /// Makes it a member of the tenant of `lead`, starts it and gives its address.
    #[track_caller]
    pub(crate) fn of(&self, lead: &Device) -> (RunningRelay, String) {
        let daemon = lead.daemon();
        self.join(&lead.invite("relay"));
        daemon.stop();
        let running = self.start();
        let address = running.address();
        (running, address)
    }
}

impl RunningRelay {
    /// Where devices reach it.
    pub(crate) fn address(&self) -> String {
        self.ready["quic"].as_str().unwrap().to_owned()
    }

    /// What it said when it was ready.
    pub(crate) const fn ready(&self) -> &Json {
        &self.ready
    }

    /// Where `/healthz` and `/metrics` are.
    pub(crate) fn http(&self) -> String {
        self.ready["http"].as_str().unwrap().to_owned()
    }

    /// Ends it in order, as an init system does.
    #[track_caller]
    pub(crate) fn stop(self) -> Outcome {
        self.end().ok()
    }

    /// Tells it to end, and waits however it does.
    pub(crate) fn end(self) -> Outcome {
        let pid = Pid::from_raw(i32::try_from(self.running.pid()).unwrap()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        self.running.finish()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.running.pid()
    }

    /// Whether it runs still.
    pub(crate) fn is_alive(&mut self) -> bool {
        self.running.is_alive()
    }

    /// Ends it with SIGKILL.
    pub(crate) fn kill(self) -> Outcome {
        self.running.kill()
    }
}
