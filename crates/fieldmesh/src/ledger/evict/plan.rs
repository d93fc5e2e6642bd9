//! Which months can go: the oldest ones, up to the first with something that must stay.
//!
//! A batch is safe where a receipt of a relay that is believed names it or what follows it, as for
//! `list --unsafe`. One thing that must stay keeps its month and all later ones: what a device
//! holds of others begins with one month, so that it can be said in a greeting.

use std::collections::{BTreeMap, BTreeSet};

use fieldmesh_model::{BatchId, DocumentId, Moment, Scope};
use fieldmesh_replica::Held;
use fieldmesh_store::{Direction, KeyRange, Place, Tree};
use fieldmesh_trie::Key;

use crate::error::Error;
use crate::filter::month_text;
use crate::harm::Harmed;
use crate::keep::{self, CHAINS_PER_PIECE, LetGo, LetGoChain, RECORDS_PER_PIECE};
use crate::rows::{self, DocumentRow, LOCAL_LEAF, LeafRow, QuarantineRow};
use crate::schema;

use super::super::Ledger;

/// Batches whose proofs are asked for together.
const PAGE: usize = 4_096;

/// Why something must stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stay {
    NotSafe,
    Conflict,
    Incomplete,
    Refused,
    Aside,
    Torn,
    Damaged,
    Disputed,
    Own,
    Unknown,
}

impl Stay {
    fn words(self, count: u64, month: u32, has_relay: bool) -> String {
        let (one, many, rest) = match self {
            Self::NotSafe if !has_relay => ("record", "records", "at no relay: the crew has none"),
            Self::NotSafe => ("record", "records", "not safe yet: `fieldmesh list --unsafe`"),
            Self::Conflict => ("record", "records", "in conflict: `fieldmesh conflicts`"),
            Self::Incomplete => ("record", "records", "not complete here"),
            Self::Refused => ("change", "changes", "refused: `fieldmesh conflicts`"),
            Self::Aside => ("batch", "batches", "kept aside: `fieldmesh conflicts`"),
            Self::Torn => ("record", "records", "partly of another month"),
            Self::Damaged => ("entry", "entries", "damaged here: `fieldmesh doctor`"),
            Self::Disputed => ("chain", "chains", "forked or with gaps: `fieldmesh status`"),
            Self::Own => {
                let rest = "of one of too many collections of the crew's own for a greeting to say";
                ("batch", "batches", rest)
            }
            Self::Unknown => ("batch", "batches", "of a collection this version does not know"),
        };
        let (noun, verb) = if count == 1 { (one, "is") } else { (many, "are") };
        format!("{count} {noun} of {} {verb} {rest}", month_text(month))
    }
}

/// What one scope holds.
#[derive(Debug, Default)]
struct Contents {
    batches: Vec<Held>,
    records: BTreeSet<DocumentId>,
    /// The least of what receipts prove.
    holders: Option<usize>,
}

/// Which months can go, and what keeps others.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// The first month that stays.
    pub(super) since: u32,
    scopes: BTreeMap<Scope, Contents>,
    stay: BTreeMap<u32, BTreeMap<Stay, u64>>,
    /// The scopes of the batches, by where they lie.
    places: BTreeMap<Place, Scope>,
    unsafe_places: BTreeSet<Place>,
    has_relay: bool,
    aside: BTreeSet<BatchId>,
}

impl Plan {
    pub(super) fn is_empty(&self) -> bool {
        self.scopes.is_empty()
    }

    pub(super) fn records(&self) -> u64 {
        self.scopes.values().map(|contents| contents.records.len() as u64).sum()
    }

    pub(super) fn batches(&self) -> u64 {
        self.scopes.values().map(|contents| contents.batches.len() as u64).sum()
    }

    /// The batches of these scopes.
    pub(super) fn ids(&self, scopes: &BTreeSet<Scope>) -> impl Iterator<Item = BatchId> {
        let batches = self.contents(scopes).flat_map(|contents| &contents.batches);
        batches.map(|held| held.id)
    }

    /// The records of these scopes.
    pub(super) fn documents(&self, scopes: &BTreeSet<Scope>) -> impl Iterator<Item = &DocumentId> {
        self.contents(scopes).flat_map(|contents| &contents.records)
    }

    fn contents(&self, scopes: &BTreeSet<Scope>) -> impl Iterator<Item = &Contents> {
        scopes.iter().filter_map(|scope| self.scopes.get(scope))
    }

    /// What keeps months, the oldest first.
    pub(super) fn held_back<T>(&self, held: impl Fn(u32, String) -> T) -> Vec<T> {
        let months = self.stay.iter().flat_map(|(month, reasons)| {
            reasons
                .iter()
                .map(|(reason, count)| (*month, reason.words(*count, *month, self.has_relay)))
        });
        months.map(|(month, reason)| held(month, reason)).collect()
    }

    /// What the log is to say of it, the oldest month first.
    pub(super) fn pieces(&self, at: Moment) -> impl Iterator<Item = LetGo> {
        let mut scopes: Vec<(&Scope, &Contents)> = self.scopes.iter().collect();
        scopes.sort_by_key(|(scope, _)| (scope.month, **scope));
        let pieces = scopes.into_iter().flat_map(|(scope, contents)| contents.pieces(*scope, at));
        pieces.collect::<Vec<_>>().into_iter()
    }

    fn stay(&mut self, month: u32, reason: Stay) {
        *self.stay.entry(month).or_default().entry(reason).or_default() += 1;
    }

    /// Where the change lies, if that is in what may go.
    fn scope_at(&self, place: Place) -> Option<Scope> {
        self.places.get(&place).copied()
    }

    /// Looks at one record: whether it may go, and whether all of it does.
    fn look_at(&mut self, id: DocumentId, row: &DocumentRow) {
        let own = self.scopes.contains_key(&row.scope);
        let months = row.changes.iter().filter_map(|change| self.scope_at(change.place));
        let torn = months.filter(|scope| *scope != row.scope).map(|scope| scope.month).min();
        if let Some(month) = torn {
            self.stay(month.min(row.scope.month), Stay::Torn);
        }
        if !own {
            return;
        }
        let month = row.scope.month;
        let is_here = |place: Place| self.scope_at(place).is_some();
        if row.changes.iter().any(|it| it.leaf != LOCAL_LEAF && !is_here(it.place)) {
            self.stay(month, Stay::Torn);
        }
        let is_unsafe = row
            .changes
            .iter()
            .any(|change| change.leaf == LOCAL_LEAF || self.unsafe_places.contains(&change.place));
        let is_open = |record: &rows::RecordRow| record.conflicts.iter().any(|it| it.open);
        if is_unsafe {
            self.stay(month, Stay::NotSafe);
        } else if row.record.as_ref().is_some_and(is_open) {
            self.stay(month, Stay::Conflict);
        } else if row.record.is_none() || !row.waiting.is_empty() {
            self.stay(month, Stay::Incomplete);
        }
        if let Some(contents) = self.scopes.get_mut(&row.scope) {
            contents.records.insert(id);
        }
    }

    /// Leaves out what is of a month that stays or of a later one.
    fn conclude(&mut self, before: u32) {
        // What nothing shows as a record must be safe as well.
        for place in std::mem::take(&mut self.unsafe_places) {
            if let Some(scope) = self.places.get(&place).copied()
                && !self.stay.contains_key(&scope.month)
            {
                self.stay(scope.month, Stay::NotSafe);
            }
        }
        let first = self.stay.keys().next().copied();
        self.since = first.map_or(before, |month| month.min(before));
        let since = self.since;
        self.scopes.retain(|scope, _| scope.month < since);
    }
}

impl Contents {
    fn pieces(&self, scope: Scope, at: Moment) -> Vec<LetGo> {
        let mut heads: BTreeMap<_, LetGoChain> = BTreeMap::new();
        for held in &self.batches {
            let Held { author, epoch, sequence, id: head, last, .. } = *held;
            let fresh = LetGoChain { author, epoch, sequence, head, last };
            let known = heads.entry((author, epoch)).or_insert(fresh);
            if known.sequence < sequence {
                *known = fresh;
            }
        }
        let chains: Vec<LetGoChain> = heads.into_values().collect();
        let mut records: Vec<[u8; 8]> = self.records.iter().map(keep::end_of).collect();
        records.sort_unstable();
        let mut chains = chains.chunks(CHAINS_PER_PIECE);
        let mut records = records.chunks(RECORDS_PER_PIECE);
        let holders = u16::try_from(self.holders.unwrap_or(0)).unwrap_or(u16::MAX);
        let mut pieces: Vec<LetGo> = Vec::new();
        loop {
            let (some, named) = (chains.next(), records.next());
            if some.is_none() && named.is_none() {
                break;
            }
            let chains = some.unwrap_or_default().to_vec();
            let records = named.unwrap_or_default().to_vec();
            pieces.push(LetGo { scope, at, holders, chains, records, is_last: false });
        }
        // A scope has a batch at least, and that a chain.
        if let Some(last) = pieces.last_mut() {
            last.is_last = true;
        }
        pieces
    }
}

impl Ledger {
    /// Looks which months before `before` can go.
    pub(super) fn plan_evict(&self, before: u32) -> Result<Plan, Error> {
        let view = self.projector.view_number();
        // What waits for a batch is in no month of anybody else.
        self.seal_all()?;
        self.catch_up()?;
        let has_relay = self.policy().members().any(|member| member.role.is_relay());
        let aside = self.aside()?.into_iter().collect();
        let mut plan = Plan { aside, has_relay, ..Plan::default() };
        self.plan_batches(&mut plan, before)?;
        self.plan_proofs(&mut plan);
        for row in rows::scan(self.view(), Tree::Document, KeyRange::all(), Direction::Ascending) {
            let (key, value) = row?;
            if let Some(id) = rows::indexed_id(&key) {
                plan.look_at(id, &rows::decode(&value)?);
            }
        }
        self.plan_faults(&mut plan)?;
        self.plan_disputes(&mut plan);
        plan.conclude(before);
        // One that was begun anew meanwhile knows of fewer reasons to stay.
        self.check_view(view)?;
        Ok(plan)
    }

    fn plan_batches(&self, plan: &mut Plan, before: u32) -> Result<(), Error> {
        let policy = self.policy();
        // What is the crew's own is held whatever its age, as wells are, where that can be said.
        let keeps_own = keep::filter(&self.only, before, &keep::own(&policy)).is_ok();
        for row in rows::scan(self.view(), Tree::Leaf, KeyRange::all(), Direction::Ascending) {
            let (key, value) = row?;
            let Ok(key) = <[u8; 46]>::try_from(key) else { continue };
            let scope = Scope::from_bytes(Key::from_bytes(key).scope());
            if scope.month >= before {
                continue;
            }
            if !keep::goes_by_time(scope.collection) {
                if schema::is_foreign(scope.collection) {
                    match policy.schema(scope.collection) {
                        Some(_) if keeps_own => {}
                        Some(_) => plan.stay(scope.month, Stay::Own),
                        None => plan.stay(scope.month, Stay::Unknown),
                    }
                }
                continue;
            }
            let row: LeafRow = rows::decode(&value)?;
            let held = row.held(&Key::from_bytes(key));
            if plan.aside.contains(&held.id) {
                plan.stay(scope.month, Stay::Aside);
            }
            plan.places.insert(row.place, scope);
            plan.scopes.entry(scope).or_default().batches.push(held);
        }
        Ok(())
    }

    fn plan_proofs(&self, plan: &mut Plan) {
        let placed: Vec<(Place, Scope)> =
            plan.places.iter().map(|(place, scope)| (*place, *scope)).collect();
        for page in placed.chunks(PAGE) {
            let ids: Vec<Option<BatchId>> =
                page.iter().map(|(place, _)| self.places.batch_at(*place)).collect();
            let proofs = self.proofs(ids.iter().flatten().copied());
            for ((place, scope), id) in page.iter().zip(ids) {
                let proof = id.and_then(|id| proofs.get(&id).copied()).unwrap_or_default();
                if !proof.is_safe {
                    plan.unsafe_places.insert(*place);
                }
                if let Some(contents) = plan.scopes.get_mut(scope) {
                    let least = contents.holders.map_or(proof.devices, |it| it.min(proof.devices));
                    contents.holders = Some(least);
                }
            }
        }
    }

    /// What is refused, damaged, or waits for something else.
    fn plan_faults(&self, plan: &mut Plan) -> Result<(), Error> {
        let (view, all, up) = (self.view(), KeyRange::all(), Direction::Ascending);
        let mut documents = Vec::new();
        for row in rows::scan(view, Tree::Quarantine, all, up) {
            let row: QuarantineRow = rows::decode(&row?.1)?;
            documents.push((row.document, Stay::Refused));
        }
        for key in rows::keys(view, Tree::Meta, KeyRange::prefix(rows::UNSEALED_PREFIX), up) {
            let change = rows::unsealed_change(&key?);
            documents.extend(change.map(|(document, _)| (document, Stay::NotSafe)));
        }
        for key in rows::keys(view, Tree::Meta, KeyRange::prefix(rows::WAITING_PREFIX), up) {
            let document = rows::waiting_document(&key?);
            documents.extend(document.map(|document| (document, Stay::Incomplete)));
        }
        for harm in self.harms()?.into_iter().filter(crate::harm::Harm::is_open) {
            match harm.what {
                Harmed::Batch { scope, .. } if plan.scopes.contains_key(&scope) => {
                    plan.stay(scope.month, Stay::Damaged);
                }
                Harmed::Change(lost) => documents.push((lost.document, Stay::Damaged)),
                Harmed::Batch { .. } | Harmed::Nothing | Harmed::Unknown | Harmed::Item(_) => {}
            }
        }
        for (document, reason) in documents {
            let scope = self.row(document)?.map(|row| row.scope);
            if let Some(scope) = scope.filter(|scope| plan.scopes.contains_key(scope)) {
                plan.stay(scope.month, reason);
            }
        }
        Ok(())
    }

    /// Chains that hold two batches at one place, or lack some.
    fn plan_disputes(&self, plan: &mut Plan) {
        let Some(snapshot) = self.mesh.get().and_then(crate::mesh::Mesh::snapshot_now) else {
            return;
        };
        let forked = snapshot.forks.iter().map(|fork| fork.chain.scope);
        let gapped = snapshot.gaps.iter().map(|(chain, _)| chain.scope);
        for scope in forked.chain(gapped) {
            if plan.scopes.contains_key(&scope) {
                plan.stay(scope.month, Stay::Disputed);
            }
        }
    }
}
