//! An app of the field that speaks HTTP to a relay works on the same records as devices.

use serde_json::{Value as Json, json};

use crate::app::{App, EMAIL, PASSWORD};
use crate::device::Device;
use crate::relay::{Relay, RunningRelay};
use crate::site::Site;

/// A well as the app of the field needs one.
const WELL: [&str; 5] =
    ["name=Alder 1", "apiNumber=42-227-30001", "status=ACTIVE", "latitude=31", "longitude=-102"];

/// A crew whose relay is its gateway, with one person who may log in.
pub(crate) fn crew(site: &Site) -> (Device, Relay, RunningRelay) {
    let [lead] = site.crew(["lead"]);
    let relay = site.relay();
    let daemon = lead.daemon();
    relay.join(&lead.invite("gateway"));
    daemon.stop();
    let tenant = relay.run(&["--json", "tenant", "list"]).lines()[0]["slug"].clone();
    let tenant = tenant.as_str().unwrap();
    let add = ["user", "add", "--tenant", tenant, EMAIL, "--role", "operator", "--password-stdin"];
    relay.run_with(&add, PASSWORD).ok();
    let running = relay.start();
    (lead, relay, running)
}

#[test]
fn what_an_app_pushes_reaches_devices_and_what_they_change_reaches_the_app() {
    let site = Site::new();
    let (lead, relay, running) = crew(&site);
    let well = lead.record("well", &WELL);
    lead.sync(&running.address());

    let app = App::of(&running);
    let pulled = app.ok("GET", "/sync/pull", &Json::Null);
    assert_eq!(pulled["wells"][0]["id"], well, "{pulled}");
    let entry = json!({
        "wellId": well, "entryType": "PRODUCTION", "data": { "oilVolume": 82.3 },
        "recordedAt": "2026-03-07T08:00:00Z",
    });
    let push = json!({ "deviceId": "tablet-1", "entries": [entry] });
    let first = app.ok("POST", "/sync/push", &push);
    assert_eq!((&first["succeeded"], &first["failed"]), (&json!(1), &json!(0)), "{first}");
    // The answer was lost, and then the relay died.
    let again = app.ok("POST", "/sync/push", &push);
    assert_eq!(again["results"][0]["entryId"], first["results"][0]["entryId"]);
    running.kill();
    let running = relay.start();
    let app = App { address: running.http(), ..app };
    let again = app.ok("POST", "/sync/push", &push);
    assert_eq!(again["results"][0]["entryId"], first["results"][0]["entryId"]);

    lead.sync(&running.address());
    let ids = lead.ids("field_entry");
    assert_eq!(ids, [first["results"][0]["entryId"].as_str().unwrap()]);
    lead.ok(&["show", &ids[0]]).says(&["82.3", "Alder 1"]);
    lead.ok(&["edit", &ids[0], "oilVolume=84"]);
    lead.sync(&running.address());
    let [entry] = &app.entries()[..] else { panic!("{:?}", app.entries()) };
    assert_eq!(entry["data"]["oilVolume"], json!(84));
    lead.verify();
    assert!(lead.ok(&["--json", "conflicts"]).lines().is_empty());
    running.stop();
}

#[test]
fn a_relay_that_only_forwards_takes_no_people_and_says_what_to_do() {
    let site = Site::new();
    let [lead] = site.crew(["lead"]);
    let relay = site.relay();
    let (running, _) = relay.of(&lead);
    let listed = relay.run(&["--json", "tenant", "list"]).ok().json();
    assert_eq!(listed["role"], "relay");
    let tenant = listed["slug"].as_str().unwrap();
    let add = ["user", "add", "--tenant", tenant, EMAIL, "--role", "operator", "--password-stdin"];
    let refused = relay.run_with(&add, PASSWORD).code(3);
    assert!(refused.stderr.contains("sync-relay claim --gateway"), "{refused:#?}");
    assert!(relay.run(&["--json", "user", "list", "--tenant", tenant]).ok().stdout.is_empty());
    running.stop();
}

#[test]
fn a_relay_that_was_claimed_as_a_gateway_serves_apps_once_the_lead_has_said_yes() {
    let site = Site::new();
    let [lead] = site.crew(["lead"]);
    let well = lead.record("well", &WELL);
    let relay = site.relay();
    let running = relay.start();
    let claim = relay.run(&["--json", "claim", "--gateway"]).ok().json();
    assert_eq!(claim["role"], "gateway");
    let claim = claim["claim"].as_str().unwrap();
    let asked = lead.run(&["relay", "add", claim]).code(2);
    assert!(asked.stderr.contains("reads every record of this tenant"), "{asked:#?}");
    assert!(asked.stderr.contains("--gateway"), "{asked:#?}");
    assert_eq!(relay.run(&["--json", "tenant", "list"]).ok().stdout, "", "nothing was done");
    let taken = lead.json(&["relay", "add", claim, "--gateway"]);
    assert_eq!(taken["address"], running.address());
    let devices = lead.ok(&["--json", "devices"]).lines();
    assert!(devices.iter().any(|device| device["role"] == "gateway"), "{devices:?}");
    assert_eq!(relay.run(&["--json", "claim", "--list"]).ok().json()["role"], "gateway");
    let listed = relay.run(&["--json", "tenant", "list"]).ok().json();
    assert_eq!(listed["role"], "gateway");
    let tenant = listed["slug"].as_str().unwrap();
    let add = ["user", "add", "--tenant", tenant, EMAIL, "--role", "operator", "--password-stdin"];
    relay.run_with(&add, PASSWORD).ok();
    lead.sync(&running.address());
    let app = App::of(&running);
    let pulled = app.ok("GET", "/sync/pull", &Json::Null);
    assert_eq!(pulled["wells"][0]["id"], well, "{pulled}");
    let entry = json!({
        "wellId": well, "entryType": "PRODUCTION",
        "data": { "oilVolume": 82.3 }, "recordedAt": "2026-03-07T08:00:00Z",
    });
    let push = json!({ "deviceId": "tablet-1", "entries": [entry] });
    let pushed = app.ok("POST", "/sync/push", &push);
    assert_eq!(pushed["succeeded"], json!(1), "{pushed}");
    lead.sync(&running.address());
    let entry = pushed["results"][0]["entryId"].as_str().unwrap();
    lead.ok(&["show", entry]).says(&["82.3", "Alder 1"]);
    running.stop();
}
