//! What a set of policy items amounts to: the members of a tenant and what they may do.
//!
//! The answer depends on the set alone, never on the order of arrival. Ranks are settled from the
//! top: an item counts only if its signer outranks both what the subject is and what the item
//! makes of it, so nothing that a rank says can change who holds that rank or a higher one. Only
//! revocations among the devices of one person go across ranks; they are settled before the revoked
//! one's rank says anything.
//!
//! Which items belong to the set at all is another question, answered in `roll`: there a revocation
//! takes nothing out of the set, while here it decides what counts.

mod evaluation;
mod heads;
mod purges;
mod relays;
mod roll;
mod schemas;
mod subject;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ed25519_dalek::VerifyingKey;
use fieldmesh_model::{DeviceId, DocumentId, ItemId, Moment, Role, Scope, TenantId, UserId};

use crate::permission;
use crate::statement::{ChainHead, Cut, Genesis, Pin, Revocation, Statement};
use crate::{Access, Item, ItemPlace};
use evaluation::Evaluation;
use heads::heads;
use purges::Purges;
use relays::Relays;
use roll::{Limits, Roll};
use schemas::Schemas;
use subject::Subject;

pub use purges::Purged;
pub use relays::SignedAddress;
pub use roll::{
    ITEMS_MAX, ITEMS_PER_ADMIN_MAX, ITEMS_PER_ISSUER_MAX, ITEMS_PER_MEMBER_MAX, Unheard,
};
pub use schemas::{
    COLLECTIONS_PER_SIGNER_MAX, DEFINITIONS_PER_SIGNER_MAX, SCHEMA_BYTES_PER_SIGNER_MAX,
    SignedSchema,
};

/// How much the word of a key weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// Members that say nothing about others.
    Rest,
    /// A manager's device with an issuing right.
    Issuer,
    /// An administrator's device.
    Admin,
    /// The tenant's authority.
    Authority,
    /// The recovery kit.
    Recovery,
}

impl Rank {
    /// From the one whose word weighs most.
    const DESCENDING: [Self; 5] =
        [Self::Recovery, Self::Authority, Self::Admin, Self::Issuer, Self::Rest];
}

/// A device that belongs to the tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The device.
    pub device: DeviceId,
    /// Its Ed25519 public key.
    pub public_key: [u8; 32],
    /// The device's name.
    pub name: String,
    /// The person who uses it.
    pub user: UserId,
    /// The person's name.
    pub user_name: String,
    /// The person's e-mail address; may be empty.
    pub email: String,
    /// What the member is.
    pub role: Role,
    /// What it may read.
    pub read: Access,
    /// What it may write, as far as its role writes at all.
    pub write: Access,
    /// When a relay stops serving it.
    pub expires: Option<Moment>,
    /// Whether its certificate grants the issuing right.
    pub may_issue: bool,
    /// Whether a counted item ever made it a gateway: what it wrote for others stays theirs.
    pub was_gateway: bool,
    /// The version of the certificate that counts.
    pub certificate_version: u32,
    /// The item of the certificate that counts.
    pub certificate: ItemId,
}

/// Why a device may not do what it asks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// No certificate of the device counts.
    #[error("device {device} is not a member of this tenant")]
    UnknownDevice {
        /// The device.
        device: DeviceId,
    },
    /// The device was revoked.
    #[error("device {device} was revoked")]
    Revoked {
        /// The device.
        device: DeviceId,
    },
    /// The role does not write this collection.
    #[error("a device with role {role} may not write collection {collection}")]
    Role {
        /// The member's role.
        role: Role,
        /// The collection's number.
        collection: u16,
    },
    /// The certificate does not open this collection or partition.
    #[error("its certificate does not open collection {collection}, partition {partition}")]
    Access {
        /// The collection's number.
        collection: u16,
        /// The partition.
        partition: u32,
    },
}

/// Whether the batches of a device in a scope are part of the set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// All of them are.
    Counts,
    /// Those are that one of [`Policy::heads_of`] reaches through its previous batches.
    Within,
    /// None is.
    Refused(Refusal),
}

/// The members of a tenant, computed from its policy items.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    tenant: TenantId,
    genesis: Option<Genesis>,
    roll: Roll,
    members: BTreeMap<DeviceId, Member>,
    /// Members and former ones.
    known: BTreeMap<DeviceId, Member>,
    rights: BTreeMap<DeviceId, Rights>,
    /// The keys of all who were ever certified by somebody with a word.
    keys: BTreeMap<DeviceId, VerifyingKey>,
    revocations: BTreeMap<DeviceId, Revocation>,
    /// Whose keys signed them.
    revokers: BTreeMap<DeviceId, [u8; 32]>,
    adopted: BTreeMap<DeviceId, BTreeSet<ChainHead>>,
    pins: BTreeMap<Place, [u8; 32]>,
    purges: Purges,
    relays: Relays,
    schemas: Arc<Schemas>,
    role_versions: BTreeMap<DeviceId, u32>,
    heads: BTreeMap<[u8; 32], Cut>,
    counted: BTreeSet<ItemId>,
}

/// Where a change stands: document, actor, sequence number.
type Place = (DocumentId, [u8; 16], u64);

/// What a device was ever allowed to write; narrowing it takes a revocation, so that nothing
/// which was right once disappears because of an item that comes later.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Rights {
    roles: BTreeSet<Role>,
    accesses: BTreeSet<Access>,
}

impl Rights {
    fn check(&self, roles: &BTreeSet<Role>, scope: &Scope) -> Result<(), Refusal> {
        let collection = scope.collection;
        if !roles.iter().any(|role| permission::may_write(*role, collection)) {
            let Some(role) = roles.first().copied() else { return Ok(()) };
            return Err(Refusal::Role { role, collection });
        }
        if self.accesses.iter().any(|access| access.allows(scope)) {
            return Ok(());
        }
        Err(Refusal::Access { collection, partition: scope.partition })
    }
}

impl Policy {
    /// What `items` amount to for `tenant`; items of other tenants say nothing, nor do those that
    /// [`Self::holds`] denies.
    pub fn evaluate<'a>(tenant: TenantId, items: impl IntoIterator<Item = &'a Item>) -> Self {
        Self::evaluate_within(Limits::PROTOCOL, tenant, items)
    }

    fn evaluate_within<'a>(
        limits: Limits,
        tenant: TenantId,
        items: impl IntoIterator<Item = &'a Item>,
    ) -> Self {
        let mut items: BTreeMap<ItemId, &Item> = items
            .into_iter()
            .filter(|item| item.tenant() == tenant)
            .map(|item| (item.id(), item))
            .collect();
        let genesis = items.values().find_map(|item| match item.statement() {
            Statement::Genesis(genesis) if roll::is_genesis(item) => Some((item.id(), genesis)),
            _ => None,
        });
        let roll = Roll::call(&items, genesis, limits);
        items.retain(|id, _| roll.holds(id));
        let mut policy = Self {
            tenant,
            genesis: genesis.map(|(_, genesis)| genesis.clone()),
            roll,
            members: BTreeMap::new(),
            known: BTreeMap::new(),
            rights: BTreeMap::new(),
            keys: BTreeMap::new(),
            revocations: BTreeMap::new(),
            revokers: BTreeMap::new(),
            adopted: BTreeMap::new(),
            pins: BTreeMap::new(),
            purges: Purges::default(),
            relays: Relays::default(),
            schemas: Arc::default(),
            role_versions: BTreeMap::new(),
            heads: heads(&items),
            counted: genesis.map(|(id, _)| id).into_iter().collect(),
        };
        if let Some((_, genesis)) = genesis {
            let roll = policy.roll.clone();
            let mut evaluation = Evaluation::new(&items, genesis, &roll);
            for rank in Rank::DESCENDING {
                policy.counted.extend(evaluation.settle(rank));
            }
            policy.schemas = Arc::new(evaluation.schemas(&policy.counted).put_together());
            policy.keys = evaluation.keys();
            policy.known = evaluation.known();
            policy.adopted = evaluation.adopted;
            policy.pins = evaluation.pins.into_iter().map(|(at, pin)| (at, pin.value)).collect();
            policy.purges = evaluation.purges;
            policy.relays = evaluation.relays;
            policy.take_subjects(evaluation.subjects, &items);
        }
        policy
    }

    /// The tenant.
    pub const fn tenant(&self) -> TenantId {
        self.tenant
    }

    /// The tenant's name; empty while its genesis item is unknown.
    pub fn tenant_name(&self) -> &str {
        self.genesis.as_ref().map_or("", |genesis| &genesis.name)
    }

    /// The public key of the authority, once the genesis item is known.
    pub fn authority(&self) -> Option<&[u8; 32]> {
        self.genesis.as_ref().map(|genesis| &genesis.authority)
    }

    /// The member that `device` is, if it is one.
    pub fn member(&self, device: &DeviceId) -> Option<&Member> {
        self.members.get(device)
    }

    /// Every member, in the order of device ids.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    /// What `device` is, or was before it was revoked.
    pub fn known(&self, device: &DeviceId) -> Option<&Member> {
        self.known.get(device)
    }

    /// Everybody who is a member or was one, in the order of device ids.
    pub fn everybody(&self) -> impl Iterator<Item = &Member> {
        self.known.values()
    }

    /// The key that verifies the batches of `device`: of everybody who was ever certified by
    /// somebody whose word counted, revoked or not.
    pub fn verifying_key(&self, device: &DeviceId) -> Option<&VerifyingKey> {
        self.keys.get(device)
    }

    /// Whether the batches of `device` in `scope` are part of the set, as far as their headers tell.
    ///
    /// What was adopted of a device whose certificate does not count is part of it whatever the
    /// scope: each of its heads names one, and an administrator may write in all.
    pub fn standing(&self, device: &DeviceId, scope: &Scope) -> Standing {
        let Some(rights) = self.rights.get(device) else {
            return match self.adopted.contains_key(device) {
                true => Standing::Within,
                false => Standing::Refused(Refusal::UnknownDevice { device: *device }),
            };
        };
        if let Err(refusal) = rights.check(&rights.roles, scope) {
            return Standing::Refused(refusal);
        }
        let Some(revocation) = self.revocations.get(device) else { return Standing::Counts };
        let remaining: BTreeSet<Role> = revocation.remaining.into_iter().collect();
        let is_left = !remaining.is_empty() && rights.check(&remaining, scope).is_ok();
        if is_left { Standing::Counts } else { Standing::Within }
    }

    /// The batches up to which the work of `device` counts where it has to be
    /// [`Standing::Within`]: those of its revocation and those that were adopted.
    pub fn heads_of(&self, device: &DeviceId) -> &BTreeSet<ChainHead> {
        static NONE: BTreeSet<ChainHead> = BTreeSet::new();
        self.adopted.get(device).unwrap_or(&NONE)
    }

    /// Whether the key of `device` was revoked for good; one with a smaller role was not.
    pub fn is_revoked(&self, device: &DeviceId) -> bool {
        self.revocations.get(device).is_some_and(|revocation| revocation.remaining.is_none())
    }

    /// The revocation of `device` that counts; it may leave a smaller role.
    pub fn revocation(&self, device: &DeviceId) -> Option<&Revocation> {
        self.revocations.get(device)
    }

    /// The public key that signed [`Self::revocation`]: the authority's, the recovery kit's, or that
    /// of a member then.
    pub fn revoker(&self, device: &DeviceId) -> Option<&[u8; 32]> {
        self.revokers.get(device)
    }

    /// Whether policy has decided for the change with this `hash` in its place.
    pub fn is_pinned(
        &self,
        document: &DocumentId,
        actor: &[u8; 16],
        sequence: u64,
        hash: &[u8; 32],
    ) -> bool {
        self.pins.get(&(*document, *actor, sequence)) == Some(hash)
    }

    /// The changes for which policy has decided: document, actor, sequence number and hash.
    pub fn pins(&self) -> impl Iterator<Item = (DocumentId, [u8; 16], u64, [u8; 32])> {
        self.pins
            .iter()
            .map(|(&(document, actor, sequence), hash)| (document, actor, sequence, *hash))
    }

    /// Whether what the document held is to be erased.
    pub fn is_purged(&self, document: &DocumentId) -> bool {
        self.purges.of(document).is_some()
    }

    /// Whether a purge names the leaf with this salted hash, so that a batch may lack it.
    pub fn is_purged_leaf(&self, hash: &[u8; 32]) -> bool {
        self.purges.names(hash)
    }

    /// Whether anything was purged.
    pub fn has_purges(&self) -> bool {
        self.purges.documents().next().is_some()
    }

    /// The salted hashes of the leaves that purges name, in order.
    pub fn purged_leaves(&self) -> impl Iterator<Item = &[u8; 32]> {
        self.purges.leaves()
    }

    /// Who purged the document, when and why; None if nobody did.
    pub fn purged(&self, document: &DocumentId) -> Option<&Purged> {
        self.purges.of(document)
    }

    /// The documents that were purged, in the order of their ids.
    pub fn purged_documents(&self) -> impl Iterator<Item = DocumentId> + '_ {
        self.purges.documents()
    }

    /// What was said last of an address of relays, also that it is nobody's any more.
    pub fn relay_address(&self, address: &str) -> Option<&SignedAddress> {
        self.relays.at(address)
    }

    /// The addresses at which relays are found, in order; whether each is still a relay says
    /// [`Self::member`].
    pub fn relay_addresses(&self) -> impl Iterator<Item = (&str, DeviceId, &SignedAddress)> {
        self.relays.in_force()
    }

    /// The schema in force of the tenant's own collection with this `number`.
    pub fn schema(&self, number: u16) -> Option<&SignedSchema> {
        self.schemas.numbered(number)
    }

    /// The schema by which records of that collection are read here: the one in force, or the
    /// greatest before it that this version can read.
    ///
    /// Which one is in force is the same everywhere; this is not, while programs differ.
    pub fn readable_schema(&self, number: u16) -> Option<&SignedSchema> {
        self.schemas.readable(number)
    }

    /// The schemas in force of the tenant's own collections, by number.
    pub fn schemas(&self) -> impl Iterator<Item = &SignedSchema> {
        self.schemas.in_force()
    }

    /// The schemas that admins signed and others go before: earlier versions, and what was applied
    /// by admins who did not know of each other.
    pub fn other_schemas(&self) -> impl Iterator<Item = &SignedSchema> {
        self.schemas.others()
    }

    /// Those of them that have the name of `signed` and did not lead to it: whoever made it did not
    /// know of them.
    pub fn schemas_apart(&self, signed: &SignedSchema) -> impl Iterator<Item = &SignedSchema> {
        self.schemas.apart(signed).into_iter()
    }

    /// The schemas that do not count so far, since what they follow on is lacking.
    pub fn schemas_ahead(&self) -> impl Iterator<Item = &SignedSchema> {
        self.schemas.ahead()
    }

    /// How many more count, were there room for what their signers have defined: see
    /// [`DEFINITIONS_PER_SIGNER_MAX`].
    pub fn schemas_left_out(&self) -> usize {
        self.schemas.left_out()
    }

    /// Whether `device` may write in `scope` from now on.
    ///
    /// # Errors
    ///
    /// The [`Refusal`] says why not.
    pub fn may_write(&self, device: &DeviceId, scope: &Scope) -> Result<(), Refusal> {
        let member = self.check_member(device)?;
        if !permission::may_write(member.role, scope.collection) {
            return Err(Refusal::Role { role: member.role, collection: scope.collection });
        }
        allowed(&member.write, scope)
    }

    /// Whether `device` may be shown what lies in `scope`, down to its hashes.
    ///
    /// # Errors
    ///
    /// The [`Refusal`] says why not.
    pub fn may_read(&self, device: &DeviceId, scope: &Scope) -> Result<(), Refusal> {
        allowed(&self.check_member(device)?.read, scope)
    }

    /// Whether the item belongs to the set of items that replicas keep, compare and pass on.
    ///
    /// That follows from the items alone that were evaluated. Leaving out what does not belong to
    /// the set changes nothing.
    pub fn holds(&self, item: &ItemId) -> bool {
        self.roll.holds(item)
    }

    /// Whether `item` belongs to the set once it comes to the items that were evaluated.
    ///
    /// # Errors
    ///
    /// The item is not to be stored. It may belong to the set once [`Self::hears_more_than`] says
    /// so.
    pub fn admits(&self, item: &Item) -> Result<(), Unheard> {
        self.roll.admits(item)
    }

    /// Whether `item`, which [`Self::admits`] lets in, drives out another, and no cut asks for it.
    pub fn displaces(&self, item: &Item) -> bool {
        self.roll.displaces(item)
    }

    /// Whether items that `before` did not admit may be admitted.
    pub fn hears_more_than(&self, before: &Self) -> bool {
        self.roll.hears_more_than(&before.roll)
    }

    /// The most items of the signer of `item` that may belong to the set.
    pub fn share_of(&self, item: &Item) -> usize {
        self.roll.share(&DeviceId::of_key(item.signer()))
    }

    /// Whether the signer of `item` was ever somebody who certifies others.
    pub fn speaks_for_others(&self, item: &Item) -> bool {
        self.roll.rank(&DeviceId::of_key(item.signer())) >= Some(Rank::Issuer)
    }

    /// Whether the item is part of this policy, rather than kept without effect.
    pub fn counts(&self, item: &ItemId) -> bool {
        self.counted.contains(item)
    }

    /// The newest item that `signer` (a public key) signed: the one that reaches the most of them.
    pub fn head(&self, signer: &[u8; 32]) -> Option<Cut> {
        self.heads.get(signer).copied()
    }

    /// Where the next item of `signer` (a public key) stands.
    pub fn next_place(&self, signer: &[u8; 32]) -> ItemPlace {
        ItemPlace::after(self.head(signer))
    }

    /// The roles that `device` was ever given, whatever it has become since.
    pub fn roles_held(&self, device: &DeviceId) -> impl Iterator<Item = Role> + '_ {
        self.rights.get(device).into_iter().flat_map(|rights| rights.roles.iter().copied())
    }

    /// The version of the role change that counts for `device`; the next one carries one more.
    pub fn role_version(&self, device: &DeviceId) -> u32 {
        self.role_versions.get(device).copied().unwrap_or(0)
    }

    fn check_member(&self, device: &DeviceId) -> Result<&Member, Refusal> {
        self.members.get(device).ok_or_else(|| match self.is_revoked(device) {
            true => Refusal::Revoked { device: *device },
            false => Refusal::UnknownDevice { device: *device },
        })
    }

    fn take_subjects(
        &mut self,
        subjects: BTreeMap<DeviceId, Subject<'_>>,
        items: &BTreeMap<ItemId, &Item>,
    ) {
        for (device, subject) in subjects {
            if let Some(change) = &subject.role {
                self.role_versions.insert(device, change.value.version);
            }
            if let Some(revocation) = &subject.revocation {
                let heads = revocation.value.heads.iter().copied();
                self.adopted.entry(device).or_default().extend(heads);
                self.revocations.insert(device, revocation.value.clone());
                let signer = items.get(&revocation.item).map(|item| *item.signer());
                self.revokers.extend(signer.map(|signer| (device, signer)));
            }
            if let Some(rights) = subject.rights() {
                self.rights.insert(device, rights);
            }
            if let Some(member) = subject.member() {
                self.members.insert(device, member);
            }
        }
    }
}

fn allowed(access: &Access, scope: &Scope) -> Result<(), Refusal> {
    if access.allows(scope) {
        return Ok(());
    }
    Err(Refusal::Access { collection: scope.collection, partition: scope.partition })
}

#[cfg(test)]
mod tests;
