//! One batch in the index, and the pages in which entries lie.

use std::num::NonZeroU32;
use std::ops::{Index, IndexMut};

use fieldmesh_model::BatchId;

use super::branches::Branch;
use crate::interface::Held;

/// Entries of one page; growing never copies what is there.
const PAGE: usize = 4_096;

/// The number of an entry, in the order of arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Spot(NonZeroU32);

impl Spot {
    pub(crate) const FIRST: Self = Self(NonZeroU32::MIN);
    pub(crate) const LAST: Self = Self(NonZeroU32::MAX);

    pub(crate) fn of(index: usize) -> Option<Self> {
        let number = u32::try_from(index).ok()?.checked_add(1)?;
        NonZeroU32::new(number).map(Self)
    }

    const fn index(self) -> usize {
        self.0.get() as usize - 1
    }
}

/// Something that is true of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    /// It wants to travel before all others.
    Critical = 1,
    /// It is stored with its signature.
    Signed = 2,
    /// Everything before it in its chain is here.
    Rooted = 4,
    /// It does not count.
    Aside = 8,
    /// A head that the policy names leads to it.
    Reached = 16,
    /// It was durable here and cannot be read any more.
    Lost = 32,
}

/// One batch.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: BatchId,
    pub(super) sequence: u64,
    /// The branch of its chain that it is in.
    pub(super) branch: Branch,
    /// The entry that it names.
    pub(super) previous: Option<Spot>,
    /// The first of the entries that name it.
    pub(super) child: Option<Spot>,
    /// The next of the entries that name the same one.
    pub(super) sibling: Option<Spot>,
    /// The last change-time, as keys have it.
    last: [u8; 6],
    marks: u8,
}

impl Entry {
    pub(super) fn new(held: &Held, branch: Branch) -> Self {
        let mut last = [0; 6];
        last.copy_from_slice(&held.last.to_u48().to_be_bytes()[2..]);
        let mut entry = Self {
            id: held.id,
            sequence: held.sequence,
            branch,
            previous: None,
            child: None,
            sibling: None,
            last,
            marks: 0,
        };
        if held.priority.is_critical() {
            entry.mark(Mark::Critical);
        }
        if held.is_signed {
            entry.mark(Mark::Signed);
        }
        entry
    }

    /// Milliseconds since 1970.
    pub(super) fn last(&self) -> u64 {
        self.last.iter().fold(0, |millis, byte| (millis << 8) | u64::from(*byte))
    }

    pub(super) const fn has(&self, mark: Mark) -> bool {
        self.marks & mark as u8 != 0
    }

    pub(super) const fn mark(&mut self, mark: Mark) {
        self.marks |= mark as u8;
    }

    pub(super) const fn unmark(&mut self, mark: Mark) {
        self.marks &= !(mark as u8);
    }
}

/// All entries.
#[derive(Debug, Default)]
pub(super) struct Slab {
    pages: Vec<Vec<Entry>>,
}

impl Slab {
    /// None beyond four thousand million entries.
    pub(super) fn push(&mut self, entry: Entry) -> Option<Spot> {
        let spot = Spot::of(self.len()).filter(|spot| *spot < Spot::LAST)?;
        match self.pages.last_mut().filter(|page| page.len() < PAGE) {
            Some(page) => page.push(entry),
            None => {
                let mut page = Vec::with_capacity(PAGE);
                page.push(entry);
                self.pages.push(page);
            }
        }
        Some(spot)
    }

    /// The spot that the next entry gets.
    pub(super) fn end(&self) -> Spot {
        Spot::of(self.len()).unwrap_or(Spot::LAST)
    }

    pub(super) fn spots(&self) -> impl Iterator<Item = Spot> + use<> {
        (0..self.len()).map_while(Spot::of)
    }

    fn len(&self) -> usize {
        match self.pages.last() {
            Some(last) => (self.pages.len() - 1) * PAGE + last.len(),
            None => 0,
        }
    }
}

impl Index<Spot> for Slab {
    type Output = Entry;

    fn index(&self, spot: Spot) -> &Entry {
        &self.pages[spot.index() / PAGE][spot.index() % PAGE]
    }
}

impl IndexMut<Spot> for Slab {
    fn index_mut(&mut self, spot: Spot) -> &mut Entry {
        &mut self.pages[spot.index() / PAGE][spot.index() % PAGE]
    }
}

const _: () = assert!(size_of::<Entry>() == 64, "a million entries should fit into 64 MB");
