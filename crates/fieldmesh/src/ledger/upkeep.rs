//! The upkeep of the store: a little whenever nobody writes, or all of it because somebody asks.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::{Mutex, MutexGuard, PoisonError};

use fieldmesh_store::{
    ClosedSegment, DiskUsage, Fate, Form, Place, REWRITE_SIZE_MIN, RewriteError, Rewritten,
    neighbours,
};

use crate::api::{CompactReport, DiskReport, Progress};
use crate::error::Error;
use crate::upkeep::{self, Worth};

use super::Ledger;

/// The disk is low when less is free than so many times the limit at which recording is refused.
const LOW_FACTOR: u64 = 4;
/// From this size on the segment being written is ended because somebody asks for all there is to
/// gain: what its entries lose is more than the 4 KiB of another head.
const ROTATE_BYTES_MIN: u64 = 16 * 1024;

/// Which parts of the log are written anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// Those by which room is gained.
    Gainful,
    /// Those as well that are too small for that, where an entry in them is dead.
    EveryDead,
}

/// What the upkeep keeps in mind.
#[derive(Default)]
pub(crate) struct Upkeep {
    state: Mutex<State>,
    /// Held by whoever drops entries, or needs that none is dropped.
    turn: Mutex<()>,
}

#[derive(Default)]
struct State {
    /// The end of the log when it was looked at last.
    seen: Option<Place>,
    /// The end of the log when nothing was left to do.
    done: Option<Place>,
    /// Segments that cannot be written anew; the next start tries again.
    passed_over: BTreeSet<u64>,
    /// Why the last try did not work.
    fault: Option<String>,
}

impl Ledger {
    /// One piece of upkeep, if nobody has written since the last look; says whether there may be
    /// more. Blocks.
    ///
    /// Nothing that goes wrong here harms the home: it is noted, and the log stays as it is.
    pub(crate) fn keep_up(&self) -> bool {
        let Ok(_turn) = self.upkeep.turn.try_lock() else { return false };
        let end = self.store.end();
        let mut state = self.upkeep.state();
        let is_quiet = std::mem::replace(&mut state.seen, end) == end;
        let is_current = self.projector.applied() >= end && self.projector.fault().is_none();
        if !is_quiet || !is_current || end.is_none() || state.done == end {
            return false;
        }
        let passed_over = state.passed_over.clone();
        drop(state);
        let worked = self.rewrite_next(&passed_over);
        // What is let go makes room.
        let lacks_room = matches!(worked, Err((_, RewriteError::DiskFull { .. })));
        let mut state = self.upkeep.state();
        let failed = match worked {
            Ok(true) => None,
            Ok(false) => {
                state.done = end;
                drop(state);
                let shrunk = self.store.compact_idle_view();
                state = self.upkeep.state();
                shrunk.err().map(|error| with_cause(&error))
            }
            Err((_, RewriteError::Closed)) => return false,
            Err((segments, error)) => {
                // Room may come back; a segment that cannot be read is for `verify` to tell.
                if !matches!(error, RewriteError::DiskFull { .. } | RewriteError::Io(_)) {
                    // Those on each side of it may become one all the same.
                    let at_fault = error.segment().filter(|segment| segments.contains(segment));
                    state.passed_over.extend(at_fault.map_or(segments, |segment| vec![segment]));
                }
                Some(with_cause(&error))
            }
        };
        if failed != state.fault
            && let Some(reason) = &failed
        {
            tracing::warn!(reason, "the store is not made smaller");
        }
        state.fault = failed;
        state.done != end && !lacks_room
    }

    /// Why the upkeep does not get on, in words.
    pub(crate) fn upkeep_fault(&self) -> Option<String> {
        let fault = self.upkeep.state().fault.clone()?;
        Some(format!("the store cannot be made smaller at the moment: {fault}"))
    }

    /// What this home takes of the disk, and what the disk has left.
    pub(crate) fn disk(&self) -> Result<DiskReport, Error> {
        let usage = self.usage()?;
        Ok(DiskReport {
            log: usage.log_bytes,
            view: usage.view_bytes,
            quarantine: usage.quarantine_bytes,
            reserve: usage.reserve_bytes,
            free: usage.free_bytes,
            full: usage.is_full(),
            low: is_low(&usage),
            may_free: self.may_free(),
        })
    }

    /// Does all the upkeep by which room is gained. Blocks.
    pub(crate) fn compact(
        &self,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<CompactReport, Error> {
        self.rewrite_all(Extent::Gainful, progress)
    }

    /// Writes anew what `extent` names. Nothing of it is left where the report has no fault. Blocks.
    pub(super) fn rewrite_all(
        &self,
        extent: Extent,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<CompactReport, Error> {
        self.catch_up()?;
        let _turn = self.upkeep.pause();
        let before = self.usage()?;
        self.store.rotate(match extent {
            Extent::Gainful => ROTATE_BYTES_MIN,
            Extent::EveryDead => 0,
        });
        let closed = self.store.closed_segments().map_err(|error| Error::store(&error))?;
        let mut report = CompactReport::default();
        let (mut done, of) = (0, closed.len() as u64);
        for run in neighbours(&closed) {
            self.rewrite_run(run, extent, &mut report)?;
            done += run.len() as u64;
            progress(Progress::Compact { done, of });
        }
        let removed = self.store.remove_merged();
        report.faults.extend(removed.err().map(|error| with_cause(&error)));
        self.store.compact_idle_view().map_err(|error| Error::store(&error))?;
        let after = self.usage()?;
        (report.log_before, report.log_after) = (before.log_bytes, after.log_bytes);
        (report.view_before, report.view_after) = (before.view_bytes, after.view_bytes);
        Ok(report)
    }

    /// Writes anew the segment by which most is gained, or makes one of many small ones; says
    /// whether there was anything to do.
    fn rewrite_next(&self, passed_over: &BTreeSet<u64>) -> Result<bool, (Vec<u64>, RewriteError)> {
        // A log that cannot be read is for `verify` to tell.
        let Ok(closed) = self.store.closed_segments() else { return Ok(false) };
        if self.store.rotate(upkeep::rotate_at(&closed)) {
            return Ok(true);
        }
        let run = upkeep::next(&self.store, closed, passed_over).unwrap_or_default();
        if run.is_empty() {
            return Ok(false);
        }
        match self.rewrite(&run) {
            Ok(rewritten) => {
                let (segments, before) = (run.len(), rewritten.bytes_before);
                let (after, dropped) = (rewritten.bytes_after, rewritten.dropped);
                tracing::debug!(segments, before, after, dropped, "log segments written anew");
                Ok(true)
            }
            Err(error) => Err((run.iter().map(|segment| segment.number).collect(), error)),
        }
    }

    /// Makes one segment of neighbours; where one of them stands in the way, of those before it and
    /// of those behind it.
    fn rewrite_run(
        &self,
        run: &[ClosedSegment],
        extent: Extent,
        report: &mut CompactReport,
    ) -> Result<(), Error> {
        let mut left = vec![run];
        while let Some(run) = left.pop() {
            if let [segment] = run {
                if self.is_worth_it(segment, extent)? {
                    self.rewrite_into(run, report)?;
                }
                continue;
            }
            let Some(error) = self.rewrite_into(run, report)? else { continue };
            let at = run.iter().position(|segment| Some(segment.number) == error.segment());
            match at {
                Some(at) => left.extend([&run[at + 1..], &run[at..=at], &run[..at]]),
                None => left.extend(run.chunks(1).rev()),
            }
            left.retain(|run| !run.is_empty());
        }
        Ok(())
    }

    /// As [`Ledger::rewrite`], and says in the report what came of it; what stands in the way.
    fn rewrite_into(
        &self,
        run: &[ClosedSegment],
        report: &mut CompactReport,
    ) -> Result<Option<RewriteError>, Error> {
        let error = match self.rewrite(run) {
            Ok(rewritten) => {
                report.segments += run.len() as u64;
                report.dropped += rewritten.dropped;
                return Ok(None);
            }
            Err(RewriteError::Closed) => return Err(Error::ShuttingDown),
            Err(error) => error,
        };
        // One after the other they need less of the disk.
        let may_fit = run.len() > 1 && matches!(error, RewriteError::DiskFull { .. });
        let fault = with_cause(&error);
        if !may_fit && !report.faults.contains(&fault) {
            report.faults.push(fault);
        }
        Ok(Some(error))
    }

    /// Writes a segment anew, or several neighbours as one.
    pub(super) fn rewrite(&self, run: &[ClosedSegment]) -> Result<Rewritten, RewriteError> {
        let numbers: Vec<u64> = run.iter().map(|segment| segment.number).collect();
        let (Some(first), Some(last)) = (run.first(), run.last()) else {
            return Err(RewriteError::NotFound { segment: 0 });
        };
        let places = first.places.start..last.places.end;
        let worth = Worth::read(&self.store, self.device(), &places);
        let mut worth = worth.map_err(std::io::Error::other)?;
        let is_dead = |place, entry: &_| worth.decide(place, entry) == Fate::Drop;
        let rewritten = self.store.merge(&numbers, is_dead)?;
        self.note_indexes(run);
        Ok(rewritten)
    }

    /// Keeps entries from being dropped for as long as the guard is held.
    pub(super) fn pause_upkeep(&self) -> MutexGuard<'_, ()> {
        self.upkeep.pause()
    }

    /// Whether a segment is to be written anew.
    fn is_worth_it(&self, segment: &ClosedSegment, extent: Extent) -> Result<bool, Error> {
        let is_large = segment.bytes >= REWRITE_SIZE_MIN;
        if !segment.has_index || (is_large && segment.form == Form::Frames) {
            return Ok(true);
        }
        Ok((is_large || extent == Extent::EveryDead) && self.has_dead(segment)?)
    }

    fn has_dead(&self, segment: &ClosedSegment) -> Result<bool, Error> {
        let mut worth = Worth::read(&self.store, self.device(), &segment.places)?;
        let mut has_dead = false;
        let after = segment.places.start.checked_sub(1).map(Place);
        let replayed = self.store.replay(after, |place, entry| {
            if place.0 >= segment.places.end {
                return ControlFlow::Break(());
            }
            has_dead = worth.decide(place, &entry) == Fate::Drop;
            if has_dead { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        replayed.map_err(|error| Error::store(&error))?;
        Ok(has_dead)
    }

    fn usage(&self) -> Result<DiskUsage, Error> {
        self.store.disk_usage().map_err(|error| Error::store(&error))
    }
}

impl Upkeep {
    /// Keeps entries from being dropped for as long as the guard is held.
    pub(crate) fn pause(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }
}

/// Whether recording may soon be refused.
fn is_low(usage: &DiskUsage) -> bool {
    let low = usage.free_bytes_min.saturating_mul(LOW_FACTOR);
    usage.free_bytes.is_some_and(|free| free < low)
}

/// An error with what caused it.
fn with_cause(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::NewRecord;
    use crate::{Node, TenantOptions};

    async fn tenant(folder: &std::path::Path) -> Node {
        let options = TenantOptions { name: "Crew".into(), ..TenantOptions::default() };
        let builder = Node::builder(folder.join("lead")).passphrase("one");
        builder.create_tenant(options).await.unwrap().0
    }

    async fn record(node: &Node, number: usize) {
        let assignments = [
            "wellId=Alder 1".into(),
            "entryType=PRODUCTION".into(),
            format!("oilVolume={}", number % 400),
            format!("notes=round {number}"),
        ];
        let (collection, assignments) = ("field_entry".into(), assignments.to_vec());
        node.record(NewRecord { collection, assignments, ..NewRecord::default() }).await.unwrap();
    }

    /// A batch for each entry, as a connected device makes them.
    async fn entries(node: &Node, count: usize) {
        let assignments = ["name=Alder 1", "apiNumber=42-227-30001", "status=ACTIVE"];
        let assignments = assignments.map(String::from).to_vec();
        let well = NewRecord { collection: "well".into(), assignments, ..NewRecord::default() };
        node.record(well).await.unwrap();
        for number in 0..count {
            record(node, number).await;
            node.ledger().seal(None).unwrap();
        }
    }

    fn keep_up(node: &Node) {
        node.ledger().catch_up().unwrap();
        // The first look only sees how far the log is.
        node.ledger().keep_up();
        while node.ledger().keep_up() {}
    }

    /// What an entry may take in the log of a quiet home, with its batch and its share of all else.
    const LOG_BYTES_MAX: u64 = 285;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_small_home_at_rest_does_not_keep_every_entry_twice() {
        const ENTRIES: usize = 300;
        let folder = tempfile::tempdir().unwrap();
        let node = tenant(folder.path()).await;
        entries(&node, ENTRIES).await;
        let busy = node.ledger().disk().unwrap().log;
        keep_up(&node);
        let quiet = node.ledger().disk().unwrap().log;
        let bytes_max = LOG_BYTES_MAX * ENTRIES as u64;
        assert!(quiet <= bytes_max, "{quiet} bytes of {busy}, limit is {bytes_max}");
        assert_all_here(&node, ENTRIES).await;
        assert_eq!(node.ledger().upkeep_fault(), None);
        // Whoever goes on finds the same home, and so does the next start.
        record(&node, ENTRIES).await;
        assert_all_here(&node, ENTRIES + 1).await;
        node.shutdown().await.unwrap();
        let node = Node::builder(folder.path().join("lead")).passphrase("one");
        let node = node.open().await.unwrap();
        assert_all_here(&node, ENTRIES + 1).await;
        node.shutdown().await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn whoever_asks_for_it_gets_the_home_as_small_as_it_can_be_at_once() {
        const ENTRIES: usize = 120;
        let folder = tempfile::tempdir().unwrap();
        let node = tenant(folder.path()).await;
        entries(&node, ENTRIES).await;
        let (sender, told) = std::sync::mpsc::channel();
        let tell = move |progress| sender.send(progress).unwrap();
        let report = node.compact(tell).await.unwrap();
        assert!(report.log_after * 3 < report.log_before, "{report:?}");
        assert!(report.view_after <= report.view_before, "{report:?}");
        assert!(report.dropped as usize >= ENTRIES && report.faults.is_empty(), "{report:?}");
        assert!(matches!(told.iter().last(), Some(Progress::Compact { done, of }) if done == of));
        assert_all_here(&node, ENTRIES).await;
        let again = node.compact(|_| {}).await.unwrap();
        assert_eq!((again.segments, again.log_after), (0, report.log_after));
        node.shutdown().await.unwrap();
    }

    /// Opens the home once more for each run, as a device that is used a little every day, and
    /// returns it with how many entries it has.
    async fn runs(folder: &std::path::Path, runs: usize, count: usize) -> Node {
        let mut node = tenant(folder).await;
        entries(&node, 0).await;
        for _ in 0..runs {
            for number in 0..count {
                record(&node, number).await;
                node.ledger().seal(None).unwrap();
            }
            node.shutdown().await.unwrap();
            node = Node::builder(folder.join("lead")).passphrase("one").open().await.unwrap();
        }
        node
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_many_short_runs_wrote_is_made_smaller_as_well() {
        const RUNS: usize = 4;
        const ENTRIES: usize = 20;
        for is_asked_for in [true, false] {
            let folder = tempfile::tempdir().unwrap();
            let node = runs(folder.path(), RUNS, ENTRIES).await;
            let before = node.ledger().disk().unwrap().log;
            if is_asked_for {
                let report = node.compact(|_| {}).await.unwrap();
                assert!(report.segments as usize >= RUNS, "{report:?}");
                let again = node.compact(|_| {}).await.unwrap();
                assert_eq!((again.segments, again.log_after), (0, report.log_after));
            } else {
                keep_up(&node);
            }
            let after = node.ledger().disk().unwrap().log;
            assert!(after * 3 < before * 2, "{before} before, {after} now");
            assert_all_here(&node, RUNS * ENTRIES).await;
            node.shutdown().await.unwrap();
        }
    }

    fn files_of_the_log(folder: &std::path::Path) -> usize {
        std::fs::read_dir(folder.join("lead/store/log")).unwrap().count()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_many_commands_recorded_does_not_stay_in_a_file_for_each() {
        const COMMANDS: usize = 12;
        for is_asked_for in [true, false] {
            let folder = tempfile::tempdir().unwrap();
            let node = runs(folder.path(), COMMANDS, 1).await;
            let before = (files_of_the_log(folder.path()), node.ledger().disk().unwrap().log);
            if is_asked_for {
                let report = node.compact(|_| {}).await.unwrap();
                assert!(report.segments as usize >= COMMANDS, "{report:?}");
                let again = node.compact(|_| {}).await.unwrap();
                assert_eq!((again.segments, again.log_after), (0, report.log_after));
            } else {
                keep_up(&node);
                assert_eq!(node.ledger().upkeep_fault(), None);
            }
            let after = (files_of_the_log(folder.path()), node.ledger().disk().unwrap().log);
            assert!(before.0 > COMMANDS && after.0 <= 2, "{before:?}, then {after:?}");
            assert!(after.1 * 4 < before.1, "{before:?}, then {after:?}");
            assert_all_here(&node, COMMANDS).await;
            node.shutdown().await.unwrap();
            let node = Node::builder(folder.path().join("lead")).passphrase("one");
            let node = node.open().await.unwrap();
            assert_all_here(&node, COMMANDS).await;
            node.shutdown().await.unwrap();
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn one_segment_that_cannot_be_read_keeps_none_on_either_side_from_becoming_one() {
        const COMMANDS: usize = 22;
        for is_asked_for in [true, false] {
            let folder = tempfile::tempdir().unwrap();
            let node = runs(folder.path(), COMMANDS, 1).await;
            let closed = node.ledger().store.closed_segments().unwrap();
            let bad = closed[closed.len() / 2].number;
            // As an end looks that the disk did not give when the home was opened.
            let name = format!("lead/store/log/{bad:016}.log");
            let mut file =
                std::fs::OpenOptions::new().append(true).open(folder.path().join(name)).unwrap();
            std::io::Write::write_all(&mut file, &[7; 9]).unwrap();
            if is_asked_for {
                let report = node.compact(|_| {}).await.unwrap();
                assert_eq!(report.faults.len(), 1, "{report:?}");
            } else {
                keep_up(&node);
            }
            let left = node.ledger().store.closed_segments().unwrap();
            let numbers: Vec<u64> = left.iter().map(|segment| segment.number).collect();
            assert!(numbers.contains(&bad) && numbers.len() <= 4, "{bad} of {numbers:?}");
            node.shutdown().await.unwrap();
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_waits_for_a_batch_becomes_one_only_once_it_has_it() {
        const COMMANDS: usize = 10;
        let folder = tempfile::tempdir().unwrap();
        let mut node = tenant(folder.path()).await;
        entries(&node, 0).await;
        for number in 0..COMMANDS {
            record(&node, number).await;
            node.shutdown().await.unwrap();
            let builder = Node::builder(folder.path().join("lead")).passphrase("one");
            node = builder.open().await.unwrap();
        }
        let before = files_of_the_log(folder.path());
        keep_up(&node);
        assert!(before > COMMANDS && files_of_the_log(folder.path()) >= COMMANDS, "{before}");
        node.ledger().seal(None).unwrap();
        keep_up(&node);
        let after = files_of_the_log(folder.path());
        assert!(after <= 2, "{before}, then {after}");
        assert_all_here(&node, COMMANDS).await;
        node.shutdown().await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_damaged_index_of_the_log_is_told_as_no_loss_and_mended() {
        for is_asked_for in [true, false] {
            let folder = tempfile::tempdir().unwrap();
            let node = tenant(folder.path()).await;
            entries(&node, 20).await;
            node.compact(|_| {}).await.unwrap();
            let merged = node.ledger().store.closed_segments().unwrap()[0].number;
            node.shutdown().await.unwrap();
            let path = folder.path().join(format!("lead/store/log/{merged:016}.log"));
            let mut bytes = std::fs::read(&path).unwrap();
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
            std::fs::write(path, bytes).unwrap();
            for run in 0..2 {
                let builder = Node::builder(folder.path().join("lead")).passphrase("one");
                let node = builder.open().await.unwrap();
                if !is_asked_for {
                    keep_up(&node);
                }
                assert_all_here(&node, 20).await;
                assert!(node.status().await.unwrap().damage.is_empty(), "run {run}");
                let report = node.doctor().await.unwrap();
                let is_told = report.findings.iter().any(|it| it.what.contains("index"));
                assert!(!report.open && is_told, "run {run}: {report:#?}");
                let replayed = node.ledger().store.replay(None, |_, _| ControlFlow::Continue(()));
                assert_eq!(replayed.unwrap().bad_frames, []);
                node.shutdown().await.unwrap();
            }
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn nothing_is_written_anew_while_somebody_records() {
        let folder = tempfile::tempdir().unwrap();
        let node = tenant(folder.path()).await;
        entries(&node, 1).await;
        for number in 0..3 {
            record(&node, number).await;
            node.ledger().catch_up().unwrap();
            assert!(!node.ledger().keep_up(), "the log has grown since the last look");
        }
        node.shutdown().await.unwrap();
    }

    async fn assert_all_here(node: &Node, count: usize) {
        node.ledger().catch_up().unwrap();
        assert_eq!(node.status().await.unwrap().records["field_entry"], count as u64);
        let checked = node.verify().await.unwrap();
        assert!(checked.clean, "{checked:?}");
        assert_eq!(checked.records as usize, count + 1);
    }

    /// What `compact` makes of a home that was opened for every `N=50` entries, `RUNS=30` times.
    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "it only measures"]
    async fn what_an_entry_of_a_short_run_takes() {
        let asked = |name, or| std::env::var(name).map_or(or, |count| count.parse().unwrap());
        let (count, of) = (asked("N", 50), asked("RUNS", 30));
        let folder = tempfile::tempdir().unwrap();
        let node = runs(folder.path(), of, count).await;
        let report = node.compact(|_| {}).await.unwrap();
        let each = |bytes: u64| bytes / (count * of) as u64;
        println!("{} bytes an entry, then {}", each(report.log_before), each(report.log_after));
        println!("{report:?}");
        node.shutdown().await.unwrap();
    }

    /// The bytes an entry that are stated beside the limits: `N=6000` entries, one batch each.
    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "it only measures"]
    async fn what_an_entry_takes() {
        let count: usize = std::env::var("N").map_or(2_000, |count| count.parse().unwrap());
        let folder = tempfile::tempdir().unwrap();
        let node = tenant(folder.path()).await;
        entries(&node, count).await;
        println!("busy {:?}", node.ledger().disk().unwrap());
        keep_up(&node);
        println!("at rest {:?}", node.ledger().disk().unwrap());
        node.shutdown().await.unwrap();
    }
}
