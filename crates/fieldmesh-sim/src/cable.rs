//! One connection between two nodes: two ordered streams each way, delayed, cut at any byte.

use fieldmesh_replica::LinkId;

use crate::random::Random;

/// Which stream of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stream {
    Control,
    Data,
}

impl Stream {
    pub(crate) const fn index(self) -> usize {
        match self {
            Self::Control => 0,
            Self::Data => 1,
        }
    }
}

/// One end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) node: usize,
    pub(crate) link: LinkId,
}

/// A connection. The first end dialled.
#[derive(Debug)]
pub(crate) struct Cable {
    pub(crate) ends: [End; 2],
    pub(crate) is_up: bool,
    /// When the last byte of each stream of each direction arrives.
    due: [[i64; 2]; 2],
    latency: i64,
    jitter: i64,
    /// Bytes a millisecond.
    rate: i64,
    /// The connection breaks when so many more bytes were delivered.
    bytes_left: Option<usize>,
    /// Bytes delivered by each stream.
    pub(crate) delivered: [u64; 2],
    /// What was delivered to the accepting end.
    pub(crate) record: Vec<(Stream, Vec<u8>)>,
}

impl Cable {
    pub(crate) fn new(ends: [End; 2], random: &mut Random) -> Self {
        let rates = [8, 64, 1_000, 100_000];
        Self {
            ends,
            is_up: true,
            due: [[0; 2]; 2],
            latency: random.between(1, 150),
            jitter: random.between(0, 40),
            rate: rates[random.index(rates.len())],
            bytes_left: None,
            delivered: [0; 2],
            record: Vec::new(),
        }
    }

    /// The connection breaks within the next `bytes`.
    pub(crate) fn break_within(&mut self, bytes: usize) {
        self.bytes_left = Some(bytes);
    }

    /// Which end it is; the cable has no others.
    pub(crate) fn side(&self, end: End) -> usize {
        usize::from(self.ends[1] == end)
    }

    /// Cuts `bytes` into pieces, each with the time of its arrival.
    pub(crate) fn send(
        &mut self,
        now: i64,
        side: usize,
        stream: Stream,
        bytes: &[u8],
        random: &mut Random,
    ) -> Vec<(i64, Vec<u8>)> {
        let mut pieces = Vec::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            let piece_max = if random.once_in(3) { 40 } else { 30_000 };
            let length = (1 + random.index(piece_max)).min(rest.len());
            let (piece, left) = rest.split_at(length);
            rest = left;
            let travel = self.latency + random.between(0, self.jitter) + length as i64 / self.rate;
            let due = &mut self.due[side][stream.index()];
            *due = (*due).max(now + travel);
            pieces.push((*due, piece.to_vec()));
        }
        pieces
    }

    /// The bytes that still arrive; fewer than given if the connection breaks here.
    pub(crate) fn deliver(&mut self, stream: Stream, mut bytes: Vec<u8>) -> Vec<u8> {
        if let Some(left) = &mut self.bytes_left {
            bytes.truncate(*left);
            *left -= bytes.len();
        }
        self.delivered[stream.index()] += bytes.len() as u64;
        bytes
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.bytes_left == Some(0)
    }

    /// When everything sent so far has arrived.
    pub(crate) fn drained_at(&self, now: i64) -> i64 {
        self.due.iter().flatten().copied().fold(now, i64::max)
    }
}
