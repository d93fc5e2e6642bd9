//! A query whose words have been understood.

use std::collections::BTreeSet;
use std::sync::Arc;

use fieldmesh_identity::Policy;
use fieldmesh_model::schema::{Collection, Kind};
use fieldmesh_model::{DeviceId, DocumentId, Moment, UserId};

use crate::api::{ListQuery, meant};
use crate::error::Error;
use crate::ledger::Ledger;
use crate::projection::{
    field_hash, indexing, is_declared, is_indexed, record_time, waiting_prefix,
};
use crate::rows::{self, DocumentRow, RecordRow};
use crate::schema;

use super::condition::Condition;
use super::order::{Order, Position};
use super::{Read, cursor};

/// What is looked for, where, and in which order.
pub(in crate::ledger) struct Plan {
    pub(in crate::ledger) schema: Arc<Collection>,
    conditions: Vec<Condition>,
    authors: Option<BTreeSet<UserId>>,
    devices: Option<BTreeSet<DeviceId>>,
    pub(super) since: Option<Moment>,
    pub(super) until: Option<Moment>,
    deleted: bool,
    pub(super) in_conflict: bool,
    pub(super) not_safe: bool,
    /// Whether records count that stand behind another one.
    pub(super) duplicates: bool,
    /// Whether those are wanted that do not count and wait for somebody.
    awaiting: bool,
    order: Order,
    /// Where the page before ended.
    pub(super) behind: Option<Position>,
    pub(super) limit: usize,
    /// The beginnings of the index keys under which the records lie, each in the order of time.
    pub(super) prefixes: Vec<Vec<u8>>,
}

impl Ledger {
    /// Understands a query and has `read` answer it, both by one policy: once more where another
    /// schema of the collection came in between.
    pub(in crate::ledger) fn planned<T>(
        &self,
        query: &ListQuery,
        mut read: impl FnMut(&Plan) -> Result<T, Error>,
    ) -> Result<(Plan, T), Error> {
        let number = self.schema_named(&query.collection)?.number;
        self.steadily(number, |policy| {
            let plan = self.plan_by(policy, query)?;
            let found = read(&plan)?;
            Ok((plan, found))
        })
    }

    /// Understands a query.
    pub(in crate::ledger) fn plan(&self, query: &ListQuery) -> Result<Plan, Error> {
        Ok(self.planned(query, |_| Ok(()))?.0)
    }

    pub(in crate::ledger) fn plan_by(
        &self,
        policy: &Policy,
        query: &ListQuery,
    ) -> Result<Plan, Error> {
        let schema = schema::named(policy, &query.collection)?;
        let mut conditions = Vec::new();
        if let Some(site) = &query.site {
            conditions.push(self.at_site(&schema, site)?);
        }
        for text in &query.filters {
            conditions.push(self.condition(&schema, text)?);
        }
        if query.limit == Some(0) {
            let reason = "a limit of 0 asks for nothing; give 1 or more, or count what there is";
            return Err(Error::Usage { reason: reason.into() });
        }
        if query.awaiting && query.deleted {
            let reason = "what awaits approval is asked for apart from what is deleted; leave one \
                          of the two out";
            return Err(Error::Usage { reason: reason.into() });
        }
        let order = Order::parse(&schema, query.sort.as_deref())?;
        let behind = query.cursor.as_deref();
        let behind =
            behind.map(|text| cursor::read(&self.store, query, &schema, text)).transpose()?;
        Ok(Plan {
            prefixes: match query.awaiting {
                true => vec![waiting_prefix(&self.store, schema.number)],
                false => self.prefixes(&schema, &conditions)?,
            },
            awaiting: query.awaiting,
            schema,
            conditions,
            authors: query.author.as_deref().map(|name| self.people(name)).transpose()?,
            devices: query.device.as_deref().map(|name| self.devices_named(name)).transpose()?,
            since: query.since,
            until: query.until,
            deleted: query.deleted,
            in_conflict: query.in_conflict,
            not_safe: query.not_safe,
            duplicates: query.duplicates,
            order,
            behind,
            limit: query.limit.unwrap_or(usize::MAX),
        })
    }

    /// The beginnings of the keys of the first condition that an index answers.
    fn prefixes(
        &self,
        schema: &Collection,
        conditions: &[Condition],
    ) -> Result<Vec<Vec<u8>>, Error> {
        for condition in conditions {
            let Some(values) = condition.values() else { continue };
            // What is cleared is in no index.
            let is_findable = values.iter().all(|value| !value.is_cleared());
            if is_findable && self.has_index(schema, &condition.key)? {
                let hashes: BTreeSet<[u8; 16]> = values
                    .iter()
                    .map(|value| field_hash(&self.store, schema.number, &condition.key, value))
                    .collect();
                return Ok(hashes.into_iter().map(rows::value_prefix).collect());
            }
        }
        Ok(vec![rows::time_prefix(schema.number)])
    }

    /// Whether every record that holds a value under `key` can be found by it.
    fn has_index(&self, schema: &Collection, key: &str) -> Result<bool, Error> {
        if is_indexed(schema, key) {
            return Ok(true);
        }
        // The rows of a tenant's own collection are all of one schema; see `steadily`.
        let is_whole = || match schema::is_foreign(schema.number) {
            true => Ok(true),
            false => indexing::is_whole(self.view(), schema.number, key),
        };
        Ok(is_declared(schema, key) && is_whole()?)
    }

    /// Records about a place: those that refer to the thing that their collection is about.
    fn at_site(&self, schema: &Collection, name: &str) -> Result<Condition, Error> {
        let (policy, of) = (self.policy(), schema.number);
        let site = schema.fields.iter().find_map(|field| match &field.kind {
            Kind::Reference { collection }
                if collection != "user" && *collection != schema.name =>
            {
                Some((field.key.clone(), schema::referred(&policy, of, collection)?))
            }
            _ => None,
        });
        let (key, target) = site.ok_or_else(|| Error::Usage {
            reason: format!("{} records are about no site; leave it out", schema.name),
        })?;
        // What was recorded about a site stays when the site itself is deleted.
        let found = match self.resolve_in(&target, name)? {
            None => self.deleted_named(&target, name)?,
            found => found,
        };
        let not_found = || Error::NotFound { kind: "site", name: name.to_owned() };
        found.map(|id| Condition::refers(key, id.to_string())).ok_or_else(not_found)
    }

    /// The people who are called `name`.
    fn people(&self, name: &str) -> Result<BTreeSet<UserId>, Error> {
        let wanted = name.trim().to_lowercase();
        let policy = self.policy();
        let found: BTreeSet<UserId> = policy
            .everybody()
            .filter(|member| {
                member.user_name.to_lowercase() == wanted
                    || member.email.to_lowercase() == wanted
                    || member.user.to_string() == wanted
            })
            .map(|member| member.user)
            .collect();
        if found.is_empty() {
            return Err(Error::NotFound { kind: "person", name: name.to_owned() });
        }
        Ok(found)
    }

    fn devices_named(&self, name: &str) -> Result<BTreeSet<DeviceId>, Error> {
        let policy = self.policy();
        let known: Vec<_> = policy.everybody().collect();
        let names = known.iter().map(|member| (member.device.to_string(), member.name.as_str()));
        let found: BTreeSet<DeviceId> =
            meant(names, name.trim()).into_iter().map(|index| known[index].device).collect();
        if found.is_empty() {
            return Err(Error::NotFound { kind: "device", name: name.to_owned() });
        }
        Ok(found)
    }
}

impl Plan {
    /// Whether it asks for all records of the collection that are not deleted.
    pub(super) fn is_everything(&self) -> bool {
        let has_bounds = self.since.is_some() || self.until.is_some();
        let is_picky = self.deleted || self.in_conflict || self.not_safe || self.awaiting;
        self.conditions.is_empty()
            && self.authors.is_none()
            && self.devices.is_none()
            && !has_bounds
            && !is_picky
    }

    /// Whether records that stand behind another one are shown as well.
    pub(in crate::ledger) const fn shows_all_alike(&self) -> bool {
        self.duplicates || self.awaiting || self.not_safe
    }

    /// Whether of records that are alike some may fit and others not, so that another one than the
    /// first of them is the first that fits.
    pub(in crate::ledger) fn tells_alike_apart(&self) -> bool {
        let is_shared = |key: &str| {
            self.schema.unique.iter().all(|unique| unique.fields.iter().any(|field| field == key))
        };
        let has_bounds = self.since.is_some() || self.until.is_some();
        let is_timely = !has_bounds || self.schema.time_field.as_deref().is_some_and(is_shared);
        self.authors.is_some()
            || self.devices.is_some()
            || !is_timely
            || !self.conditions.iter().all(|condition| is_shared(&condition.key))
    }

    /// Whether an index has the answer in its order.
    pub(super) const fn is_indexed(&self) -> bool {
        self.order.is_indexed()
    }

    pub(super) const fn is_down(&self) -> bool {
        self.order.is_down
    }

    /// Whether a record belongs to the answer, on whatever page.
    pub(in crate::ledger) fn admits(&self, row: &DocumentRow, record: &RecordRow) -> bool {
        let is_wanted = match (self.awaiting, self.deleted) {
            (true, _) => record.waits(),
            (false, true) => record.deleted,
            (false, false) => record.is_live(),
        };
        if row.scope.collection != self.schema.number || !is_wanted {
            return false;
        }
        let time = record_time(&self.schema, record);
        self.since.is_none_or(|since| since <= time)
            && self.until.is_none_or(|until| time < until)
            && (!self.in_conflict || record.conflicts.iter().any(|conflict| conflict.open))
            && self.authors.as_ref().is_none_or(|authors| authors.contains(&record.created_by))
            && self.devices.as_ref().is_none_or(|devices| devices.contains(&record.device))
            && self.conditions.iter().all(|condition| condition.matches(&record.fields))
    }

    /// Whether a record lies behind the page before.
    pub(super) fn is_behind(&self, id: DocumentId, record: &RecordRow) -> bool {
        let Some(behind) = &self.behind else { return true };
        self.order.compare(behind, &self.position(id, record)).is_lt()
    }

    pub(super) fn position(&self, id: DocumentId, record: &RecordRow) -> Position {
        self.order.position(&self.schema, id, record)
    }

    /// Sorts what was found and drops all but the first.
    pub(super) fn keep_first(&self, records: &mut Vec<Read>, count: usize) {
        records.sort_by_cached_key(|(id, _, record)| Placed(self, self.position(*id, record)));
        records.truncate(count);
    }
}

/// A position that knows its order.
struct Placed<'a>(&'a Plan, Position);

impl Ord for Placed<'_> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.order.compare(&self.1, &other.1)
    }
}

impl PartialOrd for Placed<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Placed<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Placed<'_> {}
