//! Whether every device learns where relays are and dials them by itself, and what cannot be said.
//!
//! Real nodes in one process over loopback.

use std::time::Duration;

use fieldmesh_model::Role;
use fieldmesh_net::Transport;

use super::*;
use crate::TenantOptions;
use crate::api::{Class, InviteOptions, NewRecord, RelayState, SyncOptions, SyncResult};

mod ways;

struct Crew {
    folder: tempfile::TempDir,
    office: Node,
    address: String,
}

impl Crew {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = TenantOptions { name: "Crew".into(), ..TenantOptions::default() };
        let builder = Node::builder(folder.path().join("office")).passphrase("one");
        let office = builder.create_tenant(options).await.unwrap().0;
        let address = listen(&office).await;
        Self { folder, office, address }
    }

    /// A device that has joined and is in step with the office.
    async fn device(&self, name: &str, role: Role) -> Node {
        let valid = Duration::from_secs(600);
        let options = InviteOptions { role, user: None, valid, count: 1 };
        let invitation = self.office.invite(options).await.unwrap().remove(0).invitation;
        let builder = Node::builder(self.folder.path().join(name)).passphrase("one");
        let builder = if role == Role::Relay { builder.forward_only() } else { builder };
        let (node, _) = builder.join(&invitation, Some(name.into())).await.unwrap();
        if role != Role::Relay {
            sync(&node, vec![self.address.clone()]).await;
        }
        node
    }
}

async fn listen(node: &Node) -> String {
    // One that has synced listens already, on every address.
    let bound = node.listen(Some(([127, 0, 0, 1], 0).into())).await.unwrap();
    format!("127.0.0.1:{}", bound.port())
}

async fn sync(node: &Node, with: Vec<String>) {
    let options = SyncOptions { with, mdns: false, ..SyncOptions::default() };
    let report = node.sync(options, |_| {}).await.unwrap();
    assert_eq!(report.result, SyncResult::Ok, "{report:?}");
}

fn at(address: &str) -> RelayOptions {
    RelayOptions { address: address.into(), ..RelayOptions::default() }
}

fn unchecked(address: &str, device: &str) -> RelayOptions {
    RelayOptions { device: Some(device.into()), unchecked: true, ..at(address) }
}

async fn addresses(node: &Node) -> Vec<String> {
    let relays = node.relay_addresses().await.unwrap();
    relays.into_iter().map(|relay| relay.address).collect()
}

#[track_caller]
fn assert_fails<T: std::fmt::Debug>(result: Result<T, Error>, class: Class, words: &str) {
    let problem = result.unwrap_err().problem();
    assert_eq!(problem.class, class, "{problem:?}");
    assert!(problem.detail.contains(words), "{problem:?}");
}

#[tokio::test]
async fn a_device_that_met_the_office_alone_finds_the_relay_by_itself() {
    let crew = Crew::new().await;
    let relay = crew.device("relay", Role::Relay).await;
    let place = listen(&relay).await;
    let before = crew.device("truck", Role::Operator).await;
    let report = crew.office.add_relay(at(&place)).await.unwrap().remove(0);
    assert_eq!((report.name.as_str(), report.address.as_str()), ("relay", place.as_str()));
    assert_eq!(report.state, RelayState::Untried);
    let assignments = ["name=Alder 1", "apiNumber=42-227-30001", "status=ACTIVE"];
    let assignments = assignments.map(String::from).to_vec();
    let well = NewRecord { collection: "well".into(), assignments, ..NewRecord::default() };
    // One learns it by a sync, and one with its certificate.
    sync(&before, vec![crew.address.clone()]).await;
    assert_eq!(addresses(&before).await, [place.as_str()]);
    let after = crew.device("van", Role::Operator).await;
    crew.office.record(well).await.unwrap();
    // The office reaches it without being told where it is.
    sync(&crew.office, Vec::new()).await;
    let known = crew.office.relay_addresses().await.unwrap();
    assert!(known[0].last_in_step.is_some(), "{known:?}");
    crew.office.shutdown().await.unwrap();
    for node in [&before, &after] {
        let options = SyncOptions { mdns: false, ..SyncOptions::default() };
        let report = node.sync(options, |_| {}).await.unwrap();
        assert_eq!(report.result, SyncResult::Partial, "the office is away: {report:?}");
        assert_eq!(node.show("Alder 1").await.unwrap().fields["name"], "Alder 1");
    }
    for node in [before, after, relay] {
        node.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn to_name_a_relay_is_no_conversation_that_failed() {
    let crew = Crew::new().await;
    let relay = crew.device("relay", Role::Relay).await;
    let place = listen(&relay).await;
    crew.office.add_relay(at(&place)).await.unwrap();
    assert_fails(crew.office.add_relay(at(&place)).await, Class::Usage, "is known already");
    sync(&crew.office, Vec::new()).await;
    for node in [&crew.office, &relay] {
        let dealings = node.take_dealings().await.unwrap();
        assert!(dealings.devices.iter().all(|dealt| dealt.failed == 0), "{dealings:?}");
        let peers = node.peers().await.unwrap();
        assert!(peers.iter().all(|peer| peer.error.is_none()), "{peers:?}");
    }
    relay.shutdown().await.unwrap();
    crew.office.shutdown().await.unwrap();
}

#[tokio::test]
async fn who_syncs_by_one_command_is_told_by_the_next_what_that_went_over() {
    let crew = Crew::new().await;
    let truck = crew.device("truck", Role::Operator).await;
    truck.shutdown().await.unwrap();
    let builder = Node::builder(crew.folder.path().join("truck")).passphrase("one");
    let truck = builder.open().await.unwrap();
    let peers = truck.peers().await.unwrap();
    let office = Some(crew.office.inner.ledger.device());
    let office = peers.iter().find(|peer| peer.device == office).unwrap();
    assert_eq!((office.transport, office.last_transport), (None, Some(Transport::Quic)));
    truck.shutdown().await.unwrap();
    crew.office.shutdown().await.unwrap();
}

#[tokio::test]
async fn an_address_that_was_taken_back_is_dialled_no_more() {
    let crew = Crew::new().await;
    let relay = crew.device("relay", Role::Relay).await;
    let place = listen(&relay).await;
    crew.office.add_relay(at(&place)).await.unwrap();
    sync(&crew.office, Vec::new()).await;
    let dialled = |node: &Node| {
        let ways = node.ways();
        ways.iter().any(|way| way.address == place)
    };
    assert!(dialled(&crew.office));
    let was = crew.office.remove_relay(&place).await.unwrap();
    assert!(was.starts_with("the address of relay, by "), "{was}");
    // The book has it from the time when it worked.
    assert!(crew.office.inner.contacts.all().iter().any(|known| known.address == place));
    while dialled(&crew.office) {
        tokio::task::yield_now().await;
    }
    assert_eq!(addresses(&crew.office).await, Vec::<String>::new());
    assert_fails(crew.office.remove_relay(&place).await, Class::NotFound, &place);
    // Somebody who asks for it by name still gets there, and it can be said once more.
    sync(&crew.office, vec![place.clone()]).await;
    crew.office.add_relay(at(&place)).await.unwrap();
    assert_eq!(addresses(&crew.office).await, [place.as_str()]);
    relay.shutdown().await.unwrap();
    crew.office.shutdown().await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_said_of_a_relay_is_refused_in_words() {
    let crew = Crew::new().await;
    let relay = crew.device("relay", Role::Relay).await;
    let place = listen(&relay).await;
    let truck = crew.device("truck", Role::Operator).await;
    let parked = listen(&truck).await;
    let other = Crew::new().await;
    let office = &crew.office;
    let claimed = unchecked("fieldmeshclaim1abc", "relay");
    assert_fails(office.add_relay(claimed).await, Class::Usage, "a claim names its relay");
    assert_fails(office.add_relay(at("https://relay/")).await, Class::Usage, "is no address");
    assert_fails(office.add_relay(at("0.0.0.0:7843")).await, Class::Usage, "leads to nobody");
    assert_fails(office.add_relay(at(&parked)).await, Class::Usage, "truck is no relay");
    assert_fails(office.add_relay(at(&crew.address)).await, Class::Unreachable, "itself");
    let foreign = office.add_relay(at(&other.address)).await;
    assert_fails(foreign, Class::Unreachable, "does not serve this tenant");
    let wrong = RelayOptions { device: Some("truck".into()), ..at(&place) };
    assert_fails(office.add_relay(wrong).await, Class::Usage, "relay answers at");
    let nobody = unchecked(&place, "nobody");
    assert_fails(office.add_relay(nobody).await, Class::NotFound, "nobody");
    let nameless = RelayOptions { unchecked: true, ..at(&place) };
    assert_fails(office.add_relay(nameless).await, Class::Usage, "--device");
    let tablet = unchecked("192.0.2.7", "truck");
    assert_fails(office.add_relay(tablet).await, Class::Usage, "truck is no relay");
    assert_fails(truck.add_relay(at(&place)).await, Class::Refused, "operator may not say");
    assert_fails(truck.remove_relay(&place).await, Class::NotFound, &place);
    office.add_relay(at(&place)).await.unwrap();
    assert_fails(office.add_relay(at(&place)).await, Class::Usage, "known already");
    // Where nobody answers for now it takes the name.
    relay.shutdown().await.unwrap();
    assert_fails(office.add_relay(at("127.0.0.1:9")).await, Class::Unreachable, "--no-check");
    office.add_relay(unchecked(" Relay.Example.ORG", "relay")).await.unwrap();
    assert_eq!(addresses(office).await, [place.as_str(), "relay.example.org:7843"]);
    for port in 1..=14 {
        office.add_relay(unchecked(&format!("10.0.0.1:{port}"), "relay")).await.unwrap();
    }
    let more = office.add_relay(unchecked("10.0.0.1:15", "relay")).await;
    assert_fails(more, Class::Usage, "16 addresses");
    office.revoke("relay", crate::api::RevokeOptions::default()).await.unwrap();
    let known = office.relay_addresses().await.unwrap();
    assert!(known.iter().all(|relay| relay.state == RelayState::NoRelay), "{known:?}");
    for node in [truck, crew.office, other.office] {
        node.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn another_admin_changes_what_the_first_one_said() {
    let crew = Crew::new().await;
    let relay = crew.device("relay", Role::Relay).await;
    let place = listen(&relay).await;
    let second = crew.device("second", Role::Admin).await;
    crew.office.add_relay(at(&place)).await.unwrap();
    sync(&second, vec![crew.address.clone()]).await;
    second.remove_relay(&place).await.unwrap();
    sync(&second, vec![crew.address.clone()]).await;
    assert_eq!(addresses(&crew.office).await, Vec::<String>::new());
    // Both at once, apart: whoever's word it is in the end, it is the same for both.
    crew.office.add_relay(unchecked("a.example.org", "relay")).await.unwrap();
    second.add_relay(unchecked("a.example.org", "relay")).await.unwrap();
    second.remove_relay("a.example.org").await.unwrap();
    sync(&second, vec![crew.address.clone()]).await;
    assert_eq!(addresses(&crew.office).await, addresses(&second).await);
    assert_eq!(addresses(&second).await, Vec::<String>::new());
    for node in [second, relay, crew.office] {
        node.shutdown().await.unwrap();
    }
}
