//! Days of a crew on a watched disk: what was done to the disk, and what was acknowledged when.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use crate::account::Account;
use crate::device::Device;
use crate::disk::{Cut, Disk};
use crate::journal::{self, Deed, Event};
use crate::numbers::Numbers;
use crate::process::Outcome;
use crate::stage::{Stage, WELL, rows};

/// A day that is over.
pub(crate) struct Day {
    pub(crate) name: &'static str,
    /// The disk in the morning.
    pub(crate) morning: Disk,
    pub(crate) events: Vec<Event>,
    acts: BTreeMap<u32, Act>,
    /// What each home held in the morning; absent while it is not founded.
    held: BTreeMap<String, Account>,
}

/// What a process acknowledges by what it prints.
#[derive(Debug, Clone)]
enum Act {
    /// The home exists and has the well.
    Found { home: String },
    /// One id a line, for entries with these numbers.
    Record { home: String, numbers: Vec<u64> },
    /// The entry has another number.
    Edit { home: String, id: String, number: u64 },
    /// Entries with these numbers are there.
    Import { home: String, numbers: Vec<u64> },
    /// Two homes hold what either has held.
    Sync { homes: [String; 2] },
}

impl Day {
    /// A moment of it, often just behind an acknowledgement.
    pub(crate) fn moment(&self, numbers: &mut Numbers) -> usize {
        let anywhere = numbers.below(self.events.len() + 1);
        if numbers.percent(60) {
            return anywhere;
        }
        let said = |at: &usize| matches!(self.events[*at].deed, Deed::Said { .. });
        (anywhere..self.events.len()).find(said).map_or(anywhere, |at| at + 1)
    }

    /// Makes the disk as it is after so many events and a cut. A kill may come in the middle of the
    /// write that follows.
    pub(crate) fn leave(&self, moment: usize, cut: Cut, world: &Path, numbers: &mut Numbers) {
        let mut disk = self.morning.clone();
        self.events[..moment].iter().for_each(|event| disk.apply(&event.deed));
        let next = self.events.get(moment).map(|event| &event.deed);
        if let (Cut::Everything, Some(Deed::Written { file, offset, bytes })) = (cut, next) {
            let bytes = bytes[..numbers.below(bytes.len())].to_vec();
            disk.apply(&Deed::Written { file: *file, offset: *offset, bytes });
        }
        disk.write_what_is_left(world, cut, numbers);
    }

    /// A file as it was in the morning.
    pub(crate) fn file_at_morning(&self, path: &Path) -> Vec<u8> {
        self.morning.file(path)
    }

    /// What is acknowledged after so many events, by home.
    pub(crate) fn acknowledged(&self, count: usize) -> BTreeMap<String, Account> {
        let mut held = self.held.clone();
        let mut printed: BTreeMap<u32, String> = BTreeMap::new();
        for Event { process, deed } in &self.events[..count] {
            let (Deed::Said { text }, Some(act)) = (deed, self.acts.get(process)) else { continue };
            let printed = printed.entry(*process).or_default();
            printed.push_str(text);
            act.count(printed, &mut held);
        }
        held
    }
}

impl Act {
    fn count(&self, printed: &str, held: &mut BTreeMap<String, Account>) {
        match self {
            Self::Found { home } => drop(held.entry(home.clone()).or_default()),
            Self::Record { home, numbers } => {
                let account = held.get_mut(home).expect("a home that records is founded");
                let whole = printed.split_inclusive('\n').filter(|line| line.ends_with('\n'));
                for (id, number) in whole.zip(numbers) {
                    account.acknowledge(id.trim(), *number);
                }
            }
            Self::Edit { home, id, number } => {
                let account = held.get_mut(home).expect("a home that edits is founded");
                account.acknowledge(id, *number);
            }
            Self::Import { home, numbers } => {
                let account = held.get_mut(home).expect("a home that imports is founded");
                account.nameless.extend(numbers);
            }
            Self::Sync { homes } if printed.contains("\"result\":\"ok\"") => {
                let mut both = Account::default();
                homes.iter().for_each(|home| both.add(&held[home]));
                held.extend(homes.iter().map(|home| (home.clone(), both.clone())));
            }
            Self::Sync { .. } => {}
        }
    }
}

/// A day that is being lived.
pub(crate) struct Living<'a> {
    stage: &'a Stage,
    name: &'static str,
    morning: Disk,
    acts: BTreeMap<u32, Act>,
    held: BTreeMap<String, Account>,
    next: usize,
}

impl<'a> Living<'a> {
    /// Begins a day; what the homes hold now is given.
    pub(crate) fn begin(
        stage: &'a Stage,
        name: &'static str,
        held: BTreeMap<String, Account>,
    ) -> Self {
        File::create(stage.path(name)).unwrap();
        let morning = Disk::read(&stage.world());
        Self { stage, name, morning, acts: BTreeMap::new(), held, next: 1_000 }
    }

    /// Ends the day.
    pub(crate) fn end(self) -> Day {
        let Self { stage, name, morning, acts, held, .. } = self;
        let events = journal::read(&stage.path(name), &stage.world());
        Day { name, morning, events, acts, held }
    }

    /// How many events there were so far.
    pub(crate) fn so_far(&self) -> usize {
        journal::read(&self.stage.path(self.name), &self.stage.world()).len()
    }

    /// The device with its disk watched.
    pub(crate) fn watched(&self, device: &Device) -> Device {
        let settings = [
            ("DISK_ROOT", self.stage.world().to_str().unwrap().to_owned()),
            ("DISK_JOURNAL", self.stage.path(self.name).to_str().unwrap().to_owned()),
        ];
        self.stage.watched(device, &settings)
    }

    fn run(&mut self, device: &Device, act: Act, arguments: &[&str]) -> Outcome {
        let running = device.start(arguments);
        self.acts.insert(running.pid(), act);
        running.finish().ok()
    }

    fn numbers(&mut self, count: usize) -> std::ops::Range<usize> {
        self.next += count;
        self.next - count..self.next
    }

    /// Founds a tenant that has the well.
    pub(crate) fn found(&mut self, device: &Device) {
        device.ok(&["tenant", "create", "Gulf Crew"]);
        // Without a well nothing can be recorded on it.
        let act = Act::Found { home: device.name.clone() };
        let name = format!("name={WELL}");
        let well = ["record", "well", &name, "apiNumber=42-227-30001", "status=ACTIVE"];
        self.run(device, act, &well);
    }

    /// Records entries one after the other by one command; gives their ids.
    pub(crate) fn record(&mut self, device: &Device, count: usize) -> Vec<String> {
        let (act, file) = self.rows(device, count);
        self.run(device, act, &["record", "field_entry", "--from", &file]).words()
    }

    /// Several commands record at the same time.
    pub(crate) fn record_together(&mut self, device: &Device, count: usize) {
        let mut running = Vec::new();
        for _ in 0..3 {
            let (act, file) = self.rows(device, count);
            let writer = device.start(&["record", "field_entry", "--from", &file]);
            self.acts.insert(writer.pid(), act);
            running.push(writer);
        }
        for writer in running {
            writer.finish().ok();
        }
    }

    fn rows(&mut self, device: &Device, count: usize) -> (Act, String) {
        let numbers = self.numbers(count);
        let file = self.stage.file(&format!("rows-{}", numbers.start), rows(numbers.clone()));
        let numbers = numbers.map(|number| number as u64).collect();
        (Act::Record { home: device.name.clone(), numbers }, file)
    }

    pub(crate) fn import(&mut self, device: &Device, count: usize) {
        let (Act::Record { home, numbers }, file) = self.rows(device, count) else { return };
        let arguments = ["import", &file, "--collection", "field_entry"];
        self.run(device, Act::Import { home, numbers }, &arguments);
    }

    pub(crate) fn edit(&mut self, device: &Device, id: &str) {
        let number = self.numbers(1).start;
        let act = Act::Edit { home: device.name.clone(), id: id.to_owned(), number: number as u64 };
        let value = format!("oilVolume={number}");
        self.run(device, act, &["--json", "edit", id, &value]);
    }

    pub(crate) fn meet(&mut self, device: &Device, other: &Device) {
        let daemon = other.daemon();
        let act = Act::Sync { homes: [device.name.clone(), other.name.clone()] };
        let address = daemon.address();
        let arguments = ["--json", "sync", "--no-mdns", "--timeout", "30", "--with", &address];
        self.run(device, act, &arguments);
        daemon.stop();
    }
}
