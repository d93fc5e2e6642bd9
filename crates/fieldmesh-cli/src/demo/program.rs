//! The two programs, run as a user runs them: commands to their end, daemons until stopped.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde::de::DeserializeOwned;
use serde_json::Value as Json;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

use super::error::{DemoError, system};
use super::patience::STEP_TIME_MAX;

/// What opens the homes of the demo; nothing in them is worth a secret.
pub(super) const PASSPHRASE: &str = "demo";
/// How much of a log or of a message is repeated in an error.
const SAID_MAX: usize = 2_000;
/// How long a killed process may take to be gone.
const REAP_TIME_MAX: Duration = Duration::from_secs(5);

/// Where the programs are, and how often one was started.
pub(super) struct Programs {
    fieldmesh: PathBuf,
    relay: PathBuf,
    sockets: PathBuf,
    started: Arc<AtomicU32>,
}

impl Programs {
    /// This program, and the relay's beside it; their sockets lie in `folder`.
    pub(super) fn find(folder: &Path) -> Result<Self, DemoError> {
        let fieldmesh = std::env::current_exe().map_err(system("find this program's own file"))?;
        let relay = fieldmesh.with_file_name(format!("sync-relay{}", std::env::consts::EXE_SUFFIX));
        if !relay.is_file() {
            return Err(DemoError::NoRelay { path: relay });
        }
        Ok(Self { fieldmesh, relay, sockets: folder.into(), started: Arc::default() })
    }

    /// How many processes were started.
    pub(super) fn started(&self) -> u32 {
        self.started.load(Ordering::Relaxed)
    }

    /// This program's own file.
    pub(super) fn path(&self) -> &Path {
        &self.fieldmesh
    }

    /// `fieldmesh` for the device `who`.
    pub(super) fn device(&self, who: &'static str, home: &Path) -> Program {
        self.program(who, self.fieldmesh.clone(), "--home", home)
    }

    /// `sync-relay` on the folder `data`.
    pub(super) fn relay(&self, data: &Path) -> Program {
        self.program("the relay", self.relay.clone(), "--data", data)
    }

    fn program(&self, who: &'static str, path: PathBuf, option: &str, folder: &Path) -> Program {
        let log = folder.with_extension("log");
        let global = vec!["--json".into(), option.into(), folder.into()];
        let (sockets, started) = (self.sockets.clone(), Arc::clone(&self.started));
        Program { who, path, global, log, sockets, started }
    }
}

/// A program with the options that it always gets here.
pub(super) struct Program {
    who: &'static str,
    path: PathBuf,
    global: Vec<OsString>,
    log: PathBuf,
    sockets: PathBuf,
    started: Arc<AtomicU32>,
}

impl Program {
    /// Runs a command to its end and gives what it printed.
    ///
    /// # Errors
    ///
    /// It cannot be started, takes too long, or ends with another exit code than 0.
    pub(super) async fn run(&self, args: &[&str], input: &str) -> Result<String, DemoError> {
        let mut child = self.spawn(args, Stdio::piped())?;
        if let Some(mut stdin) = child.stdin.take() {
            // A command that does not read its input to the end says by itself why.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
        let output = match timeout(STEP_TIME_MAX, child.wait_with_output()).await {
            Ok(output) => output.map_err(system(format!("wait for {}", self.who)))?,
            Err(_) => return Err(self.too_slow(args)),
        };
        if !output.status.success() {
            return Err(self.ended(args, output.status, &String::from_utf8_lossy(&output.stderr)));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs a command and gives the last value that it printed.
    pub(super) async fn ask<T: DeserializeOwned>(&self, args: &[&str]) -> Result<T, DemoError> {
        let answer = self.run(args, "").await?;
        let last = answer.lines().last().unwrap_or_default();
        serde_json::from_str(last).map_err(|_| self.unclear(args, last))
    }

    /// Runs a command and gives every value that it printed.
    pub(super) async fn list<T: DeserializeOwned>(
        &self,
        args: &[&str],
    ) -> Result<Vec<T>, DemoError> {
        let answer = self.run(args, "").await?;
        let read = |line| serde_json::from_str(line).map_err(|_| self.unclear(args, line));
        answer.lines().map(read).collect()
    }

    /// Starts a command whose input and output the caller serves.
    pub(super) fn spawn(&self, args: &[&str], errors: Stdio) -> Result<Child, DemoError> {
        let mut command = Command::new(&self.path);
        for (name, _) in std::env::vars_os() {
            // What the user has set for his own home and relay does not hold for these.
            let text = name.to_string_lossy();
            if text.starts_with("FIELDMESH_") || text.starts_with("SYNC_RELAY_") {
                command.env_remove(&name);
            }
        }
        command
            .args(&self.global)
            .args(args)
            .env("FIELDMESH_PASSPHRASE", PASSPHRASE)
            .env("XDG_RUNTIME_DIR", &self.sockets)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors)
            .kill_on_drop(true);
        self.started.fetch_add(1, Ordering::Relaxed);
        command.spawn().map_err(system(format!("start {}", self.path.display())))
    }

    /// Starts a command that runs until it is stopped, and waits until it says that it is ready.
    pub(super) async fn start(&self, args: &[&str]) -> Result<Daemon, DemoError> {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)
            .map_err(system(format!("write {}", self.log.display())))?;
        let mut child = self.spawn(args, log.into())?;
        drop(child.stdin.take());
        let stdout = child.stdout.take().expect("its output was asked for as a pipe");
        let mut lines = BufReader::new(stdout).lines();
        let line = match timeout(STEP_TIME_MAX, lines.next_line()).await {
            Ok(line) => line.map_err(system(format!("read from {}", self.who)))?,
            Err(_) => return Err(self.too_slow(args)),
        };
        let Some(line) = line else {
            let status = child.wait().await.map_err(system(format!("wait for {}", self.who)))?;
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            return Err(self.ended(args, status, &log));
        };
        let ready: Json = serde_json::from_str(&line).map_err(|_| self.unclear(args, &line))?;
        Ok(Daemon { who: self.who, child, ready, _lines: lines })
    }

    /// The error of an answer that is not understood.
    pub(super) fn unclear(&self, args: &[&str], answer: &str) -> DemoError {
        let answer = tail(answer).to_owned();
        DemoError::Answer { who: self.who, command: args.join(" "), answer }
    }

    fn too_slow(&self, args: &[&str]) -> DemoError {
        let what = format!("`{}` of {}", args.join(" "), self.who);
        DemoError::TimedOut { what, limit: STEP_TIME_MAX }
    }

    fn ended(&self, args: &[&str], status: ExitStatus, said: &str) -> DemoError {
        DemoError::Command {
            who: self.who,
            command: args.join(" "),
            ended: status.to_string(),
            said: tail(said).to_owned(),
        }
    }
}

/// The end of a text, which tells most.
fn tail(text: &str) -> &str {
    let text = text.trim();
    let mut start = text.len().saturating_sub(SAID_MAX);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    &text[start..]
}

/// A process that runs until it is stopped; dropping it kills it.
pub(super) struct Daemon {
    who: &'static str,
    child: Child,
    ready: Json,
    // An output that nobody could write to would end it.
    _lines: Lines<BufReader<ChildStdout>>,
}

impl Daemon {
    /// What it said when it was ready.
    pub(super) fn ready(&self) -> &Json {
        &self.ready
    }

    /// Asks it to end by the signal of service managers.
    pub(super) fn terminate(&self) -> Result<(), DemoError> {
        let pid = self.child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        let Some(pid) = pid else { return Ok(()) };
        kill_process(pid, Signal::TERM)
            .map_err(|errno| system(format!("stop {}", self.who))(errno.into()))
    }

    /// Waits for an end that was asked for.
    ///
    /// # Errors
    ///
    /// It does not come, or not in good order.
    pub(super) async fn ended(mut self) -> Result<(), DemoError> {
        let status = match timeout(STEP_TIME_MAX, self.child.wait()).await {
            Ok(status) => status.map_err(system(format!("wait for {}", self.who)))?,
            Err(_) => {
                let what = format!("the end of {}", self.who);
                return Err(DemoError::TimedOut { what, limit: STEP_TIME_MAX });
            }
        };
        super::error::hold(status.success(), "a daemon that is stopped ends in good order", || {
            format!("{} ended with {status}", self.who)
        })
    }

    /// Ends it as a loss of power does (kill -9), and waits until it is gone.
    pub(super) async fn kill(mut self) {
        // A process that is gone already cannot be killed, and need not.
        let _ = timeout(REAP_TIME_MAX, self.child.kill()).await;
    }
}
