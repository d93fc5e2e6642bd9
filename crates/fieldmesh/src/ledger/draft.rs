//! Drafts: durable, on this device alone, and recorded once.
//!
//! A draft lies in the log as a note. The nonce that its record takes is drawn when it is begun, so
//! one that is submitted again after a crash is the same record and not a second one.

use std::sync::Arc;

use fieldmesh_model::schema::Collection;
use fieldmesh_model::validate::{Fault, normal_form, validate};
use fieldmesh_model::{DocumentId, Fields, Moment, input};
use fieldmesh_store::{Direction, KeyRange, Tree};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use crate::api::{Draft, DraftChange, Edits, NewRecord, Record};
use crate::clock;
use crate::entry::{Entry, Note};
use crate::error::Error;
use crate::projection::NoteRow;
use crate::rows;

use super::Ledger;
use super::create::Seed;
use super::names::ViewReferences;
use super::record::hex;
use super::written::NOTE_SIZE_MAX;

/// The most drafts that a device keeps.
pub(crate) const DRAFTS_MAX: usize = 1_000;

/// The prefix of their notes.
const PREFIX: &[u8] = b"draft/";

/// A draft as it is noted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct DraftRow {
    collection: String,
    fields: Fields,
    begun_at: Moment,
    saved_at: Moment,
    /// The record that is made of it, noted before that is.
    becomes: Option<DocumentId>,
}

impl Ledger {
    /// Begins, changes or discards a draft, durably; gives it as it is then, or was.
    pub(crate) fn change_draft(&self, change: &DraftChange) -> Result<Draft, Error> {
        let _alone = self.drafts.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match change {
            DraftChange::New(new) => self.begin_draft(new),
            DraftChange::Edit { id, edits } => self.edit_draft(id, edits),
            DraftChange::Discard { id } => {
                let (id, row) = self.draft_row(id)?;
                self.note_draft(id, None)?;
                Ok(self.to_draft(id, row))
            }
        }
    }

    /// The drafts, those that were changed last first.
    pub(crate) fn drafts(&self) -> Result<Vec<Draft>, Error> {
        let mut found = self.draft_rows()?;
        found.sort_by_key(|(id, row)| (std::cmp::Reverse(row.saved_at), *id));
        Ok(found.into_iter().map(|(id, row)| self.to_draft(id, row)).collect())
    }

    /// One of them, by its id or the beginning of it.
    pub(crate) fn draft(&self, id: &str) -> Result<Draft, Error> {
        let (id, row) = self.draft_row(id)?;
        Ok(self.to_draft(id, row))
    }

    /// Records a draft, which then is none any more.
    pub(crate) fn submit_draft(&self, id: &str) -> Result<Record, Error> {
        let view = self.projector.view_number();
        self.settle_soon("whether it is recorded already cannot be told before")?;
        let _alone = self.drafts.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (id, mut row) = self.draft_row(id)?;
        let schema = self.schema_named(&row.collection)?;
        let (normal, becomes) = self.draft_record(&schema, id, &row)?;
        let record = match self.recorded(&schema, &row, &normal)? {
            Some(made) => self.show(made)?,
            None => {
                if let Some(deleted) = self.taken(becomes)? {
                    // It is not of this draft, which goes on being one that can be changed.
                    let collection = row.collection;
                    return Err(Error::Taken { id: becomes, collection, deleted });
                }
                row.becomes = Some(becomes);
                self.note_draft(id, Some(&row))?;
                let (collection, fields) = (row.collection.clone(), nested(&row.fields));
                let time = schema.time_field.as_ref();
                let at = time.filter(|key| !row.fields.contains_key(*key)).map(|_| row.begun_at);
                let new = NewRecord { collection, fields, assignments: Vec::new(), at };
                self.create_from(&new, &Seed { at: row.begun_at, nonce: id }, Some(view))?
            }
        };
        self.note_draft(id, None)?;
        Ok(record)
    }

    /// The values of the record that a draft becomes, in normal form, and its id.
    fn draft_record(
        &self,
        schema: &Arc<Collection>,
        id: [u8; 16],
        row: &DraftRow,
    ) -> Result<(Fields, DocumentId), Error> {
        let mut fields = row.fields.clone();
        self.complete_fields(schema, &mut fields, Some(row.begun_at));
        self.resolve_references(schema, &mut fields)?;
        let fields = normal_form(schema, &fields, &ViewReferences::new(self, schema, None));
        let seed = Seed { at: row.begun_at, nonce: id };
        let becomes = self.identify_from(schema, fields.clone(), &[], &seed).id;
        Ok((fields, becomes))
    }

    /// The record that was made of a draft before it was noted that the draft is none any more.
    ///
    /// Nobody else draws its id, but that of a natural key belongs to whoever says the same.
    fn recorded(
        &self,
        schema: &Collection,
        row: &DraftRow,
        normal: &Fields,
    ) -> Result<Option<DocumentId>, Error> {
        let Some(made) = row.becomes.filter(|_| schema.natural_key.is_empty()) else {
            let Some(made) = row.becomes else { return Ok(None) };
            let record = self.row(made)?.and_then(|row| row.record);
            return Ok(record.filter(|record| record.fields == *normal).map(|_| made));
        };
        Ok(self.taken(made)?.map(|_| made))
    }

    fn begin_draft(&self, new: &NewRecord) -> Result<Draft, Error> {
        let schema = self.schema_named(&new.collection)?;
        self.check_create(&schema)?;
        if self.draft_rows()?.len() >= DRAFTS_MAX {
            let reason = format!("{DRAFTS_MAX} drafts are kept; submit or discard some first");
            return Err(Error::Usage { reason });
        }
        let fields = self.stated_fields(&schema, new)?;
        // No two are begun at one moment, as no two records are of one.
        let now = self.desk().unused_now();
        let (collection, becomes) = (schema.name.clone(), None);
        let row = DraftRow { collection, fields, begun_at: now, saved_at: now, becomes };
        let id: [u8; 16] = clock::random();
        self.note_draft(id, Some(&row))?;
        Ok(self.to_draft(id, row))
    }

    fn edit_draft(&self, id: &str, edits: &Edits) -> Result<Draft, Error> {
        let (id, mut row) = self.draft_row(id)?;
        let schema = self.schema_named(&row.collection)?;
        if let Some(made) = row.becomes.take()
            && self.taken(made)?.is_some()
        {
            let reason = format!(
                "it is recorded already, as {made}: change that, and submit or discard the draft"
            );
            return Err(Error::Usage { reason });
        }
        for edit in self.read_edits(&schema, edits)? {
            edit.apply(&mut row.fields);
        }
        row.saved_at = clock::now();
        self.note_draft(id, Some(&row))?;
        Ok(self.to_draft(id, row))
    }

    fn note_draft(&self, id: [u8; 16], row: Option<&DraftRow>) -> Result<(), Error> {
        let value = row.map(rows::encode);
        if value.as_ref().is_some_and(|value| value.len() > NOTE_SIZE_MAX) {
            let text = format!("a draft may have {} KiB", NOTE_SIZE_MAX / 1024);
            return Err(Error::fault("", text));
        }
        let key = [PREFIX, &id[..]].concat();
        let note = Entry::Note(Note { rows: vec![(key, value)], at: None }).encode();
        let places = self.store.append(vec![note]).map_err(|error| Error::store(&error))?;
        places.last().map_or(Ok(()), |place| self.projector.wait_noted(*place))
    }

    /// The draft that an id or the beginning of one means.
    fn draft_row(&self, text: &str) -> Result<([u8; 16], DraftRow), Error> {
        let not_found = || Error::NotFound { kind: "draft", name: text.to_owned() };
        let typed = text.trim().to_lowercase();
        let is_meant = |id: &[u8; 16]| !typed.is_empty() && hex(id).starts_with(&typed);
        let mut found = self.draft_rows()?;
        found.retain(|(id, _)| is_meant(id));
        if found.len() > 1 {
            let reason =
                format!("{} drafts begin with {typed:?}; type more of the id", found.len());
            return Err(Error::Usage { reason });
        }
        found.pop().ok_or_else(not_found)
    }

    fn draft_rows(&self) -> Result<Vec<([u8; 16], DraftRow)>, Error> {
        self.projector.wait_known()?;
        let prefix = rows::note_key(PREFIX);
        let mut found = Vec::new();
        let range = KeyRange::prefix(&prefix);
        for row in rows::scan(self.view(), Tree::Meta, range, Direction::Ascending) {
            let (key, value) = row?;
            let Some(id) = key.last_chunk::<16>().copied() else { continue };
            let NoteRow { value, .. } = rows::decode(&value)?;
            match rows::decode(&value) {
                Ok(row) => found.push((id, row)),
                Err(error) => tracing::error!(%error, "a draft cannot be read"),
            }
        }
        Ok(found)
    }

    fn to_draft(&self, id: [u8; 16], row: DraftRow) -> Draft {
        let faults = self.draft_faults(&row);
        let DraftRow { collection, fields, begun_at, saved_at, .. } = row;
        let fields = nested(&fields);
        Draft { id: hex(&id), collection, fields, begun_at, saved_at, faults }
    }

    /// What is wrong with it as it is.
    fn draft_faults(&self, row: &DraftRow) -> Vec<Fault> {
        let judged = self.schema_named(&row.collection).and_then(|schema| {
            let mut fields = row.fields.clone();
            self.complete_fields(&schema, &mut fields, Some(row.begun_at));
            self.resolve_references(&schema, &mut fields)?;
            let references = ViewReferences::new(self, &schema, None);
            references.judge(validate(&schema, &fields, &references))
        });
        match judged {
            Ok(_) => Vec::new(),
            Err(Error::Invalid { faults }) => faults,
            Err(error) => vec![Fault::new("", error.to_string())],
        }
    }
}

fn nested(fields: &Fields) -> Map<String, Json> {
    match input::nest(fields) {
        Json::Object(fields) => fields,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests;
