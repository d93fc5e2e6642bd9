//! One device that counted items are about.

use std::collections::{BTreeMap, BTreeSet};

use fieldmesh_model::{ItemId, Role};

use super::{Member, Rank, Rights};
use crate::statement::{Certificate, Cut, Revocation, RoleChange};
use crate::{Access, Item};

/// A device that counted items are about.
#[derive(Default, Clone)]
pub(super) struct Subject<'a> {
    pub(super) certificate: Option<Chosen<&'a Certificate>>,
    pub(super) role: Option<Chosen<&'a RoleChange>>,
    pub(super) revocation: Option<Chosen<&'a Revocation>>,
    /// Whether a counted certificate ever let it issue: a later one keeps what it issued, and only a
    /// revocation with its cut takes the right away.
    pub(super) may_issue: bool,
    /// Every role that a counted item gave it.
    roles_given: BTreeSet<Role>,
    /// Everything that a counted certificate let it write.
    accesses: BTreeSet<&'a Access>,
    /// What is reachable from the cut of its role change.
    within_role: BTreeSet<ItemId>,
    /// What is reachable from the cut of its revocation.
    within_revocation: BTreeSet<ItemId>,
}

/// A statement that counts, unless one goes before it.
#[derive(Clone)]
pub(super) struct Chosen<T> {
    pub(super) rank: Rank,
    pub(super) version: u32,
    pub(super) item: ItemId,
    pub(super) value: T,
}

impl<T> Chosen<T> {
    pub(super) fn goes_before(&self, other: &Self) -> bool {
        (self.rank, self.version, other.item) > (other.rank, other.version, self.item)
    }
}

pub(super) fn choose<T>(chosen: &mut Option<Chosen<T>>, candidate: Chosen<T>) {
    if chosen.as_ref().is_none_or(|chosen| candidate.goes_before(chosen)) {
        *chosen = Some(candidate);
    }
}

pub(super) fn rank_of_role(role: Role, may_issue: bool) -> Rank {
    match role {
        Role::Admin => Rank::Admin,
        Role::Manager if may_issue => Rank::Issuer,
        Role::Manager
        | Role::Operator
        | Role::Practitioner
        | Role::HealthWorker
        | Role::Member
        | Role::Client
        | Role::Relay
        | Role::Gateway => Rank::Rest,
    }
}

impl<'a> Subject<'a> {
    /// A counted item gives it a role, and a certificate what it may write in it.
    pub(super) fn give(&mut self, role: Role, access: Option<&'a Access>) {
        self.roles_given.insert(role);
        self.accesses.extend(access);
    }

    /// Nothing without a certificate: a role alone makes no member.
    pub(super) fn rank(&self) -> Option<Rank> {
        let certificate = self.certificate.as_ref()?.value;
        let role = self.current_role(certificate)?;
        Some(rank_of_role(role, self.may_issue))
    }

    /// The highest rank that it ever had.
    pub(super) fn rank_once(&self) -> Option<Rank> {
        self.certificate.as_ref()?;
        self.roles_given.iter().map(|role| rank_of_role(*role, self.may_issue)).max()
    }

    /// What the word of one of its items weighs; nothing beyond the cut of its revocation.
    pub(super) fn rank_of_item(&self, item: &ItemId) -> Option<Rank> {
        let is_cut_off = self.revocation.is_some() && !self.within_revocation.contains(item);
        if is_cut_off {
            return self.rank();
        }
        if self.within_role.contains(item) {
            return self.rank_once();
        }
        let certificate = self.certificate.as_ref()?.value;
        Some(rank_of_role(self.role_before(certificate), self.may_issue))
    }

    /// The role it has now; none once it is revoked.
    fn current_role(&self, certificate: &Certificate) -> Option<Role> {
        match &self.revocation {
            Some(revocation) => revocation.value.remaining,
            None => Some(self.role_before(certificate)),
        }
    }

    /// The role it has as long as it is not revoked.
    fn role_before(&self, certificate: &Certificate) -> Role {
        self.role.as_ref().map_or(certificate.role, |chosen| chosen.value.role)
    }

    pub(super) fn follow_cuts(&mut self, items: &BTreeMap<ItemId, &Item>) {
        if self.role.is_none() && self.revocation.is_none() {
            return;
        }
        let Some(signer) = self.certificate.as_ref().map(|chosen| chosen.value.public_key) else {
            return;
        };
        let role = self.role.as_ref().and_then(|chosen| chosen.value.cut);
        let revocation = self.revocation.as_ref().and_then(|chosen| chosen.value.items);
        self.within_role = reach(role, &signer, items);
        self.within_revocation = reach(revocation, &signer, items);
    }

    pub(super) fn rights(&self) -> Option<Rights> {
        self.certificate.as_ref()?;
        let accesses = self.accesses.iter().copied().cloned().collect();
        Some(Rights { roles: self.roles_given.clone(), accesses })
    }

    pub(super) fn member(&self) -> Option<Member> {
        let chosen = self.certificate.as_ref()?;
        Some(Member::of(chosen, self.current_role(chosen.value)?, &self.roles_given))
    }

    /// What it is, or was before it was revoked.
    pub(super) fn member_once(&self) -> Option<Member> {
        let chosen = self.certificate.as_ref()?;
        Some(Member::of(chosen, self.role_before(chosen.value), &self.roles_given))
    }
}

impl Member {
    pub(super) fn of(
        chosen: &Chosen<&Certificate>,
        role: Role,
        roles_given: &BTreeSet<Role>,
    ) -> Self {
        let certificate = chosen.value;
        Self {
            device: certificate.device(),
            public_key: certificate.public_key,
            name: certificate.device_name.clone(),
            user: certificate.user,
            user_name: certificate.user_name.clone(),
            email: certificate.email.clone(),
            role,
            read: certificate.read.clone(),
            write: certificate.write.clone(),
            expires: certificate.expires,
            may_issue: certificate.may_issue,
            was_gateway: roles_given.contains(&Role::Gateway),
            certificate_version: certificate.version,
            certificate: chosen.item,
        }
    }
}

/// The items of `signer` that its item at `cut` reaches through its predecessors.
fn reach(cut: Option<Cut>, signer: &[u8; 32], items: &BTreeMap<ItemId, &Item>) -> BTreeSet<ItemId> {
    let mut within = BTreeSet::new();
    let mut next = cut.map(|cut| cut.item);
    while let Some(item) = next.and_then(|id| items.get(&id)) {
        if item.signer() != signer || !within.insert(item.id()) {
            break;
        }
        next = item.place().previous;
    }
    within
}
