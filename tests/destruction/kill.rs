//! SIGKILL at any call to the disk, or at any time, again and again on the same home.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use crate::account::{Account, held, open, some_of};
use crate::device::Device;
use crate::numbers::Numbers;
use crate::process::skipped;
use crate::round::{Fault, Theme};
use crate::stage::{Stage, rows};
use crate::tally::Tally;

/// Homes that a round uses.
const HOMES: usize = 36;
/// Kills of each home.
const KILLS: usize = 5;
/// The calls to its disk among which a command is killed.
const CALLS_MAX: usize = 90;
/// The longest that a daemon lives after its writers began.
const LIFE_MAX_MS: usize = 120;

pub(crate) const THEME: Theme = Theme {
    name: "kill",
    fault: "kill -9 while recording, importing, syncing, merging, as a daemon, while opening after a kill",
    prepare: |_| {
        let stage = Stage::new();
        if !stage.has_shim() {
            skipped("killing a program at a certain call needs a C compiler");
            return None;
        }
        let [lead, hand] = stage.crew(16);
        Some(Box::new(Kills { stage, lead, hand }))
    },
};

struct Kills {
    stage: Stage,
    lead: Device,
    hand: Device,
}

/// One home while it is killed again and again.
struct Loop<'a> {
    kills: &'a Kills,
    folder: PathBuf,
    lead: Device,
    hand: Device,
    acknowledged: Account,
    next: usize,
    done: Tally,
}

impl Fault for Kills {
    fn tries(&self) -> usize {
        HOMES
    }

    fn attempt(&self, attempt: usize, numbers: &mut Numbers) -> Result<Tally, String> {
        let folder = self.stage.path(&format!("kill-{attempt}"));
        let lead = self.stage.copy(&self.lead, &folder);
        let hand = self.stage.copy(&self.hand, &folder);
        let (acknowledged, _) = held(&lead)?;
        let done = Tally::default();
        let mut homes =
            Loop { kills: self, folder: folder.clone(), lead, hand, acknowledged, next: 500, done };
        for _ in 0..KILLS {
            homes.kill(numbers)?;
        }
        homes.meet()?;
        let done = homes.done;
        let _ = fs::remove_dir_all(folder);
        Ok(done)
    }
}

impl Loop<'_> {
    /// Kills something once, then looks whether all that was printed is there.
    fn kill(&mut self, numbers: &mut Numbers) -> Result<(), String> {
        let what = match numbers.below(7) {
            0 => self.record(1, numbers),
            1 => self.record(30, numbers),
            2 => self.edit(numbers),
            3 => self.import(numbers),
            4 => self.sync(numbers),
            5 => self.compact(numbers),
            _ => self.daemon(numbers),
        };
        let named = |words| format!("killed while {what}: {words}");
        let opened = open(&self.lead).map_err(named)?;
        self.done.add(&Tally::one(opened.ending(&self.acknowledged).map_err(named)?));
        Ok(())
    }

    /// The device, killed at some call, in the middle of a write where it is one.
    fn dying(&self, device: &Device, numbers: &mut Numbers) -> Device {
        let call = 1 + numbers.below(CALLS_MAX);
        let mut settings = vec![
            ("DISK_ROOT", device.home.to_str().unwrap().to_owned()),
            ("DISK_CALL", call.to_string()),
            ("DISK_FAULT", "KILL".to_owned()),
        ];
        if numbers.percent(50) {
            settings.push(("DISK_HALF", "1".to_owned()));
        }
        self.kills.stage.watched(device, &settings)
    }

    fn rows(&mut self, count: usize) -> (Vec<u64>, String) {
        let numbers = self.next..self.next + count;
        self.next += count;
        let path = self.folder.join(format!("rows-{}", numbers.start));
        fs::write(&path, rows(numbers.clone())).unwrap();
        (numbers.map(|number| number as u64).collect(), path.to_str().unwrap().to_owned())
    }

    fn count(&mut self, printed: &[String], values: &[u64]) {
        for (id, number) in printed.iter().zip(values) {
            self.acknowledged.acknowledge(id, *number);
        }
    }

    fn record(&mut self, count: usize, numbers: &mut Numbers) -> &'static str {
        let (values, file) = self.rows(count);
        let lead = self.dying(&self.lead, numbers);
        let outcome = lead.run(&["record", "field_entry", "--from", &file]);
        self.count(&outcome.words(), &values);
        "recording"
    }

    fn edit(&mut self, numbers: &mut Numbers) -> &'static str {
        let (values, _) = self.rows(1);
        let ids: Vec<&String> = self.acknowledged.entries.keys().collect();
        let id = (*numbers.pick(&ids)).clone();
        let lead = self.dying(&self.lead, numbers);
        let value = format!("oilVolume={}", values[0]);
        let outcome = lead.run(&["--json", "edit", &id, &value]);
        if !outcome.words().is_empty() {
            self.acknowledged.acknowledge(&id, values[0]);
        }
        "editing"
    }

    fn import(&mut self, numbers: &mut Numbers) -> &'static str {
        let (values, file) = self.rows(40);
        let lead = self.dying(&self.lead, numbers);
        let outcome = lead.run(&["import", &file, "--collection", "field_entry"]);
        if !outcome.words().is_empty() {
            self.acknowledged.nameless.extend(&values);
        }
        "importing"
    }

    /// What the commands of before have left is merged.
    fn compact(&mut self, numbers: &mut Numbers) -> &'static str {
        self.dying(&self.lead, numbers).run(&["compact"]);
        "making the home smaller"
    }

    /// Either side of a sync is killed; both have recorded before.
    fn sync(&mut self, numbers: &mut Numbers) -> &'static str {
        for device in [self.lead.clone(), self.hand.clone()] {
            let (values, file) = self.rows(5);
            let outcome = device.ok(&["record", "field_entry", "--from", &file]);
            if device.name == self.lead.name {
                self.count(&outcome.words(), &values);
            }
        }
        let (serving, calling) = match numbers.percent(50) {
            true => (self.hand.clone(), self.dying(&self.lead, numbers)),
            false => (self.lead.clone(), self.dying(&self.hand, numbers)),
        };
        let daemon = serving.daemon();
        let address = daemon.address();
        calling.run(&["sync", "--no-mdns", "--timeout", "10", "--with", &address]);
        match numbers.percent(50) {
            true => drop(daemon.kill()),
            false => drop(daemon.stop()),
        }
        "syncing"
    }

    /// A daemon is killed while three commands record through it.
    fn daemon(&mut self, numbers: &mut Numbers) -> &'static str {
        let daemon = self.lead.daemon();
        let mut writers = Vec::new();
        for _ in 0..3 {
            let (values, file) = self.rows(60);
            writers.push((values, self.lead.start(&["record", "field_entry", "--from", &file])));
        }
        std::thread::sleep(Duration::from_millis(numbers.below(LIFE_MAX_MS) as u64));
        daemon.kill();
        for (values, writer) in writers {
            let printed = writer.finish().words();
            self.count(&printed, &values);
        }
        "serving three writers"
    }

    /// At the end both devices come into step, with all there is.
    fn meet(&self) -> Result<(), String> {
        self.hand.meet(&self.lead);
        let (ours, _) = held(&self.lead)?;
        let (theirs, _) = held(&self.hand)?;
        if ours != theirs {
            return Err("two devices differ after all kills and a sync".into());
        }
        let missing = self.acknowledged.missing_from(&ours);
        match missing.is_empty() {
            true => Ok(()),
            false => Err(format!("after all kills and a sync, {}", some_of(&missing))),
        }
    }
}
