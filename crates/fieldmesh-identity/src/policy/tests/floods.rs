//! Whether replicas that are flooded come to hold the same items.
//!
//! Goal: who may be heard and what has room follows from the items alone. Method: a small tenant
//! with small limits, in which members, strangers and thieves sign at random; each universe of
//! items is delivered in many orders, each from a generator with a printed seed.

use super::*;
use crate::policy::roll::ITEMS_PER_MEMBER_MAX;

const SMALL: Limits = Limits { items: 40, per_admin: 12, per_issuer: 5, per_member: 3 };
const UNIVERSES: u64 = 16;
const ORDERS: u64 = 4;

/// What one replica holds.
#[derive(Clone)]
struct Holder {
    tenant: TenantId,
    limits: Limits,
    items: BTreeMap<ItemId, Item>,
    policy: Policy,
}

impl Holder {
    fn new(tenant: TenantId, limits: Limits) -> Self {
        let policy = Policy::evaluate_within(limits, tenant, []);
        Self { tenant, limits, items: BTreeMap::new(), policy }
    }

    /// Takes the item in if it is admitted, and drops what it drives out; whether it was.
    fn take(&mut self, item: &Item) -> bool {
        if self.items.contains_key(&item.id()) || self.policy.admits(item).is_err() {
            return false;
        }
        self.items.insert(item.id(), item.clone());
        self.policy = Policy::evaluate_within(self.limits, self.tenant, self.items.values());
        self.items.retain(|id, _| self.policy.holds(id));
        true
    }

    /// Takes items until none of them is admitted any more.
    fn take_all(&mut self, items: &[Item]) {
        while items.iter().fold(false, |has_taken, item| self.take(item) | has_taken) {}
    }

    fn ids(&self) -> Vec<ItemId> {
        self.items.keys().copied().collect()
    }
}

fn junk(keys: &DeviceKeys, tenant: TenantId, number: u64) -> Item {
    let statement = Statement::Unknown { kind: 99, body: number.to_be_bytes().to_vec() };
    let place = ItemPlace { sequence: number, previous: None };
    Item::sign(keys, tenant, place, &statement).unwrap()
}

fn revocation(of: &DeviceKeys, items: Option<Cut>) -> Statement {
    Statement::Revocation(Box::new(Revocation {
        device: of.device(),
        version: 1,
        heads: [].into(),
        items,
        remaining: None,
        wipe: false,
        reason: "lost".into(),
    }))
}

/// What a crew says of which some members, and a stranger, know no measure.
fn universe(seed: u64) -> Crew {
    let mut state = seed;
    let mut crew = Crew::new();
    let authority = crew.authority.clone();
    let everybody: Vec<DeviceKeys> = (10..18).map(device).collect();
    crew.authorise(&everybody[0], Role::Admin);
    crew.certify(&everybody[0], &everybody[1], Role::Operator);
    crew.say(&everybody[0], &issuer(&everybody[2]));
    crew.certify(&everybody[2], &everybody[3], Role::Operator);
    for number in 0..70 {
        let signer = &everybody[draw(&mut state) % everybody.len()];
        let subject = &everybody[draw(&mut state) % everybody.len()];
        let statement = match draw(&mut state) % 8 {
            0 => issuer(subject),
            1 => Statement::Certificate(Box::new(certificate(subject, Role::Admin))),
            2 => {
                let (device, role) = (subject.device(), Role::Admin);
                let cut = crew.policy().head(&subject.public_key());
                Statement::Role(RoleChange { device, version: number, role, cut })
            }
            3 => revocation(subject, crew.policy().head(&subject.public_key())),
            _ => Statement::Unknown { kind: 99, body: number.to_be_bytes().to_vec() },
        };
        match draw(&mut state) % 12 {
            // The authority says some of it, and now and then somebody forks its own past.
            0 => crew.say(&authority, &statement),
            1 => {
                let item = Item::sign(signer, crew.tenant, ItemPlace::FIRST, &statement).unwrap();
                crew.items.push(item.clone());
                item.id()
            }
            _ => crew.say(signer, &statement),
        };
    }
    crew
}

fn shuffled(items: &[Item], seed: u64) -> Vec<Item> {
    let (mut items, mut state) = (items.to_vec(), seed);
    for at in (1..items.len()).rev() {
        items.swap(at, draw(&mut state) % (at + 1));
    }
    items
}

#[test]
fn whatever_comes_first_the_same_items_stay_and_say_the_same() {
    for seed in 1..=UNIVERSES {
        let crew = universe(seed);
        let all = Policy::evaluate_within(SMALL, crew.tenant, &crew.items);
        assert!(!crew.items.iter().all(|item| all.holds(&item.id())), "seed {seed}: no flood");
        for order in 1..=ORDERS {
            let mut holder = Holder::new(crew.tenant, SMALL);
            holder.take_all(&shuffled(&crew.items, order));
            let ids: BTreeSet<ItemId> =
                crew.items.iter().map(Item::id).filter(|id| all.holds(id)).collect();
            assert!(holder.items.keys().eq(&ids), "seed {seed}, order {order}");
            assert!(holder.policy == all, "seed {seed}, order {order}");
        }
    }
}

#[test]
fn replicas_that_dropped_different_items_agree_once_they_exchange_what_they_hold() {
    for seed in 1..=UNIVERSES {
        let crew = universe(seed);
        let mut holders = vec![Holder::new(crew.tenant, SMALL); 4];
        for (number, holder) in holders.iter_mut().enumerate() {
            // Each hears most of it, once, and forgets at once what is not admitted.
            let items = shuffled(&crew.items, seed * 10 + number as u64);
            holder.take(&crew.items[0]);
            items.iter().skip(number * 4).for_each(|item| {
                holder.take(item);
            });
        }
        loop {
            let before: Vec<Vec<ItemId>> = holders.iter().map(Holder::ids).collect();
            for (one, other) in [(0, 1), (2, 3), (1, 2), (3, 0)] {
                let given: Vec<Item> = holders[one].items.values().cloned().collect();
                let taken: Vec<Item> = holders[other].items.values().cloned().collect();
                holders[other].take_all(&given);
                holders[one].take_all(&taken);
            }
            let after: Vec<Vec<ItemId>> = holders.iter().map(Holder::ids).collect();
            if before == after {
                break;
            }
        }
        for holder in &holders[1..] {
            assert_eq!(holder.ids(), holders[0].ids(), "seed {seed}");
            assert!(holder.policy == holders[0].policy, "seed {seed}");
        }
    }
}

#[test]
fn an_item_is_admitted_exactly_where_the_larger_set_holds_it() {
    for seed in 1..=UNIVERSES {
        let crew = universe(seed);
        let mut holder = Holder::new(crew.tenant, SMALL);
        for item in shuffled(&crew.items, seed) {
            let more = holder.items.values().chain([&item]);
            let with = Policy::evaluate_within(SMALL, crew.tenant, more);
            let is_admitted = holder.policy.admits(&item).is_ok();
            assert_eq!(is_admitted, with.holds(&item.id()), "seed {seed}");
            holder.take(&item);
        }
    }
}

#[test]
fn whoever_stays_within_its_share_keeps_every_item_whatever_others_say() {
    for seed in 1..=UNIVERSES {
        let mut crew = universe(seed);
        let honest = device(90);
        crew.authorise(&honest, Role::Operator);
        let own: Vec<ItemId> = (0..SMALL.per_member)
            .map(|_| crew.say(&honest, &revocation(&device(91), None)))
            .collect();
        let roomy = Limits { items: 1_000, ..SMALL };
        let policy = Policy::evaluate_within(roomy, crew.tenant, &crew.items);
        assert!(own.iter().all(|id| policy.holds(id)), "seed {seed}");
    }
}

#[test]
fn what_a_stranger_says_is_asked_for_once_it_is_certified() {
    let mut crew = Crew::new();
    let [admin, stranger] = [10, 11].map(device);
    crew.authorise(&admin, Role::Admin);
    let item = junk(&stranger, crew.tenant, 0);
    let before = crew.policy();
    assert_eq!(before.admits(&item), Err(Unheard::UnknownSigner { signer: stranger.device() }));
    crew.certify(&stranger, &stranger, Role::Admin);
    assert!(!crew.policy().hears_more_than(&before), "nobody certifies itself");
    crew.certify(&admin, &stranger, Role::Operator);
    assert!(crew.policy().hears_more_than(&before));
    assert_eq!(crew.policy().admits(&item), Ok(()));
    crew.items.push(item.clone());
    let last = crew.policy().head(&stranger.public_key());
    crew.say(&admin, &revocation(&stranger, last));
    assert!(crew.policy().holds(&item.id()), "a revocation takes nothing out of the set");
    assert_eq!(crew.policy().admits(&junk(&stranger, crew.tenant, 1)), Ok(()));
}

#[test]
fn a_member_that_says_more_than_its_share_keeps_the_smallest_ids() {
    let mut crew = Crew::new();
    let member = device(10);
    crew.authorise(&member, Role::Operator);
    let mut items: Vec<Item> =
        (0..ITEMS_PER_MEMBER_MAX as u64).map(|number| junk(&member, crew.tenant, number)).collect();
    items.sort_by_key(Item::id);
    crew.items.extend(items.clone());
    assert!(items.iter().all(|item| crew.policy().holds(&item.id())), "the edge");
    let more = (100..).map(|number| junk(&member, crew.tenant, number));
    let last = items[ITEMS_PER_MEMBER_MAX - 1].id();
    let larger = more.clone().find(|item| item.id() > last).unwrap();
    let smaller = more.clone().find(|item| item.id() < last).unwrap();
    let count = ITEMS_PER_MEMBER_MAX;
    assert_eq!(crew.policy().admits(&larger), Err(Unheard::ShareFull { count }));
    assert_eq!(crew.policy().admits(&smaller), Ok(()));
    crew.items.extend([larger.clone(), smaller.clone()]);
    assert!(crew.policy().holds(&smaller.id()));
    assert!(!crew.policy().holds(&larger.id()) && !crew.policy().holds(&last));
}

#[test]
fn what_was_said_before_a_cut_outlasts_everything_that_a_thief_signs() {
    let mut crew = Crew::new();
    let [admin, member, lost] = [10, 11, 12].map(device);
    crew.authorise(&admin, Role::Admin);
    crew.authorise(&member, Role::Operator);
    crew.authorise(&lost, Role::Operator);
    let own = crew.say(&member, &revocation(&lost, None));
    let cut = crew.policy().head(&member.public_key());
    crew.say(&admin, &revocation(&member, cut));
    let smaller = (0..).map(|number| junk(&member, crew.tenant, number)).filter(|it| it.id() < own);
    let flood: Vec<Item> = smaller.take(ITEMS_PER_MEMBER_MAX + 5).collect();
    crew.items.extend(flood);
    assert!(crew.policy().holds(&own));
    assert!(crew.policy().is_revoked(&lost.device()));
}

#[test]
fn a_full_set_has_room_for_what_higher_ranks_say() {
    let mut crew = Crew::new();
    let [admin, member] = [10, 11].map(device);
    crew.authorise(&admin, Role::Admin);
    crew.authorise(&member, Role::Operator);
    let tight = Limits { items: crew.items.len() + 2, ..SMALL };
    crew.items.extend((0..3).map(|number| junk(&member, crew.tenant, number)));
    let full = Policy::evaluate_within(tight, crew.tenant, &crew.items);
    let held = |policy: &Policy| crew.items.iter().filter(|it| policy.holds(&it.id())).count();
    assert_eq!(held(&full), tight.items);
    let count = tight.items;
    let is_full = |item: &Item| full.admits(item) == Err(Unheard::Full { count });
    let mut others = (10..200).map(|number| junk(&member, crew.tenant, number));
    assert!(others.any(|item| is_full(&item)));
    let id = crew.say(&admin, &revocation(&member, None));
    assert_eq!(full.admits(crew.items.last().unwrap()), Ok(()));
    let policy = Policy::evaluate_within(tight, crew.tenant, &crew.items);
    assert!(policy.holds(&id) && policy.is_revoked(&member.device()));
    let held = crew.items.iter().filter(|it| policy.holds(&it.id())).count();
    assert_eq!(held, tight.items);
}
