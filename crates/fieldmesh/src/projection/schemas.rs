//! Which schema the rows of a tenant's own collections stand under.
//!
//! What a record shows and what it is found by follow from its collection's schema, which may come
//! after the record or change. Rows are then read anew, in the order of their ids and some at a
//! time; until that is done the view knows how far it has come, so that each row is always found by
//! what was written for it. No change of a record is ever written for this.

use std::collections::BTreeMap;
use std::sync::Arc;

use fieldmesh_identity::{Policy, SignedSchema};
use fieldmesh_model::DocumentId;
use fieldmesh_model::schema::{Collection, Definition, Field};
use fieldmesh_store::{Direction, KeyRange, Tree, View, WriteSet};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::rows::{self, DocumentRow};
use crate::schema;

use super::Projection;
use super::touched::{Again, Work};

/// The prefix of how far the rows of a collection have come, in [`Tree::Meta`].
const PREFIX: &[u8] = b"schema/";
/// Documents that are looked at in one step.
const STEP_DOCUMENTS: usize = 512;

/// The definition of a collection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct File {
    name: String,
    version: u32,
    text: String,
}

impl File {
    fn of(signed: &SignedSchema) -> Self {
        let (name, text) = (signed.name().to_owned(), signed.text().to_owned());
        Self { name, version: signed.version(), text }
    }

    fn is(&self, signed: &SignedSchema) -> bool {
        (self.name.as_str(), self.version, self.text.as_str())
            == (signed.name(), signed.version(), signed.text())
    }

    fn read(&self) -> Option<Collection> {
        let Self { name, version, text } = self;
        Definition { name, version: *version, text }.read()
    }
}

/// How far the rows of one collection have come.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
struct SchemaRow {
    /// The schema of all rows behind the cursor; nobody had defined one where there is none.
    shown: Option<File>,
    /// That of all rows up to the cursor, while they are read anew.
    next: Option<Option<File>>,
    /// The document that was looked at last.
    cursor: Vec<u8>,
}

/// The same with the schemas themselves.
#[derive(Debug, Clone)]
struct Progress {
    row: SchemaRow,
    shown: Arc<Collection>,
    next: Arc<Collection>,
}

impl Progress {
    fn of(number: u16, row: SchemaRow, policy: &Policy) -> Self {
        let read = |file: Option<&File>| match (file, policy.readable_schema(number)) {
            // The policy has read it already.
            (Some(file), Some(signed)) if file.is(signed) => schema::numbered(policy, number),
            (file, _) => {
                Arc::new(file.and_then(File::read).unwrap_or_else(|| Collection::unknown(number)))
            }
        };
        let shown = read(row.shown.as_ref());
        let next = row.next.as_ref().map_or_else(|| Arc::clone(&shown), |it| read(it.as_ref()));
        Self { row, shown, next }
    }

    fn at(&self, id: &DocumentId) -> &Arc<Collection> {
        match self.row.next.is_some() && id.as_bytes()[..] <= self.row.cursor[..] {
            true => &self.next,
            false => &self.shown,
        }
    }
}

/// The schemas by which rows were read before a step, and by which they are read after it.
#[derive(Debug, Clone, Default)]
pub(super) struct Schemas {
    before: BTreeMap<u16, Progress>,
    after: BTreeMap<u16, Progress>,
}

impl Schemas {
    /// What the view says of its rows.
    pub(super) fn read(view: &View, policy: &Policy) -> Result<Self, Error> {
        let mut before = BTreeMap::new();
        for row in rows::scan(view, Tree::Meta, KeyRange::prefix(PREFIX), Direction::Ascending) {
            let (key, value) = row?;
            let number = key.strip_prefix(PREFIX).and_then(|number| number.try_into().ok());
            let Some(number) = number.map(u16::from_be_bytes) else { continue };
            before.insert(number, Progress::of(number, rows::decode(&value)?, policy));
        }
        Ok(Self { after: before.clone(), before })
    }

    /// The schema by which the row of a document was written before this step.
    pub(super) fn before(&self, number: u16, id: &DocumentId) -> Arc<Collection> {
        at(&self.before, number, id)
    }

    /// The schema by which it is written in this step.
    pub(super) fn after(&self, number: u16, id: &DocumentId) -> Arc<Collection> {
        at(&self.after, number, id)
    }

    pub(super) fn write(&self, writes: &mut WriteSet) {
        for (number, progress) in &self.after {
            let known = self.before.get(number).map(|before| &before.row);
            if known != Some(&progress.row) {
                writes.put(Tree::Meta, key(*number), rows::encode(&progress.row));
            }
        }
    }
}

fn at(known: &BTreeMap<u16, Progress>, number: u16, id: &DocumentId) -> Arc<Collection> {
    let own = || known.get(&number).map(|progress| Arc::clone(progress.at(id)));
    let unknown = || Arc::new(Collection::unknown(number));
    schema::built_in(number).or_else(own).unwrap_or_else(unknown)
}

fn key(number: u16) -> Vec<u8> {
    [PREFIX, &number.to_be_bytes()[..]].concat()
}

/// Whether all rows of a collection stand under the schema that `policy` says.
pub(crate) fn is_shown(view: &View, policy: &Policy, number: u16) -> Result<bool, Error> {
    let row: SchemaRow = rows::find(view, Tree::Meta, &key(number))?.unwrap_or_default();
    Ok(row.next.is_none() && is_file(row.shown.as_ref(), policy.readable_schema(number)))
}

/// Where the rows of a collection stand; it changes while they are read anew.
pub(crate) fn progress(view: &View, number: u16) -> Result<Option<Vec<u8>>, Error> {
    view.get(Tree::Meta, &key(number)).map_err(|error| Error::store(&error))
}

fn is_file(file: Option<&File>, signed: Option<&SignedSchema>) -> bool {
    match (file, signed) {
        (Some(file), Some(signed)) => file.is(signed),
        (file, signed) => file.is_none() && signed.is_none(),
    }
}

/// What of a row follows otherwise from `new` than from `old`.
fn again(old: &Collection, new: &Collection) -> Again {
    // What a field allows and what it is called is of no account for a record that is there.
    let read = |field: &Field| (field.key.clone(), field.policy, field.immutable);
    let reads = |schema: &Collection| -> Vec<_> { schema.fields.iter().map(read).collect() };
    let kinds = |schema: &Collection| -> Vec<_> {
        schema.fields.iter().map(|field| field.kind.clone()).collect()
    };
    let is_alike = reads(old) == reads(new) && kinds(old) == kinds(new) && old.open == new.open;
    if is_alike { Again::Found } else { Again::Read }
}

impl Projection<'_> {
    /// Lines up documents whose rows stand under another schema than policy says; gives whether
    /// there was anything to do and whether any is left.
    pub(crate) fn read_by_schema(&mut self) -> Result<(bool, bool), Error> {
        // A step that lets go of records writes their rows at once.
        if self.sources.forward_only || !self.gone.is_empty() {
            return Ok((false, false));
        }
        let policy = Arc::clone(&self.sources.policy);
        let mut numbers: Vec<u16> = policy.schemas().map(SignedSchema::number).collect();
        numbers.extend(self.schemas.before.keys());
        numbers.sort_unstable();
        numbers.dedup();
        let (mut is_changed, mut is_left) = (false, false);
        for number in numbers {
            let before = self.schemas.before.get(&number).map(|it| it.row.clone());
            let mut row = before.unwrap_or_default();
            if row.next.is_none() && is_file(row.shown.as_ref(), policy.readable_schema(number)) {
                continue;
            }
            if is_left {
                // One collection after the other.
                break;
            }
            is_changed = true;
            row.next = row.next.or_else(|| Some(policy.readable_schema(number).map(File::of)));
            let mut progress = Progress::of(number, row, &policy);
            is_left = !self.line_up(number, &mut progress)?;
            if !is_left {
                let shown = progress.row.next.take().unwrap_or_default();
                progress.row = SchemaRow { shown, ..SchemaRow::default() };
                progress.shown = Arc::clone(&progress.next);
                // Policy may have gone on meanwhile.
                is_left = !is_file(progress.row.shown.as_ref(), policy.readable_schema(number));
            }
            self.schemas.after.insert(number, progress);
        }
        Ok((is_changed, is_left))
    }

    /// Lines up the next documents of a collection; says whether those were the last.
    fn line_up(&mut self, number: u16, progress: &mut Progress) -> Result<bool, Error> {
        let held = KeyRange::prefix(&number.to_be_bytes());
        if rows::keys(self.view, Tree::Feed, held, Direction::Ascending).next().is_none() {
            return Ok(true);
        }
        let again = again(&progress.shown, &progress.next);
        let range = KeyRange::all().after(&progress.row.cursor);
        let documents = self
            .view
            .scan(Tree::Document, &range, Direction::Ascending, STEP_DOCUMENTS)
            .map_err(|error| Error::store(&error))?;
        for (key, value) in &documents {
            let row: DocumentRow = rows::decode(value)?;
            let Some(id) = rows::indexed_id(key) else { continue };
            if row.scope.collection == number {
                let work = self.documents.entry(id).or_insert_with(|| Work::new(id, row.scope));
                work.again = again;
            }
        }
        if let Some((last, _)) = documents.last() {
            progress.row.cursor.clone_from(last);
        }
        Ok(documents.len() < STEP_DOCUMENTS)
    }
}
