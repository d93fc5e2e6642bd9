//! Which schema the rows of a tenant's own collections stand under.
//!
//! What a record shows and what it is found by follow from its collection's schema, which may come
//! after the record or change. Rows are then read anew, in the order of their ids and some at a
//! time; until that is done the view knows how far it has come, so that each row is always found by
//! what was written for it. No change of a record is ever written for this.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fieldmesh_identity::{Policy, SignedSchema};
use fieldmesh_model::DocumentId;
use fieldmesh_model::schema::{Collection, Field};
use fieldmesh_store::{Direction, KeyRange, Tree, View, WriteSet};
use serde::{Deserialize, Serialize};

use crate::approval;
use crate::error::Error;
use crate::rows::{self, DocumentRow};
use crate::schema;

use super::touched::{Again, Work};
use super::{Projection, count_key};

/// The prefix of how far the rows of a collection have come, in [`Tree::Meta`].
const PREFIX: &[u8] = b"schema/";
/// The prefix of what was read in a definition that rows stand under: a later version of the
/// program may read the same file otherwise, and has to find what was written for them.
const READING_PREFIX: &[u8] = b"schema-reading/";
/// Documents that are looked at in one step; few in tests, so that there are many steps.
const STEP_DOCUMENTS: usize = if cfg!(test) { 16 } else { 512 };

/// Changes that are merged anew in one step, but for those of its last document.
const STEP_CHANGES: usize = 1_024;
/// Collections whose definitions come into force in one step: each is written with it.
const STEP_COLLECTIONS: usize = 16;

/// The hash of what a program reads in a definition; see [`Collection::reading`].
type Reading = [u8; 32];

/// How far the rows of one collection have come.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
struct SchemaRow {
    /// The reading of all rows behind the cursor; there was no schema where there is none.
    shown: Option<Reading>,
    /// That of all rows up to the cursor, while they are read anew.
    next: Option<Option<Reading>>,
    /// The document that was looked at last.
    cursor: Vec<u8>,
    /// How many were looked at, and how many there were when it began.
    done: u64,
    of: u64,
    /// Whether policy said another reading at some step meanwhile: who may approve is looked up by
    /// the policy of the step.
    is_mixed: bool,
}

/// The same with the schemas themselves.
#[derive(Debug, Clone)]
struct Progress {
    row: SchemaRow,
    shown: Arc<Collection>,
    next: Arc<Collection>,
}

impl Progress {
    fn of(number: u16, row: SchemaRow, view: &View, policy: &Policy) -> Result<Self, Error> {
        let read = |reading: Option<Reading>| match reading {
            None => Ok(Arc::new(Collection::unknown(number))),
            // The policy has read it already.
            reading if reading == reading_of(policy, number) => {
                Ok(schema::numbered(policy, number))
            }
            Some(reading) => stored(view, number, reading),
        };
        let shown = read(row.shown)?;
        let next = row.next.map_or_else(|| Ok(Arc::clone(&shown)), read)?;
        Ok(Self { row, shown, next })
    }

    /// The readings that rows stand under.
    fn readings(&self) -> BTreeMap<Reading, &Arc<Collection>> {
        let next = self.row.next.flatten().map(|reading| (reading, &self.next));
        self.row.shown.map(|reading| (reading, &self.shown)).into_iter().chain(next).collect()
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
            let Some(number) = number_of(&key) else { continue };
            before.insert(number, Progress::of(number, rows::decode(&value)?, view, policy)?);
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

    pub(super) fn write(&self, writes: &mut WriteSet) -> Result<(), Error> {
        for (number, progress) in &self.after {
            let before = self.before.get(number);
            if before.map(|before| &before.row) == Some(&progress.row) {
                continue;
            }
            writes.put(Tree::Meta, key(*number), rows::encode(&progress.row));
            let (old, new) =
                (before.map(Progress::readings).unwrap_or_default(), progress.readings());
            for (reading, collection) in new.iter().filter(|(it, _)| !old.contains_key(*it)) {
                let bytes =
                    serde_json::to_vec(&***collection).map_err(|error| Error::store(&error))?;
                writes.put(Tree::Meta, reading_key(*number, *reading), bytes);
            }
            for reading in old.keys().filter(|reading| !new.contains_key(*reading)) {
                writes.delete(Tree::Meta, reading_key(*number, *reading));
            }
        }
        Ok(())
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

fn number_of(key: &[u8]) -> Option<u16> {
    let number = key.strip_prefix(PREFIX)?.try_into().ok()?;
    Some(u16::from_be_bytes(number))
}

/// The collections whose rows another schema begins to count for, or has come to count for, with
/// these `writes`.
pub(crate) fn read_anew(view: &View, writes: &WriteSet) -> Result<Vec<u16>, Error> {
    let mut numbers = Vec::new();
    for (key, value) in writes.changed(Tree::Meta) {
        let Some(number) = number_of(key) else { continue };
        let (before, after) = (Stand::read(view, number)?, Stand(value.map(<[u8]>::to_vec)));
        let (before, after) = (before.row()?, after.row()?);
        if (before.shown, before.next) != (after.shown, after.next) {
            numbers.push(number);
        }
    }
    Ok(numbers)
}

fn reading_key(number: u16, reading: Reading) -> Vec<u8> {
    [READING_PREFIX, &number.to_be_bytes()[..], &reading[..]].concat()
}

/// What the view keeps of a reading.
fn stored(view: &View, number: u16, reading: Reading) -> Result<Arc<Collection>, Error> {
    let key = reading_key(number, reading);
    let bytes = view.get(Tree::Meta, &key).map_err(|error| Error::store(&error))?;
    let found = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    // Keys that are left behind then lead to records that do not hold their values, and whoever
    // finds a record by one looks at that.
    Ok(Arc::new(found.unwrap_or_else(|| {
        tracing::warn!(number, "what records were read by cannot be read itself");
        Collection::unknown(number)
    })))
}

/// What rows stand under that were read by one reading and some of them by others too: none that
/// ever counts, so that all are read once more.
fn mixed(reading: Reading) -> Reading {
    *blake3::keyed_hash(&reading, b"mixed").as_bytes()
}

/// What this program reads in the definition by which records of the collection are shown, and in
/// who may approve them.
fn reading_of(policy: &Policy, number: u16) -> Option<Reading> {
    let signed = policy.readable_schema(number)?;
    Some(approval::reading_of(policy, signed.collection()?, signed.reading()?))
}

/// What the view says of how the rows of a collection stand: it changes whenever they are read
/// anew, before the first of them does.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stand(Option<Vec<u8>>);

impl Stand {
    /// How the rows of a collection stand.
    pub(crate) fn read(view: &View, number: u16) -> Result<Self, Error> {
        let row = view.get(Tree::Meta, &key(number)).map_err(|error| Error::store(&error))?;
        Ok(Self(row))
    }

    fn row(&self) -> Result<SchemaRow, Error> {
        match &self.0 {
            Some(row) => rows::decode(row),
            None => Ok(SchemaRow::default()),
        }
    }

    /// How many of the rows stand under the next schema, in percent; never all.
    pub(crate) fn percent(&self) -> Result<u64, Error> {
        let SchemaRow { done, of, .. } = self.row()?;
        Ok((done.saturating_mul(100) / of.max(1)).min(99))
    }

    /// The schema by which the row of a document stands in the view.
    pub(crate) fn schema_at(
        &self,
        view: &View,
        policy: &Policy,
        number: u16,
        id: &DocumentId,
    ) -> Result<Arc<Collection>, Error> {
        match schema::built_in(number) {
            Some(schema) => Ok(schema),
            None => Ok(Arc::clone(Progress::of(number, self.row()?, view, policy)?.at(id))),
        }
    }

    /// Whether all rows stand under the schema that `policy` says.
    pub(crate) fn is_whole(&self, policy: &Policy, number: u16) -> Result<bool, Error> {
        let row = self.row()?;
        Ok(row.next.is_none() && row.shown == reading_of(policy, number))
    }

    /// The collections of which the view says how their rows stand.
    pub(crate) fn numbers(view: &View) -> Result<BTreeSet<u16>, Error> {
        let stands = KeyRange::prefix(PREFIX);
        let keys = rows::keys(view, Tree::Meta, stands, Direction::Ascending);
        let numbers = keys.map(|key| Ok(number_of(&key?)));
        numbers.filter_map(Result::transpose).collect()
    }

    /// How those of all collections stand, as one number that differs once any of them moves.
    pub(crate) fn of_all(view: &View) -> Result<[u8; 32], Error> {
        let mut hasher = blake3::Hasher::new();
        for row in rows::scan(view, Tree::Meta, KeyRange::prefix(PREFIX), Direction::Ascending) {
            let (key, value) = row?;
            hasher.update(&key).update(blake3::hash(&value).as_bytes());
        }
        Ok(*hasher.finalize().as_bytes())
    }
}

/// Whether all rows of a collection stand under the schema that `policy` says.
#[cfg(test)]
pub(crate) fn is_shown(view: &View, policy: &Policy, number: u16) -> Result<bool, Error> {
    Stand::read(view, number)?.is_whole(policy, number)
}

/// What of a row follows otherwise from `new` than from `old`.
fn again(old: &Collection, new: &Collection) -> Again {
    // What a field is called, and whether an index has it, is of no account for the record itself;
    // what it allows decides which rules the record breaks.
    let read =
        |field: &Field| Field { label: String::new(), unit: None, indexed: false, ..field.clone() };
    let reads = |schema: &Collection| Collection {
        name: String::new(),
        version: 0,
        fields: schema.fields.iter().map(read).collect(),
        names: Vec::new(),
        unique: Vec::new(),
        time_field: None,
        create_by: Vec::new(),
        edit_by: Vec::new(),
        resolve_by: Vec::new(),
        ..schema.clone()
    };
    // Who may approve is no part of the definition.
    let is_same = reads(old) == reads(new) && !new.asks_for_approval();
    if is_same { Again::Found } else { Again::Read }
}

impl Projection<'_> {
    /// Lines up documents whose rows stand under another schema than policy says; gives whether
    /// there was anything to do and whether any is left.
    pub(crate) fn read_by_schema(&mut self) -> Result<(bool, bool), Error> {
        // A step that lets go of records writes their rows at once.
        let has_records = !self.sources.forward_only && self.sources.reach.has_records();
        if !has_records || !self.gone.is_empty() {
            return Ok((false, false));
        }
        let policy = Arc::clone(&self.sources.policy);
        let mut numbers: Vec<u16> = policy.schemas().map(SignedSchema::number).collect();
        numbers.extend(self.schemas.before.keys());
        numbers.sort_unstable();
        numbers.dedup();
        let (mut is_changed, mut is_left, mut count) = (false, false, 0);
        for number in numbers {
            let before = self.schemas.before.get(&number).map(|it| it.row.clone());
            let mut row = before.unwrap_or_default();
            let reading = reading_of(&policy, number);
            if row.next.is_none() && row.shown == reading {
                continue;
            }
            if is_left || count >= STEP_COLLECTIONS {
                // One collection after the other.
                is_left = true;
                break;
            }
            (is_changed, count) = (true, count + 1);
            if row.next.is_none() {
                let records = rows::find(self.view, Tree::Meta, &count_key(number))?;
                (row.next, row.of) = (Some(reading), records.unwrap_or(0));
            }
            row.is_mixed |= row.next != Some(reading);
            let mut progress = Progress::of(number, row, self.view, &policy)?;
            is_left = !self.line_up(number, &mut progress)?;
            if !is_left {
                let shown = progress.row.next.take().unwrap_or_default();
                let shown = shown.map(|it| if progress.row.is_mixed { mixed(it) } else { it });
                progress.row = SchemaRow { shown, ..SchemaRow::default() };
                progress.shown = Arc::clone(&progress.next);
                // Policy may have gone on meanwhile.
                is_left = progress.row.shown != reading;
            }
            self.schemas.after.insert(number, progress);
        }
        Ok((is_changed, is_left))
    }

    /// Lines up the next documents of a collection; says whether those were the last.
    fn line_up(&mut self, number: u16, progress: &mut Progress) -> Result<bool, Error> {
        let again = again(&progress.shown, &progress.next);
        let mut range = KeyRange::prefix(&rows::own_prefix(number));
        if let Some(last) = progress.row.cursor.first_chunk() {
            range = range.after(&rows::own_key(number, DocumentId::from_bytes(*last)));
        }
        let keys = self.view.keys(Tree::Meta, &range, Direction::Ascending, STEP_DOCUMENTS);
        let keys = keys.map_err(|error| Error::store(&error))?;
        let mut changes = 0;
        for key in &keys {
            // Whoever records meanwhile waits for the end of this step.
            if changes >= STEP_CHANGES {
                return Ok(false);
            }
            let Some(id) = rows::indexed_id(key) else { continue };
            progress.row.cursor = id.as_bytes().to_vec();
            progress.row.done += 1;
            let row: Option<DocumentRow> = rows::find(self.view, Tree::Document, id.as_bytes())?;
            let Some(row) = row else { continue };
            if row.scope.collection == number {
                changes += row.changes.len();
                let work = self.documents.entry(id).or_insert_with(|| Work::new(id, row.scope));
                work.again = again;
            }
        }
        Ok(keys.len() < STEP_DOCUMENTS)
    }
}
