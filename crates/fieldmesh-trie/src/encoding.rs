//! The bytes of nodes and of wants.
//!
//! ```text
//! node   kind and shared u8   top bit: 0 children, 1 ids; rest: half bytes shared with the prefix
//!                             of the node before
//!        more u8              half bytes that follow
//!        half bytes           two to a byte, the last one padded with 0
//! kids   beyond u8            half bytes of the prefix beyond the region; top bit: gaps follow
//!        bitmap u16           which children there are
//!        gaps u16             which of them have their own node here and no hash, if any
//!        hashes               8 or 6 bytes each, as the form says
//!        rest u16, hash       children that have one hash together, if the top bit of `more` is set
//! ids    count                1 byte below 128, else 2 bytes with the top bit set
//!        ids                  8 or 6 bytes each
//! want   node u16, length u8, bitmap
//! ```
//!
//! Numbers are big-endian. A message is nodes one after another until its bytes end; their regions
//! ascend strictly, so no region is described twice.

use crate::answer::Want;
use crate::prefix::Prefix;
use crate::wire::{DESCRIBED, Form, IDS_MAX, NODES_MAX, Node, Rest};

/// Marks a node of ids in its first byte.
const IDS_FLAG: u8 = 0x80;
/// Marks a node of children some of which have no hash.
const GAPS_FLAG: u8 = 0x80;
/// Marks, in its second byte, a node of children some of which have one hash together.
const REST_FLAG: u8 = 0x80;
/// Marks a count of two bytes.
const LONG_FLAG: u8 = 0x80;

/// Bytes of a peer that are no nodes or no wants; the peer breaks the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes end inside a node.
    #[error("message ends inside a node")]
    Short,
    /// More nodes than a message may have.
    #[error("message has more than {NODES_MAX} nodes")]
    TooManyNodes,
    /// More ids than a node may have.
    #[error("node has {count} ids, limit is {IDS_MAX}")]
    TooManyIds {
        /// How many it claims.
        count: usize,
    },
    /// A prefix shares more than the previous one has, or is longer than a key.
    #[error("node has an impossible prefix")]
    Prefix,
    /// A branch without children, or one that names a child twice.
    #[error("node describes no child, or one twice")]
    NoKids,
    /// Regions that do not ascend.
    #[error("node {index} does not follow the one before it")]
    Order {
        /// The position of the node in the message.
        index: usize,
    },
    /// A want that names no id of the node it points at.
    #[error("want {index} does not fit what was offered")]
    Want {
        /// The position of the want in the message.
        index: usize,
    },
}

/// The bytes of `nodes`, whose hashes and ids were made by a key of this form.
pub fn encode(nodes: &[Node], form: Form) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut before = Prefix::ALL;
    for node in nodes {
        let prefix = node.prefix();
        encode_prefix(&mut bytes, node, before.shared(prefix));
        match node {
            Node::Kids { within, kids, rest, .. } => {
                encode_kids(&mut bytes, prefix.len().saturating_sub(*within), kids, form);
                if let Some(Rest { kids, hash }) = rest {
                    bytes.extend(kids.to_be_bytes());
                    encode_hash(&mut bytes, *hash, form);
                }
            }
            Node::Ids { ids, .. } => {
                encode_count(&mut bytes, ids.len());
                ids.iter().for_each(|id| encode_hash(&mut bytes, *id, form));
            }
        }
        before = *prefix;
    }
    bytes
}

fn encode_prefix(bytes: &mut Vec<u8>, node: &Node, shared: usize) {
    let prefix = node.prefix();
    let (head, more) = match node {
        Node::Kids { rest: None, .. } => (0, 0),
        Node::Kids { rest: Some(_), .. } => (0, REST_FLAG),
        Node::Ids { .. } => (IDS_FLAG, 0),
    };
    bytes.push(head | narrow(shared));
    bytes.push(more | narrow(prefix.len() - shared));
    for index in (shared..prefix.len()).step_by(2) {
        bytes.push(narrow(prefix.nibble(index) << 4 | prefix.nibble(index + 1)));
    }
}

fn encode_kids(bytes: &mut Vec<u8>, beyond: usize, kids: &[(u8, u64)], form: Form) {
    let with_hash = || kids.iter().filter(|(_, hash)| *hash != DESCRIBED);
    let bitmap = bitmap(kids.iter());
    let gaps = bitmap & !self::bitmap(with_hash());
    let flag = if gaps == 0 { 0 } else { GAPS_FLAG };
    bytes.push(flag | narrow(beyond));
    bytes.extend(bitmap.to_be_bytes());
    if gaps != 0 {
        bytes.extend(gaps.to_be_bytes());
    }
    with_hash().for_each(|(_, hash)| encode_hash(bytes, *hash, form));
}

fn encode_hash(bytes: &mut Vec<u8>, hash: u64, form: Form) {
    bytes.extend(&hash.to_be_bytes()[8 - form.hash_length()..]);
}

fn bitmap<'a>(kids: impl Iterator<Item = &'a (u8, u64)>) -> u16 {
    kids.fold(0, |map, (nibble, _)| map | 1 << (nibble & 15))
}

fn encode_count(bytes: &mut Vec<u8>, count: usize) {
    if count >= 128 {
        bytes.push(LONG_FLAG | narrow(count >> 8));
    }
    bytes.push(narrow(count & 0xff));
}

fn narrow(value: usize) -> u8 {
    u8::try_from(value).expect("invariant: lengths of prefixes and counts are bounded")
}

/// The nodes in a message of a peer, written in this form.
///
/// # Errors
///
/// Any error means that the peer breaks the protocol.
pub fn decode(bytes: &[u8], form: Form) -> Result<Vec<Node>, DecodeError> {
    let mut reader = NodeReader { reader: Reader { bytes }, hash_length: form.hash_length() };
    let mut nodes: Vec<Node> = Vec::new();
    while !reader.reader.bytes.is_empty() {
        if nodes.len() == NODES_MAX {
            return Err(DecodeError::TooManyNodes);
        }
        let before = nodes.last();
        let node = reader.node(before.map_or(&Prefix::ALL, Node::prefix))?;
        if before.is_some_and(|before| before.region() >= node.region()) {
            return Err(DecodeError::Order { index: nodes.len() });
        }
        nodes.push(node);
    }
    Ok(nodes)
}

/// The bytes of `wants`.
pub fn encode_wants(wants: &[Want]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for want in wants {
        let node = u16::try_from(want.node).expect("invariant: a message has at most 2,048 nodes");
        bytes.extend(node.to_be_bytes());
        bytes.push(narrow(want.bits.len()));
        bytes.extend(&want.bits);
    }
    bytes
}

/// The wants in a message of a peer; at most one a node, in the order of the nodes.
///
/// # Errors
///
/// Any error means that the peer breaks the protocol.
pub fn decode_wants(bytes: &[u8]) -> Result<Vec<Want>, DecodeError> {
    let mut reader = Reader { bytes };
    let mut wants: Vec<Want> = Vec::new();
    while !reader.bytes.is_empty() {
        let index = wants.len();
        let node = usize::from(u16::from_be_bytes(reader.array()?));
        let [length] = reader.array()?;
        let bits = reader.take(usize::from(length))?.to_vec();
        let ascends = wants.last().is_none_or(|before| before.node < node);
        if !ascends || node >= NODES_MAX || bits.len() > IDS_MAX / 8 {
            return Err(DecodeError::Want { index });
        }
        wants.push(Want { node, bits });
    }
    Ok(wants)
}

struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.bytes.split_at_checked(length).ok_or(DecodeError::Short)?;
        self.bytes = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (array, rest) = self.bytes.split_first_chunk().ok_or(DecodeError::Short)?;
        self.bytes = rest;
        Ok(*array)
    }
}

/// Reads nodes whose hashes and ids have so many bytes.
struct NodeReader<'a> {
    reader: Reader<'a>,
    hash_length: usize,
}

impl NodeReader<'_> {
    fn node(&mut self, before: &Prefix) -> Result<Node, DecodeError> {
        let [head, more] = self.reader.array()?;
        let (is_ids, has_rest) = (head & IDS_FLAG != 0, more & REST_FLAG != 0);
        let (shared, more) = (usize::from(head & !IDS_FLAG), usize::from(more & !REST_FLAG));
        let prefix = self.prefix(before, shared, more)?;
        match (is_ids, has_rest) {
            (false, _) => self.kids(prefix, has_rest),
            (true, false) => self.ids(prefix),
            (true, true) => Err(DecodeError::Prefix),
        }
    }

    fn prefix(
        &mut self,
        before: &Prefix,
        shared: usize,
        more: usize,
    ) -> Result<Prefix, DecodeError> {
        if shared > before.len() || shared + more > Prefix::LENGTH_MAX {
            return Err(DecodeError::Prefix);
        }
        let packed = self.reader.take(more.div_ceil(2))?;
        let halves = packed.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        let mut prefix = before.first(shared);
        for (index, half) in halves.enumerate() {
            if index < more {
                prefix = prefix.child(usize::from(half));
            } else if half != 0 {
                return Err(DecodeError::Prefix);
            }
        }
        Ok(prefix)
    }

    fn kids(&mut self, prefix: Prefix, has_rest: bool) -> Result<Node, DecodeError> {
        let [beyond] = self.reader.array()?;
        let within = prefix.len().checked_sub(usize::from(beyond & !GAPS_FLAG));
        let within = within.ok_or(DecodeError::Prefix)?;
        if prefix.len() == Prefix::LENGTH_MAX {
            return Err(DecodeError::Prefix);
        }
        let bitmap = u16::from_be_bytes(self.reader.array()?);
        if bitmap == 0 {
            return Err(DecodeError::NoKids);
        }
        let gaps =
            if beyond & GAPS_FLAG == 0 { 0 } else { u16::from_be_bytes(self.reader.array()?) };
        let mut kids = Vec::with_capacity(bitmap.count_ones() as usize);
        for nibble in (0..16).filter(|nibble| bitmap & (1 << nibble) != 0) {
            let has_hash = gaps & (1 << nibble) == 0;
            let hash = if has_hash { self.hash()? } else { DESCRIBED };
            kids.push((nibble, hash));
        }
        let rest = if has_rest { Some(self.rest(bitmap)?) } else { None };
        Ok(Node::Kids { prefix, within, kids, rest })
    }

    /// Children beside those of `bitmap`.
    fn rest(&mut self, bitmap: u16) -> Result<Rest, DecodeError> {
        let kids = u16::from_be_bytes(self.reader.array()?);
        if kids == 0 || kids & bitmap != 0 {
            return Err(DecodeError::NoKids);
        }
        Ok(Rest { kids, hash: self.hash()? })
    }

    fn ids(&mut self, prefix: Prefix) -> Result<Node, DecodeError> {
        let [low] = self.reader.array()?;
        let count = if low & LONG_FLAG == 0 {
            usize::from(low)
        } else {
            let [rest] = self.reader.array()?;
            usize::from(low & !LONG_FLAG) << 8 | usize::from(rest)
        };
        if count > IDS_MAX {
            return Err(DecodeError::TooManyIds { count });
        }
        let ids = self.reader.take(self.hash_length * count)?.chunks_exact(self.hash_length);
        Ok(Node::Ids { prefix, ids: ids.map(number).collect() })
    }

    fn hash(&mut self) -> Result<u64, DecodeError> {
        Ok(number(self.reader.take(self.hash_length)?))
    }
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}
