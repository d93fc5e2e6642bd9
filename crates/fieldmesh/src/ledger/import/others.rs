//! Rows that say nothing of whose they are, against records that somebody else made of the same.

use fieldmesh_model::natural_key::{extension, unique_keys};
use fieldmesh_model::schema::Collection;
use fieldmesh_model::{DocumentId, Fields};

use crate::error::Error;
use crate::projection::alike::beside;

use super::Run;

impl Run<'_> {
    /// Fails where somebody else has recorded the same: one more would be a duplicate.
    pub(super) fn check_others(
        &self,
        schema: &Collection,
        fields: &Fields,
        told_apart: &[u8],
    ) -> Result<(), Error> {
        let Some(id) = self.other(schema, fields, told_apart)? else { return Ok(()) };
        let text = format!(
            "{} {id} is the same, made on another device; --update edits that one",
            schema.name
        );
        Err(Error::fault("", text))
    }

    /// The record that somebody else made of the same; fails where there are several.
    pub(super) fn other(
        &self,
        schema: &Collection,
        fields: &Fields,
        told_apart: &[u8],
    ) -> Result<Option<DocumentId>, Error> {
        let ledger = self.ledger;
        let keys = |fields: &Fields| unique_keys(schema, fields, &[]);
        let mut found = Vec::new();
        let held = (&*ledger.store, ledger.view());
        // All of them: one that is not looked at would be made a second time.
        for id in beside(held, schema, fields, |it| it.extended, usize::MAX)? {
            let record = ledger.row(id)?.and_then(|row| row.record).filter(|it| !it.deleted);
            let Some(record) = record else { continue };
            let held = keys(&record.fields);
            let is_same = |key: &(usize, _)| schema.unique[key.0].extended && held.contains(key);
            if !keys(fields).iter().any(is_same) {
                continue;
            }
            let Some(document) = ledger.document(id)? else { continue };
            let view = document.view(schema).map_err(|error| Error::store(&error))?;
            if extension(schema, &record.fields, &view.key) == told_apart {
                found.push(id);
            }
        }
        if found.len() > 1 {
            let named: Vec<String> = found.iter().map(ToString::to_string).collect();
            let text = format!("{} {} are the same already", schema.name, named.join(" and "));
            return Err(Error::fault("", text));
        }
        Ok(found.pop())
    }
}
