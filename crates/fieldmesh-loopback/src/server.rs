//! One server: its port, what all requests go through, and its end.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Query, Request, State};
use axum::http::request::Parts;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use fieldmesh::Node;
use fieldmesh_http::{Bodies, Origins, Rate, Settings, Shares, dressed};
use serde::de::DeserializeOwned;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::apps;
use crate::guard::Guard;
use crate::input::{self, Words};
use crate::refusal::{Kind, Refusal};
use crate::routes;
use crate::token::Access;

/// The largest body: a record is at most 256 KiB.
const BODY_SIZE_MAX: usize = 1 << 20;
/// The most bytes of bodies in memory at a time.
const BODIES_SIZE_MAX: usize = 32 << 20;
/// The most connections; the apps of one device need few.
const CONNECTIONS_MAX: usize = 256;
/// The most requests that are answered at a time.
const EXECUTING_MAX: usize = 64;
/// The most live streams that are open at a time.
const LIVE_MAX: usize = 64;
/// The same of apps, whose contracts have larger ones: the largest, as it came and inflated.
const APP_BODIES_SIZE_MAX: usize = 128 << 20;
/// How long an answer may take; what a request began goes on to its end.
const PATIENCE: Duration = Duration::from_secs(60);

/// How to serve.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where to listen; an address of loopback.
    pub address: SocketAddr,
    /// Whether any free port does where that one is taken.
    pub any_port: bool,
    /// The origins of the pages in browsers that may ask, `http://localhost:5173` for one.
    pub origins: Vec<String>,
    /// Whether paths outside `/v1` are those of the five contracts of existing apps.
    pub apps: bool,
}

impl Default for Options {
    fn default() -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], 7878));
        Self { address, any_port: true, origins: vec![], apps: false }
    }
}

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// Others could reach it: choose 127.0.0.1 or `[::1]`.
    #[error("{address} is not loopback; the apps on this device reach 127.0.0.1 and [::1]")]
    NotLoopback {
        /// The address.
        address: SocketAddr,
    },
    /// The port cannot be taken.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file for the apps cannot be written.
    #[error("cannot write {} into the home", crate::ACCESS_FILE)]
    Access {
        /// Why.
        source: std::io::Error,
    },
}

/// Takes the file away at the end, whichever that is.
struct Forgotten(PathBuf);

impl Drop for Forgotten {
    fn drop(&mut self) {
        Access::forget(&self.0);
    }
}

/// A server that has its port.
#[derive(Debug)]
pub struct Loopback {
    listener: TcpListener,
    address: SocketAddr,
    access: Access,
    home: PathBuf,
    origins: Vec<String>,
    apps: bool,
}

impl Loopback {
    /// Takes the port and writes into `home` how to get in.
    ///
    /// # Errors
    ///
    /// [`BindError`] says which of the two failed, and why.
    pub async fn bind(home: &Path, options: Options) -> Result<Self, BindError> {
        let Options { address, any_port, origins, apps } = options;
        // One that was killed left its own behind, and its port may be anybody's by now.
        Access::forget(home);
        if !address.ip().is_loopback() {
            return Err(BindError::NotLoopback { address });
        }
        let failed = |source| BindError::Listen { address, source };
        let listener = match TcpListener::bind(address).await {
            Err(error) if any_port && error.kind() == std::io::ErrorKind::AddrInUse => {
                TcpListener::bind((address.ip(), 0)).await
            }
            bound => bound,
        };
        let listener = listener.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let access = Access::write(home, format!("http://{address}"), apps);
        let access = access.map_err(|source| BindError::Access { source })?;
        Ok(Self { listener, address, access, home: home.to_owned(), origins, apps })
    }

    /// How apps get in.
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// Answers for `node` until `stop`, then lets running requests end for a while and takes the
    /// file away.
    pub async fn serve(self, node: Node, stop: CancellationToken) {
        let settings = settings(&self.origins);
        let router = self.router(node, &settings, stop.clone());
        let _forgotten = Forgotten(self.home);
        fieldmesh_http::serve(self.listener, router, &settings, None, stop).await;
    }

    fn router(&self, node: Node, settings: &Settings, stop: CancellationToken) -> Router {
        let guard = Guard::new(self.access.clone(), self.address, self.origins.clone());
        let guard = Arc::new(guard);
        let apps = self.apps.then(|| {
            let settings = Settings {
                bodies: Shares::whole(APP_BODIES_SIZE_MAX),
                streams: Shares::whole(LIVE_MAX),
                ..settings.clone()
            };
            let router = apps::router(node.clone(), self.access.clone(), &settings, stop.clone());
            router.layer(from_fn_with_state(Arc::clone(&guard), check_site))
        });
        let shared = Shared(Arc::new(Inner {
            node,
            guard,
            bodies: Bodies::new(settings, BODY_SIZE_MAX),
            executing: Semaphore::new(EXECUTING_MAX),
            live: Arc::new(Semaphore::new(LIVE_MAX)),
            stop,
        }));
        let routed = routes::router().layer(from_fn_with_state(shared.clone(), admit));
        let own = dressed(routed.with_state(shared), settings);
        match apps {
            None => own,
            Some(apps) => own.fallback_service(apps),
        }
    }
}

fn settings(origins: &[String]) -> Settings {
    Settings {
        origins: Origins::Only(origins.to_vec()),
        address_rate: Rate::a_second(1_000),
        connections_max: CONNECTIONS_MAX,
        connections_per_address_max: CONNECTIONS_MAX,
        bodies: Shares::whole(BODIES_SIZE_MAX),
        patience: PATIENCE,
        ..Settings::default()
    }
}

/// What every route can reach.
#[derive(Clone)]
pub(crate) struct Shared(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) node: Node,
    guard: Arc<Guard>,
    bodies: Bodies,
    executing: Semaphore,
    /// A place for each live stream.
    pub(crate) live: Arc<Semaphore>,
    /// Ends live streams.
    pub(crate) stop: CancellationToken,
}

impl std::ops::Deref for Shared {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

/// Lets through who may ask, as many as can be answered, for as long as anybody waits.
async fn admit(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let is_public = parts.uri.path() == routes::DOCUMENT_PATH;
    let admitted = shared.guard.check_site(&parts).and_then(|()| match is_public {
        true => Ok(()),
        false => shared.guard.check_token(&parts.headers),
    });
    if let Err(refusal) = admitted {
        Bodies::drain(body).await;
        return refusal.into_response();
    }
    let Ok(_place) = shared.executing.try_acquire() else {
        let detail = format!("{EXECUTING_MAX} requests are answered at the moment; try again");
        return Refusal::new(Kind::Busy, detail).into_response();
    };
    let answering = next.run(Request::from_parts(parts, body));
    match tokio::time::timeout(PATIENCE, answering).await {
        Ok(response) => response,
        Err(_) => {
            let detail = "this takes long and goes on; ask again for what came of it";
            Refusal::new(Kind::Busy, detail).into_response()
        }
    }
}

/// Lets through to the apps what no page of another site sent; who knows the token is their matter.
async fn check_site(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    if let Err(refusal) = guard.check_site(&parts) {
        Bodies::drain(body).await;
        return refusal.into_response();
    }
    next.run(Request::from_parts(parts, body)).await
}

impl FromRequestParts<Shared> for Words {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &Shared) -> Result<Self, Refusal> {
        match Query::<Vec<(String, String)>>::try_from_uri(&parts.uri) {
            Ok(Query(pairs)) => Ok(Self::new(pairs)),
            Err(error) => Err(Refusal::new(Kind::Usage, error.body_text())),
        }
    }
}

/// A body of JSON.
pub(crate) struct Sent<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<Shared> for Sent<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request<Body>, shared: &Shared) -> Result<Self, Refusal> {
        let (parts, body) = request.into_parts();
        let bytes = shared.bodies.read(&parts.headers, body).await?;
        input::json(&parts.headers, &bytes).map(Self)
    }
}

#[cfg(test)]
mod tests;
