//! An app of the field that speaks HTTP to a relay works on the same records as devices.

use serde_json::{Value as Json, json};

use crate::app::{App, EMAIL, PASSWORD};
use crate::device::Device;
use crate::relay::{Relay, RunningRelay};
use crate::site::Site;

/// A crew whose relay is its gateway, with one person who may log in.
pub(crate) fn crew(site: &Site, role: &str) -> (Device, Relay, RunningRelay) {
    let [lead] = site.crew(["lead"]);
    let relay = site.relay();
    let daemon = lead.daemon();
    relay.join(&lead.invite(role));
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
    let (lead, relay, running) = crew(&site, "gateway");
    let values = [
        "name=Alder 1",
        "apiNumber=42-227-30001",
        "status=ACTIVE",
        "latitude=31",
        "longitude=-102",
    ];
    let well = lead.record("well", &values);
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
fn a_relay_that_only_forwards_tells_apps_to_come_again_and_opens_nothing() {
    let site = Site::new();
    let (_lead, _relay, running) = crew(&site, "relay");
    let app = App::of(&running);
    assert_eq!(app.ask("GET", "/sync/pull", &Json::Null).0, 503);
    running.stop();
}
