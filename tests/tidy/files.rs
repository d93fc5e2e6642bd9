//! What a Rust file may look like.

use crate::workspace::{no_faults, rust_files};

/// The most lines in a file.
const LINES_MAX: usize = 600;

/// Names that say nothing about what is in a file or folder.
const EMPTY_NAMES: [&str; 9] =
    ["util", "utils", "common", "helper", "helpers", "types", "manager", "misc", "shared"];

#[test]
fn no_file_is_longer_than_600_lines() {
    let faults: Vec<String> = rust_files()
        .iter()
        .map(|(path, text)| (path, text.lines().count()))
        .filter(|(_, lines)| *lines > LINES_MAX)
        .map(|(path, lines)| format!("{} has {lines} lines", path.display()))
        .collect();
    let remedy = "Split the file by nouns: `foo.rs` keeps what others use, `foo/bar.rs` takes a \
                  part that has a name of its own.";
    no_faults(&faults, remedy);
}

#[test]
fn every_file_begins_by_saying_what_it_is_for() {
    let faults: Vec<String> = rust_files()
        .iter()
        .filter(|(_, text)| !text.starts_with("//! "))
        .map(|(path, _)| path.display().to_string())
        .collect();
    no_faults(&faults, "Begin these files with a `//!` line: what lives here, and what does not.");
}

#[test]
fn no_module_hides_in_a_mod_rs() {
    let faults: Vec<String> = rust_files()
        .iter()
        .filter(|(path, _)| path.file_name().is_some_and(|name| name == "mod.rs"))
        .map(|(path, _)| path.display().to_string())
        .collect();
    no_faults(&faults, "Rename `foo/mod.rs` to `foo.rs`, beside the folder.");
}

#[test]
fn every_file_and_folder_has_a_name_that_says_something() {
    let mut faults = Vec::new();
    for (path, _) in rust_files() {
        let stem = path.with_extension("");
        let parts = stem.components().map(|part| part.as_os_str().to_string_lossy().into_owned());
        let empty = parts.into_iter().filter(|part| EMPTY_NAMES.contains(&part.as_str()));
        faults.extend(empty.map(|part| format!("{} is called {part}", path.display())));
    }
    no_faults(
        &faults,
        "Name the file for the one noun it is about, and split it if there are two.",
    );
}
