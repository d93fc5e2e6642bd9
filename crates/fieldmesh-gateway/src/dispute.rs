//! What somebody writes about which others have to decide: it is taken and ends nothing.

use std::collections::BTreeSet;

use fieldmesh::gateway::{CompetingValue, Held};
use fieldmesh_dialect::outcome::{Fate, Reason};
use fieldmesh_model::{Fields, Value};

use crate::push::Writing;
use crate::ready::Ready;
use crate::stored::{self, ConflictRow, Kind};
use crate::{Failure, Task, keys};

impl Task<'_> {
    /// Whether the caller, and this device for him, may settle what competes in a record, also of
    /// those who may because they wrote one of these sides.
    fn may_settle<'u>(&self, held: &Held, sides: impl IntoIterator<Item = &'u String>) -> bool {
        let schema = self.access.schema(held.collection);
        let sides: Vec<&String> = sides.into_iter().collect();
        let is_side = || sides.iter().any(|side| self.caller.is(side));
        self.is_among(&schema.resolve_by, || self.is_author(held) || is_side())
            && self.access.check_settles(held).is_ok()
    }

    /// Why what is done to the record would decide about others that are alike, which the caller may
    /// not; `edited` are the fields that change, where it is not deleted. What several records may
    /// not share is for the tenant to say: no contract lets apps change or delete such a thing.
    pub(crate) fn decides_alike(
        &self,
        held: &Held,
        edited: Option<&Fields>,
    ) -> Result<Option<String>, Failure> {
        // What stands there already decides nothing.
        let news = edited.map(|edited| {
            let mut news = edited.clone();
            news.retain(|key, field| !held.fields.get(key).unwrap_or(&Value::Null).is_same(field));
            news
        });
        let alike = self.access.undecided(held.id, news.as_ref())?;
        let sides = || alike.iter().filter_map(|member| member.made_for.as_ref());
        let is_closed = alike.iter().any(|member| !self.may_settle(member, sides()));
        let noun = &self.access.schema(held.collection).name;
        Ok(is_closed.then(|| {
            format!(
                "this would decide which {noun} of several that are alike stays, and your role is \
                 not allowed to"
            )
        }))
    }
}

impl Writing<'_> {
    /// What becomes of an edit by which others than the caller have to decide; none where it decides
    /// nothing that is theirs.
    pub(crate) fn update_reserved(
        &mut self,
        held: &Held,
        changed: &Fields,
        ready: &Ready<'_>,
    ) -> Result<Option<Fate>, Failure> {
        if let Some(why) = self.task.decides_alike(held, Some(changed))? {
            return Ok(Some(Fate::Rejected(Reason::Forbidden { why })));
        }
        if let Some(fate) = self.update_again(held, changed, ready)? {
            return Ok(Some(fate));
        }
        let disputed = self.disputed(held, changed)?;
        match disputed.is_empty() {
            true => Ok(None),
            false => self.update_beside(held, &disputed, ready).map(Some),
        }
    }

    /// What becomes of an edit that comes once more and is in conflicts about which others have to
    /// decide: it is told of the same ones, and decides nothing though what it says stands there by
    /// now. What of it is in none is edited as ever.
    fn update_again(
        &mut self,
        held: &Held,
        changed: &Fields,
        ready: &Ready<'_>,
    ) -> Result<Option<Fate>, Failure> {
        if self.task.may_settle(held, []) {
            return Ok(None);
        }
        let (mut others, mut fate) = (ready.fields.clone(), None);
        for row in self.made_before(held, changed, ready)? {
            others.retain(|key, _| !row.client.fields.contains_key(key));
            fate = Some(together(fate, self.fate(&row)?));
        }
        match fate {
            Some(fate) if !others.is_empty() => {
                let last = self.update(held, &Ready { fields: others, ..ready.clone() })?;
                Ok(Some(together(Some(fate), last)))
            }
            fate => Ok(fate),
        }
    }

    /// The conflicts that the same edit has made: those that were noted of it, decided or not, or
    /// those that are open.
    fn made_before(
        &self,
        held: &Held,
        changed: &Fields,
        ready: &Ready<'_>,
    ) -> Result<Vec<ConflictRow>, Failure> {
        if let Some(note) = self.write.noted(self.task.access, &self.parts_key(held, ready))? {
            let ids: Vec<String> = stored::decode(&note)?;
            let rows = ids.iter().map(|id| self.conflict_row(id));
            return rows.filter_map(Result::transpose).collect();
        }
        let is_same = |(key, field): (&String, &Value)| {
            changed.get(key).is_some_and(|known| known.is_same(field))
        };
        let mut open = self.task.open_of(held.id)?;
        open.retain(|row| {
            row.kind == Kind::Field
                && row.client.user.as_ref() == Some(&self.task.caller.user)
                && row.client.at == Some(ready.operation.at)
                && row.client.fields.iter().all(is_same)
        });
        Ok(open)
    }

    /// Where the conflicts of an edit are noted that was taken in parts.
    fn parts_key(&self, held: &Held, ready: &Ready<'_>) -> Vec<u8> {
        let Task { access, caller, .. } = self.task;
        let at = ready.operation.at.as_millis().to_be_bytes();
        keys::parts(access, &caller.user, held.id, &[&at, &stored::encode(&ready.fields)])
    }

    /// Whether others than the caller have to decide what competes in a record, so that no request
    /// of his settles what he brings beside it.
    pub(crate) fn is_reserved(&mut self, held: &Held, changed: &Fields) -> Result<bool, Failure> {
        for id in held.conflicts.iter().filter(|_| !self.task.may_settle(held, [])) {
            let found = self.task.access.inbox_item(id)?;
            if found.is_some_and(|found| found.is_deletion) {
                return Ok(true);
            }
        }
        Ok(!self.disputed(held, changed)?.is_empty())
    }

    /// The same beside a conflict of the caller's own: where nothing else competes he settles that with
    /// a word, as when he brought it.
    pub(crate) fn is_reserved_beside(
        &mut self,
        held: &Held,
        changed: &Fields,
        own: &ConflictRow,
    ) -> Result<bool, Failure> {
        if self.task.may_settle(held, []) {
            return Ok(false);
        }
        let null = Value::Null;
        let is_either = |key: &String, value: &Value| {
            own.brings(key, value) || own.server.fields.get(key).unwrap_or(&null).is_same(value)
        };
        for id in &held.conflicts {
            let Some(found) = self.task.access.inbox_item(id)? else { continue };
            let is_other = |it: &CompetingValue| !is_either(&found.field, &it.value);
            let is_about = found.is_deletion || changed.contains_key(&found.field);
            if is_about && (found.is_deletion || found.values.iter().any(is_other)) {
                return Ok(true);
            }
        }
        for row in self.task.open_of(held.id)? {
            let is_other = |key: &String| {
                let brought = row.client.fields.get(key).unwrap_or(&null);
                changed.contains_key(key) && !is_either(key, brought)
            };
            let is_disputed = row.kind != Kind::Field || row.keys.iter().any(is_other);
            if row.id != own.id && is_disputed && !self.is_superseded(&row)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Those of `changed` about which others have to decide than the caller.
    pub(crate) fn disputed(&mut self, held: &Held, changed: &Fields) -> Result<Fields, Failure> {
        if changed.is_empty() || self.task.may_settle(held, []) {
            return Ok(Fields::new());
        }
        let (mut open, mut own) = (BTreeSet::new(), BTreeSet::new());
        if !held.conflicts.is_empty() {
            open.extend(self.write.disputed(held.id)?);
        }
        for id in &held.conflicts {
            let Some(found) = self.task.access.inbox_item(id)? else { continue };
            let sides = found.values.iter().filter_map(|value| value.user.as_ref());
            if self.task.may_settle(held, sides) {
                own.insert(found.field);
            }
        }
        for row in self.task.open_of(held.id)? {
            let sides = [&row.client.user, &row.server.user];
            if row.kind != Kind::Field || self.is_superseded(&row)? {
                continue;
            }
            match self.task.may_settle(held, sides.into_iter().flatten()) {
                true => own.extend(row.keys),
                false => open.extend(row.keys),
            }
        }
        let null = Value::Null;
        let is_disputed = |(key, field): &(&String, &Value)| {
            let is_news = !held.fields.get(*key).unwrap_or(&null).is_same(field);
            is_news && open.contains(*key) && !own.contains(*key)
        };
        let found = changed.iter().filter(is_disputed);
        Ok(found.map(|(key, field)| (key.clone(), field.clone())).collect())
    }

    /// Stores an edit of which these fields are disputed: they stand beside what competes, and the
    /// others are edited as ever.
    fn update_beside(
        &mut self,
        held: &Held,
        disputed: &Fields,
        ready: &Ready<'_>,
    ) -> Result<Fate, Failure> {
        let mut others = ready.fields.clone();
        others.retain(|key, _| !disputed.contains_key(key));
        let first = match others.is_empty() {
            true => None,
            false => Some(self.update(held, &Ready { fields: others, ..ready.clone() })?),
        };
        let is_part = first.is_some();
        let Some(held) = self.write.held(held.id)? else { return Err(Failure::missing("Record")) };
        let keys: Vec<String> = disputed.keys().cloned().collect();
        let version = self.write.version_before(held.id, &keys)?;
        let last = self.beside(&held, version, disputed, &keys, ready)?;
        let fate = together(first, last);
        if let Fate::Conflict(conflict) = &fate
            && is_part
        {
            // Once they are decided nothing else says that it is this edit which comes again.
            let ids: Vec<&String> =
                [&conflict.id].into_iter().chain(conflict.beside.iter().map(|it| &it.id)).collect();
            let key = self.parts_key(&held, ready);
            self.write.note(key, Some(stored::encode(&ids)));
        }
        Ok(fate)
    }
}

/// What became of an operation that met several conflicts: it is told of all that are open.
pub(crate) fn together(first: Option<Fate>, last: Fate) -> Fate {
    match (first, last) {
        (Some(Fate::Conflict(mut first)), Fate::Conflict(mut last)) => {
            let beside = std::mem::take(&mut last.beside);
            first.beside.push(*last);
            first.beside.extend(beside);
            Fate::Conflict(first)
        }
        (Some(first @ Fate::Conflict(_)), _) => first,
        (_, last) => last,
    }
}
