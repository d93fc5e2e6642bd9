//! `invite`: issues invitations and, where no daemon does, waits to serve them.

use std::sync::Arc;

use fieldmesh::api::{InvitationReport, InviteOptions, Problem};
use tokio_util::sync::CancellationToken;

use super::Context;
use crate::args::InviteArgs;
use crate::backend::{Backend as _, Local, Remote};
use crate::daemon::{self, Shared};
use crate::exit::Failure;
use crate::home::Home;
use crate::log::Logs;
use crate::problem;
use crate::render;
use fieldmesh_shell::socket::Socket;

/// `invite`
pub(super) async fn invite(
    context: &Context<'_>,
    args: &InviteArgs,
    logs: Logs,
) -> Result<(), Failure> {
    let options = InviteOptions {
        role: args.role,
        user: args.user.clone(),
        valid: args.valid,
        count: args.count,
    };
    match crate::home::open(context.global, context.terminal).await? {
        Home::Daemon(remote) => by_daemon(context, args, &remote, options).await,
        Home::Local(local) => {
            let result = here(context, args, &local, options, logs).await;
            let closed = local.close().await;
            result?;
            closed?;
            Ok(())
        }
    }
}

async fn by_daemon(
    context: &Context<'_>,
    args: &InviteArgs,
    remote: &Remote,
    options: InviteOptions,
) -> Result<(), Failure> {
    if args.listen.is_some() {
        let detail = "the running daemon listens already; leave --listen out";
        return Err(problem::usage(detail).into());
    }
    let invitations = remote.invite(options).await?;
    print(context, args, &invitations)?;
    let advice = render::invitation_advice(&invitations, context.terminal.style());
    context.terminal.say(&format!("{advice} The running daemon serves it."));
    Ok(())
}

async fn here(
    context: &Context<'_>,
    args: &InviteArgs,
    local: &Local,
    options: InviteOptions,
    logs: Logs,
) -> Result<(), Failure> {
    let mut signals = problem::signals()?;
    let Local(node) = local;
    node.listen(args.listen).await.map_err(|error| error.problem())?;
    let invitations = local.invite(options).await?;
    print(context, args, &invitations)?;
    let advice = render::invitation_advice(&invitations, context.terminal.style());
    context.terminal.say(&format!("{advice} This command serves it; Ctrl-C ends that."));

    let mut outcome = Ok(Outcome::Stopped);
    let wait = async {
        outcome = tokio::select! {
            joined = node.wait_for_joins(&invitations) => {
                joined.map(|()| Outcome::Used).map_err(|error| error.problem())
            }
            () = signals.next() => Ok(Outcome::Stopped),
        };
    };
    serve_meanwhile(context, local, logs, wait).await?;
    context.terminal.say(match outcome? {
        Outcome::Used => "Done: every invitation is used or has expired.",
        Outcome::Stopped => "Stopped; what is not used so far waits for the next `fieldmesh run`.",
    });
    Ok(())
}

/// How the wait ended.
enum Outcome {
    Used,
    Stopped,
}

/// Waits, and serves other commands on this home meanwhile, as the daemon would.
async fn serve_meanwhile(
    context: &Context<'_>,
    local: &Local,
    logs: Logs,
    wait: impl Future<Output = ()>,
) -> Result<(), Problem> {
    let folder = crate::home::folder(context.global)?;
    let mut socket =
        Socket::bind(crate::PROGRAM, &folder).map_err(|error| daemon::cannot_serve(&error))?;
    let shared = Shared::new(Arc::new(local.clone()), logs, CancellationToken::new());
    daemon::serve_until(&mut socket, shared, wait)
        .await
        .map_err(|error| daemon::cannot_serve(&error))
}

fn print(
    context: &Context<'_>,
    args: &InviteArgs,
    invitations: &[InvitationReport],
) -> Result<(), Failure> {
    context.terminal.list(invitations, |invitations, _| render::invitation_text(invitations))?;
    if !args.qr {
        return Ok(());
    }
    for invitation in invitations {
        match render::qr(&invitation.invitation) {
            Some(code) => context.terminal.say(&code),
            None => context.terminal.say("The invitation is too long for a QR code."),
        }
    }
    Ok(())
}
