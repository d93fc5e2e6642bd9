//! From which month on a home holds records, and what is known of those that it let go.
//!
//! Only collections that go by time have months that are let go: a record belongs to the month of
//! its time for life, so a month holds whole chains and whole records. What others refer to, as
//! wells, is held whatever its age, and so are the collections that the tenant defines.

use std::collections::{BTreeMap, BTreeSet};

use fieldmesh_batch::Chain;
use fieldmesh_identity::{Policy, SignedSchema};
use fieldmesh_model::{
    BatchId, DeviceId, DocumentId, Epoch, Filter, FilterError, Moment, Region, Scope, catalogue,
};
use fieldmesh_store::{Direction, KeyRange, Place, Tree, View};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::rows;

/// Records that one piece names; a piece must not grow with a device's past.
pub(crate) const RECORDS_PER_PIECE: usize = 1_024;
/// Chains that one piece names.
pub(crate) const CHAINS_PER_PIECE: usize = 128;

/// The prefix of the rows of what was let go, in [`Tree::Meta`].
const PREFIX: &[u8] = b"gone/";
/// The prefix of the rows of where that ends in the log, by scope.
const END_PREFIX: &[u8] = b"gone-end/";

/// From which month on this home wants records that go by time; the last word holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Kept {
    /// The first month, counted as [`Scope::month`] is; 0 for all.
    pub(crate) since: u32,
    /// When that was decided.
    pub(crate) at: Moment,
    /// How many months, the present one among them, are kept without anybody asking.
    pub(crate) auto: Option<u16>,
    /// Whether the log has been freed of everything that was let go.
    pub(crate) is_swept: bool,
}

/// A piece of what is let go of one scope. With the last one all goes that lies before it in the
/// log, so that a crash between two of them forgets no head of a chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LetGo {
    pub(crate) scope: Scope,
    pub(crate) at: Moment,
    /// How many other devices were proven to hold each of its batches, relays among them.
    pub(crate) holders: u16,
    /// The heads of its chains: this device goes on behind its own, and a revocation names them.
    pub(crate) chains: Vec<LetGoChain>,
    /// The ends of the ids of its records, in order.
    pub(crate) records: Vec<[u8; 8]>,
    pub(crate) is_last: bool,
}

/// The last batch of a chain that was let go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LetGoChain {
    pub(crate) author: DeviceId,
    pub(crate) epoch: Epoch,
    pub(crate) sequence: u64,
    pub(crate) head: BatchId,
    pub(crate) last: Moment,
}

impl LetGo {
    fn names(&self, id: &DocumentId) -> bool {
        self.records.binary_search(&end_of(id)).is_ok()
    }
}

/// The end of an id, which is a hash or drawn at random: enough to tell a record from all others of
/// a tenant. The beginning is a time that many may share.
pub(crate) fn end_of(id: &DocumentId) -> [u8; 8] {
    *id.as_bytes().last_chunk().expect("an id has sixteen bytes")
}

/// Whether the records of a collection go by time, so that old ones may be let go.
pub(crate) fn goes_by_time(collection: u16) -> bool {
    catalogue::numbered(collection).is_some_and(|known| known.time_field.is_some())
}

/// The names of the collections that go by time.
pub(crate) fn by_time() -> impl Iterator<Item = &'static str> {
    let timed = catalogue::collections().iter().filter(|known| known.time_field.is_some());
    timed.map(|known| known.name.as_str())
}

/// The collections that the tenant defines, in order.
pub(crate) fn own(policy: &Policy) -> Vec<u16> {
    let numbers: BTreeSet<u16> = policy.schemas().map(SignedSchema::number).collect();
    numbers.into_iter().collect()
}

/// What a home wants that exchanges `only` and holds records since the month `since`, but wells and
/// the like and the collections `own` whatever their age.
///
/// # Errors
///
/// That is more than one greeting can say.
pub(crate) fn filter(only: &Filter, since: u32, own: &[u16]) -> Result<Filter, FilterError> {
    if since == 0 {
        return Ok(only.clone());
    }
    let whole = catalogue::collections().iter().filter(|known| known.time_field.is_none());
    let whole = whole.map(|known| known.number).chain(own.iter().copied());
    let whole = whole.map(|number| Region { collection: Some(number), ..Region::default() });
    let recent = Region { since, ..Region::default() };
    only.intersection(&Filter::new(whole.chain([recent]))?)
}

/// The key of the row of a piece whose fact lies at `place`.
pub(crate) fn key(scope: Scope, place: Place) -> Vec<u8> {
    [PREFIX, &scope.to_bytes(), &place.to_bytes()].concat()
}

/// The key of the row of where in the log lies the end of what was let go of a scope.
pub(crate) fn end_key(scope: Scope) -> Vec<u8> {
    [END_PREFIX, &scope.to_bytes()].concat()
}

/// Where in the log each scope ends that was let go: what lies before that is dead.
pub(crate) fn ends(view: &View) -> Result<BTreeMap<Scope, Place>, Error> {
    let mut ends = BTreeMap::new();
    let range = KeyRange::prefix(END_PREFIX);
    for row in rows::scan(view, Tree::Meta, range, Direction::Ascending) {
        let (key, value) = row?;
        if let Some(scope) = key.last_chunk::<8>() {
            ends.insert(Scope::from_bytes(*scope), rows::decode(&value)?);
        }
    }
    Ok(ends)
}

/// The same for one scope.
pub(crate) fn end_of_scope(view: &View, scope: Scope) -> Result<Option<Place>, Error> {
    rows::find(view, Tree::Meta, &end_key(scope))
}

/// Every piece of what was let go, and where its fact lies in the log.
pub(crate) fn pieces(view: &View) -> impl Iterator<Item = Result<(Place, LetGo), Error>> {
    let range = KeyRange::prefix(PREFIX);
    let rows = rows::scan(view, Tree::Meta, range, Direction::Ascending);
    rows.map(|row| {
        let (key, value) = row?;
        let place = key.last_chunk().map_or(Place(0), |bytes| Place::from_bytes(*bytes));
        Ok((place, rows::decode(&value)?))
    })
}

/// What was let go with the record `id`, the last time.
pub(crate) fn find(view: &View, id: &DocumentId) -> Result<Option<LetGo>, Error> {
    let mut found: Option<LetGo> = None;
    for piece in pieces(view) {
        let (_, piece) = piece?;
        if piece.names(id) && found.as_ref().is_none_or(|known| known.at <= piece.at) {
            found = Some(piece);
        }
    }
    Ok(found)
}

/// How many records of months before `since` were let go.
pub(crate) fn count(view: &View, since: u32) -> Result<u64, Error> {
    let mut ends: BTreeSet<[u8; 8]> = BTreeSet::new();
    for piece in pieces(view) {
        let (_, piece) = piece?;
        if piece.scope.month < since {
            ends.extend(piece.records);
        }
    }
    Ok(ends.len() as u64)
}

/// The heads of the chains of `author` that were let go.
pub(crate) fn heads(view: &View, author: DeviceId) -> Result<BTreeMap<Chain, LetGoChain>, Error> {
    let mut heads: BTreeMap<Chain, LetGoChain> = BTreeMap::new();
    for piece in pieces(view) {
        let (_, LetGo { scope, chains, .. }) = piece?;
        for head in chains.into_iter().filter(|head| head.author == author) {
            let known = heads.entry(Chain { author, epoch: head.epoch, scope }).or_insert(head);
            if known.sequence < head.sequence {
                *known = head;
            }
        }
    }
    Ok(heads)
}

/// The oldest month among `scopes` of collections that go by time.
pub(crate) fn oldest(scopes: impl Iterator<Item = Scope>) -> Option<u32> {
    scopes.filter(|scope| goes_by_time(scope.collection)).map(|scope| scope.month).min()
}

#[cfg(test)]
mod tests {
    use fieldmesh_model::catalogue::wells::{FIELD_ENTRY, WELL};

    use super::*;

    fn scope(collection: u16, month: u32) -> Scope {
        Scope { collection, partition: 0, month }
    }

    #[test]
    fn wells_and_what_is_the_crews_own_are_held_whatever_their_age_and_entries_since_the_month() {
        const OWN: u16 = 40_000;
        let all = Filter::everything();
        let held = filter(&all, 24_300, &[OWN]).unwrap();
        assert!(held.admits(&scope(WELL, 0)) && held.admits(&scope(FIELD_ENTRY, 24_300)));
        assert!(held.admits(&scope(OWN, 0)) && held.admits(&scope(OWN, 24_299)));
        assert!(!held.admits(&scope(FIELD_ENTRY, 24_299)));
        assert!(!held.admits(&scope(OWN + 1, 24_299)));
        assert!(filter(&all, 0, &[]).unwrap().is_everything());
    }

    #[test]
    fn as_many_own_collections_as_a_crew_defines_can_be_said_and_far_more_cannot() {
        // So many a program lets a crew define.
        const DEFINED_MAX: usize = 64;
        let own: Vec<u16> = (40_000..40_300).collect();
        let all = Filter::everything();
        assert!(filter(&all, 24_300, &own[..DEFINED_MAX]).is_ok());
        assert!(filter(&all, 24_300, &own).is_err());
        // Each part counts by itself.
        let part = |partition| Region { partition: Some(partition), ..Region::default() };
        let only = Filter::new((0..10).map(part)).unwrap();
        assert!(filter(&only, 24_300, &own[..5]).is_ok());
        assert!(filter(&only, 24_300, &own[..30]).is_err());
    }
}
