//! The disk format of the view's rows.
//!
//! ```text
//! own rows   00 "head"        2 | store id 16 | build id 16, in the clear
//!            00 "tally"       sealed, see `tally`
//! page       01 | separator   sealed page with all rows from the separator on to the next page's
//! recent     02 | number u64  sealed page of what was written last and is in no page so far
//! piece      fe | value id 16 | index u16
//!                             up to 4,000 bytes of a sealed value
//! sealed     2 | nonce 12 | ciphertext | tag 16
//! ```
//!
//! The key belongs to one build of the view, nonces are random, the associated data is the key of
//! the row; of a value in pieces, the key that it stands under. The head's version is that of what
//! the rows mean as well: in version 1 a place was a segment and an offset.

use fieldmesh_model::StoreId;
use ring::aead::{Aad, LessSafeKey, Nonce};

use super::content::Content;
use super::{OWN_TREE, Row, ViewError};
use crate::key::DataKey;
use crate::random;

/// The pages.
pub(crate) const PAGE_TREE: u8 = 1;
/// What was written last.
pub(crate) const RECENT_TREE: u8 = 2;
/// The pieces of large values.
pub(crate) const PIECE_TREE: u8 = 0xfe;

/// The bytes of one piece of a large value: above some 8 KiB sled begins to lose values.
const PIECE_SIZE: usize = 4000;
const FORMAT: u8 = 2;
/// The newest version of a view, and the one written.
///
/// A program of version 7 looks for what is alike within a collection alone; now records of two can
/// share a place.
pub(crate) const VIEW_VERSION: u8 = 8;
const NONCE_LENGTH: usize = 12;

/// Where the view says whose it is.
pub(crate) const HEAD_KEY: &[u8] = &[OWN_TREE, b'h', b'e', b'a', b'd'];

/// What stands under [`HEAD_KEY`].
pub(crate) fn head(store: StoreId, build: [u8; 16]) -> Vec<u8> {
    [&[VIEW_VERSION], &store.as_bytes()[..], &build].concat()
}

/// What a view says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// This store, in this build.
    This([u8; 16]),
    /// Another store, or nobody can say.
    Another,
    /// Whoever it is, an earlier version of the program wrote it.
    Earlier,
    /// Whoever it is, a later version of the program wrote it.
    Later(u8),
}

impl Owner {
    pub(crate) fn of(head: &[u8], store: StoreId) -> Self {
        let Some((version, ids)) = head.split_first() else { return Self::Another };
        match *version {
            VIEW_VERSION => {}
            0 => return Self::Another,
            1..VIEW_VERSION => return Self::Earlier,
            later => return Self::Later(later),
        }
        match ids.split_first_chunk::<16>() {
            Some((owner, build)) if owner == store.as_bytes() => {
                build.try_into().map_or(Self::Another, Self::This)
            }
            Some(_) | None => Self::Another,
        }
    }
}

/// The key of a page whose rows begin at `separator`.
pub(crate) fn page_key(separator: &[u8]) -> Vec<u8> {
    [&[PAGE_TREE], separator].concat()
}

/// The key of what was written last.
pub(crate) fn recent_key(number: u64) -> Vec<u8> {
    [&[RECENT_TREE], &number.to_be_bytes()[..]].concat()
}

/// The keys of the pieces of a value.
pub(crate) fn piece_keys(id: [u8; 16], count: u16) -> impl Iterator<Item = Vec<u8>> {
    (0..count).map(move |index| [&[PIECE_TREE], &id[..], &index.to_be_bytes()].concat())
}

/// Encrypts and decrypts what one build of the view stores.
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

    pub(crate) fn seal(&self, key: &[u8], plain: &[u8]) -> Result<Vec<u8>, ViewError> {
        let nonce: [u8; NONCE_LENGTH] = random::bytes()?;
        let mut sealed = Vec::with_capacity(1 + NONCE_LENGTH + plain.len() + 16);
        sealed.push(FORMAT);
        sealed.extend(nonce);
        let body = sealed.len();
        sealed.extend(plain);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self
            .key
            .seal_in_place_separate_tag(nonce, associated(key), &mut sealed[body..])
            .expect("invariant: values are at most VALUE_SIZE_MAX, far below AES-GCM's limit");
        sealed.extend(tag.as_ref());
        Ok(sealed)
    }

    /// `None` if it is damaged.
    pub(crate) fn open(&self, key: &[u8], mut sealed: Vec<u8>) -> Option<Vec<u8>> {
        let (found, rest) = sealed.split_first_mut()?;
        if *found != FORMAT {
            return None;
        }
        let (nonce, body) = rest.split_first_chunk_mut::<NONCE_LENGTH>()?;
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let length = self.key.open_in_place(nonce, associated(key), body).ok()?.len();
        sealed.drain(..1 + NONCE_LENGTH);
        sealed.truncate(length);
        Some(sealed)
    }

    /// What stands for a large value, and its pieces.
    pub(crate) fn seal_pieces(
        &self,
        key: &[u8],
        value: &[u8],
    ) -> Result<(Content<'static>, Vec<Row>), ViewError> {
        let sealed = self.seal(key, value)?;
        let id = random::bytes()?;
        let count = u16::try_from(sealed.len().div_ceil(PIECE_SIZE))
            .expect("invariant: values are at most VALUE_SIZE_MAX, some 525 pieces");
        let pieces = sealed.chunks(PIECE_SIZE).map(<[u8]>::to_vec);
        Ok((Content::Pieces { id, count }, piece_keys(id, count).zip(pieces).collect()))
    }
}

fn associated(key: &[u8]) -> Aad<&[u8]> {
    Aad::from(key)
}
