//! How the operations of a tenant's apps were answered, counted since the start.

use std::sync::atomic::{AtomicU64, Ordering};

use fieldmesh_dialect::command::{Action, Operation};
use fieldmesh_dialect::outcome::{Entry, Fate, Reason, State};
use fieldmesh_dialect::{Caller, Command, Outcome, Refusal};
use fieldmesh_model::Moment;

use crate::fleet::Served;

/// What an operation can be answered, as metrics call it.
pub(crate) const ANSWERS: [&str; 4] = ["stored", "conflict", "rejected", "deferred"];

/// Counts, one for each of [`ANSWERS`].
#[derive(Debug, Default)]
pub(super) struct Answers([AtomicU64; ANSWERS.len()]);

impl Answers {
    /// Counts what an outcome says of each operation; one that is asked about again counts again.
    pub(super) fn count(&self, outcome: &Outcome) {
        for (counter, count) in self.0.iter().zip(answers_in(outcome)) {
            counter.fetch_add(count, Ordering::Relaxed);
        }
    }

    pub(super) fn counted(&self) -> [u64; ANSWERS.len()] {
        std::array::from_fn(|answer| self.0[answer].load(Ordering::Relaxed))
    }
}

/// How the operations of one request were answered.
fn answers_in(outcome: &Outcome) -> [u64; ANSWERS.len()] {
    let answers: Vec<usize> = match outcome {
        Outcome::Pushed(pushed) | Outcome::Exchanged { pushed, .. } => {
            pushed.fates.iter().map(of_fate).collect()
        }
        Outcome::Entries(entries) => entries.iter().flatten().filter_map(of_entry).collect(),
        _ => Vec::new(),
    };
    let mut counts = [0; ANSWERS.len()];
    answers.into_iter().for_each(|answer| counts[answer] += 1);
    counts
}

/// A request of an app, as far as the book of the fleet is concerned.
pub(super) struct Asked {
    device: Option<String>,
    /// When each operation of it was made, and what it does.
    made: Vec<(Moment, Action)>,
}

impl Asked {
    /// Notes what `command` says of its device before it is executed.
    pub(super) fn new(caller: &Caller, command: &Command) -> Self {
        let made =
            |operations: &[Operation]| operations.iter().map(|it| (it.at, it.action)).collect();
        let (named, made) = match command {
            Command::Push(push) | Command::Exchange { push, .. } => {
                (push.device.as_ref().map(|device| &device.id), made(&push.operations))
            }
            Command::Queue(queue) => (queue.operations.first().map(|it| &it.device), Vec::new()),
            Command::Pull(pull) => (pull.device.as_ref(), Vec::new()),
            Command::Journal(query) => (Some(&query.device), Vec::new()),
            Command::Reading { device } => (Some(device), Vec::new()),
            Command::Register { device, .. } => (Some(&device.id), Vec::new()),
            _ => (None, Vec::new()),
        };
        Self { device: named.or(caller.device.as_ref()).cloned(), made }
    }

    /// The device that it names.
    pub(super) fn device(&self) -> Option<&str> {
        self.device.as_deref()
    }

    /// How many deletions were stored for the first time, and how many operations whoever sent
    /// them may not do.
    pub(super) fn noticed(&self, outcome: &Outcome) -> (u64, u64) {
        let is_forbidden = |reason: &Reason| matches!(reason, Reason::Forbidden { .. });
        let count = |are: Vec<bool>| are.into_iter().filter(|is| *is).count() as u64;
        match outcome {
            Outcome::Refused(Refusal::Forbidden { .. }) => (0, 1),
            Outcome::Pushed(pushed) | Outcome::Exchanged { pushed, .. } => {
                let fates = pushed.fates.iter().zip(&self.made);
                let deleted =
                    fates.map(|(fate, (_, action))| is_first(fate) && is_deletion(action));
                let refused =
                    |fate: &Fate| matches!(fate, Fate::Rejected(reason) if is_forbidden(reason));
                (count(deleted.collect()), count(pushed.fates.iter().map(refused).collect()))
            }
            Outcome::Entries(entries) => {
                let deleted = |entry: &Entry| is_new(entry) && is_deletion(&entry.action);
                let refused = |entry: &Entry| matches!(&entry.state, State::Failed(reason) if is_forbidden(reason));
                let all = || entries.iter().flatten();
                (count(all().map(deleted).collect()), count(all().map(refused).collect()))
            }
            _ => (0, 0),
        }
    }

    /// The device, and what became of its operations; nothing where it may not ask or is not named.
    pub(super) fn served(self, outcome: &Outcome) -> Option<(String, Served)> {
        let written = match outcome {
            Outcome::Refused(_) => return None,
            Outcome::Pushed(pushed) | Outcome::Exchanged { pushed, .. } => {
                let fates = pushed.fates.iter().zip(&self.made);
                fates.filter(|(fate, _)| is_first(fate)).map(|(_, (made, _))| *made).collect()
            }
            Outcome::Entries(entries) => entries
                .iter()
                .flatten()
                .filter(|entry| is_new(entry))
                .map(|entry| entry.at)
                .collect(),
            _ => Vec::new(),
        };
        let [stored, conflicts, rejected, _] = answers_in(outcome);
        Some((self.device?, Served { stored: stored + conflicts, rejected, written }))
    }
}

fn is_first(fate: &Fate) -> bool {
    matches!(fate, Fate::Stored(stored) if !stored.again)
}

fn is_new(entry: &Entry) -> bool {
    !entry.known && of_entry(entry) == Some(0)
}

const fn is_deletion(action: &Action) -> bool {
    matches!(action, Action::Delete)
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
    use fieldmesh_dialect::outcome::Pushed;
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

    #[test]
    fn what_somebody_may_not_do_is_told_apart_from_what_is_wrong() {
        let asked = Asked { device: None, made: vec![(Moment::ZERO, Action::Delete); 2] };
        let why = || "only an admin may".to_owned();
        let fates = vec![
            Fate::Rejected(Reason::Forbidden { why: why() }),
            Fate::Rejected(Reason::NoRecord),
        ];
        let pushed = Outcome::Pushed(Pushed { fates, at: Moment::ZERO });
        assert_eq!(asked.noticed(&pushed), (0, 1));
        assert_eq!(asked.noticed(&Outcome::Refused(Refusal::Forbidden { why: why() })), (0, 1));
        assert_eq!(asked.noticed(&Outcome::Refused(Refusal::Failed)), (0, 0));
    }
}
