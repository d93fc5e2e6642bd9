//! How the operations of a tenant's apps were answered, counted since the start.

use std::sync::atomic::{AtomicU64, Ordering};

use fieldmesh_dialect::Outcome;
use fieldmesh_dialect::outcome::{Entry, Fate, State};

/// What an operation can be answered, as metrics call it.
pub(crate) const ANSWERS: [&str; 4] = ["stored", "conflict", "rejected", "deferred"];

/// Counts, one for each of [`ANSWERS`].
#[derive(Debug, Default)]
pub(super) struct Answers([AtomicU64; ANSWERS.len()]);

impl Answers {
    /// Counts what an outcome says of each operation; one that is asked about again counts again.
    pub(super) fn count(&self, outcome: &Outcome) {
        match outcome {
            Outcome::Pushed(pushed) | Outcome::Exchanged { pushed, .. } => {
                pushed.fates.iter().map(of_fate).for_each(|answer| self.add(answer));
            }
            Outcome::Entries(entries) => {
                entries.iter().flatten().filter_map(of_entry).for_each(|answer| self.add(answer));
            }
            _ => {}
        }
    }

    fn add(&self, answer: usize) {
        self.0[answer].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn counted(&self) -> [u64; ANSWERS.len()] {
        std::array::from_fn(|answer| self.0[answer].load(Ordering::Relaxed))
    }
}

fn of_fate(fate: &Fate) -> usize {
    match fate {
        Fate::Stored(_) | Fate::Duplicate { .. } => 0,
        Fate::Conflict(_) | Fate::Settled { .. } => 1,
        Fate::Deferred => 3,
        _ => 2,
    }
}

/// Nothing for one that nobody has processed so far.
fn of_entry(entry: &Entry) -> Option<usize> {
    match entry.state {
        State::Synced(_) => Some(0),
        State::Conflict(_) => Some(1),
        State::Failed(_) => Some(2),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use fieldmesh_dialect::outcome::{Pushed, Reason};
    use fieldmesh_model::Moment;

    use super::*;

    #[test]
    fn each_operation_of_a_request_counts() {
        let answers = Answers::default();
        let fates = vec![Fate::Rejected(Reason::NoRecord), Fate::Deferred, Fate::Deferred];
        answers.count(&Outcome::Pushed(Pushed { fates, at: Moment::ZERO }));
        answers.count(&Outcome::Done);
        assert_eq!(answers.counted(), [0, 0, 1, 2]);
    }
}
