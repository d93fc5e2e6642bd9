//! The power fails at every call to the disk of an eviction: a month is here, or it was let go and
//! that is said, and a relay has it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::account::{Account, held, some_of, sound, well};
use crate::device::Device;
use crate::disk::{Cut, Disk};
use crate::journal::{self, Deed, Event};
use crate::numbers::Numbers;
use crate::process::skipped;
use crate::relay::Relay;
use crate::round::{Fault, Theme};
use crate::stage::{Stage, WELL, copy};
use crate::tally::{Ending, Tally};

/// Moments that a round tries; each round begins at another one, so that a long run tries all.
const TRIES: usize = 24;
/// Entries of each month.
const ENTRIES_PER_MONTH: usize = 6;
/// The month from which on all is kept.
const SINCE: &str = "2026-03";
/// The entry that no relay has.
const UNSAFE_NUMBER: u64 = 777;

pub(crate) const THEME: Theme = Theme {
    name: "evict",
    fault: "power cut at every call to the disk of an eviction",
    prepare: |seed| {
        let stage = Stage::new();
        if !stage.has_shim() {
            skipped("recording what is written to a disk needs a C compiler");
            return None;
        }
        Some(Box::new(Evictions::new(stage, seed)))
    },
};

struct Evictions {
    stage: Stage,
    relay: Relay,
    morning: Disk,
    events: Vec<Event>,
    /// What the device held before.
    all: Account,
    /// What has to stay in any case.
    kept: Account,
    first: usize,
}

impl Evictions {
    fn new(stage: Stage, seed: u64) -> Self {
        let lead = stage.device("lead");
        lead.found("Gulf Crew");
        let relay = stage.relay("relay");
        let daemon = lead.daemon();
        relay.join(&lead.invite("relay"));
        daemon.stop();
        lead.well(WELL);
        let file = stage.file("months", months());
        lead.ok(&["record", "field_entry", "--from", &file]);
        let running = relay.start();
        lead.sync(&running.address());
        running.stop();
        // One that is nowhere else, in a month that stays because of it.
        let late = ["wellId=Alder 1", "entryType=PRODUCTION", "oilVolume=777"];
        let late = [&["record", "field_entry"], &late[..], &["--at", "2026-02-20T08:00:00Z"]];
        lead.ok(&late.concat());
        let (all, _) = held(&lead).unwrap();
        let mut kept = all.clone();
        kept.entries.retain(|_, number| *number >= 100);
        let journal = stage.path("journal");
        fs::File::create(&journal).unwrap();
        let morning = Disk::read(&stage.world());
        let settings = [
            ("DISK_ROOT", stage.world().to_str().unwrap().to_owned()),
            ("DISK_JOURNAL", journal.to_str().unwrap().to_owned()),
        ];
        let watched = stage.watched(&lead, &settings);
        let report = watched.json(&["evict", "--before", SINCE, "--yes"]);
        assert_eq!(report["records"], ENTRIES_PER_MONTH, "January alone is safe: {report}");
        let events = journal::read(&journal, &stage.world());
        let first = Numbers::of(seed, "evictions", 0).below(events.len());
        Self { stage, relay, morning, events, all, kept, first }
    }
}

/// Entries of three months; those of January have the numbers below 100.
fn months() -> String {
    let row = |(month, number): (usize, usize)| {
        let row = serde_json::json!({
            "wellId": WELL, "entryType": "PRODUCTION",
            "recordedAt": format!("2026-{month:02}-{:02}T08:00:00Z", 1 + number),
            "data": {"oilVolume": (month - 1) * 100 + number},
        });
        format!("{row}\n")
    };
    let all = (1..4).flat_map(|month| (0..ENTRIES_PER_MONTH).map(move |number| (month, number)));
    all.map(row).collect()
}

impl Fault for Evictions {
    fn tries(&self) -> usize {
        TRIES.min(2 * self.events.len())
    }

    fn attempt(&self, attempt: usize, numbers: &mut Numbers) -> Result<Tally, String> {
        let cut = match attempt % 2 {
            0 => Cut::NothingUnsynced,
            _ => Cut::SomeUnsynced(*numbers.pick(&[10, 50, 90])),
        };
        let step = self.events.len().div_ceil(TRIES / 2).max(1);
        let moment = (self.first + attempt / 2 * step) % (self.events.len() + 1);
        let mut disk = self.morning.clone();
        self.events[..moment].iter().for_each(|event| disk.apply(&event.deed));
        let world = self.stage.path(&format!("evict-{attempt}"));
        disk.write_what_is_left(&world, cut, numbers);
        let was_said = self.events[..moment].iter().any(
            |event| matches!(&event.deed, Deed::Said { text } if text.contains("\"records\"")),
        );
        let result = self.judge(&world, was_said);
        let _ = fs::remove_dir_all(&world);
        let of = self.events.len();
        let named = |words| format!("{cut:?} after {moment} of {of} calls: {words}");
        result.map(Tally::one).map_err(named)
    }
}

impl Evictions {
    fn judge(&self, world: &Path, was_said: bool) -> Result<Ending, String> {
        let lead = self.stage.device_in(world, "lead");
        let (found, _) = held(&lead)?;
        let gone = self.told_gone(&lead, &found)?;
        let missing = self.kept.missing_from(&found);
        if !missing.is_empty() {
            return Err(format!("what had to stay is gone: {}", some_of(&missing)));
        }
        if was_said && gone == 0 {
            return Err("it was said that a month is let go, and it is here".into());
        }
        if gone != 0 && gone != ENTRIES_PER_MONTH {
            return Err(format!("{gone} of a month are let go"));
        }
        well(lead.run(&["verify"]))?;
        // Once more, and then all of it comes back from a relay of its own.
        well(lead.run(&["evict", "--before", SINCE, "--yes"]))?;
        let (found, _) = held(&lead)?;
        if !self.kept.missing_from(&found).is_empty() {
            return Err("a second eviction took what is not safe".into());
        }
        well(lead.run(&["evict", "--back-to", "2026-01"]))?;
        let data: PathBuf = world.join("relay-data");
        copy(&self.relay.data, &data);
        let running = self.relay.at_data(data).start();
        let sync = ["sync", "--no-mdns", "--timeout", "20", "--with", &running.address()];
        let synced = well(lead.run(&sync));
        running.kill();
        synced?;
        let (found, _) = held(&lead)?;
        let missing = self.all.missing_from(&found);
        if !missing.is_empty() {
            return Err(format!("does not come back: {}", some_of(&missing)));
        }
        well(lead.run(&["verify"]))?;
        Ok(if gone == 0 { Ending::Whole } else { Ending::Healed })
    }

    /// How many entries are not here; each of them has to be told to have been let go.
    fn told_gone(&self, lead: &Device, found: &Account) -> Result<usize, String> {
        let all: &BTreeMap<String, u64> = &self.all.entries;
        let gone: Vec<&String> = all.keys().filter(|id| !found.entries.contains_key(*id)).collect();
        for id in &gone {
            let shown = sound(lead.run(&["show", id]))?;
            if shown.code != Some(4) || !shown.stderr.contains("let go") {
                return Err(format!("{id} is gone, and `show` says {shown:?}"));
            }
        }
        if found.entries.values().all(|number| *number != UNSAFE_NUMBER) {
            return Err("what no relay has is gone".into());
        }
        Ok(gone.len())
    }
}
