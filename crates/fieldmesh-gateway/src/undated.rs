//! Operations of which no app says when they were made. Their time is that of the request, another
//! one whenever they come again, so they are known by what they ask for, by the number that the app
//! gave them, and by what their author had read.

use fieldmesh::gateway::Held;
use fieldmesh_dialect::command::{Action, Base, Dating, Operation};
use fieldmesh_model::{DocumentId, Moment};

use crate::Failure;
use crate::edit::{Knowledge, REMEMBERED_MAX};
use crate::push::Writing;
use crate::ready::Ready;
use crate::stored::{self, OwnEdit};

/// What stands for the time of an edit that has none.
const NO_TIME: Moment = Moment::ZERO;

impl Writing<'_> {
    /// What stands for the time of an operation on a record, in the keys of notes about it.
    pub(crate) fn when(&self, id: DocumentId, ready: &Ready<'_>) -> Result<Vec<u8>, Failure> {
        let Operation { at, dating, base, .. } = ready.operation;
        let Dating::Unsaid { number } = dating else {
            return Ok(at.as_millis().to_be_bytes().to_vec());
        };
        let known = match *base {
            Base::Seen { .. } => self.read_of(id)?,
            Base::Version(version) | Base::Exactly(version) => version,
            Base::New | Base::Current => 0,
        };
        Ok(stored::encode(&(number, known)))
    }

    /// What stands for the time of a create that no name tells from others. One that comes once its
    /// device has read on is another one, unless the app gave it a number.
    pub(crate) fn when_made(&self, operation: &Operation) -> Result<String, Failure> {
        Ok(match &operation.dating {
            Dating::Said => operation.at.as_millis().to_string(),
            Dating::Unsaid { number: Some(number) } => format!("number {number}"),
            Dating::Unsaid { number: None } => {
                let read = self.task.read(&self.owner)?;
                format!("behind {}", read.map_or(0, |read| read.place))
            }
        })
    }

    /// The version of a record that the device has read, as far as is known.
    fn read_of(&self, id: DocumentId) -> Result<u64, Failure> {
        let Some(read) = self.task.read(&self.owner)? else { return Ok(0) };
        Ok(self.write.held(id)?.map_or(0, |held| held.version_at(read.place)))
    }

    /// Whether an operation without a time came before, to a conflict of the record: it was not made
    /// in knowledge of that.
    pub(crate) fn came_to_conflict(
        &self,
        id: DocumentId,
        ready: &Ready<'_>,
    ) -> Result<bool, Failure> {
        if ready.operation.dating == Dating::Said {
            return Ok(false);
        }
        let key = self.contested_key(id, ready)?;
        Ok(self.write.noted(self.task.access, &key)?.is_some())
    }

    /// An edit as it is remembered of its author.
    pub(crate) fn own_edit(&self, version: u64, ready: &Ready<'_>) -> OwnEdit {
        let hidden = |parts: &[&[u8]]| self.task.access.hidden(parts).to_vec();
        let (at, content) = match &ready.operation.dating {
            Dating::Said => {
                (ready.operation.at, hidden(&[b"own-edit", &stored::encode(&ready.fields)]))
            }
            Dating::Unsaid { number } => {
                let edit = stored::encode(&(number, &ready.fields));
                (NO_TIME, hidden(&[b"own-edit-undated", &edit]))
            }
        };
        OwnEdit { version, at, content }
    }

    /// The version that this very edit made, if it is among those that its author sent: its answer
    /// was lost, and what was written after it stays. Where several were made at its time, nobody
    /// can tell. One that the device has read since is meant once more, unless all that follows it
    /// is its own as well.
    pub(crate) fn taken(
        &mut self,
        held: &Held,
        known: &Knowledge,
        ready: &Ready<'_>,
    ) -> Result<Option<u64>, Failure> {
        // What the journal has comes no further than there, so another of this request is meant.
        if self.is_of_request(held.id, ready.operation) {
            return Ok(None);
        }
        let edit = self.own_edit(held.version, ready);
        let is_undated = ready.operation.dating != Dating::Said;
        let read = match ready.operation.base {
            Base::Seen { .. } if is_undated => self.read_of(held.id)?,
            _ => known.version,
        };
        let is_open = |version: u64| match ready.operation.base {
            Base::Seen { .. } => version > read || known.sent.is_own(version, held.version),
            _ => version > read,
        };
        let alike = known.sent.edits.iter().filter(|it| it.at == edit.at && is_open(it.version));
        let alike: Vec<&OwnEdit> = alike.collect();
        let is_it = |own: &OwnEdit| own.content == edit.content;
        if !is_undated {
            let is_one = alike.iter().all(|own| is_it(own));
            return Ok(alike.first().filter(|_| is_one).map(|first| first.version));
        }
        for (place, own) in alike.iter().enumerate().filter(|(_, own)| is_it(own)) {
            if self.comes_with(&alike[place + 1..], ready)? {
                return Ok(Some(own.version));
            }
        }
        Ok(None)
    }

    /// Whether an edit without a time comes again, behind which its author made these: then they come
    /// again as well, in the same request. Else somebody puts back what he had before. The number
    /// that an app gives its operations says so by itself.
    fn comes_with(&mut self, later: &[&OwnEdit], ready: &Ready<'_>) -> Result<bool, Failure> {
        let is_numbered = matches!(&ready.operation.dating, Dating::Unsaid { number: Some(_) });
        let mut later = later.iter().filter(|_| !is_numbered).peekable();
        let is_of_record = |it: &&Operation| {
            let one = ready.operation;
            it.action == Action::Update
                && it.identity == one.identity
                && it.collection == one.collection
        };
        let rest = self.ahead.iter().filter(is_of_record).take(REMEMBERED_MAX);
        for operation in rest {
            if later.peek().is_none() {
                break;
            }
            let Ok(next) = self.prepare(operation, ready.entity)? else { continue };
            let content = self.own_edit(0, &next).content;
            later.next_if(|own| own.content == content);
        }
        Ok(later.peek().is_none())
    }
}
