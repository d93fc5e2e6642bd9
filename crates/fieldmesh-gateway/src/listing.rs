//! The list of open conflicts, a part at a time: those that the gateway noted, oldest first, and
//! behind them what every replica finds to be decided.

use std::ops::ControlFlow;

use fieldmesh_dialect::command::ConflictQuery;
use fieldmesh_dialect::outcome::ConflictPage;
use fieldmesh_dialect::{Dialect, Outcome};
use fieldmesh_model::DocumentId;
use fieldmesh_model::catalogue::BUILT_IN_END;

use crate::inbox::{inbox_place, place_in_inbox};
use crate::names::Showing;
use crate::page::{PAGE_SIZE_MAX, fields_size};
use crate::push::Writing;
use crate::stored::{self, ConflictRow, Kind};
use crate::superseded::Superseded;
use crate::{Failure, Task, keys};

/// Rows of the list that one part looks at: a tenant has any number of conflicts, and few of them
/// may be the caller's.
pub(crate) const ROWS_MAX: usize = 2_000;
/// Rows that are read at once.
const READ_MAX: usize = 256;

/// A part of the list.
#[derive(Debug, Default)]
pub(crate) struct Part {
    /// The conflicts that are meant, as they are shown.
    pub(crate) rows: Vec<ConflictRow>,
    /// The place to go on from, unless the list ends here.
    pub(crate) next: Option<u64>,
    /// How many rows of the list were looked at.
    pub(crate) looked_at: usize,
    /// About how many bytes the fields of the conflicts take.
    size: usize,
}

/// Whose conflicts are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whose {
    /// Those of all whom the caller's app shows.
    Anybody,
    /// Those that the caller's own operations are in.
    Caller,
}

/// A look at the list from a place on.
struct Look<'a, 'q> {
    task: Task<'a>,
    query: &'q ConflictQuery,
    whose: Whose,
    rows_max: usize,
    showing: Showing<'a>,
    part: Part,
}

impl Task<'_> {
    /// Lists open conflicts, oldest first.
    pub(crate) fn conflicts(&self, query: &ConflictQuery) -> Result<Outcome, Failure> {
        let part = self.listed(query, Whose::Anybody, ROWS_MAX)?;
        let mut showing = Showing::new(*self, None)?;
        let show = |row| self.show_conflict(row, &mut showing, None);
        let conflicts = part.rows.iter().map(show).collect::<Result<_, _>>()?;
        Ok(Outcome::Conflicts(ConflictPage { conflicts, next: part.next }))
    }

    /// The part of the list that a query begins at; it looks at no more than `rows_max` rows.
    pub(crate) fn listed(
        &self,
        query: &ConflictQuery,
        whose: Whose,
        rows_max: usize,
    ) -> Result<Part, Failure> {
        self.access.settle()?;
        let (showing, part) = (Showing::new(*self, None)?, Part::default());
        let mut look = Look { task: *self, query, whose, rows_max, showing, part };
        look.part.next = query.after;
        let ended = match look.noted()? {
            ControlFlow::Continue(()) => look.found()?,
            ended => ended,
        };
        if ended.is_continue() {
            look.part.next = None;
        }
        Ok(look.part)
    }

    fn is_shown(&self, id: DocumentId, showing: &mut Showing<'_>) -> Result<bool, Failure> {
        let held = self.access.held(id)?.filter(|held| self.is_of_contract(held));
        held.map_or(Ok(false), |held| self.may_see(&held, showing))
    }

    /// Whether a conflict is about records of a type that is asked for, if any is, and for the apps
    /// of this contract. What apps of other contracts write is in their lists, unless the caller
    /// took part in it.
    fn is_asked(&self, row: &ConflictRow, query: &ConflictQuery, showing: &Showing<'_>) -> bool {
        let is_caller =
            |user: &Option<String>| user.as_ref().is_some_and(|user| self.caller.is(user));
        let is_elsewhere = self.is_listed_elsewhere(row);
        // The list of the other contract has what he sent over that.
        let is_client = || !is_elsewhere && is_caller(&row.client.user);
        // Two records of which devices found that they are alike are no doing of his.
        let is_doing = row.sequence != 0 || row.kind != Kind::Duplicate;
        let is_side = || is_doing && (is_client() || is_caller(&row.server.user));
        let Some(wanted) = &query.collection else {
            return !is_elsewhere && self.readable().contains(&row.collection) || is_side();
        };
        let named = self.access.collection_named(wanted);
        let is_type = named.is_some_and(|schema| schema.number == row.collection)
            || showing.type_name(row.collection, row.told_fields()) == *wanted;
        is_type && (!is_elsewhere || is_side())
    }

    /// Whether a conflict in a collection of the tenant's own, which apps of several contracts read,
    /// came over other contracts than the caller's alone, which have a list for him: a clinic's is
    /// for admins.
    fn is_listed_elsewhere(&self, row: &ConflictRow) -> bool {
        let has_list = |over: Dialect| match over {
            Dialect::Asset => self.caller.dialects.contains(over),
            Dialect::Health => self.caller.is_admin() && self.caller.dialects.contains(over),
            Dialect::Wellpulse | Dialect::Batch | Dialect::Vet => false,
        };
        let mut over = row.contracts().peekable();
        row.collection >= BUILT_IN_END
            && self.dialect.is_some()
            && over.peek().is_some()
            && over.all(|over| has_list(over) && Some(over) != self.dialect)
    }
}

impl Writing<'_> {
    /// Notes that a conflict came over this contract as well, whose apps are listed it then. One that
    /// came over none is on all lists.
    pub(crate) fn note_contract(&mut self, row: &ConflictRow) -> Result<(), Failure> {
        let Some(noted) = self.conflict_row(&row.id)? else { return Ok(()) };
        let Some((known, over)) = noted.contract.as_ref().zip(self.task.dialect) else {
            return Ok(());
        };
        if noted.contracts().all(|known| known != over) {
            let contract = Some(format!("{known} {}", over.as_str()));
            let noted = ConflictRow { contract, ..noted };
            let key = keys::conflict(self.task.access, &noted.id);
            self.write.note(key, Some(stored::encode(&noted)));
        }
        Ok(())
    }
}

impl Look<'_, '_> {
    /// Goes through those that the gateway noted; breaks off where this part ends.
    fn noted(&mut self) -> Result<ControlFlow<()>, Failure> {
        let access = self.task.access;
        let mut after = self.query.after.map(keys::open);
        let mut superseded = Superseded { task: self.task, rows: Vec::new() };
        let mut ended = ControlFlow::Continue(());
        while ended.is_continue() {
            let page = access.notes(keys::OPEN, after.as_deref(), READ_MAX)?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            for (key, note) in &page {
                let id: String = stored::decode(note)?;
                let row = match access.note(&keys::conflict(access, &id))? {
                    Some(note) => Some(ConflictRow::decode(&note)?),
                    None => None,
                };
                ended = self.take_noted(keys::sequence_of(key), row, &mut superseded)?;
                if ended.is_break() {
                    break;
                }
            }
        }
        superseded.leave();
        Ok(ended)
    }

    fn take_noted(
        &mut self,
        place: u64,
        row: Option<ConflictRow>,
        superseded: &mut Superseded<'_>,
    ) -> Result<ControlFlow<()>, Failure> {
        if self.part.looked_at >= self.rows_max {
            return Ok(ControlFlow::Break(()));
        }
        self.part.looked_at += 1;
        // Of a purged record nothing is shown.
        let is_shown = match row.as_ref().filter(|row| self.is_meant(row)) {
            Some(row) => self.task.is_shown(row.client.document, &mut self.showing)?,
            None => false,
        };
        let Some(row) = row.filter(|_| is_shown) else { return Ok(self.pass(place)) };
        match self.task.as_seen(&row)? {
            Some(row) => Ok(self.take(place, row)),
            None => {
                superseded.rows.push(row);
                Ok(self.pass(place))
            }
        }
    }

    /// Goes through what stands in the inbox; breaks off where this part ends.
    fn found(&mut self) -> Result<ControlFlow<()>, Failure> {
        let mut after = self.query.after.and_then(inbox_place).unwrap_or_default();
        loop {
            let rows_left = self.rows_max.saturating_sub(self.part.looked_at);
            // Where none may be looked at any more, one says whether there is more.
            let page = self.task.access.inbox(&after, rows_left.clamp(1, READ_MAX))?;
            let Some(last) = page.last else { return Ok(ControlFlow::Continue(())) };
            if rows_left == 0 {
                return Ok(ControlFlow::Break(()));
            }
            for competing in &page.found {
                let place = place_in_inbox(&competing.id);
                let Some(row) = self.task.row_of(competing)? else { continue };
                let is_meant = self.is_meant(&row)
                    && self.task.is_shown(row.client.document, &mut self.showing)?
                    && !self.task.is_noted(&row)?;
                if is_meant && self.take(place, row).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            self.part.looked_at += page.looked_at;
            self.part.next = Some(place_in_inbox(&last));
            after = last;
        }
    }

    fn is_meant(&self, row: &ConflictRow) -> bool {
        let user = Some(&self.task.caller.user);
        let is_whose = match self.whose {
            Whose::Anybody => true,
            Whose::Caller => row.client.user.as_ref() == user,
        };
        is_whose && self.task.is_asked(row, self.query, &self.showing)
    }

    /// Goes past the row at a place.
    fn pass(&mut self, place: u64) -> ControlFlow<()> {
        self.part.next = Some(place);
        ControlFlow::Continue(())
    }

    fn take(&mut self, place: u64, row: ConflictRow) -> ControlFlow<()> {
        let is_full = self.part.rows.len() >= self.query.conflicts_max;
        if is_full || self.part.size >= PAGE_SIZE_MAX {
            return ControlFlow::Break(());
        }
        self.part.size += fields_size(&row.client.fields) + fields_size(&row.server.fields);
        self.part.rows.push(row);
        self.part.next = Some(place);
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests;
