//! Revocations, adoptions and pins: what still counts, in whatever order the items come (P10).

use fieldmesh_model::{BatchId, Epoch};

use super::*;
use crate::{Adoption, HEADS_PER_ITEM_MAX};

const SCOPE: Scope = Scope { collection: 3, partition: 0, month: 24_300 };
const WELLS: Scope = Scope { collection: 1, partition: 0, month: 24_300 };

fn head(number: u8) -> ChainHead {
    let (sequence, batch) = (u64::from(number), BatchId::from_bytes([number; 32]));
    ChainHead { epoch: Epoch(7), scope: SCOPE, sequence, batch }
}

fn user(keys: &DeviceKeys, role: Role, user: u8) -> Statement {
    let user = UserId::from_bytes([user; 16]);
    Statement::Certificate(Box::new(Certificate { user, ..certificate(keys, role) }))
}

fn revocation(keys: &DeviceKeys, heads: &[u8]) -> Revocation {
    Revocation {
        device: keys.device(),
        version: 1,
        heads: heads.iter().map(|number| head(*number)).collect(),
        items: None,
        remaining: None,
        wipe: false,
        reason: "lost at the site".into(),
    }
}

fn revoke(crew: &mut Crew, signer: &impl Signer, revocation: Revocation) -> ItemId {
    crew.say(signer, &Statement::Revocation(Box::new(revocation)))
}

/// Everything that a policy says about devices 20 to 26, for comparing two of them.
fn said(policy: &Policy) -> Vec<(Option<Role>, Standing, Vec<ChainHead>, bool)> {
    (20..27)
        .map(|seed| device(seed).device())
        .map(|device| {
            let role = policy.member(&device).map(|member| member.role);
            let heads = policy.heads_of(&device).iter().copied().collect();
            let is_known = policy.verifying_key(&device).is_some();
            (role, policy.standing(&device, &SCOPE), heads, is_known)
        })
        .collect()
}

/// An authority, an administrator, and five members of different people.
fn crew_of_five() -> (Crew, [DeviceKeys; 6]) {
    let mut crew = Crew::new();
    let authority = crew.authority.clone();
    let keys = [20, 21, 22, 23, 24, 25].map(device);
    crew.say(&authority, &user(&keys[0], Role::Admin, 1));
    for (keys, number) in keys[1..].iter().zip(2..) {
        crew.say(&authority, &user(keys, Role::Operator, number));
    }
    (crew, keys)
}

#[test]
fn what_a_revoked_device_signed_up_to_the_cut_is_kept_and_the_rest_is_not() {
    let (mut crew, [admin, lost, ..]) = crew_of_five();
    assert_eq!(crew.policy().standing(&lost.device(), &SCOPE), Standing::Counts);
    revoke(&mut crew, &admin, revocation(&lost, &[4]));
    let policy = crew.policy();
    assert_eq!(policy.member(&lost.device()), None);
    assert_eq!(policy.standing(&lost.device(), &SCOPE), Standing::Within);
    assert_eq!(policy.heads_of(&lost.device()), &[head(4)].into());
    assert!(policy.verifying_key(&lost.device()).is_some(), "its work can still be verified");
    let refusal = Err(Refusal::Revoked { device: lost.device() });
    assert_eq!(policy.may_read(&lost.device(), &SCOPE), refusal);
    assert_eq!(policy.revocation(&lost.device()).unwrap().reason, "lost at the site");
}

#[test]
fn adopted_work_counts_whether_the_adoption_or_the_revocation_came_first() {
    for adopt_first in [true, false] {
        let (mut crew, [admin, lost, ..]) = crew_of_five();
        let adoption = Adoption { device: lost.device(), heads: [head(9)].into() };
        if adopt_first {
            crew.say(&admin, &Statement::Adoption(adoption.clone()));
            assert_eq!(crew.policy().standing(&lost.device(), &SCOPE), Standing::Counts);
        }
        revoke(&mut crew, &admin, revocation(&lost, &[4]));
        if !adopt_first {
            crew.say(&admin, &Statement::Adoption(adoption));
        }
        assert_eq!(crew.policy().heads_of(&lost.device()), &[head(4), head(9)].into());
    }
}

#[test]
fn two_administrators_cannot_revoke_each_other_and_the_authority_revokes_both() {
    let (mut crew, [ana, ..]) = crew_of_five();
    let authority = crew.authority.clone();
    let ben = device(26);
    crew.say(&authority, &user(&ben, Role::Admin, 77));
    revoke(&mut crew, &ana, revocation(&ben, &[]));
    revoke(&mut crew, &ben, revocation(&ana, &[]));
    assert_eq!([crew.role(&ana), crew.role(&ben)], [Some(Role::Admin); 2]);
    revoke(&mut crew, &authority, revocation(&ana, &[]));
    assert_eq!([crew.role(&ana), crew.role(&ben)], [None, Some(Role::Admin)]);
}

#[test]
fn a_person_revokes_an_own_device_and_nobody_elses() {
    let (mut crew, [_, phone, other, ..]) = crew_of_five();
    let authority = crew.authority.clone();
    let tablet = device(26);
    crew.say(&authority, &user(&tablet, Role::Operator, 2));
    revoke(&mut crew, &tablet, revocation(&other, &[]));
    revoke(
        &mut crew,
        &tablet,
        Revocation { remaining: Some(Role::Admin), ..revocation(&phone, &[]) },
    );
    assert_eq!([crew.role(&phone), crew.role(&other)], [Some(Role::Operator); 2]);
    revoke(&mut crew, &tablet, revocation(&phone, &[1]));
    assert_eq!([crew.role(&phone), crew.role(&tablet)], [None, Some(Role::Operator)]);
}

#[test]
fn a_revoked_issuer_mints_nothing_more_and_what_it_minted_before_stays() {
    let (mut crew, [admin, before, after, ..]) = crew_of_five();
    let authority = crew.authority.clone();
    let [lead, early, late] = [26, 40, 41].map(device);
    let _ = (before, after);
    crew.say(&authority, &issuer(&lead));
    crew.say(&lead, &user(&early, Role::Operator, 50));
    let items = crew.policy().head(&lead.public_key());
    revoke(&mut crew, &admin, Revocation { items, ..revocation(&lead, &[]) });
    crew.say(&lead, &user(&late, Role::Operator, 51));
    let policy = crew.policy();
    assert_eq!(crew.role(&early), Some(Role::Operator));
    assert_eq!(crew.role(&late), None);
    let unknown = Refusal::UnknownDevice { device: late.device() };
    assert_eq!(policy.standing(&late.device(), &SCOPE), Standing::Refused(unknown));
    assert!(policy.verifying_key(&late.device()).is_some(), "an administrator can look and adopt");
    let adoption = Adoption { device: late.device(), heads: [head(2)].into() };
    crew.say(&admin, &Statement::Adoption(adoption));
    assert_eq!(crew.policy().standing(&late.device(), &SCOPE), Standing::Within);
}

#[test]
fn a_revoked_administrator_has_no_word_in_its_own_rank() {
    let (mut crew, [admin, lost, ..]) = crew_of_five();
    let authority = crew.authority.clone();
    let second = device(26);
    crew.say(&authority, &user(&second, Role::Admin, 1));
    revoke(&mut crew, &admin, revocation(&second, &[]));
    revoke(&mut crew, &second, revocation(&lost, &[]));
    crew.say(&second, &user(&device(40), Role::Operator, 60));
    assert_eq!(crew.role(&second), None);
    assert_eq!(crew.role(&device(40)), None, "certified by a device that its owner revoked");
}

#[test]
fn a_demotion_leaves_what_was_right_and_the_rights_of_the_smaller_role() {
    let mut crew = Crew::new();
    let authority = crew.authority.clone();
    let keys = device(20);
    crew.authorise(&keys, Role::Admin);
    crew.set_role(&authority, &keys, Role::Operator, None);
    let policy = crew.policy();
    assert_eq!(policy.standing(&keys.device(), &WELLS), Standing::Counts, "it wrote wells rightly");
    assert!(policy.may_write(&keys.device(), &WELLS).is_err(), "and writes none from now on");
    let demotion = Revocation { remaining: Some(Role::Operator), ..revocation(&keys, &[3]) };
    revoke(&mut crew, &authority, demotion);
    let policy = crew.policy();
    assert_eq!(crew.role(&keys), Some(Role::Operator));
    assert_eq!(policy.standing(&keys.device(), &WELLS), Standing::Within);
    assert_eq!(policy.standing(&keys.device(), &SCOPE), Standing::Counts);
}

#[test]
fn a_pin_decides_for_one_change_and_of_two_pins_the_higher_rank() {
    let (mut crew, [admin, operator, ..]) = crew_of_five();
    let authority = crew.authority.clone();
    let document = DocumentId::from_bytes([1; 16]);
    let pin = |change| Statement::Pin(Pin { document, actor: [2; 16], sequence: 3, change });
    let is_pinned = |crew: &Crew, change| crew.policy().is_pinned(&document, &[2; 16], 3, &change);
    crew.say(&operator, &pin([8; 32]));
    assert!(!is_pinned(&crew, [8; 32]), "an operator decides nothing");
    crew.say(&admin, &pin([9; 32]));
    assert!(is_pinned(&crew, [9; 32]) && !is_pinned(&crew, [7; 32]));
    crew.say(&authority, &pin([7; 32]));
    assert!(is_pinned(&crew, [7; 32]) && !is_pinned(&crew, [9; 32]));
}

#[test]
fn every_order_of_arrival_of_revocations_and_adoptions_ends_in_the_same_policy() {
    let (mut crew, [admin, a, b, c, d, _]) = crew_of_five();
    let authority = crew.authority.clone();
    let lead = device(26);
    crew.say(&authority, &issuer(&lead));
    crew.say(&lead, &user(&device(40), Role::Operator, 2));
    revoke(&mut crew, &admin, revocation(&a, &[1, 2]));
    revoke(&mut crew, &admin, Revocation { version: 2, ..revocation(&a, &[5]) });
    revoke(
        &mut crew,
        &authority,
        Revocation { remaining: Some(Role::Client), ..revocation(&b, &[]) },
    );
    revoke(&mut crew, &b, revocation(&c, &[]));
    crew.say(
        &admin,
        &Statement::Adoption(Adoption { device: c.device(), heads: [head(3)].into() }),
    );
    revoke(&mut crew, &lead, revocation(&d, &[]));
    let items = crew.policy().head(&lead.public_key());
    revoke(&mut crew, &admin, Revocation { items, ..revocation(&lead, &[]) });
    crew.say(&lead, &user(&device(41), Role::Operator, 3));
    let expected = crew.policy();
    assert_eq!(expected.heads_of(&a.device()), &[head(5)].into(), "the later version counts");
    for seed in 1..=200_u64 {
        let mut items = Vec::new();
        let mut left = crew.items.clone();
        let mut state = seed;
        while !left.is_empty() {
            items.push(left.remove(draw(&mut state) % left.len()));
        }
        let policy = Policy::evaluate(crew.tenant, &items);
        assert_eq!(said(&policy), said(&expected), "seed {seed}");
        assert_eq!(policy, expected, "seed {seed}");
    }
}

#[test]
fn the_bytes_of_revocations_adoptions_and_pins_never_change() {
    let device = DeviceId::from_bytes([1; 32]);
    let cut = Cut { sequence: 5, item: ItemId::from_bytes([2; 32]) };
    let revocation = Revocation {
        device,
        version: 3,
        heads: [head(4)].into(),
        items: Some(cut),
        remaining: Some(Role::Client),
        wipe: true,
        reason: "lost".into(),
    };
    let adoption = Adoption { device, heads: [head(4)].into() };
    let pin = Pin {
        document: DocumentId::from_bytes([6; 16]),
        actor: [7; 16],
        sequence: 8,
        change: [9; 32],
    };
    let ones = "01".repeat(32);
    let heads = format!("01070300ecbd0104{}", "04".repeat(32));
    let expected = [
        (4, format!("{ones}03{heads}0105{}01060104{}", "02".repeat(32), "6c6f7374")),
        (5, format!("{ones}{heads}")),
        (6, format!("10{}{}08{}", "06".repeat(16), "07".repeat(16), "09".repeat(32))),
    ];
    let statements = [
        Statement::Revocation(Box::new(revocation)),
        Statement::Adoption(adoption),
        Statement::Pin(pin),
    ];
    for (statement, (kind, hex)) in statements.iter().zip(expected) {
        assert_eq!(statement.kind(), kind);
        assert_eq!(data_encoding::HEXLOWER.encode(&statement.body()), hex, "{statement:?}");
        assert_eq!(Statement::read(kind, &statement.body()), *statement);
    }
}

#[test]
fn a_revocation_at_its_limits_can_be_signed_and_beyond_them_not() {
    let (crew, [admin, lost, ..]) = crew_of_five();
    let heads = |count: usize| {
        (0..count).map(|number| ChainHead {
            epoch: Epoch(u64::MAX - number as u64),
            scope: Scope { collection: u16::MAX, partition: 0xff_ffff, month: 0xff_ffff },
            sequence: u64::MAX,
            batch: BatchId::from_bytes([255; 32]),
        })
    };
    let sign = |count, reason: &str| {
        let revocation = Revocation {
            heads: heads(count).collect(),
            reason: reason.into(),
            ..revocation(&lost, &[])
        };
        let statement = Statement::Revocation(Box::new(revocation));
        Item::sign(&admin, crew.tenant, ItemPlace::FIRST, &statement)
    };
    assert!(sign(HEADS_PER_ITEM_MAX, &"\u{1f4a7}".repeat(200)).is_ok(), "the largest fits");
    assert!(sign(HEADS_PER_ITEM_MAX + 1, "").is_err());
    assert!(sign(1, &"x".repeat(201)).is_err() && sign(1, "a\u{7}").is_err());
}

#[test]
fn whom_a_lead_enrolled_stays_when_the_lead_has_signed_an_item_for_the_end_of_time() {
    let (mut crew, [admin, _, mate, ..]) = crew_of_five();
    let (authority, lead) = (crew.authority.clone(), device(40));
    crew.say(&authority, &issuer(&lead));
    crew.say(&lead, &user(&device(41), Role::Operator, 41));
    crew.say(&lead, &user(&device(42), Role::Operator, 42));
    let stray = |number: u8| {
        let place = ItemPlace { sequence: u64::MAX, previous: None };
        let statement = Statement::Unknown { kind: 200, body: vec![number] };
        Item::sign(&lead, crew.tenant, place, &statement).unwrap()
    };
    let strays = [stray(1), stray(2)];
    crew.items.extend(strays);
    // What the lead says later comes after what the lead said before.
    crew.say(&lead, &user(&device(43), Role::Operator, 43));
    let items = crew.policy().head(&lead.public_key());
    revoke(&mut crew, &admin, Revocation { items, ..revocation(&lead, &[]) });
    for seed in [41, 42, 43] {
        assert_eq!(crew.role(&device(seed)), Some(Role::Operator), "device {seed}");
    }
    let policy = crew.policy();
    assert_eq!(policy.revoker(&lead.device()), Some(&admin.public_key()));
    assert_eq!(policy.revoker(&mate.device()), None);
}

#[test]
fn an_authority_goes_on_after_an_item_at_the_last_sequence_number() {
    let mut crew = Crew::new();
    let authority = crew.authority.clone();
    let head = crew.policy().head(&authority.public_key()).unwrap();
    let place = ItemPlace { sequence: u64::MAX, previous: Some(head.item) };
    let last = Statement::Unknown { kind: 200, body: vec![1] };
    crew.items.push(Item::sign(&authority, crew.tenant, place, &last).unwrap());
    for seed in [20, 21] {
        let before = crew.policy().head(&authority.public_key()).unwrap();
        let id = crew.authorise(&device(seed), Role::Operator);
        let item = crew.items.last().unwrap();
        assert_eq!(item.place().previous, Some(before.item));
        assert_eq!(crew.policy().head(&authority.public_key()).unwrap().item, id);
    }
}
