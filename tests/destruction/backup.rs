//! A kill, a power cut or a failing disk at any call while a home is backed up beside its writers:
//! there is no backup, or it is whole, and the check of it says what a restore does.

use std::fs;
use std::path::Path;

use crate::account::{Account, held, open, some_of, sound, told, well};
use crate::day::{Day, Living};
use crate::device::Device;
use crate::disk::Cut;
use crate::failing::Failing;
use crate::flip::{flip, offsets};
use crate::numbers::Numbers;
use crate::process::skipped;
use crate::round::{Fault, Theme};
use crate::stage::{Stage, rows};
use crate::tally::{Ending, Tally};

/// Moments that a round tries.
const CUTS: usize = 18;
/// Tries with a disk that fails.
const FAILURES: usize = 10;
/// The most calls that writing a backup takes.
const CALLS_MAX: usize = 16;
/// Entries that are there before.
const ENTRIES: usize = 24;
/// A whole backup, and one that goes on from it.
const FILES: [&str; 2] = ["monday", "tuesday"];
/// How often every region of a backup is hit.
const FLIPS: usize = 2;
/// How a program ends that finds a backup damaged or cut short.
const DAMAGED: Option<i32> = Some(7);

pub(crate) const THEME: Theme = Theme {
    name: "backup",
    fault: "kill, power cut or failing disk at any call of a backup beside writers",
    prepare: |_| {
        if !Stage::new().has_shim() {
            skipped("recording what is written to a disk needs a C compiler");
            return None;
        }
        Some(Box::new(Backups::new()))
    },
};

pub(crate) const FLIP_THEME: Theme = Theme {
    name: "backup-flip",
    fault: "one bit flipped, in every region of a backup and of one that goes on from it",
    prepare: |seed| Some(Box::new(Flips::new(seed))),
};

struct Backups {
    stage: Stage,
    day: Day,
    /// For each backup, how many events there were when it began and when it was said to be done.
    spans: Vec<[usize; 2]>,
    all: Account,
}

impl Backups {
    fn new() -> Self {
        let stage = Stage::new();
        let lead = stage.founder();
        let file = stage.file("old", rows(0..ENTRIES));
        lead.ok(&["import", &file, "--collection", "field_entry"]);
        let (all, _) = held(&lead).unwrap();
        fs::create_dir(stage.world().join("backups")).unwrap();
        let mut day = Living::begin(&stage, "backups", [(lead.name.clone(), all.clone())].into());
        let lead = day.watched(&lead);
        let daemon = lead.daemon();
        let mut spans = Vec::new();
        let paths = FILES.map(|name| stage.world().join("backups").join(name));
        for (at, path) in paths.iter().enumerate() {
            day.record(&lead, 2);
            let begin = day.so_far();
            let name = path.to_str().unwrap();
            let mut arguments = vec!["backup", name];
            if at > 0 {
                arguments.extend(["--since", paths[at - 1].to_str().unwrap()]);
            }
            let backup = lead.start(&arguments);
            day.record_together(&lead, 3);
            backup.finish().ok();
            spans.push([begin, day.so_far()]);
        }
        daemon.stop();
        let day = day.end();
        Self { stage, day, spans, all }
    }
}

impl Fault for Backups {
    fn tries(&self) -> usize {
        CUTS + FAILURES
    }

    fn attempt(&self, attempt: usize, numbers: &mut Numbers) -> Result<Tally, String> {
        let world = self.stage.path(&format!("backup-{attempt}"));
        let result = match attempt.checked_sub(CUTS) {
            None => self.cut(attempt, &world, numbers),
            Some(_) => self.failing(&world, numbers),
        };
        let _ = fs::remove_dir_all(&world);
        result.map(Tally::one)
    }
}

impl Backups {
    fn cut(&self, attempt: usize, world: &Path, numbers: &mut Numbers) -> Result<Ending, String> {
        let cut = match attempt % 3 {
            0 => Cut::Everything,
            1 => Cut::NothingUnsynced,
            _ => Cut::SomeUnsynced(*numbers.pick(&[10, 50, 90])),
        };
        // While a backup is being written, and just behind.
        let [begin, end] = *numbers.pick(&self.spans);
        let moment = begin + numbers.below(end - begin + 2);
        let moment = moment.min(self.day.events.len());
        self.day.leave(moment, cut, world, numbers);
        let lead = self.stage.device_in(world, "lead");
        let named = |words| format!("{cut:?} after {moment} of {}: {words}", self.day.events.len());
        let ending =
            open(&lead).and_then(|opened| opened.ending(&self.day.acknowledged(moment)["lead"]));
        let ending = ending.map_err(named)?;
        let folder = world.join("backups");
        let mut chain = Vec::new();
        for (name, [begin, end]) in FILES.iter().zip(&self.spans) {
            let path = folder.join(name);
            let is_there = path.exists();
            if *end <= moment && !is_there {
                return Err(named(format!("{name} was said to be written, and is not there")));
            }
            if is_there {
                chain.push(path.to_str().unwrap().to_owned());
                let account = &self.day.acknowledged(*begin)["lead"];
                judge(&self.stage, world, &chain, account).map_err(named)?;
            }
        }
        unfinished(&lead, &folder).map_err(named)?;
        rotate(&lead, &folder).map_err(named)?;
        Ok(ending)
    }

    /// A backup on a disk that fails, beside which the home is sound.
    fn failing(&self, world: &Path, numbers: &mut Numbers) -> Result<Ending, String> {
        self.day.leave(0, Cut::NothingUnsynced, world, numbers);
        let lead = self.stage.device_in(world, "lead");
        let failing = Failing::draw(numbers, CALLS_MAX);
        let named = |words| format!("{failing}: {words}");
        let folder = world.join("backups");
        let path = folder.join(FILES[0]);
        let name = path.to_str().unwrap().to_owned();
        let outcome = failing.on(&self.stage, &lead, &folder).run(&["backup", &name]);
        let outcome = sound(outcome).map_err(named)?;
        if outcome.code == Some(0) && !path.exists() {
            return Err(named("it is said to be written, and is not there".into()));
        }
        if path.exists() {
            let name = std::slice::from_ref(&name);
            judge(&self.stage, world, name, &self.all).map_err(named)?;
        }
        unfinished(&lead, &folder).map_err(named)?;
        rotate(&lead, &folder).map_err(named)?;
        let ending = open(&lead).and_then(|opened| opened.ending(&self.all));
        ending.map_err(named)
    }
}

/// A backup that has its name is whole, and a home of it has everything that was acknowledged before
/// it began.
fn judge(stage: &Stage, world: &Path, chain: &[String], account: &Account) -> Result<(), String> {
    let again = stage.device_in(world, &format!("again-{}", chain.len()));
    for file in chain {
        well(again.run(&["backup", "--check", file]))?;
    }
    let files: Vec<&str> = chain.iter().map(String::as_str).collect();
    well(again.run(&[&["restore"], &files[..]].concat()))?;
    let opened = open(&again)?;
    opened.ending(account).map_err(|words| format!("a home of {files:?}: {words}"))?;
    match opened.listed.is_empty() {
        true => Ok(()),
        false => Err(format!("a home of {files:?} lists {}", some_of(&opened.listed))),
    }
}

/// What has not got its name is whole, or it is said that it is not.
fn unfinished(lead: &Device, folder: &Path) -> Result<(), String> {
    for name in FILES {
        let part = folder.join(format!("{name}.part"));
        if !part.exists() {
            continue;
        }
        let outcome = sound(lead.run(&["backup", "--check", part.to_str().unwrap()]))?;
        if outcome.code != Some(0) && outcome.code != DAMAGED {
            return Err(format!("what was cut off is not called so: {}", told(&outcome)));
        }
    }
    Ok(())
}

/// The next backup of the same name can be written, and takes nothing from one that was moved away.
fn rotate(lead: &Device, folder: &Path) -> Result<(), String> {
    let [path, before] = [FILES[0], "earlier"].map(|name| folder.join(name));
    let is_there = path.exists();
    if is_there {
        fs::rename(&path, &before).unwrap();
    }
    well(lead.run(&["backup", path.to_str().unwrap()]))?;
    if is_there {
        well(lead.run(&["backup", "--check", before.to_str().unwrap()]))?;
    }
    Ok(())
}

/// A backup of which one bit is flipped, and its chain.
struct Flips {
    stage: Stage,
    /// The home that the backups are of.
    all: Account,
    /// Which backup is hit, and the byte.
    places: Vec<(usize, u64)>,
}

impl Flips {
    fn new(seed: u64) -> Self {
        let stage = Stage::new();
        let lead = stage.founder();
        let mut places = Vec::new();
        let mut numbers = Numbers::of(seed, "backups", 0);
        let paths = FILES.map(|name| stage.path(name));
        for (at, path) in paths.iter().enumerate() {
            let rows = stage.file("rows", rows(at * 40..at * 40 + ENTRIES));
            lead.ok(&["import", &rows, "--collection", "field_entry"]);
            let mut arguments = vec!["backup", path.to_str().unwrap()];
            if at > 0 {
                arguments.extend(["--since", paths[at - 1].to_str().unwrap()]);
            }
            lead.ok(&arguments);
            let offsets = (0..FLIPS).flat_map(|_| offsets(path, &mut numbers));
            places.extend(offsets.map(|offset| (at, offset)));
        }
        places.sort_unstable();
        places.dedup();
        let (all, _) = held(&lead).unwrap();
        Self { stage, all, places }
    }
}

impl Fault for Flips {
    fn tries(&self) -> usize {
        self.places.len()
    }

    fn attempt(&self, attempt: usize, numbers: &mut Numbers) -> Result<Tally, String> {
        let (hit, offset) = self.places[attempt];
        let folder = self.stage.path(&format!("flip-{attempt}"));
        fs::create_dir(&folder).unwrap();
        let copies = FILES.map(|name| {
            fs::copy(self.stage.path(name), folder.join(name)).unwrap();
            folder.join(name)
        });
        let [monday, tuesday] = copies.each_ref().map(|path| path.to_str().unwrap());
        let bit = numbers.below(8);
        flip(&copies[hit], offset, bit);
        let name = FILES[hit];
        let named = |words| format!("bit {bit} of byte {offset} of {name}: {words}");
        let again = self.stage.device("lead").at_home(folder.join("again"));
        for arguments in
            [&["backup", "--check", [monday, tuesday][hit]][..], &["restore", monday, tuesday]]
        {
            let outcome = sound(again.run(arguments)).map_err(named)?;
            if outcome.code == Some(0) || !outcome.stderr.contains(name) {
                return Err(named(format!("it is not told: {}", told(&outcome))));
            }
        }
        // Nothing stands in the way of the same backup from another place.
        flip(&copies[hit], offset, bit);
        well(again.run(&["restore", monday, tuesday])).map_err(named)?;
        let (found, _) = held(&again).map_err(named)?;
        let missing = self.all.missing_from(&found);
        if !missing.is_empty() {
            return Err(named(format!("a sound copy lacks {}", some_of(&missing))));
        }
        let _ = fs::remove_dir_all(&folder);
        Ok(Tally::one(Ending::Listed))
    }
}
