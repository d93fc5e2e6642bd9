//! What in a home's log is worth keeping, and which part of the log is written anew next.
//!
//! Nothing here writes: the ledger carries out what is decided, when a node is idle or somebody asks
//! for it. The rule of every decision: a view that is built from what stays has the very same rows
//! as one that is built from everything. One exception is named in [`receipt`].

mod change;
mod choice;
mod fact;
mod receipt;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use fieldmesh_batch::Batch;
use fieldmesh_model::{DeviceId, DocumentId, Scope};
use fieldmesh_store::{Direction, Entry as LogEntry, Fate, KeyRange, Place, Store, Tree};

use crate::entry::{Entry, Fact};
use crate::error::Error;
use crate::keep;
use crate::making::Position;
use crate::projection::is_superseded;
use crate::rows::{self, QuarantineRow};

use self::change::Sealed;
pub(crate) use self::choice::{next, rotate_at};
use self::fact::Newest;

/// What the entries of one segment are worth, as the view stands.
pub(crate) struct Worth<'a> {
    store: &'a Store,
    me: DeviceId,
    /// Behind this the view says nothing.
    applied: Option<Place>,
    newest: Newest,
    /// Records of which a change is refused.
    refused: BTreeSet<DocumentId>,
    sealed: Sealed,
    /// Where each scope ends of which everything was let go.
    let_go: BTreeMap<Scope, Place>,
}

impl<'a> Worth<'a> {
    /// Reads what is needed to decide about the entries at `places`; `me` wrote the local changes.
    pub(crate) fn read(store: &'a Store, me: DeviceId, places: &Range<u64>) -> Result<Self, Error> {
        // The position first: rows may be newer than it, never older.
        let applied = Position::read(store.view())?.shown();
        let mut refused = BTreeSet::new();
        let range = KeyRange::all();
        for row in rows::scan(store.view(), Tree::Quarantine, range, Direction::Ascending) {
            refused.insert(rows::decode::<QuarantineRow>(&row?.1)?.document);
        }
        let newest = Newest::read(store, places)?;
        let let_go = keep::ends(store.view())?;
        Ok(Self { store, me, applied, newest, refused, sealed: Sealed::default(), let_go })
    }

    /// What becomes of an entry; what is not understood stays.
    pub(crate) fn decide(&mut self, place: Place, entry: &LogEntry) -> Fate {
        if Some(place) > self.applied {
            return Fate::Keep;
        }
        let is_dead = match Entry::decode(entry) {
            // What others signed is the truth itself.
            Ok(Entry::Item(_)) => Ok(false),
            Ok(Entry::Batch(bytes)) => Ok(self.is_batch_gone(place, &bytes)),
            Ok(Entry::Change(local)) if self.is_gone(place, &local.scope) => Ok(true),
            Ok(Entry::Change(local)) => self.is_sealed(place, &local),
            Ok(Entry::Fact(Fact::Receipt(receipt))) => {
                receipt::is_void(self.store.view(), &receipt)
            }
            Ok(Entry::Fact(fact)) => Ok(self.newest.is_behind(place, &fact)),
            Ok(Entry::Note(note)) => is_superseded(self.store.view(), place, &note),
            Err(_) => Ok(false),
        };
        match is_dead {
            Ok(true) => Fate::Drop,
            Ok(false) => Fate::Keep,
            Err(error) => {
                tracing::debug!(%place, %error, "an entry is kept, as what it is worth is unknown");
                Fate::Keep
            }
        }
    }

    /// Whether what lies at `place` was let go with its scope.
    fn is_gone(&self, place: Place, scope: &Scope) -> bool {
        self.let_go.get(scope).is_some_and(|end| place < *end)
    }

    fn is_batch_gone(&self, place: Place, bytes: &[u8]) -> bool {
        // Nobody has let anything go in most homes, and then no batch is decoded for it.
        !self.let_go.is_empty()
            && Batch::decode(bytes).is_ok_and(|it| self.is_gone(place, &it.header().scope))
    }
}
