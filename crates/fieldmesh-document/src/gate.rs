//! Judges a foreign change, the same way on every replica and in every order of arrival.
//!
//! A change is judged against exactly the changes that it builds on, never against what a replica
//! happens to hold. What passes can be loaded, saved and read; what does not is kept aside by the
//! caller, with the reason.

use std::collections::{BTreeMap, BTreeSet};

use automerge::{Automerge, Change, ExpandedChange};
use fieldmesh_model::limits::{CHANGE_OPERATIONS_MAX, CHANGE_SIZE_MAX};
use fieldmesh_model::{DeviceId, DocumentId, Epoch, Moment, Scope, UserId};

use crate::actor::{actor, is_actor};
use crate::chunk::write::Body;
use crate::chunk::{ChunkError, Peeked, operations, peek};
use crate::document::Document;
use crate::first::First;
use crate::guard::guard;

pub(crate) mod form;
mod root;
mod select;

pub use form::FormError;
pub use root::RootError;
pub use select::{Excluded, Rival, select};

/// How far operation numbers may run ahead of what a change builds on. Nothing here leaves a gap;
/// without a bound one change could use up the 32 bits in which Automerge counts, and nobody could
/// edit the record again.
pub const OPERATION_GAP_MAX: u64 = 65_536;

/// What a change is judged by.
#[derive(Debug, Clone, Copy)]
pub struct Origin {
    /// The document that its leaf names.
    pub document: DocumentId,
    /// The author of its batch.
    pub author: DeviceId,
    /// The epoch of its batch.
    pub epoch: Epoch,
    /// The scope of its batch, by which the author's rights were judged.
    pub scope: Scope,
    /// The user whose device the author is, by policy.
    pub user: UserId,
    /// Whether the author, by policy, makes records for whoever its changes name as the creator.
    pub is_gateway: bool,
}

/// A change that may be applied.
#[derive(Debug, Clone)]
pub struct Accepted {
    /// Its outside.
    pub change: Peeked,
    /// What the root change fixes, if it is one.
    pub root: Option<Root>,
    /// The document as its author saw it afterwards: the whole one, if there are no other changes.
    pub document: Document,
}

/// What a root change fixes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    /// The number of the collection.
    pub collection: u16,
    /// The scope.
    pub scope: Scope,
    /// The natural key with its extension, or the nonce.
    pub key: Vec<u8>,
    /// When it was made.
    pub at: Moment,
}

/// Why a change may not be applied.
///
/// All but [`Refusal::Missing`] are final: the change goes into quarantine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Changes that it builds on are not in the closure; judge again when they are.
    #[error("change builds on {} changes that are not here", hashes.len())]
    Missing {
        /// Their hashes.
        hashes: Vec<[u8; 32]>,
    },
    /// The bytes are no single, plain change within the limits.
    #[error(transparent)]
    Chunk(#[from] ChunkError),
    /// Decoded and encoded again it is another change.
    #[error("change is not in its canonical form")]
    NotCanonical,
    /// Its actor is not that of its author and epoch.
    #[error("change was made under another actor than its author's")]
    WrongActor,
    /// It does not follow its actor's previous change, or is older than what it builds on.
    #[error("change has sequence number {seq} and does not follow its actor's last")]
    OutOfSequence {
        /// Its sequence number.
        seq: u64,
    },
    /// It builds on two changes of which only one can count.
    #[error("change builds on two changes of one actor with sequence number {seq}")]
    Forked {
        /// Their sequence number.
        seq: u64,
    },
    /// Its batch is of another collection or partition than the record.
    #[error("change travels in a batch of another collection or partition than its record's")]
    WrongScope,
    /// One of its operations refers to something that it does not build on, or is of a kind that
    /// this version does not know.
    #[error(transparent)]
    Form(#[from] FormError),
    /// It is the first change of a document of somebody else, or lacks what such a change must
    /// have.
    #[error(transparent)]
    Root(#[from] RootError),
    /// Automerge refused it, or panicked.
    #[error("automerge cannot apply the change")]
    NotApplicable,
    /// The document could not be saved, loaded and read afterwards.
    #[error("document cannot be saved and loaded with the change")]
    NotDurable,
}

impl Refusal {
    /// Whether the verdict stays, whatever arrives.
    pub fn is_final(&self) -> bool {
        !matches!(self, Self::Missing { .. })
    }
}

/// Whether a change of this size would be refused.
pub(crate) fn exceeds(operations: usize, size: usize) -> bool {
    operations > CHANGE_OPERATIONS_MAX || size > CHANGE_SIZE_MAX
}

/// Judges a change against what it builds on.
///
/// `closure` holds accepted changes of the same document, at least those that this one builds on;
/// others in it have no influence.
///
/// # Errors
///
/// The change may not be applied.
pub fn judge(change: &[u8], closure: &[&[u8]], origin: &Origin) -> Result<Accepted, Refusal> {
    judge_peeked(change, peek(change)?, closure, origin)
}

/// As [`judge`], of a change whose outside has been read: `peeked` is what [`peek`] gives for it.
///
/// # Errors
///
/// The change may not be applied.
pub fn judge_peeked(
    change: &[u8],
    peeked: Peeked,
    closure: &[&[u8]],
    origin: &Origin,
) -> Result<Accepted, Refusal> {
    if !is_actor(&peeked.actor, &actor(origin.author, origin.epoch)) {
        return Err(Refusal::WrongActor);
    }
    let known = exact_closure(&peeked, closure)?;
    check_sequence(&peeked, &known)?;
    let expanded = decode(change, &peeked)?;
    let mut operations = form::Operations::default();
    if peeked.deps.is_empty() {
        operations.add(&expanded)?;
        let root = root::check(&expanded, &peeked, origin)?;
        check_scope(root.scope, origin)?;
        let first = First::new(change.to_vec(), peeked.hash, expanded);
        let document = Document::of_first(origin.document, first);
        return Ok(Accepted { change: peeked, root: Some(root), document });
    }
    let mut root = None;
    for (bytes, known) in &known {
        let earlier = operations::read(bytes, known).or_else(|| First::decode(bytes));
        let earlier = earlier.ok_or(Refusal::NotCanonical)?;
        operations.add_accepted(&earlier);
        let rank = (known.at, known.hash);
        if known.deps.is_empty() && root.as_ref().is_none_or(|(first, _)| rank < *first) {
            root = Some((rank, root::scope(&earlier)));
        }
    }
    let scope = root.and_then(|(_, scope)| scope).ok_or(Refusal::NotApplicable)?;
    check_scope(scope, origin)?;
    operations.add(&expanded)?;
    let document = apply(change, &peeked, &known, origin.document)?;
    // Automerge fails on objects if at all; a plain change was loaded, and that is all it takes.
    if !form::is_plain(&expanded) {
        check_durable(&document)?;
    }
    Ok(Accepted { change: peeked, root: None, document })
}

// Rights are judged by the batch's scope, so it has to be the record's; the month is the newest of
// the batch. Of several roots the earliest counts, as it does when the record is read.
fn check_scope(scope: Scope, origin: &Origin) -> Result<(), Refusal> {
    let place = |scope: Scope| (scope.collection, scope.partition);
    if place(scope) == place(origin.scope) { Ok(()) } else { Err(Refusal::WrongScope) }
}

type Known<'a> = Vec<(&'a [u8], Peeked)>;

// Exactly the changes that this one builds on, whatever else was given.
fn exact_closure<'a>(change: &Peeked, given: &[&'a [u8]]) -> Result<Known<'a>, Refusal> {
    let mut given_by_hash = BTreeMap::new();
    for bytes in given {
        if let Ok(peeked) = peek(bytes) {
            given_by_hash.insert(peeked.hash, (*bytes, peeked));
        }
    }
    let mut known: Known<'a> = Vec::new();
    let mut seen = BTreeSet::new();
    let mut missing = BTreeSet::new();
    let mut open = change.deps.clone();
    while let Some(hash) = open.pop() {
        if !seen.insert(hash) {
            continue;
        }
        match given_by_hash.remove(&hash) {
            Some((bytes, peeked)) => {
                open.extend(&peeked.deps);
                known.push((bytes, peeked));
            }
            None => {
                missing.insert(hash);
            }
        }
    }
    if !missing.is_empty() {
        return Err(Refusal::Missing { hashes: missing.into_iter().collect() });
    }
    // The order of operation numbers puts dependencies first.
    known.sort_by_key(|(_, peeked)| (peeked.start_op, peeked.hash));
    Ok(known)
}

fn check_sequence(change: &Peeked, known: &Known<'_>) -> Result<(), Refusal> {
    let mut places = BTreeSet::new();
    if let Some((_, twin)) = known.iter().find(|(_, one)| !places.insert((&one.actor, one.seq))) {
        return Err(Refusal::Forked { seq: twin.seq });
    }
    let own = known.iter().map(|(_, peeked)| peeked).filter(|peeked| peeked.actor == change.actor);
    let last = own.map(|peeked| peeked.seq).max().unwrap_or(0);
    let end = |peeked: &Peeked| peeked.start_op.saturating_add(peeked.operations as u64);
    let next_op = known.iter().map(|(_, peeked)| end(peeked)).max().unwrap_or(1);
    let fits = (next_op..=next_op.saturating_add(OPERATION_GAP_MAX)).contains(&change.start_op)
        // Automerge counts operations in 32 bits.
        && u32::try_from(end(change)).is_ok();
    let is_next = last.checked_add(1) == Some(change.seq);
    if !is_next || !fits || change.operations == 0 {
        return Err(Refusal::OutOfSequence { seq: change.seq });
    }
    Ok(())
}

fn decode(bytes: &[u8], peeked: &Peeked) -> Result<ExpandedChange, Refusal> {
    let read = operations::read(bytes, peeked).filter(|read| is_canonical(read, bytes, peeked));
    if let Some(expanded) = read {
        return Ok(expanded);
    }
    let expanded = First::decode(bytes).ok_or(Refusal::NotCanonical)?;
    if is_canonical(&expanded, bytes, peeked) { Ok(expanded) } else { Err(Refusal::NotCanonical) }
}

/// Whether the bytes are the ones in which Automerge writes this change.
fn is_canonical(change: &ExpandedChange, bytes: &[u8], peeked: &Peeked) -> bool {
    let by_automerge = || {
        let again = guard(|| Change::from(change.clone()));
        again.is_ok_and(|again| again.raw_bytes() == bytes && again.hash().0 == peeked.hash)
    };
    // The hash is that of the bytes.
    let is_same = Body::of(change).is_some_and(|body| body.with_hash(&peeked.hash) == bytes);
    debug_assert!(!is_same || by_automerge(), "invariant: both write the same");
    is_same || by_automerge()
}

fn apply(
    change: &[u8],
    peeked: &Peeked,
    known: &Known<'_>,
    id: DocumentId,
) -> Result<Document, Refusal> {
    let all = known.iter().map(|(bytes, _)| *bytes).chain([change]);
    let document = Document::load(id, all).map_err(|_| Refusal::NotApplicable)?;
    if document.heads() == [peeked.hash] { Ok(document) } else { Err(Refusal::NotApplicable) }
}

fn check_durable(document: &Document) -> Result<(), Refusal> {
    let is_durable = guard(|| {
        let inner = document.inner();
        let Ok(again) = Automerge::load(&inner.save_nocompress()) else { return false };
        again.get_heads() == inner.get_heads() && again.hydrate(None) == inner.hydrate(None)
    });
    match is_durable {
        Ok(true) => Ok(()),
        Ok(false) | Err(_) => Err(Refusal::NotDurable),
    }
}
