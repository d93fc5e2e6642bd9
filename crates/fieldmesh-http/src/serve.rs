//! Accepts connections, with TLS where there are certificates, and ends them in order.
//!
//! What a slow or greedy peer can hold is bounded here: the time for a handshake and for the head
//! of a request, the size of that head, the time in which nothing of an answer is read, and how many
//! connections there are.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tower::ServiceExt as _;

use crate::peer::{Network, Peer, counted};
use crate::settings::{Latecomers, Settings};
use crate::tls::Certificates;

/// The largest head of a request.
const HEAD_SIZE_MAX: usize = 64 * 1024;
/// How long to wait when the system accepts nothing, for want of files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves `router` on `listener` until `stop`, then lets running requests end for a while.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    settings: &Settings,
    certificates: Option<Certificates>,
    stop: CancellationToken,
) {
    let server = Server {
        router,
        head_patience: settings.head_patience,
        answer_patience: settings.answer_patience,
        certificates,
        stop: stop.clone(),
        slots: Arc::new(Semaphore::new(settings.connections_max)),
        addresses: Addresses::new(settings.connections_per_address_max),
        proxies: settings.proxies.clone(),
        tasks: TaskTracker::new(),
    };
    tokio::select! {
        never = server.accept(&listener, Came::InTime) => match never {},
        () = stop.cancelled() => {}
    }
    server.tasks.close();
    let last = timeout(settings.last_requests, server.tasks.wait());
    let ended = match settings.latecomers {
        Latecomers::Unheard => {
            drop(listener);
            last.await
        }
        Latecomers::Answered => tokio::select! {
            ended = last => ended,
            never = server.accept(&listener, Came::Late) => match never {},
        },
    };
    if ended.is_err() {
        tracing::debug!("connections were cut off at the end");
    }
}

struct Server {
    router: Router,
    head_patience: Duration,
    answer_patience: Duration,
    certificates: Option<Certificates>,
    stop: CancellationToken,
    slots: Arc<Semaphore>,
    addresses: Addresses,
    proxies: Vec<Network>,
    tasks: TaskTracker,
}

/// When a connection was made.
#[derive(Clone, Copy)]
enum Came {
    InTime,
    /// The server was told to stop before, and waits for nobody who comes then.
    Late,
}

impl Server {
    /// Takes every connection.
    async fn accept(&self, listener: &TcpListener, came: Came) -> Infallible {
        loop {
            match listener.accept().await {
                Ok((stream, address)) => self.take(stream, Peer(address), came),
                Err(error) => {
                    tracing::debug!(%error, "no connection accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Serves a connection, or closes it where there are too many.
    fn take(&self, stream: TcpStream, peer: Peer, came: Came) {
        let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() else { return };
        let address = peer.0.ip();
        // Behind a proxy are many, and it is a proxy's own affair how many connections it makes.
        let is_proxy = self.proxies.iter().any(|proxy| proxy.contains(address));
        let place = if is_proxy { None } else { self.addresses.enter(counted(address)) };
        if place.is_none() && !is_proxy {
            return;
        }
        // Small answers are not to wait for more.
        let _ = stream.set_nodelay(true);
        // Beneath TLS and WebSockets, so that nobody holds his place by not reading.
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(self.answer_patience));
        let stream = Box::pin(stream);
        let (router, patience) = (self.router.clone(), self.head_patience);
        let certificates = self.certificates.clone();
        // Who comes late is told to stop by nobody: there is one answer, and then the end.
        let (stop, tasks) = match came {
            Came::InTime => (self.stop.clone(), self.tasks.clone()),
            Came::Late => (CancellationToken::new(), TaskTracker::new()),
        };
        let taken = Taken { _slot: slot, _place: place, _task: tasks.token() };
        let seat = Seat { _taken: Arc::new(taken) };
        tasks.spawn(async move {
            match certificates {
                None => converse(stream, router, (peer, seat), patience, came, stop).await,
                Some(certificates) => {
                    let shaking = timeout(patience, certificates.shake(stream));
                    let Some(Ok(Some(stream))) = stop.run_until_cancelled(shaking).await else {
                        return;
                    };
                    converse(stream, router, (peer, seat), patience, came, stop).await;
                }
            }
        });
    }
}

async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    (peer, seat): (Peer, Seat),
    patience: Duration,
    came: Came,
    stop: CancellationToken,
) {
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer);
        request.extensions_mut().insert(seat.clone());
        router.clone().oneshot(request)
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(patience)
            .max_buf_size(HEAD_SIZE_MAX)
            .keep_alive(matches!(came, Came::InTime))
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades()
    );
    // How it ended concerns nobody: whoever waits for an answer knows that there is none.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

/// What a connection takes as long as it is open. A WebSocket has it on from the request that it
/// began as: for HTTP that connection is over.
#[derive(Clone)]
pub(crate) struct Seat {
    _taken: Arc<Taken>,
}

struct Taken {
    _slot: OwnedSemaphorePermit,
    _place: Option<Place>,
    /// Whoever stops the server waits for it.
    _task: TaskTrackerToken,
}

/// How many connections each address has.
#[derive(Clone)]
struct Addresses {
    counts: Arc<Mutex<HashMap<IpAddr, usize>>>,
    each_max: usize,
}

/// A connection of an address; dropping it makes room for another.
struct Place {
    addresses: Addresses,
    address: IpAddr,
}

impl Addresses {
    fn new(each_max: usize) -> Self {
        Self { counts: Arc::default(), each_max }
    }

    fn enter(&self, address: IpAddr) -> Option<Place> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_default();
        if *count >= self.each_max {
            return None;
        }
        *count += 1;
        Some(Place { addresses: self.clone(), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.addresses.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}
