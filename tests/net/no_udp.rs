//! A network that lets no UDP through: devices join, sync and go back to QUIC by themselves.

use serde_json::Value as Json;

use crate::device::{Device, STEP_TIME_MAX, assert_in_step, until_in_step};
use crate::lan::Lan;
use crate::process::eventually;
use crate::relay::{Relay, RunningRelay};
use crate::site::Site;

/// Where the relay is on its host.
const RELAY: &str = "10.77.0.3:7843";

#[test]
fn a_device_without_udp_joins_and_syncs_both_ways_and_goes_back_to_quic() {
    let Some(lan) = Lan::make() else { return };
    let site = Site::new();
    let (relay, running) = relay_on(&lan, &site, &[]);
    let lead = lan.device("a", &site.device("lead"));
    lead.join(&invitation(&relay, "admin"));
    lead.well("Alder 1");
    lan.block_udp("b");
    let hand = lan.device("b", &site.device("hand"));
    hand.join(&invitation(&relay, "manager"));
    let first = lead.daemon_with(&["--listen", "0.0.0.0:0", "--no-mdns"]);
    let second = hand.daemon_with(&["--listen", "0.0.0.0:0", "--no-mdns"]);
    until_in_step(&[&lead, &hand]);
    for minute in 0..20 {
        hand.entry("Alder 1", minute, 1);
        lead.entry("Alder 1", 100 + minute, 1);
    }
    until_in_step(&[&lead, &hand]);
    assert_eq!(hand.ids("field_entry").len(), 40);
    assert_eq!(over(&lead), Some("quic".into()));
    assert_eq!(over(&hand), Some("tcp".into()));

    // The relay comes back on a network that has been opened meanwhile. Each connection begins
    // anew with both; where the machine is so busy that QUIC takes a quarter of a second longer
    // than TCP, the device stays with TCP until the next one.
    lan.open_udp("b");
    let mut running = running;
    let mut is_back = false;
    for _ in 0..5 {
        running.stop();
        eventually("the device notices that the relay is gone", STEP_TIME_MAX, || {
            over(&hand).is_none().then_some(())
        });
        running = lan.relay("c", &relay).start_at("0.0.0.0:7843");
        is_back = eventually("the device is back", STEP_TIME_MAX, || over(&hand)) == "quic";
        if is_back {
            break;
        }
    }
    assert!(is_back, "the device is not back on QUIC");
    hand.entry("Alder 1", 200, 1);
    until_in_step(&[&lead, &hand]);
    second.stop();
    first.stop();
    running.stop();
    assert_in_step(&[&lead, &hand]);
}

#[test]
fn a_relay_is_taken_into_a_tenant_by_its_claim_without_udp() {
    let Some(lan) = Lan::make() else { return };
    let site = Site::new();
    let lead = lan.device("b", &site.device("lead"));
    lead.found("Gulf Crew");
    let relay = site.relay();
    let running = lan.relay("c", &relay).start_with("0.0.0.0:7843", &["--public", RELAY]);
    lan.block_udp("b");
    let claim = relay.run(&["--json", "claim"]).ok().json()["claim"].as_str().unwrap().to_owned();
    let taken = lead.start_with(&["--json", "relay", "add", "-"], Some(claim)).finish().ok().json();
    assert_eq!(taken["address"], RELAY);
    let well = lead.well("Alder 1");
    lead.ok(&["sync", "--no-mdns", "--timeout", "60"]);
    assert_eq!(lead.json(&["show", &well])["safe"], "relay");
    running.stop();
}

#[test]
fn a_relay_that_serves_nobody_over_tcp_says_so_and_is_not_reached_without_udp() {
    let Some(lan) = Lan::make() else { return };
    let site = Site::new();
    let (relay, running) = relay_on(&lan, &site, &["--tcp", "off"]);
    assert!(running.ready()["tcp"].is_null());
    let hand = lan.device("b", &site.device("hand"));
    hand.join(&invitation(&relay, "manager"));
    lan.block_udp("b");
    let report = hand.run(&["--json", "sync", "--no-mdns", "--timeout", "20", "--with", RELAY]);
    let told = format!("{}{}", report.stdout, report.stderr);
    assert!(told.contains("did not answer within 8 s, nor over TCP: "), "{told}");
    running.stop();
}

#[test]
fn a_taken_tcp_port_ends_a_relay_with_the_way_out() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let site = Site::new();
    let relay = site.relay();
    relay.run(&["tenant", "create", "Gulf Crew"]).ok();
    let run = ["run", "--http", "127.0.0.1:0", "--quic", "127.0.0.1:0", "--tcp", &address];
    let ended = relay.run(&run).code(1);
    for words in [&address, "on TCP", "--tcp off"] {
        assert!(ended.stderr.contains(words), "{}", ended.stderr);
    }
}

/// A relay with a tenant of its own, at [`RELAY`].
fn relay_on(lan: &Lan, site: &Site, arguments: &[&str]) -> (Relay, RunningRelay) {
    let relay = site.relay();
    relay.run(&["tenant", "create", "Gulf Crew"]).ok();
    let running = lan.relay("c", &relay).start_with("0.0.0.0:7843", arguments);
    (relay, running)
}

fn invitation(relay: &Relay, role: &str) -> String {
    let invite = ["--json", "invite", "--tenant", "gulf-crew", "--role", role];
    let report = relay.run(&invite).ok().json();
    report["invitation"].as_str().unwrap().to_owned()
}

/// What the only connection of a device travels over.
fn over(device: &Device) -> Option<Json> {
    let peers = device.ok(&["--json", "peers"]).lines();
    peers.into_iter().map(|peer| peer["transport"].clone()).find(|over| !over.is_null())
}
