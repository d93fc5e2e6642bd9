//! What the view keeps: rows that can be made again from the log, and the keys they lie under.
//!
//! Index keys hold keyed hashes instead of values, because a stolen disk shows the beginnings of
//! some keys: collections, times, bytes of ids. It never shows a value.

mod fit;
mod marks;
mod record;

use fieldmesh_batch::Priority;
use fieldmesh_model::{BatchId, DeviceId, DocumentId, Epoch, Moment, Scope, StoreId};
use fieldmesh_replica::{Doubt, Held};
use fieldmesh_store::{Direction, KeyRange, Place, Tree, View, ViewError};
use fieldmesh_trie::Key;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::error::Error;

pub(crate) use self::marks::{
    decisions_of, ended_key, ended_of, ended_prefix, inbox_id, inbox_items, inbox_key,
};
pub(crate) use self::record::{ConflictMark, RecordRow};

/// One document: where its changes lie, and its record as it reads at the moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct DocumentRow {
    /// The scope, fixed at creation.
    pub(crate) scope: Scope,
    /// The changes that were accepted, in an order that a document can be loaded from.
    pub(crate) changes: Vec<ChangeRef>,
    /// Where earlier versions kept the changes that wait for others; see [`waiting_key`].
    pub(crate) waiting: Vec<ChangeRef>,
    /// The record; none while its first change is missing.
    pub(crate) record: Option<RecordRow>,
    /// Where in the feed each of the changes arrived, in their order.
    pub(crate) arrived: Vec<u64>,
    /// Where in the feed the record stands.
    pub(crate) feed: u64,
}

impl DocumentRow {
    /// A document of which nothing is here so far.
    pub(crate) fn new(scope: Scope) -> Self {
        Self {
            scope,
            changes: Vec::new(),
            waiting: Vec::new(),
            record: None,
            arrived: Vec::new(),
            feed: 0,
        }
    }
}

/// Stands where a change lies in the log by itself.
pub(crate) const LOCAL_LEAF: u16 = u16::MAX;

/// Where one change lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ChangeRef {
    /// The entry of the log.
    pub(crate) place: Place,
    /// Which leaf, if the entry is a batch; [`LOCAL_LEAF`] if it is a change that no batch holds.
    pub(crate) leaf: u16,
    /// The first bytes of the change's hash: where to look for it, never proof that it is the one.
    pub(crate) hash: [u8; 8],
}

/// Which record an item of the inbox is about; of several that are alike, the first one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ConflictRow {
    pub(crate) document: DocumentId,
    pub(crate) open: bool,
}

/// A batch of the set: where it lies, and of its header what its key does not tell.
///
/// Earlier versions wrote the place alone, which is how this begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LeafRow {
    pub(crate) place: Place,
    pub(crate) author: DeviceId,
    pub(crate) epoch: Epoch,
    pub(crate) sequence: u64,
    pub(crate) previous: BatchId,
    pub(crate) priority: u8,
    pub(crate) is_signed: bool,
}

impl LeafRow {
    /// The row of a batch that lies at `place`.
    pub(crate) const fn new(place: Place, held: &Held) -> Self {
        let Held { author, epoch, sequence, previous, .. } = *held;
        let (priority, is_signed) = (held.priority.0, held.is_signed);
        Self { place, author, epoch, sequence, previous, priority, is_signed }
    }

    /// What the replica is told of the batch with this key.
    pub(crate) fn held(&self, key: &Key) -> Held {
        let last = i64::try_from(key.millis()).unwrap_or(i64::MAX);
        Held {
            id: BatchId::from_bytes(key.id()),
            author: self.author,
            scope: Scope::from_bytes(key.scope()),
            epoch: self.epoch,
            sequence: self.sequence,
            previous: self.previous,
            last: Moment::from_millis(last),
            priority: Priority(self.priority),
            is_signed: self.is_signed,
        }
    }
}

/// A change that was refused, with the reason.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct QuarantineRow {
    pub(crate) document: DocumentId,
    pub(crate) collection: u16,
    pub(crate) author: DeviceId,
    pub(crate) reason: String,
}

/// The newest batch of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ChainRow {
    pub(crate) sequence: u64,
    pub(crate) head: BatchId,
    pub(crate) last: Moment,
}

/// The key of a chain's row in [`Tree::Chain`].
pub(crate) fn chain_key(author: DeviceId, epoch: Epoch, scope: Scope) -> Vec<u8> {
    let mut key = Vec::with_capacity(48);
    key.extend_from_slice(author.as_bytes());
    key.extend_from_slice(&epoch.0.to_be_bytes());
    key.extend_from_slice(&scope.to_bytes());
    key
}

/// Author, epoch and scope of a chain key.
pub(crate) fn parse_chain_key(key: &[u8]) -> Option<(DeviceId, Epoch, Scope)> {
    let (author, rest) = key.split_first_chunk::<32>()?;
    let (epoch, rest) = rest.split_first_chunk::<8>()?;
    let scope = <[u8; 8]>::try_from(rest).ok()?;
    let epoch = Epoch(u64::from_be_bytes(*epoch));
    Some((DeviceId::from_bytes(*author), epoch, Scope::from_bytes(scope)))
}

/// The key of an unsealed change in [`Tree::Meta`].
pub(crate) fn unsealed_key(document: DocumentId, hash: [u8; 8]) -> Vec<u8> {
    let mut key = b"open/".to_vec();
    key.extend_from_slice(document.as_bytes());
    key.extend_from_slice(&hash);
    key
}

/// The prefix of a document's unsealed changes.
pub(crate) fn unsealed_prefix(document: DocumentId) -> Vec<u8> {
    [UNSEALED_PREFIX, &document.as_bytes()[..]].concat()
}

/// The document and the start of the hash of such a key.
pub(crate) fn unsealed_change(key: &[u8]) -> Option<(DocumentId, [u8; 8])> {
    let (document, hash) = key.strip_prefix(UNSEALED_PREFIX)?.split_first_chunk::<16>()?;
    Some((DocumentId::from_bytes(*document), <[u8; 8]>::try_from(hash).ok()?))
}

/// The prefix of all unsealed changes.
pub(crate) const UNSEALED_PREFIX: &[u8] = b"open/";

/// The key of the copy of a policy item in [`Tree::Meta`], by the hash of its bytes: they are few,
/// and without them a device knows nobody, so the view has them too.
pub(crate) fn item_copy_key(hash: &[u8]) -> Vec<u8> {
    [ITEM_COPY_PREFIX, hash].concat()
}

/// The prefix of the copies of all policy items.
pub(crate) const ITEM_COPY_PREFIX: &[u8] = b"item/";

/// The key of the mark of a batch that is aside, in [`Tree::Meta`].
pub(crate) fn aside_key(batch: &BatchId) -> Vec<u8> {
    [ASIDE_PREFIX, &batch.as_bytes()[..]].concat()
}

/// The batch of such a key.
pub(crate) fn aside_id(key: &[u8]) -> Option<BatchId> {
    let id = key.strip_prefix(ASIDE_PREFIX)?;
    <[u8; 32]>::try_from(id).ok().map(BatchId::from_bytes)
}

/// The prefix of the marks of all batches that are aside.
pub(crate) const ASIDE_PREFIX: &[u8] = b"aside/";

/// The key of a further copy of a change in [`Tree::Meta`]: two batches hold one change if a home
/// was copied. While one of them counts, the change does.
pub(crate) fn twin_key(document: DocumentId, place: Place, leaf: u16) -> Vec<u8> {
    [&twin_prefix(document)[..], &place.to_bytes(), &leaf.to_be_bytes()].concat()
}

/// The prefix of the further copies of a document's changes.
pub(crate) fn twin_prefix(document: DocumentId) -> Vec<u8> {
    [b"twin/", &document.as_bytes()[..]].concat()
}

/// The key of a document of a collection of the tenant's own in [`Tree::Meta`], so that those of
/// one are found without looking at all others.
pub(crate) fn own_key(collection: u16, document: DocumentId) -> Vec<u8> {
    [&own_prefix(collection)[..], &document.as_bytes()[..]].concat()
}

/// The prefix of the documents of such a collection.
pub(crate) fn own_prefix(collection: u16) -> Vec<u8> {
    [&b"own/"[..], &collection.to_be_bytes()].concat()
}

/// The place and leaf at the end of such a key.
pub(crate) fn twin_place(key: &[u8]) -> Option<(Place, u16)> {
    let (rest, leaf) = key.split_last_chunk::<2>()?;
    let place = rest.last_chunk::<8>()?;
    Some((Place::from_bytes(*place), u16::from_be_bytes(*leaf)))
}

/// The key of a change in [`Tree::Meta`] that waits for the one with the hash `missing`.
pub(crate) fn waiting_key(
    document: DocumentId,
    missing: &[u8; 32],
    reference: &ChangeRef,
) -> Vec<u8> {
    let ChangeRef { place, leaf, .. } = reference;
    let prefix = waiting_prefix(document, missing);
    [&prefix[..], &place.to_bytes(), &leaf.to_be_bytes()].concat()
}

/// The prefix of what waits in a document for the change `missing`, or for any if it is empty.
pub(crate) fn waiting_prefix(document: DocumentId, missing: &[u8]) -> Vec<u8> {
    [WAITING_PREFIX, &document.as_bytes()[..], missing].concat()
}

/// The document of the key of a change that waits.
pub(crate) fn waiting_document(key: &[u8]) -> Option<DocumentId> {
    let id = key.strip_prefix(WAITING_PREFIX)?.first_chunk::<16>()?;
    Some(DocumentId::from_bytes(*id))
}

/// The key in [`Tree::Meta`] under which it stands when the user gave up a change at `place` that
/// waits for a lost one.
pub(crate) fn given_up_key(place: Place) -> Vec<u8> {
    [&b"given-up/"[..], &place.to_bytes()].concat()
}

/// The prefix of everything that waits.
pub(crate) const WAITING_PREFIX: &[u8] = b"wait/";

/// The key of a receipt in [`Tree::Meta`]: by who signed it, then by time.
pub(crate) fn receipt_key(signer: DeviceId, at: Moment, receipt: &[u8]) -> Vec<u8> {
    let hash = blake3::hash(receipt);
    [&receipt_prefix(signer)[..], &sortable(at), &hash.as_bytes()[..8]].concat()
}

/// The prefix of one signer's receipts.
pub(crate) fn receipt_prefix(signer: DeviceId) -> Vec<u8> {
    [RECEIPT_PREFIX, &signer.as_bytes()[..]].concat()
}

/// The prefix of all receipts.
pub(crate) const RECEIPT_PREFIX: &[u8] = b"receipt/";

/// Receipts of a store that are not believed; see [`fieldmesh_replica::Doubt`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DoubtRow {
    device: DeviceId,
    store: StoreId,
    epoch: u64,
    until: Option<Moment>,
}

impl From<Doubt> for DoubtRow {
    fn from(Doubt { device, store, epoch, until }: Doubt) -> Self {
        Self { device, store, epoch, until }
    }
}

impl From<DoubtRow> for Doubt {
    fn from(DoubtRow { device, store, epoch, until }: DoubtRow) -> Self {
        Self { device, store, epoch, until }
    }
}

/// The key of what is not believed of a store, in [`Tree::Meta`].
pub(crate) fn doubt_key(device: DeviceId, store: StoreId) -> Vec<u8> {
    [DOUBT_PREFIX, &device.as_bytes()[..], &store.as_bytes()[..]].concat()
}

/// The prefix of all doubts.
pub(crate) const DOUBT_PREFIX: &[u8] = b"doubt/";

/// The index of a collection by time: `c`, collection, time, id.
pub(crate) fn time_key(collection: u16, time: Moment, id: DocumentId) -> Vec<u8> {
    let mut key = time_prefix(collection);
    key.extend_from_slice(&sortable(time));
    key.extend_from_slice(id.as_bytes());
    key
}

/// The start of a collection's keys.
pub(crate) fn time_prefix(collection: u16) -> Vec<u8> {
    let [high, low] = collection.to_be_bytes();
    vec![b'c', high, low]
}

/// The index of a field's value by time: `v`, hash of collection, field and value, time, id.
pub(crate) fn value_key(hash: [u8; 16], time: Moment, id: DocumentId) -> Vec<u8> {
    let mut key = value_prefix(hash);
    key.extend_from_slice(&sortable(time));
    key.extend_from_slice(id.as_bytes());
    key
}

/// The start of the keys of one field's value.
pub(crate) fn value_prefix(hash: [u8; 16]) -> Vec<u8> {
    let mut key = vec![b'v'];
    key.extend_from_slice(&hash);
    key
}

/// The id at the end of an index key.
pub(crate) fn indexed_id(key: &[u8]) -> Option<DocumentId> {
    key.last_chunk::<16>().map(|id| DocumentId::from_bytes(*id))
}

/// The time in front of that.
pub(crate) fn indexed_time(key: &[u8]) -> Option<[u8; 8]> {
    let (rest, _) = key.split_last_chunk::<16>()?;
    rest.last_chunk().copied()
}

/// A time whose bytes sort as the times do, also before 1970.
pub(crate) fn sortable(time: Moment) -> [u8; 8] {
    (time.as_millis().cast_unsigned() ^ (1 << 63)).to_be_bytes()
}

/// The index of what clients of a gateway call records: `a`, hash of collection and name, id.
pub(crate) fn name_prefix(hash: [u8; 16]) -> Vec<u8> {
    [&b"a"[..], &hash].concat()
}

/// The index of the numbers that stand for records without a name: `n`, collection, number, id.
pub(crate) fn number_prefix(collection: u16, number: i64) -> Vec<u8> {
    [&b"n"[..], &collection.to_be_bytes(), &number.to_be_bytes()].concat()
}

/// The index of fields that no two records may share: `u`, hash of collection, group, values; id.
pub(crate) fn group_prefix(hash: [u8; 16]) -> Vec<u8> {
    [&b"u"[..], &hash].concat()
}

/// The key of a record in [`Tree::Feed`]: its collection, where it stands, its id.
pub(crate) fn feed_key(collection: u16, position: u64, id: DocumentId) -> Vec<u8> {
    [&feed_prefix(collection)[..], &position.to_be_bytes(), id.as_bytes()].concat()
}

/// The start of the keys of a collection in [`Tree::Feed`].
pub(crate) fn feed_prefix(collection: u16) -> [u8; 2] {
    collection.to_be_bytes()
}

/// The position in such a key.
pub(crate) fn feed_position(key: &[u8]) -> Option<u64> {
    key.get(2..)?.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))
}

/// Where in the feed a change arrived: its entry, then its leaf, so that no two share a place.
pub(crate) fn position(place: Place, leaf: u16) -> u64 {
    (place.0 << POSITION_LEAF_BITS) | u64::from(if leaf == LOCAL_LEAF { 1 } else { leaf + 1 })
}

/// The last position of an entry.
pub(crate) fn position_end(place: Place) -> u64 {
    (place.0 << POSITION_LEAF_BITS) | ((1 << POSITION_LEAF_BITS) - 1)
}

/// The entry of a position.
pub(crate) fn position_place(position: u64) -> Place {
    Place(position >> POSITION_LEAF_BITS)
}

/// Bits of a position that say which leaf of an entry it is.
const POSITION_LEAF_BITS: u32 = 16;

/// The key of a gateway's note in [`Tree::Meta`].
pub(crate) fn note_key(key: &[u8]) -> Vec<u8> {
    [b"note/", key].concat()
}

/// The key of the moment until which everything up to an entry had arrived, in [`Tree::Meta`].
pub(crate) fn mark_key(place: Place) -> Vec<u8> {
    [MARK_PREFIX, &place.to_bytes()[..]].concat()
}

/// The key of the entry up to which everything had arrived at a moment, in [`Tree::Meta`].
pub(crate) fn mark_time_key(at: Moment) -> Vec<u8> {
    [MARK_TIME_PREFIX, &sortable(at)[..]].concat()
}

/// The prefixes of all such keys.
pub(crate) const MARK_PREFIX: &[u8] = b"mark/";
pub(crate) const MARK_TIME_PREFIX: &[u8] = b"mark-time/";

/// Encodes a row.
pub(crate) fn encode<T: Serialize>(row: &T) -> Vec<u8> {
    postcard::to_allocvec(row).expect("a row holds nothing unserialisable")
}

/// Rows read at a time by a scan: a scan never holds a whole tree.
const PAGE: usize = 256;
/// Rows read first: many look at no more.
const FIRST_PAGE: usize = 64;

/// Every key and value of a range, read a page at a time.
pub(crate) fn scan(
    view: &View,
    tree: Tree,
    range: KeyRange,
    direction: Direction,
) -> impl Iterator<Item = Result<(Vec<u8>, Vec<u8>), Error>> {
    pages(
        range,
        direction,
        move |range, count| view.scan(tree, range, direction, count),
        |row| &row.0,
    )
}

/// Every key of a range, read a page at a time.
pub(crate) fn keys(
    view: &View,
    tree: Tree,
    range: KeyRange,
    direction: Direction,
) -> impl Iterator<Item = Result<Vec<u8>, Error>> {
    pages(range, direction, move |range, count| view.keys(tree, range, direction, count), |key| key)
}

fn pages<T>(
    range: KeyRange,
    direction: Direction,
    read: impl Fn(&KeyRange, usize) -> Result<Vec<T>, ViewError>,
    key: impl Fn(&T) -> &Vec<u8>,
) -> impl Iterator<Item = Result<T, Error>> {
    let mut range = Some(range);
    let mut page = Vec::new().into_iter();
    let mut count = FIRST_PAGE;
    std::iter::from_fn(move || {
        if let Some(row) = page.next() {
            return Some(Ok(row));
        }
        let current = range.take()?;
        let rows = match read(&current, count) {
            Ok(rows) => rows,
            Err(error) => return Some(Err(Error::store(&error))),
        };
        if let Some(last) = rows.last().filter(|_| rows.len() == count) {
            range = Some(match direction {
                Direction::Ascending => current.after(key(last)),
                Direction::Descending => current.before(key(last)),
            });
        }
        count = PAGE;
        page = rows.into_iter();
        page.next().map(Ok)
    })
}

/// A key and a value.
type Row = (Vec<u8>, Vec<u8>);

/// The first row of a range, without a look at others.
pub(crate) fn edge(
    view: &View,
    tree: Tree,
    range: &KeyRange,
    direction: Direction,
) -> Result<Option<Row>, Error> {
    let rows = view.scan(tree, range, direction, 1).map_err(|error| Error::store(&error))?;
    Ok(rows.into_iter().next())
}

/// Reads and decodes the row under `key`.
pub(crate) fn find<T: DeserializeOwned>(
    view: &View,
    tree: Tree,
    key: &[u8],
) -> Result<Option<T>, Error> {
    let Some(bytes) = view.get(tree, key).map_err(|error| Error::store(&error))? else {
        return Ok(None);
    };
    decode(&bytes).map(Some)
}

/// Decodes a row.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    postcard::from_bytes(bytes).map_err(|error| Error::Store {
        reason: format!("a row of the view is damaged ({error}); `verify` checks, reopening heals"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_sort_as_bytes_also_before_1970() {
        let times = [i64::MIN, -5, 0, 1, i64::MAX].map(Moment::from_millis).map(sortable);
        assert!(times.is_sorted());
    }

    /// A view of an earlier version has the place alone; one of this version is read by it.
    #[test]
    fn a_batch_is_found_in_a_view_of_another_version() {
        let place = Place(700);
        let row = LeafRow {
            place,
            author: DeviceId::from_bytes([1; 32]),
            epoch: Epoch(2),
            sequence: 3,
            previous: BatchId::from_bytes([4; 32]),
            priority: 1,
            is_signed: true,
        };
        assert_eq!(decode::<Place>(&encode(&row)).unwrap(), place);
        assert_eq!(decode::<LeafRow>(&encode(&row)).unwrap(), row);
        assert!(decode::<LeafRow>(&encode(&place)).is_err());
    }

    #[test]
    fn a_chain_key_gives_back_its_parts() {
        let parts = (
            DeviceId::from_bytes([3; 32]),
            Epoch(9),
            Scope { collection: 1, partition: 2, month: 3 },
        );
        assert_eq!(parse_chain_key(&chain_key(parts.0, parts.1, parts.2)), Some(parts));
    }
}
