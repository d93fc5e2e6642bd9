//! Signals that ask the program to end, or to read again what it was given.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signal by which a service manager asks a program to read again what it was given.
#[derive(Debug)]
pub struct Hangups(Signal);

impl Hangups {
    /// Takes the signal over from the system, which would end the program.
    ///
    /// # Errors
    ///
    /// The system does not hand it over.
    pub fn take() -> io::Result<Self> {
        Ok(Self(signal(SignalKind::hangup())?))
    }

    /// Waits for the next one.
    pub async fn next(&mut self) {
        self.0.recv().await;
    }
}

/// Ctrl-C and the signal of service managers.
#[derive(Debug)]
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Takes the signals over from the system, which would end the program at once.
    ///
    /// # Errors
    ///
    /// The system does not hand them over.
    pub fn take() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for the next one.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
