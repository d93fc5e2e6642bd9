//! The port for HTTP: what apps ask, what whoever watches over the relay asks, and the document of
//! both.
//!
//! `/healthz` and `/readyz` are for everybody and say no more than whether. Reasons and `/metrics`
//! are for the operator: for requests from this machine that no proxy passed on, or for a port of
//! their own, which belongs on loopback or in a network of one's own. Neither is for a page of another
//! site, whose name shows in `Host`.

mod host;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, RETRY_AFTER};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use fieldmesh::api::Problem;
use fieldmesh_dialect::openapi::{self, Plain};
use fieldmesh_http::{Certificates, Peer, Shell, dressed};
use futures::future::OptionFuture;
use serde_json::Value as Json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::acme::{self, Keeper, Standing};
use crate::data::DataFolder;
use crate::gateway::Gateway;
use crate::metrics;
use crate::problem;
use crate::reader;
use crate::relay::{Directory, Relay};
use crate::settings::{HttpSettings, Settings, TlsSettings};

/// What is answered to a name that may be another site's.
const FOREIGN_NAME: &str = "ask by an address, by localhost, by a name without a dot, or by one of \
                            operations_names, public_addresses, domain or acme_domains\n";
/// So much of such a name is shown in the log.
const NAME_MAX: usize = 255;

/// What a proxy says that it passes a request on.
const FORWARDED: [&str; 3] = ["x-forwarded-for", "forwarded", "via"];

/// Where the certificates of the port for apps are from.
#[derive(Clone)]
enum Source {
    /// There are none.
    Nowhere,
    /// From files.
    Files(Certificates),
    /// From an authority.
    Authority(Certificates, Standing),
}

impl Source {
    fn certificates(&self) -> Option<&Certificates> {
        match self {
            Self::Nowhere => None,
            Self::Files(certificates) | Self::Authority(certificates, _) => Some(certificates),
        }
    }
}

/// Certificates that may have been renewed.
pub(crate) struct Renewal(Source);

impl Renewal {
    /// Reads the files again, or has the authority asked where that is due; where that leads to
    /// nothing, the certificates of before are used on.
    pub(crate) fn renew(&self) {
        match &self.0 {
            Source::Nowhere => {
                tracing::info!("told to read certificates again, and there are none");
            }
            Source::Files(certificates) => match certificates.read_again() {
                Ok(()) => tracing::info!("certificates read again"),
                Err(error) => {
                    let problem = unusable(&error).detail;
                    tracing::error!(
                        problem,
                        "certificates not read again; the old ones stay in use"
                    );
                }
            },
            Source::Authority(_, standing) => {
                tracing::info!("told to look after the certificate");
                standing.look_now();
            }
        }
    }
}

/// The open ports.
pub(crate) struct Ports {
    /// For apps.
    pub(crate) http: TcpListener,
    /// For the operator alone.
    pub(crate) operations: Option<TcpListener>,
    source: Source,
    /// Who obtains the certificates, where nobody else does.
    keeper: Option<Keeper>,
}

impl Ports {
    /// Opens the ports.
    ///
    /// # Errors
    ///
    /// An address is in use or not this machine's, or the certificates cannot be used.
    pub(crate) async fn open(settings: &HttpSettings, data: &DataFolder) -> Result<Self, Problem> {
        let (source, keeper) = match &settings.tls {
            None => (Source::Nowhere, None),
            Some(TlsSettings::Files { certificate, key }) => {
                (Source::Files(read(certificate, key)?), None)
            }
            Some(TlsSettings::Acme(acme)) => {
                let keeper = Keeper::open(acme, data.acme())?;
                let source = Source::Authority(keeper.certificates(), keeper.standing());
                (source, Some(keeper))
            }
        };
        let http = bind(settings.address, "--http").await?;
        let operations = match settings.operations {
            Some(address) => Some(bind(address, "--operations").await?),
            None => None,
        };
        Ok(Self { http, operations, source, keeper })
    }

    /// What sees to the certificates when it is told.
    pub(crate) fn renewal(&self) -> Renewal {
        Renewal(self.source.clone())
    }
}

/// Fails where no certificate can be used or obtained as it is set.
pub(crate) fn check_tls(settings: &HttpSettings) -> Result<(), Problem> {
    match &settings.tls {
        None => {}
        Some(TlsSettings::Files { certificate, key }) => {
            read(certificate, key)?;
        }
        Some(TlsSettings::Acme(acme)) => {
            acme::check(acme)?;
        }
    }
    Ok(())
}

fn read(certificate: &Path, key: &Path) -> Result<Certificates, Problem> {
    Certificates::read(certificate, key).map_err(|error| unusable(&error))
}

fn unusable(error: &fieldmesh_http::CertificatesError) -> Problem {
    use std::error::Error as _;
    let cause = error.source().map_or_else(String::new, |cause| format!(": {cause}"));
    problem::usage(format!("{error}{cause}"))
}

async fn bind(address: SocketAddr, flag: &str) -> Result<TcpListener, Problem> {
    TcpListener::bind(address).await.map_err(|error| {
        problem::failed(format!(
            "cannot listen on {address} for HTTP: {error}; give another address with {flag}"
        ))
    })
}

#[derive(Clone)]
struct Watched {
    relay: Relay,
    shell: Shell,
    has_own_port: bool,
    /// The names of the relay.
    names: Arc<[String]>,
    /// Whether the log says that somebody asked by another one.
    has_told: Arc<AtomicBool>,
    source: Source,
    stop: CancellationToken,
}

/// Serves until `stop`.
pub(crate) async fn serve(
    ports: Ports,
    relay: Relay,
    settings: &Settings,
    stop: CancellationToken,
) {
    let names = host::names(settings).into();
    let settings = &settings.http;
    let directory = Directory::new(relay.clone());
    let gateway = Arc::new(Gateway::new(directory, relay.accounts()));
    let shell = Shell::new(gateway, settings.shell.clone(), stop.clone());
    let Ports { http, operations, source, keeper } = ports;
    let certificates = source.certificates().cloned();
    let has_own_port = operations.is_some();
    let watched = Watched {
        relay,
        shell: shell.clone(),
        has_own_port,
        names,
        has_told: Arc::default(),
        source,
        stop: stop.clone(),
    };
    let apps = shell.router().merge(routes(&watched, &WATCHING));
    let describing = routes(&watched, &DESCRIBING)
        .layer(axum::middleware::from_fn_with_state(shell.clone(), limited));
    let apps = apps.merge(dressed(describing, &settings.shell));
    let apps_ended = CancellationToken::new();
    let served = async {
        // However it ends.
        let _ended = apps_ended.clone().drop_guard();
        fieldmesh_http::serve(http, apps, &settings.shell, certificates, stop.clone()).await;
    };
    // A task of its own, so that nobody who connects waits for its disk.
    let kept = keeper.map(|keeper| tokio::spawn(keeper.keep(stop.clone())));
    let kept = OptionFuture::from(kept);
    let watching = OptionFuture::from(operations.map(|operations| {
        let own = routes(&Watched { has_own_port: false, ..watched }, &WATCHING)
            .layer(axum::middleware::from_fn(as_operator));
        // Whoever asks there hears for as long as apps are answered that the relay is stopping.
        fieldmesh_http::serve(operations, own, &settings.shell, None, apps_ended.clone())
    }));
    let _ = tokio::join!(served, watching, kept);
}

/// A route beside the dialects.
struct Route {
    described: Plain,
    serve: fn() -> MethodRouter<Watched>,
}

const fn route(
    path: &'static str,
    summary: &'static str,
    statuses: &'static [u16],
    media: &'static str,
    serve: fn() -> MethodRouter<Watched>,
) -> Route {
    Route { described: Plain { path, summary, statuses, media }, serve }
}

/// What whoever watches over the relay asks.
const WATCHING: [Route; 3] = [
    route("/healthz", "Whether everything works", &[200, 503], TEXT, || get(health)),
    route("/readyz", "Whether requests are taken", &[200, 503], TEXT, || get(ready)),
    route("/metrics", "Figures for the operator alone", &[200, 403, 404], TEXT, || get(measures)),
];

/// What says what can be asked.
const DESCRIBING: [Route; 2] = [
    route("/openapi.json", "This document", &[200, 429], "application/json", || get(document)),
    route("/docs", "This document as a page", &[200, 429], "text/html", || get(page)),
];

const TEXT: &str = "text/plain";

fn routes(watched: &Watched, routes: &[Route]) -> Router {
    let router = Router::new();
    let put =
        |router: Router<Watched>, one: &Route| router.route(one.described.path, (one.serve)());
    routes.iter().fold(router, put).with_state(watched.clone())
}

/// The document of everything that the port serves.
static DOCUMENT: LazyLock<Json> = LazyLock::new(|| {
    let beside = WATCHING.iter().chain(&DESCRIBING).map(|route| route.described);
    let beside: Vec<Plain> = beside.collect();
    openapi::document("fieldmesh relay", env!("CARGO_PKG_VERSION"), &beside)
});

static DOCUMENT_TEXT: LazyLock<String> = LazyLock::new(|| DOCUMENT.to_string());

static PAGE: LazyLock<(String, String)> =
    LazyLock::new(|| (reader::page(&DOCUMENT), reader::policy()));

/// Lets no address have the document more often than anything else.
async fn limited(State(shell): State<Shell>, request: Request, next: Next) -> Response {
    match shell.count_beside(&request) {
        Ok(()) => next.run(request).await,
        Err(seconds) => {
            let headers = [(RETRY_AFTER, seconds.to_string())];
            (StatusCode::TOO_MANY_REQUESTS, headers, "Too many requests\n").into_response()
        }
    }
}

async fn document() -> Response {
    ([(CONTENT_TYPE, "application/json")], DOCUMENT_TEXT.as_str()).into_response()
}

async fn page() -> Response {
    let (page, policy) = &*PAGE;
    let headers =
        [(CONTENT_TYPE, "text/html; charset=utf-8"), (CONTENT_SECURITY_POLICY, policy.as_str())];
    (headers, page.as_str()).into_response()
}

/// A request that came over the operator's own port.
#[derive(Clone, Copy)]
struct OwnPort;

async fn as_operator(mut request: Request, next: Next) -> Response {
    request.extensions_mut().insert(OwnPort);
    next.run(request).await
}

fn is_own(request: &Request) -> bool {
    request.extensions().get::<OwnPort>().is_some()
}

impl Watched {
    /// Answers who asks on the operator's port by a name that may be another site's; the first time
    /// the log says so as well, because a scrape that fails looks like a relay that is down.
    fn refuse_name(&self, request: &Request) -> Response {
        if !self.has_told.swap(true, Ordering::Relaxed) {
            let host = request.headers().get(HOST).map(|host| host.as_bytes());
            let host = host.map(|host| String::from_utf8_lossy(&host[..host.len().min(NAME_MAX)]));
            let host = host.unwrap_or_default();
            tracing::warn!(
                ?host,
                "figures were asked for by a name that is not the relay's, and refused; if it is, \
                 add it to operations_names"
            );
        }
        (StatusCode::FORBIDDEN, FOREIGN_NAME).into_response()
    }

    /// Whether a request is the operator's.
    fn is_operators(&self, request: &Request) -> bool {
        let peer = request.extensions().get::<Peer>();
        let is_here = peer.is_some_and(|peer| peer.0.ip().to_canonical().is_loopback());
        let is_passed_on = FORWARDED.iter().any(|name| request.headers().contains_key(*name));
        if is_own(request) {
            return host::is_ours(request, &self.names);
        }
        let is_alone = !self.has_own_port && is_here && !is_passed_on;
        is_alone && host::is_this_machine(request)
    }
}

async fn health(State(watched): State<Watched>, request: Request) -> Response {
    let faults = watched.relay.faults().await;
    if faults.is_empty() {
        // A relay serves what is whole, so damage is no reason to take it out of service.
        let damages = match watched.is_operators(&request) {
            true => watched.relay.damages().await,
            false => Vec::new(),
        };
        let told: String = damages.iter().map(|line| format!("{line}\n")).collect();
        return format!("ok\n{told}").into_response();
    }
    let told = match watched.is_operators(&request) {
        true => faults.join("\n") + "\n",
        false => "not ok\n".to_owned(),
    };
    (StatusCode::SERVICE_UNAVAILABLE, told).into_response()
}

/// Whether requests are taken: not while the relay is stopping, nor without a certificate.
async fn ready(State(watched): State<Watched>, request: Request) -> Response {
    if watched.stop.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping\n").into_response();
    }
    let Source::Authority(certificates, standing) = &watched.source else {
        return "ready\n".into_response();
    };
    if certificates.is_there() {
        return "ready\n".into_response();
    }
    let reason = standing.so_far().reason.filter(|_| watched.is_operators(&request));
    let reason = reason.map_or_else(String::new, |reason| format!(": {reason}"));
    let told = format!("no certificate so far{reason}\n");
    (StatusCode::SERVICE_UNAVAILABLE, told).into_response()
}

async fn measures(State(watched): State<Watched>, request: Request) -> Response {
    if !watched.is_operators(&request) {
        return match is_own(&request) {
            true => watched.refuse_name(&request),
            false => StatusCode::NOT_FOUND.into_response(),
        };
    }
    let measures = watched.relay.measures().await;
    let mut text = metrics::render(&measures);
    let counts = watched.shell.counts();
    let served: BTreeSet<String> =
        measures.tenants.into_iter().map(|tenant| tenant.tenant).collect();
    let failures = metrics::by_label(&counts.failures(), &served);
    metrics::render_http(&mut text, &counts.measured(), &failures);
    if let Some(certificates) = watched.source.certificates() {
        metrics::render_certificate(&mut text, certificates.validity());
    }
    if let Source::Authority(_, standing) = &watched.source {
        metrics::render_acme(&mut text, &standing.so_far());
    }
    ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response()
}
