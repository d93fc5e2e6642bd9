//! Answers to queries: which index is read, what of it fits, and in which order.
//!
//! A condition on a value is answered by the index of that field, if it has one; without one, by
//! the index of the collection by time. Both are in the order of time, so a page of the newest
//! reads a page and not the collection. What lies more or less than a value is looked at record by
//! record within that index, since no key may be in the order of its values: the beginnings of some
//! keys can be read on a stolen disk, and with them the volumes of a well or the pulse of a patient.

mod condition;
mod cursor;
mod named;
mod order;
mod plan;
mod walk;

use std::collections::BTreeSet;
use std::mem::take;
use std::ops::ControlFlow;

use fieldmesh_model::schema::Collection;
use fieldmesh_model::{DocumentId, input};

use crate::api::{ListQuery, Page, Record, Safety};
use crate::changes::version;
use crate::error::Error;
use crate::readers::Kept;
use crate::rows::{self, DocumentRow, RecordRow};

use super::Ledger;

pub(crate) use self::named::Names;
pub(in crate::ledger) use self::plan::Plan;

/// Records whose proofs are asked for together.
const PROOFS_TOGETHER: usize = 512;

/// A record as the view has it.
pub(in crate::ledger) type Read = (DocumentId, DocumentRow, RecordRow);

/// What was found, in order.
pub(in crate::ledger) struct Found {
    pub(in crate::ledger) records: Vec<Read>,
    /// Whether there is more behind the limit.
    pub(in crate::ledger) has_more: bool,
    /// How many records were read for it.
    #[cfg_attr(not(test), expect(dead_code, reason = "tests hold queries to it"))]
    pub(in crate::ledger) read: u64,
}

impl Ledger {
    /// The records that `query` asks for, in its order.
    pub(crate) fn list(&self, query: &ListQuery) -> Result<Vec<Record>, Error> {
        // It has no way to say that some are missing.
        self.settle()?;
        Ok(self.page_in(query, None)?.records)
    }

    /// A page of them, and the cursor of the next.
    pub(crate) fn page(&self, query: &ListQuery) -> Result<Page, Error> {
        if !query.partial {
            self.settle()?;
            return self.page_in(query, None);
        }
        let before = self.settle_partly()?;
        self.check_remaking()?;
        let Page { mut records, next, .. } = self.page_in(query, None)?;
        let remaking = before.or_else(|| self.remaking());
        if remaking.is_none() {
            return Ok(Page { records, next, remaking });
        }
        // What was purged may not be taken out so far.
        let policy = self.policy();
        records.retain(|record| !policy.is_purged(&record.id));
        // Behind a page that lacks some there may be a whole one, which would look like the end.
        Ok(Page { records, next: None, remaking })
    }

    /// The same of a snapshot.
    pub(crate) fn page_in(&self, query: &ListQuery, kept: Option<&Kept>) -> Result<Page, Error> {
        let (plan, found) = self.planned(query, |plan| self.find(plan, kept))?;
        let Found { records, has_more, .. } = found;
        let last = records.last().filter(|_| has_more);
        let next = last
            .map(|(id, _, record)| (plan.position(*id, record), &*plan.schema))
            .map(|(position, schema)| cursor::write(&self.store, query, schema, &position));
        Ok(Page { records: self.to_records(records), next, remaking: None })
    }

    /// How many records `query` asks for, whatever its limit and cursor say.
    pub(crate) fn count(&self, query: &ListQuery) -> Result<u64, Error> {
        self.settle()?;
        self.count_in(query, None)
    }

    /// The same of a snapshot.
    pub(crate) fn count_in(&self, query: &ListQuery, kept: Option<&Kept>) -> Result<u64, Error> {
        let query = ListQuery { limit: None, cursor: None, ..query.clone() };
        let counted =
            self.planned(&query, |plan| match plan.is_everything() && kept.is_none() {
                true if plan.duplicates => self.record_count(plan.schema.number),
                true => self.shown_count(plan.schema.number),
                false => Ok(self.ids(plan, kept)?.len() as u64),
            })?;
        Ok(counted.1)
    }

    /// The records that fit a plan, without holding them.
    pub(in crate::ledger) fn ids(
        &self,
        plan: &Plan,
        kept: Option<&Kept>,
    ) -> Result<BTreeSet<DocumentId>, Error> {
        if plan.not_safe || plan.limit < usize::MAX {
            return Ok(self.find(plan, kept)?.records.into_iter().map(|found| found.0).collect());
        }
        let mut ids = BTreeSet::new();
        self.walk(plan, kept, |found| {
            ids.insert(found.0);
            Ok(ControlFlow::Continue(()))
        })?;
        if let Some(kept) = kept {
            let mut written = Vec::new();
            self.add_kept(plan, kept, &ids, &mut written)?;
            ids.extend(written.into_iter().map(|found| found.0));
        }
        Ok(ids)
    }

    /// The least that is safe: a relay where the tenant has one, else another device.
    fn unsafe_below(&self) -> Safety {
        let has_relay = self.policy().members().any(|member| member.role.is_relay());
        if has_relay { Safety::Relay } else { Safety::Devices(1) }
    }

    /// What fits a plan, in its order and within its limit.
    pub(in crate::ledger) fn find(&self, plan: &Plan, kept: Option<&Kept>) -> Result<Found, Error> {
        // One more tells whether there are more.
        let wanted = plan.limit.saturating_add(1);
        let (mut records, mut waiting) = (Vec::new(), Vec::new());
        let mut read = self.walk(plan, kept, |found| {
            waiting.push(found);
            if !plan.not_safe || waiting.len() >= PROOFS_TOGETHER.min(wanted) {
                self.sift(plan, &mut waiting, &mut records);
            }
            // Any other order than that of the index is known at the end only.
            if plan.is_indexed() && records.len() >= wanted {
                return Ok(ControlFlow::Break(()));
            }
            if records.len() >= wanted.saturating_mul(2).max(PROOFS_TOGETHER) {
                plan.keep_first(&mut records, wanted);
            }
            Ok(ControlFlow::Continue(()))
        })?;
        if let Some(kept) = kept {
            let walked = records.iter().chain(&waiting).map(|it: &Read| it.0).collect();
            read += self.add_kept(plan, kept, &walked, &mut waiting)?;
        }
        self.sift(plan, &mut waiting, &mut records);
        plan.keep_first(&mut records, wanted);
        let has_more = records.len() > plan.limit;
        records.truncate(plan.limit);
        tracing::debug!(read, found = records.len(), "query answered");
        Ok(Found { records, has_more, read })
    }

    /// Takes over what was found, without what is safe where only the rest is wanted.
    fn sift(&self, plan: &Plan, waiting: &mut Vec<Read>, records: &mut Vec<Read>) {
        if !plan.not_safe {
            records.append(waiting);
            return;
        }
        let changes: Vec<_> = waiting.iter().map(|it| (it.0, it.1.changes.clone())).collect();
        let is_asked = self.unsafe_below();
        let found = waiting.drain(..).zip(self.safeties(&changes));
        records.extend(found.filter(|(_, safety)| *safety < is_asked).map(|(found, _)| found));
    }

    /// Records as people see them, with how safe each is.
    pub(in crate::ledger) fn to_records(&self, mut found: Vec<Read>) -> Vec<Record> {
        let versions: Vec<String> = found.iter().map(|it| version(&it.1.changes)).collect();
        let changes: Vec<_> = found.iter_mut().map(|it| (it.0, take(&mut it.1.changes))).collect();
        let safeties = changes.chunks(PROOFS_TOGETHER).flat_map(|some| self.safeties(some));
        let mut names = Names::default();
        found
            .into_iter()
            .zip(safeties.zip(versions))
            .map(|((id, row, record), (safety, version))| {
                let schema = self.schema(row.scope.collection);
                let record = self.to_record(id, &schema, record, &mut names);
                Record { safe: Some(safety), version: Some(version), ..record }
            })
            .collect()
    }

    /// The row of a document, as it was when the snapshot was taken if there is one.
    pub(in crate::ledger) fn row_in(
        &self,
        kept: Option<&Kept>,
        id: DocumentId,
    ) -> Result<Option<DocumentRow>, Error> {
        let row = self.row(id)?;
        let Some(kept) = kept else { return Ok(row) };
        let row: Option<DocumentRow> = match kept.find(&id)? {
            None => row,
            Some(before) => before.map(|bytes| rows::decode(&bytes)).transpose()?,
        };
        row.as_ref().map_or(Ok(()), |row| kept.check(row.scope.collection))?;
        Ok(row)
    }

    /// The record as people see it.
    pub(in crate::ledger) fn to_record(
        &self,
        id: DocumentId,
        schema: &Collection,
        record: RecordRow,
        names: &mut Names,
    ) -> Record {
        // What cannot be read says nothing of others.
        let (duplicates, items) = match names.any_alike(self) {
            true => self.alike_to(id, schema, &record).unwrap_or_default(),
            false => Default::default(),
        };
        let approval = self.approval_report(schema, &record);
        Record {
            id,
            collection: schema.name.clone(),
            names: names.of_references(self, schema, &record.fields),
            fields: input::into_nested(record.fields),
            created_by: record.created_by,
            created_at: record.created_at,
            updated_at: record.updated_at,
            device_id: record.device,
            deleted: record.deleted,
            safe: None,
            version: None,
            conflicts: record
                .conflicts
                .into_iter()
                .filter(|conflict| conflict.open)
                .map(|conflict| conflict.id)
                .filter(|id| !items.contains(id))
                .chain(items.iter().cloned())
                .collect(),
            duplicates,
            superseded_by: None,
            replaces: Vec::new(),
            approval,
            remaking: None,
        }
    }
}

#[cfg(test)]
mod tests;
