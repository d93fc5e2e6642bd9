//! A kill or a power cut at any call to the disk while a home gets another key or another secret,
//! and a disk that fails meanwhile: exactly one secret opens it, all is there, and in the end the key
//! before opens nothing.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::account::{Account, held, open, sound};
use crate::day::{Day, Living};
use crate::device::Device;
use crate::disk::Cut;
use crate::failing::Failing;
use crate::numbers::Numbers;
use crate::process::{eventually, skipped};
use crate::round::{Fault, Theme};
use crate::stage::{Stage, rows};
use crate::tally::{Ending, Tally};

/// Moments that a round tries of each day.
const CUTS: usize = 8;
/// Tries with a disk that fails, of a rekey and as many of a change of secret.
const FAILURES: usize = 6;
/// How long a rekey of a small home may take.
const REKEY_TIME_MAX: Duration = Duration::from_secs(60);
/// Entries that are there before.
const ENTRIES: usize = 30;

pub(crate) const THEME: Theme = Theme {
    name: "rekey",
    fault: "kill, power cut or failing disk at any call of a rekey or a change of secret",
    prepare: |_| {
        if !Stage::new().has_shim() {
            skipped("recording what is written to a disk needs a C compiler");
            return None;
        }
        let rekeys = [alone(), beside_writers()];
        Some(Box::new(Rekeys { rekeys, secrets: Secrets::new() }))
    },
};

struct Rekeys {
    rekeys: [(Stage, Day); 2],
    secrets: Secrets,
}

/// A home whose secret is changed again and again.
struct Secrets {
    stage: Stage,
    day: Day,
    all: Account,
    /// How many events there were when a change had ended.
    ends: Vec<usize>,
}

fn settled() -> (Stage, Device, Account) {
    let stage = Stage::new();
    let lead = stage.founder();
    let file = stage.file("old", rows(0..ENTRIES));
    lead.ok(&["import", &file, "--collection", "field_entry"]);
    let (account, _) = held(&lead).unwrap();
    (stage, lead, account)
}

/// A rekey by a command that has the home for itself.
fn alone() -> (Stage, Day) {
    let (stage, lead, account) = settled();
    let mut day = Living::begin(&stage, "rekey", [(lead.name.clone(), account)].into());
    let lead = day.watched(&lead);
    lead.ok(&["rekey"]);
    day.record(&lead, 2);
    let day = day.end();
    (stage, day)
}

/// A rekey by a daemon that several commands record through.
fn beside_writers() -> (Stage, Day) {
    let (stage, lead, account) = settled();
    let mut day = Living::begin(&stage, "writers", [(lead.name.clone(), account)].into());
    let lead = day.watched(&lead);
    let daemon = lead.daemon();
    day.record(&lead, 2);
    let rekey = lead.start(&["rekey"]);
    day.record_together(&lead, 6);
    rekey.finish().ok();
    daemon.stop();
    let day = day.end();
    (stage, day)
}

impl Fault for Rekeys {
    fn tries(&self) -> usize {
        3 * CUTS + 2 * FAILURES
    }

    fn attempt(&self, attempt: usize, numbers: &mut Numbers) -> Result<Tally, String> {
        match attempt.checked_sub(3 * CUTS) {
            None => {}
            Some(failures) if failures < FAILURES => return self.failing(attempt, numbers),
            Some(_) => return self.secrets.failing(attempt, numbers),
        }
        let cuts = attempt / 3;
        let cut = match cuts % 3 {
            0 => Cut::Everything,
            1 => Cut::NothingUnsynced,
            _ => Cut::SomeUnsynced(*numbers.pick(&[10, 50, 90])),
        };
        let Some((stage, day)) = self.rekeys.get(attempt % 3) else {
            return self.secrets.attempt(attempt, cut, numbers);
        };
        let world = stage.path(&format!("cut-{attempt}"));
        let moment = day.moment(numbers);
        day.leave(moment, cut, &world, numbers);
        let lead = stage.device_in(&world, "lead");
        let account = &day.acknowledged(moment)["lead"];
        let result = judge(&lead, account, day);
        let _ = fs::remove_dir_all(&world);
        let place =
            format!("{cut:?} after {moment} of {} calls of `{}`", day.events.len(), day.name);
        result.map(Tally::one).map_err(|words| format!("{place}: {words}"))
    }
}

impl Rekeys {
    /// A rekey on a disk that fails at some call.
    fn failing(&self, attempt: usize, numbers: &mut Numbers) -> Result<Tally, String> {
        let (stage, day) = &self.rekeys[0];
        let folder = stage.path(&format!("failing-{attempt}"));
        day.leave(0, Cut::NothingUnsynced, &folder, numbers);
        let lead = stage.device_in(&folder, "lead");
        let (account, _) = held(&lead)?;
        let failing = Failing::draw(numbers, day.events.len());
        let outcome = failing.on(stage, &lead, &lead.home).run(&["rekey"]);
        let result = sound(outcome).and_then(|_| judge(&lead, &account, day));
        let _ = fs::remove_dir_all(&folder);
        result.map(Tally::one).map_err(|words| format!("{failing}: {words}"))
    }
}

/// All is there, the rekey goes on to its end, and the profile of before opens nothing then.
fn judge(lead: &Device, account: &Account, day: &Day) -> Result<Ending, String> {
    let ending = open(lead)?.ending(account)?;
    let before = day.file_at_morning(Path::new("lead/profile"));
    let profile = lead.home.join("profile");
    let is_begun = fs::read(&profile).unwrap() != before;
    let daemon = lead.daemon();
    eventually("the rekey is done", REKEY_TIME_MAX, || {
        lead.json(&["status"])["rekey"].is_null().then_some(())
    });
    daemon.stop();
    let opened = open(lead)?;
    opened.ending(account).map_err(|words| format!("after the rekey: {words}"))?;
    let left = left_over(&lead.home);
    if is_begun && !left.is_empty() {
        return Err(format!("after the rekey there is {left:?}"));
    }
    if is_begun {
        must_not_open(lead, day, &["profile"])?;
        must_not_open(lead, day, &["profile", "profile.copy"])?;
        must_not_open(lead, day, &["profile", "profile.copy", "identity", "identity.copy"])?;
    }
    Ok(ending)
}

/// Some files of before the rekey open nothing that it has written anew; they are put back for it.
fn must_not_open(lead: &Device, day: &Day, names: &[&str]) -> Result<(), String> {
    let all = ["profile", "profile.copy", "identity", "identity.copy"];
    let after = all.map(|name| (lead.home.join(name), fs::read(lead.home.join(name)).unwrap()));
    for name in names {
        let before = day.file_at_morning(&Path::new("lead").join(name));
        fs::write(lead.home.join(name), before).unwrap();
    }
    let outcome = sound(lead.run(&["export", "field_entry"]))?;
    if outcome.code == Some(0) {
        return Err(format!("{names:?} of before open what the rekey has written anew"));
    }
    after.iter().for_each(|(path, bytes)| fs::write(path, bytes).unwrap());
    Ok(())
}

/// Files that a write left half done.
fn left_over(folder: &Path) -> Vec<String> {
    let is_left = |name: &str| name.ends_with(".new") || name.ends_with(".old");
    let paths = crate::damage::paths_below(folder).into_iter();
    paths.map(|path| path.display().to_string()).filter(|path| is_left(path)).collect()
}

/// What opens the home, one after the other; nothing is the key file in its usual place.
const CHAIN: [Option<&str>; 4] =
    [None, Some("a long walk to the well"), None, Some("four words about rain")];

fn with_secrets(
    device: &Device,
    secret: Option<&'static str>,
    new: Option<&'static str>,
) -> Device {
    device.with(move |mut command| {
        for (name, secret) in [("FIELDMESH_PASSPHRASE", secret), ("FIELDMESH_NEW_PASSPHRASE", new)]
        {
            match secret {
                Some(secret) => command.env(name, secret),
                None => command.env_remove(name),
            };
        }
        command
    })
}

impl Secrets {
    fn new() -> Self {
        let (stage, lead, all) = settled();
        let day = Living::begin(&stage, "secrets", [(lead.name.clone(), all.clone())].into());
        let lead = day.watched(&lead);
        let mut ends = Vec::new();
        for step in CHAIN.windows(2) {
            let lead = with_secrets(&lead, step[0], step[1]);
            match step[1] {
                Some(_) => lead.ok(&["passphrase", "change"]),
                None => lead.ok(&["passphrase", "change", "--to-usual-key-file"]),
            };
            ends.push(day.so_far());
        }
        let day = day.end();
        Self { stage, day, all, ends }
    }

    fn attempt(&self, attempt: usize, cut: Cut, numbers: &mut Numbers) -> Result<Tally, String> {
        let moment = numbers.below(self.day.events.len() + 1);
        let world = self.stage.path(&format!("cut-{attempt}"));
        self.day.leave(moment, cut, &world, numbers);
        let done = self.ends.iter().filter(|end| **end <= moment).count();
        let result = self.judge(&self.stage.device_in(&world, "lead"), done);
        let _ = fs::remove_dir_all(&world);
        let of = self.day.events.len();
        let named =
            |words| format!("{cut:?} after {moment} of {of} calls, {done} changes: {words}");
        result.map(Tally::one).map_err(named)
    }

    /// A change of secret on a disk that fails at some call.
    fn failing(&self, attempt: usize, numbers: &mut Numbers) -> Result<Tally, String> {
        let step = numbers.below(self.ends.len());
        let begin = if step == 0 { 0 } else { self.ends[step - 1] };
        let world = self.stage.path(&format!("failing-{attempt}"));
        self.day.leave(begin, Cut::NothingUnsynced, &world, numbers);
        let lead = self.stage.device_in(&world, "lead");
        let failing = Failing::draw(numbers, self.ends[step] - begin);
        let device = failing.on(&self.stage, &lead, &world);
        let device = with_secrets(&device, CHAIN[step], CHAIN[step + 1]);
        let mut change = vec!["passphrase", "change"];
        if CHAIN[step + 1].is_none() {
            change.push("--to-usual-key-file");
        }
        let result = sound(device.run(&change)).and_then(|outcome| {
            let is_done = outcome.code == Some(0);
            self.judge(&lead, step + usize::from(is_done))
        });
        let _ = fs::remove_dir_all(&world);
        let named = |words| format!("change {step} with {failing}: {words}");
        result.map(Tally::one).map_err(named)
    }

    /// Of the secret that was there last and the next one, exactly one opens the home.
    fn judge(&self, lead: &Device, done: usize) -> Result<Ending, String> {
        let mut opening = Vec::new();
        for secret in BTreeSet::from(CHAIN) {
            let lead = with_secrets(lead, secret, None);
            let outcome = sound(lead.run(&["export", "well"]))?;
            if outcome.code == Some(0) {
                opening.push((secret, lead));
            }
            // Where a key file opens the home, no passphrase is looked at.
            if opening.iter().any(|(secret, _)| secret.is_none()) {
                break;
            }
        }
        let last_and_next = &CHAIN[done..CHAIN.len().min(done + 2)];
        match &opening[..] {
            [(secret, lead)] if last_and_next.contains(secret) => open(lead)?.ending(&self.all),
            _ => {
                let opening: Vec<_> = opening.iter().map(|(secret, _)| secret).collect();
                Err(format!("{opening:?} open the home, which is one of {last_and_next:?}"))
            }
        }
    }
}
