//! A relay as its operator and its tenants see it.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use crate::device::{STEP_TIME_MAX, assert_in_step, until_in_step};
use crate::process::eventually;
use crate::site::Site;

#[test]
fn a_relay_serves_two_tenants_and_mixes_nothing() {
    let site = Site::new();
    let relay = site.relay();
    let tenants = ["gulf", "basin"].map(|tenant| {
        let lead = site.device(&format!("{tenant}-lead"));
        lead.found(tenant);
        lead.well("Alder 1");
        let hand = site.device(&format!("{tenant}-hand"));
        let daemon = lead.daemon();
        hand.join(&lead.invite("manager"));
        relay.join(&lead.invite("relay"));
        daemon.stop();
        (lead, hand)
    });
    let running = relay.start();
    for (index, (lead, hand)) in tenants.iter().enumerate() {
        lead.sync(&running.address());
        hand.sync(&running.address());
        (0..5).for_each(|minute| drop(hand.entry("Alder 1", 10 * index + minute, 1)));
        hand.sync(&running.address());
        lead.sync(&running.address());
    }
    for (lead, hand) in &tenants {
        assert_in_step(&[lead, hand]);
        assert_eq!(lead.ids("field_entry").len(), 5);
    }
    let listed = relay.run(&["--json", "tenant", "list"]).ok().stdout;
    assert!(listed.contains("gulf") && listed.contains("basin"), "{listed}");
    assert!(get(&running.http(), "/healthz").contains("200 OK"));
    let metrics = get(&running.http(), "/metrics");
    assert!(metrics.contains("200 OK") && metrics.contains("# TYPE"), "{metrics}");
    running.stop();
}

#[test]
fn a_tenant_made_on_a_relay_has_its_devices_invited_there() {
    let site = Site::new();
    let relay = site.relay();
    relay.run(&["tenant", "create", "Gulf Crew"]).ok();
    let running = relay.start();
    let invite = |role| {
        let invite = ["--json", "invite", "--tenant", "gulf-crew", "--role", role];
        let report = relay.run(&invite).ok().json();
        report["invitation"].as_str().unwrap().to_owned()
    };
    let (lead, hand) = (site.device("lead"), site.device("hand"));
    lead.join(&invite("admin"));
    hand.join(&invite("operator"));
    lead.well("Alder 1");
    lead.sync(&running.address());
    hand.sync(&running.address());
    hand.entry("Alder 1", 0, 1);
    hand.sync(&running.address());
    lead.sync(&running.address());
    assert_in_step(&[&lead, &hand]);
    running.stop();
}

#[test]
fn a_device_that_never_heard_of_the_relay_from_people_syncs_through_it() {
    let site = Site::new();
    let [lead, hand] = site.crew(["lead", "hand"]);
    lead.well("Alder 1");
    let relay = site.relay();
    let (running, address) = relay.of(&lead);
    let daemon = lead.daemon();
    let added = lead.json(&["relay", "add", &address]);
    assert_eq!((&added["address"], &added["name"]), (&address.as_str().into(), &"relay".into()));
    let again = lead.run(&["relay", "add", &address]).code(2);
    assert!(again.stderr.contains("known already as the address of relay"), "{again:#?}");
    // The hand meets the lead alone.
    hand.sync(&daemon.address());
    let known = hand.json(&["relay", "list"]);
    assert_eq!((&known["address"], &known["state"]), (&address.as_str().into(), &"untried".into()));
    let refused = hand.run(&["relay", "remove", &address]).code(3);
    assert!(refused.stderr.contains("may not say where relays are"), "{refused:#?}");
    // The daemon finds the relay by itself, before and after it is away.
    let for_the_relay = lead.entry("Alder 1", 1, 1);
    eventually("the lead's entry is safe", STEP_TIME_MAX, || {
        (lead.json(&["show", &for_the_relay])["safe"] == "relay").then_some(())
    });
    daemon.stop();
    let report = hand.json(&["sync", "--no-mdns", "--timeout", "60"]);
    let peers = report["peers"].as_array().unwrap();
    let relayed = peers.iter().find(|peer| peer["address"] == address.as_str()).unwrap();
    assert!(relayed.get("error").is_none(), "{report:#}");
    hand.ok(&["show", &for_the_relay]);
    let listed = hand.json(&["relay", "list"]);
    assert_eq!(listed["state"], "reached", "{listed}");
    let back = hand.entry("Alder 1", 2, 1);
    let second = hand.daemon();
    eventually("the hand's entry is safe", STEP_TIME_MAX, || {
        (hand.json(&["show", &back])["safe"] == "relay").then_some(())
    });
    second.stop();
    // Taken back it is dialled no more, though it worked before.
    lead.ok(&["relay", "remove", &address]);
    let report = lead.run(&["--json", "sync", "--no-mdns", "--timeout", "5"]);
    assert!(!report.stdout.contains(&address), "{report:#?}");
    assert_eq!(lead.ok(&["--json", "relay", "list"]).stdout, "");
    lead.sync(&address);
    assert_in_step(&[&lead, &hand]);
    running.stop();
}

#[test]
fn a_relay_that_was_claimed_is_where_a_crew_meets_without_the_lead() {
    let site = Site::new();
    let [lead, hand] = site.crew(["lead", "hand"]);
    lead.well("Alder 1");
    let relay = site.relay();
    let running = relay.start();
    let claim = relay.run(&["--json", "claim"]).ok().json()["claim"].as_str().unwrap().to_owned();
    let refused = hand.run(&["relay", "add", &claim]).code(3);
    assert!(refused.stderr.contains("by their claims from lead"), "{refused:#?}");
    let daemon = lead.daemon();
    let taken = lead.start_with(&["--json", "relay", "add", "-"], Some(claim)).finish().ok().json();
    assert_eq!(taken["address"], running.address());
    let listed = relay.run(&["--json", "claim", "--list"]).ok().json();
    assert_eq!(listed["state"], "used");
    let entry = lead.entry("Alder 1", 1, 1);
    hand.sync(&daemon.address());
    eventually("the lead's entry is safe", STEP_TIME_MAX, || {
        (lead.json(&["show", &entry])["safe"] == "relay").then_some(())
    });
    daemon.stop();
    let back = hand.entry("Alder 1", 2, 1);
    let report = hand.json(&["sync", "--no-mdns", "--timeout", "60"]);
    let relayed = |peer: &&serde_json::Value| peer["address"] == running.address().as_str();
    let peer = report["peers"].as_array().unwrap().iter().find(relayed).unwrap();
    assert!(peer.get("error").is_none(), "{report:#}");
    lead.ok(&["sync", "--no-mdns", "--timeout", "60"]);
    lead.ok(&["show", &back]);
    assert_in_step(&[&lead, &hand]);
    running.stop();
}

#[test]
fn daemons_follow_a_relay_that_is_killed_and_started_again() {
    let site = Site::new();
    let [lead, hand] = site.crew(["lead", "hand"]);
    lead.well("Alder 1");
    let relay = site.relay();
    let (running, address) = relay.of(&lead);
    let daemon = |device: &crate::device::Device| {
        device.daemon_with(&["--listen", "127.0.0.1:0", "--no-mdns", "--relay", &address])
    };
    let (first, second) = (daemon(&lead), daemon(&hand));
    until_in_step(&[&lead, &hand]);
    running.kill();
    let apart = [lead.entry("Alder 1", 1, 1), hand.entry("Alder 1", 2, 1)];
    let running = relay.start_at(&address);
    for (device, entry) in [(&hand, &apart[0]), (&lead, &apart[1])] {
        eventually("the entry comes through the relay", STEP_TIME_MAX, || {
            (device.run(&["show", entry]).code == Some(0)).then_some(())
        });
    }
    until_in_step(&[&lead, &hand]);
    // Stopping in order, with devices connected, does not wait for them.
    running.stop();
    second.stop();
    first.stop();
    assert_in_step(&[&lead, &hand]);
}

#[test]
fn a_relay_keeps_nothing_readable_on_its_disk() {
    let site = Site::new();
    let [lead] = site.crew(["lead"]);
    let relay = site.relay();
    let (running, address) = relay.of(&lead);
    lead.well("Quetzalcoatlus 7");
    let entry = lead.entry("Quetzalcoatlus 7", 0, 1);
    lead.ok(&["edit", &entry, "notes=Brontosaurus was seen at the fence"]);
    lead.sync(&address);
    running.stop();
    let mut files = Vec::new();
    for home in [site.path("relay"), lead.home] {
        collect(&home, &mut files);
    }
    assert!(files.len() > 8, "{files:?}");
    for path in files {
        let bytes = std::fs::read(&path).unwrap();
        for word in ["Quetzalcoatlus", "Brontosaurus", "lead@example.org"] {
            let found = bytes.windows(word.len()).any(|window| window == word.as_bytes());
            assert!(!found, "{word} is readable in {}", path.display());
        }
    }
}

fn collect(folder: &std::path::Path, files: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else {
            files.push(path);
        }
    }
}

/// The answer to a GET request, head and body.
fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}
