//! The map in `crates/README.md` shows the workspace as it is.

use std::collections::BTreeSet;

use crate::layers::place;
use crate::workspace::{crates, no_faults, root, text};

const MAP: &str = "crates/README.md";

/// The rows of the table of crates: lines like "| 0 | `fieldmesh-model` | ...".
fn mapped() -> BTreeSet<(String, String)> {
    let map = text(&root().join(MAP));
    let row = |line: &str| {
        let mut cells = line.strip_prefix('|')?.split('|').map(str::trim);
        let (layer, name) = (cells.next()?, cells.next()?.trim_matches('`'));
        let is_layer = layer == "side" || layer.parse::<u8>().is_ok();
        is_layer.then(|| (layer.to_owned(), name.to_owned()))
    };
    map.lines().filter_map(row).collect()
}

#[test]
fn the_map_lists_exactly_the_crates_of_the_workspace_in_their_layers() {
    let crates = crates().into_keys().map(|name| (place(&name), name));
    let (crates, mapped) = (crates.collect::<BTreeSet<_>>(), mapped());
    let missing = crates.difference(&mapped);
    let missing = missing.map(|(layer, name)| format!("{name} in layer {layer} is not in the map"));
    let gone = mapped.difference(&crates);
    let gone = gone.map(|(layer, name)| format!("{name} in layer {layer} is in the map alone"));
    let faults: Vec<String> = missing.chain(gone).collect();
    let remedy = "Correct the row in the table of crates/README.md, and look whether the picture \
                  above it still holds.";
    no_faults(&faults, remedy);
}

#[test]
fn every_file_that_the_map_names_is_there() {
    let map = text(&root().join(MAP));
    let mut folder = root().join("crates");
    let mut faults = Vec::new();
    for name in map.split('`').skip(1).step_by(2).filter(|name| name.ends_with(".rs")) {
        // A bare name stands in the folder of the file before it.
        let path =
            if name.contains('/') { root().join("crates").join(name) } else { folder.join(name) };
        if !path.is_file() {
            faults.push(format!("{name} is not at {}", path.display()));
        }
        path.parent().expect("a file is in a folder").clone_into(&mut folder);
    }
    no_faults(&faults, "Correct the names of files in crates/README.md.");
}

#[test]
fn a_crate_says_the_same_about_itself_everywhere() {
    let mut faults = Vec::new();
    for (name, package) in crates() {
        let folder = package.folder.file_name().map(|folder| folder.to_string_lossy().into_owned());
        if folder.as_deref() != Some(name.as_str()) {
            faults.push(format!("{name} lies in {}", package.folder.display()));
        }
        let manifest = text(&package.folder.join("Cargo.toml"));
        for line in ["description = \"", "[lints]\nworkspace = true"] {
            if !manifest.contains(line) {
                faults.push(format!("Cargo.toml of {name} lacks {line:?}"));
            }
        }
    }
    let remedy = "A folder has the name of its package; its manifest has a description and takes \
                  the lints of the workspace.";
    no_faults(&faults, remedy);
}
