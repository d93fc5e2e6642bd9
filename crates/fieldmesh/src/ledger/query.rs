//! Lists of records, newest first, by the index that fits best.

use std::collections::BTreeMap;
use std::mem::take;
use std::ops::Bound;

use fieldmesh_model::schema::{Collection, Kind};
use fieldmesh_model::{DocumentId, Fields, Moment, Value, catalogue, input};
use fieldmesh_store::{Direction, KeyRange, Tree};
use serde_json::{Map, Value as Json};

use crate::api::{ListQuery, Record, Safety};
use crate::clock;
use crate::error::Error;
use crate::projection::{field_hash, indexing, is_declared, is_indexed, record_time};
use crate::rows::{self, DocumentRow, RecordRow};
use crate::schema;

use super::Ledger;
use super::names::record_name;

/// Records whose proofs are asked for together.
const PAGE: usize = 4_096;

/// A record as the view has it.
type Read = (DocumentId, DocumentRow, RecordRow);

/// A list query whose words have been understood.
struct Plan {
    conditions: Vec<(String, Value)>,
    prefix: Vec<u8>,
}

impl Ledger {
    /// The records that `query` asks for, newest first.
    pub(crate) fn list(&self, query: &ListQuery) -> Result<Vec<Record>, Error> {
        let mut names = Names::default();
        let (mut found, mut page) = (Vec::new(), Vec::new());
        // How safe a record is says no index, so the limit is kept here.
        let limit = query.limit.unwrap_or(usize::MAX);
        let all = ListQuery { limit: query.limit.filter(|_| !query.not_safe), ..query.clone() };
        let is_asked = self.unsafe_below();
        let mut keep = |found: &mut Vec<Record>, page: &mut Vec<Read>| {
            let changes: Vec<_> = page.iter_mut().map(|it| take(&mut it.1.changes)).collect();
            for ((id, row, record), safety) in page.drain(..).zip(self.safeties(&changes)) {
                if found.len() < limit && (!query.not_safe || safety < is_asked) {
                    let schema = schema::numbered(row.scope.collection);
                    let record = self.to_record(id, &schema, record, &mut names);
                    found.push(Record { safe: Some(safety), ..record });
                }
            }
        };
        self.visit(&all, |id, row, record| {
            page.push((id, row, record));
            if page.len() >= PAGE {
                keep(&mut found, &mut page);
            }
            Ok(())
        })?;
        keep(&mut found, &mut page);
        Ok(found)
    }

    /// The least that is safe: a relay where the tenant has one, else another device.
    fn unsafe_below(&self) -> Safety {
        let has_relay = self.policy().members().any(|member| member.role.is_relay());
        if has_relay { Safety::Relay } else { Safety::Devices(1) }
    }

    /// Hands every record that `query` asks for to `take`, newest first; gives how many records
    /// were read for that.
    pub(super) fn visit(
        &self,
        query: &ListQuery,
        mut take: impl FnMut(DocumentId, DocumentRow, RecordRow) -> Result<(), Error>,
    ) -> Result<u64, Error> {
        self.settle()?;
        let plan = self.plan(query)?;
        let mut left = query.limit.unwrap_or(usize::MAX);
        let mut read = 0;
        let range = range(&plan.prefix, query.since, query.until);
        for key in rows::keys(self.view(), Tree::Index, range, Direction::Descending) {
            if left == 0 {
                break;
            }
            let key = key?;
            let Some(id) = rows::indexed_id(&key) else { continue };
            let Some(mut row) = self.row(id)? else { continue };
            read += 1;
            let Some(record) = row.record.take() else { continue };
            // An index that was not kept for a while may name a record under an earlier time too.
            let time = record_time(&schema::numbered(row.scope.collection), &record);
            let is_current = rows::indexed_time(&key) == Some(rows::sortable(time));
            if is_current && record.deleted == query.deleted && plan.matches(&record) {
                left -= 1;
                take(id, row, record)?;
            }
        }
        Ok(read)
    }

    fn plan(&self, query: &ListQuery) -> Result<Plan, Error> {
        let schema = schema::named(&query.collection)?;
        let mut conditions = Vec::new();
        for text in &query.filters {
            conditions.push(self.condition(schema, text)?);
        }
        let mut indexed = None;
        for condition @ (key, value) in &conditions {
            // What is cleared is in no index.
            if indexed.is_none() && !value.is_cleared() && self.has_index(schema, key)? {
                indexed = Some(condition);
            }
        }
        let prefix = match indexed {
            Some((key, value)) => {
                rows::value_prefix(field_hash(&self.store, schema.number, key, value))
            }
            None => rows::time_prefix(schema.number),
        };
        Ok(Plan { conditions, prefix })
    }

    /// Whether every record that holds a value under `key` can be found by it.
    fn has_index(&self, schema: &Collection, key: &str) -> Result<bool, Error> {
        if is_indexed(schema, key) {
            return Ok(true);
        }
        Ok(is_declared(schema, key) && indexing::is_whole(self.view(), schema.number, key)?)
    }

    fn condition(&self, schema: &Collection, text: &str) -> Result<(String, Value), Error> {
        let assignment = input::Assignment { collection: schema, clock: clock::local() };
        let Some((name, value)) = text.split_once('=') else {
            return Err(Error::Usage {
                reason: format!("{text:?} is no condition; write field=value"),
            });
        };
        let key = assignment.key(name.trim());
        let Some(field) = schema.field(&key) else {
            if schema.is_open(&key) {
                return Ok((key, assignment.value(None, value)));
            }
            let near = assignment.suggestions(name).join(", ");
            let hint = if near.is_empty() { String::new() } else { format!("; near it: {near}") };
            return Err(Error::fault(name, format!("{} has no such field{hint}", schema.name)));
        };
        let mut value = assignment.value(Some(field), value);
        if let (Kind::Reference { collection }, Value::Text(name)) = (&field.kind, &value)
            && let Some(target) = catalogue::named(collection)
            && let Some(id) = self.resolve_in(target, name)?
        {
            value = Value::Text(id.to_string());
        }
        Ok((key, value))
    }

    /// The record as people see it.
    pub(super) fn to_record(
        &self,
        id: DocumentId,
        schema: &Collection,
        record: RecordRow,
        names: &mut Names,
    ) -> Record {
        Record {
            id,
            collection: schema.name.clone(),
            names: names.of_references(self, schema, &record.fields),
            fields: match input::nest(&record.fields) {
                Json::Object(fields) => fields,
                _ => Map::new(),
            },
            created_by: record.created_by,
            created_at: record.created_at,
            updated_at: record.updated_at,
            device_id: record.device,
            deleted: record.deleted,
            safe: None,
            conflicts: record
                .conflicts
                .into_iter()
                .filter(|conflict| conflict.open)
                .map(|conflict| conflict.id)
                .collect(),
        }
    }
}

impl Plan {
    fn matches(&self, record: &RecordRow) -> bool {
        self.conditions.iter().all(|(key, wanted)| {
            let held = record.fields.get(key).unwrap_or(&Value::Null);
            match (held, wanted) {
                (Value::List(items), wanted) if !matches!(wanted, Value::List(_)) => {
                    items.iter().any(|item| is_equal(item, wanted))
                }
                (held, wanted) => is_equal(held, wanted),
            }
        })
    }
}

/// Equality for people: the letters of texts count alike.
fn is_equal(held: &Value, wanted: &Value) -> bool {
    match (held, wanted) {
        (Value::Text(held), Value::Text(wanted)) => {
            held.trim().to_lowercase() == wanted.trim().to_lowercase()
        }
        (held, wanted) => held.is_same(wanted) || (held.is_cleared() && wanted.is_cleared()),
    }
}

/// The keys under `prefix` from `since` to before `until`.
fn range(prefix: &[u8], since: Option<Moment>, until: Option<Moment>) -> KeyRange {
    let at = |time: Moment| [prefix, &rows::sortable(time)].concat();
    let from = since.map_or_else(|| prefix.to_vec(), at);
    let to = until.map_or_else(|| [prefix, &[0xff; 32]].concat(), at);
    KeyRange::new(Bound::Included(&from), Bound::Excluded(&to))
}

/// Names of referred records, looked up once each.
#[derive(Default)]
pub(crate) struct Names(BTreeMap<DocumentId, Option<String>>);

impl Names {
    fn of_references(
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
    pub(super) fn of_unshown(
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
    pub(super) fn of(&mut self, ledger: &Ledger, id: DocumentId) -> Option<String> {
        let lookup = || {
            let row = ledger.row(id).ok().flatten()?;
            let record = row.record?;
            record_name(&schema::numbered(row.scope.collection), &record)
        };
        self.0.entry(id).or_insert_with(lookup).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{Edits, NewRecord};
    use crate::{Node, TenantOptions};

    const WELLS: usize = 40;
    const OPERATORS: usize = 8;

    fn assignments(pairs: &[(&str, String)]) -> Vec<String> {
        pairs.iter().map(|(key, value)| format!("{key}={value}")).collect()
    }

    fn query(filters: &[&str], deleted: bool) -> ListQuery {
        let filters = filters.iter().map(|text| (*text).to_owned()).collect();
        ListQuery { collection: "well".into(), filters, deleted, ..ListQuery::default() }
    }

    /// The wells of an operator by a look at all of them.
    fn looked_at(ledger: &Ledger, operator: usize, deleted: bool) -> Vec<DocumentId> {
        let all = ledger.list(&query(&[], deleted)).unwrap();
        let name = format!("Operator {operator}");
        all.into_iter().filter(|it| it.fields["operator"] == *name).map(|it| it.id).collect()
    }

    /// Records wells, some of which are edited, deleted and restored.
    fn record_wells(ledger: &Ledger) {
        for number in 0..WELLS {
            let fields = [
                ("name", format!("Alder {number}")),
                ("apiNumber", format!("42-227-3{number:04}")),
                ("status", "ACTIVE".to_owned()),
                ("operator", format!("Operator {}", number % OPERATORS)),
            ];
            let assignments = assignments(&fields);
            let well = NewRecord { collection: "well".into(), assignments, ..NewRecord::default() };
            let id = ledger.create(&well).unwrap().id;
            if number % 3 == 0 {
                let fields = [("operator", format!("Operator {}", (number + 1) % OPERATORS))];
                let assignments = self::assignments(&fields);
                ledger.edit(id, &Edits { assignments, ..Edits::default() }).unwrap();
            }
            if number % 5 == 0 {
                ledger.delete(id).unwrap();
            }
            if number % 10 == 0 {
                ledger.restore(id).unwrap();
            }
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_list_by_an_indexed_field_reads_no_record_that_lacks_its_value() {
        let folder = tempfile::tempdir().unwrap();
        let options = TenantOptions { name: "Crew".into(), ..TenantOptions::default() };
        let builder = Node::builder(folder.path().join("home")).passphrase("one");
        let (node, _) = builder.create_tenant(options).await.unwrap();
        tokio::task::block_in_place(|| {
            record_wells(node.ledger());
            check_operators(node.ledger());
        });
        node.shutdown().await.unwrap();
    }

    fn check_operators(ledger: &Ledger) {
        for operator in 0..OPERATORS {
            let asked = format!("operator= operator {operator}");
            let mut read = 0;
            for deleted in [false, true] {
                let mut found = Vec::new();
                let query = query(&[&asked], deleted);
                let take = |id, _, _| {
                    found.push(id);
                    Ok(())
                };
                read = ledger.visit(&query, take).unwrap();
                assert_eq!(found, looked_at(ledger, operator, deleted), "{asked}, {deleted}");
            }
            let held = [false, true].map(|deleted| looked_at(ledger, operator, deleted).len());
            assert_eq!(read, held.iter().sum::<usize>() as u64, "{asked}");
        }
    }
}
