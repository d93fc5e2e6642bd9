//! Control messages taken apart and put together again: a length, then that many bytes.

use fieldmesh_trie::KEY_LENGTH;

use crate::random::Random;

const HELLO: u8 = 0;
const HELLO_ACK: u8 = 1;
const ROOT: u8 = 2;
const NODES: u8 = 3;
const AGAIN: u8 = 5;
const HAVE: u8 = 7;
const WANT_ID: u8 = 8;
const CREDIT: u8 = 9;
const PING: u8 = 10;
const UNPROVEN: u8 = 16;
const RECEIPTS: u8 = 17;
const ROOT_ASIDE: u8 = 14;

/// The whole messages in `bytes`.
pub(crate) fn messages(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    while let Some((length, start)) = number(bytes) {
        let end = start.saturating_add(length).min(bytes.len());
        messages.push(bytes[start.min(end)..end].to_vec());
        bytes = &bytes[end..];
    }
    messages
}

/// The bytes of questions for receipts and of their answers among whole messages.
pub(crate) fn proof_bytes(bytes: &[u8]) -> u64 {
    let messages = messages(bytes);
    let proofs = messages.iter().filter(|it| matches!(it.first(), Some(&(UNPROVEN | RECEIPTS))));
    proofs.map(|message| message.len() as u64 + 2).sum()
}

/// The hash of both sets that a message shows, if it is one that compares them.
pub(crate) fn shown_root(message: &[u8]) -> Option<[u8; 8]> {
    let (kind, rest) = message.split_first()?;
    let root = rest.first_chunk::<8>()?;
    matches!(*kind, ROOT | ROOT_ASIDE).then_some(*root)
}

/// Appends a message.
pub(super) fn write(message: &[u8], out: &mut Vec<u8>) {
    put(message.len(), out);
    out.extend_from_slice(message);
}

/// Replaces roots, and the counts beside them.
pub(super) fn lie(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    let mut out = Vec::new();
    for mut message in messages(bytes) {
        match message.first().copied() {
            Some(ROOT) => {
                let length = message.len();
                message[1..].copy_from_slice(&random.bytes(length - 1));
            }
            Some(HELLO | HELLO_ACK) => {
                if let Some(false_one) = false_hello(&message, random) {
                    message = false_one;
                }
            }
            // "Equal", said whatever the difference is, and the other way round.
            None if random.once_in(2) => message = vec![AGAIN],
            Some(NODES) if random.once_in(4) => message.clear(),
            _ => {}
        }
        write(&message, &mut out);
    }
    out
}

/// What a flood consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flood {
    /// Each wants an answer.
    Pings,
    /// Each names batches that nobody has.
    Offers,
    /// Each wants batches that nobody has.
    Wants,
    /// Each wants a comparison.
    Roots,
    /// Each begins or goes on with an exchange.
    Nodes,
    /// Each acknowledges what was never sent.
    Credits,
}

impl Flood {
    pub(super) fn draw(random: &mut Random) -> Self {
        let all = [Self::Pings, Self::Offers, Self::Wants, Self::Roots, Self::Nodes, Self::Credits];
        all[random.index(all.len())]
    }

    /// Many messages that a reader has to answer or to look up.
    pub(super) fn pour(self, random: &mut Random) -> Vec<u8> {
        let mut out = Vec::new();
        let count = match self {
            Self::Pings => 3_000,
            Self::Offers | Self::Wants => 3,
            Self::Roots => 100,
            Self::Nodes | Self::Credits => 1,
        };
        for _ in 0..count {
            write(&self.message(random), &mut out);
        }
        out
    }

    fn message(self, random: &mut Random) -> Vec<u8> {
        match self {
            Self::Pings => vec![PING],
            Self::Offers => keys(HAVE, random),
            Self::Wants => keys(WANT_ID, random),
            Self::Roots => [vec![ROOT], random.bytes(11)].concat(),
            Self::Nodes => {
                let mut message = vec![NODES, u8::from(random.once_in(2))];
                put(random.index(5_000), &mut message);
                let nodes = random.bytes(300);
                put(nodes.len(), &mut message);
                message.extend(nodes);
                put(0, &mut message);
                message
            }
            Self::Credits => {
                let mut message = vec![CREDIT];
                put(1 + random.index(1_000_000), &mut message);
                put(1 + random.index(1_000_000), &mut message);
                put(0, &mut message);
                message
            }
        }
    }
}

fn keys(kind: u8, random: &mut Random) -> Vec<u8> {
    let mut message = vec![kind];
    let keys = random.bytes(1_000 * KEY_LENGTH);
    put(keys.len(), &mut message);
    message.extend(keys);
    message
}

/// A hello with other roots and counts; None if it cannot be taken apart.
fn false_hello(message: &[u8], random: &mut Random) -> Option<Vec<u8>> {
    let mut at = 1;
    // Versions and features.
    for _ in 0..3 {
        at += number(message.get(at..)?)?.1;
    }
    at += 16;
    at += number(message.get(at..)?)?.1;
    at += 16;
    // The epoch of the store and the clock.
    for _ in 0..2 {
        at += number(message.get(at..)?)?.1;
    }
    let mut out = message.get(..at)?.to_vec();
    for _ in 0..2 {
        let count = at + 8;
        let (_, length) = number(message.get(count..)?)?;
        out.extend(random.bytes(8));
        put(random.index(1 << 30), &mut out);
        at = count + length;
    }
    out.extend_from_slice(message.get(at..)?);
    Some(out)
}

/// A number in groups of seven bits, lowest first, and the bytes it takes.
pub(super) fn number(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0;
    for (index, byte) in bytes.iter().take(9).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, index + 1));
        }
    }
    // Longer numbers are the clock's and the conversation's; their value does not matter.
    let end = bytes.iter().position(|byte| byte & 0x80 == 0)?;
    Some((0, end + 1))
}

pub(super) fn put(number: usize, out: &mut Vec<u8>) {
    let mut rest = number;
    while rest >= 0x80 {
        out.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}
