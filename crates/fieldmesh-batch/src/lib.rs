//! Seals, opens and verifies a signed batch: header, Merkle leaves, chains, forks.
//!
//! A [`Batch`] holds changes of one author in one scope. Its header is signed and hashed as it is
//! stored, never encoded again; the leaves hang on the header by a Merkle root, so one leaf can be
//! erased without breaking the signature.
//!
//! What is in a change, who may write it and where a batch is stored is the business of others.

mod batch;
mod body;
mod chain;
mod header;
mod leaf;
mod pack;
mod receipt;
mod seal;

pub use batch::{Batch, DecodeError, SIGNATURE_LENGTH, SignatureError};
pub use chain::{Chain, Chains, Gap, Head, Link};
pub use header::{HEADER_LENGTH, Header, HeaderError, KEY_LENGTH, Priority, VERSION};
pub use leaf::Leaf;
pub use pack::{UnpackError, pack, unpack};
pub use receipt::{RECEIPT_HEADS_MAX, Receipt, ReceiptError};
pub use seal::{Draft, SealError};
