//! Where in the feed the changes of a document arrived, and where its record stands.
//!
//! A change keeps the place at which it came first: that a batch holds it later is no news. A view
//! made anew from a log that has it in its batch alone finds it there, so it is delivered once more;
//! this is the one thing in which such a view may differ.

use std::collections::BTreeSet;

use crate::rows::{self, DocumentRow};

use super::touched::Arrival;

/// What was known of a document before a step, and what came in it.
pub(super) struct Arrivals {
    known: Vec<([u8; 8], u64)>,
    feed: u64,
    fresh: BTreeSet<u64>,
    is_remade: bool,
}

impl Arrivals {
    /// In a document that is made anew (`is_remade`) nothing counts as fresh: where a batch lies that
    /// was judged anew, everybody may have read long ago.
    pub(super) fn of(row: &DocumentRow, arrivals: &[Arrival], is_remade: bool) -> Self {
        let hashes = row.changes.iter().map(|change| change.hash);
        let position = |it: &Arrival| rows::position(it.reference.place, it.reference.leaf);
        Self {
            known: hashes.zip(row.arrived.iter().copied()).collect(),
            feed: row.feed,
            fresh: arrivals.iter().filter(|_| !is_remade).map(position).collect(),
            is_remade,
        }
    }

    /// Notes in `row` when its changes arrived; `end` is where what came by no change is put.
    pub(super) fn settle(mut self, row: &mut DocumentRow, is_changed: bool, end: u64) {
        // What waited arrives with what it waited for.
        let freed = self.fresh.last().copied().unwrap_or(end);
        let mut newest = None;
        row.arrived = Vec::with_capacity(row.changes.len());
        for change in &row.changes {
            let known = self.known.iter().position(|(hash, _)| *hash == change.hash);
            row.arrived.push(match known {
                Some(index) => self.known.swap_remove(index).1,
                None => {
                    let own = rows::position(change.place, change.leaf);
                    let at = if self.fresh.contains(&own) { own } else { freed };
                    newest = newest.max(Some(at));
                    at
                }
            });
        }
        if self.is_remade {
            // A version is the first so many changes, so what was known stays in front.
            let changes = std::mem::take(&mut row.changes).into_iter();
            let mut order: Vec<_> =
                std::mem::take(&mut row.arrived).into_iter().zip(changes).collect();
            order.sort_by_key(|(arrived, _)| *arrived);
            (row.arrived, row.changes) = order.into_iter().unzip();
        }
        // Whoever has read on must not miss it, so it never moves back.
        row.feed = match newest {
            Some(newest) => newest.max(self.feed),
            None if is_changed => end.max(self.feed),
            None => self.feed,
        };
    }
}
