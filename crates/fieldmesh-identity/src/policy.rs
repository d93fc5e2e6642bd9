//! What a set of policy items amounts to: the members of a tenant and what they may do.
//!
//! The answer depends on the set alone, never on the order of arrival. Ranks are settled from the
//! top: an item counts only if its signer outranks both what the subject is and what the item
//! makes of it, so nothing that a rank says can change who holds that rank or a higher one.

use std::collections::{BTreeMap, BTreeSet};

use ed25519_dalek::VerifyingKey;
use fieldmesh_model::{DeviceId, ItemId, Moment, Role, Scope, TenantId, UserId};

use crate::permission;
use crate::statement::{Certificate, Cut, Genesis, RoleChange, Statement};
use crate::{Access, Item, ItemPlace};

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

/// The members of a tenant, computed from its policy items.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    tenant: TenantId,
    genesis: Option<Genesis>,
    members: BTreeMap<DeviceId, Member>,
    keys: BTreeMap<DeviceId, VerifyingKey>,
    role_versions: BTreeMap<DeviceId, u32>,
    heads: BTreeMap<[u8; 32], Cut>,
    counted: BTreeSet<ItemId>,
}

impl Policy {
    /// What `items` amount to for `tenant`; items of other tenants say nothing.
    pub fn evaluate<'a>(tenant: TenantId, items: impl IntoIterator<Item = &'a Item>) -> Self {
        let items: BTreeMap<ItemId, &Item> = items
            .into_iter()
            .filter(|item| item.tenant() == tenant)
            .map(|item| (item.id(), item))
            .collect();
        let genesis = items.values().find_map(|item| match item.statement() {
            Statement::Genesis(genesis) if genesis.authority == *item.signer() => {
                Some((item.id(), genesis))
            }
            _ => None,
        });
        let mut policy = Self {
            tenant,
            genesis: genesis.map(|(_, genesis)| genesis.clone()),
            members: BTreeMap::new(),
            keys: BTreeMap::new(),
            role_versions: BTreeMap::new(),
            heads: heads(&items),
            counted: genesis.map(|(id, _)| id).into_iter().collect(),
        };
        if let Some((_, genesis)) = genesis {
            let mut evaluation = Evaluation { items: &items, genesis, subjects: BTreeMap::new() };
            for rank in [Rank::Recovery, Rank::Authority, Rank::Admin, Rank::Issuer] {
                policy.counted.extend(evaluation.settle(rank));
            }
            policy.take_subjects(evaluation.subjects);
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

    /// The key that verifies the batches of `device`.
    pub fn verifying_key(&self, device: &DeviceId) -> Option<&VerifyingKey> {
        self.keys.get(device)
    }

    /// Whether a batch of `device` in `scope` may be in the set, as far as its header tells.
    ///
    /// # Errors
    ///
    /// The [`Refusal`] says why not.
    pub fn may_write(&self, device: &DeviceId, scope: &Scope) -> Result<(), Refusal> {
        let member = self.known(device)?;
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
        allowed(&self.known(device)?.read, scope)
    }

    /// Whether the item is part of this policy, rather than kept without effect.
    pub fn counts(&self, item: &ItemId) -> bool {
        self.counted.contains(item)
    }

    /// The newest item that `signer` (a public key) signed.
    pub fn head(&self, signer: &[u8; 32]) -> Option<Cut> {
        self.heads.get(signer).copied()
    }

    /// Where the next item of `signer` (a public key) stands.
    pub fn next_place(&self, signer: &[u8; 32]) -> ItemPlace {
        ItemPlace::after(self.head(signer))
    }

    /// The version of the role change that counts for `device`; the next one carries one more.
    pub fn role_version(&self, device: &DeviceId) -> u32 {
        self.role_versions.get(device).copied().unwrap_or(0)
    }

    fn known(&self, device: &DeviceId) -> Result<&Member, Refusal> {
        self.members.get(device).ok_or(Refusal::UnknownDevice { device: *device })
    }

    fn take_subjects(&mut self, subjects: BTreeMap<DeviceId, Subject<'_>>) {
        for (device, subject) in subjects {
            if let Some(change) = &subject.role {
                self.role_versions.insert(device, change.value.version);
            }
            let Some(member) = subject.member() else { continue };
            let Ok(key) = VerifyingKey::from_bytes(&member.public_key) else { continue };
            self.members.insert(device, member);
            self.keys.insert(device, key);
        }
    }
}

impl Member {
    /// Whether a relay at `now` stops serving the device; what it signed stays valid.
    pub fn is_expired(&self, now: Moment) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}

fn allowed(access: &Access, scope: &Scope) -> Result<(), Refusal> {
    if access.allows(scope) {
        return Ok(());
    }
    Err(Refusal::Access { collection: scope.collection, partition: scope.partition })
}

fn heads(items: &BTreeMap<ItemId, &Item>) -> BTreeMap<[u8; 32], Cut> {
    let mut heads: BTreeMap<[u8; 32], Cut> = BTreeMap::new();
    for (id, item) in items {
        let cut = Cut { sequence: item.place().sequence, item: *id };
        let head = heads.entry(*item.signer()).or_insert(cut);
        // Of two items at one place the smaller id stays, whatever order they came in.
        if cut.sequence > head.sequence {
            *head = cut;
        }
    }
    heads
}

/// The evaluation in progress: subjects are final for every rank above the one being settled.
struct Evaluation<'a> {
    items: &'a BTreeMap<ItemId, &'a Item>,
    genesis: &'a Genesis,
    subjects: BTreeMap<DeviceId, Subject<'a>>,
}

/// A device that counted items are about.
#[derive(Default, Clone)]
struct Subject<'a> {
    certificate: Option<Chosen<&'a Certificate>>,
    role: Option<Chosen<&'a RoleChange>>,
    /// Every role that a counted item gave it.
    roles_given: BTreeSet<Role>,
    /// What is reachable from the cut of its role change.
    within_cut: BTreeSet<ItemId>,
}

#[derive(Clone)]
struct Chosen<T> {
    rank: Rank,
    version: u32,
    item: ItemId,
    value: T,
}

impl<T> Chosen<T> {
    fn goes_before(&self, other: &Self) -> bool {
        (self.rank, self.version, other.item) > (other.rank, other.version, self.item)
    }
}

impl<'a> Evaluation<'a> {
    /// Applies what signers of `rank` say and returns the items that count.
    fn settle(&mut self, rank: Rank) -> Vec<ItemId> {
        // Judged against the subjects as higher ranks left them, so that the order of the items
        // of one rank does not matter.
        let counting: Vec<(ItemId, &'a Item)> = self
            .items
            .iter()
            .filter(|(_, item)| self.rank_of(item) == Some(rank) && self.counts(rank, item))
            .map(|(id, item)| (*id, *item))
            .collect();
        for (id, item) in &counting {
            self.apply(rank, *id, item);
        }
        for subject in self.subjects.values_mut() {
            subject.follow_cut(self.items);
        }
        counting.into_iter().map(|(id, _)| id).collect()
    }

    fn rank_of(&self, item: &Item) -> Option<Rank> {
        if *item.signer() == self.genesis.recovery {
            return Some(Rank::Recovery);
        }
        if *item.signer() == self.genesis.authority {
            return Some(Rank::Authority);
        }
        let subject = self.subjects.get(&DeviceId::of_key(item.signer()))?;
        let current = subject.rank()?;
        if subject.within_cut.contains(&item.id()) { subject.rank_once() } else { Some(current) }
    }

    fn counts(&self, rank: Rank, item: &Item) -> bool {
        match item.statement() {
            Statement::Certificate(certificate) => {
                let device = certificate.device();
                // A role that waits for its certificate comes into force with it.
                let waiting = self.subjects.get(&device).and_then(|subject| subject.role.as_ref());
                let role = waiting.map_or(certificate.role, |chosen| chosen.value.role);
                let given = rank_of_role(certificate.role, certificate.may_issue)
                    .max(rank_of_role(role, certificate.may_issue));
                self.outranks(rank, &device, given)
                    && VerifyingKey::from_bytes(&certificate.public_key).is_ok()
                    && self.may_certify(rank, item, certificate)
            }
            Statement::Role(change) => {
                let may_issue = self
                    .subjects
                    .get(&change.device)
                    .and_then(|subject| subject.certificate.as_ref())
                    .is_some_and(|chosen| chosen.value.may_issue);
                let given = rank_of_role(change.role, may_issue);
                rank >= Rank::Admin && self.outranks(rank, &change.device, given)
            }
            Statement::Genesis(_) | Statement::Unknown { .. } => false,
        }
    }

    fn outranks(&self, rank: Rank, subject: &DeviceId, given: Rank) -> bool {
        let held = self.subjects.get(subject).and_then(Subject::rank);
        rank > given && held.is_none_or(|held| rank > held)
    }

    /// A member hands on no more than it has; an issuer certifies operators only.
    fn may_certify(&self, rank: Rank, item: &Item, certificate: &Certificate) -> bool {
        if rank >= Rank::Authority {
            return true;
        }
        let signer = self.subjects.get(&DeviceId::of_key(item.signer()));
        let Some(own) = signer.and_then(|subject| subject.certificate.as_ref()) else {
            return false;
        };
        let within =
            own.value.read.covers(&certificate.read) && own.value.write.covers(&certificate.write);
        let operator = permission::records_like_an_operator(certificate.role);
        within && (rank > Rank::Issuer || (operator && !certificate.may_issue))
    }

    fn apply(&mut self, rank: Rank, id: ItemId, item: &'a Item) {
        match item.statement() {
            Statement::Certificate(certificate) => {
                let subject = self.subjects.entry(certificate.device()).or_default();
                subject.roles_given.insert(certificate.role);
                let version = certificate.version;
                let value = certificate.as_ref();
                choose(&mut subject.certificate, Chosen { rank, version, item: id, value });
            }
            Statement::Role(change) => {
                let subject = self.subjects.entry(change.device).or_default();
                subject.roles_given.insert(change.role);
                let version = change.version;
                choose(&mut subject.role, Chosen { rank, version, item: id, value: change });
            }
            Statement::Genesis(_) | Statement::Unknown { .. } => {}
        }
    }
}

fn choose<T>(chosen: &mut Option<Chosen<T>>, candidate: Chosen<T>) {
    if chosen.as_ref().is_none_or(|chosen| candidate.goes_before(chosen)) {
        *chosen = Some(candidate);
    }
}

fn rank_of_role(role: Role, may_issue: bool) -> Rank {
    match role {
        Role::Admin => Rank::Admin,
        Role::Manager if may_issue => Rank::Issuer,
        Role::Manager
        | Role::Operator
        | Role::Practitioner
        | Role::HealthWorker
        | Role::Member
        | Role::Client
        | Role::Relay => Rank::Rest,
    }
}

impl Subject<'_> {
    /// Nothing without a certificate: a role alone makes no member.
    fn rank(&self) -> Option<Rank> {
        let certificate = self.certificate.as_ref()?.value;
        Some(rank_of_role(self.current_role(certificate), certificate.may_issue))
    }

    /// The highest rank that it ever had.
    fn rank_once(&self) -> Option<Rank> {
        let may_issue = self.certificate.as_ref()?.value.may_issue;
        self.roles_given.iter().map(|role| rank_of_role(*role, may_issue)).max()
    }

    fn current_role(&self, certificate: &Certificate) -> Role {
        self.role.as_ref().map_or(certificate.role, |chosen| chosen.value.role)
    }

    fn follow_cut(&mut self, items: &BTreeMap<ItemId, &Item>) {
        self.within_cut.clear();
        let Some((chosen, certificate)) = self.role.as_ref().zip(self.certificate.as_ref()) else {
            return;
        };
        let signer = certificate.value.public_key;
        let mut next = chosen.value.cut.map(|cut| cut.item);
        while let Some(item) = next.and_then(|id| items.get(&id)) {
            if *item.signer() != signer || !self.within_cut.insert(item.id()) {
                return;
            }
            next = item.place().previous;
        }
    }

    fn member(&self) -> Option<Member> {
        let chosen = self.certificate.as_ref()?;
        let certificate = chosen.value;
        Some(Member {
            device: certificate.device(),
            public_key: certificate.public_key,
            name: certificate.device_name.clone(),
            user: certificate.user,
            user_name: certificate.user_name.clone(),
            email: certificate.email.clone(),
            role: self.current_role(certificate),
            read: certificate.read.clone(),
            write: certificate.write.clone(),
            expires: certificate.expires,
            may_issue: certificate.may_issue,
            certificate_version: certificate.version,
            certificate: chosen.item,
        })
    }
}

#[cfg(test)]
mod tests;
