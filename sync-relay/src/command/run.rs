//! `run`: the relay's life.

use std::convert::Infallible;
use std::net::SocketAddr;

use fieldmesh::api::Problem;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::Context;
use super::invite::cannot_serve;
use super::port::Opened;
use crate::control;
use crate::data::DataFolder;
use crate::exit::Failure;
use crate::operations::{self, Ports, Renewal};
use crate::problem;
use crate::relay::Relay;
use crate::settings::Settings;
use fieldmesh_shell::signal::{Hangups, Signals};
use fieldmesh_shell::socket::Socket;

/// What programs read when the relay is ready.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Ready {
    ready: bool,
    pid: u32,
    quic: SocketAddr,
    tcp: Option<SocketAddr>,
    tcp_warning: Option<String>,
    warnings: Vec<String>,
    http: SocketAddr,
    operations: Option<SocketAddr>,
    secure: bool,
    socket: String,
    tenants: usize,
    addresses: Vec<String>,
}

/// What is open while a relay runs.
struct Running {
    relay: Relay,
    ports: Ports,
    socket: Socket,
    ready: Ready,
}

/// `run`
pub(super) async fn run(context: &Context<'_>) -> Result<(), Failure> {
    let mut signals = problem::signals()?;
    let mut hangups = problem::hangups()?;
    let Running { relay, ports, mut socket, ready } = start(context).await?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        quic = %ready.quic,
        tcp = ready.tcp.map(tracing::field::display),
        http = %ready.http,
        tenants = ready.tenants,
        "ready"
    );
    for warning in &ready.warnings {
        tracing::warn!("{warning}");
    }
    let told = context.terminal.value(&ready, words);
    let stop = CancellationToken::new();
    let work = async {
        let served = match told {
            Ok(()) => {
                let serving = serve(context, &relay, ports, &mut socket, &mut hangups, &stop);
                Box::pin(serving).await
            }
            Err(failure) => Err(failure),
        };
        let closed = relay.shutdown().await;
        served.and(closed.map_err(Failure::from))
    };
    let ended = tokio::select! {
        ended = work => ended,
        () = told_twice(&mut signals, &stop) => {
            Err(problem::failed("ended before everything was closed").into())
        }
    };
    // The file goes last, so whoever waits for that finds the data folder free.
    drop(socket);
    tracing::info!("stopped");
    ended
}

async fn start(context: &Context<'_>) -> Result<Running, Problem> {
    let settings = context.settings;
    let data = DataFolder::take(&settings.data)?;
    // What was asked for comes before what is only tried.
    let ports = Ports::open(&settings.http, &data).await?;
    let Opened { port, warning: tcp_warning } = context.open_port().await?;
    let quic = port.listener.local_addr().map_err(|error| error.problem())?;
    let tcp = port.listener.tcp_addr();
    let addresses = port.advertised.clone();
    let http_address =
        ports.http.local_addr().map_err(|error| problem::failed(error.to_string()))?;
    let operations_address =
        ports.operations.as_ref().and_then(|operations| operations.local_addr().ok());
    let known = settings.http.tenants.clone();
    let (max, quotas) = (settings.open_tenants_max, settings.quotas.clone());
    let relay = Relay::open(data, Some(port), max, known, quotas).await?;
    let socket =
        Socket::bind(crate::PROGRAM, relay.data()).map_err(|error| cannot_serve(&error))?;
    let ready = Ready {
        ready: true,
        pid: std::process::id(),
        quic,
        tcp,
        tcp_warning,
        warnings: [settings.warnings(), relay.name_warnings()].concat(),
        http: http_address,
        operations: operations_address,
        secure: settings.http.tls.is_some(),
        socket: socket.path().display().to_string(),
        tenants: relay.tenant_count(),
        addresses,
    };
    Ok(Running { relay, ports, socket, ready })
}

/// Serves until `stop`, and until requests under way have ended.
async fn serve(
    context: &Context<'_>,
    relay: &Relay,
    ports: Ports,
    socket: &mut Socket,
    hangups: &mut Hangups,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    let lines = context.lines.clone();
    let renewal = ports.renewal();
    // Whichever ends first, for whatever reason, ends the other.
    let controlled = ending(stop, control::serve(socket, relay.clone(), lines, stop.clone()));
    let settings = context.settings;
    let operated = ending(stop, operations::serve(ports, relay.clone(), settings, stop.clone()));
    tokio::select! {
        (controlled, ()) = async { tokio::join!(controlled, operated) } => Ok(controlled?),
        never = renew(context, relay, hangups, &renewal) => match never {},
    }
}

/// Says `stop` at the first signal, and ends at the second: then nothing is waited for any more.
async fn told_twice(signals: &mut Signals, stop: &CancellationToken) {
    tokio::select! {
        () = signals.next() => tracing::info!("told to stop"),
        () = stop.cancelled() => {}
    }
    stop.cancel();
    signals.next().await;
}

async fn ending<T>(stop: &CancellationToken, work: impl Future<Output = T>) -> T {
    let result = work.await;
    stop.cancel();
    result
}

/// Reads certificates and quotas again whenever somebody asks for it.
async fn renew(
    context: &Context<'_>,
    relay: &Relay,
    hangups: &mut Hangups,
    renewal: &Renewal,
) -> Infallible {
    loop {
        hangups.next().await;
        renewal.renew();
        match Settings::read(context.cli) {
            Ok(settings) => {
                relay.set_quotas(settings.quotas).await;
                tracing::info!("quotas read again; other settings hold as they were at the start");
            }
            Err(problem) => {
                let problem = problem.detail;
                tracing::error!(problem, "settings not read again; the quotas of before hold on");
            }
        }
    }
}

fn words(ready: &Ready) -> String {
    let tenants = match ready.tenants {
        0 => "no tenants so far".to_owned(),
        1 => "1 tenant".to_owned(),
        count => format!("{count} tenants"),
    };
    let apps = format!("{}://{}", if ready.secure { "https" } else { "http" }, ready.http);
    let watching = match ready.operations {
        None => " (also /healthz, /readyz and /metrics)\n".to_owned(),
        Some(address) => {
            format!("\n  operations   http://{address} (/healthz, /readyz and /metrics)\n")
        }
    };
    let warnings = ready.tcp_warning.iter().chain(&ready.warnings);
    let warnings: String = warnings.map(|text| format!("  attention    {text}\n")).collect();
    format!(
        "Ready: {tenants}.\n  devices      {}, {} (invitations say {})\n  apps         \
         {apps}{watching}  commands     {}\n{warnings}",
        ready.quic,
        ready.tcp.map_or_else(|| "not over TCP".into(), |tcp| format!("over TCP {tcp}")),
        ready.addresses.join(", "),
        ready.socket
    )
}
