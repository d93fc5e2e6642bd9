//! What people call the records that records refer to.

use std::collections::BTreeMap;

use fieldmesh_model::schema::{Collection, Kind};
use fieldmesh_model::{DocumentId, Fields};
use serde_json::{Map, Value as Json};

use crate::ledger::Ledger;
use crate::ledger::decided::Telling;
use crate::ledger::names::record_name;
use crate::rows::RecordRow;

/// Names of referred records, looked up once each, and what records tell of each other.
#[derive(Default)]
pub(crate) struct Names(BTreeMap<DocumentId, Option<String>>, Option<bool>, Telling);

impl Names {
    /// Whether any records are alike, looked up once.
    pub(super) fn any_alike(&mut self, ledger: &Ledger) -> bool {
        *self.1.get_or_insert_with(|| ledger.any_alike().unwrap_or(false))
    }

    /// What records tell of items that are settled, as far as somebody asked.
    pub(in crate::ledger) fn telling(&mut self) -> &mut Telling {
        &mut self.2
    }

    pub(super) fn of_references(
        &mut self,
        ledger: &Ledger,
        schema: &Collection,
        fields: &Fields,
    ) -> Map<String, Json> {
        let mut names = Map::new();
        for (key, value) in fields {
            let is_reference =
                schema.field(key).is_some_and(|field| matches!(field.kind, Kind::Reference { .. }));
            let id = value.as_text().and_then(|text| text.parse::<DocumentId>().ok());
            let Some(id) = id.filter(|_| is_reference) else { continue };
            if let Some(name) = self.of(ledger, id) {
                names.insert(key.clone(), name.into());
            }
        }
        names
    }

    /// What people call a record that the view does not show so: by its own name, else by the
    /// record that it belongs to.
    pub(in crate::ledger) fn of_unshown(
        &mut self,
        ledger: &Ledger,
        schema: &Collection,
        record: &RecordRow,
    ) -> Option<String> {
        if let Some(name) = record_name(schema, record) {
            return Some(name);
        }
        let of = self.of_references(ledger, schema, &record.fields);
        let owner = of.values().find_map(Json::as_str)?;
        Some(format!("{} of {owner}", schema.name))
    }

    /// What people call the record `id`.
    pub(in crate::ledger) fn of(&mut self, ledger: &Ledger, id: DocumentId) -> Option<String> {
        let lookup = || {
            let row = ledger.row(id).ok().flatten()?;
            let record = row.record?;
            record_name(&ledger.schema(row.scope.collection), &record)
        };
        self.0.entry(id).or_insert_with(lookup).clone()
    }
}
