//! The disk format of the view's rows.
//!
//! ```text
//! own rows   00 "head"   2 | store id 16 | build id 16, in the clear
//!            00 "tally"  sealed, see `tally`
//! row        tree | key  1 | nonce 12 | ciphertext | tag 16
//!                        2 | chunk id 16 | chunk count u16, in the clear
//! chunk      fe | chunk id 16 | index u16
//!                        up to 4,000 bytes of: nonce 12 | ciphertext | tag 16
//! ```
//!
//! The key belongs to one build of the view, nonces are random, the associated data is the whole
//! key of the row (tree and key) and the format byte. The head's version is that of what the rows
//! mean as well: in version 1 a place was a segment and an offset. A view of another version is
//! built anew from the log.

use fieldmesh_model::StoreId;
use ring::aead::{Aad, LessSafeKey, Nonce};

use super::{CHUNK_TREE, OWN_TREE, Row, ViewError};
use crate::key::DataKey;
use crate::random;

/// The largest stored value: above some 8 KiB sled begins to lose them.
const STORED_SIZE_MAX: usize = 4096;
/// The bytes of one piece of a larger value.
const CHUNK_SIZE: usize = 4000;
const FORMAT_WHOLE: u8 = 1;
const FORMAT_CHUNKED: u8 = 2;
const HEAD_VERSION: u8 = 2;
const NONCE_LENGTH: usize = 12;

/// Where the view says whose it is.
pub(crate) const HEAD_KEY: &[u8] = &[OWN_TREE, b'h', b'e', b'a', b'd'];

/// What stands under [`HEAD_KEY`].
pub(crate) fn head(store: StoreId, build: [u8; 16]) -> Vec<u8> {
    [&[HEAD_VERSION], &store.as_bytes()[..], &build].concat()
}

/// Whether a view of this store was written by a program of another version.
pub(crate) fn is_of_other_version(head: &[u8], store: StoreId) -> bool {
    let is_ours = head.get(1..17) == Some(&store.as_bytes()[..]);
    is_ours && head.len() == 33 && head[0] != HEAD_VERSION
}

/// The build of a view of this store; `None` if it is another's.
pub(crate) fn build_of(head: &[u8], store: StoreId) -> Option<[u8; 16]> {
    let (version, ids) = head.split_first()?;
    let (owner, build) = ids.split_first_chunk::<16>()?;
    let is_ours = *version == HEAD_VERSION && owner == store.as_bytes();
    if is_ours { build.try_into().ok() } else { None }
}

/// The rows that hold the pieces of a value; `None` if it is in one piece.
pub(crate) fn chunk_keys(stored: &[u8]) -> Option<Vec<Vec<u8>>> {
    let (format, rest) = stored.split_first()?;
    if *format != FORMAT_CHUNKED {
        return None;
    }
    let (id, count) = rest.split_first_chunk::<16>()?;
    let count = u16::from_be_bytes(count.try_into().ok()?);
    Some((0..count).map(|index| chunk_key(id, index)).collect())
}

fn chunk_key(id: &[u8; 16], index: u16) -> Vec<u8> {
    [&[CHUNK_TREE], &id[..], &index.to_be_bytes()].concat()
}

/// Encrypts and decrypts the values of one build of the view.
pub(crate) struct Sealer {
    key: LessSafeKey,
    build: [u8; 16],
}

impl Sealer {
    pub(crate) fn new(key: &DataKey, build: [u8; 16]) -> Self {
        Self { key: key.of_view(&build), build }
    }

    pub(crate) fn build(&self) -> [u8; 16] {
        self.build
    }

    /// The rows to store for a value: one, or one and its pieces.
    pub(crate) fn seal(&self, key: &[u8], value: &[u8]) -> Result<Vec<Row>, ViewError> {
        let is_whole = 1 + NONCE_LENGTH + value.len() + 16 <= STORED_SIZE_MAX;
        let format = if is_whole { FORMAT_WHOLE } else { FORMAT_CHUNKED };
        let nonce: [u8; NONCE_LENGTH] = random::bytes()?;
        let mut stored = Vec::with_capacity(1 + NONCE_LENGTH + value.len() + 16);
        stored.push(format);
        stored.extend(nonce);
        let body = stored.len();
        stored.extend(value);
        let tag = self
            .key
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                associated(key, format),
                &mut stored[body..],
            )
            .expect("invariant: values are at most VALUE_SIZE_MAX, far below AES-GCM's limit");
        stored.extend(tag.as_ref());
        if is_whole {
            return Ok(vec![(key.to_vec(), stored)]);
        }
        let id: [u8; 16] = random::bytes()?;
        let mut rows = Vec::new();
        let mut count: u16 = 0;
        for chunk in stored[1..].chunks(CHUNK_SIZE) {
            rows.push((chunk_key(&id, count), chunk.to_vec()));
            count += 1;
        }
        let head = [&[FORMAT_CHUNKED], &id[..], &count.to_be_bytes()].concat();
        rows.push((key.to_vec(), head));
        Ok(rows)
    }

    /// Decrypts a value stored in one piece; `None` if it is damaged.
    pub(crate) fn open(&self, key: &[u8], stored: Vec<u8>) -> Option<Vec<u8>> {
        self.open_format(key, stored, FORMAT_WHOLE)
    }

    /// Decrypts the format byte and all pieces of a value; `None` if it is damaged.
    pub(crate) fn open_chunked(&self, key: &[u8], stored: Vec<u8>) -> Option<Vec<u8>> {
        self.open_format(key, stored, FORMAT_CHUNKED)
    }

    fn open_format(&self, key: &[u8], mut stored: Vec<u8>, format: u8) -> Option<Vec<u8>> {
        let (found, rest) = stored.split_first_mut()?;
        if *found != format {
            return None;
        }
        let (nonce, body) = rest.split_first_chunk_mut::<NONCE_LENGTH>()?;
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let length = self.key.open_in_place(nonce, associated(key, format), body).ok()?.len();
        stored.drain(..1 + NONCE_LENGTH);
        stored.truncate(length);
        Some(stored)
    }
}

fn associated(key: &[u8], format: u8) -> Aad<Vec<u8>> {
    Aad::from([&[format], key].concat())
}
