//! What is made of the services that others announce.
//!
//! Most tests feed events by hand; the last one uses the real network of this host.

use std::io::Write as _;

use super::*;

fn tenant(number: u8) -> TenantId {
    TenantId::from_bytes([number; 32])
}

fn mdns() -> Mdns {
    let (tenants, _) = watch::channel(Vec::new());
    let announced = Mutex::new(None);
    let name = "00ff00ff00ff00ff".to_owned();
    Mdns { daemon: None, name, tenants, announced, _listener: JoinSet::new() }
}

/// What the network hears of a device that announces `tenants` at `addresses`.
fn service(tenants: Vec<TenantId>, addresses: &str) -> ResolvedService {
    let service = mdns().service(&Announcement { port: 7843, tenants }).unwrap();
    let mut resolved = service.as_resolved_service();
    resolved.addresses =
        addresses.split(' ').map(|ip| ScopedIp::from(ip.parse::<IpAddr>().unwrap())).collect();
    resolved
}

fn ear(tenants: &[TenantId]) -> (Ear, watch::Sender<Vec<TenantId>>) {
    let (sender, receiver) = watch::channel(tenants.to_vec());
    (Ear::new(Instance::new("own._fieldmesh._udp.local."), receiver), sender)
}

fn resolved(service: ResolvedService) -> ServiceEvent {
    ServiceEvent::ServiceResolved(Box::new(service))
}

#[test]
fn a_device_of_our_tenant_is_found_at_its_best_address_first() {
    let (mut ear, _sender) = ear(&[tenant(1), tenant(2)]);
    let addresses = "127.0.0.1 fe80::1 2001:db8::1 192.0.2.7";
    ear.hear(resolved(service(vec![tenant(9), tenant(2)], addresses)));
    let Some(Sighting::Found { tenants, addresses, .. }) = ear.next_news() else {
        panic!("nobody was found")
    };
    assert_eq!(tenants, [tenant(2)]);
    let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    let expected = ["192.0.2.7:7843", "[2001:db8::1]:7843", "[fe80::1]:7843", "127.0.0.1:7843"];
    assert_eq!(addresses, expected);
    assert!(!ear.has_news());
}

#[test]
fn a_device_of_other_tenants_is_neither_found_nor_lost() {
    let (mut ear, _sender) = ear(&[tenant(1)]);
    let service = service(vec![tenant(2)], "192.0.2.7");
    let name = service.fullname.clone();
    ear.hear(resolved(service));
    ear.hear(ServiceEvent::ServiceRemoved(SERVICE.into(), name));
    assert!(!ear.has_news());
}

#[test]
fn only_the_latest_news_of_a_device_waits() {
    let (mut ear, _sender) = ear(&[tenant(1)]);
    for address in ["192.0.2.1", "192.0.2.2", "192.0.2.3"] {
        ear.hear(resolved(service(vec![tenant(1)], address)));
    }
    assert_eq!(ear.news.len(), 1);
    let name = service(vec![tenant(1)], "192.0.2.1").fullname;
    ear.hear(ServiceEvent::ServiceRemoved(SERVICE.into(), name.clone()));
    let lost = Sighting::Lost { instance: Instance::new(name) };
    assert_eq!(ear.next_news(), Some(lost));
    assert!(!ear.has_news());
}

#[test]
fn a_device_heard_before_we_joined_its_tenant_is_found_after() {
    let (mut ear, sender) = ear(&[]);
    ear.hear(resolved(service(vec![tenant(1)], "192.0.2.7")));
    assert!(!ear.has_news());
    sender.send_replace(vec![tenant(1)]);
    ear.match_again();
    assert!(matches!(ear.next_news(), Some(Sighting::Found { .. })));
    sender.send_replace(Vec::new());
    ear.match_again();
    assert!(matches!(ear.next_news(), Some(Sighting::Lost { .. })));
}

#[test]
fn a_flood_of_announcements_is_bounded() {
    let (mut ear, _sender) = ear(&[tenant(1)]);
    for number in 0..INSTANCES_MAX + 100 {
        let mut service = service(vec![tenant(1)], "192.0.2.7");
        service.fullname = format!("{number}.{SERVICE}");
        ear.hear(resolved(service));
    }
    assert_eq!(ear.present.len(), INSTANCES_MAX);
    assert!(ear.news.len() <= INSTANCES_MAX);
}

#[test]
fn an_announcement_holds_many_tenants_and_names_none() {
    let tenants: Vec<TenantId> = (0..200).map(tenant).collect();
    let service = service(tenants.clone(), "192.0.2.7");
    assert_eq!(marks(&service).len(), TENANTS_ANNOUNCED_MAX);
    let text = format!("{service:?}");
    assert!(tenants.iter().all(|tenant| !text.contains(&tenant.to_string())));
}

#[tokio::test]
async fn an_interface_that_does_not_exist_is_reported_and_nothing_fails() {
    let interfaces = Interfaces::Named(vec!["no-such-interface".into()]);
    let (mdns, mut hears) = Mdns::start(&interfaces, [7; 8]);
    mdns.announce(&Announcement { port: 1, tenants: vec![tenant(1)] });
    mdns.verify(&Instance::new("nobody"));
    let heard = timeout(Duration::from_secs(10), hears.recv()).await.unwrap();
    assert!(matches!(heard, Some(Sighting::Unavailable { .. })), "{heard:?}");
}

#[tokio::test]
async fn two_devices_on_this_host_find_and_lose_each_other() {
    let wait = Duration::from_secs(10);
    let mut here = [0; 32];
    here[..4].copy_from_slice(&std::process::id().to_be_bytes());
    let here = TenantId::from_bytes(here);
    let announcement = |port| Announcement { port, tenants: vec![here] };
    // Other runs of this test may be on the same network.
    let nonce =
        |number: u32| (u64::from(std::process::id()) << 32 | u64::from(number)).to_be_bytes();
    let (ana, mut ana_hears) = Mdns::start(&Interfaces::All, nonce(1));
    let (ben, _ben_hears) = Mdns::start(&Interfaces::All, nonce(2));
    ana.announce(&announcement(7001));
    ben.announce(&announcement(7002));
    let ben_name = Instance::new(ben.own_name());
    let found = timeout(wait, async {
        while let Some(sighting) = ana_hears.recv().await {
            match sighting {
                Sighting::Found { instance, addresses, .. } if instance == ben_name => {
                    return Some(addresses);
                }
                _ => {}
            }
        }
        None
    });
    let Ok(Some(addresses)) = found.await else {
        // Not by eprintln, which the test harness would keep to itself.
        let _ = writeln!(std::io::stderr(), "SKIPPED: multicast does not work on this host");
        return;
    };
    assert!(addresses.iter().all(|address| address.port() == 7002), "{addresses:?}");
    ben.stop().await;
    let lost = timeout(wait, async {
        loop {
            match ana_hears.recv().await {
                Some(Sighting::Lost { instance }) if instance == ben_name => return,
                Some(_) => {}
                None => panic!("the listener ended"),
            }
        }
    });
    assert!(lost.await.is_ok(), "a device that left is not lost");
}
