//! A peer that breaks the protocol: an honest replica whose words are changed on their way out.
//!
//! It holds a valid certificate, so whatever it says comes from a member. It cannot sign for
//! others, and it does not write batches of its own, but policy items as many as it likes.

mod control;
mod data;
mod items;

use std::collections::BTreeMap;

use fieldmesh_replica::Lane;

use crate::author::Author;
use crate::random::Random;
use control::Flood;
pub(crate) use control::{messages, proof_bytes, shown_root};
use data::DataTap;

/// How a hostile peer behaves over one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Changes, cuts short, repeats, swaps and drops its messages.
    Garbles,
    /// Flips bits of its streams wherever they are.
    Flips,
    /// Lies about its roots and counts.
    Lies,
    /// Sends changed, repeated and unasked batches in well-formed frames.
    Forges,
    /// Sends many well-formed and useless messages, and reads.
    Floods,
    /// Sends policy items that it, and somebody whom nobody knows, signed, more than it may.
    FloodsPolicy,
    /// Floods and never reads.
    FloodsDeaf,
    /// Takes part and never reads.
    Deaf,
    /// Says a part of its hello and nothing else.
    HalfOpen,
    /// Behaves.
    Behaves,
}

const MANNERS: [Manner; 12] = [
    Manner::Garbles,
    Manner::Flips,
    Manner::Lies,
    Manner::Forges,
    Manner::Forges,
    Manner::Floods,
    Manner::FloodsPolicy,
    Manner::FloodsPolicy,
    Manner::FloodsDeaf,
    Manner::Deaf,
    Manner::HalfOpen,
    Manner::Behaves,
];

/// One connection of a hostile peer.
pub(crate) struct Mask {
    pub(crate) manner: Manner,
    flood: Flood,
    random: Random,
    taps: BTreeMap<Lane, DataTap>,
    said: usize,
    /// A message that is kept back, to come after the next one.
    swapped: Option<Vec<u8>>,
}

impl Mask {
    pub(crate) fn new(random: &mut Random) -> Self {
        let manner = MANNERS[random.index(MANNERS.len())];
        let flood = Flood::draw(random);
        let random = random.fork();
        Self { manner, flood, random, taps: BTreeMap::new(), said: 0, swapped: None }
    }

    /// Whether it reads what it is sent.
    pub(crate) const fn reads(&self) -> bool {
        !matches!(self.manner, Manner::Deaf | Manner::FloodsDeaf)
    }

    /// What it says unasked.
    pub(crate) fn rant(&mut self) -> Vec<u8> {
        match self.manner {
            Manner::Floods | Manner::FloodsDeaf if self.said > 0 => {
                self.flood.pour(&mut self.random)
            }
            _ => Vec::new(),
        }
    }

    /// Policy items that it sends unasked, on the urgent lane.
    pub(crate) fn rant_items(&mut self, author: &Author) -> Vec<u8> {
        if self.manner != Manner::FloodsPolicy || self.said == 0 {
            return Vec::new();
        }
        let frames = items::pour(author, &mut self.random);
        self.taps.entry(Lane::Urgent).or_default().insert(&frames)
    }

    /// What goes out instead of the control bytes of the honest replica underneath.
    pub(crate) fn control(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.said += 1;
        match self.manner {
            Manner::Garbles => self.garble(bytes),
            Manner::Flips => self.flip(bytes),
            Manner::Lies => control::lie(bytes, &mut self.random),
            Manner::HalfOpen if self.said == 1 => bytes[..bytes.len() / 2].to_vec(),
            Manner::HalfOpen => Vec::new(),
            Manner::Floods
            | Manner::FloodsPolicy
            | Manner::FloodsDeaf
            | Manner::Deaf
            | Manner::Forges
            | Manner::Behaves => bytes.to_vec(),
        }
    }

    /// What goes out instead of the data bytes.
    pub(crate) fn data(&mut self, lane: Lane, bytes: &[u8]) -> Vec<u8> {
        match self.manner {
            Manner::Flips => self.flip(bytes),
            Manner::Forges => self.taps.entry(lane).or_default().forge(bytes, &mut self.random),
            Manner::FloodsPolicy => self.taps.entry(lane).or_default().pass(bytes),
            Manner::HalfOpen => Vec::new(),
            Manner::Garbles
            | Manner::Lies
            | Manner::Floods
            | Manner::FloodsDeaf
            | Manner::Deaf
            | Manner::Behaves => bytes.to_vec(),
        }
    }

    fn flip(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        if self.random.once_in(3) && !bytes.is_empty() {
            let at = self.random.index(bytes.len());
            bytes[at] ^= 1 << self.random.index(8);
        }
        bytes
    }

    fn garble(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        for mut message in messages(bytes) {
            match self.random.index(12) {
                0 if !message.is_empty() => {
                    let at = self.random.index(message.len());
                    message[at] ^= 1 << self.random.index(8);
                }
                1 => message.truncate(self.random.index(message.len() + 1)),
                2 => control::write(&message, &mut out),
                3 => {
                    self.swapped = Some(message);
                    continue;
                }
                4 => continue,
                5 => message.extend(self.random.bytes(3)),
                6 if message.len() > 1 => {
                    let at = 1 + self.random.index(message.len() - 1);
                    message[at..].fill(0xff);
                }
                _ => {}
            }
            control::write(&message, &mut out);
            if let Some(swapped) = self.swapped.take() {
                control::write(&swapped, &mut out);
            }
        }
        out
    }
}
