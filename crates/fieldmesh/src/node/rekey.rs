//! Writes a home anew with another key, in the background, and goes on with it after a restart.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use fieldmesh_store::{RekeyError, RekeyProgress, RewriteError, Store};

use crate::api::{RekeyOptions, RekeyReport};
use crate::error::{Error, with_causes};
use crate::home::{Home, Unlock};

use super::Node;

/// How long it waits until it tries again what did not succeed.
const RETRY_INTERVAL: Duration = Duration::from_secs(15);

/// The rekey of one home, under way or not.
#[derive(Default)]
pub(super) struct Rekey {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    stopped: Condvar,
}

#[derive(Default)]
struct State {
    is_stopped: bool,
    /// There while one is under way.
    report: Option<RekeyReport>,
}

impl Node {
    /// Draws another data key and begins to write everything anew with it; the same secret opens
    /// the home. It goes on in the background, and after a restart; [`Node::status`] tells how far
    /// it has come.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`] where the secret is wrong, [`Error::Usage`] while one is under way.
    pub async fn rekey(&self, options: RekeyOptions) -> Result<RekeyReport, Error> {
        let unlock = match (options.passphrase, options.key_file) {
            (Some(passphrase), _) => Unlock::Passphrase(passphrase),
            (None, Some(path)) => Unlock::KeyFile(path),
            (None, None) => Unlock::DefaultKeyFile,
        };
        let inner = Arc::clone(&self.inner);
        self.blocking(move |ledger| {
            inner.rekey.begin(&inner.home, &ledger.store, &unlock)?;
            Ok(inner.rekey.report().unwrap_or_default())
        })
        .await
    }
}

impl Rekey {
    /// How far it has come, while one is under way.
    pub(super) fn report(&self) -> Option<RekeyReport> {
        self.shared.state().report.clone()
    }

    /// Goes on with one that was under way when the home was closed.
    pub(super) fn resume(&self, home: &Arc<Home>, store: &Arc<Store>) -> Result<(), Error> {
        if home.keys().before().is_none() {
            return Ok(());
        }
        self.start(&mut self.thread(), home, store)
    }

    /// Ends the thread; what is left is done after the next start.
    pub(super) fn stop(&self) {
        self.ask_to_stop();
        if let Some(thread) = self.thread().take()
            && thread.join().is_err()
        {
            tracing::error!("the rekey panicked");
        }
    }

    /// Has the thread end soon, and begins none any more.
    pub(super) fn ask_to_stop(&self) {
        self.shared.state().is_stopped = true;
        self.shared.stopped.notify_all();
    }

    fn begin(&self, home: &Arc<Home>, store: &Arc<Store>, unlock: &Unlock) -> Result<(), Error> {
        // One at a time, from here on.
        let mut thread = self.thread();
        if self.shared.state().is_stopped {
            return Err(Error::ShuttingDown);
        }
        let keys = home.begin_rekey(unlock)?;
        tracing::info!("rekey begun");
        store.begin_rekey(&keys);
        self.start(&mut thread, home, store)
    }

    fn start(
        &self,
        thread: &mut Option<JoinHandle<()>>,
        home: &Arc<Home>,
        store: &Arc<Store>,
    ) -> Result<(), Error> {
        self.shared.state().report = Some(RekeyReport::default());
        let (shared, home, store) = (Arc::clone(&self.shared), Arc::clone(home), Arc::clone(store));
        let spawned = std::thread::Builder::new()
            .name("fieldmesh-rekey".into())
            .spawn(move || shared.run(&home, &store));
        *thread = Some(spawned.map_err(|source| Error::File {
            what: "cannot start the thread that rekeys; it goes on after a restart".into(),
            source,
        })?);
        Ok(())
    }

    fn thread(&self) -> MutexGuard<'_, Option<JoinHandle<()>>> {
        self.thread.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Rekey {
    fn drop(&mut self) {
        // Without a shutdown the thread would keep the store open.
        self.stop();
    }
}

impl Shared {
    fn run(&self, home: &Home, store: &Store) {
        loop {
            match self.rekey(home, store) {
                Ok(true) => {
                    tracing::info!("rekey done");
                    self.state().report = None;
                    return;
                }
                Ok(false) => return,
                Err(error) => {
                    let words = with_causes(&error);
                    tracing::warn!(error = words, "rekey waits");
                    let mut state = self.state();
                    state.report.get_or_insert_default().problem = Some(words);
                }
            }
            if self.is_stopped_within(RETRY_INTERVAL) {
                return;
            }
        }
    }

    /// Does what is left; false where the store is being closed.
    fn rekey(&self, home: &Home, store: &Store) -> Result<bool, Error> {
        if self.state().is_stopped {
            return Ok(false);
        }
        home.rekey_identity()?;
        match store.rekey(|| self.state().is_stopped, |progress| self.tell(progress)) {
            Ok(()) => {}
            Err(RekeyError::Rewrite(RewriteError::Closed)) => return Ok(false),
            Err(error) => return Err(Error::store(&error)),
        }
        home.end_rekey()?;
        store.end_rekey();
        Ok(true)
    }

    fn tell(&self, progress: RekeyProgress) {
        let RekeyProgress { parts_done, parts_total } = progress;
        tracing::debug!(parts_done, parts_total, "rekey goes on");
        self.state().report = Some(RekeyReport { parts_done, parts_total, problem: None });
    }

    fn is_stopped_within(&self, time: Duration) -> bool {
        let state = self.state();
        let waited = self.stopped.wait_timeout_while(state, time, |state| !state.is_stopped);
        waited.unwrap_or_else(PoisonError::into_inner).0.is_stopped
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
