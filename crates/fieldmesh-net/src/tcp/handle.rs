//! A connection as those hold it who use it.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use tokio::sync::{Mutex, mpsc, oneshot};

use super::driver::Drivers;
use super::handshake::{Channel, ChannelKeys};
use super::state::State;
use super::stream::{TcpReceiver, TcpSender};
use super::unread::Counted;
use super::{INBOUND_STREAMS_MAX, Purpose};
use crate::closed::{CloseCode, ClosedReason};
use crate::connection::ConnectionStats;
use crate::stream::StreamError;

/// A connection over TCP; it ends when the last handle and the streams are dropped.
#[derive(Debug, Clone)]
pub(crate) struct TcpConnection {
    held: Arc<Held>,
}

/// What handles and streams hold.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) state: Arc<State>,
    remote: SocketAddr,
    certificates: Option<Vec<CertificateDer<'static>>>,
    keys: ChannelKeys,
    openings: mpsc::Sender<Opening>,
    arrivals: Arrivals,
    /// The tasks of all connections of the endpoint, this one's among them.
    _drivers: Arc<Drivers>,
}

/// Who waits for a stream.
pub(super) type Opening = oneshot::Sender<Counted>;

/// Streams that the other side has opened, by purpose.
#[derive(Debug)]
pub(super) struct Arrivals {
    control: Mutex<mpsc::Receiver<Counted>>,
    answers: Mutex<mpsc::Receiver<Counted>>,
    data: Mutex<mpsc::Receiver<Counted>>,
}

/// Where they come from.
#[derive(Debug)]
pub(super) struct Inlets {
    pub(super) control: mpsc::Sender<Counted>,
    pub(super) answers: mpsc::Sender<Counted>,
    pub(super) data: mpsc::Sender<Counted>,
}

/// What the handshake found out, for the handles.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) remote: SocketAddr,
    pub(super) certificates: Option<Vec<CertificateDer<'static>>>,
    pub(super) keys: ChannelKeys,
}

impl Arrivals {
    pub(super) fn new() -> (Inlets, Self) {
        let (control, controls) = mpsc::channel(1);
        let (answers, answered) = mpsc::channel(1);
        let (data, lanes) = mpsc::channel(INBOUND_STREAMS_MAX);
        let inlets = Inlets { control, answers, data };
        let (control, answers, data) =
            (Mutex::new(controls), Mutex::new(answered), Mutex::new(lanes));
        (inlets, Self { control, answers, data })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.state.close(CloseCode::Done, "");
    }
}

impl TcpConnection {
    pub(super) fn new(
        state: Arc<State>,
        found: Found,
        openings: mpsc::Sender<Opening>,
        arrivals: Arrivals,
        drivers: Arc<Drivers>,
    ) -> Self {
        let Found { remote, certificates, keys } = found;
        let _drivers = drivers;
        let held = Held { state, remote, certificates, keys, openings, arrivals, _drivers };
        Self { held: Arc::new(held) }
    }

    /// The certificates that the other side has shown.
    pub(crate) fn certificates(&self) -> Option<&[CertificateDer<'static>]> {
        self.held.certificates.as_deref()
    }

    /// A key that only the two ends know.
    pub(crate) fn key(&self, channel: Channel) -> [u8; 32] {
        self.held.keys.of(channel)
    }

    pub(crate) fn remote_address(&self) -> SocketAddr {
        self.held.remote
    }

    /// Opens the control stream and the one for its answers.
    pub(crate) async fn open_control(&self) -> Result<(TcpSender, TcpReceiver), ClosedReason> {
        let control = self.open(Purpose::Control).await?;
        let answers = self.open(Purpose::Answers).await?;
        Ok((self.sender(control), self.receiver(answers)))
    }

    /// Waits for the two that the other side opens.
    pub(crate) async fn accept_control(&self) -> Result<(TcpSender, TcpReceiver), ClosedReason> {
        let control = self.next(&self.held.arrivals.control).await?;
        let answers = self.next(&self.held.arrivals.answers).await?;
        Ok((self.sender(answers), self.receiver(control)))
    }

    pub(crate) async fn open_data(&self) -> Result<TcpSender, ClosedReason> {
        Ok(self.sender(self.open(Purpose::Data).await?))
    }

    pub(crate) async fn accept_data(&self) -> Result<TcpReceiver, ClosedReason> {
        Ok(self.receiver(self.next(&self.held.arrivals.data).await?))
    }

    pub(crate) fn close(&self, code: CloseCode, text: &str) {
        self.held.state.close(code, text);
    }

    pub(crate) async fn closed(&self) -> ClosedReason {
        self.held.state.ended().await
    }

    pub(crate) fn close_reason(&self) -> Option<ClosedReason> {
        self.held.state.why()
    }

    pub(crate) fn stats(&self) -> ConnectionStats {
        let meter = &self.held.state.meter;
        ConnectionStats {
            bytes_sent: meter.sent(),
            bytes_received: meter.received(),
            packets_lost: 0,
            round_trip: self.held.state.round_trip(),
        }
    }

    fn sender(&self, stream: Counted) -> TcpSender {
        TcpSender::new(stream, Arc::clone(&self.held))
    }

    fn receiver(&self, stream: Counted) -> TcpReceiver {
        TcpReceiver::new(stream, Arc::clone(&self.held))
    }

    /// Opens a stream and says what it is for.
    async fn open(&self, purpose: Purpose) -> Result<Counted, ClosedReason> {
        let (opening, opened) = oneshot::channel();
        let asked = async {
            self.held.openings.send(opening).await.ok()?;
            let mut stream = opened.await.ok()?;
            super::stream::write_all(&mut stream, &[purpose.code()]).await.ok()?;
            Some(stream)
        };
        tokio::select! {
            biased;
            reason = self.held.state.ended() => Err(reason),
            stream = asked => match stream {
                Some(stream) => Ok(stream),
                None => Err(self.held.state.ended().await),
            },
        }
    }

    async fn next(
        &self,
        arrivals: &Mutex<mpsc::Receiver<Counted>>,
    ) -> Result<Counted, ClosedReason> {
        let mut arrivals = arrivals.lock().await;
        tokio::select! {
            biased;
            Some(stream) = arrivals.recv() => Ok(stream),
            reason = self.held.state.ended() => Err(reason),
        }
    }
}

impl Held {
    /// Why a stream broke: with the connection, or alone.
    pub(super) fn broken(&self) -> StreamError {
        self.state.why_broken().map_or(StreamError::GivenUp, StreamError::Closed)
    }
}
