//! Where each requirement is held.
//!
//! Goal: no requirement of the families below is forgotten, and none is said to be held by a
//! transcript that does not say so itself. Method: `tests/requirements.txt` has one line for each
//! id: a transcript, a test, another place, or none and why.

#![allow(clippy::unwrap_used, reason = "a test that cannot set up its scene has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Ids in a row: what they begin with, the first and the last number, and how many digits.
const FAMILIES: [(&str, usize, usize, usize); 22] = [
    ("W-", 1, 84, 3),
    ("B-", 1, 92, 3),
    ("A-", 1, 80, 3),
    ("V-", 1, 69, 3),
    ("H-", 1, 75, 3),
    ("X-", 1, 43, 2),
    ("D-", 1, 9, 3),
    ("CL-", 1, 18, 2),
    ("CL-", 20, 43, 2),
    ("CL-", 50, 59, 2),
    ("NF-", 1, 12, 2),
    ("NF-", 20, 26, 2),
    ("NF-", 30, 38, 2),
    ("NF-", 40, 48, 2),
    ("NF-", 50, 55, 2),
    ("NF-", 60, 75, 2),
    ("E0-", 1, 11, 1),
    ("E1-", 1, 3, 1),
    ("E2-", 1, 12, 1),
    ("E3-", 1, 2, 1),
    ("E4-", 1, 9, 1),
    ("EX-", 1, 3, 1),
];

/// What a line may begin with.
const PLACES: [&str; 7] =
    ["transcript ", "test ", "relay: ", "device: ", "app: ", "operation: ", "none: "];

fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

fn table() -> BTreeMap<String, String> {
    let text = fs::read_to_string(tests().join("requirements.txt")).unwrap();
    let row = |line: &str| {
        let (id, place) = line.split_once(" | ").unwrap_or_else(|| panic!("{line}"));
        (id.to_owned(), place.to_owned())
    };
    let rows: Vec<_> = text.lines().map(row).collect();
    let count = rows.len();
    let table: BTreeMap<_, _> = rows.into_iter().collect();
    assert_eq!(table.len(), count, "an id stands twice in requirements.txt");
    table
}

/// The transcripts and the ids in their first lines.
fn transcripts() -> BTreeMap<String, BTreeSet<String>> {
    let mut found = BTreeMap::new();
    for folder in fs::read_dir(tests().join("transcripts")).unwrap() {
        let folder = folder.unwrap().path();
        for file in fs::read_dir(&folder).unwrap() {
            let path = file.unwrap().path();
            let text = fs::read_to_string(&path).unwrap();
            let (ids, _) = text.split_once(':').unwrap();
            let name = path.strip_prefix(tests().join("transcripts")).unwrap().with_extension("");
            let ids = ids.split_whitespace().map(str::to_owned).collect();
            found.insert(name.to_string_lossy().into_owned(), ids);
        }
    }
    found
}

/// The transcripts that a line names.
fn named(place: &str) -> Vec<&str> {
    let Some(names) = place.strip_prefix("transcript ") else { return Vec::new() };
    names.split(';').next().unwrap_or_default().split(", ").collect()
}

#[test]
fn every_requirement_has_one_line_and_there_are_no_others() {
    let expected: BTreeSet<String> = FAMILIES
        .iter()
        .flat_map(|(start, first, last, digits)| {
            (*first..=*last).map(move |number| format!("{start}{number:0digits$}"))
        })
        .collect();
    let written: BTreeSet<String> = table().into_keys().collect();
    let missing: Vec<_> = expected.difference(&written).collect();
    let unknown: Vec<_> = written.difference(&expected).collect();
    assert!(missing.is_empty() && unknown.is_empty(), "missing {missing:?}, unknown {unknown:?}");
}

#[test]
fn every_line_says_where_in_one_of_the_known_ways() {
    for (id, place) in table() {
        assert!(PLACES.iter().any(|known| place.starts_with(known)), "{id}: {place}");
    }
}

#[test]
fn lines_and_transcripts_name_each_other() {
    let (table, transcripts) = (table(), transcripts());
    for (id, place) in &table {
        for name in named(place) {
            let ids = transcripts.get(name);
            let ids = ids.unwrap_or_else(|| panic!("{id}: there is no transcript {name}"));
            assert!(ids.contains(id), "{name} does not say that it is about {id}");
        }
    }
    for (name, ids) in &transcripts {
        for id in ids {
            let place = table.get(id).unwrap_or_else(|| panic!("{name} names {id}"));
            assert!(named(place).contains(&name.as_str()), "{id} lacks {name}: {place}");
        }
    }
}

#[test]
fn tests_that_a_line_names_are_there() {
    for (id, place) in table() {
        let Some((file, test)) = place.strip_prefix("test ").and_then(|rest| rest.split_once(": "))
        else {
            continue;
        };
        let path = tests().join("..").join(file);
        if path.extension().is_some_and(|kind| kind == "rs") {
            let text = fs::read_to_string(&path).unwrap_or_else(|_| panic!("{id}: no {file}"));
            let test = test.split(',').next().unwrap_or_default();
            assert!(text.contains(&format!("fn {test}(")), "{id}: no {test} in {file}");
        }
        if path.extension().is_some_and(|kind| kind == "js") {
            let text = fs::read_to_string(&path).unwrap_or_else(|_| panic!("{id}: no {file}"));
            assert!(text.contains(&format!("test(\"{test}\",")), "{id}: no {test} in {file}");
        }
    }
}
