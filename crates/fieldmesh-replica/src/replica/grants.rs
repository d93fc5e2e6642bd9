//! What each link may carry: what both sides want to hold and both may read.
//!
//! For a link that may carry everything the replica's own tries are lent. For any other the part
//! that it may carry is kept as tries of its own, shared by the links with the same grant, so that
//! nothing else enters a hash or a count that the peer sees.
//!
//! A link over which less is to travel than this side wants to hold, because its bytes are dear,
//! has a filter of its own. That filter names scopes and nothing finer, as any other, so a peer
//! takes it for what it is without knowing why, whole chains travel or stay, and receipts go on
//! covering everything before a head. What such a link leaves out is counted by
//! [`Replica::held_back`]: being in step over it says nothing about that.

use std::collections::{BTreeMap, BTreeSet};

use fieldmesh_identity::{Access, Policy};
use fieldmesh_model::{DeviceId, Filter, Moment, Region, Scope};
use fieldmesh_session::{CloseReason, Input as Step, LinkId, SessionError, Side};
use fieldmesh_trie::{Key, Trie};

use super::Replica;
use crate::holdings::Holdings;
use crate::index::{Mark, Spot};
use crate::limits::{CRITICAL_LOOKED_AT_MAX, GRANTS_MAX, PARTS_RESTING_MAX};

/// What a link may carry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Grant {
    /// What this side and the peer want to hold.
    filters: [Filter; 2],
    /// What this side and the peer may read; None for one that is no member.
    reads: Option<[Access; 2]>,
    /// Whether the peer takes only batches with their signature.
    is_signed_only: bool,
}

impl Grant {
    /// Whether nothing is outside of it.
    pub(super) fn is_everything(&self) -> bool {
        self.filters.iter().all(Filter::is_everything)
            && self.reads.as_ref().is_some_and(|reads| reads.iter().all(|it| *it == Access::ALL))
    }

    pub(super) fn admits(&self, scope: &Scope) -> bool {
        self.filters.iter().all(|filter| filter.admits(scope))
            && self.reads.as_ref().is_some_and(|reads| reads.iter().all(|it| it.allows(scope)))
    }

    /// Whether it opens everything, or nothing because the peer is not known yet.
    pub(super) fn is_plain(&self) -> bool {
        self.filters.iter().all(Filter::is_everything)
            && self.reads.as_ref().is_none_or(|reads| reads.iter().all(|it| *it == Access::ALL))
    }

    fn takes(&self, holdings: &Holdings, spot: Spot) -> bool {
        let is_here = !holdings.index.has(spot, Mark::Lost);
        let is_fit = !self.is_signed_only || holdings.index.has(spot, Mark::Signed);
        is_here && is_fit && self.admits(&holdings.index.chain(spot).scope)
    }
}

/// The grants of all links, and the parts of the sets that they open.
#[derive(Debug, Default)]
pub(super) struct Grants {
    links: BTreeMap<LinkId, View>,
    /// The one that was needed last comes last.
    parts: Vec<Part>,
    /// What is lent to those who may see nothing.
    nothing: [Trie; 2],
}

/// Which tries a link is lent.
#[derive(Debug, Clone)]
struct View {
    grant: Grant,
    /// Whether those are the replica's own.
    is_whole: bool,
}

/// The batches that one grant opens.
#[derive(Debug)]
struct Part {
    grant: Grant,
    /// Those that count, and those that do not.
    tries: [Trie; 2],
}

/// There are too many different grants already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooManyGrants;

impl Grants {
    pub(super) fn of(&self, link: LinkId) -> Option<&Grant> {
        self.links.get(&link).map(|view| &view.grant)
    }

    /// Whether a batch in `scope` may travel over `link`.
    pub(super) fn admits(&self, link: LinkId, scope: &Scope) -> bool {
        self.of(link).is_some_and(|grant| grant.admits(scope))
    }

    /// Whether the peer at the other end of `link` may be sent or told of the batch at `spot`.
    pub(super) fn shows(&self, link: LinkId, holdings: &Holdings, spot: Spot) -> bool {
        self.of(link).is_some_and(|grant| grant.takes(holdings, spot))
    }

    /// Gives `link` this grant; true if that opens something else than before.
    pub(super) fn give(
        &mut self,
        link: LinkId,
        grant: Grant,
        holdings: &Holdings,
    ) -> Result<bool, TooManyGrants> {
        let view = View::of(grant, holdings);
        let before = self.links.get(&link);
        if before.is_some_and(|it| it.grant == view.grant && it.is_whole == view.is_whole) {
            return Ok(false);
        }
        self.forget(link);
        if self.lacks(&view) {
            if self.parts.len() >= GRANTS_MAX {
                self.drop_unused(0);
            }
            if self.parts.len() >= GRANTS_MAX {
                return Err(TooManyGrants);
            }
            self.parts.push(Part::build(view.grant.clone(), holdings));
        }
        self.links.insert(link, view);
        Ok(true)
    }

    /// Whether all that is held has to be looked at for this grant.
    pub(super) fn needs_walk(&self, grant: &Grant, holdings: &Holdings) -> bool {
        self.lacks(&View::of(grant.clone(), holdings))
    }

    fn lacks(&self, view: &View) -> bool {
        let needs_part = !view.is_whole && view.grant.reads.is_some();
        needs_part && self.parts.iter().all(|part| part.grant != view.grant)
    }

    /// The link is gone; its part stays for a while, for the same peer may come again.
    pub(super) fn forget(&mut self, link: LinkId) {
        let Some(view) = self.links.remove(&link) else { return };
        if let Some(at) = self.parts.iter().position(|part| part.grant == view.grant) {
            let part = self.parts.remove(at);
            self.parts.push(part);
        }
        self.drop_unused(PARTS_RESTING_MAX);
    }

    /// The batch at `spot` is new, has its signature, or stands elsewhere than before.
    pub(super) fn place(&mut self, holdings: &Holdings, spot: Spot) {
        for part in self.parts.iter_mut().filter(|part| part.grant.takes(holdings, spot)) {
            part.place(holdings, spot);
        }
    }

    /// The batch at `spot` is in no set any more.
    pub(super) fn remove(&mut self, holdings: &Holdings, spot: Spot) {
        let key = holdings.index.key(spot);
        for trie in self.parts.iter_mut().flat_map(|part| &mut part.tries) {
            trie.remove(&key);
        }
    }

    pub(super) fn rehash(&mut self) {
        self.parts.iter_mut().flat_map(|part| &mut part.tries).for_each(Trie::rehash);
    }

    /// The tries for `link`: the batches that count, and those that do not.
    pub(super) fn lend<'a>(
        &'a mut self,
        link: LinkId,
        data: &'a mut Trie,
        quarantine: &'a mut Trie,
    ) -> (&'a mut Trie, &'a mut Trie) {
        let view = self.links.get(&link);
        if view.is_some_and(|view| view.is_whole) {
            return (data, quarantine);
        }
        let part =
            view.and_then(|view| self.parts.iter_mut().find(|part| part.grant == view.grant));
        let [data, quarantine] = part.map_or(&mut self.nothing, |part| &mut part.tries);
        (data, quarantine)
    }

    /// Drops parts that no link has, but for so many that were needed last.
    fn drop_unused(&mut self, kept: usize) {
        let links = &self.links;
        let is_used =
            |part: &Part| links.values().any(|view| !view.is_whole && view.grant == part.grant);
        let unused = self.parts.iter().filter(|part| !is_used(part)).count();
        let mut excess = unused.saturating_sub(kept);
        self.parts.retain(|part| {
            let stays = excess == 0 || is_used(part);
            excess -= usize::from(!stays);
            stays
        });
    }
}

impl View {
    fn of(grant: Grant, holdings: &Holdings) -> Self {
        let is_signed_enough = !grant.is_signed_only || holdings.is_all_signed();
        Self { is_whole: grant.is_everything() && is_signed_enough, grant }
    }
}

/// The same filter, as everything if one of its regions admits all.
fn normal(filter: &Filter) -> Filter {
    let all = Region { collection: None, partition: None, since: 0 };
    if filter.regions().any(|region| *region == all) {
        return Filter::everything();
    }
    filter.clone()
}

impl Part {
    fn build(grant: Grant, holdings: &Holdings) -> Self {
        let mut part = Self { grant, tries: <[Trie; 2]>::default() };
        for spot in holdings.index.spots() {
            if part.grant.takes(holdings, spot) {
                part.place(holdings, spot);
            }
        }
        part.tries.iter_mut().for_each(Trie::rehash);
        part
    }

    fn place(&mut self, holdings: &Holdings, spot: Spot) {
        let key: Key = holdings.index.key(spot);
        let [data, quarantine] = &mut self.tries;
        let (to, from) = match holdings.index.has(spot, Mark::Aside) {
            true => (quarantine, data),
            false => (data, quarantine),
        };
        from.remove(&key);
        to.insert(key);
    }
}

impl Replica {
    /// What the link may carry by the policy that is in force; before the peer has introduced
    /// itself, what it may carry if the peer wants everything.
    pub(super) fn grant_of(&self, id: LinkId) -> Option<Grant> {
        let link = self.links.get(&id)?;
        let greeting = link.greeting.as_ref();
        let theirs = greeting.map_or_else(Filter::everything, |greeting| greeting.filter.clone());
        Some(Grant {
            filters: [&link.filter, &theirs].map(normal),
            reads: self.reads_with(&link.peer),
            is_signed_only: greeting.is_some() && !link.takes_runs(),
        })
    }

    /// What this side wants over a link for which `narrower` is asked.
    pub(super) fn filter_of(&self, narrower: Option<&Filter>) -> Filter {
        let Some(narrower) = narrower else { return self.filter.clone() };
        // What cannot be said in one greeting is not asked for; it waits with the rest.
        self.filter.intersection(narrower).unwrap_or_else(|_| Filter::nothing())
    }

    /// The batches that count here and that both sides of the link may hold, but for the filter
    /// that this link alone has, as far as the peer's store is not known to hold them. What lies
    /// before a fork counts for each of its ends.
    pub fn held_back(&self, id: LinkId) -> u64 {
        let Some((mut grant, link)) = self.grant_of(id).zip(self.links.get(&id)) else { return 0 };
        if link.filter == self.filter {
            return 0;
        }
        grant.filters[0] = self.filter.clone();
        let index = &self.holdings.index;
        let place = self.place_of(id);
        let is_held = |spot: &Spot| {
            let place = place.as_ref();
            place.is_some_and(|place| self.proofs.acknowledged(index, place, *spot).is_some())
        };
        let is_outside = |scope: &Scope| grant.admits(scope) && !link.filter.admits(scope);
        let tips = index.tips().filter(|tip| is_outside(&index.chain(*tip).scope));
        let waiting = tips.flat_map(|tip| {
            std::iter::successors(Some(tip), |spot| index.previous(*spot))
                .take_while(|spot| !is_held(spot))
        });
        waiting.filter(|spot| !index.has(*spot, Mark::Aside)).count() as u64
    }

    /// The scopes of the critical batches that came last and that no relay is known to hold.
    pub fn critical_scopes(&self) -> BTreeSet<Scope> {
        let index = &self.holdings.index;
        let counting = index.critical().filter(|spot| !index.has(*spot, Mark::Aside));
        let last = counting.take(CRITICAL_LOOKED_AT_MAX);
        let waiting = last.filter(|spot| !self.proof(&index.id(*spot)).is_safe);
        waiting.map(|spot| index.chain(spot).scope).collect()
    }

    /// The same as [`Self::grant`] because of what the peer does: it may connect again and again,
    /// and ask for another part each time.
    pub(super) fn grant_for_peer(&mut self, now: Moment, id: LinkId) -> Result<bool, CloseReason> {
        let Some((grant, link)) = self.grant_of(id).zip(self.links.get(&id)) else {
            return Ok(false);
        };
        let batches = self.len() + self.quarantine_len();
        // Before the greeting it is this side that has dialled.
        if link.greeting.is_some()
            && self.grants.needs_walk(&grant, &self.holdings)
            && !self.walks.takes(now, link.peer, batches)
        {
            return Err(SessionError::TooManyGrants { limit: GRANTS_MAX }.into());
        }
        self.grant(id)
    }

    /// Gives a link the grant that it has by now; true if that is another than before.
    ///
    /// # Errors
    ///
    /// The link cannot go on: there are too many grants, or the peer knows of no parts of the sets
    /// and would take what it is given for everything.
    pub(super) fn grant(&mut self, id: LinkId) -> Result<bool, CloseReason> {
        let Some((grant, link)) = self.grant_of(id).zip(self.links.get(&id)) else {
            return Ok(false);
        };
        // Who has connected and not said yet what it wants is lent nothing.
        if link.side == Side::Accepted && link.greeting.is_none() {
            return Ok(false);
        }
        if let Some(greeting) = link.greeting.as_ref().filter(|_| !link.takes_runs())
            && !grant.is_plain()
        {
            let (min, max) = (greeting.version, greeting.version);
            return Err(SessionError::Version { min, max }.into());
        }
        let given = self.grants.give(id, grant, &self.holdings);
        let too_many = SessionError::TooManyGrants { limit: GRANTS_MAX };
        let is_changed = given.map_err(|TooManyGrants| too_many)?;
        if let Some(link) = self.links.get_mut(&id).filter(|_| is_changed) {
            link.receipts.reopen();
        }
        Ok(is_changed)
    }

    /// Computes the grant of a link anew; a link whose conversation cannot go on is closed.
    pub(super) fn regrant(&mut self, now: Moment, id: LinkId) {
        let had_word = self.grants.of(id).is_some_and(|grant| grant.reads.is_some());
        let granted = self.grant(id);
        let has_word = self.grants.of(id).is_some_and(|grant| grant.reads.is_some());
        match granted {
            // What is on its way to the peer is not for it any longer.
            Ok(true) if had_word && !has_word => {
                self.close(now, id, SessionError::NotMember.into());
            }
            Ok(true) => self.step(now, id, Step::Check),
            Ok(false) => {}
            Err(reason) => self.close(now, id, reason),
        }
    }

    /// Computes all grants anew.
    pub(super) fn regrant_all(&mut self, now: Moment) {
        let ids: Vec<LinkId> = self.links.keys().copied().collect();
        for id in ids {
            self.regrant(now, id);
        }
    }

    /// Whether this side takes in what lies in `scope`, whoever brings it.
    pub(crate) fn wants(&self, scope: &Scope) -> bool {
        let own = self.policy.member(&self.config.device);
        self.filter.admits(scope) && own.is_none_or(|member| member.read.allows(scope))
    }

    /// What this side and `peer` may read.
    ///
    /// This side's own rights bind it as soon as its certificate is here.
    fn reads_with(&self, peer: &DeviceId) -> Option<[Access; 2]> {
        let policy: &Policy = &self.policy;
        let own = policy.member(&self.config.device);
        let own = own.map_or(Access::ALL, |member| member.read.clone());
        Some([own, policy.member(peer)?.read.clone()])
    }
}

#[cfg(test)]
mod tests;
