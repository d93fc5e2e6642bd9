//! The disk is full, or reports an error, at any call of a command or a daemon.

use std::fs;
use std::path::Path;

use crate::account::{Account, held, open, sound, well};
use crate::device::Device;
use crate::numbers::Numbers;
use crate::process::{Outcome, skipped};
use crate::round::{Fault, Theme};
use crate::stage::{Stage, rows};
use crate::tally::Tally;

/// Calls of each command that fail, one after the other; where it makes fewer, nothing is tried.
const CALLS_MAX: usize = 52;
/// Tries with a daemon.
const DAEMONS: usize = 32;
/// How many entries a daemon may refuse when the disk is sound again.
const PATIENCE: usize = 3;

pub(crate) const THEME: Theme = Theme {
    name: "space",
    fault: "disk full or failing at every write, sync, rename and opening, once or for good",
    prepare: |_| {
        let stage = Stage::new();
        if !stage.has_shim() {
            skipped("failing a certain call to the disk needs a C compiler");
            return None;
        }
        let [lead, hand] = stage.crew(12);
        let file = stage.file("rows-of-a-day", rows(300..306));
        Some(Box::new(Failures { stage, lead, hand, file }))
    },
};

struct Failures {
    stage: Stage,
    lead: Device,
    hand: Device,
    /// Rows to record or to import.
    file: String,
}

/// What is done while the disk fails.
const COMMANDS: [&str; 4] = ["record", "edit", "import", "sync"];

impl Fault for Failures {
    fn tries(&self) -> usize {
        COMMANDS.len() * CALLS_MAX + DAEMONS
    }

    fn attempt(&self, attempt: usize, numbers: &mut Numbers) -> Result<Tally, String> {
        let folder = self.stage.path(&format!("space-{attempt}"));
        let lead = self.stage.copy(&self.lead, &folder);
        let commands = COMMANDS.len() * CALLS_MAX;
        let result = match attempt.checked_sub(commands) {
            Some(_) => self.daemon(&lead, &folder, numbers),
            None => self.command(&lead, &folder, attempt, numbers),
        };
        let _ = fs::remove_dir_all(folder);
        result
    }
}

impl Failures {
    /// One command, whose n-th call fails.
    fn command(
        &self,
        lead: &Device,
        folder: &Path,
        attempt: usize,
        numbers: &mut Numbers,
    ) -> Result<Tally, String> {
        let (command, call) = (attempt % COMMANDS.len(), 1 + attempt / COMMANDS.len());
        let fired = folder.join("fired");
        let fault = *numbers.pick(&["ENOSPC", "EIO"]);
        let mut settings = settings(&lead.home, call, fault, numbers);
        settings.push(("DISK_FIRED", fired.to_str().unwrap().to_owned()));
        let failing = self.stage.watched(lead, &settings);
        let (mut acknowledged, _) = held(lead)?;
        let outcome = self.run(COMMANDS[command], lead, &failing, folder, &mut acknowledged)?;
        if !fired.exists() {
            return Ok(Tally::default());
        }
        let named =
            |words: String| format!("{} with {fault} at call {call}: {words}", COMMANDS[command]);
        let outcome = sound(outcome).map_err(named)?;
        let opened = open(lead).map_err(named)?;
        opened.ending(&acknowledged).map(Tally::one).map_err(|words| {
            named(format!("{words}; the command ended with {:?}: {}", outcome.code, outcome.stderr))
        })
    }

    /// Runs a command and counts what it acknowledges.
    fn run(
        &self,
        command: &str,
        lead: &Device,
        failing: &Device,
        folder: &Path,
        acknowledged: &mut Account,
    ) -> Result<Outcome, String> {
        Ok(match command {
            "record" => {
                let outcome = failing.run(&["record", "field_entry", "--from", &self.file]);
                for (id, number) in outcome.words().iter().zip(300..) {
                    acknowledged.acknowledge(id, number);
                }
                outcome
            }
            "edit" => {
                let id = acknowledged.entries.keys().next().cloned().unwrap_or_default();
                let outcome = failing.run(&["--json", "edit", &id, "oilVolume=400"]);
                // With `--json` a failure is printed as well.
                if outcome.code == Some(0) {
                    acknowledged.acknowledge(&id, 400);
                }
                outcome
            }
            "import" => {
                let arguments = ["import", &self.file, "--collection", "field_entry"];
                let outcome = failing.run(&arguments);
                if outcome.code == Some(0) {
                    acknowledged.nameless.extend(300..306);
                }
                outcome
            }
            _ => {
                let hand = self.stage.copy(&self.hand, folder);
                let recorded = well(lead.run(&["record", "field_entry", "--from", &self.file]))?;
                for (id, number) in recorded.words().iter().zip(300..) {
                    acknowledged.acknowledge(id, number);
                }
                let daemon = hand.daemon();
                let address = daemon.address();
                let arguments = ["sync", "--no-mdns", "--timeout", "5", "--with", &address];
                let outcome = failing.run(&arguments);
                daemon.stop();
                outcome
            }
        })
    }

    /// A daemon whose disk fails for a while.
    fn daemon(&self, lead: &Device, folder: &Path, numbers: &mut Numbers) -> Result<Tally, String> {
        let failing_while = folder.join("failing");
        let call = 1 + numbers.below(12);
        let fault = *numbers.pick(&["ENOSPC", "EIO"]);
        let mut settings = settings(&lead.home, call, fault, numbers);
        settings.push(("DISK_WHILE", failing_while.to_str().unwrap().to_owned()));
        let (mut acknowledged, _) = held(lead)?;
        let mut daemon = self.stage.watched(lead, &settings).daemon();
        let mut record = |device: &Device, number: usize| {
            let file = folder.join("row");
            fs::write(&file, rows(number..number + 1)).unwrap();
            let outcome = device.run(&["record", "field_entry", "--from", file.to_str().unwrap()]);
            for id in outcome.words() {
                acknowledged.acknowledge(&id, number as u64);
            }
            outcome
        };
        well(record(lead, 500))?;
        fs::write(&failing_while, "").unwrap();
        for number in 501..506 {
            sound(record(lead, number))?;
        }
        fs::remove_file(&failing_while).unwrap();
        let named = |words| format!("a daemon with {fault} from call {call} on: {words}");
        let recorded = |number| record(lead, number).code == Some(0);
        if !(506..506 + PATIENCE).any(recorded) {
            return Err(named("every further entry is refused".into()));
        }
        if !daemon.is_alive() {
            return Err(named("it has ended".into()));
        }
        let opened = open(lead).map_err(named)?;
        opened.ending(&acknowledged).map_err(named)?;
        let stopped = match numbers.percent(50) {
            true => {
                lead.run(&["stop"]);
                daemon.kill()
            }
            false => daemon.kill(),
        };
        if stopped.stderr.contains("panicked at") {
            return Err(named(format!("it panicked: {}", stopped.stderr)));
        }
        let ending = open(lead).and_then(|opened| opened.ending(&acknowledged)).map_err(named)?;
        Ok(Tally::one(ending))
    }
}

/// The settings of a disk that fails at a call.
fn settings(
    home: &Path,
    call: usize,
    fault: &str,
    numbers: &mut Numbers,
) -> Vec<(&'static str, String)> {
    let mut settings = vec![
        ("DISK_ROOT", home.to_str().unwrap().to_owned()),
        ("DISK_CALL", call.to_string()),
        ("DISK_FAULT", fault.to_owned()),
    ];
    for name in ["DISK_HALF", "DISK_LASTING"] {
        if numbers.percent(50) {
            settings.push((name, "1".to_owned()));
        }
    }
    settings
}
