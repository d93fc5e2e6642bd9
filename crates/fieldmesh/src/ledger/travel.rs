//! Records as they were at a time.

use fieldmesh_model::{DocumentId, Moment};

use crate::api::Record;
use crate::clock;
use crate::error::Error;
use crate::rows::RecordRow;
use crate::schema;

use super::{Ledger, Names};

impl Ledger {
    /// The record as it was at a time: what was written by then, by the clocks of its authors.
    pub(crate) fn show_at(&self, id: DocumentId, at: Moment) -> Result<Record, Error> {
        self.settle()?;
        let not_found = || self.no_record(id);
        let row = self.row(id)?.ok_or_else(not_found)?;
        let closure = self.closure(&self.desk(), id)?;
        if closure.is_empty() {
            return Err(not_found());
        }
        let policy = self.policy();
        let schema = schema::numbered(&policy, row.scope.collection);
        match closure.document_at(id, &policy, at)? {
            Some(document) => {
                let record = RecordRow::judged(&document, &closure, (&policy, &schema))?;
                Ok(self.to_record(id, &schema, record, &mut Names::default()))
            }
            None => Err(Error::NotFound {
                kind: "record",
                name: format!("{id} (there was none at {})", clock::minute(at)),
            }),
        }
    }
}
