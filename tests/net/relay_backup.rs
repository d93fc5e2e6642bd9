//! A relay whose disk is lost is made again from its backups, with everything that was in it.

use std::fs;

use serde_json::{Value as Json, json};

use crate::app::{App, EMAIL, PASSWORD};
use crate::apps::crew;
use crate::device::{Device, assert_in_step};
use crate::process::Outcome;
use crate::relay::{Relay, RunningRelay};
use crate::site::Site;

const PHOTO: [u8; 5_000] = [0xd8; 5_000];

/// Pushes one entry of a well; gives its id.
fn push(app: &App, well: &str, hour: u32) -> String {
    let entry = json!({
        "wellId": well, "entryType": "PRODUCTION", "data": { "oilVolume": hour },
        "recordedAt": format!("2026-03-07T{hour:02}:00:00Z"),
    });
    let push = json!({ "deviceId": "tablet-1", "entries": [entry] });
    let pushed = app.ok("POST", "/sync/push", &push);
    assert_eq!(pushed["succeeded"], json!(1), "{pushed}");
    pushed["results"][0]["entryId"].as_str().unwrap().to_owned()
}

fn well(device: &Device) -> String {
    let place = ["latitude=31", "longitude=-102"];
    let values = ["name=Alder 1", "apiNumber=42-227-30001", "status=ACTIVE"];
    device.record("well", &[&values[..], &place[..]].concat())
}

/// Joins a device by an invitation of the lead, whose daemon serves it.
fn join(site: &Site, lead: &Device, name: &str) -> Device {
    let device = site.device(name);
    let daemon = lead.daemon();
    device.join(&lead.invite("manager"));
    daemon.stop();
    device
}

fn path(site: &Site, name: &str) -> String {
    site.path(name).to_str().unwrap().to_owned()
}

/// Keeps the key, as an operator does, and loses everything else.
fn destroy(site: &Site, relay: &Relay) -> String {
    let key = path(site, "safe.key");
    fs::rename(relay.data.join("relay.key"), &key).unwrap();
    fs::remove_dir_all(&relay.data).unwrap();
    key
}

fn report(outcome: &Outcome) -> Json {
    outcome.json()
}

#[test]
fn a_gateway_whose_disk_is_lost_is_made_again_with_records_people_and_photos() {
    let site = Site::new();
    let (lead, relay, running) = crew(&site);
    let well = well(&lead);
    lead.entry("Alder 1", 1, 1);
    lead.sync(&running.address());
    let app = App::of(&running);
    push(&app, &well, 1);
    let photo = app.upload(&PHOTO);
    let monday = path(&site, "monday.backup");
    let backed_up = relay.run(&["--json", "backup", &monday]).ok();
    let whole = report(&backed_up);
    assert_eq!((&whole["whole"], &whole["missing"]), (&json!(true), &json!([])), "{whole}");
    assert_eq!(whole["tenants"][0]["photos"], json!(1), "{whole}");
    assert_eq!(whole["tenants"][0]["people"], json!(true), "{whole}");

    push(&app, &well, 2);
    let second = app.upload(&PHOTO[..4_000]);
    lead.entry("Alder 1", 2, 2);
    lead.sync(&running.address());
    let tuesday = path(&site, "tuesday.backup");
    let more = report(&relay.run(&["--json", "backup", &tuesday, "--since", &monday]).ok());
    assert_eq!((&more["whole"], &more["tenants"][0]["photos"]), (&json!(false), &json!(1)));
    let nothing = path(&site, "nothing.backup");
    let nothing_new = report(&relay.run(&["--json", "backup", &nothing, "--since", &tuesday]).ok());
    assert_eq!(nothing_new["tenants"][0]["photos"], json!(0), "{nothing_new}");
    relay.run(&["verify"]).ok().says(&["clean"]);
    lead.sync(&running.address());
    let expected = lead.export("field_entry");
    running.kill();
    let key = destroy(&site, &relay);

    let files = [monday.as_str(), &tuesday, &nothing];
    let check = [&["verify", "--key-file", &key][..], &files].concat();
    relay.run(&check).ok().says(&["not damaged", "whole"]);
    let restore = [&["restore", "--key-file", &key][..], &files].concat();
    relay.run(&restore).ok().says(&["Restored 1 tenant", "relay"]);
    relay.run(&["verify"]).ok().says(&["clean"]);
    let running = relay.start();
    // Of sessions that come back nobody knows who has them.
    let before = App { address: running.http(), token: app.token.clone() };
    assert_eq!(before.ask("GET", "/sync/pull?include=entries", &Json::Null).0, 401);
    let app = App::of(&running);
    assert_eq!(app.entries().len(), 4);
    assert_eq!(app.download(&photo), (200, PHOTO.to_vec()));
    assert_eq!(app.download(&second), (200, PHOTO[..4_000].to_vec()));
    let hand = join(&site, &lead, "hand");
    hand.sync(&running.address());
    assert_eq!(hand.export("field_entry"), expected);
    // It goes on as the gateway that it was: what it writes now is taken by everybody.
    push(&app, &well, 3);
    for device in [&lead, &hand] {
        device.sync(&running.address());
        assert_eq!(device.ids("field_entry").len(), 5);
    }
    assert_in_step(&[&lead, &hand]);
    running.stop();
}

#[test]
fn a_photo_that_rots_on_the_disk_stays_good_in_the_chain() {
    let site = Site::new();
    let (lead, relay, running) = crew(&site);
    lead.sync(&running.address());
    let photo = App::of(&running).upload(&PHOTO);
    let monday = path(&site, "monday.backup");
    relay.run(&["backup", &monday]).ok();
    running.stop();
    let home = fs::read_dir(relay.data.join("tenants")).unwrap().next().unwrap().unwrap().path();
    let file = fs::read_dir(home.join("photos")).unwrap().next().unwrap().unwrap().path();
    let mut bytes = fs::read(&file).unwrap();
    bytes[2_000] ^= 1;
    fs::write(&file, bytes).unwrap();
    let tuesday = path(&site, "tuesday.backup");
    let more = relay.run(&["backup", &tuesday, "--since", &monday]).code(7);
    more.says(&["NOT IN THIS BACKUP", "is damaged", "of the earlier backup stays"]);
    let whole = path(&site, "whole.backup");
    relay.run(&["backup", &whole]).code(7).says(&["is damaged"]);
    let key = destroy(&site, &relay);
    let restore = ["restore", "--key-file", &key, &monday, &tuesday];
    relay.run(&restore).code(7).says(&["Restored 1 tenant", "NOT IN THE BACKUP", "is damaged"]);
    let running = relay.start();
    assert_eq!(App::of(&running).download(&photo), (200, PHOTO.to_vec()));
    running.stop();
    // A relay that was put back goes on from what was before by all that there is.
    let wednesday = path(&site, "wednesday.backup");
    let again = ["--json", "backup", &wednesday, "--since", &tuesday];
    let again = report(&relay.run(&again).ok());
    assert_eq!(again["tenants"][0]["whole"], json!(true), "{again}");
    let chain = ["verify", &monday, &tuesday, &wednesday];
    relay.run(&chain).ok().says(&["NOT IN THIS BACKUP"]);
    let twin = relay.at_data(site.path("twin"));
    let own = path(&site, "relay/relay.key");
    twin.run(&["restore", "--key-file", &own, &monday, &tuesday, &wednesday]).ok();
    twin.run(&["verify"]).ok().says(&["clean"]);
}

#[test]
fn a_backup_without_a_tenant_that_cannot_be_opened_says_so_for_good() {
    let site = Site::new();
    let relay = site.relay();
    relay.run(&["tenant", "create", "Gulf Crew"]).ok();
    relay.run(&["tenant", "create", "Permian West"]).ok();
    let monday = path(&site, "monday.backup");
    relay.run(&["backup", &monday]).ok();
    let home = fs::read_dir(relay.data.join("tenants")).unwrap().next().unwrap().unwrap().path();
    let files = ["identity", "identity.copy"].map(|name| home.join(name));
    let sound = files.each_ref().map(|path| fs::read(path).unwrap());
    files.iter().for_each(|path| fs::write(path, "damaged").unwrap());
    let broken = home.file_name().unwrap().to_str().unwrap();
    let tuesday = path(&site, "tuesday.backup");
    let words = ["NOT IN THIS BACKUP", broken];
    relay.run(&["backup", &tuesday, "--since", &monday]).code(7).says(&words);
    let alone = path(&site, "alone.backup");
    relay.run(&["backup", &alone]).code(7).says(&words).says(&["whole backup of 1 tenant,"]);
    relay.run(&["verify", &alone]).code(7).says(&words);
    relay.run(&["verify", &monday, &tuesday]).code(7).says(&words);
    files.iter().zip(sound).for_each(|(path, bytes)| fs::write(path, bytes).unwrap());
    let wednesday = path(&site, "wednesday.backup");
    relay.run(&["backup", &wednesday, "--since", &tuesday]).ok();
    relay.run(&["verify", &monday, &tuesday, &wednesday]).ok();
    let key = destroy(&site, &relay);
    let restore = ["restore", "--key-file", &key, &alone];
    relay.run(&restore).code(7).says(&["Restored 1 tenant", "NOT IN THE BACKUP", broken]);
    let twin = relay.at_data(site.path("twin"));
    let restore = ["restore", "--key-file", &key, &monday, &tuesday, &wednesday];
    twin.run(&restore).ok().says(&["Restored 2 tenants"]);
}

#[test]
fn a_tenant_made_on_a_relay_can_be_administered_by_the_one_that_was_restored() {
    let site = Site::new();
    let relay = site.relay();
    relay.run(&["tenant", "create", "Gulf Crew"]).ok();
    relay.run(&["tenant", "create", "Permian West"]).ok();
    let running = relay.start();
    let invite = |role: &str| {
        let invite = ["--json", "invite", "--tenant", "gulf-crew", "--role", role];
        report(&relay.run(&invite).ok())["invitation"].as_str().unwrap().to_owned()
    };
    let lead = site.device("lead");
    lead.join(&invite("admin"));
    lead.well("Alder 1");
    (0..20).for_each(|minute| drop(lead.entry("Alder 1", minute, 1)));
    lead.sync(&running.address());
    let file = path(&site, "relay.backup");
    relay.run(&["backup", &file]).ok().says(&["whole backup of 2 tenants", "gulf crew"]);
    running.kill();
    let key = destroy(&site, &relay);
    relay.run(&["restore", &file, "--key-file", &key]).ok().says(&["Restored 2 tenants"]);
    let running = relay.start();
    let hand = site.device("hand");
    hand.join(&invite("operator"));
    hand.sync(&running.address());
    lead.sync(&running.address());
    assert_eq!(hand.ids("field_entry").len(), 20);
    assert_in_step(&[&lead, &hand]);
    running.stop();
}

#[test]
fn an_old_backup_beside_the_gateway_that_runs_on_loses_nothing_of_either() {
    let site = Site::new();
    let (lead, relay, running) = crew(&site);
    let well = well(&lead);
    lead.sync(&running.address());
    let app = App::of(&running);
    push(&app, &well, 1);
    let old = path(&site, "old.backup");
    relay.run(&["backup", &old]).ok();
    push(&app, &well, 2);
    lead.sync(&running.address());

    let key = path(&site, "relay/relay.key");
    let twin = relay.at_data(site.path("twin"));
    twin.run(&["restore", &old, "--key-file", &key]).ok();
    let beside: RunningRelay = twin.start();
    let other = App::of(&beside);
    push(&other, &well, 3);
    push(&app, &well, 4);
    for _ in 0..2 {
        for address in [running.address(), beside.address()] {
            lead.sync(&address);
        }
    }
    assert_eq!(lead.ids("field_entry").len(), 4);
    assert_eq!(app.entries().len(), 4);
    assert_eq!(other.entries().len(), 4);
    for relay in [&relay, &twin] {
        relay.run(&["verify"]).ok().says(&["clean"]);
    }
    lead.verify();
    running.stop();
    beside.stop();
}

#[test]
fn a_backup_that_cannot_be_used_changes_nothing_and_says_what_to_do() {
    let site = Site::new();
    let (lead, relay, running) = crew(&site);
    lead.sync(&running.address());
    let file = path(&site, "one.backup");
    relay.run(&["backup", &file]).ok();
    let bytes = fs::read(&file).unwrap();
    relay.run(&["backup", &file]).code(2).says(&["exists already"]);
    assert_eq!(fs::read(&file).unwrap(), bytes);
    relay.run(&["backup", &path(&site, "no/such/folder")]).code(1).says(&["no such file"]);
    relay.run(&["backup", "two.backup", "--tenant", "nobody"]).code(4).says(&["tenant list"]);
    relay.run(&["restore", &file]).code(2).says(&["a relay runs", "--data"]);
    running.stop();
    relay.run(&["restore", &file]).code(2).says(&["not empty", "--data"]);
    // Without a relay the command opens the stores itself.
    relay.run(&["backup", "two.backup"]).ok();

    let new = relay.at_data(site.path("new"));
    let key = path(&site, "relay/relay.key");
    let refused = |files: &[&str], code: i32, words: &[&str]| {
        let restore = [&["restore", "--key-file", &key][..], files].concat();
        new.run(&restore).code(code).says(words);
        let left = fs::read_dir(new.data.join("tenants")).unwrap().count();
        assert!(left == 0 && !new.data.join("relay.key").exists(), "{files:?}");
    };
    new.run(&["restore", &file]).code(2).says(&["--key-file", "relay.key"]);
    let flipped = site.path("flipped.backup");
    let mut damaged = bytes.clone();
    damaged[bytes.len() / 2] ^= 4;
    fs::write(&flipped, damaged).unwrap();
    refused(&["flipped.backup"], 7, &["damaged", "another copy"]);
    relay.run(&["verify", "flipped.backup"]).code(7).says(&["damaged"]);
    fs::write(site.path("cut.backup"), &bytes[..bytes.len() - 9]).unwrap();
    refused(&["cut.backup"], 7, &["not whole"]);
    refused(&[&file, "two.backup"], 2, &["whole by itself"]);
    lead.ok(&["backup", "device.backup"]);
    refused(&["device.backup"], 2, &["fieldmesh restore"]);
    lead.at_home("nowhere").run(&["restore", &file]).says(&["sync-relay restore"]);
    let stranger = site.relay_named("stranger");
    stranger.run(&["tenant", "create", "Basin"]).ok();
    stranger.run(&["verify", &file]).code(7).says(&["--key-file"]);
    let foreign = ["backup", "three.backup", "--since", file.as_str()];
    stranger.run(&foreign).code(7).says(&["relay.key is not the one"]);
    for leftover in ["three.backup", "three.backup.part", "three.backup.parts"] {
        assert!(!site.path(leftover).exists(), "{leftover}");
    }
    new.run(&["restore", "--key-file", &key, &file]).ok();
    let running = new.start();
    let app = App::of(&running);
    assert_eq!(
        app.ask("POST", "/auth/login", &json!({ "email": EMAIL, "password": PASSWORD })).0,
        200
    );
    new.run(&["compact"]).ok().says(&["before", "now"]);
    new.run(&["verify", "--tenant", "gulf-crew"]).ok().says(&["clean"]);
    running.stop();
}
