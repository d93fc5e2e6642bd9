//! Settling many items of the inbox alike, with a look at what would come of it first.

use fieldmesh_model::Value;
use serde_json::Value as Json;

use crate::api::{
    Choice, Class, ConflictQuery, ConflictReport, LeftItem, Resolution, ResolveAll,
    ResolveAllReport, SettledItem,
};
use crate::error::Error;

use super::Ledger;
use super::conflicts::{Open, nothing_to_settle};
use super::duplicates::KIND_DUPLICATE;
use super::inbox::{KIND_PARALLEL, KIND_QUARANTINE, KIND_RULE};

impl Ledger {
    /// Settles every open item that a query gives, or shows what that would do. One that cannot be
    /// settled so stays as it is, and the report says why; the others are settled all the same.
    pub(crate) fn settle_conflicts(&self, all: &ResolveAll) -> Result<ResolveAllReport, Error> {
        let kind = all.query.kind.as_deref();
        if let Some(kind @ (KIND_RULE | KIND_PARALLEL | KIND_QUARANTINE)) = kind {
            let reason =
                format!("items of the kind {kind} have no sides of which one could be taken");
            return Err(Error::Usage { reason });
        }
        let mut report = ResolveAllReport::default();
        let mut query = ConflictQuery { closed: false, ..all.query.clone() };
        let is_meant = |item: &&ConflictReport| {
            item.open
                && ![KIND_QUARANTINE, KIND_RULE].contains(&&*item.kind)
                && (kind == Some(KIND_DUPLICATE) || item.kind != KIND_DUPLICATE)
        };
        loop {
            let page = self.conflicts(&query)?;
            let Some(last) = page.last() else { break };
            query.after = Some(last.id.clone());
            for item in page.iter().filter(is_meant) {
                // One that was settled a moment ago may have ended this one too: it is read anew.
                let read = self.conflict(&item.id);
                let side = read.and_then(|item| self.side(&item, &all.choice));
                let settled = side.and_then(|settled| {
                    if !all.dry_run {
                        self.settle_conflict(&item.id, &Resolution::Take(all.choice.clone()))?;
                    }
                    Ok(settled)
                });
                match settled {
                    Ok(settled) => report.settled.push(settled),
                    // One before it has ended it as well.
                    Err(Error::NotFound { kind: "conflict", .. }) => {}
                    // Where the store fails from the start, that is the answer.
                    Err(error) if report.settled.is_empty() && error.class() == Class::Store => {
                        return Err(error);
                    }
                    Err(error) => report.left.push(left(item, error.to_string())),
                }
            }
        }
        report.written = !all.dry_run && !report.settled.is_empty();
        Ok(report)
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
        };
        if item.kind == KIND_DUPLICATE {
            let kept = self.kept_by(item, choice)?;
            if let Some((label, record)) = kept {
                (settled.taken, settled.record) = (label, record);
            }
            return Ok(settled);
        }
        let open: Open = self.open_item(item)?;
        let label = self.label(choice, &open.found, &open.row)?;
        open.found.take(&label).map_err(|error| Error::Usage { reason: error.to_string() })?;
        let mut sides = open.found.values.iter();
        let side = sides.find(|side| side.label.eq_ignore_ascii_case(label.trim()));
        settled.after = side.map_or(Json::Null, |side| side.value.to_json());
        settled.taken = label;
        let before = open.record.fields.get(&open.found.key);
        settled.before = before.map_or(Json::Null, Value::to_json);
        Ok(settled)
    }
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
