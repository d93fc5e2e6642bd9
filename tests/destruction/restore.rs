//! A kill, a power cut or a failing disk at any call while a home is made of backups: once more makes
//! it, or it is whole already, and it lives beside the original without any harm to either.

use std::fs;
use std::path::Path;

use crate::account::{Account, held, open, sound, told};
use crate::day::{Day, Living};
use crate::device::Device;
use crate::disk::Cut;
use crate::failing::Failing;
use crate::numbers::Numbers;
use crate::process::skipped;
use crate::round::{Fault, Theme};
use crate::stage::{Stage, rows};
use crate::tally::{Ending, Tally};
use crate::twins::{Family, record};

/// Moments that a round tries.
const CUTS: usize = 18;
/// Tries with a disk that fails.
const FAILURES: usize = 6;
/// After so many tries the new home and the original go on side by side.
const FAMILY_EVERY: usize = 6;
/// The home that is made.
const AGAIN: &str = "again";

pub(crate) const THEME: Theme = Theme {
    name: "restore",
    fault: "kill, power cut or failing disk at any call of a restore, beside the original",
    prepare: |_| {
        if !Stage::new().has_shim() {
            skipped("recording what is written to a disk needs a C compiler");
            return None;
        }
        Some(Box::new(Restores::new()))
    },
};

struct Restores {
    stage: Stage,
    day: Day,
    /// The command that makes a home of two backups.
    restore: Vec<String>,
    /// How many events there were when it was said to be done.
    end: usize,
    /// What the backups hold.
    all: Account,
}

impl Restores {
    fn new() -> Self {
        let stage = Stage::new();
        let [lead, _] = stage.crew(12);
        let [monday, tuesday] = ["monday", "tuesday"].map(|name| stage.path(name));
        let [monday, tuesday] = [&monday, &tuesday].map(|path| path.to_str().unwrap());
        lead.ok(&["backup", monday]);
        lead.ok(&["record", "field_entry", "--from", &stage.file("rows", rows(40..46))]);
        lead.ok(&["backup", tuesday, "--since", monday]);
        let restore = ["restore", monday, tuesday].map(str::to_owned).to_vec();
        let (all, _) = held(&lead).unwrap();
        let mut day = Living::begin(&stage, "restore", [(AGAIN.to_owned(), all.clone())].into());
        let again = day.watched(&stage.device(AGAIN));
        again.ok(&words(&restore));
        let end = day.so_far();
        day.record(&again, 2);
        let day = day.end();
        Self { stage, day, restore, end, all }
    }
}

fn words(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

impl Fault for Restores {
    fn tries(&self) -> usize {
        CUTS + FAILURES
    }

    fn attempt(&self, attempt: usize, numbers: &mut Numbers) -> Result<Tally, String> {
        let world = self.stage.path(&format!("restore-{attempt}"));
        let again = self.stage.device_in(&world, AGAIN);
        let (fault, acknowledged, is_done) = if attempt < CUTS {
            let cut = match numbers.below(3) {
                0 => Cut::Everything,
                1 => Cut::NothingUnsynced,
                _ => Cut::SomeUnsynced(*numbers.pick(&[10, 50, 90])),
            };
            let of = self.day.events.len();
            let moment = numbers.below(of + 1);
            self.day.leave(moment, cut, &world, numbers);
            let acknowledged = self.day.acknowledged(moment)[AGAIN].clone();
            (format!("{cut:?} after {moment} of {of} calls"), acknowledged, moment >= self.end)
        } else {
            self.day.leave(0, Cut::NothingUnsynced, &world, numbers);
            let failing = Failing::draw(numbers, self.end);
            let device = failing.on(&self.stage, &again, &again.home);
            let outcome = sound(device.run(&words(&self.restore)))?;
            (failing.to_string(), self.all.clone(), outcome.code == Some(0))
        };
        let named = |words| format!("{fault}: {words}");
        let mut ending = self.judge(&again, &acknowledged, is_done).map_err(named)?;
        if attempt.is_multiple_of(FAMILY_EVERY) {
            ending = ending.max(self.live_on(&world, again, numbers).map_err(named)?);
        }
        let _ = fs::remove_dir_all(&world);
        Ok(Tally::one(ending))
    }
}

impl Restores {
    /// Makes the home once more, where it is not there, and looks at it.
    fn judge(&self, again: &Device, all: &Account, is_done: bool) -> Result<Ending, String> {
        let outcome = sound(again.run(&words(&self.restore)))?;
        let is_there = outcome.stderr.contains("already");
        if outcome.code != Some(0) && !is_there {
            return Err(format!("the home cannot be made: {}", told(&outcome)));
        }
        if outcome.code == Some(0) && is_done {
            return Err("it was said that the home is there, and it was made once more".into());
        }
        open(again)?.ending(all)
    }

    /// The home and the one that was backed up record and meet a third, which has both to agree.
    fn live_on(&self, world: &Path, old: Device, numbers: &mut Numbers) -> Result<Ending, String> {
        let [original, third] = ["lead", "hand"].map(|name| self.stage.device_in(world, name));
        let acknowledged = self.all.clone();
        let mut family = Family { original, old, third, acknowledged };
        for (at, device) in [&family.old, &family.original].into_iter().enumerate() {
            let account = record(device, world, 400 + at * 20, 1 + numbers.below(3))?;
            family.acknowledged.add(&account);
        }
        family.judge()
    }
}
