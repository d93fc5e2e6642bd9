//! Files and folders of a relay are gone, cut, of another kind, older, or those of another relay.

use std::fs;
use std::path::{Path, PathBuf};

use super::Scene;
use crate::app::{EMAIL, PASSWORD};
use crate::damage::paths_below;
use crate::numbers::Numbers;
use crate::round::{Fault, Theme};
use crate::stage::copy;
use crate::swap::{DEEDS, Deed, remove};
use crate::tally::{Ending, Tally};

/// Deeds that a round tries; each round draws others.
const TRIES: usize = 24;

pub(crate) const THEME: Theme = Theme {
    name: "relay-swap",
    fault: "relay: each file and folder deleted, emptied, cut, exchanged, or of another kind",
    prepare: |seed| Some(Box::new(Swaps::new(seed))),
};

struct Swaps {
    scene: Scene,
    /// The data folder of another relay, with the names of this one.
    foreign: PathBuf,
    deeds: Vec<(PathBuf, Deed)>,
}

impl Swaps {
    fn new(seed: u64) -> Self {
        let scene = Scene::new();
        let mut numbers = Numbers::of(seed, "relay-deeds", 0);
        let foreign = stranger(&scene);
        let paths = paths_below(&scene.relay.data);
        let all = paths.iter().flat_map(|path| DEEDS.map(|deed| (path.clone(), deed)));
        let is_possible = |(path, deed): &(PathBuf, Deed)| match deed {
            Deed::Foreign => foreign.join(path).exists(),
            Deed::Older => !holds_a_store(path) && scene.older.join(path).exists(),
            Deed::Deny => false,
            Deed::Delete | Deed::Empty | Deed::Halve | Deed::OtherKind => true,
        };
        let mut possible: Vec<(PathBuf, Deed)> = all.filter(is_possible).collect();
        let mut deeds = Vec::new();
        while deeds.len() < TRIES && !possible.is_empty() {
            deeds.push(possible.swap_remove(numbers.below(possible.len())));
        }
        Self { scene, foreign, deeds }
    }
}

/// Whether an older one in its place is whole in itself: nothing here can tell it from a relay that
/// was put back from a copy. What devices make of that is tried in `places.rs` of the processes.
fn holds_a_store(path: &Path) -> bool {
    let depth = path.components().count();
    path.starts_with("tenants") && (depth < 3 || (depth == 3 && path.ends_with("store")))
}

/// Makes another relay.
fn stranger(scene: &Scene) -> PathBuf {
    let relay = scene.stage.relay("stranger");
    relay.run(&["tenant", "create", "Basin Crew", "--gateway"]).ok();
    let add = ["user", "add", "--tenant", "basin-crew", EMAIL, "--password-stdin"];
    relay.run_with(&add, PASSWORD).ok();
    for folder in ["tenants", "accounts"] {
        let name = |data: &Path| {
            let mut names = fs::read_dir(data.join(folder)).unwrap();
            names.next().unwrap().unwrap().file_name()
        };
        let (ours, theirs) = (name(&scene.relay.data), name(&relay.data));
        let folder = relay.data.join(folder);
        fs::rename(folder.join(theirs), folder.join(ours)).unwrap();
    }
    relay.data
}

impl Fault for Swaps {
    fn tries(&self) -> usize {
        self.deeds.len()
    }

    fn attempt(&self, attempt: usize, _: &mut Numbers) -> Result<Tally, String> {
        let (name, deed) = &self.deeds[attempt];
        let copies = self.scene.copies(attempt);
        let path = copies.relay.data.join(name);
        deed.perform(&path, &self.foreign.join(name), &self.scene.older.join(name));
        let named = |words| format!("{deed:?} {}: {words}", name.display());
        if copies.refuses().map_err(named)? {
            remove(&path);
            copy(&self.scene.relay.data.join(name), &path);
            copies.must_be_whole().map_err(named)?;
            return Ok(Tally::one(Ending::Listed));
        }
        Ok(Tally::one(copies.judge(&self.scene.all).map_err(named)?))
    }
}
