//! Finds the difference of two sets in few round trips; knows nothing of documents.
//!
//! A [`Trie`] holds the keys of a set. Two sides that hold different sets take turns: one sends
//! its [`first_answer`], then each gives an [`answer`] to the nodes it received until nothing is
//! left to say. Every message stands alone, so a trie may change between two of them, and an
//! exchange that is cut short only has to start again with the roots.
//!
//! Nothing here does IO, reads a clock or draws randomness. What a peer sends is read with
//! [`decode`] and can cost at most what the limits in [`wire`] and a [`Budget`] allow.

mod answer;
mod detail;
mod encoding;
mod exchange;
mod key;
mod part;
mod prefix;
mod spine;
mod subtree;
mod trie;
pub mod wire;

pub use answer::{Answer, Budget, Want, answer, named};
pub use encoding::{DecodeError, decode, decode_wants, encode, encode_wants};
pub use exchange::{Exchange, exchange};
pub use key::{KEY_LENGTH, Key};
pub use prefix::Prefix;
pub use spine::{FIRST_ANSWER_BYTES_MAX, first_answer, opening};
pub use subtree::Digest;
pub use trie::{ARRIVALS_MAX, Keys, Trie};
pub use wire::{Form, Node, Rest, WireKey, wire_root};
