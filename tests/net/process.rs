//! One program while it runs, and what it left when it has ended.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value as Json;

/// How long a command may take; far more than any takes on a machine that is busy with other tests.
const COMMAND_TIME_MAX: Duration = Duration::from_secs(120);
/// How often a state is looked at that has to change.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Where the program `name` was built, beside this test.
pub(crate) fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().and_then(|deps| deps.parent()).unwrap();
    let path = profile.join(name);
    assert!(
        path.is_file(),
        "{} is missing; build it with `cargo build -p fieldmesh-cli -p sync-relay`",
        path.display()
    );
    path
}

/// Says that a test was skipped, past the capturing of what tests print.
pub(crate) fn skipped(reason: &str) {
    // A standard error that is closed hides only this line.
    let _ = writeln!(std::io::stderr(), "SKIPPED: {reason}");
}

/// Asks until `look` gives something.
#[track_caller]
pub(crate) fn eventually<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "not so within {limit:?}: {what}");
        std::thread::sleep(LOOK_EVERY);
    }
}

/// A program that runs; dropping it kills it.
pub(crate) struct Running {
    title: String,
    child: Child,
    lines: Receiver<String>,
    stderr: Option<JoinHandle<String>>,
}

/// What a program left.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) title: String,
    /// Absent where a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Running {
    /// Starts a program that reads `input`.
    pub(crate) fn start(mut command: Command, input: Option<String>) -> Self {
        let arguments: Vec<_> = command.get_args().map(|a| a.to_string_lossy()).collect();
        let title = arguments.join(" ");
        let stdin = if input.is_some() { Stdio::piped() } else { Stdio::null() };
        command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (sender, lines) = channel();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            let mut line = Vec::new();
            while stdout.read_until(b'\n', &mut line).is_ok_and(|size| size > 0) {
                if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                    return;
                }
                line.clear();
            }
        });
        let mut stderr = child.stderr.take().unwrap();
        let stderr = std::thread::spawn(move || {
            let mut text = Vec::new();
            // What a killed program said up to its end is enough.
            let _ = stderr.read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        });
        if let (Some(input), Some(mut stdin)) = (input, child.stdin.take()) {
            // A program that is killed, or refuses, reads only a part.
            std::thread::spawn(move || stdin.write_all(input.as_bytes()));
        }
        Self { title, child, lines, stderr: Some(stderr) }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it runs still.
    pub(crate) fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// The next line of its output; fails the test where it ends without one.
    pub(crate) fn line(&mut self) -> String {
        match self.lines.recv_timeout(COMMAND_TIME_MAX) {
            Ok(line) => line,
            Err(error) => {
                let _ = self.child.kill();
                let stderr = self.stderr.take().map(|thread| thread.join().unwrap());
                panic!("`{}` printed no line ({error}): {stderr:?}", self.title)
            }
        }
    }

    /// The next line of its output; nothing where it ends without one.
    pub(crate) fn try_line(&mut self) -> Option<String> {
        self.lines.recv_timeout(COMMAND_TIME_MAX).ok()
    }

    /// Waits for its end.
    pub(crate) fn finish(mut self) -> Outcome {
        let deadline = Instant::now() + COMMAND_TIME_MAX;
        let mut stdout = String::new();
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => stdout.push_str(&line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    let _ = self.child.kill();
                    panic!("`{}` took more than {COMMAND_TIME_MAX:?}: {stdout}", self.title);
                }
            }
        }
        let ended = self.ended(deadline);
        self.outcome(ended, stdout)
    }

    /// Closes its output and waits for its end.
    pub(crate) fn stop_reading(mut self) -> Outcome {
        // The thread that reads ends with the next line that nobody takes.
        let (_, nobody) = channel();
        drop(std::mem::replace(&mut self.lines, nobody));
        let ended = self.ended(Instant::now() + COMMAND_TIME_MAX);
        self.outcome(ended, String::new())
    }

    /// Kills it with SIGKILL; gives what it had printed.
    pub(crate) fn kill(mut self) -> Outcome {
        self.child.kill().unwrap();
        let ended = self.child.wait().unwrap();
        let stdout = self.lines.iter().collect();
        self.outcome(ended, stdout)
    }

    fn ended(&mut self, deadline: Instant) -> ExitStatus {
        let limit = deadline.saturating_duration_since(Instant::now());
        let title = format!("`{}` ends", self.title);
        eventually(&title, limit, || self.child.try_wait().unwrap())
    }

    fn outcome(&mut self, ended: ExitStatus, stdout: String) -> Outcome {
        let stderr = self.stderr.take().map(|thread| thread.join().unwrap()).unwrap_or_default();
        Outcome { title: self.title.clone(), code: ended.code(), stdout, stderr }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already, or is to end now.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Outcome {
    /// Fails the test unless the program ended well.
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        self.code(0)
    }

    /// Fails the test unless the program ended with this exit code.
    #[track_caller]
    pub(crate) fn code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }

    /// Fails the test unless people are told all of these words.
    #[track_caller]
    pub(crate) fn says(self, words: &[&str]) -> Self {
        let told = format!("{}{}", self.stdout, self.stderr).to_lowercase();
        for word in words {
            assert!(told.contains(&word.to_lowercase()), "{word:?} is not said: {self:#?}");
        }
        self
    }

    /// Every whole line of the output as JSON.
    #[track_caller]
    pub(crate) fn lines(&self) -> Vec<Json> {
        let whole = self.stdout.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        whole.map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect()
    }

    /// The last line of the output as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Json {
        self.lines().pop().unwrap_or_else(|| panic!("nothing printed: {self:#?}"))
    }

    /// Every whole line of the output: of a killed program, what others can have read.
    pub(crate) fn words(&self) -> Vec<String> {
        let whole = self.stdout.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        whole.map(|line| line.trim().to_owned()).collect()
    }
}
