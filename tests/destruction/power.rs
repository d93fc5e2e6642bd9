//! The power fails at a random moment of a day, and the disk is left as a power cut may leave it.

use std::collections::BTreeMap;
use std::fs;
use std::ops::RangeInclusive;
use std::path::Path;

use crate::account::{Account, held, open, some_of, sound};
use crate::day::{Day, Living};
use crate::device::Device;
use crate::disk::Cut;
use crate::numbers::Numbers;
use crate::process::skipped;
use crate::round::{Fault, Theme};
use crate::stage::{Stage, rows};
use crate::tally::{Ending, Tally};

/// Disks that a round makes of each day, by each model.
const CUTS: usize = 32;
/// What commands record, one each, before the segments that they leave are merged.
const COMMANDS: RangeInclusive<usize> = 600..=608;

pub(crate) const NOTHING_LEFT: Theme = Theme {
    name: "power",
    fault: "power cut, nothing unsynced survives",
    prepare: |seed| prepare(seed, Model::Nothing),
};

pub(crate) const PIECES_LEFT: Theme = Theme {
    name: "pieces",
    fault: "power cut, random 4 KiB pieces and names survive",
    prepare: |seed| prepare(seed, Model::Pieces),
};

#[derive(Debug, Clone, Copy)]
enum Model {
    Nothing,
    Pieces,
}

struct PowerCuts {
    model: Model,
    days: Vec<(Stage, Day)>,
}

fn prepare(seed: u64, model: Model) -> Option<Box<dyn Fault>> {
    if !Stage::new().has_shim() {
        skipped("recording what is written to a disk needs a C compiler");
        return None;
    }
    let mut numbers = Numbers::of(seed, "days", 0);
    let days =
        vec![first_day(&mut numbers), alone(&mut numbers), daemon(), crew(&mut numbers), merging()];
    Some(Box::new(PowerCuts { model, days }))
}

/// A home is founded and used at once.
fn first_day(numbers: &mut Numbers) -> (Stage, Day) {
    let stage = Stage::new();
    let mut day = Living::begin(&stage, "first day", BTreeMap::new());
    let lead = day.watched(&stage.device("lead"));
    day.found(&lead);
    work(&mut day, &lead, numbers, 3);
    let day = day.end();
    (stage, day)
}

/// Single commands on a home with entries.
fn alone(numbers: &mut Numbers) -> (Stage, Day) {
    let (stage, held) = settled();
    let mut day = Living::begin(&stage, "alone", held);
    let lead = day.watched(&stage.device("lead"));
    work(&mut day, &lead, numbers, 8);
    day.import(&lead, 60);
    let day = day.end();
    (stage, day)
}

/// Several commands at a time through a daemon, which is then stopped.
fn daemon() -> (Stage, Day) {
    let (stage, held) = settled();
    let mut day = Living::begin(&stage, "daemon", held);
    let lead = day.watched(&stage.device("lead"));
    let daemon = lead.daemon();
    day.record_together(&lead, 12);
    let ids = day.record(&lead, 1);
    day.edit(&lead, &ids[0]);
    day.record_together(&lead, 4);
    daemon.stop();
    let day = day.end();
    (stage, day)
}

/// Two devices record, and sync in between.
fn crew(numbers: &mut Numbers) -> (Stage, Day) {
    let (stage, held) = settled();
    let mut day = Living::begin(&stage, "crew", held);
    let [lead, hand] = ["lead", "hand"].map(|name| day.watched(&stage.device(name)));
    for _ in 0..3 {
        work(&mut day, &lead, numbers, 2);
        work(&mut day, &hand, numbers, 1);
        day.meet(&hand, &lead);
    }
    let day = day.end();
    (stage, day)
}

/// Many commands have left many small segments, which become one.
fn merging() -> (Stage, Day) {
    let (stage, mut accounts) = settled();
    let lead = stage.device("lead");
    for number in COMMANDS {
        let file = stage.file(&format!("rows-{number}"), rows(number..=number));
        lead.ok(&["record", "field_entry", "--from", &file]);
    }
    accounts.insert(lead.name.clone(), held(&lead).unwrap().0);
    let mut day = Living::begin(&stage, "merging", accounts);
    let lead = day.watched(&lead);
    lead.ok(&["compact"]);
    day.record(&lead, 1);
    lead.ok(&["compact"]);
    let day = day.end();
    (stage, day)
}

fn settled() -> (Stage, BTreeMap<String, Account>) {
    let stage = Stage::new();
    let devices = stage.crew(12);
    let held = devices.iter().map(|device| (device.name.clone(), held(device).unwrap().0));
    let held = held.collect();
    (stage, held)
}

fn work(day: &mut Living<'_>, device: &Device, numbers: &mut Numbers, count: usize) {
    for _ in 0..count {
        let entries = 1 + numbers.below(3);
        let ids = day.record(device, entries);
        if numbers.percent(50) {
            let id: &String = numbers.pick(&ids);
            day.edit(device, id);
        }
    }
}

impl Fault for PowerCuts {
    fn tries(&self) -> usize {
        self.days.len() * CUTS
    }

    fn attempt(&self, attempt: usize, numbers: &mut Numbers) -> Result<Tally, String> {
        let (stage, day) = &self.days[attempt % self.days.len()];
        let moment = day.moment(numbers);
        let cut = match self.model {
            Model::Nothing => Cut::NothingUnsynced,
            Model::Pieces => Cut::SomeUnsynced(*numbers.pick(&[10, 50, 90])),
        };
        let world = stage.path(&format!("cut-{attempt}"));
        day.leave(moment, cut, &world, numbers);
        let result = judge(stage, &world, &day.acknowledged(moment));
        let result = result.map_err(|words| {
            format!("day `{}`, after {moment} of {} events: {words}", day.name, day.events.len())
        });
        // Kept where something is to be looked at.
        if result.is_ok() || std::env::var_os("FIELDMESH_KEEP").is_none() {
            let _ = fs::remove_dir_all(&world);
        }
        Ok(Tally::one(result?))
    }
}

/// Opens every home of a disk with the real program, then has them meet.
fn judge(
    stage: &Stage,
    world: &Path,
    acknowledged: &BTreeMap<String, Account>,
) -> Result<Ending, String> {
    let mut ending = Ending::Whole;
    let mut devices = Vec::new();
    if acknowledged.is_empty() {
        return found_again(&stage.device_in(world, "lead"));
    }
    for (name, account) in acknowledged {
        let device = stage.device_in(world, name);
        let own = open(&device)?.ending(account).map_err(|words| format!("{name} {words}"))?;
        ending = ending.max(own);
        devices.push(device);
    }
    if let [hand, lead] = &devices[..] {
        meet(hand, lead, acknowledged)?;
    }
    Ok(ending)
}

/// A home whose founding nobody was told of opens, or can be founded.
fn found_again(lead: &Device) -> Result<Ending, String> {
    let status = sound(lead.run(&["status"]))?;
    if status.code != Some(0) {
        let founded = sound(lead.run(&["tenant", "create", "Gulf Crew"]))?;
        if founded.code != Some(0) {
            return Err(format!("nobody can found a tenant here: {status:?}, then {founded:?}"));
        }
    }
    let opened = open(lead)?;
    Ok(if opened.listed.is_empty() { Ending::Whole } else { Ending::Listed })
}

fn meet(
    one: &Device,
    other: &Device,
    acknowledged: &BTreeMap<String, Account>,
) -> Result<(), String> {
    one.meet(other);
    let (ours, _) = held(one)?;
    let (theirs, _) = held(other)?;
    if ours != theirs {
        return Err("two devices differ after a sync".into());
    }
    let mut all = Account::default();
    acknowledged.values().for_each(|account| all.add(account));
    let missing = all.missing_from(&ours);
    match missing.is_empty() {
        true => Ok(()),
        false => Err(format!("a sync lost {}", some_of(&missing))),
    }
}
