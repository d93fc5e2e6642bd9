//! Settling many items of the inbox alike, with a look at what would come of it first.

use std::collections::BTreeSet;

use fieldmesh_model::{DocumentId, Value};
use serde_json::Value as Json;

use crate::api::{
    Choice, Class, ConflictQuery, ConflictReport, ConflictValue, LeftItem, Record, Resolution,
    ResolveAll, ResolveAllReport, SettledItem, SettledRecord,
};
use crate::error::Error;

use super::Ledger;
use super::conflicts::{Open, nothing_to_settle};
use super::duplicates::{KIND_DUPLICATE, Keeping};
use super::inbox::{KIND_DELETED, KIND_PARALLEL, KIND_QUARANTINE, KIND_RULE};

/// What would come of many items, before anything is written.
#[derive(Default)]
struct Plan {
    report: ResolveAllReport,
    /// Records that are deleted for others that are like them.
    given: BTreeSet<DocumentId>,
}

impl Ledger {
    /// Settles every open item that a query gives, or shows what that would do. One that cannot be
    /// settled so stays as it is, and the report says why; the others are settled all the same.
    ///
    /// What is written is what the items came to as they were read: by the label of a side, not by
    /// a choice that may come to another one by then.
    pub(crate) fn settle_conflicts(&self, all: &ResolveAll) -> Result<ResolveAllReport, Error> {
        let mut report = self.planned_items(all)?;
        if all.dry_run {
            return Ok(report);
        }
        let found = report.settled.len() as u64;
        if let Some(expected) = all.expect.filter(|expected| *expected != found) {
            return Err(Error::UnexpectedItems { expected, found });
        }
        let planned = std::mem::take(&mut report.settled);
        self.settle_planned(planned, &mut report)?;
        Ok(report)
    }

    fn settle_planned(
        &self,
        planned: Vec<SettledItem>,
        report: &mut ResolveAllReport,
    ) -> Result<(), Error> {
        let mut planned = planned.into_iter();
        for item in planned.by_ref() {
            let choice = match item.taken.as_str() {
                "" => Choice::Both,
                label => Choice::Label(label.to_owned()),
            };
            match self.settle_conflict(&item.id, &Resolution::Take(choice)) {
                Ok(_) => report.settled.push(item),
                Err(Error::NotFound { kind: "conflict", .. }) => {
                    report.ended.push(left_of(item, "it ended since it was looked at".into()));
                }
                // Where the store fails from the start, that is the answer.
                Err(error) if error.class() == Class::Store && report.settled.is_empty() => {
                    return Err(error);
                }
                Err(error) if error.class() == Class::Store => {
                    report.stopped = Some(error.problem());
                    report.left.push(left_of(item, error.to_string()));
                    break;
                }
                Err(error) => report.left.push(left_of(item, error.to_string())),
            }
        }
        let reason = "nothing was tried after a failure at another conflict";
        report.left.extend(planned.map(|item| left_of(item, reason.into())));
        report.written = !report.settled.is_empty();
        Ok(())
    }

    /// What settling comes to, item by item, with nothing written.
    fn planned_items(&self, all: &ResolveAll) -> Result<ResolveAllReport, Error> {
        let kind = all.query.kind.as_deref();
        if let Some(kind @ (KIND_RULE | KIND_PARALLEL | KIND_QUARANTINE)) = kind {
            let reason =
                format!("items of the kind {kind} have no sides of which one could be taken");
            return Err(Error::Usage { reason });
        }
        let is_meant = |item: &&ConflictReport| {
            let item_kind = item.kind.as_str();
            let has_sides = ![KIND_QUARANTINE, KIND_RULE].contains(&item_kind);
            let is_whole = [KIND_DUPLICATE, KIND_DELETED].contains(&item_kind);
            item.open && has_sides && (!is_whole || kind == Some(item_kind))
        };
        let mut plan = Plan::default();
        let mut query = ConflictQuery { closed: false, ..all.query.clone() };
        loop {
            let page = self.conflicts(&query)?;
            let Some(last) = page.last() else { break };
            query.after = Some(last.id.clone());
            for item in page.iter().filter(is_meant) {
                let seen = all.seen.as_ref();
                if seen.is_some_and(|seen| seen.iter().all(|id| *id != item.id)) {
                    let reason = "it was not there when it was looked at";
                    plan.report.left.push(left(item, reason.into()));
                } else {
                    self.plan_item(item, &all.choice, &mut plan)?;
                }
            }
        }
        Ok(plan.report)
    }

    fn plan_item(
        &self,
        item: &ConflictReport,
        choice: &Choice,
        plan: &mut Plan,
    ) -> Result<(), Error> {
        let records = item.duplicate.iter().flat_map(|found| &found.records);
        let records: Vec<DocumentId> = records.map(|record| record.id).collect();
        let given = records.iter().filter(|id| plan.given.contains(id)).count();
        if given > 0 {
            let reason = "a record of it is given up for another one that is like it";
            match records.len() - given {
                0 | 1 => plan.report.ended.push(left(item, reason.into())),
                _ => plan.report.left.push(left(item, format!("{reason}; look again"))),
            }
            return Ok(());
        }
        match self.side(item, choice) {
            Ok(settled) => {
                let gone = settled.alike.iter().filter(|one| !one.kept);
                plan.given.extend(gone.map(|one| one.record));
                plan.report.settled.push(settled);
            }
            Err(Error::NotFound { kind: "conflict", .. }) => {
                plan.report.ended.push(left(item, "it ended since it was looked at".into()));
            }
            // Nothing is written so far.
            Err(error) if error.class() == Class::Store => return Err(error),
            Err(error) => plan.report.left.push(left(item, error.to_string())),
        }
        Ok(())
    }

    /// What settling an item by a choice comes to, if this device may.
    fn side(&self, item: &ConflictReport, choice: &Choice) -> Result<SettledItem, Error> {
        if let Some(reason) = nothing_to_settle(item) {
            return Err(Error::Usage { reason });
        }
        let mut settled = SettledItem {
            id: item.id.clone(),
            kind: item.kind.clone(),
            record: item.record,
            name: item.name.clone(),
            field: item.field.clone(),
            before: Json::Null,
            taken: String::new(),
            after: Json::Null,
            alike: Vec::new(),
            more: item.duplicate.as_ref().map_or(0, |found| found.more),
        };
        if item.kind == KIND_DUPLICATE {
            let kept = self.kept_by(item, choice)?;
            settled.alike = sides(item, kept.as_ref());
            if let Some(Keeping { label, kept, .. }) = kept {
                (settled.taken, settled.record) = (label, kept);
            }
            return Ok(settled);
        }
        let open: Open = self.open_item(item)?;
        let label = self.label(choice, &open.found, &open.row)?;
        open.found.take(&label).map_err(|error| Error::Usage { reason: error.to_string() })?;
        let side = |label: &str| {
            let mut sides = open.found.values.iter();
            sides.find(|side| side.label.eq_ignore_ascii_case(label.trim()))
        };
        settled.after = side(&label).map_or(Json::Null, |side| side.value.to_json());
        settled.taken = label;
        settled.before = match item.kind.as_str() {
            // Of the record as a whole no field tells it.
            KIND_DELETED => side(&open.found.shown).map(|side| side.value.to_json()),
            _ => open.record.fields.get(&open.found.key).map(Value::to_json),
        }
        .unwrap_or_default();
        Ok(settled)
    }
}

/// The records of an item, and which of them stay: all where none is kept for others.
fn sides(item: &ConflictReport, keeping: Option<&Keeping>) -> Vec<SettledRecord> {
    let records = item.duplicate.iter().flat_map(|found| &found.records);
    let side = |(value, record): (&ConflictValue, &Record)| SettledRecord {
        label: value.label.clone(),
        record: record.id,
        kept: keeping.is_none_or(|keeping| !keeping.gone.contains(&record.id)),
        deleted: record.deleted,
        values: value.value.as_object().cloned().unwrap_or_default(),
    };
    item.values.iter().zip(records).map(side).collect()
}

fn left(item: &ConflictReport, reason: String) -> LeftItem {
    LeftItem {
        id: item.id.clone(),
        kind: item.kind.clone(),
        record: item.record,
        name: item.name.clone(),
        field: item.field.clone(),
        reason,
    }
}

fn left_of(item: SettledItem, reason: String) -> LeftItem {
    let SettledItem { id, kind, record, name, field, .. } = item;
    LeftItem { id, kind, record, name, field, reason }
}
