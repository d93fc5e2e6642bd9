//! One bit flips, in every region of every file of a home.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use crate::damage::{Scene, paths_below};
use crate::numbers::Numbers;
use crate::round::{Fault, Theme};
use crate::tally::Tally;

/// Places in each file that are sampled anywhere in it.
const SAMPLES: usize = 7;

pub(crate) const THEME: Theme = Theme {
    name: "flip",
    fault: "one bit flipped, in every region of every file",
    prepare: |seed| Some(Box::new(Flips::new(seed))),
};

struct Flips {
    scene: Scene,
    /// Files with offsets of the bytes that are hit.
    places: Vec<(PathBuf, u64)>,
}

impl Flips {
    fn new(seed: u64) -> Self {
        let scene = Scene::new();
        let mut numbers = Numbers::of(seed, "places", 0);
        let mut places = Vec::new();
        for path in paths_below(&scene.lead.home) {
            let file = scene.lead.home.join(&path);
            if file.is_file() {
                let offsets = offsets(&file, &mut numbers);
                places.extend(offsets.into_iter().map(|offset| (path.clone(), offset)));
            }
        }
        Self { scene, places }
    }
}

/// The head, the end, and samples from all between, mostly where something is written.
pub(crate) fn offsets(file: &Path, numbers: &mut Numbers) -> Vec<u64> {
    let bytes = fs::read(file).unwrap();
    let written: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] != 0).collect();
    let Some(last) = written.last() else { return vec![0] };
    let mut offsets =
        vec![0, numbers.below(bytes.len().min(8)), numbers.below(bytes.len().min(64))];
    offsets.extend([*last, last.saturating_sub(numbers.below(24)), bytes.len() - 1]);
    for _ in 0..SAMPLES {
        let anywhere = numbers.below(bytes.len());
        offsets.push(if numbers.percent(80) { *numbers.pick(&written) } else { anywhere });
    }
    offsets.sort_unstable();
    offsets.dedup();
    offsets.into_iter().map(|offset| offset as u64).collect()
}

impl Fault for Flips {
    fn tries(&self) -> usize {
        self.places.len()
    }

    fn attempt(&self, attempt: usize, numbers: &mut Numbers) -> Result<Tally, String> {
        let (path, offset) = &self.places[attempt];
        let bit = numbers.below(8);
        let copies = self.scene.copies(attempt);
        flip(&copies.lead.home.join(path), *offset, bit);
        let named = |words| format!("bit {bit} of byte {offset} of {}: {words}", path.display());
        Ok(Tally::one(copies.judge().map_err(named)?))
    }
}

/// Flips one bit of a file.
pub(crate) fn flip(path: &Path, offset: u64, bit: usize) {
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[byte[0] ^ (1 << bit)], offset).unwrap();
}
