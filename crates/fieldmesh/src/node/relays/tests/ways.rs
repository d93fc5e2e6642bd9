//! What is dialled, and what is told of it, where the address book and what is signed differ.

use fieldmesh_identity::{ITEMS_PER_MEMBER_MAX, Item, ItemPlace, Policy, RelayAddress, Statement};

use super::*;
use crate::RunOptions;
use crate::api::{RelayState, RevokeOptions};
use crate::clock::now;

/// What a node dials, with the name of whoever is to be there.
fn ways(node: &Node) -> Vec<(String, Option<String>)> {
    let policy = node.inner.mesh.policy();
    let name = |device| policy.known(&device).map(|known| known.name.clone());
    let ways = node.ways().into_iter();
    ways.map(|way| (way.address, way.device.and_then(name))).collect()
}

fn to(address: &str, name: &str) -> (String, Option<String>) {
    (address.to_owned(), Some(name.to_owned()))
}

fn device(node: &Node, name: &str) -> DeviceId {
    node.find_device(name).unwrap().unwrap()
}

/// Waits until the mesh has the policy of the ledger.
async fn settled(node: &Node) {
    while *node.inner.mesh.policy() != *node.inner.ledger.policy() {
        tokio::task::yield_now().await;
    }
}

/// Revokes without waiting for anybody.
async fn revoke(node: &Node, name: &str) {
    node.revoke(name, RevokeOptions::default()).await.unwrap();
    settled(node).await;
}

#[tokio::test]
async fn a_revoked_relay_is_dialled_no_more_before_and_after_its_address_is_taken_back() {
    let crew = Crew::new().await;
    let relay = crew.device("relay", Role::Relay).await;
    let place = listen(&relay).await;
    crew.office.add_relay(at(&place)).await.unwrap();
    sync(&crew.office, Vec::new()).await;
    assert_eq!(ways(&crew.office), [to(&place, "relay")]);
    revoke(&crew.office, "relay").await;
    assert_eq!(ways(&crew.office), []);
    // A device that joined by then has the address without a name.
    crew.office.inner.contacts.heard(None, &place);
    assert_eq!(ways(&crew.office), []);
    crew.office.remove_relay(&place).await.unwrap();
    settled(&crew.office).await;
    assert_eq!(ways(&crew.office), []);
    relay.shutdown().await.unwrap();
    crew.office.shutdown().await.unwrap();
}

#[tokio::test]
async fn an_address_that_is_signed_for_another_relay_leads_to_that_one() {
    let crew = Crew::new().await;
    let old = crew.device("old", Role::Relay).await;
    let new = crew.device("new", Role::Relay).await;
    let office = &crew.office;
    let contacts = &office.inner.contacts;
    contacts.succeeded(device(office, "old"), "relay.example.org");
    contacts.succeeded(device(office, "old"), "192.0.2.1:7843");
    contacts.heard(None, "Relay.example.org:7843");
    contacts.heard(None, "192.0.2.9");
    office.add_relay(unchecked("relay.example.org", "new")).await.unwrap();
    settled(office).await;
    let expected = [
        to("192.0.2.1:7843", "old"),
        ("192.0.2.9".to_owned(), None),
        to("Relay.example.org:7843", "new"),
    ];
    let mut dialled = ways(office);
    dialled.sort();
    assert_eq!(dialled, expected);
    // What worked with the old one, before the address was the new one's, says nothing of it.
    let known = office.relay_addresses().await.unwrap();
    assert_eq!((known[0].state, known[0].last_in_step), (RelayState::Untried, None));
    contacts.failed(None, "relay.example.org", "no answer");
    let known = office.relay_addresses().await.unwrap();
    assert_eq!(known[0].state, RelayState::Unreachable);
    assert_eq!(known[0].error.as_deref(), Some("no answer"));
    for node in [old, new, crew.office] {
        node.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn only_the_address_that_was_dialled_is_connected_and_only_with_the_device_that_is_signed() {
    let crew = Crew::new().await;
    let relay = crew.device("relay", Role::Relay).await;
    let place = listen(&relay).await;
    let other = crew.device("other", Role::Relay).await;
    let office = &crew.office;
    office.add_relay(at(&place)).await.unwrap();
    office.add_relay(unchecked("127.0.0.1:9", "relay")).await.unwrap();
    office.inner.contacts.failed(None, "127.0.0.1:9", "no answer");
    office.dial(&place).await.unwrap();
    let states = async || {
        let known = office.relay_addresses().await.unwrap();
        known.into_iter().map(|it| (it.address, it.state, it.error)).collect::<Vec<_>>()
    };
    let mut expected = [
        (place.clone(), RelayState::Connected, None),
        ("127.0.0.1:9".to_owned(), RelayState::Unreachable, Some("no answer".to_owned())),
    ];
    expected.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(states().await, expected);
    // The address is given to one who is not there.
    let taken = office.add_relay(unchecked(&place, "other")).await;
    assert_fails(taken, Class::Usage, "is the address of relay, by ");
    office.remove_relay(&place).await.unwrap();
    office.add_relay(unchecked(&place, "other")).await.unwrap();
    // Who answers there decides, and it is told who had the address.
    let report = office.add_relay(at(&place)).await.unwrap().remove(0);
    assert_eq!(report.name, "relay");
    assert!(report.was.unwrap().starts_with("the address of other, by "));
    office.remove_relay(&place).await.unwrap();
    office.add_relay(unchecked(&place, "other")).await.unwrap();
    settled(office).await;
    let known = office.relay_addresses().await.unwrap();
    let known = known.into_iter().find(|known| known.address == place).unwrap();
    assert_eq!((known.state, known.last_in_step), (RelayState::Unreachable, None));
    assert_eq!(known.error.as_deref(), Some("another device answers there: relay"));
    for node in [relay, other, crew.office] {
        node.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn what_is_written_as_no_device_dials_it_takes_no_room_and_can_be_taken_back() {
    let crew = Crew::new().await;
    let relay = crew.device("relay", Role::Relay).await;
    let office = &crew.office;
    let id = device(office, "relay");
    let ledger = &office.inner.ledger;
    let odd = ["Relay.Example.org", "169.254.1.1:99", "127.1:99", "0.0.0.0:7843"];
    for odd in odd {
        ledger.name_relay(odd, id).unwrap();
    }
    for port in 1..=16 {
        office.add_relay(unchecked(&format!("10.0.0.1:{port}"), "relay")).await.unwrap();
    }
    settled(office).await;
    assert_eq!(ways(office).len(), 16);
    let known = office.relay_addresses().await.unwrap();
    let spare = known.iter().filter(|it| it.state == RelayState::NotDialled);
    assert_eq!(spare.count(), odd.len(), "{known:?}");
    for odd in odd {
        office.remove_relay(odd).await.unwrap();
    }
    assert_eq!(addresses(office).await.len(), 16);
    relay.shutdown().await.unwrap();
    crew.office.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_node_that_serves_strangers_dials_nothing_that_they_sign() {
    let crew = Crew::new().await;
    let relay = crew.device("relay", Role::Relay).await;
    crew.office.add_relay(unchecked("10.0.0.1:7843", "relay")).await.unwrap();
    let second = crew.device("second", Role::Relay).await;
    // What came with the certificate is not dialled either.
    let contacts = second.inner.contacts.all();
    assert!(contacts.iter().all(|it| it.address == crew.address), "{contacts:?}");
    sync(&second, vec![crew.address.clone()]).await;
    assert_eq!(addresses(&second).await, ["10.0.0.1:7843"]);
    let options = RunOptions { mdns: false, dials_signed: false, ..RunOptions::default() };
    second.run(options).await.unwrap();
    assert!(ways(&second).iter().all(|(address, _)| *address == crew.address));
    for node in [relay, second, crew.office] {
        node.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn an_admin_who_counted_to_the_end_is_overruled_by_the_authority_alone() {
    let crew = Crew::new().await;
    let relay = crew.device("relay", Role::Relay).await;
    let [second, third] =
        [crew.device("b", Role::Admin).await, crew.device("c", Role::Admin).await];
    let trapped = |version: u32| {
        let ledger = &second.inner.ledger;
        let (policy, keys) = (ledger.policy(), ledger.identity.keys());
        let address = "relay.example.org:7843".to_owned();
        let said =
            RelayAddress { address, version, relay: Some(device(&second, "relay")), at: now() };
        let place = policy.next_place(&keys.public_key());
        let item = Item::sign(&keys, ledger.identity.tenant, place, &Statement::Relay(said));
        ledger.add_item(&item.unwrap()).unwrap();
    };
    trapped(u32::MAX);
    sync(&second, vec![crew.address.clone()]).await;
    crew.office.remove_relay("relay.example.org").await.unwrap();
    assert_eq!(addresses(&crew.office).await, Vec::<String>::new());
    // Nor is the authority at the end of its words.
    crew.office.add_relay(unchecked("relay.example.org", "relay")).await.unwrap();
    sync(&third, vec![crew.address.clone()]).await;
    let refused = third.remove_relay("relay.example.org").await;
    assert_fails(refused, Class::Refused, "only the tenant's authority changes that: from ");
    crew.office.remove_relay("relay.example.org").await.unwrap();
    sync(&third, vec![crew.address.clone()]).await;
    assert_eq!(addresses(&third).await, Vec::<String>::new());
    for node in [second, third, relay, crew.office] {
        node.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn of_items_that_belong_together_none_counts_where_one_has_no_room() {
    let crew = Crew::new().await;
    let truck = crew.device("truck", Role::Operator).await;
    let ledger = &truck.inner.ledger;
    let (keys, tenant) = (ledger.identity.keys(), ledger.identity.tenant);
    let place = ItemPlace { sequence: 0, previous: None };
    let signed = |number: usize| {
        let address = format!("10.0.0.{number}:7843");
        let said = RelayAddress { address, version: 1, relay: None, at: now() };
        Item::sign(&keys, tenant, place, &Statement::Relay(said)).unwrap()
    };
    let mut items: Vec<Item> = (0..=ITEMS_PER_MEMBER_MAX).map(signed).collect();
    items.sort_by_key(Item::id);
    let [one, two] = items.split_off(ITEMS_PER_MEMBER_MAX - 1).try_into().unwrap();
    ledger.add_items(&items).unwrap();
    let refused = ledger.add_items(&[one.clone(), two.clone()]).unwrap_err().to_string();
    assert!(refused.contains("there is no room for what this would say"), "{refused}");
    let held = ledger.policy_items().unwrap();
    assert!(!held.contains(&one) && !held.contains(&two));
    ledger.add_item(&one).unwrap();
    assert!(ledger.policy().holds(&one.id()));
    truck.shutdown().await.unwrap();
    crew.office.shutdown().await.unwrap();
}

#[tokio::test]
async fn what_a_peer_has_brought_stays_in_force_where_something_is_said_here_meanwhile() {
    let crew = Crew::new().await;
    let (ledger, mesh) = (&crew.office.inner.ledger, &crew.office.inner.mesh);
    let before = ledger.policy();
    let evaluated = || Policy::evaluate(ledger.identity.tenant, &ledger.policy_items().unwrap());
    let without = evaluated();
    // A certificate comes into force after the items were read.
    let relay = crew.device("relay", Role::Relay).await;
    let id = relay.inner.ledger.device();
    assert!(!mesh.publish_own(&[], &before, without) && ledger.policy().member(&id).is_some());
    assert!(mesh.publish_own(&[], &ledger.policy(), evaluated()));
    assert!(ledger.policy().member(&id).is_some());
    relay.shutdown().await.unwrap();
    crew.office.shutdown().await.unwrap();
}
