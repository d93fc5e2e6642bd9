//! `tenant create` and `join`: the commands that make a home.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use fieldmesh::api::Problem;
use fieldmesh::{Node, TenantOptions};

use super::Context;
use crate::args::{CreateArgs, JoinArgs};
use crate::backend::Local;
use crate::exit::Failure;
use crate::passphrase::Secret;
use crate::problem;
use crate::render;

/// The longest invitation that is read from standard input.
const INVITATION_SIZE_MAX: u64 = 64 << 10;

/// `tenant create`
pub(super) async fn create(context: &Context<'_>, args: &CreateArgs) -> Result<(), Failure> {
    let folder = new_folder(context)?;
    let secret = Secret::to_create(context.global, context.terminal)?;
    let options = TenantOptions {
        name: args.name.clone(),
        user: args.user.clone(),
        device: args.device.clone(),
    };
    let builder = secret.unlock(Node::builder(&folder));
    let (node, tenant) = builder.create_tenant(options).await.map_err(|error| error.problem())?;
    Local(node).close().await?;
    context.terminal.value(&tenant, render::tenant)?;
    secret.explain(context.terminal);
    context.terminal.say("This device is the admin. Invite others with `fieldmesh invite`.");
    Ok(())
}

/// `join`
pub(super) async fn join(context: &Context<'_>, args: &JoinArgs) -> Result<(), Failure> {
    let folder = new_folder(context)?;
    let invitation = match args.invitation.as_str() {
        "-" => read_invitation()?,
        given => given.to_owned(),
    };
    let secret = Secret::to_create(context.global, context.terminal)?;
    let builder = secret.unlock(Node::builder(&folder));
    let joining = builder.join(&invitation, args.device.clone());
    let (node, report) = Box::pin(joining).await.map_err(|error| error.problem())?;
    Local(node).close().await?;
    context.terminal.value(&report, render::joined)?;
    secret.explain(context.terminal);
    context.terminal.say("Joined. Get the crew's records with `fieldmesh sync`.");
    Ok(())
}

/// The folder of a home that is about to be made; asked before anything is typed.
pub(super) fn new_folder(context: &Context<'_>) -> Result<PathBuf, Problem> {
    let folder = crate::home::folder(context.global)?;
    if fieldmesh::home::exists(&folder) {
        return Err(occupied(&folder));
    }
    Ok(folder)
}

fn occupied(folder: &Path) -> Problem {
    problem::usage(format!(
        "{} already holds a home; choose another folder with --home",
        folder.display()
    ))
}

/// An invitation or a claim from standard input.
pub(super) fn read_invitation() -> Result<String, Problem> {
    let mut text = String::new();
    std::io::stdin()
        .take(INVITATION_SIZE_MAX)
        .read_to_string(&mut text)
        .map_err(|error| problem::failed(format!("cannot read standard input: {error}")))?;
    Ok(text)
}
