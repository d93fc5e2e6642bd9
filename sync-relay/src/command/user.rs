//! `user`: who may log in to the apps of a tenant.

use std::io::{BufRead as _, IsTerminal as _, Read as _};

use fieldmesh::api::Problem;

use super::{Context, Reached, with_relay};
use crate::accounts::{NewUser, UserReport};
use crate::args::user::{AddArgs, PasswordArgs, PersonArgs, TenantArgs, UserCommand};
use crate::exit::Failure;
use crate::problem;
use crate::relay::Login;
use crate::render;

/// The longest password that is read from standard input.
const INPUT_SIZE_MAX: u64 = 4 << 10;
/// How often somebody may type two passwords that differ.
const ATTEMPTS_MAX: usize = 3;

/// `user …`
pub(super) async fn user(context: &Context<'_>, command: &UserCommand) -> Result<(), Failure> {
    match command {
        UserCommand::Add(args) => add(context, args).await,
        UserCommand::Disable(args) => set(context, args, Login::Disabled).await,
        UserCommand::Enable(args) => set(context, args, Login::Enabled).await,
        UserCommand::Passwd(args) => passwd(context, args).await,
        UserCommand::List(args) => list(context, args).await,
        UserCommand::RotateKey(args) => rotate_key(context, args).await,
    }
}

async fn add(context: &Context<'_>, args: &AddArgs) -> Result<(), Failure> {
    let tenant = &args.person.of.tenant;
    let new = NewUser {
        email: args.person.email.clone(),
        name: args.name.clone(),
        role: args.role,
        password: password(args.password_stdin)?,
        practices: args.practices.iter().copied().collect(),
        aliases: args.aliases.iter().cloned().collect(),
    };
    let report = match context.reach().await? {
        Reached::Running(client) => client.add_user(tenant, &new).await?,
        Reached::Here(data) => {
            with_relay(data, async |relay| relay.add_user(tenant, new).await).await?
        }
    };
    context.terminal.value(&report, render::user)?;
    Ok(())
}

async fn set(context: &Context<'_>, args: &PersonArgs, may: Login) -> Result<(), Failure> {
    let (tenant, email) = (&args.of.tenant, &args.email);
    let report = match context.reach().await? {
        Reached::Running(client) => client.enable_user(tenant, email, may).await?,
        Reached::Here(data) => {
            with_relay(data, async |relay| relay.enable_user(tenant, email, may).await).await?
        }
    };
    context.terminal.value(&report, render::user)?;
    context.terminal.say(match may {
        Login::Disabled => {
            "Logged out everywhere. Devices of the person go on until they are revoked; see \
             `sync-relay device list`."
        }
        Login::Enabled => "May log in again, with the same password.",
    });
    Ok(())
}

async fn passwd(context: &Context<'_>, args: &PasswordArgs) -> Result<(), Failure> {
    let (tenant, email) = (&args.person.of.tenant, &args.person.email);
    let password = password(args.password_stdin)?;
    let report: UserReport = match context.reach().await? {
        Reached::Running(client) => client.set_password(tenant, email, password).await?,
        Reached::Here(data) => {
            with_relay(data, async |relay| relay.set_password(tenant, email, password).await)
                .await?
        }
    };
    context.terminal.value(&report, render::user)?;
    context.terminal.say("The password is changed, and the person is logged out everywhere.");
    Ok(())
}

async fn list(context: &Context<'_>, args: &TenantArgs) -> Result<(), Failure> {
    let users = match context.reach().await? {
        Reached::Running(client) => client.users(&args.tenant).await?,
        Reached::Here(data) => {
            with_relay(data, async |relay| relay.users(&args.tenant).await).await?
        }
    };
    context.terminal.list(&users, render::users)?;
    if users.is_empty() {
        context.terminal.say("Nobody so far; see `sync-relay user add`.");
    }
    Ok(())
}

async fn rotate_key(context: &Context<'_>, args: &TenantArgs) -> Result<(), Failure> {
    match context.reach().await? {
        Reached::Running(client) => client.rotate_key(&args.tenant).await?,
        Reached::Here(data) => {
            with_relay(data, async |relay| relay.rotate_key(&args.tenant).await).await?;
        }
    }
    context.terminal.say("Access tokens have a new key; apps renew their sessions by themselves.");
    Ok(())
}

/// A new password, from standard input or typed twice.
fn password(from_stdin: bool) -> Result<String, Problem> {
    if !from_stdin && !std::io::stdin().is_terminal() {
        return Err(problem::usage("give the password on standard input with --password-stdin"));
    }
    if from_stdin {
        return first_line();
    }
    for _ in 0..ATTEMPTS_MAX {
        let password = ask("New password: ")?;
        if ask("The same again: ")? == password {
            return Ok(password);
        }
    }
    Err(problem::usage("the two passwords differ"))
}

fn first_line() -> Result<String, Problem> {
    let mut line = String::new();
    let mut input = std::io::stdin().lock().take(INPUT_SIZE_MAX);
    input
        .read_line(&mut line)
        .map_err(|error| problem::failed(format!("cannot read the password: {error}")))?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

fn ask(question: &str) -> Result<String, Problem> {
    rpassword::prompt_password(question)
        .map_err(|error| problem::failed(format!("cannot read the password: {error}")))
}
