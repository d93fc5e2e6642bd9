//! Whoever reads the view while it is written: snapshots and live queries.
//!
//! The one who writes the view hands every set of rows through here. A snapshot keeps what a set
//! replaces, so reading it costs nothing but what changes meanwhile; a live query is told what a
//! set changes of its answer. Both begin between two sets, never within one. With no reader a set
//! costs what it did.

mod behind;
mod kept;
mod queue;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use fieldmesh_model::DocumentId;
use fieldmesh_store::{Tree, View, WriteSet};

use crate::alike::row::beside_others;
use crate::error::Error;
use crate::projection::schemas;
use crate::rows::{self, DocumentRow};

use self::behind::Behind;
pub(crate) use self::kept::Kept;
pub(crate) use self::queue::{Admits, Change, Queue, Taken};

/// Everybody who reads at the moment.
#[derive(Default)]
pub(crate) struct Readers {
    listed: Mutex<Listed>,
    /// How many rows were read for readers, to see what they cost.
    looked_at: AtomicU64,
}

#[derive(Default)]
struct Listed {
    kept: Vec<Weak<Kept>>,
    queues: Vec<Weak<Queue>>,
    is_ended: bool,
}

impl Readers {
    /// The view as it is now, for as long as the answer is held.
    pub(crate) fn keep(&self) -> Arc<Kept> {
        self.lock().keep()
    }

    /// The view as it is now, and a queue of what changes from now on of what `admits` admits, all
    /// of the collection `number`.
    pub(crate) fn follow(&self, number: u16, admits: Admits) -> (Arc<Kept>, Arc<Queue>) {
        let mut listed = self.lock();
        let queue = Arc::new(Queue::new(number, admits));
        if listed.is_ended {
            queue.end();
        }
        listed.queues.push(Arc::downgrade(&queue));
        (listed.keep(), queue)
    }

    /// The view as it is now, and `queue` empty as of the same moment, for what `admits` admits.
    pub(crate) fn resume(&self, queue: &Queue, admits: Admits) -> Arc<Kept> {
        let mut listed = self.lock();
        queue.restart(admits);
        listed.keep()
    }

    /// What `read` finds between two sets: what shows in the view stands in every queue.
    pub(crate) fn between<T>(&self, read: impl FnOnce() -> T) -> T {
        let _between = self.lock();
        read()
    }

    /// Writes a set of rows; whoever reads keeps what it replaces and learns what it changes.
    pub(crate) fn apply(&self, view: &View, writes: WriteSet) -> Result<(), Error> {
        let mut listed = self.lock();
        listed.forget_gone();
        // Rows from here on are read by another schema than whoever reads has asked by.
        for number in schemas::read_anew(view, &writes)? {
            listed.lose_collection(number);
        }
        if listed.is_empty() {
            return view.apply(writes).map_err(|error| Error::store(&error));
        }
        let behind = Behind::read(view, &writes)?;
        let touched = read_touched(view, &writes, &behind)?;
        self.looked_at.fetch_add(touched.len() as u64, Ordering::Relaxed);
        for kept in listed.kept.iter().filter_map(Weak::upgrade) {
            for Touched { id, before, .. } in &touched {
                kept.keep(*id, before.as_deref())?;
            }
            behind.moved().for_each(|(id, was)| kept.keep_behind(id, was));
        }
        let written = collections(&touched, &listed)?;
        let mut alike = listed.alike(view, &written)?;
        view.apply(writes).map_err(|error| Error::store(&error))?;
        if listed.queues.is_empty() {
            return Ok(());
        }
        alike.append(&mut listed.alike(view, &written)?);
        for Touched { id, before, after } in &touched {
            let (before, after) = (read(before.as_ref())?, read(after.as_ref())?);
            let scope = before.as_ref().or(after.as_ref()).map(|row| row.scope);
            let collection = scope.unwrap_or_default().collection;
            let (was, is) = behind.of(view, collection, *id)?;
            for queue in listed.queues.iter().filter_map(Weak::upgrade) {
                queue.push(*id, (before.as_ref(), was), (after.as_ref(), is), alike.contains(id));
            }
        }
        Ok(())
    }

    /// How many rows were read for readers so far.
    #[cfg(test)]
    pub(crate) fn looked_at(&self) -> u64 {
        self.looked_at.load(Ordering::Relaxed)
    }

    /// Says that nobody knows what was written: snapshots are over, live queries begin again.
    pub(crate) fn lose(&self) {
        self.lock().lose();
    }

    /// Ends every live query: nothing is written any more.
    pub(crate) fn end(&self) {
        let mut listed = self.lock();
        listed.is_ended = true;
        listed.queues.iter().filter_map(Weak::upgrade).for_each(|queue| queue.end());
    }

    fn lock(&self) -> MutexGuard<'_, Listed> {
        self.listed.lock().expect("no holder of this lock panics")
    }
}

impl Listed {
    fn keep(&mut self) -> Arc<Kept> {
        let kept = Arc::new(Kept::default());
        self.kept.push(Arc::downgrade(&kept));
        kept
    }

    fn lose(&self) {
        self.kept.iter().filter_map(Weak::upgrade).for_each(|kept| kept.lose());
        self.queues.iter().filter_map(Weak::upgrade).for_each(|queue| queue.lag());
    }

    fn lose_collection(&self, number: u16) {
        self.kept.iter().filter_map(Weak::upgrade).for_each(|kept| kept.lose_collection(number));
        let queues = self.queues.iter().filter_map(Weak::upgrade);
        queues.filter(|queue| queue.number() == number).for_each(|queue| queue.lag());
    }

    /// The collections of which a live query may have another record than the first of those that
    /// are alike.
    fn told_apart(&self) -> BTreeSet<u16> {
        let queues = self.queues.iter().filter_map(Weak::upgrade);
        queues.filter(|queue| queue.tells_alike_apart()).map(|it| it.number()).collect()
    }

    /// The records of these collections that are like others, where that is asked for.
    fn alike(&self, view: &View, written: &BTreeSet<u16>) -> Result<BTreeSet<DocumentId>, Error> {
        let mut alike = BTreeSet::new();
        for number in self.told_apart().intersection(written) {
            alike.append(&mut beside_others(view, *number)?);
        }
        Ok(alike)
    }

    fn forget_gone(&mut self) {
        self.kept.retain(|kept| kept.strong_count() > 0);
        self.queues.retain(|queue| queue.strong_count() > 0);
    }

    fn is_empty(&self) -> bool {
        self.kept.is_empty() && self.queues.is_empty()
    }
}

/// A document that a set writes.
struct Touched {
    id: DocumentId,
    before: Option<Vec<u8>>,
    after: Option<Vec<u8>>,
}

fn read_touched(view: &View, writes: &WriteSet, behind: &Behind) -> Result<Vec<Touched>, Error> {
    let mut touched = Vec::new();
    for (id, _) in behind.moved() {
        let key = id.as_bytes();
        if writes.find(Tree::Document, key).is_none() {
            let row = view.get(Tree::Document, key).map_err(|error| Error::store(&error))?;
            touched.push(Touched { id, before: row.clone(), after: row });
        }
    }
    for (key, value) in writes.changed(Tree::Document) {
        let Some(id) = rows::indexed_id(key) else { continue };
        let before = view.get(Tree::Document, key).map_err(|error| Error::store(&error))?;
        touched.push(Touched { id, before, after: value.map(<[u8]>::to_vec) });
    }
    Ok(touched)
}

/// Of which collections records are written, where anybody has to know.
fn collections(touched: &[Touched], listed: &Listed) -> Result<BTreeSet<u16>, Error> {
    let mut numbers = BTreeSet::new();
    if listed.told_apart().is_empty() {
        return Ok(numbers);
    }
    for Touched { before, after, .. } in touched {
        let row = read(before.as_ref().or(after.as_ref()))?;
        numbers.extend(row.map(|row| row.scope.collection));
    }
    Ok(numbers)
}

fn read(row: Option<&Vec<u8>>) -> Result<Option<DocumentRow>, Error> {
    row.map(|bytes| rows::decode(bytes)).transpose()
}
