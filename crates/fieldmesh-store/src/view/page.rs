//! Sorted rows packed into pages: the bytes of a page, and how rows are cut into pages.
//!
//! ```text
//! page   zstd of rows
//! row    key length u16 | content length u16 | key | content
//! ```
//!
//! A page knows nothing of encryption and of where it is stored.

use std::collections::BTreeMap;
use std::io;
use std::ops::Bound;

use super::content;
use super::rows::RowRange;
use crate::zstd_context;

/// The largest stored page: sled writes some sixteen of them anew when one of them changes often,
/// and begins to lose values of some 8 KiB.
pub(crate) const PAGE_SIZE_MAX: usize = 4096;
/// What encryption and the format byte add to a page.
pub(crate) const SEAL_SIZE: usize = 1 + 12 + 16;
/// The most that a page of several rows holds uncompressed.
const PLAIN_SIZE_MAX: usize = 32 * 1024;
/// How full the next page is meant to be, in percent: the estimate of its size may miss.
const FILL_PERCENT: usize = 95;
/// A page of at least this size is full enough, and so it is after some tries.
const FULL_SIZE: usize = PAGE_SIZE_MAX * 3 / 4;
const TRIES_MAX: usize = 3;
/// Where the first try cuts.
const FIRST_ROOM: usize = 3 * PAGE_SIZE_MAX;
/// Level 3 saves 3 percent and takes twice the time.
const COMPRESSION_LEVEL: i32 = 1;
const ROW_HEAD_SIZE: usize = 4;

/// A key and its content.
pub(crate) type RowRef<'a> = (&'a [u8], &'a [u8]);

/// A page that can be searched.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Page {
    bytes: Vec<u8>,
    /// Where the rows begin.
    starts: Vec<u32>,
}

impl Page {
    /// `None` if the bytes are no page.
    fn parse(bytes: Vec<u8>) -> Option<Self> {
        let mut page = Self { bytes, starts: Vec::new() };
        let mut start = 0;
        while start < page.bytes.len() {
            let (key, content) = parse(&page.bytes[start..])?;
            if page.rows().next_back().is_some_and(|(before, _)| before >= key) {
                return None;
            }
            let length = ROW_HEAD_SIZE + key.len() + content.len();
            page.starts.push(u32::try_from(start).ok()?);
            start += length;
        }
        Some(page)
    }

    /// The rows, by key.
    pub(crate) fn rows(&self) -> impl DoubleEndedIterator<Item = RowRef<'_>> {
        self.starts.iter().filter_map(|start| self.row_at(*start))
    }

    /// The rows of a range.
    pub(crate) fn rows_in(
        &self,
        (start, end): &RowRange,
    ) -> impl DoubleEndedIterator<Item = RowRef<'_>> {
        let first = match start {
            Bound::Included(start) => self.count_while(|key| key < &start[..]),
            Bound::Excluded(start) => self.count_while(|key| key <= &start[..]),
            Bound::Unbounded => 0,
        };
        let behind = match end {
            Bound::Included(end) => self.count_while(|key| key <= &end[..]),
            Bound::Excluded(end) => self.count_while(|key| key < &end[..]),
            Bound::Unbounded => self.starts.len(),
        };
        self.starts[first..behind.max(first)].iter().filter_map(|start| self.row_at(*start))
    }

    /// The content of a key.
    pub(crate) fn find(&self, key: &[u8]) -> Option<&[u8]> {
        let place = self.starts.get(self.count_while(|other| other < key))?;
        self.row_at(*place).filter(|(found, _)| *found == key).map(|(_, content)| content)
    }

    /// How many rows come before the first whose key is not so.
    fn count_while(&self, is_so: impl Fn(&[u8]) -> bool) -> usize {
        self.starts.partition_point(|start| self.row_at(*start).is_some_and(|(key, _)| is_so(key)))
    }

    fn row_at(&self, start: u32) -> Option<RowRef<'_>> {
        parse(&self.bytes[start as usize..])
    }

    /// What it takes in memory.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.bytes.capacity() + self.starts.capacity() * size_of::<u32>()
    }
}

/// Reads a page; `None` if the bytes are none.
pub(crate) fn unpack(packed: &[u8]) -> Option<Page> {
    let plain_max = PLAIN_SIZE_MAX + PAGE_SIZE_MAX;
    let mut bytes = zstd_context::decompress(packed, plain_max).ok()?;
    // It has room for the largest page, and is kept for long.
    bytes.shrink_to_fit();
    Page::parse(bytes)
}

/// The row at the beginning of these bytes.
fn parse(bytes: &[u8]) -> Option<RowRef<'_>> {
    let (key_length, rest) = bytes.split_first_chunk()?;
    let (content_length, rest) = rest.split_first_chunk()?;
    let (key, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*key_length)))?;
    let (content, _) = rest.split_at_checked(usize::from(u16::from_be_bytes(*content_length)))?;
    Some((key, content))
}

fn encode(rows: &[RowRef<'_>]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(plain_size(rows));
    for (key, content) in rows {
        for length in [key.len(), content.len()] {
            let length = u16::try_from(length).expect("invariant: keys and contents are small");
            bytes.extend(length.to_be_bytes());
        }
        bytes.extend_from_slice(key);
        bytes.extend_from_slice(content);
    }
    bytes
}

fn plain_size(rows: &[RowRef<'_>]) -> usize {
    rows.iter().map(|(key, content)| ROW_HEAD_SIZE + key.len() + content.len()).sum()
}

/// Where rows are cut that need more than one page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Into halves: the next rows may come anywhere.
    Even,
    /// Into full pages: the next rows come behind these, or there are none.
    Full,
}

/// A page cut from rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Packed {
    /// How many of the rows are in it.
    pub(crate) rows: usize,
    pub(crate) bytes: Vec<u8>,
}

/// The pages for sorted rows, in order.
pub(crate) fn pack(rows: &[RowRef<'_>], cut: Cut) -> io::Result<Vec<Packed>> {
    match cut {
        Cut::Even => halve(rows),
        Cut::Full => fill(rows),
    }
}

fn halve(rows: &[RowRef<'_>]) -> io::Result<Vec<Packed>> {
    let mut pages = Vec::new();
    let mut left = vec![rows];
    while let Some(part) = left.pop().filter(|part| !part.is_empty()) {
        match try_page(part)? {
            Try::Fits(page) => pages.push(page),
            Try::TooLarge(_) => {
                let (first, second) = part.split_at(part.len() / 2);
                left.extend([second, first]);
            }
        }
    }
    Ok(pages)
}

fn fill(rows: &[RowRef<'_>]) -> io::Result<Vec<Packed>> {
    let mut pages = Vec::new();
    let mut rest = rows;
    let mut room = FIRST_ROOM;
    let mut tries = 0;
    while !rest.is_empty() {
        let part = &rest[..fitting(rest, room)];
        let size = match try_page(part)? {
            Try::TooLarge(size) => size,
            Try::Fits(page) => {
                let size = page.bytes.len();
                let is_last = part.len() == rest.len() || room == PLAIN_SIZE_MAX;
                tries += 1;
                if is_last || size >= FULL_SIZE || tries > TRIES_MAX {
                    pages.push(page);
                    rest = &rest[part.len()..];
                    tries = 0;
                }
                size
            }
        };
        let wanted = plain_size(part) * PAGE_SIZE_MAX / size * FILL_PERCENT / 100;
        room = wanted.min(PLAIN_SIZE_MAX);
    }
    Ok(pages)
}

fn try_page(rows: &[RowRef<'_>]) -> io::Result<Try> {
    let plain = encode(rows);
    if rows.len() > 1 && plain.len() > PLAIN_SIZE_MAX {
        return Ok(Try::TooLarge(plain.len()));
    }
    let bytes = zstd_context::compress(&plain, COMPRESSION_LEVEL)?;
    let size = bytes.len() + SEAL_SIZE;
    // The largest row fits: keys have at most 512 bytes and contents 2 KiB.
    let fits = rows.len() <= 1 || size <= PAGE_SIZE_MAX;
    Ok(if fits { Try::Fits(Packed { rows: rows.len(), bytes }) } else { Try::TooLarge(size) })
}

enum Try {
    Fits(Packed),
    /// The size it has.
    TooLarge(usize),
}

/// How many rows have together at most `room` bytes; at least one.
fn fitting(rows: &[RowRef<'_>], room: usize) -> usize {
    let mut used = 0;
    let fitting = rows.iter().take_while(|(key, content)| {
        used += ROW_HEAD_SIZE + key.len() + content.len();
        used <= room
    });
    fitting.count().max(1)
}

/// The shortest key above `below` and not above `first`: it tells the least of both.
pub(crate) fn separator<'a>(below: &[u8], first: &'a [u8]) -> &'a [u8] {
    let shared = below.iter().zip(first).take_while(|(one, other)| one == other).count();
    &first[..first.len().min(shared + 1)]
}

/// Makes changes to rows; says whether anything is another.
pub(crate) fn merge<'a>(rows: &mut BTreeMap<&'a [u8], &'a [u8]>, changes: &[RowRef<'a>]) -> bool {
    let mut is_changed = false;
    for (key, content) in changes {
        is_changed |= if content::is_deleted(content) {
            rows.remove(key).is_some()
        } else {
            rows.insert(key, content) != Some(content)
        };
    }
    is_changed
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbered rows whose contents compress to about `kept` percent.
    fn rows(count: u32, size: usize, kept: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
        let noise = |number: u32| {
            let mut bytes = vec![0; size * kept / 100];
            blake3::Hasher::new().update(&number.to_be_bytes()).finalize_xof().fill(&mut bytes);
            bytes
        };
        let content = |number| [noise(number), vec![7; size - size * kept / 100]].concat();
        (0..count).map(|number| (number.to_be_bytes().to_vec(), content(number))).collect()
    }

    fn packed(rows: &[(Vec<u8>, Vec<u8>)], cut: Cut) -> Vec<Packed> {
        let rows: Vec<RowRef<'_>> =
            rows.iter().map(|(key, value)| (&key[..], &value[..])).collect();
        pack(&rows, cut).unwrap()
    }

    fn decode(packed: &[u8]) -> Option<Page> {
        unpack(packed)
    }

    #[test]
    fn pages_hold_all_rows_and_none_is_too_large() {
        for (count, size, kept) in [(0, 1, 0), (1, 2_050, 100), (3_000, 40, 100), (900, 300, 20)] {
            let rows = rows(count, size, kept);
            for cut in [Cut::Even, Cut::Full] {
                let mut read = Vec::new();
                for page in packed(&rows, cut) {
                    assert!(page.bytes.len() + SEAL_SIZE <= PAGE_SIZE_MAX);
                    let decoded = decode(&page.bytes).unwrap();
                    assert_eq!(decoded.rows().count(), page.rows);
                    read.extend(decoded.rows().map(|(key, value)| (key.to_vec(), value.to_vec())));
                }
                assert_eq!(read, rows);
            }
        }
    }

    #[test]
    fn pages_for_ascending_rows_are_nearly_full() {
        for (size, kept) in [(40, 100), (300, 20), (300, 90), (1_000, 50)] {
            let pages = packed(&rows(2_000, size, kept), Cut::Full);
            let used: usize = pages.iter().map(|page| page.bytes.len()).sum();
            let percent = used * 100 / (pages.len() * PAGE_SIZE_MAX);
            assert!(percent >= 80, "{percent} % with {size} bytes of which {kept} % stay");
        }
    }

    #[test]
    fn a_key_is_found_only_where_it_is() {
        let rows: Vec<_> = rows(40, 20, 50).into_iter().step_by(2).collect();
        let page = decode(&packed(&rows, Cut::Full)[0].bytes).unwrap();
        for number in 0..42_u32 {
            let key = number.to_be_bytes();
            let found = page.find(&key).map(<[u8]>::to_vec);
            let expected = rows.iter().find(|(known, _)| *known == key).map(|row| row.1.clone());
            assert_eq!(found, expected);
            let from = (Bound::Included(key.to_vec()), Bound::Unbounded);
            let below = (Bound::Unbounded, Bound::Excluded(key.to_vec()));
            let first = (number as usize).div_ceil(2).min(20);
            let count = |range| page.rows_in(&range).count();
            assert_eq!((count(from), count(below)), (20 - first, first));
        }
    }

    #[test]
    fn rubbish_is_no_page() {
        let packed = |plain: &[u8]| zstd::bulk::compress(plain, 1).unwrap();
        assert!(decode(b"rubbish").is_none());
        assert!(decode(&packed(&[0, 1, 0, 9, b'k'])).is_none());
        let twice = [0, 1, 0, 0, b'k', 0, 1, 0, 0, b'k'];
        assert!(decode(&packed(&twice)).is_none());
        assert_eq!(decode(&packed(&twice[..5])).unwrap().rows().count(), 1);
        assert!(decode(&packed(&vec![0; 1024 * 1024])).is_none());
    }

    #[test]
    fn a_separator_lies_between_and_is_short() {
        assert_eq!(separator(b"abcdef", b"abdxyz"), b"abd");
        assert_eq!(separator(b"ab", b"abc"), b"abc");
        assert_eq!(separator(b"", b"abc"), b"a");
    }
}
