//! The journal: operations that were taken in and have a state until they are settled.

use std::collections::BTreeMap;

use fieldmesh::gateway::Held;
use fieldmesh_dialect::command::{
    JournalQuery, Operation, Queue, Queued, Refused, Retry, Then, Whose,
};
use fieldmesh_dialect::outcome::{Entry, Fate, Reason, Retried, State, Tally};
use fieldmesh_dialect::{Dialect, Outcome, Refusal};
use fieldmesh_model::{DocumentId, Fault};

use crate::names::Showing;
use crate::push::{Hand, Writing, too_large_fault};
use crate::stored::{self, ConflictRow, EntryRow, OperationRow, ReasonRow, StateRow};
use crate::{Failure, Task, keys};

/// Entries that are listed or processed again at once.
const ENTRIES_MAX: usize = 10_000;

/// How many entries there are in each state.
pub(crate) type Counts = [u64; 4];
/// The same by the contract over which they came.
type ByContract = BTreeMap<String, Counts>;

/// What is noted of the numbers of entries. Where nothing is by contract, all of them count for each
/// contract that shows numbers, as they did when that was noted.
fn read_counts(
    total: Option<&[u8]>,
    by_contract: Option<&[u8]>,
) -> Result<(Counts, ByContract), fieldmesh::Error> {
    let total: Counts = total.map(stored::decode).transpose()?.unwrap_or_default();
    let by_contract = match by_contract {
        Some(note) => stored::decode(note)?,
        None => [Dialect::Asset, Dialect::Health].map(|it| (it.as_str().to_owned(), total)).into(),
    };
    Ok((total, by_contract))
}

impl Task<'_> {
    pub(crate) fn entry_row(&self, id: &str) -> Result<Option<EntryRow>, Failure> {
        let note = self.access.note(&keys::entry(self.access, id))?;
        Ok(note.map(|note| EntryRow::decode(&note)).transpose()?)
    }

    pub(crate) fn queue(&self, queue: &Queue) -> Result<Outcome, Failure> {
        for queued in &queue.operations {
            self.check_device_of(&queued.user, &queued.device)?;
        }
        self.check_device(None)?;
        let mut writing = self.writing(None, None)?;
        let mut entries = Vec::with_capacity(queue.operations.len());
        let is_single = queue.then == Then::Wait;
        let mut refused = Vec::new();
        let mut refuse = |queued: &Queued, faults: Vec<Fault>, reason: &Reason| {
            let device = Some(queued.device.clone());
            refused.push(Refused { device, ..Refused::of(&queued.operation, faults) });
            (EntryRow::refused(queued, reason.into()), false)
        };
        for queued in &queue.operations {
            let (row, known) = match writing.take_in(queued) {
                // The others of a batch are processed all the same.
                Err(Failure::Refused(Refusal::Forbidden { why })) if !is_single => {
                    let faults = vec![Fault::new("", &why)];
                    refuse(queued, faults, &Reason::Forbidden { why })
                }
                Err(Failure::Refused(Refusal::Invalid { faults })) if !is_single => {
                    refuse(queued, faults.clone(), &Reason::Invalid { faults })
                }
                taken => taken?,
            };
            let row = match queue.then {
                Then::Wait => row,
                Then::Process => writing.process(row)?,
            };
            entries.push((row, known));
        }
        for refused in [&queue.refused, &refused] {
            writing.keep_refused(refused, self.caller.device.as_deref())?;
        }
        self.finish(writing, entries)
    }

    pub(crate) fn process(&self, ids: &[String]) -> Result<Outcome, Failure> {
        let mut writing = self.writing(None, None)?;
        let mut rows = Vec::with_capacity(ids.len());
        for id in ids {
            let row = self.entry_row(id)?.filter(|row| self.is_own(&row.user));
            rows.push(match row {
                Some(row) => Some(writing.process(row)?),
                None => None,
            });
        }
        writing.write.finish()?;
        let mut showing = Showing::new(*self, None)?;
        let mut entries = Vec::with_capacity(rows.len());
        for row in rows {
            entries.push(match row {
                Some(row) => Some(self.show_entry(&row, true, &mut showing)?),
                None => None,
            });
        }
        Ok(Outcome::Entries(entries))
    }

    fn finish(
        &self,
        writing: Writing<'_>,
        rows: Vec<(EntryRow, bool)>,
    ) -> Result<Outcome, Failure> {
        writing.write.finish()?;
        let mut showing = Showing::new(*self, None)?;
        let mut entries = Vec::with_capacity(rows.len());
        for (row, known) in rows {
            entries.push(Some(self.show_entry(&row, known, &mut showing)?));
        }
        Ok(Outcome::Entries(entries))
    }

    fn is_own(&self, user: &str) -> bool {
        self.caller.is(user) || self.caller.is_admin()
    }

    pub(crate) fn pending(&self, query: &JournalQuery) -> Result<Outcome, Failure> {
        let rows = self.entries_in(&query.user, StateRow::PENDING)?;
        let mut showing = Showing::new(*self, None)?;
        let mut entries = Vec::new();
        for row in rows.iter().filter(|row| row.device == query.device) {
            entries.push(Some(self.show_entry(row, true, &mut showing)?));
        }
        Ok(Outcome::Entries(entries))
    }

    fn entries_in(&self, user: &str, state: u8) -> Result<Vec<EntryRow>, Failure> {
        let prefix = keys::entries(self.access, user, state);
        let mut rows = Vec::new();
        for (_, note) in self.access.notes(&prefix, None, ENTRIES_MAX)? {
            let id: String = stored::decode(&note)?;
            rows.extend(self.entry_row(&id)?);
        }
        Ok(rows)
    }

    pub(crate) fn retry(&self, retry: &Retry) -> Result<Outcome, Failure> {
        let failed = self.entries_in(&retry.user, StateRow::FAILED)?;
        let is_meant = |row: &EntryRow| {
            retry.device.as_ref().is_none_or(|device| *device == row.device)
                && (retry.entries.is_empty() || retry.entries.contains(&row.id))
        };
        let mut writing = self.writing(None, None)?;
        let mut retried = Retried { synced: 0, failed: 0, conflicts: 0 };
        for row in failed.into_iter().filter(is_meant) {
            match writing.as_sent(row, Writing::process_again)?.state {
                StateRow::Synced(_) => retried.synced += 1,
                StateRow::Conflict(_) => retried.conflicts += 1,
                StateRow::Failed(_) | StateRow::Pending => retried.failed += 1,
            }
        }
        writing.write.finish()?;
        Ok(Outcome::Retried(retried))
    }

    /// The entries of the asking contract, by state.
    pub(crate) fn tally(&self, whose: &Whose) -> Result<Tally, Failure> {
        let user = match whose {
            Whose::User(user) => Some(user.as_str()),
            Whose::Tenant => None,
        };
        let total = self.access.note(&keys::tally(self.access, user))?;
        let by_contract = self.access.note(&keys::tallies(self.access, user))?;
        let (total, by_contract) = read_counts(total.as_deref(), by_contract.as_deref())?;
        let [pending, synced, conflicts, failed] = match self.dialect {
            Some(dialect) => by_contract.get(dialect.as_str()).copied().unwrap_or_default(),
            None => total,
        };
        let oldest_pending = match user.filter(|_| pending > 0) {
            Some(user) => {
                let prefix = keys::entries(self.access, user, StateRow::PENDING);
                match self.access.notes(&prefix, None, 1)?.first() {
                    Some((_, note)) => {
                        let id: String = stored::decode(note)?;
                        self.entry_row(&id)?.map(|row| row.operation.at)
                    }
                    None => None,
                }
            }
            None => None,
        };
        Ok(Tally { pending, syncing: 0, synced, failed, conflicts, oldest_pending })
    }

    fn show_entry(
        &self,
        row: &EntryRow,
        known: bool,
        showing: &mut Showing<'_>,
    ) -> Result<Entry, Failure> {
        let state = match &row.state {
            StateRow::Pending => State::Pending,
            StateRow::Synced(id) => match self.access.held(*id)? {
                Some(held) => {
                    let held = self.as_decided(row, held)?;
                    let at = self.access.moments().of(held.position)?;
                    State::Synced(Box::new(showing.record(&held, at, None)?))
                }
                // It was purged since.
                None => State::Failed(Reason::NoRecord),
            },
            StateRow::Conflict(id) => {
                let conflict = self.conflict_named(id)?;
                let mut shown = self.show_conflict(&conflict, showing, None)?;
                let note = self.access.note(&keys::beside(self.access, &row.id))?;
                for id in row.conflicts(note)?.iter().skip(1) {
                    let conflict = self.conflict_named(id)?;
                    shown.beside.push(self.show_conflict(&conflict, showing, None)?);
                }
                State::Conflict(Box::new(shown))
            }
            StateRow::Failed(reason) => State::Failed(reason.into()),
        };
        Ok(Entry {
            id: row.id.clone(),
            user: row.user.clone(),
            action: row.operation.action(),
            collection: row.operation.collection.clone(),
            name: row.operation.name(),
            fields: row.operation.fields.clone(),
            at: row.operation.at,
            retries: row.retries,
            known,
            state,
        })
    }
}

impl Task<'_> {
    /// A record as it is told to whoever sent an entry, which may have been in a conflict.
    fn as_decided(&self, row: &EntryRow, held: Held) -> Result<Held, Failure> {
        if !held.deleted {
            return Ok(held);
        }
        let Some(note) = self.access.note(&keys::decided(self.access, &row.id))? else {
            return Ok(held);
        };
        let note =
            self.access.note(&keys::conflict(self.access, &stored::decode::<String>(&note)?))?;
        let conflict = note.map(|note| ConflictRow::decode(&note)).transpose()?;
        Ok(match conflict {
            Some(conflict) => conflict.decided(held),
            None => held,
        })
    }
}

impl Writing<'_> {
    /// Puts an operation into the journal; says whether it was there before.
    fn take_in(&mut self, queued: &Queued) -> Result<(EntryRow, bool), Failure> {
        let key = queued.operation.key.clone().unwrap_or_default();
        let id = queued.id.clone().unwrap_or(key);
        let note = self.write.noted(self.task.access, &keys::entry(self.task.access, &id))?;
        if let Some(note) = note {
            let row = EntryRow::decode(&note)?;
            // Another user's entry of this name is none of this caller's business.
            if !self.task.is_own(&row.user) {
                return Err(Failure::forbidden("This id belongs to an entry of another user"));
            }
            return Ok((row, true));
        }
        if stored::is_too_large(&queued.operation) {
            return Err(Failure::Refused(Refusal::Invalid { faults: vec![too_large_fault()] }));
        }
        let row = EntryRow {
            id,
            sequence: self.next_sequence()?,
            user: queued.user.clone(),
            device: queued.device.clone(),
            operation: OperationRow::from(&queued.operation),
            retries: 0,
            state: StateRow::Pending,
            contract: self.contract(),
        };
        self.keep_entry(None, &row)?;
        Ok((row, false))
    }

    /// Processes an entry that waits; one that was processed stands as it is.
    fn process(&mut self, row: EntryRow) -> Result<EntryRow, Failure> {
        match row.state {
            StateRow::Pending | StateRow::Failed(ReasonRow::Failed) => self.process_again(row),
            // It leaves this state when anybody has decided, wherever that was.
            StateRow::Conflict(_) => self.follow(row),
            StateRow::Synced(id) => {
                self.show_again(&row, id)?;
                Ok(row)
            }
            StateRow::Failed(_) => Ok(row),
        }
    }

    /// Gives an entry that is in conflicts those of them that are open, as they stand now.
    fn follow(&mut self, row: EntryRow) -> Result<EntryRow, Failure> {
        let access = self.task.access;
        let ids = row.conflicts(self.write.noted(access, &keys::beside(access, &row.id))?)?;
        let (mut about, mut standing) = (None, Vec::new());
        for id in &ids {
            let conflict = self.conflict_named(id)?;
            about.get_or_insert(conflict.client.document);
            standing.extend(self.standing(&conflict)?.map(|conflict| conflict.id));
        }
        match (standing.first().cloned(), about) {
            (None, Some(about)) => self.move_entry(row, StateRow::Synced(about)),
            (Some(first), _) if standing != ids => {
                self.note_beside(&row.id, &standing[1..]);
                self.move_entry(row, StateRow::Conflict(first))
            }
            _ => Ok(row),
        }
    }

    /// Notes in which conflicts an entry is beside that of its state.
    fn note_beside(&mut self, entry: &str, beside: &[String]) {
        let note = (!beside.is_empty()).then(|| stored::encode(&beside));
        self.write.note(keys::beside(self.task.access, entry), note);
    }

    /// Works on an entry as its sender did: over his contract, and with his device. In `health` an
    /// operation says itself whose it is.
    fn as_sent<T>(
        &mut self,
        row: EntryRow,
        work: impl FnOnce(&mut Self, EntryRow) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let sent_over = row.contract.as_deref().and_then(Dialect::named);
        let Some(dialect) = sent_over else { return work(self, row) };
        let before = (self.task.dialect, self.device.clone(), self.owner.clone());
        self.task.dialect = Some(dialect);
        if dialect != Dialect::Health {
            self.device = Some(row.device.clone()).filter(|device| !device.is_empty());
            self.owner = self.device.clone().unwrap_or_else(|| self.task.caller.user.clone());
        }
        let done = work(self, row);
        (self.task.dialect, self.device, self.owner) = before;
        done
    }

    fn process_again(&mut self, row: EntryRow) -> Result<EntryRow, Failure> {
        let operation = Operation::from(&row.operation);
        self.hand = Hand { user: row.user.clone(), device: row.device.clone() };
        self.made = None;
        let fate = self.apply(&operation)?;
        let state = match fate {
            Fate::Stored(_) | Fate::Duplicate { .. } | Fate::Settled { .. } => {
                match self.written_of(&operation)? {
                    Some(id) => {
                        self.note_made(&row);
                        StateRow::Synced(id)
                    }
                    None => StateRow::Failed(ReasonRow::Failed),
                }
            }
            Fate::Conflict(conflict) => {
                let beside: Vec<String> = conflict.beside.into_iter().map(|it| it.id).collect();
                if !beside.is_empty() {
                    self.note_beside(&row.id, &beside);
                }
                StateRow::Conflict(conflict.id)
            }
            Fate::Rejected(reason) => StateRow::Failed((&reason).into()),
            _ => StateRow::Failed(ReasonRow::Failed),
        };
        let retries = row.retries + u32::from(matches!(state, StateRow::Failed(_)));
        self.move_entry(EntryRow { retries, ..row }, state)
    }

    /// Notes which version the edit of an entry made, if it made one: what it brought may have been
    /// there, also by another of the same millisecond.
    fn note_made(&mut self, row: &EntryRow) {
        if let Some(version) = self.made.take() {
            let note = stored::encode(&version);
            self.write.note(keys::made(self.task.access, &row.id), Some(note));
        }
    }

    /// Lets the operations behind an edit that comes again know of it, as they did when it came
    /// first: the answer was lost, and its author went on.
    fn show_again(&mut self, row: &EntryRow, id: DocumentId) -> Result<(), Failure> {
        let made = self.write.noted(self.task.access, &keys::made(self.task.access, &row.id))?;
        let Some(made) = made else { return Ok(()) };
        let operation = Operation::from(&row.operation);
        let Ok(entity) = self.entity(&operation)? else { return Ok(()) };
        let Ok(ready) = self.prepare(&operation, &entity)? else { return Ok(()) };
        let edit = self.own_edit(stored::decode(&made)?, &ready);
        let hand = Hand { user: row.user.clone(), device: row.device.clone() };
        let shown = self.shown.entry((hand, id)).or_default();
        shown.fields.extend(ready.fields);
        shown.edits.push(edit);
        Ok(())
    }

    /// Gives an entry another state.
    pub(crate) fn move_entry(
        &mut self,
        row: EntryRow,
        state: StateRow,
    ) -> Result<EntryRow, Failure> {
        let before = row.state.number();
        if let (StateRow::Conflict(id), StateRow::Synced(_)) = (&row.state, &state) {
            // Who settles it once more is answered by what was decided.
            let key = keys::decided(self.task.access, &row.id);
            self.write.note(key, Some(stored::encode(id)));
        }
        let row = EntryRow { state, ..row };
        self.keep_entry(Some(before), &row)?;
        Ok(row)
    }

    fn keep_entry(&mut self, before: Option<u8>, row: &EntryRow) -> Result<(), Failure> {
        let access = self.task.access;
        let after = row.state.number();
        if let Some(before) = before {
            let key = keys::entry_of(access, &row.user, before, row.sequence);
            self.write.note(key, None);
        }
        let key = keys::entry_of(access, &row.user, after, row.sequence);
        self.write.note(key, Some(stored::encode(&row.id)));
        self.write.note(keys::entry(access, &row.id), Some(stored::encode(row)));
        let count = |counts: &mut Counts| {
            if let Some(before) = before {
                let count = &mut counts[usize::from(before)];
                *count = count.saturating_sub(1);
            }
            counts[usize::from(after)] += 1;
        };
        for user in [None, Some(row.user.as_str())] {
            let (mut total, mut by_contract) = self.counts(user)?;
            match &row.contract {
                Some(contract) => count(by_contract.entry(contract.clone()).or_default()),
                // It was counted for each of them, as all were.
                None => by_contract.values_mut().for_each(count),
            }
            count(&mut total);
            self.write.note(keys::tally(access, user), Some(stored::encode(&total)));
            self.write.note(keys::tallies(access, user), Some(stored::encode(&by_contract)));
        }
        Ok(())
    }

    /// Counts what was done with at once and leaves no entry.
    pub(crate) fn count_at_once(&mut self, state: u8, count: u64) -> Result<(), Failure> {
        let Some(contract) = self.contract().filter(|_| count > 0) else { return Ok(()) };
        let (access, user) = (self.task.access, self.task.caller.user.clone());
        for user in [None, Some(user.as_str())] {
            let (_, mut by_contract) = self.counts(user)?;
            by_contract.entry(contract.clone()).or_default()[usize::from(state)] += count;
            self.write.note(keys::tallies(access, user), Some(stored::encode(&by_contract)));
        }
        Ok(())
    }

    fn counts(&self, user: Option<&str>) -> Result<(Counts, ByContract), Failure> {
        let access = self.task.access;
        let total = self.write.noted(access, &keys::tally(access, user))?;
        let by_contract = self.write.noted(access, &keys::tallies(access, user))?;
        Ok(read_counts(total.as_deref(), by_contract.as_deref())?)
    }

    /// Keeps what another dialect's operation failed with, to be tried again or looked at.
    pub(crate) fn keep_rejected(
        &mut self,
        operation: &Operation,
        reason: &Reason,
        device: Option<&str>,
    ) -> Result<(), Failure> {
        let content = OperationRow::from(operation);
        let hash = blake3::hash(&stored::encode(&(&content, &self.task.caller.user)));
        let id = data_encoding::HEXLOWER.encode(&hash.as_bytes()[..16]);
        let known = self.write.noted(self.task.access, &keys::entry(self.task.access, &id))?;
        if known.is_some() {
            return Ok(());
        }
        let row = EntryRow {
            id,
            sequence: self.next_sequence()?,
            user: self.task.caller.user.clone(),
            device: device.unwrap_or_default().to_owned(),
            operation: content,
            retries: 0,
            state: StateRow::Failed(reason.into()),
            contract: self.contract(),
        };
        // A person asks when it came.
        self.write.mark();
        self.keep_entry(None, &row)
    }

    pub(crate) fn contract(&self) -> Option<String> {
        self.task.dialect.map(|dialect| dialect.as_str().to_owned())
    }
}

impl EntryRow {
    /// The conflicts that it is in, by the note of those beside that of its state.
    pub(crate) fn conflicts(&self, beside: Option<Vec<u8>>) -> Result<Vec<String>, Failure> {
        let StateRow::Conflict(first) = &self.state else { return Ok(Vec::new()) };
        let beside: Option<Vec<String>> = beside.map(|note| stored::decode(&note)).transpose()?;
        Ok([vec![first.clone()], beside.unwrap_or_default()].concat())
    }

    /// What is answered for an operation that the journal does not take; it is no entry.
    fn refused(queued: &Queued, why: ReasonRow) -> Self {
        Self {
            id: queued.id.clone().or(queued.operation.key.clone()).unwrap_or_default(),
            sequence: 0,
            user: queued.user.clone(),
            device: queued.device.clone(),
            operation: OperationRow::from(&queued.operation),
            retries: 0,
            state: StateRow::Failed(why),
            contract: None,
        }
    }
}

impl From<&Reason> for ReasonRow {
    fn from(reason: &Reason) -> Self {
        match reason {
            Reason::Invalid { faults } => {
                Self::Invalid(faults.iter().cloned().map(|it| (it.field, it.message)).collect())
            }
            Reason::NoReference { key } => Self::NoReference(key.clone()),
            Reason::IncompleteReference { key, lacks } => {
                Self::IncompleteReference(key.clone(), lacks.clone())
            }
            Reason::NoRecord => Self::NoRecord,
            Reason::Stale { version } => Self::Stale(*version),
            Reason::Forbidden { why } => Self::Forbidden(why.clone()),
            _ => Self::Failed,
        }
    }
}

impl From<&ReasonRow> for Reason {
    fn from(row: &ReasonRow) -> Self {
        match row.clone() {
            ReasonRow::Invalid(faults) => {
                let fault = |(field, message): (String, String)| Fault::new(field, message);
                Self::Invalid { faults: faults.into_iter().map(fault).collect() }
            }
            ReasonRow::NoReference(key) => Self::NoReference { key },
            ReasonRow::IncompleteReference(key, lacks) => Self::IncompleteReference { key, lacks },
            ReasonRow::NoRecord => Self::NoRecord,
            ReasonRow::Stale(version) => Self::Stale { version },
            ReasonRow::Forbidden(why) => Self::Forbidden { why },
            ReasonRow::Failed => Self::Failed,
        }
    }
}
