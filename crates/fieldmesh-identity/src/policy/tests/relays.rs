//! Who may say where relays are, and what several who say it amount to.

use super::*;
use crate::RelayAddress;
use crate::invitation::ADDRESS_LENGTH_MAX;

const ADDRESS: &str = "relay.example.org:7843";

fn at(address: &str, version: u32, relay: Option<&DeviceKeys>) -> Statement {
    let relay = relay.map(DeviceKeys::device);
    let at = Moment::from_millis(300);
    Statement::Relay(RelayAddress { address: address.into(), version, relay, at })
}

fn places(policy: &Policy) -> Vec<(&str, DeviceId)> {
    policy.relay_addresses().map(|(address, relay, _)| (address, relay)).collect()
}

/// The policy of the items of `crew` in an order drawn with `seed`, some of them said twice.
fn shuffled(crew: &Crew, seed: u64) -> Policy {
    let (mut items, mut state) = (crew.items.clone(), seed);
    items.extend_from_within(..draw(&mut state) % items.len());
    for at in (1..items.len()).rev() {
        items.swap(at, draw(&mut state) % (at + 1));
    }
    Policy::evaluate(crew.tenant, &items)
}

#[test]
fn only_an_administrator_says_where_relays_are() {
    let mut crew = Crew::new();
    let authority = crew.authority.clone();
    let [admin, lead, operator, stranger, relay] = [10, 11, 12, 13, 14].map(device);
    crew.authorise(&admin, Role::Admin);
    crew.say(&authority, &issuer(&lead));
    crew.certify(&admin, &operator, Role::Operator);
    crew.certify(&admin, &relay, Role::Relay);
    for signer in [&lead, &operator, &stranger, &relay] {
        let item = crew.say(signer, &at(ADDRESS, 1, Some(&relay)));
        assert!(!crew.policy().counts(&item), "{signer:?}");
    }
    assert_eq!(places(&crew.policy()), []);
    let item = crew.say(&admin, &at(ADDRESS, 1, Some(&relay)));
    let policy = crew.policy();
    assert!(policy.counts(&item));
    assert_eq!(places(&policy), [(ADDRESS, relay.device())]);
    let said = policy.relay_address(ADDRESS).unwrap();
    assert_eq!((said.by, said.version), (admin.public_key(), 1));
    assert_eq!(said.at, Moment::from_millis(300));
    crew.say(&admin, &at(ADDRESS, 2, None));
    assert_eq!(places(&crew.policy()), []);
    assert_eq!(crew.policy().relay_address(ADDRESS).unwrap().version, 2);
    crew.say(&admin, &at(ADDRESS, 3, Some(&relay)));
    assert_eq!(places(&crew.policy()), [(ADDRESS, relay.device())]);
}

#[test]
fn administrators_who_did_not_know_of_each_other_come_to_the_same_everywhere() {
    for seed in 1..=100_u64 {
        let mut crew = Crew::new();
        let [one, two, first, second] = [10, 11, 20, 21].map(device);
        crew.authorise(&one, Role::Admin);
        crew.authorise(&two, Role::Admin);
        crew.certify(&one, &first, Role::Relay);
        crew.certify(&one, &second, Role::Gateway);
        let mut state = seed;
        // Each goes on from its own last word, so that many have the same version.
        let mut versions = BTreeMap::new();
        for _ in 0..12 {
            let admin = [&one, &two][draw(&mut state) % 2];
            let address = ["a:1", "b:2", "c:3"][draw(&mut state) % 3];
            let relay = [None, Some(&first), Some(&second)][draw(&mut state) % 3];
            let version = versions.entry((admin.public_key(), address)).or_insert(0);
            *version += 1;
            crew.say(admin, &at(address, *version, relay));
        }
        let expected = crew.policy();
        for order in 1..=20 {
            let policy = shuffled(&crew, seed * 1_000 + order);
            assert_eq!(policy, expected, "seed {seed}, order {order}");
        }
        // The last word of each address has the greatest version that was said.
        for address in ["a:1", "b:2", "c:3"] {
            let spoken = versions.iter().filter(|((_, said), _)| *said == address);
            let greatest = spoken.map(|(_, version)| *version).max();
            assert_eq!(expected.relay_address(address).map(|said| said.version), greatest);
        }
    }
}

#[test]
fn the_authority_goes_before_an_administrator_who_counts_to_the_end() {
    let mut crew = Crew::new();
    let authority = crew.authority.clone();
    let [admin, relay, trap] = [10, 20, 21].map(device);
    crew.authorise(&admin, Role::Admin);
    crew.say(&admin, &at(ADDRESS, u32::MAX, Some(&trap)));
    crew.say(&authority, &at(ADDRESS, 1, Some(&relay)));
    assert_eq!(places(&crew.policy()), [(ADDRESS, relay.device())]);
    assert_eq!(shuffled(&crew, 7), crew.policy());
}

#[test]
fn what_an_administrator_said_after_its_revocation_leads_nowhere() {
    let mut crew = Crew::new();
    let authority = crew.authority.clone();
    let [admin, relay, trap] = [10, 20, 21].map(device);
    crew.authorise(&admin, Role::Admin);
    crew.say(&admin, &at(ADDRESS, 1, Some(&relay)));
    let revocation = Revocation {
        device: admin.device(),
        version: 1,
        heads: BTreeSet::new(),
        items: crew.policy().head(&admin.public_key()),
        remaining: None,
        wipe: false,
        reason: String::new(),
    };
    crew.say(&authority, &Statement::Revocation(Box::new(revocation)));
    crew.say(&admin, &at(ADDRESS, 2, Some(&trap)));
    crew.say(&admin, &at("trap:1", 1, Some(&trap)));
    assert_eq!(places(&crew.policy()), [(ADDRESS, relay.device())]);
    for seed in 1..=50 {
        assert_eq!(shuffled(&crew, seed), crew.policy(), "seed {seed}");
    }
}

#[test]
fn the_bytes_of_an_address_never_change() {
    let relay = device(20);
    let address = data_encoding::HEXLOWER.encode(ADDRESS.as_bytes());
    // The length of the address, its version, that there is a relay, and 300 in zigzag.
    let device = data_encoding::HEXLOWER.encode(relay.device().as_bytes());
    for (relay, said) in [(Some(&relay), format!("01{device}")), (None, "00".to_owned())] {
        let statement = at(ADDRESS, 3, relay);
        let expected = format!("16{address}03{said}d804");
        assert_eq!(statement.kind(), 8);
        assert_eq!(data_encoding::HEXLOWER.encode(&statement.body()), expected);
        assert_eq!(Statement::read(8, &statement.body()), statement);
    }
}

#[test]
fn an_address_that_would_garble_a_list_is_not_signed_and_does_not_count() {
    let admin = device(10);
    let sign = |address: &str| {
        let statement = at(address, 1, None);
        let item = Item::sign(&admin, TenantId::default(), ItemPlace::FIRST, &statement);
        let read = Statement::read(8, &statement.body());
        assert_eq!(item.is_err(), matches!(read, Statement::Unknown { kind: 8, .. }));
        item
    };
    for address in
        ["", "a\u{1b}[2J:1", "r\u{435}lay:1", "a\u{202e}b:1", &"x".repeat(ADDRESS_LENGTH_MAX + 1)]
    {
        assert!(sign(address).is_err(), "{address:?}");
    }
    assert!(sign(&"x".repeat(ADDRESS_LENGTH_MAX)).is_ok());
}
