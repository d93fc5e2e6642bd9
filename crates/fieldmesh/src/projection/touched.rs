//! A document to which changes have arrived: judged, merged and read anew.
//!
//! Documents do not depend on each other, so each is worked on by whichever core is free.

mod own;
mod reading;

use std::collections::{BTreeMap, BTreeSet};

use fieldmesh_document::Peeked;
use fieldmesh_document::gate::{self, Accepted, Origin};
use fieldmesh_model::schema::Collection;
use fieldmesh_model::{DeviceId, DocumentId, Scope};
use fieldmesh_store::{Direction, KeyRange, Place, Tree, WriteSet};

use crate::changes::{Closure, Source, read_change};
use crate::error::Error;
use crate::rows::{self, ChangeRef, DocumentRow, LOCAL_LEAF, RecordRow};
use crate::schema;

use super::alike::Moved;
use super::arrivals::Arrivals;
use super::schemas::Schemas;
use super::standing::Standing;
use super::waiting::{ANYTHING, Waiting};
use super::{Sources, index};

/// A document and what has arrived for it.
pub(super) struct Work {
    id: DocumentId,
    scope: Scope,
    pub(super) arrivals: Vec<Arrival>,
    /// Whether it is made anew from everything that the log holds of it and that counts.
    pub(super) is_remade: bool,
    /// Where changes of it lie that were refused so far, if it is made anew.
    pub(super) refused: Vec<(Place, u16)>,
    /// Where changes lay that are lost for good.
    pub(super) given_up: BTreeSet<Place>,
    /// What is made anew because another schema counts.
    pub(super) again: Again,
}

/// What of a row is made anew from the changes that it lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Again {
    /// Nothing but what changes.
    Nothing,
    /// What it is found by.
    Found,
    /// The record.
    Read,
}

impl Work {
    pub(super) fn new(id: DocumentId, scope: Scope) -> Self {
        let (arrivals, refused, given_up) = (Vec::new(), Vec::new(), BTreeSet::new());
        let again = Again::Nothing;
        Self { id, scope, arrivals, is_remade: false, refused, given_up, again }
    }
}

/// A change that has arrived.
pub(super) struct Arrival {
    pub(super) reference: ChangeRef,
    source: Source,
    /// Its outside, if it can be read: whoever asks for it would hash all of the change.
    peeked: Option<Peeked>,
}

impl Arrival {
    pub(super) fn new((place, leaf): (Place, u16), source: Source) -> Self {
        let arrival = Self::listed(ChangeRef { place, leaf, hash: [0; 8] }, source);
        let hash = arrival.short_hash().unwrap_or_default();
        Self { reference: ChangeRef { place, leaf, hash }, ..arrival }
    }

    /// One that is listed already.
    fn listed(reference: ChangeRef, source: Source) -> Self {
        let peeked = fieldmesh_document::peek(&source.change).ok();
        Self { reference, source, peeked }
    }

    fn hash(&self) -> Option<[u8; 32]> {
        self.peeked.as_ref().map(|peeked| peeked.hash)
    }

    /// The start of its hash, if it can be read.
    pub(super) fn short_hash(&self) -> Option<[u8; 8]> {
        self.hash()?.first_chunk().copied()
    }
}

/// A document after its changes.
pub(super) struct Done {
    pub(super) id: DocumentId,
    pub(super) scope: Scope,
    /// How many records more there are.
    pub(super) growth: i64,
    /// Whether there was a record and is none any more: what made it counts no longer.
    pub(super) has_vanished: bool,
    /// Its row, its index entries, and which of its changes wait for others.
    pub(super) writes: WriteSet,
    pub(super) refused: Vec<Refused>,
    /// Further copies of changes that it has.
    pub(super) twins: Vec<ChangeRef>,
    /// Copies that another one stands for, and that one: what is said of a change goes along.
    pub(super) moved: Vec<(ChangeRef, ChangeRef)>,
    /// Changes that count although they may have been refused before.
    pub(super) counting: Vec<ChangeRef>,
    /// Where it stood and stands among records that are alike, if that may matter.
    pub(super) alike: Moved,
}

impl Done {
    /// A document that is to be shown as `row` says; nothing is refused or moved so far.
    fn of(
        id: DocumentId,
        before: (&Collection, Option<&RecordRow>),
        stood: Option<(u16, u64)>,
        (read_by, row): (&Collection, &DocumentRow),
        waiting: Waiting<'_>,
        sources: &Sources<'_>,
    ) -> Result<Self, Error> {
        let mut writes = WriteSet::new();
        if row.changes.is_empty() && waiting.is_empty()? {
            writes.delete(Tree::Document, id.as_bytes().to_vec());
            writes.delete(Tree::Meta, rows::own_key(row.scope.collection, id));
        } else {
            // Once it has a record its key is there.
            let (known, number) = (before.0.number, row.scope.collection);
            if known != number {
                writes.delete(Tree::Meta, rows::own_key(known, id));
            }
            if (before.1.is_none() || known != number) && schema::is_foreign(number) {
                writes.put(Tree::Meta, rows::own_key(number, id), Vec::new());
            }
            writes.put(Tree::Document, id.as_bytes().to_vec(), rows::encode(row));
        }
        waiting.write(&mut writes);
        let after = row.record.as_ref();
        if before.1 != after || !std::ptr::eq(before.0, read_by) {
            index::update(before, (read_by, after), id, sources.store, &mut writes);
        }
        index::update_feed(id, stood, row, &mut writes);
        let live = |record: Option<&RecordRow>| i64::from(record.is_some_and(RecordRow::is_live));
        let growth = live(after) - live(before.1);
        let has_vanished = before.1.is_some() && after.is_none();
        let (refused, twins, moved, counting) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let scope = row.scope;
        let alike = Moved::default();
        Ok(Self { id, scope, growth, has_vanished, writes, refused, twins, moved, counting, alike })
    }
}

/// A change that was refused.
pub(super) struct Refused {
    pub(super) reference: ChangeRef,
    pub(super) author: DeviceId,
    pub(super) reason: String,
}

enum Verdict {
    Accepted(Box<Passed>),
    /// For the change with this hash.
    Waits([u8; 32]),
    Refused(String),
}

/// A change that was accepted.
struct Passed {
    accepted: Accepted,
    /// Whether it builds on everything that is here.
    is_whole: bool,
}

/// A copy of a change that is accepted already.
struct Copy {
    /// Where in the row it is listed.
    index: usize,
    /// None if it cannot be read, so that only the start of its hash says what it is.
    source: Option<Source>,
}

/// A document while its changes are applied.
struct Touched<'a> {
    id: DocumentId,
    sources: &'a Sources<'a>,
    schemas: &'a Schemas,
    row: DocumentRow,
    waiting: Waiting<'a>,
    /// The accepted changes that can be read, once they had to be, and what is wrong with others.
    loaded: Option<(Closure, Option<Error>)>,
    /// The document with all of them, if judging the last one has made it.
    document: Option<fieldmesh_document::Document>,
    /// The record of all of them, if this process made the last one.
    record: Option<RecordRow>,
    is_remade: bool,
    /// Whether the record has to be read anew.
    is_changed: bool,
    /// Whether it had changes before.
    had_changes: bool,
    refused: Vec<Refused>,
    twins: Vec<ChangeRef>,
    moved: Vec<(ChangeRef, ChangeRef)>,
    counting: Vec<ChangeRef>,
}

/// The hash of a change, if it can be read.
fn full_hash(change: &[u8]) -> Option<[u8; 32]> {
    fieldmesh_document::peek(change).ok().map(|peeked| peeked.hash)
}

/// The start of a change's hash, if it can be read.
pub(super) fn short_hash(change: &[u8]) -> Option<[u8; 8]> {
    full_hash(change)?.first_chunk().copied()
}

/// Applies to a document what has arrived for it.
///
/// # Errors
///
/// The view cannot be read. What is wrong with a change or with the document's past is no error:
/// it is refused, so that one damaged frame never holds up every other record.
pub(super) fn apply(
    work: Work,
    sources: &Sources<'_>,
    standing: &Standing<'_>,
    schemas: &Schemas,
    any_waits: bool,
) -> Result<Done, Error> {
    let (id, is_remade, read_anew) = (work.id, work.is_remade, work.again);
    let view = sources.store.view();
    let row: Option<DocumentRow> = rows::find(view, Tree::Document, id.as_bytes())?;
    let mut row = row.unwrap_or_else(|| DocumentRow::new(work.scope));
    let (known, known_changes) = (row.record.clone(), row.changes.len());
    let schema = schemas.before(row.scope.collection, &id);
    let before = (&*schema, known.as_ref());
    let stood = before.1.map(|_| (row.scope.collection, row.feed));
    let arrived = Arrivals::of(&row, &work.arrivals, is_remade);
    let mut waiting = Waiting::new(id, Some(view).filter(|_| any_waits));
    if sources.policy.is_purged(&id) {
        waiting.free_all()?;
        let gone = DocumentRow::new(row.scope);
        let alike = Moved::of(sources.store, before, (&schema, None));
        let done = Done::of(id, before, stood, (&schema, &gone), waiting, sources)?;
        return Ok(Done { alike, ..done });
    }
    let mut again = std::mem::take(&mut row.waiting);
    let arrivals = if is_remade {
        let (empty, arrivals) = gather(work, &row, &mut waiting, again, sources, standing)?;
        again = Vec::new();
        row = empty;
        arrivals
    } else {
        again.extend(waiting.free(&ANYTHING)?);
        work.arrivals
    };
    let had_changes = !row.changes.is_empty();
    let mut touched = Touched {
        id,
        sources,
        schemas,
        row,
        waiting,
        loaded: None,
        document: None,
        record: None,
        is_remade,
        is_changed: is_remade || (read_anew == Again::Read && had_changes),
        had_changes,
        refused: Vec::new(),
        twins: Vec::new(),
        moved: Vec::new(),
        counting: Vec::new(),
    };
    for arrival in arrivals {
        touched.add(vec![arrival])?;
    }
    let again = touched.read_waiting(again);
    touched.add(again)?;
    touched.read();
    let Touched { mut row, waiting, refused, twins, mut moved, mut counting, .. } = touched;
    // Before the next entry, and behind every cursor that was handed out.
    let end = sources.store.end().map_or(0, |place| rows::position_end(place) + 1);
    let after = schemas.after(row.scope.collection, &id);
    // To whoever reads the feed a record of another collection is another record.
    let is_renamed = read_anew != Again::Nothing && after.name != before.0.name;
    let is_changed = row.record.as_ref() != before.1 || is_renamed;
    arrived.settle(&mut row, is_changed, end);
    if is_remade {
        // Nothing of what was said before is left.
        (moved, counting) = (Vec::new(), Vec::new());
    }
    // A batch that holds what is here already changes nothing between records.
    let is_moved = is_changed || is_remade || row.changes.len() != known_changes;
    let alike = match is_moved || read_anew != Again::Nothing {
        true => Moved::of(sources.store, before, (&after, row.record.as_ref())),
        false => Moved::default(),
    };
    let done = Done::of(id, before, stood, (&after, &row), waiting, sources)?;
    Ok(Done { refused, twins, moved, counting, alike, ..done })
}

/// Everything that the log holds of a document and that counts, in the order of the log, and the
/// row to apply it to.
///
/// What cannot be read at the moment stays in line, so that a healed frame is not missed.
fn gather(
    work: Work,
    row: &DocumentRow,
    waiting: &mut Waiting<'_>,
    again: Vec<ChangeRef>,
    sources: &Sources<'_>,
    standing: &Standing<'_>,
) -> Result<(DocumentRow, Vec<Arrival>), Error> {
    let mut found: BTreeMap<(Place, u16), Arrival> = BTreeMap::new();
    let empty = DocumentRow::new(row.scope);
    let listed = row.changes.iter().copied().chain(again).chain(waiting.free_all()?);
    let unnamed = |(place, leaf)| ChangeRef { place, leaf, hash: [0; 8] };
    let twins = twins(work.id, sources)?;
    for known in listed.chain(work.refused.into_iter().map(unnamed)).chain(twins) {
        match read_change(sources.store, known, sources.me) {
            Ok(source) => {
                let place = (known.place, known.leaf);
                found.insert(place, Arrival::new(place, source));
            }
            Err(_) if work.given_up.contains(&known.place) => {}
            Err(_) if known.hash != [0; 8] => waiting.add(&ANYTHING, known),
            Err(error) => tracing::error!(document = %work.id.short(), %error, "a change is lost"),
        }
    }
    for arrival in work.arrivals {
        found.insert((arrival.reference.place, arrival.reference.leaf), arrival);
    }
    // A change of this device lies in the log twice, by itself and in the batch that holds it: the
    // batch decides.
    let sealed: BTreeSet<Option<[u8; 32]>> = found
        .values()
        .filter(|arrival| arrival.source.batch.is_some() && arrival.source.author == sources.me)
        .map(Arrival::hash)
        .collect();
    let mut counting = Vec::new();
    for arrival in found.into_values() {
        let counts = match &arrival.source.batch {
            Some(batch) => !standing.is_aside(batch)?,
            None => !sealed.contains(&arrival.hash()),
        };
        if counts {
            counting.push(arrival);
        }
    }
    Ok((empty, counting))
}

/// Further copies of a document's changes.
fn twins(id: DocumentId, sources: &Sources<'_>) -> Result<Vec<ChangeRef>, Error> {
    let mut twins = Vec::new();
    let range = KeyRange::prefix(&rows::twin_prefix(id));
    for key in rows::keys(sources.store.view(), Tree::Meta, range, Direction::Ascending) {
        if let Some((place, leaf)) = rows::twin_place(&key?) {
            twins.push(ChangeRef { place, leaf, hash: [0; 8] });
        }
    }
    Ok(twins)
}

impl Touched<'_> {
    /// Adds changes and every waiting one that they set free.
    fn add(&mut self, mut next: Vec<Arrival>) -> Result<(), Error> {
        while let Some(arrival) = next.pop() {
            if let Some(here) = self.settle(arrival) {
                let freed = self.waiting.free(&here)?;
                next.append(&mut self.read_waiting(freed));
            }
        }
        Ok(())
    }

    /// Reads changes that waited; what cannot be read goes on waiting, as it may heal.
    fn read_waiting(&mut self, freed: Vec<ChangeRef>) -> Vec<Arrival> {
        let mut readable = Vec::new();
        for reference in freed {
            match read_change(self.sources.store, reference, self.sources.me) {
                Ok(source) => readable.push(Arrival::listed(reference, source)),
                Err(_) => self.waiting.add(&ANYTHING, reference),
            }
        }
        readable
    }

    /// Judges one change; gives its hash if others can build on it from here on.
    ///
    /// Every copy is judged by what it came in, and only one that is accepted stands for the
    /// change: whoever signs what somebody else wrote decides nothing, whenever it arrives.
    fn settle(&mut self, arrival: Arrival) -> Option<[u8; 32]> {
        let hash = arrival.hash();
        let Arrival { reference, ref source, peeked } = arrival;
        if let Some(here) = self.settle_own(reference, source, hash) {
            return here;
        }
        let copy = self.copy_of(reference, source);
        if let Some(Copy { index, source: Some(known) }) = &copy
            && is_alike(known, source)
        {
            return self.replace(*index, reference).then_some(hash).flatten();
        }
        match self.judge(source, peeked) {
            Verdict::Waits(missing) => {
                self.waiting.add(&missing, reference);
                None
            }
            Verdict::Refused(reason) => {
                self.refuse(reference, source.author, reason);
                None
            }
            Verdict::Accepted(passed) => match copy {
                Some(Copy { index, source: Some(_) }) => {
                    self.replace(index, reference).then_some(hash).flatten()
                }
                copy => {
                    let damaged = copy.map(|copy| copy.index);
                    Some(self.accept(damaged, reference, source, *passed))
                }
            },
        }
    }

    /// The accepted copy of a change that has come again.
    fn copy_of(&self, reference: ChangeRef, source: &Source) -> Option<Copy> {
        let mut damaged = None;
        for (index, known) in self.row.changes.iter().enumerate() {
            if known.hash != reference.hash {
                continue;
            }
            match read_change(self.sources.store, *known, self.sources.me) {
                Ok(known) if known.change == source.change => {
                    return Some(Copy { index, source: Some(known) });
                }
                Ok(_) => {}
                Err(_) => damaged = Some(Copy { index, source: None }),
            }
        }
        damaged
    }

    /// Has another accepted copy stand for a change: the one that a batch holds, or that a peer
    /// brought again because the older one is damaged.
    ///
    /// Says whether the older one may have been unreadable for a while, so that changes wait for it
    /// although it is here.
    fn replace(&mut self, index: usize, reference: ChangeRef) -> bool {
        let older = self.row.changes[index];
        if older == reference || reference.leaf == LOCAL_LEAF {
            return false;
        }
        self.row.changes[index] = reference;
        self.moved.push((older, reference));
        let is_second = older.leaf != LOCAL_LEAF;
        if is_second {
            self.twins.push(older);
        }
        is_second
    }

    fn accept(
        &mut self,
        damaged: Option<usize>,
        reference: ChangeRef,
        source: &Source,
        passed: Passed,
    ) -> [u8; 32] {
        let Passed { accepted: Accepted { change: peeked, root, document }, is_whole } = passed;
        let hash = peeked.hash;
        let (loaded, _) = self.loaded.get_or_insert_default();
        loaded.insert(peeked, source.author, source.change.clone());
        // Of several roots the earliest counts, whichever came first.
        if let Some(root) = root.filter(|_| loaded.root() == Some(hash)) {
            self.row.scope = root.scope;
        }
        self.document = is_whole.then_some(document);
        self.record = None;
        self.is_changed = true;
        match damaged {
            Some(index) => {
                self.replace(index, reference);
                // What builds on it has its place behind it.
                self.loaded = None;
            }
            None => self.row.changes.push(reference),
        }
        hash
    }

    fn refuse(&mut self, reference: ChangeRef, author: DeviceId, reason: String) {
        self.refused.push(Refused { reference, author, reason });
    }

    fn judge(&mut self, source: &Source, peeked: Option<Peeked>) -> Verdict {
        let Some(peeked) = peeked else {
            return Verdict::Refused("the change cannot be read".into());
        };
        // Also of a revoked device: which of its batches count is decided by batch.
        let Some(member) = self.sources.policy.known(&source.author) else {
            return Verdict::Refused("its author never was a member of the tenant".into());
        };
        let Source { author, epoch, scope, ref change, .. } = *source;
        let (user, is_gateway) = (member.user, member.was_gateway);
        let origin = Origin { document: self.id, author, epoch, scope, user, is_gateway };
        let loaded = self.load();
        let closure = match loaded.reach(&peeked.deps) {
            Ok(closure) => closure,
            Err(missing) => return Verdict::Waits(missing),
        };
        let is_whole = closure.len() == loaded.len();
        match gate::judge_peeked(change, peeked, &closure, &origin) {
            Ok(accepted) => Verdict::Accepted(Box::new(Passed { accepted, is_whole })),
            Err(refusal) => Verdict::Refused(refusal.to_string()),
        }
    }

    /// The accepted changes. Of one that is damaged a peer may bring another copy; what builds on
    /// it waits until then.
    fn load(&mut self) -> &Closure {
        let (id, &Sources { store, me, .. }) = (self.id, self.sources);
        let changes = &self.row.changes;
        let (loaded, _) = self.loaded.get_or_insert_with(|| {
            let (closure, damage) = Closure::read_readable(store, changes, me);
            if let Some(error) = &damage {
                tracing::error!(document = %id.short(), %error, "a change is damaged");
            }
            (closure, damage)
        });
        loaded
    }
}

/// Whether a verdict about one copy of a change is one about the other too.
fn is_alike(known: &Source, source: &Source) -> bool {
    let origin = |it: &Source| (it.author, it.epoch, it.scope.collection, it.scope.partition);
    origin(known) == origin(source)
}
