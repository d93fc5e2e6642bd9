//! What a home was said to hold, and what it shows when it is opened.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use crate::device::Device;
use crate::process::Outcome;
use crate::tally::Ending;

/// The most that is told of what is missing.
const TOLD_MAX: usize = 5;
/// How the log says that something was mended at an open.
const MENDED: [&str; 4] = ["set aside", "damage found at open", "torn tail", "passed over"];

/// Entries and their numbers. An edit always gives an entry a higher number than it had.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) entries: BTreeMap<String, u64>,
    /// Numbers of entries whose ids nobody was told.
    pub(crate) nameless: BTreeSet<u64>,
}

impl Account {
    /// What is acknowledged here and cannot be found there: absent, or older than it was.
    pub(crate) fn missing_from(&self, found: &Self) -> Vec<String> {
        let is_older = |(id, number): &(&String, &u64)| {
            found.entries.get(*id).is_none_or(|there| there < *number)
        };
        let named = self.entries.iter().filter(is_older);
        let named = named.map(|(id, number)| {
            format!("{id} is {:?} in place of {number}", found.entries.get(id))
        });
        let there: BTreeSet<u64> = found.entries.values().copied().collect();
        let nameless = self.nameless.iter().filter(|number| !there.contains(number));
        named.chain(nameless.map(|number| format!("no entry has {number}"))).collect()
    }

    /// What reads otherwise in `found` than it does here.
    pub(crate) fn changed_in(&self, found: &Self) -> Vec<String> {
        let all =
            self.entries.iter().filter(|(id, number)| found.entries.get(*id) != Some(*number));
        all.map(|(id, number)| format!("{id} is {:?} in place of {number}", found.entries.get(id)))
            .collect()
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (id, number) in &other.entries {
            self.acknowledge(id, *number);
        }
        self.nameless.extend(&other.nameless);
    }

    pub(crate) fn acknowledge(&mut self, id: &str, number: u64) {
        let held = self.entries.entry(id.to_owned()).or_default();
        *held = number.max(*held);
    }
}

/// What an opened home shows and says.
#[derive(Debug, Clone, Default)]
pub(crate) struct Opened {
    pub(crate) account: Account,
    /// What is said to be damaged.
    pub(crate) listed: Vec<String>,
    /// Whether something was mended at an open.
    pub(crate) is_mended: bool,
    /// Why nothing can be recorded.
    pub(crate) refusal: Option<String>,
}

impl Opened {
    /// How a fault ended after which nothing acknowledged is missing; what is missing is an error.
    pub(crate) fn ending(&self, acknowledged: &Account) -> Result<Ending, String> {
        if let Some(refusal) = &self.refusal {
            return Err(format!("nothing can be recorded: {refusal}"));
        }
        let missing = acknowledged.missing_from(&self.account);
        if !missing.is_empty() {
            return Err(format!("lost {}; listed: {:?}", some_of(&missing), self.listed));
        }
        Ok(match (self.listed.is_empty(), self.is_mended) {
            (false, _) => Ending::Listed,
            (true, true) => Ending::Healed,
            (true, false) => Ending::Whole,
        })
    }
}

/// Fails where a program has panicked or was ended by a signal.
pub(crate) fn sound(outcome: Outcome) -> Result<Outcome, String> {
    let text = outcome.stderr.to_lowercase();
    // The message of a panic has a place in a file behind the name of the thread.
    if text.contains("panicked at") || outcome.code == Some(101) || outcome.code.is_none() {
        return Err(format!("panicked: {}", told(&outcome)));
    }
    if outcome.code != Some(0) && (outcome.stderr.len() + outcome.stdout.len() == 0) {
        return Err(format!("failed without a word: {}", told(&outcome)));
    }
    Ok(outcome)
}

/// Fails unless a program has ended well.
pub(crate) fn well(outcome: Outcome) -> Result<Outcome, String> {
    let outcome = sound(outcome)?;
    match outcome.code {
        Some(0) => Ok(outcome),
        _ => Err(told(&outcome)),
    }
}

/// How a program ended, for people.
pub(crate) fn told(outcome: &Outcome) -> String {
    format!("`{}` ended with {:?}: {}", outcome.title, outcome.code, outcome.stderr)
}

/// The entries that a home shows.
pub(crate) fn held(device: &Device) -> Result<(Account, Outcome), String> {
    let outcome = well(device.run(&["export", "field_entry"]))?;
    let entries = outcome.lines().iter().map(entry).collect();
    Ok((Account { entries, ..Account::default() }, outcome))
}

fn entry(line: &Json) -> (String, u64) {
    let id = line["id"].as_str().unwrap_or_default().to_owned();
    (id, line["fields"]["data"]["oilVolume"].as_u64().unwrap_or_default())
}

/// Opens a home with the real program: it shows what it has, records, and checks itself.
pub(crate) fn open(device: &Device) -> Result<Opened, String> {
    let (account, outcome) = held(device)?;
    let is_mended = MENDED.iter().any(|words| outcome.stderr.contains(words));
    let values = ["wellId=Alder 1", "entryType=PRODUCTION", "oilVolume=99999"];
    let recorded = sound(device.run(&[&["record", "field_entry"], &values[..]].concat()))?;
    let refusal = (recorded.code != Some(0)).then_some(recorded.stderr);
    let listed = faults(device)?;
    Ok(Opened { account, listed, is_mended, refusal })
}

/// What the check of a home lists.
pub(crate) fn faults(device: &Device) -> Result<Vec<String>, String> {
    let outcome = sound(device.run(&["--json", "verify"]))?;
    let report = outcome.json();
    let faults = report["faults"].as_array().map(Vec::as_slice).unwrap_or_default();
    let faults: Vec<String> =
        faults.iter().map(|line| line.as_str().unwrap_or_default().to_owned()).collect();
    match (outcome.code, faults.is_empty()) {
        (Some(0), true) | (Some(7), false) => Ok(faults),
        _ => Err(format!("`verify` says {report} and ends with {:?}", outcome.code)),
    }
}

/// The first of some things, for people.
pub(crate) fn some_of(all: &[String]) -> String {
    let first = &all[..all.len().min(TOLD_MAX)];
    format!("{} in all: {}", all.len(), first.join("; "))
}
