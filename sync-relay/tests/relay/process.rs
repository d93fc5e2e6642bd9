//! The program as a process.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use serde_json::Value as Json;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

/// How long anything may take before a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// What a command left behind.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    fn of(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// The lines of JSON that a command which must succeed printed.
    pub(crate) fn json(self) -> Vec<Json> {
        assert_eq!(self.code, Some(0), "{}{}", self.stdout, self.stderr);
        self.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// The program on a data folder, without the environment of whoever runs the tests.
pub(crate) fn program(data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sync-relay"));
    for name in ["CONFIG", "DATA", "QUIC", "TCP", "HTTP", "PUBLIC_ADDRESSES", "LOG", "LOG_FORMAT"] {
        command.env_remove(format!("SYNC_RELAY_{name}"));
    }
    command.arg("--data").arg(data).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs a command to its end.
pub(crate) async fn command(data: &Path, arguments: &[&str]) -> Ended {
    let running = program(data).args(arguments).output();
    Ended::of(timeout(PATIENCE, running).await.unwrap().unwrap())
}

/// Runs a command to its end, with something to read.
pub(crate) async fn command_with_input(data: &Path, arguments: &[&str], input: &str) -> Ended {
    let mut child = program(data).args(arguments).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).await.unwrap();
    Ended::of(timeout(PATIENCE, child.wait_with_output()).await.unwrap().unwrap())
}

/// A command that prints a line of JSON and goes on.
pub(crate) struct Running {
    child: Child,
    stdout: Lines<BufReader<ChildStdout>>,
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, stdout }
    }

    /// The next line that it prints; where there is none, the test fails with what it said.
    pub(crate) async fn line(&mut self) -> Json {
        match timeout(PATIENCE, self.stdout.next_line()).await.unwrap().unwrap() {
            Some(line) => serde_json::from_str(&line).unwrap(),
            None => panic!("it ended: {}", self.rest_of_errors().await),
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id().unwrap()
    }

    pub(crate) async fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        let sent = Command::new("kill").args([name, &pid]).status().await.unwrap();
        assert!(sent.success());
    }

    /// Waits for the end; gives the exit code and what was logged.
    pub(crate) async fn end(mut self) -> (Option<i32>, String) {
        let errors = timeout(PATIENCE, self.rest_of_errors()).await.unwrap();
        let status = timeout(PATIENCE, self.child.wait()).await.unwrap().unwrap();
        (status.code(), errors)
    }

    async fn rest_of_errors(&mut self) -> String {
        let mut errors = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut errors).await.unwrap();
        errors
    }
}

/// A relay that serves.
pub(crate) struct Relay {
    running: Running,
    pub(crate) data: PathBuf,
    pub(crate) ready: Json,
}

impl Relay {
    /// Starts the relay of a data folder.
    pub(crate) async fn start(data: &Path) -> Self {
        Self::start_with(data, &[]).await
    }

    /// Starts it with further flags.
    pub(crate) async fn start_with(data: &Path, flags: &[&str]) -> Self {
        let at = [&["--quic", "127.0.0.1:0", "--http", "127.0.0.1:0"], flags].concat();
        Self::start_at(data, &at).await
    }

    /// Starts it with all flags as they are given.
    pub(crate) async fn start_at(data: &Path, flags: &[&str]) -> Self {
        let mut command = program(data);
        command.args(["--json", "run"]).args(flags);
        let mut running = Running::start(command);
        let ready = running.line().await;
        assert_eq!(ready["ready"], true, "{ready}");
        Self { running, data: data.into(), ready }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.running.pid()
    }

    /// Where devices reach it.
    pub(crate) fn address(&self) -> String {
        self.ready["quic"].as_str().unwrap().into()
    }

    /// Runs a command on the data folder; gives the lines of JSON that it printed.
    pub(crate) async fn ask(&self, arguments: &[&str]) -> Vec<Json> {
        let arguments: Vec<&str> = ["--json"].iter().chain(arguments).copied().collect();
        command(&self.data, &arguments).await.json()
    }

    /// An invitation into a tenant.
    pub(crate) async fn invite(&self, tenant: &str, role: &str) -> String {
        let lines = self.ask(&["invite", "--tenant", tenant, "--role", role]).await;
        lines[0]["invitation"].as_str().unwrap().into()
    }

    /// The status and body that its HTTP port answers.
    pub(crate) async fn get(&self, path: &str) -> (u16, String) {
        self.get_at("http", path).await
    }

    /// The status and body that one of its ports answers.
    pub(crate) async fn get_at(&self, port: &str, path: &str) -> (u16, String) {
        let address = self.ready[port].as_str().unwrap();
        self.get_as(port, path, address).await
    }

    /// The same, asked by a name.
    pub(crate) async fn get_as(&self, port: &str, path: &str, host: &str) -> (u16, String) {
        let answer = self.answer(port, path, host).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.into())
    }

    /// Waits until it says on each port that it stops; who connected just before may be answered nothing.
    pub(crate) async fn stopping(&self) {
        let told = async {
            let ports = ["http", "operations"].into_iter();
            for port in ports.filter(|port| self.ready[*port].is_string()) {
                while !self.answer(port, "/readyz", "x").await.starts_with("HTTP/1.1 503") {}
            }
        };
        timeout(PATIENCE, told).await.unwrap();
    }

    async fn answer(&self, port: &str, path: &str, host: &str) -> String {
        let address: SocketAddr = self.ready[port].as_str().unwrap().parse().unwrap();
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        let mut answer = String::new();
        // Where it is closed meanwhile there is no answer.
        let _ = stream.write_all(request.as_bytes()).await;
        let _ = stream.read_to_string(&mut answer).await;
        answer
    }

    /// What it measures under a name, of one tenant, once it does: while the tenant is opened for
    /// the first time nothing is known of it.
    pub(crate) async fn measure(&self, name: &str, tenant: &str) -> u64 {
        let wanted = format!("sync_relay_{name}{{tenant=\"{tenant}\"}} ");
        let told = async {
            loop {
                let (_, text) = self.get("/metrics").await;
                let value = text.lines().find_map(|line| line.strip_prefix(&wanted));
                if let Some(value) = value {
                    return value.parse().unwrap();
                }
            }
        };
        let told = timeout(PATIENCE, told).await;
        told.unwrap_or_else(|_| panic!("{wanted} is not measured"))
    }

    /// Waits until a measure of a tenant has changed as wanted.
    pub(crate) async fn measured(&self, name: &str, tenant: &str, wanted: impl Fn(u64) -> bool) {
        let changed = async { while !wanted(self.measure(name, tenant).await) {} };
        timeout(PATIENCE, changed).await.unwrap();
    }

    /// Asks it to stop as a service manager does; it must end well. Gives what it logged.
    pub(crate) async fn stop(self) -> String {
        self.running.signal("-TERM").await;
        self.stopped().await
    }

    /// Ends it as a power cut does.
    pub(crate) async fn kill(self) {
        self.running.signal("-KILL").await;
        self.running.end().await;
    }

    /// Asks it to read certificates again.
    pub(crate) async fn hang_up(&self) {
        self.running.signal("-HUP").await;
    }

    /// Asks it to stop and does not wait.
    pub(crate) async fn terminate(&self) {
        self.running.signal("-TERM").await;
    }

    /// Waits until it has ended, in whatever way.
    pub(crate) async fn ended(self) -> (Option<i32>, String) {
        self.running.end().await
    }

    /// Waits until it has ended well; gives what it logged.
    pub(crate) async fn stopped(self) -> String {
        let (code, log) = self.running.end().await;
        assert_eq!(code, Some(0), "{log}");
        log
    }
}
