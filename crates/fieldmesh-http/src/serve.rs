//! Accepts connections, with TLS where there are certificates, and ends them in order.
//!
//! What a slow or greedy peer can hold is bounded here: the time for a handshake and for the head
//! of a request, the size of that head, the time in which nothing of an answer is read, and how many
//! connections there are.

use std::collections::HashMap;
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
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use crate::peer::{Network, Peer, counted};
use crate::settings::Settings;
use crate::tls::Certificates;

/// How long requests may go on once the server was told to stop.
pub const LAST_REQUESTS_MAX: Duration = Duration::from_secs(2);
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
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        match accepted {
            Ok((stream, address)) => server.take(stream, Peer(address)),
            Err(error) => {
                tracing::debug!(%error, "no connection accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    server.tasks.close();
    if timeout(LAST_REQUESTS_MAX, server.tasks.wait()).await.is_err() {
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

impl Server {
    /// Serves a connection, or closes it where there are too many.
    fn take(&self, stream: TcpStream, peer: Peer) {
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
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            let _held = (slot, place);
            match certificates {
                None => converse(stream, router, peer, patience, stop).await,
                Some(certificates) => {
                    let shaking = timeout(patience, certificates.shake(stream));
                    let Some(Ok(Some(stream))) = stop.run_until_cancelled(shaking).await else {
                        return;
                    };
                    converse(stream, router, peer, patience, stop).await;
                }
            }
        });
    }
}

async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    peer: Peer,
    patience: Duration,
    stop: CancellationToken,
) {
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer);
        router.clone().oneshot(request)
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(patience)
            .max_buf_size(HEAD_SIZE_MAX)
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
