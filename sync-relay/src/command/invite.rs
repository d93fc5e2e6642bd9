//! `invite`: issues invitations and, where no relay runs, waits to serve them.

use fieldmesh::api::{InvitationReport, InviteOptions, Problem};
use tokio_util::sync::CancellationToken;

use super::{Context, Reached};
use crate::args::InviteArgs;
use crate::control;
use crate::data::DataFolder;
use crate::exit::Failure;
use crate::problem;
use crate::relay::Relay;
use crate::render;
use fieldmesh_shell::signal::Signals;
use fieldmesh_shell::socket::Socket;

/// `invite`
pub(super) async fn invite(context: &Context<'_>, args: &InviteArgs) -> Result<(), Failure> {
    let options = InviteOptions {
        role: args.role,
        user: args.user.clone(),
        valid: args.valid,
        count: args.count,
    };
    match context.reach().await? {
        Reached::Running(client) => {
            let invitations = client.invite(&args.tenant, &options).await?;
            context.terminal.list(&invitations, render::invitations)?;
            let advice = render::advice(&invitations);
            context.terminal.say(&format!("{advice} The running relay serves it."));
            Ok(())
        }
        Reached::Here(data) => here(context, args, options, data).await,
    }
}

async fn here(
    context: &Context<'_>,
    args: &InviteArgs,
    options: InviteOptions,
    data: DataFolder,
) -> Result<(), Failure> {
    let mut signals = problem::signals()?;
    let port = context.open_port().await?.port;
    let settings = context.settings;
    let known = settings.http.tenants.clone();
    let (max, quotas) = (settings.open_tenants_max, settings.quotas.clone());
    let relay = Relay::open(data, Some(port), max, known, quotas).await?;
    let result = serve(context, args, options, &relay, &mut signals).await;
    let closed = relay.shutdown().await;
    result?;
    closed?;
    Ok(())
}

async fn serve(
    context: &Context<'_>,
    args: &InviteArgs,
    options: InviteOptions,
    relay: &Relay,
    signals: &mut Signals,
) -> Result<(), Failure> {
    let mut socket =
        Socket::bind(crate::PROGRAM, relay.data()).map_err(|error| cannot_serve(&error))?;
    let invitations = relay.invite(&args.tenant, options).await?;
    context.terminal.list(&invitations, render::invitations)?;
    let advice = render::advice(&invitations);
    context.terminal.say(&format!("{advice} This command serves it; Ctrl-C ends that."));
    let stop = CancellationToken::new();
    let serving = control::serve(&mut socket, relay.clone(), context.lines.clone(), stop.clone());
    let waiting = async {
        let outcome = wait(relay, &args.tenant, &invitations, signals).await;
        stop.cancel();
        outcome
    };
    let (served, outcome) = tokio::join!(serving, waiting);
    served?;
    context.terminal.say(match outcome? {
        Outcome::Used => "Done: every invitation is used or has expired.",
        Outcome::Stopped => "Stopped; what is not used so far waits for `sync-relay run`.",
    });
    Ok(())
}

/// How the wait ended.
enum Outcome {
    Used,
    Stopped,
}

async fn wait(
    relay: &Relay,
    tenant: &str,
    invitations: &[InvitationReport],
    signals: &mut Signals,
) -> Result<Outcome, Problem> {
    tokio::select! {
        joined = relay.wait_for_joins(tenant, invitations) => joined.map(|()| Outcome::Used),
        () = signals.next() => Ok(Outcome::Stopped),
    }
}

/// Why other commands cannot be served.
pub(super) fn cannot_serve(error: &std::io::Error) -> Problem {
    problem::failed(format!("cannot serve other commands: {error}"))
}
