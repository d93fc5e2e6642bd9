//! Each file and folder of a home is deleted, emptied, cut or denied, or something else takes its
//! place.

use std::fs;
use std::path::{Path, PathBuf};

use crate::account::sound;
use crate::damage::{Copies, Scene, paths_below};
use crate::numbers::Numbers;
use crate::round::{Fault, Theme};
use crate::stage::copy;
use crate::tally::{Ending, Tally};

pub(crate) const THEME: Theme = Theme {
    name: "swap",
    fault: "each file and folder deleted, emptied, cut, exchanged, of another kind, or denied",
    prepare: |_| Some(Box::new(Swaps::new())),
};

/// The folder of the store in a home.
const STORE: &str = "store";

/// What happens to a file or a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deed {
    Delete,
    Empty,
    /// The second half is gone; of a folder, its last file.
    Halve,
    /// The same file of another home comes in its place.
    Foreign,
    /// An older copy of itself comes in its place.
    Older,
    /// A folder comes in place of the file, or a file in place of the folder.
    OtherKind,
    /// For one command nobody may open it.
    Deny,
}

pub(crate) const DEEDS: [Deed; 7] = [
    Deed::Delete,
    Deed::Empty,
    Deed::Halve,
    Deed::Foreign,
    Deed::Older,
    Deed::OtherKind,
    Deed::Deny,
];

impl Deed {
    /// Does it to a file or a folder; the foreign and the older one of its name are given.
    pub(crate) fn perform(self, path: &Path, foreign: &Path, older: &Path) {
        let is_folder = path.is_dir();
        match self {
            Self::Delete => remove(path),
            Self::Empty if is_folder => {
                remove(path);
                fs::create_dir(path).unwrap();
            }
            Self::Empty => cut(path, 0),
            Self::Halve if is_folder => {
                let inner = paths_below(path);
                if let Some(last) = inner.iter().rev().find(|inner| path.join(inner).is_file()) {
                    remove(&path.join(last));
                }
            }
            Self::Halve => cut(path, fs::metadata(path).unwrap().len() / 2),
            Self::Foreign | Self::Older => {
                remove(path);
                copy(if self == Self::Foreign { foreign } else { older }, path);
            }
            // The command that meets this is another one.
            Self::Deny => {}
            Self::OtherKind => {
                remove(path);
                match is_folder {
                    true => fs::write(path, "no folder").unwrap(),
                    false => fs::create_dir(path).unwrap(),
                }
            }
        }
    }
}

struct Swaps {
    scene: Scene,
    deeds: Vec<(PathBuf, Deed)>,
}

impl Swaps {
    fn new() -> Self {
        let scene = Scene::new();
        let paths = paths_below(&scene.lead.home);
        let all = paths.iter().flat_map(|path| DEEDS.map(|deed| (path.clone(), deed)));
        let is_possible = |(path, deed): &(PathBuf, Deed)| match deed {
            Deed::Foreign => scene.hand.home.join(path).exists(),
            // An older store is whole in itself; that an old copy went on is tried in `twins.rs`.
            Deed::Older => path != Path::new(STORE) && scene.older.join(path).exists(),
            Deed::Deny => scene.stage.has_shim(),
            Deed::Delete | Deed::Empty | Deed::Halve | Deed::OtherKind => true,
        };
        let deeds = all.filter(is_possible).collect();
        Self { scene, deeds }
    }

    /// A command that may not open something breaks nothing.
    fn deny(&self, copies: &Copies<'_>, name: &Path) -> Result<Ending, String> {
        let home = &copies.lead.home;
        let settings = [
            ("DISK_ROOT", home.to_str().unwrap().to_owned()),
            ("DISK_DENIED", home.join(name).to_str().unwrap().to_owned()),
        ];
        let denied = self.scene.stage.watched(&copies.lead, &settings);
        let named = |words| format!("{} was denied: {words}", name.display());
        let shown = sound(denied.run(&["export", "field_entry"])).map_err(named)?;
        sound(denied.run(&["record", "field_entry", "--from", "/dev/null"])).map_err(named)?;
        copies.must_be_whole().map_err(named)?;
        Ok(if shown.code == Some(0) { Ending::Whole } else { Ending::Listed })
    }

    /// Puts everything back as it was before a deed.
    fn undo(&self, copies: &Copies<'_>, name: &Path) {
        let path = copies.lead.home.join(name);
        remove(&path);
        copy(&self.scene.lead.home.join(name), &path);
    }
}

impl Fault for Swaps {
    fn tries(&self) -> usize {
        self.deeds.len()
    }

    fn attempt(&self, attempt: usize, _: &mut Numbers) -> Result<Tally, String> {
        let (name, deed) = &self.deeds[attempt];
        let copies = self.scene.copies(attempt);
        if *deed == Deed::Deny {
            return self.deny(&copies, name).map(Tally::one);
        }
        let path = copies.lead.home.join(name);
        deed.perform(&path, &self.scene.hand.home.join(name), &self.scene.older.join(name));
        let named = |words| format!("{deed:?} {}: {words}", name.display());
        if copies.refuses(name).map_err(named)? {
            self.undo(&copies, name);
            copies.must_be_whole().map_err(named)?;
            return Ok(Tally::one(Ending::Listed));
        }
        let judged = copies.judge();
        Ok(Tally::one(match judged.map_err(named)? {
            // What was changed there is right again.
            Ending::Whole if name.starts_with(STORE) || has_copy(name) => Ending::Healed,
            ending => ending,
        }))
    }
}

/// Whether a home has two of a file.
fn has_copy(name: &Path) -> bool {
    ["profile", "identity"].iter().any(|file| name.with_extension("") == Path::new(file))
}

fn cut(path: &Path, length: u64) {
    fs::OpenOptions::new().write(true).open(path).unwrap().set_len(length).unwrap();
}

/// Removes a file or a folder.
pub(crate) fn remove(path: &Path) {
    match path.is_dir() {
        true => fs::remove_dir_all(path).unwrap(),
        false if path.exists() => fs::remove_file(path).unwrap(),
        false => {}
    }
}
