//! The certificate of the port for HTTP, where an authority issues it to the relay itself by ACME.
//!
//! It is obtained at the start, renewed while a third of its life is left, and served without a
//! restart. Nothing waits for it: while there is none the port answers the authority alone, and the
//! log, `/readyz` and `/metrics` say so. What fails is tried again, ever more rarely, and at once
//! when the operator says so (SIGHUP).

mod authority;
mod conversation;
mod folder;
mod times;

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fieldmesh::api::Problem;
use fieldmesh_http::{Certificates, Outward, Pair};
use futures::FutureExt as _;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use self::conversation::{AcmeError, Conversation};
use self::folder::{AcmeFolder, KeptCertificate};
use crate::problem;
use crate::settings::AcmeSettings;

/// The longest text of an authority that is passed on.
const REASON_LENGTH_MAX: usize = 500;

/// Keeps the certificate of a port good.
pub(crate) struct Keeper {
    settings: AcmeSettings,
    folder: AcmeFolder,
    outward: Outward,
    certificates: Certificates,
    standing: Standing,
    /// The certificate that is shown, if it is the one that is wanted.
    shown: Option<Pair>,
    /// The certificate that is shown and that the disk did not take so far.
    unsaved: Option<KeptCertificate>,
    /// How often it failed since it last did not.
    failures: u32,
}

/// How a keeper does; clones are of the same one.
#[derive(Clone, Default)]
pub(crate) struct Standing {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    told: Notify,
    counted: Mutex<Counted>,
}

/// What a keeper has done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Counted {
    /// How many certificates it obtained.
    pub(crate) obtained: u64,
    /// How often it did not.
    pub(crate) failed: u64,
    /// Why it failed the last time, where it did.
    pub(crate) reason: Option<String>,
}

/// Fails where the authorities that are to be trusted cannot be read.
pub(crate) fn check(settings: &AcmeSettings) -> Result<Outward, Problem> {
    let outward = match &settings.roots {
        Some(path) => Outward::trusting_file(path),
        None => Outward::trusting_system(),
    };
    outward.map_err(|error| problem::usage(format!("acme_roots: {}", with_causes(&error))))
}

impl Keeper {
    /// Keeps what is in `folder`, and shows the certificate that is there.
    ///
    /// # Errors
    ///
    /// The authorities that are to be trusted cannot be read.
    pub(crate) fn open(settings: &AcmeSettings, folder: PathBuf) -> Result<Self, Problem> {
        let mut keeper = Self {
            settings: settings.clone(),
            folder: AcmeFolder::new(folder),
            outward: check(settings)?,
            certificates: Certificates::awaited(),
            standing: Standing::default(),
            shown: None,
            unsaved: None,
            failures: 0,
        };
        keeper.show_kept();
        Ok(keeper)
    }

    /// The certificates that it keeps.
    pub(crate) fn certificates(&self) -> Certificates {
        self.certificates.clone()
    }

    /// How it does.
    pub(crate) fn standing(&self) -> Standing {
        self.standing.clone()
    }

    /// Works until `stop`.
    pub(crate) async fn keep(mut self, stop: CancellationToken) {
        let _ = stop.run_until_cancelled(self.keep_on()).await;
    }

    async fn keep_on(&mut self) -> Infallible {
        if !self.certificates.is_there() {
            let directory = &self.settings.directory;
            tracing::warn!(directory, "no certificate so far; apps are served once there is one");
        }
        loop {
            let pause = self.turn().await;
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.standing.inner.told.notified() => {}
            }
        }
    }

    /// Does what is due; gives the pause after it.
    async fn turn(&mut self) -> Duration {
        // The library is not ours, and its fault must not end the relay.
        let done = AssertUnwindSafe(self.see_to_it()).catch_unwind().await;
        let failed = match done {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(plain(&with_causes(&error))),
            Err(_) => Some("a fault of the program; the log has a line for it".to_owned()),
        };
        let mut counted = self.standing.counted();
        counted.reason.clone_from(&failed);
        let Some(reason) = failed else {
            self.failures = 0;
            let validity = self.shown.as_ref().and_then(Pair::validity);
            return validity.map_or(times::pause(1), |validity| times::rest(validity, now()));
        };
        counted.failed += 1;
        drop(counted);
        self.failures += 1;
        let pause = times::pause(self.failures);
        let (directory, seconds) = (&self.settings.directory, pause.as_secs());
        match self.certificates.is_there() {
            false => tracing::error!(directory, reason, seconds, "no certificate; trying again"),
            true => {
                tracing::error!(
                    directory,
                    reason,
                    seconds,
                    "certificate not renewed; trying again"
                );
            }
        }
        pause
    }

    async fn see_to_it(&mut self) -> Result<(), AcmeError> {
        if let Some(unsaved) = &self.unsaved {
            self.folder.keep_certificate(unsaved).map_err(AcmeError::File)?;
            self.unsaved = None;
        }
        let is_good = |pair: &Pair| pair.validity().is_some_and(|it| !times::is_due(it, now()));
        if self.shown.as_ref().is_some_and(is_good) {
            return Ok(());
        }
        let conversation = Conversation {
            settings: &self.settings,
            folder: &self.folder,
            outward: &self.outward,
            certificates: &self.certificates,
        };
        let (certificate, pair) = Box::pin(conversation.obtain()).await?;
        // Shown first: it is good whether or not the disk takes it.
        self.certificates.show(pair.clone());
        let kept = self.folder.keep_certificate(&certificate);
        self.standing.counted().obtained += 1;
        let domains = self.settings.domains.iter().map(String::as_str).collect::<Vec<_>>();
        let expires = pair.validity().map(|validity| moment(validity.ends));
        tracing::info!(domains = domains.join(","), expires, "certificate obtained");
        let is_good = is_good(&pair);
        self.shown = Some(pair);
        if let Err(problem) = kept {
            self.unsaved = Some(certificate);
            return Err(AcmeError::File(problem));
        }
        // An authority that issues what is due at once must not be asked without a pause.
        if is_good { Ok(()) } else { Err(AcmeError::Due) }
    }

    /// Shows the certificate of the folder, if it can be used.
    fn show_kept(&mut self) {
        let kept = match self.folder.certificate() {
            Ok(None) => return,
            Ok(Some(kept)) => kept,
            Err(problem) => {
                let reason = problem.detail;
                return tracing::warn!(reason, "certificate lost; obtaining another one");
            }
        };
        let pair = match Pair::parse(&kept.chain, &kept.key) {
            Ok(pair) => pair,
            Err(error) => {
                let reason = with_causes(&error);
                return tracing::warn!(reason, "certificate damaged; obtaining another one");
            }
        };
        // One for other names is better than none until there is another.
        self.certificates.show(pair.clone());
        self.shown = kept.is_as_wanted(&self.settings).then_some(pair);
    }
}

impl Standing {
    /// Has the keeper look at once whether anything is to be done.
    pub(crate) fn look_now(&self) {
        self.inner.told.notify_one();
    }

    /// What was done.
    pub(crate) fn so_far(&self) -> Counted {
        self.counted().clone()
    }

    fn counted(&self) -> MutexGuard<'_, Counted> {
        self.inner.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The seconds since 1970.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

fn moment(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map(|at| at.to_string()).unwrap_or_default()
}

/// An error's words with those of its causes.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(&format!(": {inner}"));
        cause = inner.source();
    }
    text
}

/// Words of a stranger, on one line and no longer than somebody reads.
fn plain(text: &str) -> String {
    let shown = |letter: char| if letter.is_control() { ' ' } else { letter };
    text.chars().map(shown).take(REASON_LENGTH_MAX).collect()
}
