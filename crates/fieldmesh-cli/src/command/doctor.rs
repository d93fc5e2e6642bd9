//! `doctor`: what is wrong with this home, and what can be done.

use std::path::Path;

use fieldmesh::api::{Class, DoctorReport, Finding, Problem};

use super::Context;
use crate::args::DoctorArgs;
use crate::exit::Failure;
use crate::home::{Cause, Unopened};
use crate::render;

/// A file or folder of a home, and what it is.
type Part = (&'static str, &'static str);

/// What a home cannot be opened without, and what each is.
const PARTS: [Part; 3] = [
    ("profile", "the key to everything that is stored, locked with your passphrase"),
    ("identity", "who this device is"),
    ("store", "everything that was recorded"),
];

const UNREADABLE: &str = "Nothing can be read or recorded here until it opens.";
const REPLACE: &str = "Keep the folder as it is, and make a home of a backup elsewhere with \
                       `fieldmesh --home NEW restore FILE`. Without a backup, a new home can join \
                       the crew with a new invitation: whatever was in step is on the other \
                       devices and the relay.";

/// `doctor`
pub(super) async fn doctor(context: &Context<'_>, args: &DoctorArgs) -> Result<(), Failure> {
    let report = match crate::home::try_to_open(context.global, context.terminal).await {
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
        Err(found) if is_about_the_home(&found.problem) => {
            let folder = crate::home::folder(context.global)?;
            let is_missing = |part: &Part| !folder.join(part.0).exists();
            let missing: Vec<Part> = PARTS.into_iter().filter(is_missing).collect();
            unopened(&folder, &missing, &found)
        }
        Err(found) => return Err(found.problem.into()),
    };
    context.terminal.value(&report, render::doctor)?;
    if report.open { Err(Failure::Reported(Class::Store)) } else { Ok(()) }
}

/// Whether it is the home that is wrong, rather than what was typed.
const fn is_about_the_home(problem: &Problem) -> bool {
    matches!(problem.class, Class::Store | Class::Failed)
}

/// What can be told of a home that does not open. Nothing is changed.
fn unopened(folder: &Path, missing: &[Part], unopened: &Unopened) -> DoctorReport {
    let (means, next) = match unopened.cause {
        Cause::Secret => (
            "Nothing is wrong with what is recorded here, as far as can be told without its key.",
            "Enter the right passphrase, or name the right key file with --key-file.",
        ),
        Cause::InUse => (
            "Nothing is wrong with what is recorded here.",
            "Wait until the other process has ended, or end it.",
        ),
        Cause::Newer => (
            "Nothing is wrong with what is recorded here: this program is too old to read it.",
            "Update fieldmesh on this device, then try again; the home stays as it is.",
        ),
        Cause::Full => (
            "Nothing is wrong with what is recorded here, as far as can be told: its disk is full.",
            "Free some space on that disk, then try again; the home stays as it is.",
        ),
        Cause::Other if missing.is_empty() => (UNREADABLE, REPLACE),
        Cause::Other => (UNREADABLE, "See below what is missing."),
    };
    let mut findings = vec![Finding {
        kind: "cannot-open".into(),
        open: true,
        what: format!("this home cannot be opened: {}", unopened.problem.detail),
        means: means.into(),
        done: "Nothing was changed.".into(),
        next: next.into(),
        record: None,
    }];
    findings.extend(missing.iter().map(|(name, what)| Finding {
        kind: "missing-file".into(),
        open: true,
        what: format!("`{name}` is missing in {}", folder.display()),
        means: format!("It holds {what}."),
        done: "Nothing was changed.".into(),
        next: format!("Put it back from a copy of this home. Without one: {REPLACE}"),
        record: None,
    }));
    DoctorReport { open: true, checking: None, remaking: None, findings }
}

#[cfg(test)]
mod tests {
    use fieldmesh::Error;

    use super::*;

    fn next(error: Error) -> String {
        unopened(Path::new("home"), &[], &error.into()).findings.remove(0).next
    }

    #[test]
    fn a_wrong_passphrase_is_no_reason_to_give_a_home_up() {
        let reason = || "it is so".to_owned();
        let wrong = next(Error::Locked { reason: reason() });
        assert!(wrong.contains("right passphrase") && !wrong.contains("join"), "{wrong}");
        let in_use = Error::InUse { folder: "home".into(), pid: None };
        assert!(next(in_use).contains("other process"));
        let newer = next(Error::Newer { what: "store".into(), version: 9, reads: 8 });
        assert!(newer.contains("pdate fieldmesh") && !newer.contains("invitation"), "{newer}");
        for damaged in [Error::Store { reason: reason() }, Error::Damaged { reason: reason() }] {
            let told = next(damaged);
            let place = |words| told.find(words).unwrap();
            assert!(place("restore FILE") < place("invitation"), "{told}");
        }
    }
}
