//! Which items belong to the set that replicas keep, compare and pass on.
//!
//! An item belongs to the set if its signer may be heard and there is room for what it says. Both
//! follow from the set alone, never from the order of arrival, and both are settled from the top:
//! who may be heard follows from items of higher ranks, and so does which items a cut saves. Within
//! one rank a fixed order decides what has room, so that what was left out once is left out of
//! every larger set as well, and replicas that dropped it agree with those that never saw it.
//!
//! A rank is given here by every certificate that was ever signed by somebody who could, revoked
//! since or not. So a revocation takes nobody's items away, only a signer beyond its own share can
//! drive out certificates that it gave, and an item that comes before its signer's is asked for
//! again. What an item says is not asked: later versions know kinds that this one does not, and the
//! share of a signer bounds them all.
//!
//! Why replicas agree: say two of them exchanged all that each admits. Only the fixed order limits
//! the first rank, so both hold the same of it, and with it the same ranks and cuts of the next one.
//! There each signer's share, and then the whole rank, is cut off in one order that both know; an
//! item that one of them lacks has as many before it there as in the other. So it goes on down.
//!
//! What stays possible: who has the key of a device can drive out what it said before, until a
//! higher rank sets a cut. Whoever stays within its share loses nothing to others while there is
//! room for all.

use std::collections::{BTreeMap, BTreeSet};

use fieldmesh_model::{DeviceId, ItemId, Role};

use super::Rank;
use crate::Item;
use crate::statement::{Cut, Genesis, Statement};

/// The most items of a tenant; those of higher ranks have room first.
pub const ITEMS_MAX: usize = 65_536;
/// The most items of one administrator's device.
pub const ITEMS_PER_ADMIN_MAX: usize = 16_384;
/// The most items of one device with an issuing right.
pub const ITEMS_PER_ISSUER_MAX: usize = 512;
/// The most items of any other device. It says nothing but that devices of its own are lost.
pub const ITEMS_PER_MEMBER_MAX: usize = 32;

/// Why an item does not belong to the set as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unheard {
    /// No certificate for its signer is in the set; it belongs to the set once one is.
    #[error("its signer {signer} has no certificate that is known here")]
    UnknownSigner {
        /// The signer's device.
        signer: DeviceId,
    },
    /// Its signer has said as much as it may, and this comes last.
    #[error("its signer has {count} policy items that go before it, which is its limit")]
    ShareFull {
        /// The number of items.
        count: usize,
    },
    /// The set is full, and this comes last.
    #[error("{count} policy items go before it, which is the limit")]
    Full {
        /// The number of items.
        count: usize,
    },
}

/// How many items the set has room for. All programs have to agree on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) items: usize,
    pub(super) per_admin: usize,
    pub(super) per_issuer: usize,
    pub(super) per_member: usize,
}

impl Limits {
    pub(super) const PROTOCOL: Self = Self {
        items: ITEMS_MAX,
        per_admin: ITEMS_PER_ADMIN_MAX,
        per_issuer: ITEMS_PER_ISSUER_MAX,
        per_member: ITEMS_PER_MEMBER_MAX,
    };

    const fn share(&self, rank: Rank) -> usize {
        match rank {
            Rank::Recovery | Rank::Authority => self.items,
            Rank::Admin => self.per_admin,
            Rank::Issuer => self.per_issuer,
            Rank::Rest => self.per_member,
        }
    }
}

/// The items that belong to the set, and who may be heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Roll {
    limits: Limits,
    held: BTreeSet<ItemId>,
    speakers: BTreeMap<DeviceId, Speaker>,
    /// The last turn in each rank that has items.
    lasts: BTreeMap<Rank, Turn>,
}

/// A device whose items may belong to the set.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Speaker {
    rank: Rank,
    /// How many of its items do.
    count: usize,
    /// The last of them in their order.
    last: Option<Turn>,
    /// An item that a cut saves and that is not here.
    awaited: Option<Turn>,
}

/// The order in which items of one rank have room: first what a cut saves, from the cut backwards.
///
/// The rest goes by id. Whoever signs many items and sends them by falling ids drives out one with
/// each, and no fixed order prevents that; so replicas take only so many of one signer in an hour
/// that [`Roll::displaces`] tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    depth: usize,
    item: ItemId,
}

/// The cut that was set for a device; of several a revocation's, then as with everything else that
/// is said more than once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Ruling {
    is_revocation: bool,
    rank: Rank,
    version: u32,
    by: std::cmp::Reverse<ItemId>,
}

/// What each rank leaves to those below it.
struct Calling<'a> {
    signed: BTreeMap<DeviceId, Vec<&'a Item>>,
    cuts: BTreeMap<DeviceId, (Ruling, Option<Cut>)>,
}

impl Roll {
    /// Those of `items`, all of one tenant, that belong to the set which begins with `genesis`.
    pub(super) fn call(
        items: &BTreeMap<ItemId, &Item>,
        genesis: Option<(ItemId, &Genesis)>,
        limits: Limits,
    ) -> Self {
        let mut roll = Self {
            limits,
            held: BTreeSet::new(),
            speakers: BTreeMap::new(),
            lasts: BTreeMap::new(),
        };
        let Some((first, genesis)) = genesis else { return roll };
        roll.held.insert(first);
        roll.hear_of(DeviceId::of_key(&genesis.authority), Rank::Authority);
        roll.hear_of(DeviceId::of_key(&genesis.recovery), Rank::Recovery);
        let mut calling = Calling { signed: BTreeMap::new(), cuts: BTreeMap::new() };
        let mut devices: BTreeMap<&[u8; 32], DeviceId> = BTreeMap::new();
        for item in items.values().filter(|item| item.id() != first) {
            let key = item.signer();
            let device = *devices.entry(key).or_insert_with(|| DeviceId::of_key(key));
            calling.signed.entry(device).or_default().push(item);
        }
        for rank in Rank::DESCENDING {
            roll.call_rank(rank, items, &mut calling);
        }
        roll
    }

    pub(super) fn holds(&self, item: &ItemId) -> bool {
        self.held.contains(item)
    }

    /// The highest rank that `device` was ever given.
    pub(super) fn rank(&self, device: &DeviceId) -> Option<Rank> {
        self.speakers.get(device).map(|speaker| speaker.rank)
    }

    /// How many items of `device` may belong to the set.
    pub(super) fn share(&self, device: &DeviceId) -> usize {
        self.rank(device).map_or(0, |rank| self.limits.share(rank))
    }

    /// Whether `item` belongs to the set that has it and all that is in this one.
    pub(super) fn admits(&self, item: &Item) -> Result<(), Unheard> {
        let (id, signer) = (item.id(), DeviceId::of_key(item.signer()));
        let begins = self.held.is_empty() && is_genesis(item);
        if begins || self.held.contains(&id) {
            return Ok(());
        }
        let Some(speaker) = self.speakers.get(&signer) else {
            return Err(Unheard::UnknownSigner { signer });
        };
        let awaited = speaker.awaited.filter(|turn| turn.item == id);
        let turn = awaited.unwrap_or(Turn { depth: usize::MAX, item: id });
        let count = speaker.count;
        if count >= self.limits.share(speaker.rank) {
            // Where it goes before one of its signer it takes that one's room.
            let goes_before = speaker.last.is_some_and(|last| turn < last);
            return goes_before.then_some(()).ok_or(Unheard::ShareFull { count });
        }
        let count = self.held.len();
        let (lowest, last) = match self.lasts.first_key_value() {
            Some((rank, last)) if count >= self.limits.items => (*rank, last),
            _ => return Ok(()),
        };
        let goes_before = lowest < speaker.rank || (lowest == speaker.rank && turn < *last);
        goes_before.then_some(()).ok_or(Unheard::Full { count })
    }

    /// Whether `item`, which the set admits, drives out another as soon as it comes. What a cut saves
    /// does not count as such: a higher rank asked for it.
    pub(super) fn displaces(&self, item: &Item) -> bool {
        let Some(speaker) = self.speakers.get(&DeviceId::of_key(item.signer())) else {
            return false;
        };
        let is_awaited = speaker.awaited.is_some_and(|turn| turn.item == item.id());
        let is_full = speaker.count >= self.limits.share(speaker.rank)
            || self.held.len() >= self.limits.items;
        is_full && !is_awaited
    }

    /// Whether something may belong to this set that did not belong to `before`, beside what fills
    /// its rooms.
    pub(super) fn hears_more_than(&self, before: &Self) -> bool {
        let heard = |roll: &Self| -> Vec<(DeviceId, Rank, Option<Turn>)> {
            let speakers = roll.speakers.iter();
            speakers.map(|(device, it)| (*device, it.rank, it.awaited)).collect()
        };
        heard(self) != heard(before)
    }

    /// Gives room to the items of `rank`, and listens to what they say of those below.
    fn call_rank<'a>(
        &mut self,
        rank: Rank,
        items: &BTreeMap<ItemId, &'a Item>,
        calling: &mut Calling<'a>,
    ) {
        let share = self.limits.share(rank);
        let mut turns: Vec<(Turn, DeviceId)> = Vec::new();
        let mut saved: BTreeMap<DeviceId, Vec<ItemId>> = BTreeMap::new();
        for (device, _) in self.speakers.iter().filter(|(_, it)| it.rank == rank) {
            let cut = calling.cuts.get(device).and_then(|(_, cut)| *cut);
            let chain = saved.entry(*device).or_insert(saved_by(cut, device, items, share));
            let depths: BTreeMap<&ItemId, usize> =
                chain.iter().enumerate().map(|(depth, id)| (id, depth)).collect();
            let turn = |item: &&Item| {
                let depth = depths.get(&item.id()).copied().unwrap_or(usize::MAX);
                Turn { depth, item: item.id() }
            };
            let signed = calling.signed.get(device).into_iter().flatten();
            let mut own: Vec<Turn> = signed.map(turn).collect();
            own.sort_unstable();
            turns.extend(own.into_iter().take(share).map(|turn| (turn, *device)));
        }
        turns.sort_unstable();
        turns.truncate(self.limits.items.saturating_sub(self.held.len()));
        self.lasts.extend(turns.last().map(|(turn, _)| (rank, *turn)));
        for (turn, device) in &turns {
            self.held.insert(turn.item);
            if let Some(speaker) = self.speakers.get_mut(device) {
                speaker.count += 1;
                speaker.last = Some(*turn);
            }
        }
        for (device, chain) in saved {
            let turns = chain.iter().enumerate().map(|(depth, item)| Turn { depth, item: *item });
            let awaited = turns.into_iter().find(|turn| !self.held.contains(&turn.item));
            if let Some(speaker) = self.speakers.get_mut(&device) {
                speaker.awaited = awaited;
            }
        }
        for item in turns.iter().filter_map(|(turn, _)| items.get(&turn.item)) {
            self.listen(rank, item, calling);
        }
    }

    fn listen(&mut self, rank: Rank, item: &Item, calling: &mut Calling<'_>) {
        let mut rule = |device, is_revocation, version, cut| {
            let by = std::cmp::Reverse(item.id());
            let ruling = Ruling { is_revocation, rank, version, by };
            let before = calling.cuts.get(&device);
            if rank >= Rank::Admin && before.is_none_or(|(before, _)| ruling > *before) {
                calling.cuts.insert(device, (ruling, cut));
            }
        };
        match item.statement() {
            Statement::Certificate(certificate) => {
                let given = match rank {
                    _ if rank >= Rank::Authority && certificate.role == Role::Admin => Rank::Admin,
                    _ if rank >= Rank::Admin && certificate.may_issue => Rank::Issuer,
                    _ => Rank::Rest,
                };
                if rank >= Rank::Issuer {
                    self.hear_of(certificate.device(), given);
                }
            }
            Statement::Role(change) => {
                if rank >= Rank::Authority && change.role == Role::Admin {
                    self.hear_of(change.device, Rank::Admin);
                }
                rule(change.device, false, change.version, change.cut);
            }
            Statement::Revocation(revocation) => {
                rule(revocation.device, true, revocation.version, revocation.items);
            }
            Statement::Genesis(_)
            | Statement::Adoption(_)
            | Statement::Pin(_)
            | Statement::Purge(_)
            | Statement::Relay(_)
            | Statement::Schema(_)
            | Statement::Unknown { .. } => {}
        }
    }

    fn hear_of(&mut self, device: DeviceId, rank: Rank) {
        let fresh = Speaker { rank, count: 0, last: None, awaited: None };
        let speaker = self.speakers.entry(device).or_insert(fresh);
        speaker.rank = speaker.rank.max(rank);
    }
}

/// Whether the item is one that a tenant begins with.
pub(super) fn is_genesis(item: &Item) -> bool {
    matches!(item.statement(), Statement::Genesis(genesis) if genesis.authority == *item.signer())
}

/// The items of `device` that its `cut` reaches through their predecessors, from the cut backwards:
/// as many as the device may have, and at most the last one is not here.
fn saved_by(
    cut: Option<Cut>,
    device: &DeviceId,
    items: &BTreeMap<ItemId, &Item>,
    share: usize,
) -> Vec<ItemId> {
    let mut saved = Vec::new();
    let mut next = cut.map(|cut| cut.item);
    while let Some(id) = next.filter(|_| saved.len() < share) {
        let item = items.get(&id);
        if item.is_some_and(|item| DeviceId::of_key(item.signer()) != *device) {
            break;
        }
        saved.push(id);
        next = item.and_then(|item| item.place().previous);
    }
    saved
}
