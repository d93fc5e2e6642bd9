//! What revocations, adoptions and pins amount to. Goal: nobody shuts out whom it may not, nothing
//! honest before a cut is lost, and the order of arrival decides nothing. Method: small tenants
//! from fixed seeds, every fact checked again in shuffled orders.

use fieldmesh_identity::{
    Adoption, Authority, Certificate, ChainHead, Cut, DeviceKeys, Genesis, Item, ItemPlace, Pin,
    Policy, RecoveryKey, Revocation, RoleChange, Seed, Signer, Standing, Statement,
};
use fieldmesh_model::catalogue::wells::{FIELD_ENTRY, WELL};
use fieldmesh_model::{
    BatchId, DeviceId, DocumentId, Epoch, ItemId, Role, Scope, TenantId, UserId,
};

const SHUFFLES: u64 = 50;

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
        let genesis = Item::sign(&authority, TenantId::default(), ItemPlace::FIRST, &genesis)
            .expect("a clean name");
        Self { tenant: genesis.tenant(), authority, items: vec![genesis] }
    }

    /// The policy, after checking that no other order of the items gives another one.
    fn policy(&self) -> Policy {
        let policy = Policy::evaluate(self.tenant, &self.items);
        for seed in 1..=SHUFFLES {
            let (mut items, mut state) = (self.items.clone(), seed);
            for at in (1..items.len()).rev() {
                items.swap(at, draw(&mut state) % (at + 1));
            }
            items.extend_from_within(..1);
            assert_eq!(Policy::evaluate(self.tenant, &items), policy, "seed {seed}");
        }
        policy
    }

    fn say(&mut self, signer: &impl Signer, statement: &Statement) -> ItemId {
        let place = Policy::evaluate(self.tenant, &self.items).next_place(&signer.public_key());
        let item = Item::sign(signer, self.tenant, place, statement).expect("a clean statement");
        self.items.push(item.clone());
        item.id()
    }

    fn order(&mut self, statement: &Statement) -> ItemId {
        let authority = self.authority.clone();
        self.say(&authority, statement)
    }

    fn head(&self, keys: &DeviceKeys) -> Option<Cut> {
        Policy::evaluate(self.tenant, &self.items).head(&keys.public_key())
    }
}

fn device(seed: u8) -> DeviceKeys {
    DeviceKeys::from_seed(&Seed::from_bytes([seed; 32]))
}

fn member(keys: &DeviceKeys, user: u8, role: Role, may_issue: bool) -> Statement {
    let user = UserId::from_bytes([user; 16]);
    let certificate = Certificate::new(keys.public_key(), "tablet", user, role);
    Statement::Certificate(Box::new(Certificate { may_issue, ..certificate }))
}

fn revoke(keys: &DeviceKeys, heads: &[ChainHead], items: Option<Cut>) -> Statement {
    leave(keys, heads, items, None)
}

fn leave(
    keys: &DeviceKeys,
    heads: &[ChainHead],
    items: Option<Cut>,
    role: Option<Role>,
) -> Statement {
    Statement::Revocation(Box::new(Revocation {
        device: keys.device(),
        version: 1,
        heads: heads.iter().copied().collect(),
        items,
        remaining: role,
        wipe: false,
        reason: "lost".into(),
    }))
}

fn adopt(keys: &DeviceKeys, heads: &[ChainHead]) -> Statement {
    Statement::Adoption(Adoption { device: keys.device(), heads: heads.iter().copied().collect() })
}

fn head(byte: u8) -> ChainHead {
    let batch = BatchId::from_bytes([byte; 32]);
    ChainHead { epoch: Epoch(u64::from(byte)), scope: scope(FIELD_ENTRY), sequence: 3, batch }
}

fn scope(collection: u16) -> Scope {
    Scope { collection, partition: 0, month: 24_303 }
}

fn heads(policy: &Policy, device: &DeviceId) -> Vec<ChainHead> {
    policy.heads_of(device).iter().copied().collect()
}

#[test]
fn two_administrators_cannot_revoke_each_other() {
    let mut crew = Crew::new();
    let [ana, ben] = [10, 11].map(device);
    crew.order(&member(&ana, 1, Role::Admin, false));
    crew.order(&member(&ben, 2, Role::Admin, false));
    crew.say(&ana, &revoke(&ben, &[], None));
    crew.say(&ben, &revoke(&ana, &[], None));
    let policy = crew.policy();
    for keys in [&ana, &ben] {
        assert!(!policy.is_revoked(&keys.device()) && policy.member(&keys.device()).is_some());
        assert_eq!(policy.standing(&keys.device(), &scope(WELL)), Standing::Counts);
    }
}

#[test]
fn a_revoked_device_keeps_its_key_and_what_the_heads_name() {
    let mut crew = Crew::new();
    let [admin, lost] = [10, 11].map(device);
    crew.order(&member(&admin, 1, Role::Admin, false));
    crew.order(&member(&lost, 2, Role::Operator, false));
    crew.say(&admin, &revoke(&lost, &[head(1)], None));
    let policy = crew.policy();
    let id = lost.device();
    assert!(policy.is_revoked(&id) && policy.member(&id).is_none());
    assert!(policy.verifying_key(&id).is_some(), "its old batches are verified as before");
    assert_eq!(policy.standing(&id, &scope(FIELD_ENTRY)), Standing::Within);
    assert!(matches!(policy.standing(&id, &scope(WELL)), Standing::Refused(_)));
    assert_eq!(heads(&policy, &id), [head(1)]);
    assert_eq!(policy.revocation(&id).map(|it| it.reason.as_str()), Some("lost"));
    assert!(policy.may_write(&id, &scope(FIELD_ENTRY)).is_err());
    assert!(policy.may_read(&id, &scope(FIELD_ENTRY)).is_err());
}

#[test]
fn a_revoked_issuer_mints_nothing_and_loses_nothing_it_minted_before() {
    let mut crew = Crew::new();
    let [admin, lead, before, after] = [10, 11, 12, 13].map(device);
    crew.order(&member(&admin, 1, Role::Admin, false));
    crew.order(&member(&lead, 2, Role::Manager, true));
    crew.say(&lead, &member(&before, 3, Role::Operator, false));
    let cut = crew.head(&lead);
    crew.say(&admin, &revoke(&lead, &[], cut));
    crew.say(&lead, &member(&after, 4, Role::Operator, false));
    let policy = crew.policy();
    assert!(policy.member(&before.device()).is_some());
    assert!(policy.member(&after.device()).is_none());
    assert!(matches!(policy.standing(&after.device(), &scope(FIELD_ENTRY)), Standing::Refused(_)));
    assert!(policy.verifying_key(&after.device()).is_some(), "its work waits to be adopted");
}

#[test]
fn what_a_signer_says_without_a_place_inside_its_cut_does_not_count() {
    let mut crew = Crew::new();
    let [admin, operator] = [10, 11].map(device);
    crew.order(&member(&admin, 1, Role::Admin, false));
    crew.order(&member(&operator, 2, Role::Operator, false));
    crew.say(&admin, &revoke(&operator, &[], None));
    crew.order(&revoke(&admin, &[], None));
    let policy = crew.policy();
    assert!(policy.is_revoked(&admin.device()));
    assert!(!policy.is_revoked(&operator.device()), "the thief of the admin's key shut it out");
}

#[test]
fn a_user_shuts_out_a_lost_device_of_its_own_and_no_other() {
    let mut crew = Crew::new();
    let [lost, spare, other] = [10, 11, 12].map(device);
    crew.order(&member(&lost, 1, Role::Operator, false));
    crew.order(&member(&spare, 1, Role::Operator, false));
    crew.order(&member(&other, 2, Role::Operator, false));
    crew.say(&spare, &revoke(&lost, &[head(1)], None));
    crew.say(&spare, &revoke(&other, &[], None));
    let policy = crew.policy();
    assert!(policy.is_revoked(&lost.device()) && !policy.is_revoked(&other.device()));
    assert_eq!(heads(&policy, &lost.device()), [head(1)]);
}

#[test]
fn an_issuer_cannot_shut_an_administrator_out_through_a_spare_in_its_name() {
    let mut crew = Crew::new();
    let [admin, lead, spare] = [10, 11, 12].map(device);
    crew.order(&member(&admin, 1, Role::Admin, false));
    crew.order(&member(&lead, 2, Role::Manager, true));
    crew.say(&lead, &member(&spare, 1, Role::Operator, false));
    crew.say(&spare, &revoke(&admin, &[], None));
    assert!(!crew.policy().is_revoked(&admin.device()));
}

#[test]
fn an_adoption_that_arrives_before_the_revocation_counts_all_the_same() {
    let mut crew = Crew::new();
    let [admin, lead, lost] = [10, 11, 12].map(device);
    crew.order(&member(&admin, 1, Role::Admin, false));
    crew.order(&member(&lead, 2, Role::Manager, true));
    crew.order(&member(&lost, 3, Role::Operator, false));
    let refused = crew.say(&lead, &adopt(&lost, &[head(9)]));
    crew.say(&admin, &adopt(&lost, &[head(2)]));
    assert_eq!(crew.policy().standing(&lost.device(), &scope(FIELD_ENTRY)), Standing::Counts);
    crew.order(&revoke(&lost, &[head(1)], None));
    crew.say(&admin, &adopt(&lost, &[head(3)]));
    let policy = crew.policy();
    assert_eq!(heads(&policy, &lost.device()), [head(1), head(2), head(3)]);
    assert!(!policy.counts(&refused));
}

#[test]
fn a_demoted_administrator_goes_on_within_the_role_that_remains() {
    let mut crew = Crew::new();
    let admin = device(10);
    crew.order(&member(&admin, 1, Role::Admin, false));
    crew.order(&leave(&admin, &[head(1)], None, Some(Role::Operator)));
    let policy = crew.policy();
    let id = admin.device();
    assert_eq!(policy.member(&id).map(|member| member.role), Some(Role::Operator));
    assert_eq!(policy.standing(&id, &scope(FIELD_ENTRY)), Standing::Counts);
    assert_eq!(policy.standing(&id, &scope(WELL)), Standing::Within);
    assert!(policy.may_write(&id, &scope(WELL)).is_err());
}

#[test]
fn a_plain_change_of_role_takes_nothing_back_that_was_written() {
    let mut crew = Crew::new();
    let admin = device(10);
    crew.order(&member(&admin, 1, Role::Admin, false));
    let change = RoleChange { device: admin.device(), version: 1, role: Role::Operator, cut: None };
    crew.order(&Statement::Role(change));
    let policy = crew.policy();
    assert_eq!(policy.standing(&admin.device(), &scope(WELL)), Standing::Counts);
    assert!(policy.may_write(&admin.device(), &scope(WELL)).is_err());
}

#[test]
fn a_revoked_key_is_never_reinstated() {
    let mut crew = Crew::new();
    let lost = device(10);
    crew.order(&member(&lost, 1, Role::Operator, false));
    crew.order(&revoke(&lost, &[], None));
    let Statement::Certificate(mut renewed) = member(&lost, 1, Role::Operator, false) else {
        unreachable!()
    };
    renewed.version = 9;
    crew.order(&Statement::Certificate(renewed));
    let change = RoleChange { device: lost.device(), version: 9, role: Role::Manager, cut: None };
    crew.order(&Statement::Role(change));
    let policy = crew.policy();
    assert!(policy.is_revoked(&lost.device()) && policy.member(&lost.device()).is_none());
}

#[test]
fn a_later_demotion_does_not_soften_a_revocation() {
    let mut crew = Crew::new();
    let lost = device(10);
    crew.order(&member(&lost, 1, Role::Manager, false));
    crew.order(&revoke(&lost, &[], None));
    let Statement::Revocation(mut softer) = leave(&lost, &[], None, Some(Role::Manager)) else {
        unreachable!()
    };
    softer.version = 2;
    crew.order(&Statement::Revocation(softer));
    assert_eq!(crew.policy().member(&lost.device()), None, "a revoked key came back");
}

#[test]
fn a_stolen_administrators_device_revoked_from_its_spare_mints_nothing_more() {
    let mut crew = Crew::new();
    let [stolen, spare, minted] = [10, 11, 12].map(device);
    crew.order(&member(&stolen, 1, Role::Admin, false));
    crew.order(&member(&spare, 1, Role::Operator, false));
    let cut = crew.head(&stolen);
    crew.say(&spare, &revoke(&stolen, &[], cut));
    crew.say(&stolen, &member(&minted, 5, Role::Operator, false));
    let policy = crew.policy();
    assert!(policy.is_revoked(&stolen.device()));
    assert_eq!(policy.member(&minted.device()), None);
}

#[test]
fn a_demoted_device_is_not_called_revoked() {
    let mut crew = Crew::new();
    let admin = device(10);
    crew.order(&member(&admin, 1, Role::Admin, false));
    crew.order(&leave(&admin, &[], None, Some(Role::Operator)));
    assert!(!crew.policy().is_revoked(&admin.device()));
}

#[test]
fn the_largest_set_of_heads_fits_into_an_item() {
    let wide = |index: usize| ChainHead {
        epoch: Epoch(u64::MAX - index as u64),
        scope: Scope { collection: u16::MAX, partition: 0xff_fffe, month: 0xff_ffff },
        sequence: u64::MAX,
        batch: BatchId::from_bytes([0xff; 32]),
    };
    let Statement::Revocation(mut full) = revoke(&device(10), &[], None) else { unreachable!() };
    full.heads = (0..fieldmesh_identity::HEADS_PER_ITEM_MAX).map(wide).collect();
    full.items = Some(Cut { sequence: u64::MAX, item: ItemId::from_bytes([1; 32]) });
    full.version = u32::MAX;
    full.reason = "\u{1f600}".repeat(200);
    let authority = Authority::from_seed(&Seed::from_bytes([1; 32]));
    let item =
        Item::sign(&authority, TenantId::default(), ItemPlace::FIRST, &Statement::Revocation(full));
    assert_eq!(item.err(), None);
}

#[test]
fn an_issuer_cannot_cut_a_relay_off_through_a_spare_in_its_name() {
    let mut crew = Crew::new();
    let [relay, lead, spare] = [10, 11, 12].map(device);
    crew.order(&member(&relay, 1, Role::Relay, false));
    crew.order(&member(&lead, 2, Role::Manager, true));
    crew.say(&lead, &member(&spare, 1, Role::Operator, false));
    crew.say(&spare, &revoke(&relay, &[], None));
    assert!(!crew.policy().is_revoked(&relay.device()));
}

#[test]
fn the_operators_of_a_manager_stay_when_its_certificate_is_renewed_without_the_issuing_right() {
    let mut crew = Crew::new();
    let [lead, operator] = [11, 12].map(device);
    crew.order(&member(&lead, 2, Role::Manager, true));
    crew.say(&lead, &member(&operator, 3, Role::Operator, false));
    let user = UserId::from_bytes([2; 16]);
    let renewed = Certificate::new(lead.public_key(), "tablet", user, Role::Manager);
    let renewed = Certificate { version: 2, ..renewed };
    crew.order(&Statement::Certificate(Box::new(renewed)));
    let policy = crew.policy();
    assert!(policy.member(&operator.device()).is_some());
    assert_eq!(policy.standing(&operator.device(), &scope(FIELD_ENTRY)), Standing::Counts);
}

#[test]
fn the_keys_of_those_whom_a_revoked_administrator_brought_in_are_still_known() {
    let mut crew = Crew::new();
    let [admin, lead, operator] = [10, 11, 12].map(device);
    crew.order(&member(&admin, 1, Role::Admin, false));
    crew.say(&admin, &member(&lead, 2, Role::Manager, true));
    crew.say(&lead, &member(&operator, 3, Role::Operator, false));
    crew.order(&revoke(&admin, &[], None));
    let policy = crew.policy();
    for keys in [lead, operator] {
        assert!(policy.member(&keys.device()).is_none());
        assert!(policy.verifying_key(&keys.device()).is_some(), "its batches can be kept aside");
    }
}

#[test]
fn a_stolen_phone_that_an_administrator_revoked_does_not_take_its_owners_device_down() {
    let mut crew = Crew::new();
    let [admin, phone, other, operator] = [10, 11, 12, 13].map(device);
    crew.order(&member(&admin, 1, Role::Admin, false));
    crew.order(&member(&other, 2, Role::Admin, false));
    crew.order(&member(&phone, 1, Role::Operator, false));
    crew.say(&admin, &member(&operator, 7, Role::Operator, false));
    crew.say(&other, &revoke(&phone, &[], None));
    crew.say(&phone, &revoke(&admin, &[], None));
    let policy = crew.policy();
    assert!(policy.is_revoked(&phone.device()) && !policy.is_revoked(&admin.device()));
    assert!(policy.member(&operator.device()).is_some());
}

#[test]
fn of_two_pins_in_one_place_exactly_one_holds() {
    let mut crew = Crew::new();
    let [admin, operator] = [10, 11].map(device);
    crew.order(&member(&admin, 1, Role::Admin, false));
    crew.order(&member(&operator, 2, Role::Operator, false));
    let (document, actor) = (DocumentId::from_bytes([5; 16]), [6; 16]);
    let pin =
        |sequence, change| Statement::Pin(Pin { document, actor, sequence, change: [change; 32] });
    crew.say(&admin, &pin(1, 1));
    crew.say(&admin, &pin(1, 2));
    crew.say(&operator, &pin(2, 1));
    crew.say(&admin, &pin(3, 1));
    crew.order(&pin(3, 2));
    let policy = crew.policy();
    let holds = |sequence, change| policy.is_pinned(&document, &actor, sequence, &[change; 32]);
    assert!(holds(1, 1) != holds(1, 2));
    assert!(!holds(2, 1), "an operator decides nothing");
    assert!(!holds(3, 1) && holds(3, 2), "the authority's word goes before");
}

fn draw(state: &mut u64) -> usize {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    usize::try_from(*state >> 16).unwrap_or(0)
}
