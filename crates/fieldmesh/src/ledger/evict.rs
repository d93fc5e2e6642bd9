//! Letting old records go from this device, once they are safe elsewhere.
//!
//! First this device wants less: nobody brings what it is about to drop, and nobody writes to it.
//! Then all is looked at once more, and it is said in the log what is gone. The rows go with that;
//! the log itself is written anew at leisure. A crash leaves a home that holds a month or does not.

mod missed;
mod plan;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fieldmesh_identity::Policy;
use fieldmesh_model::{DocumentId, Filter, Moment, Scope};
use fieldmesh_replica::Input;
use fieldmesh_store::{Direction, KeyRange, Tree};

use crate::api::{
    CompactReport, Evict, EvictOptions, EvictReport, HeldMonth, KeptReport, Progress,
};
use crate::clock;
use crate::entry::{Entry, Fact};
use crate::error::Error;
use crate::filter::{month, month_text};
use crate::keep::{self, Kept, LetGo};
use crate::mesh::Call;
use crate::rows;

use self::plan::Plan;
use super::Ledger;
use super::upkeep::Extent;

/// Facts that are written together.
const FACTS_PER_APPEND: usize = 64;
/// How often a device looks by itself whether a month can go.
const AUTO_INTERVAL: Duration = Duration::from_secs(24 * 3_600);
/// The most months that can be kept by a number: a hundred years.
const MONTHS_MAX: u16 = 1_200;

/// What this device holds, and when it was looked at last.
#[derive(Debug, Default)]
pub(super) struct Keeping {
    /// The first month of what goes by time.
    since: AtomicU32,
    /// The first month since which nothing is missed of what was let go before; none where that is
    /// not known.
    whole_since: AtomicU32,
    /// The collections of the crew's own of which it has said that it wants all.
    own: Mutex<Vec<u16>>,
    /// Held by whoever changes it.
    turn: Mutex<()>,
    looked: Mutex<Option<Instant>>,
}

impl Keeping {
    pub(super) fn new(since: u32, policy: &Policy) -> Self {
        let own = Mutex::new(keep::own(policy));
        let whole_since = AtomicU32::new(u32::MAX);
        Self { since: AtomicU32::new(since), whole_since, own, ..Self::default() }
    }

    fn since(&self) -> u32 {
        self.since.load(Ordering::SeqCst)
    }

    fn own(&self) -> MutexGuard<'_, Vec<u16>> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a device wants that exchanges `only` and holds what goes by time since a month.
pub(crate) fn wanted(only: &Filter, since: u32, policy: &Policy) -> Filter {
    let own = keep::own(policy);
    // What cannot be said in one greeting is not asked for.
    let said = keep::filter(only, since, &own).or_else(|_| keep::filter(only, since, &[]));
    said.unwrap_or_else(|_| Filter::nothing())
}

impl Ledger {
    /// Lets old records go, or wants them once more. Blocks.
    pub(crate) fn evict(
        &self,
        options: &EvictOptions,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<EvictReport, Error> {
        self.check_may_evict()?;
        let _turn = self.keeping.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let before = match &options.evict {
            Evict::Before { month } => parse_month(month)?,
            Evict::KeepMonths { months } => self.first_of(*months)?,
            Evict::Auto { months } => return self.set_auto(*months, options.dry_run),
            Evict::BackTo { month } => return self.want_back(parse_month(month)?, options.dry_run),
        };
        self.let_go(before, options.dry_run, progress)
    }

    /// From which month on this device holds what goes by time.
    pub(crate) fn kept(&self) -> Result<KeptReport, Error> {
        let Kept { at, auto, .. } = self.known_kept()?;
        let since = self.keeping.since();
        Ok(KeptReport {
            since: (since > 0).then(|| month_text(since)),
            at: (since > 0).then_some(at),
            collections: keep::by_time().map(str::to_owned).collect(),
            auto,
        })
    }

    /// Lets go what the setting of this home says, once a day. Blocks.
    pub(crate) fn evict_if_due(&self) {
        let is_fresh = |at: Instant| at.elapsed() < AUTO_INTERVAL;
        {
            let mut looked = self.keeping.looked.lock().unwrap_or_else(PoisonError::into_inner);
            if looked.is_some_and(is_fresh) {
                return;
            }
            *looked = Some(Instant::now());
        }
        if let Err(error) = self.evict_by_setting() {
            tracing::warn!(%error, "old records are not let go");
        }
    }

    /// Whether there are records that this device does not exchange, or not any more.
    pub(super) fn exchanges_a_part(&self) -> bool {
        !self.only.is_everything() || self.keeping.since() > 0
    }

    /// Wants all of what the crew has defined since this device last said what it wants. Blocks.
    pub(crate) fn want_what_is_defined(&self) {
        // Whoever lets something go says it as well.
        let Ok(_turn) = self.keeping.turn.try_lock() else { return };
        let since = self.keeping.since();
        if since > 0 && *self.keeping.own() != keep::own(&self.policy()) {
            self.want(since);
        }
    }

    /// Whether there are old records that may be let go, for words about a full disk.
    pub(crate) fn may_free(&self) -> bool {
        let is_old = |month: u32| month + 2 < clock::now().month();
        self.check_may_evict().is_ok() && self.oldest_held().ok().flatten().is_some_and(is_old)
    }

    /// The scope that a new record gets: one of a month that was let go counts among the first that
    /// is held, or nobody else would ever have it.
    pub(super) fn scope_held(&self, scope: Scope) -> Scope {
        if !keep::goes_by_time(scope.collection) {
            return scope;
        }
        Scope { month: scope.month.max(self.keeping.since()), ..scope }
    }

    /// Keeps anything from being written to what is being let go; the desk is to be held.
    pub(super) fn check_held(&self, scope: Scope) -> Result<(), Error> {
        if self.scope_held(scope) == scope {
            return Ok(());
        }
        Err(Error::LetGo {
            reason: format!(
                "records before {} are being let go from this device; {}",
                month_text(self.keeping.since()),
                way_back(scope.month)
            ),
        })
    }

    /// Keeps a record from being made twice.
    pub(crate) fn check_not_let_go(&self, id: DocumentId) -> Result<(), Error> {
        match keep::find(self.view(), &id)? {
            Some(_) => Err(self.not_here(id)),
            None => Ok(()),
        }
    }

    /// Why the record `id` is not here.
    pub(super) fn not_here(&self, id: DocumentId) -> Error {
        let piece = match keep::find(self.view(), &id) {
            Ok(Some(piece)) => piece,
            Ok(None) => return Error::NotFound { kind: "record", name: id.to_string() },
            Err(error) => return error,
        };
        let back = match piece.scope.month < self.keeping.since() {
            true => way_back(piece.scope.month),
            false => "a sync brings it back, if any of them still holds it".to_owned(),
        };
        let others = match piece.holders {
            0 | 1 => "a relay had signed for it".to_owned(),
            count => format!("{count} other devices had signed for it, a relay among them"),
        };
        Error::LetGo {
            reason: format!(
                "record {id} was let go from this device at {}, when it was safe: {others}; {back}",
                clock::minute(piece.at)
            ),
        }
    }

    /// Whether this home has ever let records go.
    pub(super) fn has_let_go(&self) -> Result<bool, Error> {
        Ok(self.known_kept()?.at > Moment::ZERO)
    }

    /// How many records are not here because they were let go, by collections that go by time.
    pub(crate) fn let_go_count(&self) -> Result<u64, Error> {
        keep::count(self.view(), self.keeping.since())
    }

    fn known_kept(&self) -> Result<Kept, Error> {
        Ok(match self.recall(&Fact::Kept(Kept::default()))? {
            Some(Fact::Kept(kept)) => kept,
            _ => Kept::default(),
        })
    }

    fn check_may_evict(&self) -> Result<(), Error> {
        if !self.me()?.role.is_relay() {
            return Ok(());
        }
        Err(Error::NotAllowed {
            reason: "a relay lets nothing go: others rely on it to hold everything".into(),
        })
    }

    fn set_auto(&self, auto: Option<u16>, dry_run: bool) -> Result<EvictReport, Error> {
        if let Some(months) = auto {
            check_months(months)?;
        }
        if !dry_run {
            self.remember_to_free(vec![Fact::Kept(Kept { auto, ..self.known_kept()? })])?;
            // The next tick looks at once.
            *self.keeping.looked.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        self.report(dry_run)
    }

    fn want_back(&self, since: u32, dry_run: bool) -> Result<EvictReport, Error> {
        if since < self.keeping.since() && !dry_run {
            let known = self.known_kept()?;
            // Otherwise it would go again with the next day.
            let auto =
                known.auto.filter(|months| self.first_of(*months).is_ok_and(|it| it <= since));
            let at = clock::now();
            self.remember_to_free(vec![Fact::Kept(Kept { since, at, auto, ..known })])?;
            self.want_since(since);
        }
        self.report(dry_run)
    }

    fn report(&self, dry_run: bool) -> Result<EvictReport, Error> {
        Ok(EvictReport { kept: self.kept()?, dry_run, ..EvictReport::default() })
    }

    fn evict_by_setting(&self) -> Result<(), Error> {
        let known = self.known_kept()?;
        if self.check_may_evict().is_err() || (known.auto.is_none() && known.is_swept) {
            return Ok(());
        }
        let _turn = self.keeping.turn.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(months) = known.auto {
            let report = self.let_go(self.first_of(months)?, false, &mut |_| {})?;
            let EvictReport { records, held_back, .. } = report;
            tracing::info!(records, months_held_back = held_back.len(), "old records are let go");
        } else if known.since > 0 {
            self.shed(&mut |_| {})?;
        }
        Ok(())
    }

    /// The first of the last so many months. What counts is the newest record as well as the clock,
    /// so that a clock that is years ahead lets nothing go.
    fn first_of(&self, months: u16) -> Result<u32, Error> {
        check_months(months)?;
        let newest = self.months_held(Direction::Descending)?.into_iter().max();
        let now = clock::now().month();
        let last = newest.map_or(now, |newest| newest.min(now));
        Ok(last.saturating_sub(u32::from(months) - 1))
    }

    fn oldest_held(&self) -> Result<Option<u32>, Error> {
        Ok(self.months_held(Direction::Ascending)?.into_iter().min())
    }

    /// The first month of each collection that goes by time, or the last one, of those of its
    /// partitions that comes first or last.
    fn months_held(&self, direction: Direction) -> Result<Vec<u32>, Error> {
        let timed = fieldmesh_model::catalogue::collections();
        let timed = timed.iter().filter(|known| keep::goes_by_time(known.number));
        let mut months = Vec::new();
        for collection in timed {
            let range = KeyRange::prefix(&collection.number.to_be_bytes());
            let first = rows::keys(self.view(), Tree::Leaf, range, direction).next().transpose()?;
            let scope = first.as_ref().and_then(|key| key.first_chunk::<8>());
            months.extend(scope.map(|scope| Scope::from_bytes(*scope).month));
        }
        Ok(months)
    }

    fn let_go(
        &self,
        before: u32,
        dry_run: bool,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<EvictReport, Error> {
        let mut plan = self.plan_evict(before)?;
        let mut report = self.report(dry_run)?;
        report.asked = Some(month_text(before));
        report.held_back = plan.held_back(HeldMonth::new);
        if !dry_run && !plan.is_empty() {
            plan = self.carry_out(&plan)?;
            report.held_back.splice(0..0, plan.held_back(HeldMonth::new));
        }
        (report.records, report.batches) = (plan.records(), plan.batches());
        if dry_run {
            return Ok(report);
        }
        if let Some(swept) = self.shed(progress)? {
            let CompactReport { log_before, log_after, view_before, view_after, .. } = swept;
            (report.log_before, report.log_after) = (log_before, log_after);
            (report.view_before, report.view_after) = (view_before, view_after);
            report.faults = swept.faults;
        }
        report.kept = self.kept()?;
        Ok(report)
    }

    /// Lets go what `looked` names, as far as that holds once nobody can add to it.
    fn carry_out(&self, looked: &Plan) -> Result<Plan, Error> {
        let before = self.known_kept()?;
        let old = self.keeping.since();
        self.want_since(looked.since.max(old));
        // It comes behind all that was on its way, and is durable before anything goes.
        let at = clock::now();
        let since = self.keeping.since();
        let kept = Kept { since, at, is_swept: false, ..before };
        let planned = self
            .remember_to_free(vec![Fact::Kept(kept)])
            .and_then(|()| self.plan_evict(looked.since));
        let plan = match planned {
            Ok(plan) if plan.since >= since => plan,
            // Something came in the last moment, or the disk is full: what stays is exchanged.
            planned => {
                let since = planned.as_ref().map_or(old, |plan| plan.since.max(old));
                self.want_since(since);
                self.remember_to_free(vec![Fact::Kept(Kept { since, ..kept })])?;
                planned?
            }
        };
        // What this device has signed for is void before it is true no longer.
        let restores = self.restores()?.saturating_add(1);
        let pieces: Vec<LetGo> = plan.pieces(at).collect();
        self.remember_to_free(vec![Fact::Restores(restores)])?;
        let mut gone = BTreeSet::new();
        let mut noted = Ok(());
        for some in pieces.chunks(FACTS_PER_APPEND) {
            noted = self.remember_to_free(some.iter().cloned().map(Fact::LetGo).collect());
            if noted.is_err() {
                break;
            }
            gone.extend(some.iter().filter(|piece| piece.is_last).map(|piece| piece.scope));
        }
        // What is gone is gone, also where the disk was full before the rest could be noted.
        {
            let mut desk = self.desk();
            plan.documents(&gone).for_each(|id| drop(desk.recent.remove(id)));
        }
        if let Some(mesh) = self.mesh.get() {
            mesh.urgent(Call::Input(Input::BatchesLost { ids: plan.ids(&gone).collect() }));
        }
        noted.map(|()| plan)
    }

    /// Frees the log of what was let go, if that is not done.
    fn shed(&self, progress: &mut dyn FnMut(Progress)) -> Result<Option<CompactReport>, Error> {
        let known = self.known_kept()?;
        if known.is_swept || known.since == 0 {
            return Ok(None);
        }
        // Most of what goes may lie in parts too small to be worth it each by itself.
        let report = self.rewrite_all(Extent::EveryDead, progress)?;
        if report.faults.is_empty() {
            self.remember_to_free(vec![Fact::Kept(Kept { is_swept: true, ..known })])?;
        }
        Ok(Some(report))
    }

    /// Writes facts durably, also on a disk that is too full to record anything: they lead to room.
    fn remember_to_free(&self, facts: Vec<Fact>) -> Result<(), Error> {
        let entries = facts.into_iter().map(|fact| Entry::Fact(fact).encode()).collect();
        let places =
            self.store.append_making_room(entries).map_err(|error| Error::store(&error))?;
        places.last().map_or(Ok(()), |place| self.projector.wait_noted(*place))
    }

    /// From here on nothing of earlier months is written here or comes from others.
    fn want_since(&self, since: u32) {
        {
            // Whoever writes holds the desk and has looked before, or looks after this.
            let _desk = self.desk();
            self.keeping.since.store(since, Ordering::SeqCst);
            self.keeping.whole_since.store(u32::MAX, Ordering::SeqCst);
        }
        self.want(since);
    }

    fn want(&self, since: u32) {
        let policy = self.policy();
        *self.keeping.own() = keep::own(&policy);
        if let Some(mesh) = self.mesh.get() {
            mesh.want_only(wanted(&self.only, since, &policy));
        }
    }
}

impl HeldMonth {
    fn new(month: u32, reason: String) -> Self {
        Self { month: month_text(month), reason }
    }
}

fn way_back(month: u32) -> String {
    format!("`fieldmesh evict --back-to {}` and a sync bring it back", month_text(month))
}

/// A month, or the month of a date.
fn parse_month(text: &str) -> Result<u32, Error> {
    let text = text.trim();
    let head = match text.get(..7) {
        Some(head) if text.len() == 10 && text.as_bytes()[7] == b'-' => head,
        _ => text,
    };
    month(head).ok_or_else(|| Error::Usage {
        reason: format!("{text:?} is no month; write it like 2026-03"),
    })
}

fn check_months(months: u16) -> Result<(), Error> {
    if (1..=MONTHS_MAX).contains(&months) {
        return Ok(());
    }
    Err(Error::Usage { reason: format!("keep between 1 and {MONTHS_MAX} months, not {months}") })
}
