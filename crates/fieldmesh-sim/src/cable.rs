//! One connection between two nodes: ordered streams each way that share a rate, delayed, cut at
//! any byte.
//!
//! A packet that is lost is sent again, so a stream shows loss as delay and nothing else.

use std::collections::VecDeque;

use fieldmesh_replica::{Lane, LinkId};

use crate::hostile::Mask;
use crate::plan::Links;
use crate::random::Random;

/// Which stream of a connection; the first one goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stream {
    Control,
    Data(Lane),
}

/// How many streams go each way.
pub(crate) const STREAMS: usize = 4;

impl Stream {
    pub(crate) const ALL: [Self; STREAMS] = [
        Self::Control,
        Self::Data(Lane::Urgent),
        Self::Data(Lane::Recent),
        Self::Data(Lane::Backfill),
    ];

    /// Those that a critical batch overtakes.
    pub(crate) const UNHURRIED: [Self; 2] = [Self::Data(Lane::Recent), Self::Data(Lane::Backfill)];

    pub(crate) const fn index(self) -> usize {
        match self {
            Self::Control => 0,
            Self::Data(lane) => 1 + lane.code() as usize,
        }
    }
}

/// One end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct End {
    pub(crate) node: usize,
    pub(crate) link: LinkId,
}

/// A connection. The first end dialled.
pub(crate) struct Cable {
    pub(crate) ends: [End; 2],
    pub(crate) is_up: bool,
    /// What goes out of each end.
    pub(crate) ways: [Way; 2],
    /// What hostile ends say instead.
    pub(crate) masks: [Option<Mask>; 2],
    /// The connection breaks when so many more bytes were delivered.
    bytes_left: Option<usize>,
    /// Bytes delivered by each stream.
    pub(crate) delivered: [u64; STREAMS],
    /// Bytes delivered from each end on the streams that a critical batch overtakes.
    pub(crate) unhurried: [u64; 2],
    /// What was delivered to the accepting end.
    pub(crate) record: Vec<(Stream, Vec<u8>)>,
}

/// One direction of a connection.
#[derive(Debug)]
pub(crate) struct Way {
    queues: [VecDeque<Vec<u8>>; STREAMS],
    waiting: [usize; STREAMS],
    /// Bytes that have left.
    left: [u64; STREAMS],
    /// When the last byte of each stream arrives.
    due: [i64; STREAMS],
    /// When the last byte has left, in microseconds.
    left_at: i64,
    latency: i64,
    jitter: i64,
    /// Bytes a millisecond.
    rate: i64,
    /// Whether the next piece is planned already.
    pub(crate) is_sending: bool,
    /// Whether the sender has closed the connection.
    pub(crate) is_closing: bool,
}

/// A piece on its way.
pub(crate) struct Piece {
    pub(crate) stream: Stream,
    pub(crate) bytes: Vec<u8>,
    /// When it has left.
    pub(crate) left: i64,
    /// When it arrives.
    pub(crate) due: i64,
}

impl Cable {
    pub(crate) fn new(ends: [End; 2], links: Links, random: &mut Random) -> Self {
        Self {
            ends,
            is_up: true,
            ways: ways(links, random),
            masks: [None, None],
            bytes_left: None,
            delivered: [0; STREAMS],
            unhurried: [0; 2],
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

    /// The other end.
    pub(crate) fn other(&self, end: End) -> End {
        self.ends[1 - self.side(end)]
    }

    /// The bytes that still arrive; fewer than given if the connection breaks here.
    pub(crate) fn deliver(&mut self, side: usize, stream: Stream, mut bytes: Vec<u8>) -> Vec<u8> {
        if let Some(left) = &mut self.bytes_left {
            bytes.truncate(*left);
            *left -= bytes.len();
        }
        self.delivered[stream.index()] += bytes.len() as u64;
        if Stream::UNHURRIED.contains(&stream) {
            self.unhurried[side] += bytes.len() as u64;
        }
        bytes
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.bytes_left == Some(0)
    }
}

impl Way {
    const fn new(rate: i64, latency: i64, jitter: i64) -> Self {
        Self {
            queues: [const { VecDeque::new() }; STREAMS],
            waiting: [0; STREAMS],
            left: [0; STREAMS],
            due: [0; STREAMS],
            left_at: 0,
            latency,
            jitter,
            rate,
            is_sending: false,
            is_closing: false,
        }
    }

    /// Queues `bytes` in pieces.
    pub(crate) fn send(&mut self, stream: Stream, bytes: &[u8], random: &mut Random) {
        let packet = if self.rate < 100 { 1_200 } else { 30_000 };
        self.waiting[stream.index()] += bytes.len();
        let mut rest = bytes;
        while !rest.is_empty() {
            let piece_max = if random.once_in(3) { 40 } else { packet };
            let length = (1 + random.index(piece_max)).min(rest.len());
            let (piece, left) = rest.split_at(length);
            rest = left;
            self.queues[stream.index()].push_back(piece.to_vec());
        }
    }

    /// The next piece, of the most urgent stream that has one.
    pub(crate) fn next(&mut self, now: i64, random: &mut Random) -> Option<Piece> {
        let stream =
            Stream::ALL.into_iter().find(|stream| !self.queues[stream.index()].is_empty())?;
        let bytes = self.queues[stream.index()].pop_front()?;
        self.waiting[stream.index()] -= bytes.len();
        self.left[stream.index()] += bytes.len() as u64;
        let duration = bytes.len() as i64 * 1_000 / self.rate;
        self.left_at = self.left_at.max(now * 1_000) + duration;
        let left = self.left_at / 1_000;
        let again = if random.once_in(30) { self.retransmission(random) } else { 0 };
        let travel = self.latency + random.between(0, self.jitter) + again;
        let due = &mut self.due[stream.index()];
        *due = (*due).max(left + travel);
        Some(Piece { stream, bytes, left, due: *due })
    }

    /// Bytes that a critical batch would have overtaken, and that have left.
    pub(crate) fn unhurried(&self) -> u64 {
        Stream::UNHURRIED.iter().map(|stream| self.left[stream.index()]).sum()
    }

    /// Bytes that wait to leave.
    pub(crate) const fn waiting(&self, stream: Stream) -> usize {
        self.waiting[stream.index()]
    }

    /// When everything that has left has arrived.
    pub(crate) fn drained_at(&self, now: i64) -> i64 {
        self.due.iter().copied().fold(now, i64::max)
    }

    fn retransmission(&self, random: &mut Random) -> i64 {
        (2 * self.latency + 50) * random.between(1, 3)
    }
}

fn ways(links: Links, random: &mut Random) -> [Way; 2] {
    let rates = [8, 64, 1_000, 100_000];
    let jitter = random.between(0, 40);
    let (rates, latency) = match links {
        Links::Any => {
            let rate = rates[random.index(rates.len())];
            let back = if random.once_in(4) { rates[random.index(rates.len())] } else { rate };
            ([rate, back], random.between(1, 150))
        }
        Links::Slow => ([8, 8], random.between(20, 200)),
        Links::Lopsided if random.once_in(2) => ([2_000, 8], random.between(5, 60)),
        Links::Lopsided => ([8, 2_000], random.between(5, 60)),
        Links::Satellite => ([500, 64], random.between(300, 350)),
    };
    rates.map(|rate| Way::new(rate, latency, jitter))
}
