//! Whether the program behind a socket still answers.
//!
//! The kernel takes connections for a program that was stopped or hangs, so a request to it would
//! wait for ever, while an honest answer may take long too: a check of a large store does. Both are
//! told apart by a second, small request beside the first.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::{sleep, timeout};

/// How long a program may take for the smallest of answers; a machine under load takes a second.
pub const SILENCE_MAX: Duration = Duration::from_secs(10);
/// How often it is asked while a longer answer is waited for.
const ASK_EVERY: Duration = Duration::from_secs(2);
/// What every server answers, be it with a refusal.
const QUESTION: &[u8] = b"GET /v1/alive HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// A program that took a connection and does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Silence {
    /// Its process, where the system tells.
    pub pid: Option<i32>,
}

impl Silence {
    /// What to do about it; `program` is what holds this `place`.
    pub fn advice(&self, program: &str, place: &str) -> String {
        let (who, wake) = match self.pid {
            Some(pid) => (format!(" (process {pid})"), format!("`kill -CONT {pid}` wakes it")),
            None => (String::new(), "wake it".into()),
        };
        format!(
            "the {program}{who} that holds this {place} has not answered for {} s: it is stopped \
             or hangs. If it is stopped, {wake}; else end it and start it again. What was asked it \
             may still do",
            SILENCE_MAX.as_secs()
        )
    }
}

/// Comes back once the program behind `socket` has not answered for [`SILENCE_MAX`].
///
/// Where nobody takes connections any more it never does: whoever waits for an answer learns of
/// that by itself.
pub async fn silence(socket: &Path) -> Silence {
    silence_of(socket, ASK_EVERY, SILENCE_MAX).await
}

async fn silence_of(socket: &Path, ask_every: Duration, silence_max: Duration) -> Silence {
    loop {
        sleep(ask_every).await;
        let Ok(stream) = UnixStream::connect(socket).await else {
            return std::future::pending().await;
        };
        let pid = stream.peer_cred().ok().and_then(|credentials| credentials.pid());
        if timeout(silence_max, ask(stream)).await.is_err() {
            return Silence { pid };
        }
    }
}

/// Waits for the first byte of an answer, or for the end of the connection.
async fn ask(mut stream: UnixStream) -> io::Result<()> {
    stream.write_all(QUESTION).await?;
    stream.read(&mut [0; 1]).await.map(drop)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use tokio::net::UnixListener;

    use super::*;

    const SOON: Duration = Duration::from_millis(5);

    fn listen(name: &str) -> (PathBuf, UnixListener) {
        let name = format!("fms-{name}-{}.sock", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).unwrap();
        (path, listener)
    }

    #[tokio::test]
    async fn a_program_that_was_stopped_is_found_out_and_named() {
        // It listens, which the kernel does for it, and never accepts.
        let (path, _listener) = listen("stopped");
        let silence = silence_of(&path, SOON, SOON).await;
        assert_eq!(silence.pid, i32::try_from(std::process::id()).ok());
        std::fs::remove_file(path).unwrap();
    }

    #[tokio::test]
    async fn a_program_that_is_busy_with_a_long_answer_is_left_alone() {
        let (path, listener) = listen("busy");
        let answering = async {
            for _ in 0..3 {
                let (mut stream, _) = listener.accept().await.unwrap();
                stream.write_all(b"HTTP/1.1 404 Not Found\r\n\r\n").await.unwrap();
            }
        };
        tokio::select! {
            () = answering => {}
            silence = silence_of(&path, SOON, SILENCE_MAX) => panic!("{silence:?}"),
        }
        std::fs::remove_file(path).unwrap();
    }
}
