//! One bit flips, in every region of every file of a relay.

use std::path::{Path, PathBuf};

use super::Scene;
use crate::damage::paths_below;
use crate::flip::{flip, offsets};
use crate::numbers::Numbers;
use crate::round::{Fault, Theme};
use crate::tally::{Ending, Tally};

/// Places that a round tries; each round draws others.
const TRIES: usize = 24;
/// The file of a store that only takes room.
const RESERVE: &str = "reserve";

pub(crate) const THEME: Theme = Theme {
    name: "relay-flip",
    fault: "relay: one bit flipped, in every region of every file",
    prepare: |seed| Some(Box::new(Flips::new(seed))),
};

struct Flips {
    scene: Scene,
    places: Vec<(PathBuf, u64)>,
}

impl Flips {
    /// Every file comes once before any comes twice.
    fn new(seed: u64) -> Self {
        let scene = Scene::new();
        let mut numbers = Numbers::of(seed, "relay-places", 0);
        let data = &scene.relay.data;
        let is_tried =
            |path: &PathBuf| holds_something(&data.join(path)) && !path.ends_with(RESERVE);
        let mut files: Vec<(PathBuf, Vec<u64>)> = paths_below(data)
            .into_iter()
            .filter(is_tried)
            .map(|path| (path.clone(), offsets(&data.join(path), &mut numbers)))
            .collect();
        let mut places = Vec::new();
        while places.len() < TRIES && files.iter().any(|(_, offsets)| !offsets.is_empty()) {
            for (path, offsets) in &mut files {
                if !offsets.is_empty() {
                    let drawn = offsets.swap_remove(numbers.below(offsets.len()));
                    places.push((path.clone(), drawn));
                }
            }
        }
        // Where there are more files than tries, another round begins with others.
        let first = numbers.below(places.len());
        places.rotate_left(first);
        places.truncate(TRIES);
        Self { scene, places }
    }
}

impl Fault for Flips {
    fn tries(&self) -> usize {
        self.places.len()
    }

    fn attempt(&self, attempt: usize, numbers: &mut Numbers) -> Result<Tally, String> {
        let (path, offset) = &self.places[attempt];
        let bit = numbers.below(8);
        let copies = self.scene.copies(attempt);
        let damaged = copies.relay.data.join(path);
        flip(&damaged, *offset, bit);
        let named = |words| format!("bit {bit} of byte {offset} of {}: {words}", path.display());
        if copies.refuses().map_err(named)? {
            if is_replaced(path) {
                return Err(named("the relay does not start, and could have".into()));
            }
            flip(&damaged, *offset, bit);
            copies.must_be_whole().map_err(named)?;
            return Ok(Tally::one(Ending::Listed));
        }
        Ok(Tally::one(copies.judge(&self.scene.all).map_err(named)?))
    }
}

/// Whether the relay has it from elsewhere: what a view holds is in the log.
fn is_replaced(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == "view")
}

fn holds_something(path: &Path) -> bool {
    path.metadata().is_ok_and(|found| found.is_file() && found.len() > 0)
}
