//! Shutting a device out of the tenant, and letting work of it count that came too late.

use std::collections::{BTreeMap, BTreeSet};

use fieldmesh_identity::{
    Adoption, ChainHead, Cut, HEADS_PER_ITEM_MAX, Item, Member, Policy, REASON_LENGTH_MAX,
    Revocation, Standing, Statement,
};
use fieldmesh_model::{BatchId, DeviceId, ItemId, Role};
use fieldmesh_replica::Held;
use fieldmesh_store::{Direction, KeyRange, Tree};
use fieldmesh_trie::Key;

use crate::api::{AdoptReport, RevokeOptions, RevokeReport};
use crate::error::{Error, with_causes};
use crate::keep;
use crate::rows::{self, LeafRow};

use super::Ledger;

/// The fewest characters of the end of a batch id that are taken for one.
const SUFFIX_LENGTH_MIN: usize = 4;
/// Where the authority certifies the device that makes the tenant: right behind the genesis.
const FOUNDER_SEQUENCE: u64 = 1;

impl Ledger {
    /// Shuts `device` out. What is here of its work goes on counting, and of what it said of others
    /// all up to `last`, or else all. With `last` also a revocation is corrected.
    ///
    /// What it says is durable then, in force here and on its way to others.
    pub(crate) fn revoke(
        &self,
        device: DeviceId,
        options: &RevokeOptions,
        last: Option<ItemId>,
    ) -> Result<RevokeReport, Error> {
        let policy = self.policy();
        let known = policy
            .known(&device)
            .ok_or_else(|| Error::NotFound { kind: "device", name: device.to_string() })?;
        if device == self.device() {
            return Err(Error::Usage {
                reason: "this is the device itself; revoke it from another one".into(),
            });
        }
        if policy.is_revoked(&device) && last.is_none() {
            return Err(Error::Usage { reason: format!("{} is revoked already", known.name) });
        }
        check_reason(options.reason.trim())?;
        let cut = match last {
            Some(item) => Some(self.cut_at(known, item)?),
            None => policy.head(&known.public_key),
        };
        let own = self.batches_of(device)?;
        let aside: BTreeSet<BatchId> = self.aside()?.into_iter().collect();
        let counting: Vec<Held> =
            own.into_iter().filter(|held| !aside.contains(&held.id)).collect();
        let mut heads = tips(&counting);
        heads.extend(self.heads_let_go(device, &heads)?);
        // What has no room is the oldest.
        heads.sort_by_key(|head| std::cmp::Reverse(head.scope.month));
        let (first, rest) = heads.split_at(heads.len().min(HEADS_PER_ITEM_MAX));
        let mut items = vec![self.sign(
            &policy,
            &Statement::Revocation(Box::new(Revocation {
                device,
                version: policy.revocation(&device).map_or(1, |it| it.version.saturating_add(1)),
                heads: first.iter().copied().collect(),
                items: cut,
                remaining: None,
                wipe: options.wipe,
                reason: options.reason.trim().to_owned(),
            })),
        )?];
        items.extend(self.adoptions(device, rest, &items)?);
        let mut after = self.policy_with(&items)?;
        let mut named = heads.as_slice();
        if !items.iter().all(|item| after.counts(&item.id())) {
            // Not everybody who may revoke may adopt: what is beyond the first heads is kept aside.
            items.truncate(1);
            named = first;
            after = self.policy_with(&items)?;
        }
        let is_in_force = after.revocation(&device).is_some_and(|it| it.items == cut);
        if !after.is_revoked(&device) || !is_in_force {
            return Err(self.may_not_revoke(&policy, known));
        }
        let kept = reached(&counting, named);
        self.add_items(&items)?;
        let (name, wipe) = (known.name.clone(), options.wipe);
        Ok(RevokeReport { device, name, kept, wipe })
    }

    /// The cut behind an item of `member`, which may have been driven out by others.
    fn cut_at(&self, member: &Member, item: ItemId) -> Result<Cut, Error> {
        let items = self.policy_items()?;
        let is_it = |it: &&Item| it.id() == item && *it.signer() == member.public_key;
        let found = items.iter().find(is_it).ok_or_else(|| Error::NotFound {
            kind: "policy item of the device",
            name: item.to_string(),
        })?;
        Ok(Cut { sequence: found.place().sequence, item })
    }

    /// Lets batches of a revoked device count, each with all before it: those named, or all that
    /// are here.
    ///
    /// What it says is durable then, in force here and on its way to others.
    pub(crate) fn adopt(&self, device: DeviceId, names: &[String]) -> Result<AdoptReport, Error> {
        self.settle()?;
        let policy = self.policy();
        let known = policy
            .known(&device)
            .ok_or_else(|| Error::NotFound { kind: "device", name: device.to_string() })?;
        let aside: BTreeSet<BatchId> = self.aside()?.into_iter().collect();
        let own = self.batches_of(device)?;
        let waiting: Vec<Held> =
            own.iter().filter(|held| aside.contains(&held.id)).copied().collect();
        if waiting.is_empty() {
            let kind = "batch that does not count here of the device";
            return Err(Error::NotFound { kind, name: known.name.clone() });
        }
        let wanted = if names.is_empty() { waiting.clone() } else { chosen(&waiting, names)? };
        let heads = tips(&wanted);
        let items = self.adoptions(device, &heads, &[])?;
        let after = self.policy_with(&items)?;
        let counted = |item: &Item| after.counts(&item.id());
        if !items.iter().all(counted) {
            return Err(self.may_not(&policy, &format!("adopt work of {}", known.name)));
        }
        // A role that may not write there is not made larger by it.
        let refusal = |held: &Held| match after.standing(&device, &held.scope) {
            Standing::Refused(refusal) => Some(refusal),
            Standing::Counts | Standing::Within => None,
        };
        let refused: Vec<_> = wanted.iter().filter_map(refusal).collect();
        if let Some(refusal) = refused.first().filter(|_| refused.len() == wanted.len()) {
            let reason = format!("to adopt it would not let it count: {refusal}");
            return Err(Error::NotAllowed { reason });
        }
        self.add_items(&items)?;
        let total = waiting.len() as u64;
        let allowed: Vec<Held> =
            waiting.into_iter().filter(|held| refusal(held).is_none()).collect();
        let batches = reached(&allowed, &heads);
        let left = total - batches;
        let name = known.name.clone();
        Ok(AdoptReport { device, name, batches, left })
    }

    /// What is here of a device's batches, by their headers.
    fn batches_of(&self, device: DeviceId) -> Result<Vec<Held>, Error> {
        self.catch_up()?;
        let mut batches = Vec::new();
        for row in rows::scan(self.view(), Tree::Leaf, KeyRange::all(), Direction::Ascending) {
            let (key, value) = row?;
            let Ok(key) = <[u8; 46]>::try_from(key) else { continue };
            let row: LeafRow = rows::decode(&value)?;
            if row.author == device {
                batches.push(row.held(&Key::from_bytes(key)));
            }
        }
        Ok(batches)
    }

    /// Where the device's chains ended that were let go here: what is not named would not count.
    fn heads_let_go(&self, device: DeviceId, known: &[ChainHead]) -> Result<Vec<ChainHead>, Error> {
        let heads = keep::heads(self.view(), device)?.into_iter().map(|(chain, head)| ChainHead {
            epoch: chain.epoch,
            scope: chain.scope,
            sequence: head.sequence,
            batch: head.head,
        });
        let is_here = |head: &ChainHead| {
            let mut same =
                known.iter().filter(|it| (it.epoch, it.scope) == (head.epoch, head.scope));
            same.any(|it| it.sequence >= head.sequence)
        };
        Ok(heads.filter(|head| !is_here(head)).collect())
    }

    /// Statements that let `heads` of a device count, as many as they need; they follow `before`.
    fn adoptions(
        &self,
        device: DeviceId,
        heads: &[ChainHead],
        before: &[Item],
    ) -> Result<Vec<Item>, Error> {
        let mut items = before.to_vec();
        for heads in heads.chunks(HEADS_PER_ITEM_MAX) {
            let policy = self.policy_with(&items)?;
            let adoption = Adoption { device, heads: heads.iter().copied().collect() };
            items.push(self.sign(&policy, &Statement::Adoption(adoption))?);
        }
        Ok(items.split_off(before.len()))
    }

    /// Signs with the tenant's authority where it is held here, else with the device's key.
    pub(super) fn sign(&self, policy: &Policy, statement: &Statement) -> Result<Item, Error> {
        let tenant = self.identity.tenant;
        let signed = match self.identity.authority() {
            Some(authority) => {
                let place = policy.next_place(&authority.public_key());
                Item::sign(&authority, tenant, place, statement)
            }
            None => {
                let keys = self.identity.keys();
                let place = policy.next_place(&keys.public_key());
                Item::sign(&keys, tenant, place, statement)
            }
        };
        signed.map_err(|error| Error::Usage { reason: with_causes(&error) })
    }

    /// The policy with more items.
    pub(super) fn policy_with(&self, more: &[Item]) -> Result<Policy, Error> {
        let mut items = self.policy_items()?;
        items.extend_from_slice(more);
        Ok(Policy::evaluate(self.identity.tenant, &items))
    }

    fn may_not_revoke(&self, policy: &Policy, subject: &Member) -> Error {
        let is_admin = |member: Option<&Member>| member.is_some_and(|it| it.role == Role::Admin);
        if !(is_admin(policy.member(&self.device())) && subject.role == Role::Admin) {
            return self.may_not(policy, &format!("revoke {}", subject.name));
        }
        let name = &subject.name;
        Error::NotAllowed {
            reason: format!(
                "{name} is an admin's device, and admins cannot revoke each other: whoever holds \
                 the tenant's authority may, and the person of {name} from another device"
            ),
        }
    }

    /// The device with which the tenant was made; it holds the authority.
    pub(crate) fn founder(&self) -> Result<Option<DeviceId>, Error> {
        let policy = self.policy();
        let first = self.policy_items()?.into_iter().find(|item| {
            policy.authority() == Some(item.signer()) && item.place().sequence == FOUNDER_SEQUENCE
        });
        Ok(first.and_then(|item| match item.statement() {
            Statement::Certificate(certificate) => Some(certificate.device()),
            _ => None,
        }))
    }

    pub(super) fn may_not(&self, policy: &Policy, what: &str) -> Error {
        let role = policy.member(&self.device()).map(|me| me.role.to_string());
        Error::NotAllowed {
            reason: format!(
                "a device with the role {} may not {what}; an admin may, or whoever holds the \
                 tenant's authority, and everybody a device of their own",
                role.unwrap_or_else(|| "of nobody".into())
            ),
        }
    }
}

/// Fails where the reason does not fit into a revocation.
pub(super) fn check_reason(reason: &str) -> Result<(), Error> {
    let length = reason.chars().count();
    let fault = if length > REASON_LENGTH_MAX {
        format!("has {length} characters, at most {REASON_LENGTH_MAX} fit; shorten it")
    } else if reason.chars().any(char::is_control) {
        "holds a line break or another character that cannot be shown; leave it out".into()
    } else {
        return Ok(());
    };
    Err(Error::Usage { reason: format!("the reason {fault}") })
}

/// The batches that no other one of them follows: what they reach is all of them.
fn tips(batches: &[Held]) -> Vec<ChainHead> {
    let followed: BTreeSet<BatchId> = batches.iter().map(|held| held.previous).collect();
    batches
        .iter()
        .filter(|held| !followed.contains(&held.id))
        .map(|held| ChainHead {
            epoch: held.epoch,
            scope: held.scope,
            sequence: held.sequence,
            batch: held.id,
        })
        .collect()
}

/// How many of `batches` the heads reach.
fn reached(batches: &[Held], heads: &[ChainHead]) -> u64 {
    let previous: BTreeMap<BatchId, BatchId> =
        batches.iter().map(|held| (held.id, held.previous)).collect();
    let mut reached = BTreeSet::new();
    for head in heads {
        let mut next = head.batch;
        while let Some(previous) = previous.get(&next) {
            if !reached.insert(next) {
                break;
            }
            next = *previous;
        }
    }
    reached.len() as u64
}

/// The batches whose ids end in what was named.
fn chosen(batches: &[Held], names: &[String]) -> Result<Vec<Held>, Error> {
    let mut chosen = Vec::new();
    for name in names {
        let wanted = name.trim().to_lowercase();
        let fits = |held: &&Held| {
            wanted.len() >= SUFFIX_LENGTH_MIN && held.id.to_string().ends_with(&wanted)
        };
        let found: Vec<&Held> = batches.iter().filter(fits).collect();
        match found.as_slice() {
            [held] => chosen.push(**held),
            [] => {
                return Err(Error::NotFound {
                    kind: "batch that does not count",
                    name: name.clone(),
                });
            }
            several => {
                return Err(Error::Ambiguous {
                    name: name.clone(),
                    candidates: several.iter().map(|held| held.id.to_string()).collect(),
                });
            }
        }
    }
    Ok(chosen)
}
