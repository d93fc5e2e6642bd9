//! `doctor`: what is wrong with this home, and what can be done.

use std::path::Path;

use fieldmesh::api::{Class, DoctorReport, Finding, Problem};

use super::Context;
use crate::args::DoctorArgs;
use crate::exit::Failure;
use crate::render;

/// What a home cannot be opened without, and what each is.
const PARTS: [(&str, &str); 3] = [
    ("profile", "the key to everything that is stored, locked with your passphrase"),
    ("identity", "who this device is"),
    ("store", "everything that was recorded"),
];

/// `doctor`
pub(super) async fn doctor(context: &Context<'_>, args: &DoctorArgs) -> Result<(), Failure> {
    let report = match crate::home::open(context.global, context.terminal).await {
        Ok(home) => {
            super::progress::until_made(context.terminal, &home).await;
            let backend = home.backend();
            let report = async {
                if args.accept {
                    backend.accept_losses().await?;
                }
                backend.doctor().await
            };
            let report = report.await;
            let closed = home.close().await;
            let report = report?;
            closed?;
            report
        }
        Err(problem) if is_about_the_home(&problem) => {
            unopened(&crate::home::folder(context.global)?, &problem)
        }
        Err(problem) => return Err(problem.into()),
    };
    context.terminal.value(&report, render::doctor)?;
    if report.open { Err(Failure::Reported(Class::Store)) } else { Ok(()) }
}

/// Whether it is the home that is wrong, rather than what was typed.
const fn is_about_the_home(problem: &Problem) -> bool {
    matches!(problem.class, Class::Store | Class::Failed)
}

/// What can be told of a home that does not open. Nothing is changed.
fn unopened(folder: &Path, problem: &Problem) -> DoctorReport {
    let missing: Vec<&(&str, &str)> =
        PARTS.iter().filter(|(name, _)| !folder.join(name).exists()).collect();
    let mut findings = vec![Finding {
        kind: "cannot-open".into(),
        open: true,
        what: format!("this home cannot be opened: {}", problem.detail),
        means: "Nothing can be read or recorded here until it opens.".into(),
        done: "Nothing was changed.".into(),
        next: match missing.is_empty() {
            true => "Keep the folder as it is. Whatever was in step is on the other devices and \
                     the relay: a new home can join the crew with a new invitation."
                .into(),
            false => "See below what is missing.".into(),
        },
        record: None,
    }];
    findings.extend(missing.into_iter().map(|(name, what)| Finding {
        kind: "missing-file".into(),
        open: true,
        what: format!("`{name}` is missing in {}", folder.display()),
        means: format!("It holds {what}."),
        done: "Nothing was changed.".into(),
        next: "Put it back from a backup, or join the crew again with a new home.".into(),
        record: None,
    }));
    DoctorReport { open: true, checking: None, remaking: None, findings }
}
