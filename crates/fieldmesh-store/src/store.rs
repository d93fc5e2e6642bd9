//! A store: the log, the view and the folder they lie in.
//!
//! ```text
//! lock        held while the store is open      store       whose folder this is
//! clean       there while the store is closed   reserve     room to close on a full disk
//! uncertain   there until found damage is settled
//! returned    there until whoever erases from the log has looked again
//! anew        there until a view that was begun anew is no matter any more
//! log/        the segments                      view/       sled
//! quarantine/ what was damaged
//! ```

mod appending;
mod kinds;
mod merging;
mod owner;
mod reading;
pub(crate) mod rekey;
mod remaking;
mod room;
mod slimming;
mod usage;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use fieldmesh_model::StoreId;

use crate::doubt::{self, Doubt};
use crate::files::{Files, RealFiles};
use crate::flag;
use crate::frame::LOG_VERSION;
use crate::key::DataKey;
use crate::keys::{DataKeys, KeysInUse};
use crate::lock::{FolderLock, LockError, by_process};
use crate::log::append::{AppendLimits, Appender, HAND_OVER_SHARE};
use crate::log::open::{Opened, Survey, SurveyError, TornTail};
use crate::log::quarantine::{self, QUARANTINE_FOLDER};
use crate::log::rewrite::{Fate, Past, RewriteError, Rewriter, Rewritten};
use crate::log::segments::Segments;
use crate::log::upkeep::ClosedSegment;
use crate::log::{self, BadFrame, Entry, LOG_FOLDER, Place, ReadError, segment_name};
use crate::mark;
use crate::quota::Quota;
use crate::random::NoRandomness;
use crate::reserve;
use crate::view::rows::{Rows, RowsError, RowsSource};
use crate::view::seal::VIEW_VERSION;
use crate::view::sled::SledSource;
use crate::view::{self, Belonging, View, ViewCondition, ViewError};
use crate::writer::Writer;

use self::reading::DamageListener;
pub use self::usage::DiskUsage;

const VIEW_FOLDER: &str = "view";

/// Sizes a store keeps to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Appends are refused when less than this would be free.
    pub free_bytes_min: u64,
    /// The file that is given up so that a full disk can be opened and closed; 0 for none.
    pub reserve_bytes: u64,
    /// A new segment begins when one has grown to this.
    pub segment_size_max: u64,
    /// The entries and blocks read last that are kept in memory.
    pub cache_bytes_max: usize,
    /// The memory sled may use for pages.
    pub view_cache_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            free_bytes_min: 32 * 1024 * 1024,
            reserve_bytes: 16 * 1024 * 1024,
            segment_size_max: 8 * 1024 * 1024,
            cache_bytes_max: 8 * 1024 * 1024,
            view_cache_bytes: 16 * 1024 * 1024,
        }
    }
}

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process has the store open: use that one or stop it.
    #[error("the store in {folder} is in use{}", by_process(*holder))]
    Locked {
        /// The store's folder.
        folder: PathBuf,
        /// The process that holds it, if it could say so.
        holder: Option<u32>,
    },
    /// A store that should be made is there already.
    #[error("there is a store in {folder} already")]
    NotEmpty {
        /// The store's folder.
        folder: PathBuf,
    },
    /// The data key is not the one of this store: choose the right profile.
    #[error("the key is not the one this store is encrypted with")]
    WrongKey,
    /// A newer program wrote a part of the store, and nothing was changed: use that one.
    #[error("{part} has version {version}, this program reads up to {reads}")]
    NewerVersion {
        /// The file or folder in the store's folder.
        part: String,
        /// Its version.
        version: u16,
        /// The newest version that can be read.
        reads: u16,
    },
    /// Something else stands where a file or a folder of the store belongs; nothing was changed.
    #[error(
        "{} is no {kind}; move it away, put the right one back if there is a copy, and try again",
        path.display()
    )]
    OtherKind {
        /// What stands there.
        path: PathBuf,
        /// What belongs there.
        kind: &'static str,
    },
    /// The disk reports an error.
    #[error("the store cannot be opened while {doing}")]
    Io {
        /// What was attempted.
        doing: &'static str,
        /// What the disk said.
        source: io::Error,
    },
    /// The log cannot be read at all.
    #[error("the log cannot be opened")]
    Log(#[from] ReadError),
    /// The view can neither be opened nor begun anew.
    #[error("the view cannot be opened")]
    View(#[from] ViewError),
    /// The system gives no randomness.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

/// Why a store was not closed in order; nothing acknowledged is lost.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CloseError {
    /// The view was not flushed; it is verified or rebuilt at the next open.
    #[error("the view was not flushed")]
    View(#[from] ViewError),
    /// The mark of a clean close was not written; the next open verifies the view.
    #[error("the mark of a clean close was not written")]
    Mark(#[source] io::Error),
}

/// What an open found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenReport {
    /// Whether the store was closed in order the last time.
    pub was_closed: bool,
    /// Damage in the last segment and segments whose heads are lost; [`Store::replay`] finds
    /// the rest.
    pub bad_frames: Vec<BadFrame>,
    /// The undecodable end of the log.
    pub torn_tail: Option<TornTail>,
    /// Segments whose files are gone, at most a thousand.
    pub missing_segments: Vec<u64>,
    /// How the view was found.
    pub view: ViewCondition,
    /// All that, as far as entries may be missing by it, in words; also what earlier opens found
    /// and nobody settled.
    pub damage: Vec<String>,
    lost: Vec<Range<u64>>,
    names_each_loss: bool,
}

impl OpenReport {
    /// Whether entries that were acknowledged once may be missing: begin a new chain epoch, then
    /// call [`Store::settle_damage`].
    pub fn past_is_uncertain(&self) -> bool {
        !self.damage.is_empty()
    }

    /// How many entries are known to be lost.
    pub fn lost_count(&self) -> u64 {
        self.lost.iter().map(|lost| lost.end.saturating_sub(lost.start)).sum()
    }

    /// The places of entries that are known to be lost.
    pub fn lost(&self) -> &[Range<u64>] {
        &self.lost
    }

    /// Whether [`OpenReport::lost`] is all that [`OpenReport::damage`] is about: there is no end of
    /// the log of which nobody knows what it held.
    pub fn names_each_loss(&self) -> bool {
        self.names_each_loss
    }

    /// Whether this entry is known to be lost.
    pub fn is_lost(&self, place: Place) -> bool {
        self.lost.iter().any(|lost| lost.contains(&place.0))
    }
}

/// An open store; shared by all threads, and everything in it blocks.
pub struct Store {
    files: Arc<dyn Files>,
    rows: Arc<dyn RowsSource>,
    keys: KeysInUse,
    id: StoreId,
    segments: Arc<Segments>,
    writer: Writer,
    view: View,
    view_was_rebuilt: bool,
    /// See [`Store::is_made_anew`].
    is_anew: AtomicBool,
    report: OpenReport,
    free_bytes_min: u64,
    quota: Quota,
    /// One segment at a time is written anew.
    rewriting: Mutex<()>,
    is_closing: AtomicBool,
    /// See [`Store::has_returned`].
    has_returned: AtomicBool,
    damage_listener: OnceLock<DamageListener>,
    lock: Mutex<Option<FolderLock>>,
}

impl Store {
    /// Opens the store in a folder, or creates one there.
    ///
    /// # Errors
    ///
    /// [`OpenError::Locked`] if the folder is in use, [`OpenError::WrongKey`] before anything is
    /// changed. Damage is no error: it is in [`Store::report`].
    pub fn open<K>(folder: impl AsRef<Path>, keys: &K, options: &Options) -> Result<Self, OpenError>
    where
        for<'a> &'a K: Into<DataKeys>,
    {
        let folder = folder.as_ref();
        Self::open_folder(folder, &keys.into(), options)
            .map_err(|error| kinds::explain(folder, error))
    }

    fn open_folder(folder: &Path, keys: &DataKeys, options: &Options) -> Result<Self, OpenError> {
        let files = RealFiles::open(folder).map_err(io_error("opening the folder"))?;
        let lock = FolderLock::take(folder).map_err(|error| match error {
            LockError::Held { holder } => OpenError::Locked { folder: folder.into(), holder },
            LockError::Io(source) => OpenError::Io { doing: "locking the folder", source },
        })?;
        let rows = SledSource::new(
            folder.join(VIEW_FOLDER),
            folder.join(QUARANTINE_FOLDER),
            options.view_cache_bytes,
        );
        let store = Self::open_on(Arc::new(files), Arc::new(rows), keys, options)?;
        *store.lock.lock().unwrap_or_else(PoisonError::into_inner) = Some(lock);
        Ok(store)
    }

    /// Opens a store on any disk and any rows; the caller sees to it that nobody else does.
    ///
    /// # Errors
    ///
    /// As [`Store::open`], but never [`OpenError::Locked`].
    pub fn open_on<K>(
        files: Arc<dyn Files>,
        rows: Arc<dyn RowsSource>,
        keys: &K,
        options: &Options,
    ) -> Result<Self, OpenError>
    where
        for<'a> &'a K: Into<DataKeys>,
    {
        let keys: DataKeys = keys.into();
        let mut survey = survey(&*files)?;
        let owner = owner::identify(&*files, &survey, &keys)?;
        let found = rows.open();
        refuse_newer(&found)?;
        let id = owner.settle(&*files)?;
        files.create_folder(LOG_FOLDER).map_err(io_error("creating the log's folder"))?;
        let clean = mark::take_clean(&*files).map_err(io_error("removing the clean mark"))?;
        reserve::keep(&*files, options);
        let mut doubt = Doubt::read(&*files).map_err(io_error("reading what was found before"))?;
        let missing_segments = survey.leave_out_merged(&*files, &keys, id);
        let in_use = KeysInUse::new(keys.clone());
        let mut opened =
            log::open::open(&files, &in_use, survey, options.cache_bytes_max, &mut doubt)?;
        let lines = doubt::of_log(&opened.bad_frames, &missing_segments);
        log::open::note(&*files, &mut doubt, lines.clone());
        let has_returned = flag::RETURNED.is_marked(&*files);
        let log_end = opened.segments.end();
        let belonging = Belonging { keys: &keys, store: id, log_end, trusted_build: clean };
        let (view, condition) = View::open(&*rows, found, &belonging)?;
        if condition == ViewCondition::AheadOfLog {
            let seen = view.applied()?;
            doubt
                .add(&*files, [doubt::of_view_ahead(belonging.log_end, seen)])
                .map_err(io_error("noting what the log has lost"))?;
            opened.go_on_behind(seen);
        }
        let report = OpenReport {
            names_each_loss: doubt.is_within(&lines) && opened.has_named_each_loss(),
            was_closed: clean.is_some(),
            bad_frames: opened.bad_frames.clone(),
            torn_tail: opened.torn_tail.clone(),
            missing_segments,
            view: condition,
            damage: doubt.into_lines(),
            lost: opened.lost.clone(),
        };
        let log_end = belonging.log_end;
        let view_was_rebuilt = remaking::was_rebuilt(condition, log_end);
        let is_anew = remaking::is_anew(&*files, view_was_rebuilt, (view.applied()?, log_end));
        let segments = Arc::clone(&opened.segments);
        let appender = appender(&files, &in_use, id, options, opened);
        let writer = Writer::start(appender).map_err(io_error("starting the log's thread"))?;
        Ok(Self {
            files,
            rows,
            keys: in_use,
            id,
            segments,
            writer,
            view,
            view_was_rebuilt,
            is_anew: AtomicBool::new(is_anew),
            report,
            free_bytes_min: options.free_bytes_min,
            quota: Quota::default(),
            rewriting: Mutex::new(()),
            is_closing: AtomicBool::new(false),
            has_returned: AtomicBool::new(has_returned),
            damage_listener: OnceLock::new(),
            lock: Mutex::new(None),
        })
    }

    /// The random id of this store.
    pub fn id(&self) -> StoreId {
        self.id
    }

    /// What the open found.
    pub fn report(&self) -> &OpenReport {
        &self.report
    }

    /// Says that whatever follows from [`OpenReport::damage`] is durable; until then every open
    /// reports it again.
    ///
    /// # Errors
    ///
    /// The next open reports it once more.
    pub fn settle_damage(&self) -> io::Result<()> {
        doubt::settle(&*self.files)
    }

    /// Writes a closed segment anew, in compressed blocks, asking what becomes of each entry.
    ///
    /// Places stay as they are. A crash at any moment leaves the old segment or the new one, and
    /// readers go on meanwhile. Nothing of a dropped entry is in the log when this returns; it may
    /// be in memory for a while.
    ///
    /// # Errors
    ///
    /// The segment is as it was, unless its folder could not be made durable at the end: then it
    /// may be either. Try again when the cause is gone.
    pub fn rewrite(
        &self,
        segment: u64,
        past: Past,
        mut decide: impl FnMut(Place, &Entry) -> Fate,
    ) -> Result<Rewritten, RewriteError> {
        self.rewrite_unless(&|| false, &[segment], past, &mut decide)
    }

    /// As [`Store::rewrite`], of several segments at once, and breaks off when `stop` says so.
    fn rewrite_unless(
        &self,
        stop: &dyn Fn() -> bool,
        segments: &[u64],
        past: Past,
        decide: &mut dyn FnMut(Place, &Entry) -> Fate,
    ) -> Result<Rewritten, RewriteError> {
        let _rewriting = self.rewriting.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_closing.load(Ordering::Relaxed) {
            return Err(RewriteError::Closed);
        }
        let stop = || self.is_closing.load(Ordering::Relaxed) || stop();
        let key = self.keys.current();
        let rewriter = self.rewriter(&key, &stop);
        rewriter.rewrite(segments, past, decide)
    }

    /// Who writes segments anew with this key.
    fn rewriter<'a>(&'a self, key: &'a DataKey, stop: &'a dyn Fn() -> bool) -> Rewriter<'a> {
        static NOT_ELSEWHERE: BTreeMap<Place, Arc<Entry>> = BTreeMap::new();
        let elsewhere = &NOT_ELSEWHERE;
        let (files, segments) = (&self.files, &self.segments);
        let free_bytes_min = self.free_bytes_min / HAND_OVER_SHARE;
        Rewriter { files, key, segments, elsewhere, free_bytes_min, stop }
    }

    /// Removes what was put into the quarantine of the log and of the view, damaged as it is: what
    /// must be gone for good may be in it, and nobody can tell.
    ///
    /// # Errors
    ///
    /// The disk reports an error; some of it may be left.
    pub fn discard_quarantine(&self) -> Result<(), ViewError> {
        let _rewriting = self.rewriting.lock().unwrap_or_else(PoisonError::into_inner);
        self.rows.forget_set_aside()?;
        quarantine::discard(&*self.files).map_err(RowsError::Io)?;
        Ok(())
    }

    /// Ends the segment being written if it has grown to `bytes_min`, so that it can be written
    /// anew; says whether it did. The next append begins another one.
    pub fn rotate(&self, bytes_min: u64) -> bool {
        !self.is_closing.load(Ordering::Relaxed) && self.writer.end_segment(bytes_min)
    }

    /// The segments that are not written any more; [`crate::worth_rewriting`] chooses among them.
    ///
    /// # Errors
    ///
    /// A segment cannot be opened.
    pub fn closed_segments(&self) -> Result<Vec<ClosedSegment>, ReadError> {
        self.segments.closed()
    }

    /// The last durable entry, dropped since or not.
    pub fn end(&self) -> Option<Place> {
        self.segments.end()
    }

    /// The view, to be brought up to [`Store::end`] by whoever understands the entries.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// Makes durable what is applied to the view; worth it now and then, never needed.
    ///
    /// # Errors
    ///
    /// The view is broken.
    pub fn flush_view(&self) -> Result<(), ViewError> {
        self.view.flush()
    }

    fn belonging<'a>(&self, keys: &'a DataKeys) -> Belonging<'a> {
        Belonging { keys, store: self.id, log_end: self.segments.end(), trusted_build: None }
    }

    /// Hashes what would tell something as a key of the view; the same in every build of it.
    ///
    /// Parts are kept apart: `["ab", "c"]` and `["a", "bc"]` differ.
    pub fn keyed_hash(&self, label: &str, parts: &[&[u8]]) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_keyed(&self.keys.all().of_index());
        for part in std::iter::once(label.as_bytes()).chain(parts.iter().copied()) {
            hasher.update(&(part.len() as u64).to_be_bytes());
            hasher.update(part);
        }
        *hasher.finalize().as_bytes()
    }

    /// Writes what is queued, flushes the view, marks the store as closed in order.
    ///
    /// Dropping the store does the same and tells nobody how it went. Closing twice does nothing.
    ///
    /// # Errors
    ///
    /// The next open verifies more; nothing acknowledged is lost.
    pub fn close(&self) -> Result<(), CloseError> {
        self.is_closing.store(true, Ordering::Relaxed);
        // Nothing is written into the folder once its lock is given back.
        drop(self.rewriting.lock().unwrap_or_else(PoisonError::into_inner));
        self.writer.close();
        reserve::release(&*self.files, self.free_bytes_min);
        let closed = match self.view.close() {
            Ok(build) => mark::write_clean(&*self.files, build).map_err(CloseError::Mark),
            Err(ViewError::Closed) => Ok(()),
            Err(error) => Err(CloseError::View(error)),
        };
        drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner).take());
        closed
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::warn!(%error, "store not closed in order");
        }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("id", &self.id).finish_non_exhaustive()
    }
}

fn io_error(doing: &'static str) -> impl FnOnce(io::Error) -> OpenError {
    move |source| OpenError::Io { doing, source }
}

fn survey(files: &dyn Files) -> Result<Survey, OpenError> {
    Survey::take(files).map_err(|error| match error {
        SurveyError::Io(source) => OpenError::Io { doing: "listing the log", source },
        SurveyError::Newer { segment, version } => {
            OpenError::NewerVersion { part: segment_name(segment), version, reads: LOG_VERSION }
        }
    })
}

/// Fails where a newer program wrote the view: what it means is unknown, and so is what else that
/// program has done to the store.
fn refuse_newer(found: &Result<Box<dyn Rows>, RowsError>) -> Result<(), OpenError> {
    let version = found.as_ref().ok().and_then(|rows| view::open::newer_version(&**rows));
    version.map_or(Ok(()), |version| {
        let reads = u16::from(VIEW_VERSION);
        Err(OpenError::NewerVersion { part: VIEW_FOLDER.into(), version: version.into(), reads })
    })
}

fn appender(
    files: &Arc<dyn Files>,
    keys: &KeysInUse,
    store: StoreId,
    options: &Options,
    opened: Opened,
) -> Appender {
    let Options { segment_size_max, free_bytes_min, .. } = *options;
    Appender {
        files: Arc::clone(files),
        keys: keys.clone(),
        store,
        segments: opened.segments,
        limits: AppendLimits { segment_size_max, free_bytes_min },
        next_number: opened.next_number,
        next_sequence: opened.next_sequence,
        given_up: opened.given_up,
        active: None,
    }
}
