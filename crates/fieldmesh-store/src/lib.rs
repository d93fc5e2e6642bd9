//! Durable, encrypted batch log (the truth) with documents and indexes in sled (a view that can
//! be rebuilt).
//!
//! [`Store::append`] returns when entries are durable; nothing else is the commit point. The
//! [`View`] is derived from the log by the caller, who knows what the entries mean: it applies
//! [`WriteSet`]s with the place they come from, and after an open replays what is behind
//! [`View::applied`]. Damage on the disk heals or is listed ([`OpenReport`], [`Replayed`]) and
//! never goes unnoticed.
//!
//! A [`Place`] is the number of an entry for ever. [`Store::rewrite`] makes closed segments smaller
//! without moving anything that refers to them: many entries in one compressed block, and without
//! those that their owner drops. [`Store::merge`] makes one of several.
//!
//! Everything blocks and everything is [`Send`] and [`Sync`]. The two seams are
//! [`files::Files`], below the log, and [`view::rows::RowsSource`], below the view; both have an
//! implementation in memory.

mod amount;
pub mod backup;
mod doubt;
pub mod files;
mod flag;
mod founding;
mod frame;
pub mod key;
mod keys;
pub mod lock;
mod log;
mod mark;
pub mod memory;
mod quota;
mod random;
mod reserve;
mod sealed;
mod store;
pub mod view;
mod writer;
mod zstd_context;

pub use frame::{COMPRESS_ABOVE, ENTRY_SIZE_MAX, Form, LOG_VERSION, Packed};
pub use key::{DataKey, KeyError, KeyFile, Way, WrappedKey};
pub use keys::DataKeys;
pub use log::append::AppendError;
pub use log::open::TornTail;
pub use log::quarantine::ResealError;
pub use log::rewrite::{Fate, Past, RewriteError, Rewritten};
pub use log::segments::Kept;
pub use log::upkeep::{
    ClosedSegment, DEAD_PERCENT_MAX, MERGE_SIZE_MAX, REWRITE_SIZE_MIN, neighbours, worth_rewriting,
};
pub use log::{BadFrame, Damage, Entry, Place, ReadError, Replayed};
pub use mark::STORE_VERSION;
pub use quota::Quota;
pub use random::NoRandomness;
pub use store::rekey::{RekeyError, RekeyProgress};
pub use store::{CloseError, DiskUsage, OpenError, OpenReport, Options, Store};
pub use view::{Direction, KeyRange, Tree, View, ViewCondition, ViewError, WriteSet};
pub use writer::{Appending, GROUP_BYTES_MAX, GROUP_ENTRIES_MAX, QUEUE_BYTES_MAX};
