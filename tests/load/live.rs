//! An app that listens: it hears of every entry, once it has begun.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::marks::{Mark, Seen};
use crate::process::eventually;

/// How long the last news may be on its way.
const NEWS_TIME_MAX: Duration = Duration::from_secs(60);

/// A live stream of field entries.
pub(crate) struct Listener {
    heard: Arc<Mutex<Seen>>,
}

impl Listener {
    /// Begins to listen; what happens from here on is heard.
    pub(crate) fn begin(address: &str, token: &str) -> Result<Self, String> {
        let opened = || -> std::io::Result<(BufReader<TcpStream>, String)> {
            let mut stream = TcpStream::connect(address)?;
            write!(
                stream,
                "GET /sync/live HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\r\n"
            )?;
            let mut stream = BufReader::new(stream);
            let (mut head, mut line) = (String::new(), String::new());
            while stream.read_line(&mut line)? > 2 {
                head.push_str(&std::mem::take(&mut line));
            }
            Ok((stream, head))
        };
        let (mut stream, head) = opened().map_err(|error| error.to_string())?;
        if !head.starts_with("HTTP/1.1 200") {
            return Err(head);
        }
        let heard = Arc::new(Mutex::new(Seen::default()));
        let hearing = Arc::clone(&heard);
        // It ends with the relay.
        std::thread::spawn(move || {
            let mut line = String::new();
            while stream.read_line(&mut line).is_ok_and(|length| length > 0) {
                hearing.lock().unwrap().add(&line);
                line.clear();
            }
            let _ = stream.read_to_end(&mut Vec::new());
        });
        Ok(Self { heard })
    }

    /// Fails the test unless all of these are heard.
    pub(crate) fn must_hear(&self, entries: &[Mark]) {
        eventually("an app that listens hears of every entry", NEWS_TIME_MAX, || {
            let heard = self.heard.lock().unwrap();
            entries.iter().all(|entry| heard.holds(*entry)).then_some(())
        });
    }
}
