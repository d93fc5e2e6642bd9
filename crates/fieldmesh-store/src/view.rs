//! The view: sorted, encrypted rows derived from the log, kept in sled or in memory.
//!
//! It may lag behind the log and may be lost; whoever writes it replays the log from
//! [`View::applied`] after an open. One [`WriteSet`] is applied as a whole: readers and crashes
//! see all of it or nothing, across trees, because all trees share one sorted space.
//!
//! Rows lie in compressed, encrypted pages of at most 4 KiB, because sled multiplies what it is
//! given by the number of rows; a set of few changes is kept as it is until it pays to write its
//! pages. Of keys only the beginnings of some can be read on the disk: put a keyed hash where even
//! that would tell something. Large values are stored in pieces, which nobody outside notices;
//! sled would write them to files that it never syncs.

mod apply;
mod cache;
pub(crate) mod compact;
mod content;
mod filter;
mod guard;
pub mod memory;
pub(crate) mod open;
mod opened;
mod page;
pub(crate) mod range;
mod recent;
pub mod rows;
pub(crate) mod seal;
pub mod sled;
pub(crate) mod tally;
pub(crate) mod tree;
pub mod write;

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

pub use self::compact::is_wasteful;
use self::filter::Filter;
pub(crate) use self::open::Belonging;
use self::open::open_or_rebuild;
use self::opened::OpenView;
pub use self::range::{Direction, KeyRange};
use self::rows::{Rows, RowsError, RowsSource};
use self::seal::VIEW_VERSION;
pub use self::tree::Tree;
pub use self::write::WriteSet;
use crate::key::DataKey;
use crate::log::Place;
use crate::random;

/// The largest value in bytes.
pub const VALUE_SIZE_MAX: usize = 2 * 1024 * 1024;
/// The largest key in bytes.
pub const KEY_SIZE_MAX: usize = 512;

/// Keys read at once when a tree is counted.
const COUNTED_AT_ONCE: usize = 1_024;

/// The rows of the view itself.
pub(crate) const OWN_TREE: u8 = 0;

/// Why the view cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ViewError {
    /// A row is damaged or gone. The view is broken from here on: reopen it.
    #[error("a row of the view is damaged")]
    Damaged,
    /// The storage below fails. The view is broken from here on: reopen it.
    #[error("the view cannot be used")]
    Rows(#[from] RowsError),
    /// An earlier error broke the view: [`crate::Store::reopen_view`], then replay.
    #[error("the view is broken by an earlier error")]
    Broken,
    /// The store is closed.
    #[error("the store is closed")]
    Closed,
    /// A newer program wrote the view; it is as it was.
    #[error("the view has version {version}, this program reads up to {VIEW_VERSION}")]
    NewerVersion {
        /// Its version.
        version: u8,
    },
    /// A value is too large.
    #[error("a value has {size} bytes, limit is {VALUE_SIZE_MAX}")]
    ValueTooLarge {
        /// Its size in bytes.
        size: usize,
    },
    /// A key is too large.
    #[error("a key has {size} bytes, limit is {KEY_SIZE_MAX}")]
    KeyTooLarge {
        /// Its size in bytes.
        size: usize,
    },
    /// The system gives no randomness to encrypt with.
    #[error(transparent)]
    NoRandomness(#[from] random::NoRandomness),
}

/// How the view was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ViewCondition {
    /// It was there and is in order.
    Kept,
    /// There was none.
    Created,
    /// It could not be opened or contradicted itself; it lies in the quarantine.
    Damaged,
    /// It belongs to another store or was encrypted with another key.
    Foreign,
    /// An earlier version of the program wrote it.
    EarlierVersion,
    /// It was applied beyond the end of the log, so the log has lost something: what is in the view
    /// is all that is known of that, and it is kept.
    AheadOfLog,
}

/// A key and its value.
pub type Row = (Vec<u8>, Vec<u8>);

/// The opened view; shared by all threads.
pub struct View {
    state: RwLock<State>,
    /// Held by whoever changes the view or has it written anew; taken before the state.
    writing: Mutex<()>,
}

enum State {
    Open(Box<OpenView>),
    Broken { must_rebuild: bool },
    Closed,
}

impl View {
    /// Opens the view, or sets a bad one aside and begins a new one.
    pub(crate) fn open(
        source: &dyn RowsSource,
        found: Result<Box<dyn Rows>, RowsError>,
        belonging: &Belonging<'_>,
    ) -> Result<(Self, ViewCondition), ViewError> {
        // What the system refused may be granted by now: the reserve was given up.
        let found = match found {
            Err(RowsError::Io(_)) => source.open(),
            found => found,
        };
        let (open, condition) = open_or_rebuild(source, found, belonging)?;
        let state = RwLock::new(State::Open(Box::new(open)));
        Ok((Self { state, writing: Mutex::new(()) }, condition))
    }

    /// Opens the view again after an error broke it.
    pub(crate) fn reopen(
        &self,
        source: &dyn RowsSource,
        belonging: &Belonging<'_>,
    ) -> Result<ViewCondition, ViewError> {
        let _writing = self.writing();
        let mut state = self.write_state();
        let must_rebuild = match *state {
            State::Closed => return Err(ViewError::Closed),
            State::Broken { must_rebuild } => must_rebuild,
            State::Open(_) => false,
        };
        // The old handle holds sled's lock until it is gone.
        drop(std::mem::replace(&mut *state, State::Broken { must_rebuild }));
        if must_rebuild {
            source.set_aside()?;
        }
        let (open, condition) = open_or_rebuild(source, source.open(), belonging)?;
        *state = State::Open(Box::new(open));
        Ok(if must_rebuild { ViewCondition::Damaged } else { condition })
    }

    /// The value under a key.
    ///
    /// # Errors
    ///
    /// The view is broken or closed.
    pub fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<Vec<u8>>, ViewError> {
        let state = self.read_state();
        let result = state.open().and_then(|open| open.get(tree, key));
        drop(state);
        self.note(result)
    }

    /// At most `limit` rows of a range; go on with [`KeyRange::after`] the last key.
    ///
    /// # Errors
    ///
    /// The view is broken or closed.
    pub fn scan(
        &self,
        tree: Tree,
        range: &KeyRange,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Row>, ViewError> {
        let state = self.read_state();
        let result =
            state.open().and_then(|open| open.scan(&range.in_tree(tree as u8), direction, limit));
        drop(state);
        self.note(result)
    }

    /// At most `limit` keys of a range, without putting a value together.
    ///
    /// # Errors
    ///
    /// The view is broken or closed.
    pub fn keys(
        &self,
        tree: Tree,
        range: &KeyRange,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Vec<u8>>, ViewError> {
        let state = self.read_state();
        let result = state.open().and_then(|open| {
            let rows = open.contents(&range.in_tree(tree as u8), direction, limit)?;
            Ok(rows.into_iter().map(|(key, _)| key[1..].to_vec()).collect())
        });
        drop(state);
        self.note(result)
    }

    /// The number of rows in a tree, counted by reading its keys.
    ///
    /// # Errors
    ///
    /// The view is broken or closed.
    pub fn count(&self, tree: Tree) -> Result<u64, ViewError> {
        let mut range = KeyRange::all();
        let mut count = 0;
        loop {
            let keys = self.keys(tree, &range, Direction::Ascending, COUNTED_AT_ONCE)?;
            let Some(last) = keys.last() else { return Ok(count) };
            count += keys.len() as u64;
            range = range.after(last);
        }
    }

    /// How far into the log the view goes; replay what is behind.
    ///
    /// # Errors
    ///
    /// The view is broken or closed.
    pub fn applied(&self) -> Result<Option<Place>, ViewError> {
        Ok(self.read_state().open()?.tally.applied)
    }

    /// Applies all of a set or nothing.
    ///
    /// It is durable after [`crate::Store::flush_view`] or some time later; after a crash
    /// [`View::applied`] tells whether it is there.
    ///
    /// # Errors
    ///
    /// Nothing is applied if a key or value is too large. After any other error the view is
    /// broken.
    pub fn apply(&self, set: WriteSet) -> Result<(), ViewError> {
        set.check()?;
        let _writing = self.writing();
        // Nearly all of the time goes by before anything changes for whoever reads.
        let prepared = self.read_state().open().and_then(|open| open.prepare(set));
        let prepared = self.note(prepared)?;
        let mut state = self.write_state();
        let result = match &mut *state {
            State::Open(open) => open.commit(prepared),
            State::Broken { .. } => Err(ViewError::Broken),
            State::Closed => Err(ViewError::Closed),
        };
        drop(state);
        self.note(result)
    }

    /// Puts into pages what sets that expected more have left outside of them, for the next open.
    ///
    /// # Errors
    ///
    /// As [`View::apply`].
    pub fn settle(&self) -> Result<(), ViewError> {
        if self.read_state().open()?.is_settled() {
            return Ok(());
        }
        self.apply(WriteSet::new())
    }

    /// Reads every row and compares with what was written.
    ///
    /// # Errors
    ///
    /// [`ViewError::Damaged`] if rows are missing or changed; the view is broken then.
    pub fn verify(&self) -> Result<(), ViewError> {
        let state = self.read_state();
        let result = state.open().and_then(OpenView::verify);
        drop(state);
        self.note(result)
    }

    /// Writes the view anew beside itself and puts that in its place; reads go on meanwhile, and
    /// sets wait.
    pub(crate) fn compact(
        &self,
        source: &dyn RowsSource,
        belonging: &Belonging<'_>,
    ) -> Result<(), ViewError> {
        let _writing = self.writing();
        let build = {
            let fresh = source.open_beside()?;
            let copied = {
                let state = self.read_state();
                let key = belonging.keys.current();
                compact::copy(state.open()?, &*fresh, key, belonging.store)
            };
            self.note(copied)?
        };
        let mut state = self.write_state();
        // Entries may have been appended and applied since the caller looked.
        let log_end = belonging.log_end.max(state.open()?.tally.applied);
        let belonging = Belonging { trusted_build: Some(build), log_end, ..*belonging };
        let before = std::mem::replace(&mut *state, State::Broken { must_rebuild: false });
        let filter = before.into_filter();
        source.take_beside()?;
        match open_or_rebuild(source, source.open(), &belonging)? {
            (mut open, ViewCondition::Kept) => {
                // It has the same rows.
                open.filter = filter;
                *state = State::Open(Box::new(open));
            }
            // Whoever opens it again is told that it is another one.
            (_, _) => return Err(ViewError::Broken),
        }
        Ok(())
    }

    /// Whether everything in it was written with `key`.
    pub(crate) fn is_under(&self, key: &DataKey) -> Result<bool, ViewError> {
        self.read_state().open()?.is_under(key)
    }

    /// What its rows take before the database below adds its own.
    pub(crate) fn content_bytes(&self) -> Result<u64, ViewError> {
        Ok(self.read_state().open()?.tally.bytes())
    }

    /// Makes durable what is applied.
    pub(crate) fn flush(&self) -> Result<(), ViewError> {
        let state = self.read_state();
        let result = state.open().and_then(|open| Ok(open.rows.flush()?));
        drop(state);
        self.note(result)
    }

    /// Flushes and closes; gives the build that may be trusted at the next open.
    pub(crate) fn close(&self) -> Result<[u8; 16], ViewError> {
        let flushed = self.flush();
        let state = std::mem::replace(&mut *self.write_state(), State::Closed);
        let build = match &state {
            State::Open(open) => Ok(open.sealer.build()),
            State::Broken { .. } => Err(ViewError::Broken),
            State::Closed => Err(ViewError::Closed),
        };
        drop(state);
        flushed.and(build)
    }

    /// Marks the view as broken after an error that the storage below may not survive.
    fn note<T>(&self, result: Result<T, ViewError>) -> Result<T, ViewError> {
        let must_rebuild = match &result {
            Err(ViewError::Damaged) => true,
            Err(ViewError::Rows(error)) => error.is_damage(),
            Ok(_) | Err(_) => return result,
        };
        if let Err(error) = &result {
            tracing::error!(%error, must_rebuild, "view broken");
        }
        let mut state = self.write_state();
        if matches!(*state, State::Open(_)) {
            *state = State::Broken { must_rebuild };
        }
        drop(state);
        result
    }

    fn writing(&self) -> MutexGuard<'_, ()> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read_state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_state(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View").finish_non_exhaustive()
    }
}

impl State {
    fn into_filter(self) -> Option<Filter> {
        match self {
            Self::Open(open) => open.filter,
            Self::Broken { .. } | Self::Closed => None,
        }
    }

    fn open(&self) -> Result<&OpenView, ViewError> {
        match self {
            Self::Open(open) => Ok(open),
            Self::Broken { .. } => Err(ViewError::Broken),
            Self::Closed => Err(ViewError::Closed),
        }
    }
}
