//! Reading everything that is stored, a little at a time, to find damage before it is needed.
//!
//! Reading is enough: whatever is damaged is told to those that mend it.

use std::ops::ControlFlow;
use std::sync::{Mutex, MutexGuard};

use fieldmesh_model::Moment;
use fieldmesh_store::Place;

use crate::clock;
use crate::entry::{Fact, Scrub};
use crate::error::Error;

use super::Ledger;

/// Entries that are read at once.
const STEP_ENTRIES: usize = 256;
/// After so many entries it is written down how far the check has come.
const NOTED_EVERY: u64 = 65_536;
/// So often everything is read, also on a home that is always closed in order.
const INTERVAL_MILLIS: i64 = 30 * 24 * 3_600 * 1_000;

/// Who reads everything more often than this need not have each time written down.
const READ_NOTED_MILLIS: i64 = 24 * 3_600 * 1_000;

/// How far the check of this run has come.
#[derive(Debug, Default)]
pub(super) struct Scrubbed(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    progress: Option<Progress>,
    /// Why a check was broken off.
    fault: Option<String>,
}

impl Scrubbed {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no holder of this lock panics")
    }
}

/// How far a check has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Progress {
    at: Option<Place>,
    /// Where it ends.
    end: Option<Place>,
    /// What was written down last.
    noted: Option<Place>,
}

impl Progress {
    /// How much is done, in percent.
    pub(crate) fn percent(&self) -> u64 {
        let count = |place: Option<Place>| place.map_or(0, |place| place.0.saturating_add(1));
        (count(self.at) * 100).checked_div(count(self.end)).map_or(100, |done| done.min(100))
    }
}

impl Ledger {
    /// Begins or continues a check where one is due: after an end that was not in order, where one
    /// was not finished, or after a month.
    pub(crate) fn begin_scrub(&self) -> Result<bool, Error> {
        let known = self.scrub_state()?;
        let now = clock::now();
        // A check of a time to come was dated by a clock that was wrong.
        let is_old =
            |finished: Moment| finished > now || now.millis_since(finished) > INTERVAL_MILLIS;
        let is_unclean = !self.store.report().was_closed && self.seen != Default::default();
        let is_due = known.is_open || is_unclean || known.finished.is_some_and(is_old);
        if !is_due {
            // The first month of a home begins with its first start.
            if known.finished.is_none() {
                let finished = Some(clock::now());
                self.remember(Fact::Scrubbed(Scrub { at: None, finished, is_open: false }))?;
            }
            return Ok(false);
        }
        let at = known.at.filter(|_| known.is_open && !is_unclean);
        let progress = Progress { at, end: self.store.end(), noted: at };
        self.scrubbed.state().progress = Some(progress);
        self.remember(Fact::Scrubbed(Scrub { at, is_open: true, ..known }))?;
        Ok(true)
    }

    /// Reads some more; whether anything is left.
    pub(crate) fn scrub(&self) -> Result<bool, Error> {
        let Some(mut progress) = self.scrub_progress() else { return Ok(false) };
        let mut count = 0;
        let mut last = None;
        let replayed = self.store.replay(progress.at, |place, _| {
            last = Some(place);
            count += 1;
            let is_enough = count >= STEP_ENTRIES || Some(place) >= progress.end;
            if is_enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        replayed.map_err(|error| Error::store(&error))?;
        let is_left = last.is_some() && last < progress.end;
        progress.at = last.or(progress.end);
        if !is_left {
            return self.finish_scrub().map(|()| false);
        }
        let behind = |place: Option<Place>| place.map_or(0, |place| place.0);
        if behind(progress.at) - behind(progress.noted) >= NOTED_EVERY {
            self.note_scrub(&mut progress)?;
        }
        self.scrubbed.state().progress = Some(progress);
        Ok(true)
    }

    /// Writes down how far a check has come that is not at its end.
    pub(crate) fn pause_scrub(&self) -> Result<(), Error> {
        match self.scrub_progress() {
            Some(mut progress) => self.note_scrub(&mut progress),
            None => Ok(()),
        }
    }

    /// How far the check has come that is under way.
    pub(crate) fn scrub_progress(&self) -> Option<Progress> {
        self.scrubbed.state().progress
    }

    /// That a check goes on, in words.
    pub(crate) fn checking(&self) -> Option<String> {
        let state = self.scrubbed.state();
        if let Some(fault) = &state.fault {
            return Some(format!(
                "what is stored could not be checked to the end, which is tried again at the next \
                 start: {fault}"
            ));
        }
        Some(format!("checking what is stored: {} %", state.progress?.percent()))
    }

    /// The check cannot go on in this run.
    pub(crate) fn break_off_scrub(&self, error: &Error) {
        let mut state = self.scrubbed.state();
        state.progress = None;
        state.fault = Some(error.to_string());
    }

    fn finish_scrub(&self) -> Result<(), Error> {
        if let Err(error) = self.view().verify() {
            tracing::warn!(%error, "the view is damaged");
            self.projector.reopen();
            self.catch_up()?;
        }
        self.scrubbed.state().progress = None;
        let finished = Some(clock::now());
        self.remember(Fact::Scrubbed(Scrub { at: None, finished, is_open: false }))
    }

    /// Notes that everything was read and nothing found, as a check would, once a day at most; one
    /// that is under way goes on and says so itself.
    pub(super) fn note_read(&self) -> Result<(), Error> {
        let (known, now) = (self.scrub_state()?, clock::now());
        let is_fresh =
            |finished: Moment| finished <= now && now.millis_since(finished) < READ_NOTED_MILLIS;
        let is_noted = !known.is_open && known.finished.is_some_and(is_fresh);
        if is_noted || self.scrub_progress().is_some() {
            return Ok(());
        }
        let finished = Some(now);
        self.remember(Fact::Scrubbed(Scrub { at: None, finished, is_open: false }))
    }

    fn note_scrub(&self, progress: &mut Progress) -> Result<(), Error> {
        progress.noted = progress.at;
        let known = self.scrub_state()?;
        self.remember(Fact::Scrubbed(Scrub { at: progress.at, is_open: true, ..known }))
    }

    /// When everything was read last, and whether a check is not finished.
    pub(crate) fn scrub_state(&self) -> Result<Scrub, Error> {
        Ok(match self.recall(&Fact::Scrubbed(Scrub::default()))? {
            Some(Fact::Scrubbed(scrub)) => scrub,
            _ => Scrub::default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::api::NewRecord;
    use crate::harm::Harm;
    use crate::{Node, TenantOptions};

    async fn reopen(home: &Path) -> Node {
        Node::builder(home).passphrase("one").open().await.unwrap()
    }

    /// A home with one record, of which a check has passed what is damaged.
    async fn damaged_home(home: &Path) {
        let options = TenantOptions { name: "Crew".into(), ..TenantOptions::default() };
        let builder = Node::builder(home).passphrase("one");
        let (node, _) = builder.create_tenant(options).await.unwrap();
        let assignments = ["name=Alder 1", "apiNumber=42-227-30001", "status=ACTIVE"];
        let assignments = assignments.map(String::from).to_vec();
        let collection = "well".into();
        let well = NewRecord { collection, assignments, ..NewRecord::default() };
        node.record(well).await.unwrap();
        node.ledger().seal(None).unwrap();
        node.ledger().catch_up().unwrap();
        node.shutdown().await.unwrap();
        let node = reopen(home).await;
        let (at, finished) = (node.ledger().store.end(), Some(clock::now()));
        let halfway = Scrub { at, finished, is_open: true };
        node.ledger().remember(Fact::Scrubbed(halfway)).unwrap();
        let report = node.ledger().store.report().clone();
        assert!(report.was_closed);
        node.shutdown().await.unwrap();
        let folder = std::fs::read_dir(home.join("store").join("log")).unwrap();
        let paths = folder.map(|entry| entry.unwrap().path());
        let largest = paths.max_by_key(|path| path.metadata().unwrap().len()).unwrap();
        let mut bytes = std::fs::read(&largest).unwrap();
        let near_the_end = bytes.len() - 400;
        bytes[near_the_end] ^= 1;
        std::fs::write(largest, bytes).unwrap();
    }

    /// Checks to the end; gives the damaged entries that are known then.
    fn check(ledger: &Ledger) -> Vec<Harm> {
        // The node's own may have come first.
        ledger.begin_scrub().unwrap();
        while ledger.scrub_state().unwrap().is_open {
            ledger.scrub().unwrap();
        }
        // It asks who holds what is lacking, and waits for that.
        tokio::task::block_in_place(|| ledger.mend()).unwrap();
        ledger.harms().unwrap()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_check_goes_on_where_it_stopped_and_begins_anew_after_a_crash() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("home");
        damaged_home(&home).await;
        let node = reopen(&home).await;
        assert_eq!(check(node.ledger()), [], "the damage lies before where it stopped");
        node.shutdown().await.unwrap();

        std::fs::remove_file(home.join("store").join("clean")).unwrap();
        let node = reopen(&home).await;
        // The node's own check may have found it and be about to note it.
        let noted = async {
            while check(node.ledger()).is_empty() {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(30), noted).await.unwrap();
        assert!(node.doctor().await.unwrap().findings.iter().any(|it| it.kind == "unclean-stop"));
        node.shutdown().await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_was_read_by_verify_is_not_read_once_more_by_the_check_of_the_month() {
        let folder = tempfile::tempdir().unwrap();
        let options = TenantOptions { name: "Crew".into(), ..TenantOptions::default() };
        let builder = Node::builder(folder.path().join("home")).passphrase("one");
        let (node, _) = builder.create_tenant(options).await.unwrap();
        let ledger = node.ledger();
        while ledger.scrub_state().unwrap().finished.is_none() {
            tokio::task::yield_now().await;
        }
        let long_ago = Some(clock::now().plus_millis(-2 * INTERVAL_MILLIS));
        let finished = Scrub { at: None, finished: long_ago, is_open: false };
        ledger.remember(Fact::Scrubbed(finished)).unwrap();
        assert!(node.verify().await.unwrap().clean);
        assert!(ledger.scrub_state().unwrap().finished > long_ago);
        assert!(!ledger.begin_scrub().unwrap(), "everything was read a moment ago");
        node.shutdown().await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_clock_that_once_was_years_ahead_does_not_put_off_the_check_for_years() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("home");
        damaged_home(&home).await;
        let node = reopen(&home).await;
        let in_years = Some(clock::now().plus_millis(100 * INTERVAL_MILLIS));
        let finished = Scrub { at: None, finished: in_years, is_open: false };
        node.ledger().remember(Fact::Scrubbed(finished)).unwrap();
        assert!(node.ledger().begin_scrub().unwrap());
        node.shutdown().await.unwrap();
    }
}
