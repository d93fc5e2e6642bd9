//! Which items count, rank by rank.

use std::collections::{BTreeMap, BTreeSet};

use ed25519_dalek::VerifyingKey;
use fieldmesh_model::{DeviceId, ItemId, Role, UserId};

use super::purges::Purges;
use super::relays::Relays;
use super::roll::Roll;
use super::schemas::Parts;
use super::subject::{Chosen, Subject, choose, rank_of_role};
use super::{Member, Pin, Place, Rank};
use crate::statement::{Certificate, ChainHead, Genesis, Revocation, Statement};
use crate::{Item, permission};

/// The evaluation in progress: subjects are final for every rank above the one being settled.
pub(super) struct Evaluation<'a> {
    items: &'a BTreeMap<ItemId, &'a Item>,
    genesis: &'a Genesis,
    roll: &'a Roll,
    pub(super) subjects: BTreeMap<DeviceId, Subject<'a>>,
    pub(super) adopted: BTreeMap<DeviceId, BTreeSet<ChainHead>>,
    pub(super) pins: BTreeMap<Place, Chosen<[u8; 32]>>,
    pub(super) purges: Purges,
    pub(super) relays: Relays,
}

impl<'a> Evaluation<'a> {
    pub(super) fn new(
        items: &'a BTreeMap<ItemId, &'a Item>,
        genesis: &'a Genesis,
        roll: &'a Roll,
    ) -> Self {
        Self {
            items,
            genesis,
            roll,
            subjects: BTreeMap::new(),
            adopted: BTreeMap::new(),
            pins: BTreeMap::new(),
            purges: Purges::default(),
            relays: Relays::default(),
        }
    }

    /// Applies what signers of `rank` say and returns the items that count.
    pub(super) fn settle(&mut self, rank: Rank) -> Vec<ItemId> {
        // Whoever is revoked has no word in its rank any more, whatever the order of the items:
        // first those revoked by a device of the same person, whose own rank may be any.
        let muted = self.muted(rank);
        let mut counted = self.apply_all(rank, |evaluation, item| match item.statement() {
            Statement::Revocation(revocation) => {
                !muted.contains(&DeviceId::of_key(item.signer()))
                    && evaluation.is_own(rank, item, revocation)
            }
            _ => false,
        });
        let speaks = |evaluation: &Self, item: &Item| evaluation.rank_of(item) == Some(rank);
        counted.extend(self.apply_all(rank, |evaluation, item| match item.statement() {
            Statement::Revocation(revocation) => {
                speaks(evaluation, item) && evaluation.may_revoke(rank, revocation)
            }
            _ => false,
        }));
        counted.extend(self.apply_all(rank, |evaluation, item| {
            speaks(evaluation, item) && evaluation.counts(rank, item)
        }));
        counted
    }

    /// What everybody has said of collections who could ever define one; `counted` is what counts.
    pub(super) fn schemas(&self, counted: &BTreeSet<ItemId>) -> Parts<'a> {
        let mut parts = Parts::default();
        for (id, item) in self.items {
            let rank = self.roll.rank(&DeviceId::of_key(item.signer()));
            if let Some(rank) = rank.filter(|rank| *rank >= Rank::Admin) {
                parts.add(item, rank, counted.contains(id));
            }
        }
        parts
    }

    /// The keys of those whom anybody with a word, then or now, has certified.
    pub(super) fn keys(&self) -> BTreeMap<DeviceId, VerifyingKey> {
        let certificates = self.certificates().filter_map(|(_, certificate)| {
            let key = VerifyingKey::from_bytes(&certificate.public_key).ok()?;
            Some((certificate.device(), key))
        });
        certificates.collect()
    }

    /// What they are, or were before they were revoked: by the certificate that counts, else by the
    /// newest one.
    pub(super) fn known(&self) -> BTreeMap<DeviceId, Member> {
        let mut newest: BTreeMap<DeviceId, Option<Chosen<&Certificate>>> = BTreeMap::new();
        for (item, certificate) in self.certificates() {
            let version = certificate.version;
            let candidate = Chosen { rank: Rank::Rest, version, item, value: certificate };
            choose(newest.entry(certificate.device()).or_default(), candidate);
        }
        let known = newest.into_iter().filter_map(|(device, chosen)| {
            let counted = self.subjects.get(&device).and_then(Subject::member_once);
            let newest = || {
                chosen.map(|chosen| {
                    Member::of(&chosen, chosen.value.role, &[chosen.value.role].into())
                })
            };
            counted.or_else(newest).map(|member| (device, member))
        });
        known.collect()
    }

    /// The certificates that anybody with a word, then or now, has signed.
    ///
    /// Cuts and later versions take nothing away here: replicas have to know the same keys whatever
    /// they hold, and a key that is known decides nothing by itself.
    fn certificates(&self) -> impl Iterator<Item = (ItemId, &'a Certificate)> + '_ {
        self.items.iter().filter_map(|(id, item)| match item.statement() {
            Statement::Certificate(certificate) => {
                let rank = self.roll.rank(&DeviceId::of_key(item.signer()));
                (rank >= Some(Rank::Issuer)).then_some((*id, certificate.as_ref()))
            }
            _ => None,
        })
    }

    /// Devices that an administrator of another person revokes: they must not answer by revoking
    /// the administrator's device of their own person.
    fn muted(&self, rank: Rank) -> BTreeSet<DeviceId> {
        let revocations = self.items.values().filter_map(|item| match item.statement() {
            Statement::Revocation(revocation) => Some((*item, revocation.as_ref())),
            _ => None,
        });
        revocations
            .filter(|(item, revocation)| {
                let signer = DeviceId::of_key(item.signer());
                self.rank_of(item) == Some(rank)
                    && self.may_revoke(rank, revocation)
                    && self.user(&signer) != self.user(&revocation.device)
            })
            .map(|(_, revocation)| revocation.device)
            .collect()
    }

    fn user(&self, device: &DeviceId) -> Option<UserId> {
        Some(self.subjects.get(device)?.certificate.as_ref()?.value.user)
    }

    /// Applies the items that count.
    fn apply_all(&mut self, rank: Rank, counts: impl Fn(&Self, &Item) -> bool) -> Vec<ItemId> {
        // Judged against the subjects as they were left before, so that the order of the items
        // does not matter.
        let counting: Vec<(ItemId, &'a Item)> = self
            .items
            .iter()
            .filter(|(_, item)| counts(self, item))
            .map(|(id, item)| (*id, *item))
            .collect();
        for (id, item) in &counting {
            self.apply(rank, *id, item);
        }
        for subject in self.subjects.values_mut() {
            subject.follow_cuts(self.items);
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
        self.subjects.get(&DeviceId::of_key(item.signer()))?.rank_of_item(&item.id())
    }

    fn counts(&self, rank: Rank, item: &Item) -> bool {
        match item.statement() {
            Statement::Certificate(certificate) => {
                let device = certificate.device();
                // A role that waits for its certificate comes into force with it.
                let waiting = self.subjects.get(&device).and_then(|subject| subject.role.as_ref());
                let role = waiting.map_or(certificate.role, |chosen| chosen.value.role);
                let held = self.subjects.get(&device).is_some_and(|subject| subject.may_issue);
                let may_issue = certificate.may_issue || held;
                let given =
                    rank_of_role(certificate.role, may_issue).max(rank_of_role(role, may_issue));
                self.outranks(rank, &device, given)
                    && VerifyingKey::from_bytes(&certificate.public_key).is_ok()
                    && self.may_certify(rank, item, certificate)
            }
            Statement::Role(change) => {
                let given = self.rank_given(&change.device, change.role);
                rank >= Rank::Admin && self.outranks(rank, &change.device, given)
            }
            Statement::Adoption(_)
            | Statement::Pin(_)
            | Statement::Purge(_)
            | Statement::Relay(_)
            | Statement::Schema(_) => rank >= Rank::Admin,
            // Revocations were settled before.
            Statement::Revocation(_) | Statement::Genesis(_) | Statement::Unknown { .. } => false,
        }
    }

    fn outranks(&self, rank: Rank, subject: &DeviceId, given: Rank) -> bool {
        let held = self.subjects.get(subject).and_then(Subject::rank);
        rank > given && held.is_none_or(|held| rank > held)
    }

    /// The rank that `device` has with `role`.
    fn rank_given(&self, device: &DeviceId, role: Role) -> Rank {
        rank_of_role(role, self.subjects.get(device).is_some_and(|subject| subject.may_issue))
    }

    /// Administrators revoke who is below them.
    fn may_revoke(&self, rank: Rank, revocation: &Revocation) -> bool {
        let device = &revocation.device;
        let given = revocation.remaining.map(|role| self.rank_given(device, role));
        rank >= Rank::Admin && self.outranks(rank, device, given.unwrap_or(Rank::Rest))
    }

    /// Whether somebody revokes another device of the same person, which has `rank`.
    ///
    /// Whoever certified the revoking device has to outrank the revoked one, and whoever certified
    /// that as well: else an issuer could make devices in the name of others.
    fn is_own(&self, rank: Rank, item: &Item, revocation: &Revocation) -> bool {
        let signer = self.subjects.get(&DeviceId::of_key(item.signer()));
        let subject = self.subjects.get(&revocation.device);
        let Some((signer, subject)) = signer.zip(subject) else { return false };
        let certificates = signer.certificate.as_ref().zip(subject.certificate.as_ref());
        let is_same_person = certificates.is_some_and(|(own, other)| {
            own.value.user == other.value.user && own.rank > rank && own.rank >= other.rank
        });
        is_same_person
            && revocation.remaining.is_none()
            && subject.rank() == Some(rank)
            && signer.rank_of_item(&item.id()).is_some()
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
        let may_issue = rank > Rank::Issuer || (operator && !certificate.may_issue);
        within && rank >= Rank::Issuer && may_issue
    }

    fn apply(&mut self, rank: Rank, id: ItemId, item: &'a Item) {
        match item.statement() {
            Statement::Certificate(certificate) => {
                let subject = self.subjects.entry(certificate.device()).or_default();
                subject.give(certificate.role, Some(&certificate.write));
                subject.may_issue |= certificate.may_issue;
                let version = certificate.version;
                let value = certificate.as_ref();
                choose(&mut subject.certificate, Chosen { rank, version, item: id, value });
            }
            Statement::Role(change) => {
                let subject = self.subjects.entry(change.device).or_default();
                subject.give(change.role, None);
                let version = change.version;
                choose(&mut subject.role, Chosen { rank, version, item: id, value: change });
            }
            Statement::Revocation(revocation) => {
                let subject = self.subjects.entry(revocation.device).or_default();
                let version = revocation.version;
                let value = revocation.as_ref();
                let candidate = Chosen { rank, version, item: id, value };
                // A revoked key never comes back, whoever says something milder.
                let is_end = |chosen: &Chosen<&Revocation>| chosen.value.remaining.is_none();
                match &subject.revocation {
                    Some(chosen) if is_end(chosen) && !is_end(&candidate) => {}
                    Some(chosen) if !is_end(chosen) && is_end(&candidate) => {
                        subject.revocation = Some(candidate);
                    }
                    _ => choose(&mut subject.revocation, candidate),
                }
            }
            Statement::Adoption(adoption) => {
                self.adopted.entry(adoption.device).or_default().extend(&adoption.heads);
            }
            Statement::Pin(Pin { document, actor, sequence, change }) => {
                let place = (*document, *actor, *sequence);
                let pin = Chosen { rank, version: 0, item: id, value: *change };
                match self.pins.get(&place) {
                    Some(pinned) if !pin.goes_before(pinned) => {}
                    _ => {
                        self.pins.insert(place, pin);
                    }
                }
            }
            Statement::Purge(purge) => self.purges.add(rank, item, purge),
            Statement::Relay(said) => self.relays.add(rank, item, said),
            Statement::Schema(_) | Statement::Genesis(_) | Statement::Unknown { .. } => {}
        }
    }
}
