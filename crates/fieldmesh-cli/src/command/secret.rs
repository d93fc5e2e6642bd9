//! The commands about what opens the home, and about its data key.

use std::path::PathBuf;
use std::time::Duration;

use fieldmesh::Node;
use fieldmesh::api::{RekeyOptions, RekeyReport};
use fieldmesh::home::NewSecret;

use super::Context;
use super::progress;
use crate::args::ChangeArgs;
use crate::exit::Failure;
use crate::passphrase::{Secret, new_passphrase, weakness};
use crate::problem;

/// How often it is asked how far a rekey has come.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// `passphrase change`
pub(super) async fn change(context: &Context<'_>, args: &ChangeArgs) -> Result<(), Failure> {
    let folder = closed_home(context).await?;
    let old = Secret::to_prove(context.global, context.terminal, &folder)?;
    let (new, done) = match (&args.to_key_file, args.to_usual_key_file) {
        (Some(file), _) => {
            let file =
                std::path::absolute(file).map_err(|error| problem::unreadable(file, &error))?;
            let done = format!("The key file {} opens this home from now on.", file.display());
            (NewSecret::KeyFile(file), done)
        }
        (None, true) => {
            let done = "A key file in your configuration folder opens this home from now on.";
            (NewSecret::UsualKeyFile, done.to_owned())
        }
        (None, false) => {
            // A wrong old one is told before anybody thinks of a new one.
            let builder = old.unlock(Node::builder(&folder));
            builder.check_secret().map_err(|error| error.problem())?;
            let passphrase = new_passphrase(context.terminal)?;
            if let Some(hint) = weakness(&passphrase) {
                context.terminal.complain(hint);
            }
            let done = "The new passphrase opens this home from now on.";
            (NewSecret::Passphrase(passphrase), done.to_owned())
        }
    };
    let builder = old.unlock(Node::builder(&folder));
    builder.change_secret(&new).map_err(|error| error.problem())?;
    context.terminal.say(&done);
    context.terminal.say(of_backups(&old));
    Ok(())
}

/// What becomes of the backups that were made while `old` opened the home.
const fn of_backups(old: &Secret) -> &'static str {
    match old {
        Secret::UsualKeyFile => {
            "Backups made before are opened by what opened this home then: a key file of its own, \
             which is destroyed where nothing needs it any more, so write a new backup."
        }
        Secret::KeyFile(_) | Secret::Passphrase(_) | Secret::Remembered => {
            "Backups made before are opened by what opened this home then."
        }
    }
}

/// `passphrase remember`
pub(super) async fn remember(context: &Context<'_>) -> Result<(), Failure> {
    let folder = closed_home(context).await?;
    let secret = Secret::to_prove(context.global, context.terminal, &folder)?;
    let builder = secret.unlock(Node::builder(&folder));
    builder.remember_secret().map_err(|error| error.problem())?;
    context.terminal.say(
        "The keyring of this system opens this home until the machine restarts, or until you have \
         not used it for some days. Programs that run under your name can do the same meanwhile.",
    );
    Ok(())
}

/// `passphrase forget`
pub(super) async fn forget(context: &Context<'_>) -> Result<(), Failure> {
    let folder = closed_home(context).await?;
    Node::builder(&folder).forget_secret().map_err(|error| error.problem())?;
    context.terminal.say("The keyring of this system does not open this home any more.");
    Ok(())
}

/// The folder of a home that no daemon holds.
async fn closed_home(context: &Context<'_>) -> Result<PathBuf, Failure> {
    if crate::home::daemon(context.global).await?.is_some() {
        let text = "a daemon holds this home; `fieldmesh stop` it, and start it again afterwards";
        return Err(problem::store(text).into());
    }
    Ok(crate::home::folder(context.global)?)
}

/// `rekey`
pub(super) async fn rekey(context: &Context<'_>) -> Result<(), Failure> {
    let folder = crate::home::folder(context.global)?;
    let secret = Secret::to_prove(context.global, context.terminal, &folder)?;
    let options = match &secret {
        Secret::UsualKeyFile | Secret::Remembered => RekeyOptions::default(),
        Secret::KeyFile(file) => {
            let file =
                std::path::absolute(file).map_err(|error| problem::unreadable(file, &error))?;
            RekeyOptions { key_file: Some(file), ..RekeyOptions::default() }
        }
        Secret::Passphrase(passphrase) => {
            RekeyOptions { passphrase: Some(passphrase.clone()), ..RekeyOptions::default() }
        }
    };
    let home = crate::home::open_by(context.global, &folder, &secret).await?;
    let result = follow(context, home.backend(), options).await;
    let closed = home.close().await;
    result?;
    closed?;
    Ok(())
}

/// Begins a rekey, or finds one under way, and tells how it goes on until it is done.
async fn follow(
    context: &Context<'_>,
    home: &dyn crate::backend::Backend,
    options: RekeyOptions,
) -> Result<(), Failure> {
    let mut report = match home.status().await?.rekey {
        Some(report) => report,
        None => home.rekey(options).await?,
    };
    let bar = progress::spinner(context.terminal);
    let mut told: Option<RekeyReport> = None;
    loop {
        if told.as_ref() != Some(&report) {
            bar.set_message(crate::render::rekey(&report));
            if context.terminal.json() {
                context.terminal.json_line(&report)?;
            }
            told = Some(report.clone());
        }
        if report.problem.is_some() {
            bar.finish_and_clear();
            let done = crate::render::rekey(&report);
            let text = format!("the rekey is not done: {done}; it goes on while this home is open");
            return Err(problem::store(text).into());
        }
        tokio::time::sleep(LOOK_EVERY).await;
        match home.status().await?.rekey {
            Some(now) => report = now,
            None => break,
        }
    }
    bar.finish_and_clear();
    context.terminal.say(
        "Everything in this home is written with a new key. Old copies of it still open with what \
         opened them, and no backup goes on from one of before: write a new whole one.",
    );
    Ok(())
}
