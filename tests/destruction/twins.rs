//! Two programs on one home, and two copies of one home that both go on.

use std::fs;
use std::path::Path;

use crate::account::{Account, faults, held, open, some_of, sound};
use crate::device::{Daemon, Device};
use crate::numbers::Numbers;
use crate::round::{Fault, Theme};
use crate::stage::{Stage, copy, rows};
use crate::tally::{Ending, Tally};

/// Tries of each kind.
const PROGRAMS: usize = 10;
const COPIES: usize = 24;

pub(crate) const PROGRAMS_THEME: Theme = Theme {
    name: "programs",
    fault: "several programs on one home at once",
    prepare: |_| Some(Box::new(Programs(Crew::new()))),
};

pub(crate) const COPIES_THEME: Theme = Theme {
    name: "copies",
    fault: "an old copy put back in place of a home, or beside it, and both go on",
    prepare: |_| Some(Box::new(Copies(Crew::new()))),
};

/// The homes that each try copies.
struct Crew {
    stage: Stage,
    lead: Device,
    hand: Device,
}

impl Crew {
    fn new() -> Self {
        let stage = Stage::new();
        let [lead, hand] = stage.crew(10);
        Self { stage, lead, hand }
    }
}

/// Records some entries; gives what was acknowledged.
pub(crate) fn record(
    device: &Device,
    folder: &Path,
    first: usize,
    count: usize,
) -> Result<Account, String> {
    let file = folder.join(format!("rows-{}-{first}", device.name));
    fs::write(&file, rows(first..first + count)).unwrap();
    let outcome = sound(device.run(&["record", "field_entry", "--from", file.to_str().unwrap()]))?;
    let mut account = Account::default();
    for (id, number) in outcome.words().iter().zip(first..) {
        account.acknowledge(id, number as u64);
    }
    if outcome.code == Some(0) && account.entries.len() != count {
        return Err(format!("{} of {count} ids were printed", account.entries.len()));
    }
    Ok(account)
}

struct Programs(Crew);

impl Fault for Programs {
    fn tries(&self) -> usize {
        PROGRAMS
    }

    fn attempt(&self, attempt: usize, numbers: &mut Numbers) -> Result<Tally, String> {
        let folder = self.0.stage.path(&format!("programs-{attempt}"));
        let lead = self.0.stage.copy(&self.0.lead, &folder);
        let (mut acknowledged, _) = held(&lead)?;
        let count = 3 + numbers.below(6);
        // Without a daemon one has the home and the others say so.
        let results: Vec<Result<Account, String>> = std::thread::scope(|scope| {
            let (lead, folder) = (&lead, &folder);
            let record = |writer: usize| move || record(lead, folder, 100 + writer * 20, count);
            let writers: Vec<_> = (0..4).map(|writer| scope.spawn(record(writer))).collect();
            writers.into_iter().map(|writer| writer.join().unwrap()).collect()
        });
        for result in results {
            acknowledged.add(&result?);
        }
        // A second daemon is refused, and the first one goes on.
        let mut daemon = lead.daemon();
        let second = sound(lead.run(&["run", "--listen", "127.0.0.1:0", "--no-mdns"]))?;
        if second.code == Some(0) || !daemon.is_alive() {
            return Err(format!("a second daemon ran on the same home: {second:?}"));
        }
        acknowledged.add(&record(&lead, &folder, 300, count)?);
        daemon.stop();
        let ending = open(&lead)?.ending(&acknowledged)?;
        let _ = fs::remove_dir_all(folder);
        Ok(Tally::one(ending))
    }
}

struct Copies(Crew);

/// A third device, and the copies of one home.
pub(crate) struct Family {
    /// The home that went on, and the old copy of it, which goes on as well.
    pub(crate) original: Device,
    pub(crate) old: Device,
    pub(crate) third: Device,
    pub(crate) acknowledged: Account,
}

impl Fault for Copies {
    fn tries(&self) -> usize {
        COPIES
    }

    fn attempt(&self, attempt: usize, numbers: &mut Numbers) -> Result<Tally, String> {
        let folder = self.0.stage.path(&format!("copies-{attempt}"));
        let mut family = self.family(&folder, numbers)?;
        let meetings = 2 + numbers.below(4);
        for step in 0..meetings {
            let first = 400 + step * 20;
            let writers = [family.original.clone(), family.old.clone(), family.third.clone()];
            let writer = numbers.pick(&writers);
            let account = record(writer, &folder, first, 1 + numbers.below(3))?;
            family.acknowledged.add(&account);
            match numbers.below(3) {
                0 => family.sync(&family.original, &family.third)?,
                1 => family.sync(&family.old, &family.third)?,
                _ => family.sync(&family.old, &family.original)?,
            }
        }
        let ending = family.judge()?;
        let _ = fs::remove_dir_all(folder);
        Ok(Tally::one(ending))
    }
}

impl Copies {
    /// Copies a home, lets the original go on, then the copy of it as well.
    fn family(&self, folder: &Path, numbers: &mut Numbers) -> Result<Family, String> {
        let Crew { stage, lead, hand } = &self.0;
        let original = stage.copy(lead, folder);
        let third = stage.copy(hand, folder);
        let mut acknowledged = Account::default();
        acknowledged.add(&held(&original)?.0);
        acknowledged.add(&record(&original, folder, 100, numbers.below(3))?);
        let old = original.at_home(folder.join("old"));
        put_by(&original, &old);
        let mut family = Family { original, old, third, acknowledged: Account::default() };
        acknowledged.add(&record(&family.original, folder, 200, 1 + numbers.below(4))?);
        family.acknowledged.add(&acknowledged);
        if numbers.percent(50) {
            family.sync(&family.original, &family.third)?;
        }
        let account = record(&family.old, folder, 300, 1 + numbers.below(4))?;
        family.acknowledged.add(&account);
        Ok(family)
    }
}

/// How an old copy comes about: somebody copies the folder. Whatever else brings a home back to
/// what it was belongs here.
fn put_by(original: &Device, old: &Device) {
    copy(&original.home, &old.home);
}

impl Family {
    /// A sync that may be refused, because both have the same name, but never panics.
    fn sync(&self, one: &Device, other: &Device) -> Result<(), String> {
        let daemon: Daemon = other.daemon();
        let address = daemon.address();
        // Whoever has the same name is never reached.
        let patience = if one.name == other.name { "1" } else { "10" };
        let outcome = one.run(&["sync", "--no-mdns", "--timeout", patience, "--with", &address]);
        daemon.stop();
        sound(outcome).map(drop)
    }

    /// Both copies meet the third device until nobody learns anything more.
    pub(crate) fn judge(&self) -> Result<Ending, String> {
        for _ in 0..3 {
            self.sync(&self.original, &self.third)?;
            self.sync(&self.old, &self.third)?;
        }
        let mut ending = Ending::Whole;
        for device in [&self.third, &self.original, &self.old] {
            let opened = open(device)?;
            let named = |words| format!("{}: {words}", device.home.display());
            ending = ending.max(opened.ending(&self.acknowledged).map_err(named)?);
        }
        for device in [&self.third, &self.original, &self.old] {
            let listed = faults(device)?;
            if !listed.is_empty() {
                return Err(format!("{} lists {}", device.home.display(), some_of(&listed)));
            }
        }
        Ok(ending)
    }
}
