//! One device whose files are damaged beside a peer that holds all but its newest entries.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use crate::account::{Account, Opened, held, open, some_of, sound, told};
use crate::device::Device;
use crate::stage::{Stage, copy, rows};
use crate::tally::Ending;

/// Entries that both devices have.
const SHARED_COUNT: usize = 24;

/// The homes that each try copies.
pub(crate) struct Scene {
    pub(crate) stage: Stage,
    pub(crate) lead: Device,
    pub(crate) hand: Device,
    /// An older copy of the first home.
    pub(crate) older: PathBuf,
    /// What both have.
    shared: Account,
    /// What the first device has.
    all: Account,
}

/// The copies of one try, removed at its end.
pub(crate) struct Copies<'a> {
    scene: &'a Scene,
    folder: PathBuf,
    pub(crate) lead: Device,
    hand: Device,
}

/// A damaged home after it met the peer.
struct After {
    /// Why the sync failed.
    refusal: Option<String>,
    opened: Opened,
}

impl Scene {
    pub(crate) fn new() -> Self {
        let stage = Stage::new();
        let [lead, hand] = stage.crew(SHARED_COUNT);
        let older = stage.path("older");
        copy(&lead.home, &older);
        for number in [100, 101, 102] {
            let rows = stage.file("rows", rows(number..number + 1));
            lead.ok(&["record", "field_entry", "--from", &rows]);
        }
        lead.meet(&hand);
        let (shared, _) = held(&hand).unwrap();
        lead.ok(&["record", "field_entry", "--from", &stage.file("rows", rows(200..203))]);
        let (all, _) = held(&lead).unwrap();
        assert_eq!((shared.entries.len(), all.entries.len()), (SHARED_COUNT + 3, SHARED_COUNT + 6));
        Self { stage, lead, hand, older, shared, all }
    }

    pub(crate) fn copies(&self, attempt: usize) -> Copies<'_> {
        let folder = self.stage.path(&format!("try-{attempt}"));
        let lead = self.stage.copy(&self.lead, &folder);
        let hand = self.stage.copy(&self.hand, &folder);
        Copies { scene: self, folder, lead, hand }
    }
}

impl Copies<'_> {
    /// Opens the damaged home, meets the peer and says what came of it.
    pub(crate) fn judge(&self) -> Result<Ending, String> {
        let all = &self.scene.all;
        let Opened { account, listed, is_mended, refusal } = open(&self.lead)?;
        if let Some(refusal) = refusal.filter(|_| listed.is_empty()) {
            return Err(format!("nothing is listed, and nothing can be recorded: {refusal}"));
        }
        let changed = all.changed_in(&account);
        if !changed.is_empty() && listed.is_empty() {
            return Err(format!("nothing is listed, but {}", some_of(&changed)));
        }
        let after = self.meet()?;
        if let Some(fault) = after.fault(all) {
            // What was listed once counts as told, also where a later check has nothing to add.
            return match listed.is_empty() && after.opened.listed.is_empty() {
                true => Err(format!("nothing is listed, but after a sync {fault}")),
                false => Ok(Ending::Listed),
            };
        }
        Ok(match after.opened.listed.is_empty() {
            false => Ending::Listed,
            true if is_mended || !listed.is_empty() || !changed.is_empty() => Ending::Healed,
            true => Ending::Whole,
        })
    }

    /// Syncs with the peer, which must not suffer by it.
    fn meet(&self) -> Result<After, String> {
        let daemon = self.hand.daemon();
        let address = daemon.address();
        let outcome = self.lead.run(&["sync", "--no-mdns", "--timeout", "10", "--with", &address]);
        daemon.stop();
        let outcome = sound(outcome)?;
        let opened = open(&self.lead)?;
        let (theirs, _) = held(&self.hand)?;
        let lost = self.scene.shared.changed_in(&theirs);
        if !lost.is_empty() {
            return Err(format!("the peer of a damaged device suffered: {}", some_of(&lost)));
        }
        let refusal = (outcome.code != Some(0)).then(|| told(&outcome));
        Ok(After { refusal, opened })
    }

    /// Whether the home refuses to open; the words have to name the file or the folder that is
    /// damaged, or the part of the home that it belongs to.
    pub(crate) fn refuses(&self, damaged: &Path) -> Result<bool, String> {
        let outcome = sound(self.lead.run(&["export", "field_entry"]))?;
        if outcome.code == Some(0) {
            return Ok(false);
        }
        let is_named = |part: &OsStr| outcome.stderr.contains(&*part.to_string_lossy());
        match damaged.iter().any(is_named) {
            true => Ok(true),
            false => {
                Err(format!("it is refused without a word of what is damaged: {}", told(&outcome)))
            }
        }
    }

    /// Fails unless everything is there, for when the fault has been undone.
    pub(crate) fn must_be_whole(&self) -> Result<(), String> {
        let opened = open(&self.lead)?;
        let changed = self.scene.all.changed_in(&opened.account);
        match changed.is_empty() {
            true => Ok(()),
            false => Err(format!("after the fault was undone, {}", some_of(&changed))),
        }
    }
}

impl After {
    /// What is wrong, whether it is listed or not.
    fn fault(&self, all: &Account) -> Option<String> {
        let changed = all.changed_in(&self.opened.account);
        let changed = (!changed.is_empty()).then(|| some_of(&changed));
        self.refusal.clone().or_else(|| self.opened.refusal.clone()).or(changed)
    }
}

impl Drop for Copies<'_> {
    fn drop(&mut self) {
        // What is left is removed with the stage.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Everything below a folder, folders included, in order and relative to it.
pub(crate) fn paths_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(inner) = folders.pop() {
        for entry in fs::read_dir(folder.join(&inner)).unwrap() {
            let entry = entry.unwrap();
            let path = inner.join(entry.file_name());
            if entry.metadata().unwrap().is_dir() {
                folders.push(path.clone());
            }
            found.push(path);
        }
    }
    found.sort();
    found
}
