//! Whether a set of items always amounts to the same members, and whose word counts.
//!
//! A small tenant with every rank is made from fixed seeds; orders and subsets come from a
//! generator with a printed seed.

mod cuts;
mod floods;
mod purges;
mod relays;
mod schemas;

use super::*;
use crate::{Authority, Certificate, DeviceKeys, RecoveryKey, RoleChange, Seed, Signer};

struct Crew {
    tenant: TenantId,
    authority: Authority,
    items: Vec<Item>,
}

impl Crew {
    fn new() -> Self {
        let authority = Authority::from_seed(&Seed::from_bytes([1; 32]));
        let recovery = RecoveryKey::from_seed(&Seed::from_bytes([2; 32]));
        let genesis = Statement::Genesis(Genesis {
            authority: authority.public_key(),
            recovery: recovery.public_key(),
            name: "Gulf Crew".into(),
        });
        let genesis =
            Item::sign(&authority, TenantId::default(), ItemPlace::FIRST, &genesis).unwrap();
        Self { tenant: genesis.tenant(), authority, items: vec![genesis] }
    }

    fn policy(&self) -> Policy {
        Policy::evaluate(self.tenant, &self.items)
    }

    fn say(&mut self, signer: &impl Signer, statement: &Statement) -> ItemId {
        let place = self.policy().next_place(&signer.public_key());
        let item = Item::sign(signer, self.tenant, place, statement).unwrap();
        self.items.push(item.clone());
        item.id()
    }

    fn certify(&mut self, signer: &impl Signer, keys: &DeviceKeys, role: Role) -> ItemId {
        self.say(signer, &Statement::Certificate(Box::new(certificate(keys, role))))
    }

    fn authorise(&mut self, keys: &DeviceKeys, role: Role) -> ItemId {
        let authority = self.authority.clone();
        self.certify(&authority, keys, role)
    }

    fn set_role(
        &mut self,
        signer: &impl Signer,
        keys: &DeviceKeys,
        role: Role,
        cut: Option<Cut>,
    ) -> ItemId {
        let version = self.policy().role_version(&keys.device()) + 1;
        let change = RoleChange { device: keys.device(), version, role, cut };
        self.say(signer, &Statement::Role(change))
    }

    fn role(&self, keys: &DeviceKeys) -> Option<Role> {
        self.policy().member(&keys.device()).map(|member| member.role)
    }
}

fn device(seed: u8) -> DeviceKeys {
    DeviceKeys::from_seed(&Seed::from_bytes([seed; 32]))
}

fn certificate(keys: &DeviceKeys, role: Role) -> Certificate {
    Certificate::new(keys.public_key(), "tablet", UserId::from_bytes([9; 16]), role)
}

fn issuer(keys: &DeviceKeys) -> Statement {
    let certificate = Certificate { may_issue: true, ..certificate(keys, Role::Manager) };
    Statement::Certificate(Box::new(certificate))
}

/// A tenant in which every rank has said something, some of it without the right to.
fn busy_crew() -> Crew {
    let mut crew = Crew::new();
    let authority = crew.authority.clone();
    let [admin, lead, operator, spare, stranger] = [10, 11, 12, 13, 14].map(device);
    crew.authorise(&admin, Role::Admin);
    crew.say(&authority, &issuer(&lead));
    crew.certify(&admin, &operator, Role::Operator);
    crew.certify(&lead, &spare, Role::Operator);
    crew.certify(&stranger, &stranger, Role::Admin);
    crew.certify(&operator, &stranger, Role::Operator);
    crew.set_role(&admin, &operator, Role::Manager, None);
    crew.set_role(&lead, &spare, Role::Manager, None);
    crew.set_role(&admin, &admin, Role::Operator, None);
    crew.say(&admin, &Statement::Unknown { kind: 200, body: vec![1, 2, 3] });
    let head = crew.policy().head(&lead.public_key());
    crew.set_role(&admin, &lead, Role::Operator, head);
    crew.certify(&lead, &stranger, Role::Operator);
    crew
}

#[test]
fn each_rank_says_only_what_it_may() {
    let crew = busy_crew();
    let [admin, lead, operator, spare, stranger] = [10, 11, 12, 13, 14].map(device);
    assert_eq!(crew.policy().tenant_name(), "Gulf Crew");
    assert_eq!(crew.role(&admin), Some(Role::Admin));
    assert_eq!(crew.role(&operator), Some(Role::Manager));
    assert_eq!(crew.role(&lead), Some(Role::Operator));
    assert_eq!(crew.role(&spare), Some(Role::Operator), "certified before the cut");
    assert_eq!(crew.role(&stranger), None, "certified by itself, by an operator, after the cut");
}

#[test]
fn every_order_of_arrival_gives_the_same_policy() {
    let crew = busy_crew();
    for seed in 1..=200_u64 {
        let mut items = crew.items.clone();
        let mut state = seed;
        for at in (1..items.len()).rev() {
            items.swap(at, draw(&mut state) % (at + 1));
        }
        items.extend_from_within(..3);
        assert_eq!(Policy::evaluate(crew.tenant, &items), crew.policy(), "seed {seed}");
    }
}

#[test]
fn items_that_do_not_count_make_no_difference_in_any_subset() {
    let crew = busy_crew();
    let lead = device(11).public_key();
    let members = |policy: &Policy| policy.members().cloned().collect::<Vec<_>>();
    for seed in 1..=200_u64 {
        let mut state = seed;
        let some: Vec<Item> =
            crew.items.iter().filter(|_| draw(&mut state) & 3 != 0).cloned().collect();
        let policy = Policy::evaluate(crew.tenant, &some);
        // A cut reaches its items through others that need not count themselves.
        let weighty: Vec<Item> = some
            .iter()
            .filter(|item| policy.counts(&item.id()) || *item.signer() == lead)
            .cloned()
            .collect();
        let again = Policy::evaluate(crew.tenant, &weighty);
        assert_eq!(members(&again), members(&policy), "seed {seed}");
    }
}

#[test]
fn an_administrator_cannot_make_or_unmake_one() {
    let mut crew = Crew::new();
    let [ana, ben, cid] = [20, 21, 22].map(device);
    crew.authorise(&ana, Role::Admin);
    crew.authorise(&ben, Role::Admin);
    crew.set_role(&ana, &ben, Role::Operator, None);
    crew.set_role(&ben, &ana, Role::Operator, None);
    crew.certify(&ana, &cid, Role::Admin);
    assert_eq!(crew.role(&ana), Some(Role::Admin));
    assert_eq!(crew.role(&ben), Some(Role::Admin));
    assert_eq!(crew.role(&cid), None);
}

#[test]
fn a_role_that_waits_for_its_certificate_gives_no_lower_rank_more_than_it_may() {
    let mut crew = Crew::new();
    let authority = crew.authority.clone();
    let [admin, late] = [20, 21].map(device);
    crew.authorise(&admin, Role::Admin);
    crew.set_role(&authority, &late, Role::Admin, None);
    crew.certify(&admin, &late, Role::Operator);
    assert_eq!(crew.role(&late), None, "an administrator would have completed another one");
}

#[test]
fn a_demoted_administrator_keeps_what_it_signed_up_to_the_cut() {
    let mut crew = Crew::new();
    let authority = crew.authority.clone();
    let [admin, before, after] = [20, 21, 22].map(device);
    crew.authorise(&admin, Role::Admin);
    crew.certify(&admin, &before, Role::Operator);
    let cut = crew.policy().head(&admin.public_key());
    crew.certify(&admin, &after, Role::Operator);
    crew.set_role(&authority, &admin, Role::Operator, cut);
    assert_eq!(crew.role(&before), Some(Role::Operator));
    assert_eq!(crew.role(&after), None);
    crew.set_role(&authority, &admin, Role::Operator, None);
    assert_eq!(crew.role(&before), None, "without a cut nothing of the higher rank is left");
}

#[test]
fn an_issuer_certifies_operators_within_its_own_access_only() {
    let mut crew = Crew::new();
    let authority = crew.authority.clone();
    let [lead, inside, outside, manager, other] = [30, 31, 32, 33, 34].map(device);
    let access = Access { collections: [3].into(), partitions: [7].into() };
    let narrow = |keys: &DeviceKeys, role, may_issue| {
        let (read, write) = (access.clone(), access.clone());
        let certificate = Certificate { read, write, may_issue, ..certificate(keys, role) };
        Statement::Certificate(Box::new(certificate))
    };
    crew.say(&authority, &narrow(&lead, Role::Manager, true));
    crew.say(&lead, &narrow(&inside, Role::Operator, false));
    crew.say(&lead, &narrow(&manager, Role::Manager, false));
    crew.say(&lead, &narrow(&other, Role::Operator, true));
    crew.certify(&lead, &outside, Role::Operator);
    assert_eq!(crew.role(&inside), Some(Role::Operator));
    assert_eq!([&outside, &manager, &other].map(|keys| crew.role(keys)), [None; 3]);
}

#[test]
fn a_renewed_certificate_takes_the_place_of_the_old_one() {
    let mut crew = Crew::new();
    let keys = device(20);
    crew.authorise(&keys, Role::Operator);
    let renewed = Certificate {
        version: 2,
        device_name: "new tablet".into(),
        ..certificate(&keys, Role::Operator)
    };
    let authority = crew.authority.clone();
    crew.say(&authority, &Statement::Certificate(Box::new(renewed)));
    let policy = crew.policy();
    let member = policy.member(&keys.device()).unwrap();
    assert_eq!((member.name.as_str(), member.certificate_version), ("new tablet", 2));
}

#[test]
fn items_of_another_tenant_say_nothing_even_under_the_same_authority() {
    let mut crew = Crew::new();
    let keys = device(20);
    let statement = Statement::Certificate(Box::new(certificate(&keys, Role::Admin)));
    let other = TenantId::from_bytes([8; 32]);
    let item = Item::sign(&crew.authority, other, ItemPlace::FIRST, &statement).unwrap();
    crew.items.push(item);
    assert_eq!(crew.role(&keys), None);
}

#[test]
fn without_the_genesis_item_there_is_no_member() {
    let mut crew = Crew::new();
    crew.authorise(&device(20), Role::Admin);
    crew.items.remove(0);
    assert_eq!(crew.policy().members().count(), 0);
}

#[test]
fn role_and_access_decide_who_writes_and_reads() {
    let mut crew = Crew::new();
    let authority = crew.authority.clone();
    let [operator, relay, stranger] = [20, 21, 22].map(device);
    let write = Access { collections: [3].into(), partitions: [].into() };
    let narrow = Certificate { write, ..certificate(&operator, Role::Operator) };
    crew.say(&authority, &Statement::Certificate(Box::new(narrow)));
    crew.authorise(&relay, Role::Relay);
    let policy = crew.policy();
    let scope = |collection| Scope { collection, partition: 0, month: 1 };
    assert_eq!(policy.may_write(&operator.device(), &scope(3)), Ok(()));
    assert_eq!(
        policy.may_write(&operator.device(), &scope(4)),
        Err(Refusal::Access { collection: 4, partition: 0 })
    );
    assert_eq!(policy.may_read(&operator.device(), &scope(4)), Ok(()));
    assert_eq!(policy.may_read(&relay.device(), &scope(4)), Ok(()));
    let refusal = Refusal::Role { role: Role::Relay, collection: 3 };
    assert_eq!(policy.may_write(&relay.device(), &scope(3)), Err(refusal));
    let refusal = Refusal::UnknownDevice { device: stranger.device() };
    assert_eq!(policy.may_write(&stranger.device(), &scope(3)), Err(refusal.clone()));
    assert_eq!(policy.may_read(&stranger.device(), &scope(3)), Err(refusal));
    assert!(policy.verifying_key(&operator.device()).is_some());
}

/// A xorshift generator: enough to shuffle, the same in every run.
fn draw(state: &mut u64) -> usize {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    usize::try_from(*state >> 16).unwrap_or(0)
}
