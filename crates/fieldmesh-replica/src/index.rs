//! All chains with all their batches: what is missing, what forks, what reaches what.
//!
//! An entry takes about 120 bytes, the sets that order it included, and one that begins a branch
//! 16 more. Entries are never removed and
//! are numbered in the order of their arrival. Two entries are linked only if they stand in one
//! chain, at neighbouring places, and the later one names the earlier; whatever else an author
//! writes into a header links nothing.
//!
//! Whether a batch counts is the business of [`crate::replica`]; here are only the marks for it.

use std::collections::{BTreeMap, BTreeSet};

use fieldmesh_batch::{Chain, Gap, Head};
use fieldmesh_model::{BatchId, Moment};
use fieldmesh_trie::Key;

use crate::interface::{Fork, Held};

mod branches;
mod entry;

use branches::{Branch, Branches};
use entry::{Entry, Slab};
pub(crate) use entry::{Mark, Spot};

/// The number of a chain, in the order in which chains became known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Line(u32);

impl Line {
    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Every durable batch of a replica, by id and by chain.
#[derive(Debug, Default)]
pub(crate) struct Index {
    slab: Slab,
    branches: Branches,
    /// The chain of each line.
    chains: Vec<Chain>,
    lines: BTreeMap<Chain, Line>,
    /// The front of each id: enough to find it among a few.
    by_id: BTreeSet<([u8; 4], Spot)>,
    order: BTreeSet<(Line, u64, Spot)>,
    /// Places beyond the first whose entry names one that is not here.
    loose: BTreeSet<(Line, u64, Spot)>,
    /// What is named and not here, with the first of the entries that name it.
    missing: BTreeMap<(Line, BatchId), Spot>,
    /// Entries that no other names.
    tips: BTreeSet<(Line, Spot)>,
    /// Places with more than one entry, and the smallest id at each.
    forked: BTreeMap<(Line, u64), BatchId>,
    /// Entries that want to travel before all others, in the order of arrival.
    critical: Vec<Spot>,
    newest: Option<Moment>,
}

/// A batch that is new in the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Insertion {
    pub(crate) spot: Spot,
    /// What it contradicts.
    pub(crate) fork: Option<Fork>,
}

impl Index {
    /// Takes note of an authentic durable batch; None if it is here already.
    pub(crate) fn insert(&mut self, held: &Held) -> Option<Insertion> {
        if self.find(&held.id).is_some() {
            return None;
        }
        let line = self.line_of(&held.chain());
        let before = self.before(line, held);
        let branch = self.branch_for(line, held, before)?;
        let spot = self.slab.push(Entry::new(held, branch))?;
        self.by_id.insert((front(&held.id), spot));
        self.newest = self.newest.max(Some(held.last));
        self.critical.extend(held.priority.is_critical().then_some(spot));
        let fork = self.fork_at(line, held);
        self.order.insert((line, held.sequence, spot));
        self.link_children(line, held, spot);
        self.link_previous(line, held, spot, before);
        if self.slab[spot].child.is_none() {
            self.tips.insert((line, spot));
        }
        Some(Insertion { spot, fork })
    }

    /// The entry of a batch that is here.
    pub(crate) fn find(&self, id: &BatchId) -> Option<Spot> {
        let front = front(id);
        let same_front = self.by_id.range((front, Spot::FIRST)..=(front, Spot::LAST));
        same_front.map(|(_, spot)| *spot).find(|spot| self.slab[*spot].id == *id)
    }

    /// The entry of a batch that is here, if it stands at this place of this chain.
    pub(crate) fn find_at(&self, chain: &Chain, sequence: u64, id: &BatchId) -> Option<Spot> {
        let spot = self.find(id)?;
        let is_there = self.chain(spot) == chain && self.sequence(spot) == sequence;
        is_there.then_some(spot)
    }

    /// The entries that name the batch as the one before them, while it is not here.
    pub(crate) fn successors<'a>(&'a self, held: &Held) -> impl Iterator<Item = Spot> + use<'a> {
        let first = self.lines.get(&held.chain()).and_then(|line| {
            let key = (*line, held.id);
            self.missing.get(&key).copied()
        });
        let next = held.sequence.checked_add(1);
        std::iter::successors(first, |spot| self.slab[*spot].sibling)
            .filter(move |spot| Some(self.slab[*spot].sequence) == next)
    }

    /// The disk has lost the batch: it is not here, nor is what leads to it whole. False if that is
    /// known.
    pub(crate) fn lose(&mut self, spot: Spot) -> bool {
        if self.has(spot, Mark::Lost) {
            return false;
        }
        self.mark(spot, Mark::Lost);
        let mut spots = vec![spot];
        while let Some(spot) = spots.pop() {
            if self.has(spot, Mark::Rooted) {
                self.unmark(spot, Mark::Rooted);
                spots.extend(self.children(spot));
            }
        }
        true
    }

    /// The batch is durable once more. False if it was not lost.
    pub(crate) fn recover(&mut self, spot: Spot) -> bool {
        if !self.has(spot, Mark::Lost) {
            return false;
        }
        self.unmark(spot, Mark::Lost);
        let is_first = self.sequence(spot) <= 1;
        if is_first || self.previous(spot).is_some_and(|before| self.has(before, Mark::Rooted)) {
            self.take_root(spot);
        }
        true
    }

    /// The entries that name this one as the one before them.
    pub(crate) fn children(&self, spot: Spot) -> impl Iterator<Item = Spot> + '_ {
        std::iter::successors(self.slab[spot].child, |spot| self.slab[*spot].sibling)
    }

    /// The entry that this one names as the one before it.
    pub(crate) fn previous(&self, spot: Spot) -> Option<Spot> {
        self.slab[spot].previous
    }

    pub(crate) fn id(&self, spot: Spot) -> BatchId {
        self.slab[spot].id
    }

    pub(crate) fn sequence(&self, spot: Spot) -> u64 {
        self.slab[spot].sequence
    }

    pub(crate) fn line(&self, spot: Spot) -> Line {
        self.branches.line(self.slab[spot].branch)
    }

    pub(crate) fn chain(&self, spot: Spot) -> &Chain {
        self.chain_of(self.line(spot))
    }

    pub(crate) fn chain_of(&self, line: Line) -> &Chain {
        &self.chains[line.index()]
    }

    /// The key of the batch in its set.
    pub(crate) fn key(&self, spot: Spot) -> Key {
        let entry = &self.slab[spot];
        Key::new(self.chain(spot).scope.to_bytes(), entry.last(), *entry.id.as_bytes())
    }

    pub(crate) fn has(&self, spot: Spot, mark: Mark) -> bool {
        self.slab[spot].has(mark)
    }

    pub(crate) fn mark(&mut self, spot: Spot, mark: Mark) {
        self.slab[spot].mark(mark);
    }

    pub(crate) fn unmark(&mut self, spot: Spot, mark: Mark) {
        self.slab[spot].unmark(mark);
    }

    /// The number of entries; those that arrive later have higher spots.
    pub(crate) fn end(&self) -> Spot {
        self.slab.end()
    }

    pub(crate) fn lines(&self) -> impl Iterator<Item = Line> + use<> {
        (0..self.chains.len()).map(|index| Line(narrow(index)))
    }

    pub(crate) fn spots(&self) -> impl Iterator<Item = Spot> + use<> {
        self.slab.spots()
    }

    /// The entries of a chain in their order.
    pub(crate) fn entries_of(&self, line: Line) -> impl Iterator<Item = Spot> + '_ {
        self.order.range((line, 0, Spot::FIRST)..=(line, u64::MAX, Spot::LAST)).map(|it| it.2)
    }

    /// The entries that no other names, chain by chain.
    pub(crate) fn tips(&self) -> impl Iterator<Item = Spot> + '_ {
        self.tips.iter().map(|(_, spot)| *spot)
    }

    /// The entries that want to travel before all others, the last to arrive first.
    pub(crate) fn critical(&self) -> impl Iterator<Item = Spot> + '_ {
        self.critical.iter().rev().copied()
    }

    /// The latest change-time of any batch.
    pub(crate) const fn newest(&self) -> Option<Moment> {
        self.newest
    }

    /// The first gap of each chain that has one.
    pub(crate) fn gaps(&self) -> impl Iterator<Item = (Chain, Gap)> + '_ {
        let mut before = None;
        let firsts =
            self.loose.iter().filter(move |(line, _, _)| before.replace(*line) != Some(*line));
        firsts.map(|(line, sequence, _)| (*self.chain_of(*line), self.gap_before(*line, *sequence)))
    }

    /// Every place at which an author signed more than one batch.
    pub(crate) fn forks(&self) -> impl Iterator<Item = Fork> + '_ {
        self.forked.keys().flat_map(|(line, sequence)| {
            let ids: BTreeSet<BatchId> = self.ids_at(*line, *sequence).collect();
            let known = ids.first().copied().unwrap_or_default();
            let chain = *self.chain_of(*line);
            let fork = move |other| Fork { chain, sequence: *sequence, known, other };
            ids.into_iter().skip(1).map(fork)
        })
    }

    /// The last batch of the gapless beginning of `chain`; at a fork along the smallest id.
    pub(crate) fn head(&self, chain: &Chain) -> Option<Head> {
        let line = *self.lines.get(chain)?;
        let mut spots: Vec<Spot> = self
            .order
            .range((line, 1, Spot::FIRST)..=(line, 1, Spot::LAST))
            .map(|it| it.2)
            .collect();
        let mut head = None;
        while let Some(spot) = spots.into_iter().min_by_key(|spot| self.slab[*spot].id) {
            head = Some(Head { sequence: self.sequence(spot), id: self.id(spot) });
            spots = self.children(spot).collect();
        }
        head
    }

    /// Whether `head` is `spot`, or leads to it through the batches before it.
    pub(crate) fn reaches(&self, head: Spot, spot: Spot) -> bool {
        let (branch, from) = (self.branch(spot), self.sequence(spot));
        let mut head = head;
        while self.sequence(head) >= from {
            let way = self.branch(head);
            if way == branch {
                return true;
            }
            let Some(base) = self.branches.base(way) else { return false };
            head = base;
        }
        false
    }

    fn branch(&self, spot: Spot) -> Branch {
        self.branches.find(self.slab[spot].branch)
    }

    /// The entry that a new one of `line` names, if it is here and at the place before.
    fn before(&self, line: Line, held: &Held) -> Option<Spot> {
        let before = self.find(&held.previous).filter(|_| held.sequence > 1)?;
        let is_linked = self.line(before) == line
            && self.sequence(before).checked_add(1) == Some(held.sequence);
        is_linked.then_some(before)
    }

    /// The branch of a new entry, which goes on with the first of those that were waiting for it.
    fn branch_for(&mut self, line: Line, held: &Held, before: Option<Spot>) -> Option<Branch> {
        let next = self.successors(held).next().map(|next| self.slab[next].branch);
        let goes_on = before.filter(|before| self.slab[*before].child.is_none());
        match (goes_on.map(|before| self.slab[before].branch), next) {
            (Some(branch), Some(next)) => {
                self.branches.join(branch, next);
                Some(branch)
            }
            (Some(branch), None) => Some(branch),
            (None, Some(next)) => {
                before.iter().for_each(|before| self.branches.attach(next, *before));
                Some(next)
            }
            (None, None) => self.branches.begin(line, before),
        }
    }

    fn line_of(&mut self, chain: &Chain) -> Line {
        let next = Line(narrow(self.chains.len()));
        let line = *self.lines.entry(*chain).or_insert(next);
        if line == next {
            self.chains.push(*chain);
        }
        line
    }

    fn ids_at(&self, line: Line, sequence: u64) -> impl Iterator<Item = BatchId> + '_ {
        let place = (line, sequence, Spot::FIRST)..=(line, sequence, Spot::LAST);
        self.order.range(place).map(|it| self.slab[it.2].id)
    }

    fn fork_at(&mut self, line: Line, held: &Held) -> Option<Fork> {
        let place = (line, held.sequence);
        let forked = self.forked.get(&place).copied();
        let smallest = forked.or_else(|| self.ids_at(line, held.sequence).next())?;
        self.forked.insert(place, smallest.min(held.id));
        let (known, other) = (smallest.min(held.id), smallest.max(held.id));
        Some(Fork { chain: held.chain(), sequence: held.sequence, known, other })
    }

    fn gap_before(&self, line: Line, sequence: u64) -> Gap {
        let mut before = self.order.range((line, 0, Spot::FIRST)..(line, sequence, Spot::FIRST));
        let held = before.next_back().map_or(0, |it| it.1);
        let last = sequence.saturating_sub(1);
        Gap { first: held.saturating_add(1).min(last), last }
    }

    /// Links the entries that were waiting for this one.
    fn link_children(&mut self, line: Line, held: &Held, spot: Spot) {
        let own = self.branch(spot);
        let mut next = self.missing.remove(&(line, held.id));
        while let Some(child) = next {
            next = self.slab[child].sibling.take();
            let sequence = self.slab[child].sequence;
            if held.sequence.checked_add(1) == Some(sequence) {
                self.slab[child].previous = Some(spot);
                self.slab[child].sibling = self.slab[spot].child.replace(child);
                self.loose.remove(&(line, sequence, child));
                if self.branch(child) != own {
                    self.branches.attach(self.slab[child].branch, spot);
                }
            }
        }
    }

    fn link_previous(&mut self, line: Line, held: &Held, spot: Spot, before: Option<Spot>) {
        if held.sequence <= 1 {
            self.take_root(spot);
            return;
        }
        let Some(before) = before else {
            if self.find(&held.previous).is_none() {
                self.slab[spot].sibling = self.missing.insert((line, held.previous), spot);
            }
            self.loose.insert((line, held.sequence, spot));
            return;
        };
        self.tips.remove(&(line, before));
        self.slab[spot].previous = Some(before);
        self.slab[spot].sibling = self.slab[before].child.replace(spot);
        if self.has(before, Mark::Rooted) {
            self.take_root(spot);
        }
    }

    /// Everything before the entry is here, and so it is for those that lead to it.
    fn take_root(&mut self, spot: Spot) {
        let mut spots = vec![spot];
        while let Some(spot) = spots.pop() {
            if !self.has(spot, Mark::Lost) {
                self.mark(spot, Mark::Rooted);
                spots.extend(self.children(spot));
            }
        }
    }
}

fn front(id: &BatchId) -> [u8; 4] {
    let mut front = [0; 4];
    front.copy_from_slice(&id.as_bytes()[..4]);
    front
}

fn narrow(index: usize) -> u32 {
    u32::try_from(index).expect("invariant: there are no more chains than entries")
}

#[cfg(test)]
mod tests;
