//! A relay that devices and an app use: copies of it, and what became of one that was damaged.

pub(crate) mod flip;
pub(crate) mod kill;
pub(crate) mod space;
pub(crate) mod swap;

use std::fs;
use std::path::PathBuf;

use serde_json::{Value as Json, json};

use crate::account::{Account, held, some_of, sound};
use crate::app::{App, EMAIL, PASSWORD};
use crate::device::{Device, minute_of_march};
use crate::relay::{Relay, RunningRelay};
use crate::stage::{Stage, WELL, copy, rows};
use crate::tally::Ending;

/// What an app has kept at the relay.
const PHOTO: [u8; 3_000] = [0xd8; 3_000];

/// What the log of a relay says of what `verify` cannot name any more.
const TOLD: [&str; 1] = ["end of the accounts was not written"];

/// The folders that each try copies.
pub(crate) struct Scene {
    pub(crate) stage: Stage,
    pub(crate) relay: Relay,
    lead: Device,
    /// A member that has nothing so far.
    fresh: Device,
    /// An older copy of the relay's data folder.
    pub(crate) older: PathBuf,
    token: String,
    well: String,
    photo: String,
    /// Everything that the relay has said it holds; the lead lacks the newest of it.
    pub(crate) all: Account,
}

/// The copies of one try, removed at its end.
pub(crate) struct Copies<'a> {
    pub(crate) scene: &'a Scene,
    folder: PathBuf,
    pub(crate) relay: Relay,
    pub(crate) lead: Device,
    fresh: Device,
    /// An address of this machine that no other try uses: a port may be another one's a moment later,
    /// and the copies take each other for the same device.
    pub(crate) host: String,
}

/// An app whose every answer counts.
pub(crate) struct Pusher<'a> {
    scene: &'a Scene,
    app: App,
}

impl Scene {
    pub(crate) fn new() -> Self {
        let stage = Stage::new();
        let [lead, fresh] = ["lead", "fresh"].map(|name| stage.device(name));
        let relay = stage.relay("relay");
        lead.found("Gulf Crew");
        let daemon = lead.daemon();
        relay.join(&lead.invite("gateway"));
        fresh.join(&lead.invite("manager"));
        daemon.stop();
        let tenant = relay.run(&["--json", "tenant", "list"]).json()["slug"].clone();
        let tenant = tenant.as_str().unwrap();
        let add =
            ["user", "add", "--tenant", tenant, EMAIL, "--role", "operator", "--password-stdin"];
        relay.run_with(&add, PASSWORD).ok();
        let name = format!("name={WELL}");
        let place = ["apiNumber=42-227-30001", "status=ACTIVE", "latitude=31", "longitude=-102"];
        let well = lead.record("well", &[&[name.as_str()], &place[..]].concat());
        lead.ok(&["record", "field_entry", "--from", &stage.file("old", rows(0..8))]);
        let running = relay.start();
        lead.sync(&running.address());
        let app = App::of(&running);
        let photo = app.upload(&PHOTO);
        let (token, older) = (app.token.clone(), stage.path("older"));
        let mut scene =
            Self { stage, relay, lead, fresh, older, token, well, photo, all: Account::default() };
        scene.note(&running, 100..103);
        scene.lead.sync(&running.address());
        running.stop();
        copy(&scene.relay.data, &scene.older);
        let running = scene.relay.start();
        scene.note(&running, 103..106);
        running.stop();
        let (theirs, _) = held(&scene.lead).unwrap();
        scene.all.add(&theirs);
        assert_eq!((theirs.entries.len(), scene.all.entries.len()), (11, 14));
        scene
    }

    fn note(&mut self, running: &RunningRelay, numbers: std::ops::Range<u64>) {
        let mut all = std::mem::take(&mut self.all);
        let pusher = self.pusher(running);
        numbers.for_each(|number| assert!(pusher.push(number, &mut all)));
        self.all = all;
    }

    pub(crate) fn pusher(&self, running: &RunningRelay) -> Pusher<'_> {
        Pusher { scene: self, app: App { address: running.http(), token: self.token.clone() } }
    }

    pub(crate) fn copies(&self, attempt: usize) -> Copies<'_> {
        let folder = self.stage.path(&format!("try-{attempt}"));
        let host = format!("127.1.{}.{}", attempt / 200, 1 + attempt % 200);
        let lead = self.stage.copy(&self.lead, &folder);
        let fresh = self.stage.copy(&self.fresh, &folder);
        let data = folder.join("relay");
        copy(&self.relay.data, &data);
        Copies { scene: self, folder, relay: self.relay.at_data(data), lead, fresh, host }
    }
}

impl Pusher<'_> {
    /// Pushes an entry; says whether the relay answered that it has it.
    pub(crate) fn push(&self, number: u64, acknowledged: &mut Account) -> bool {
        let at = minute_of_march(usize::try_from(number).unwrap());
        let entry = json!({
            "wellId": self.scene.well, "entryType": "PRODUCTION", "recordedAt": at,
            "data": { "oilVolume": number },
        });
        let push = json!({ "deviceId": "tablet-1", "entries": [entry] });
        let Ok((200, answer)) = self.app.try_ask("POST", "/sync/push", &push) else { return false };
        let result = &answer["results"][0];
        let Some(id) = result["entryId"].as_str() else { return false };
        acknowledged.acknowledge(id, number);
        true
    }

    /// What the app sees, or why it does not.
    fn seen(&self) -> Result<Account, String> {
        let path = "/sync/pull?include=entries";
        let (status, page) = match self.app.try_ask("GET", path, &Json::Null) {
            Ok((200, page)) => (200, page),
            answer => return Err(format!("the app is not answered: {answer:?}")),
        };
        let Some(entries) = page["entries"].as_array() else {
            return Err(format!("{status}: {page}"));
        };
        let mut account = Account::default();
        for entry in entries {
            let number = entry["data"]["oilVolume"].as_f64().unwrap_or_default();
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small")]
            account.acknowledge(entry["id"].as_str().unwrap_or_default(), number as u64);
        }
        let (status, photo) = self.app.download(&self.scene.photo);
        match (status, photo == PHOTO) {
            (200, true) => Ok(account),
            _ => Err(format!("the photo is answered with {status}")),
        }
    }
}

impl Copies<'_> {
    /// Checks the relay, starts it, lets devices sync with it and an app read; says what came of it.
    pub(crate) fn judge(&self, acknowledged: &Account) -> Result<Ending, String> {
        let mut listed = self.verify()?;
        let was_listed = !listed.is_empty();
        let running = match self.relay.try_start(&self.host) {
            Ok(running) => running,
            Err(outcome) => {
                let stderr = sound(outcome)?.stderr;
                return Err(format!("the relay does not start: {stderr}"));
            }
        };
        let before = self.scene.pusher(&running).seen();
        let mut faults = Vec::new();
        for device in [&self.lead, &self.fresh] {
            let with = running.address();
            let sync = ["sync", "--no-mdns", "--timeout", "10", "--with", &with];
            let outcome = sound(device.run(&sync))?;
            if outcome.code != Some(0) {
                let (said, why) = (&outcome.stdout, &outcome.stderr);
                faults.push(format!("{} cannot sync: {said} {why}", device.name));
            }
        }
        faults.extend(missing(acknowledged, held(&self.fresh).map(|(found, _)| found)));
        faults.extend(missing(acknowledged, self.scene.pusher(&running).seen()));
        let outcome = sound(running.end())?;
        let after = self.verify()?;
        let is_listed = !after.is_empty();
        listed.extend(after);
        let is_told = |line: &&str| TOLD.iter().any(|words| line.contains(words));
        listed.extend(outcome.stderr.lines().filter(is_told).map(str::to_owned));
        if !faults.is_empty() && listed.is_empty() {
            let log = outcome.stderr;
            return Err(format!("nothing is listed, but {}; its log: {log}", faults.join("; ")));
        }
        let was_hurt = was_listed || !missing(acknowledged, before).is_empty();
        Ok(match (is_listed || !faults.is_empty(), was_hurt) {
            (true, _) => Ending::Listed,
            (false, true) => Ending::Healed,
            (false, false) => Ending::Whole,
        })
    }

    /// The lead records entries and syncs with the relay, however that ends; what it calls safe
    /// then is acknowledged.
    pub(crate) fn sync_some(
        &self,
        address: &str,
        numbers: std::ops::Range<usize>,
        acknowledged: &mut Account,
    ) -> Result<(), String> {
        let file = self.folder.join(format!("rows-{}", numbers.start));
        fs::write(&file, rows(numbers)).unwrap();
        let file = file.to_str().unwrap();
        sound(self.lead.run(&["record", "field_entry", "--from", file]))?;
        let sync = ["sync", "--no-mdns", "--timeout", "2", "--with", address];
        sound(self.lead.run(&sync))?;
        let (mut held, _) = held(&self.lead)?;
        let listed = sound(self.lead.run(&["--json", "list", "field_entry", "--unsafe"]))?;
        for line in listed.lines() {
            held.entries.remove(line["id"].as_str().unwrap_or_default());
        }
        acknowledged.add(&held);
        Ok(())
    }

    /// A path that only this try uses.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Fails unless everything is there, for when the fault has been undone.
    pub(crate) fn must_be_whole(&self) -> Result<(), String> {
        match self.judge(&self.scene.all)? {
            Ending::Listed => Err("after the fault was undone something is listed".into()),
            Ending::Whole | Ending::Healed => Ok(()),
        }
    }

    /// Whether the relay does not start, and says why.
    pub(crate) fn refuses(&self) -> Result<bool, String> {
        match self.relay.try_start(&self.host) {
            Ok(running) => sound(running.end()).map(|_| false),
            Err(outcome) => {
                let outcome = sound(outcome)?;
                match outcome.code {
                    Some(0) => Err("it ended by itself, and as if all were well".into()),
                    _ => Ok(true),
                }
            }
        }
    }

    /// What the check of the relay lists.
    fn verify(&self) -> Result<Vec<String>, String> {
        let outcome = sound(self.relay.run(&["--json", "verify"]))?;
        let mut listed = Vec::new();
        for line in outcome.lines() {
            listed.extend(line["problem"]["detail"].as_str().map(str::to_owned));
            for faults in [&line["faults"], &line["report"]["faults"]] {
                let faults = faults.as_array().map(Vec::as_slice).unwrap_or_default();
                listed.extend(faults.iter().map(Json::to_string));
            }
        }
        match (outcome.code, listed.is_empty()) {
            (Some(0), true) | (Some(7), false) => Ok(listed),
            _ => Err(format!("`verify` ends with {:?} and lists {listed:?}", outcome.code)),
        }
    }
}

fn missing(acknowledged: &Account, found: Result<Account, String>) -> Vec<String> {
    match found {
        Err(reason) => vec![reason],
        Ok(found) => {
            let missing = acknowledged.missing_from(&found);
            if missing.is_empty() { missing } else { vec![format!("lost {}", some_of(&missing))] }
        }
    }
}

impl Drop for Copies<'_> {
    fn drop(&mut self) {
        // What is left is removed with the stage.
        let _ = fs::remove_dir_all(&self.folder);
    }
}
