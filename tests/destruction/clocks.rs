//! The clock jumps by years between commands and in the middle of them.

use std::fs;
use std::path::{Path, PathBuf};

use crate::account::{Account, held, open, some_of, sound, well};
use crate::device::Device;
use crate::numbers::Numbers;
use crate::process::skipped;
use crate::round::{Fault, Theme};
use crate::stage::{Stage, rows};
use crate::tally::{Ending, Tally};

/// Tries of a round, and steps of each.
const TRIES: usize = 16;
const STEPS: usize = 6;
/// Seconds of a year.
const YEAR: i64 = 31_557_600;

pub(crate) const THEME: Theme = Theme {
    name: "clocks",
    fault: "clock jumps of years, back and forth, between commands and during them",
    prepare: |_| {
        let stage = Stage::new();
        if !stage.has_shim() {
            skipped("moving the clock of a program needs a C compiler");
            return None;
        }
        let [lead, hand] = stage.crew(10);
        Some(Box::new(Jumps { stage, lead, hand }))
    },
};

struct Jumps {
    stage: Stage,
    lead: Device,
    hand: Device,
}

impl Fault for Jumps {
    fn tries(&self) -> usize {
        TRIES
    }

    fn attempt(&self, attempt: usize, numbers: &mut Numbers) -> Result<Tally, String> {
        let folder = self.stage.path(&format!("clocks-{attempt}"));
        let lead = self.stage.copy(&self.lead, &folder);
        let hand = self.stage.copy(&self.hand, &folder);
        let clock = folder.join("clock");
        let settings = [("CLOCK_FILE", clock.to_str().unwrap().to_owned())];
        let moved = self.stage.watched(&lead, &settings);
        let (mut acknowledged, _) = held(&lead)?;
        jump(&clock, numbers);
        let daemon = numbers.percent(50).then(|| moved.daemon());
        for step in 0..STEPS {
            jump(&clock, numbers);
            let file = folder.join(format!("rows-{step}"));
            fs::write(&file, rows(100 + step * 40..100 + step * 40 + 30)).unwrap();
            let writer = moved.start(&["record", "field_entry", "--from", file.to_str().unwrap()]);
            jump(&clock, numbers);
            count(&mut acknowledged, &well(writer.finish())?.words(), 100 + step * 40);
            if numbers.percent(50) {
                let id = acknowledged.entries.keys().next().cloned().unwrap_or_default();
                let number = 1_000 + step as u64;
                well(moved.run(&["edit", &id, &format!("oilVolume={number}")]))?;
                acknowledged.acknowledge(&id, number);
            }
        }
        if let Some(daemon) = daemon {
            daemon.stop();
        }
        let ending = meet(&moved, &hand, &acknowledged)?;
        let _ = fs::remove_dir_all(folder);
        Ok(Tally::one(ending))
    }
}

fn count(acknowledged: &mut Account, printed: &[String], first: usize) {
    for (id, number) in printed.iter().zip(first..) {
        acknowledged.acknowledge(id, number as u64);
    }
}

/// Moves the clock to another year.
fn jump(clock: &Path, numbers: &mut Numbers) {
    let years = i64::try_from(numbers.below(41)).unwrap() - 20;
    let written: PathBuf = clock.with_extension("new");
    fs::write(&written, format!("{}", years * YEAR)).unwrap();
    fs::rename(written, clock).unwrap();
}

/// With its clock where it happens to be, the device syncs, and both have everything.
fn meet(moved: &Device, hand: &Device, acknowledged: &Account) -> Result<Ending, String> {
    let ending = open(moved)?.ending(acknowledged)?;
    let daemon = hand.daemon();
    let address = daemon.address();
    let outcome = moved.run(&["sync", "--no-mdns", "--timeout", "20", "--with", &address]);
    daemon.stop();
    well(sound(outcome)?)?;
    let (theirs, _) = held(hand)?;
    let missing = acknowledged.missing_from(&theirs);
    match missing.is_empty() {
        true => Ok(ending.max(open(hand)?.ending(acknowledged)?)),
        false => Err(format!("a peer misses {}", some_of(&missing))),
    }
}
