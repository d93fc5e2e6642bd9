//! Which crate may need which: the picture in `crates/README.md` as a table.

use std::collections::BTreeSet;

use crate::workspace::{crates, no_faults, packages};

/// A crate, its layer, and the crates of the workspace that it may need.
struct Row(u8, &'static str, &'static [&'static str]);

const TABLE: &[Row] = &[
    Row(0, "fieldmesh-model", &[]),
    Row(1, "fieldmesh-trie", &["model"]),
    Row(1, "fieldmesh-batch", &["model"]),
    Row(1, "fieldmesh-identity", &["model"]),
    Row(2, "fieldmesh-document", &["model", "batch", "identity"]),
    Row(2, "fieldmesh-session", &["model", "trie", "batch", "identity"]),
    Row(3, "fieldmesh-replica", &["model", "trie", "batch", "identity", "session"]),
    Row(3, "fieldmesh-store", &["model"]),
    Row(3, "fieldmesh-net", &["model", "identity"]),
    Row(3, "fieldmesh-dialect", &["model"]),
    Row(
        4,
        "fieldmesh",
        &["model", "trie", "batch", "identity", "document", "session", "replica", "store", "net"],
    ),
    Row(4, "fieldmesh-http", &["model", "dialect"]),
    Row(4, "fieldmesh-shell", &[]),
    Row(5, "fieldmesh-gateway", &["model", "dialect", "node"]),
    Row(6, "fieldmesh-loopback", &["model", "dialect", "gateway", "http", "node"]),
    Row(7, "fieldmesh-cli", &["model", "dialect", "gateway", "http", "loopback", "node", "shell"]),
    Row(
        7,
        "sync-relay",
        &["model", "identity", "net", "store", "dialect", "gateway", "http", "node", "shell"],
    ),
    Row(
        SIDE,
        "fieldmesh-sim",
        &["model", "trie", "batch", "identity", "document", "session", "replica", "store", "node"],
    ),
];

/// The layer of what only tests, benches and examples use.
const SIDE: u8 = 8;

/// The package that the table means by a short name.
fn full(short: &str) -> String {
    match short {
        "node" => "fieldmesh".to_owned(),
        _ => format!("fieldmesh-{short}"),
    }
}

fn layer(name: &str) -> Option<u8> {
    TABLE.iter().find(|row| row.1 == name).map(|row| row.0)
}

/// The layer of a crate as the map writes it.
pub(crate) fn place(name: &str) -> String {
    match layer(name) {
        Some(SIDE) => "side".to_owned(),
        Some(layer) => layer.to_string(),
        None => "none".to_owned(),
    }
}

#[test]
fn every_crate_has_its_place_in_the_layers() {
    let expected: BTreeSet<String> = TABLE.iter().map(|row| row.1.to_owned()).collect();
    let found: BTreeSet<String> = crates().into_keys().collect();
    let faults: Vec<String> = expected.symmetric_difference(&found).cloned().collect();
    let remedy = "These crates are in the workspace or in TABLE of tests/tidy/layers.rs, but not \
                  in both. Give a new crate a row, and a place in the picture of crates/README.md.";
    no_faults(&faults, remedy);
}

#[test]
fn the_table_points_downwards() {
    for Row(own, name, needs) in TABLE {
        for need in *needs {
            let lower = layer(&full(need));
            assert!(
                lower.is_some_and(|lower| lower < *own),
                "{name} may need {need} according to TABLE of tests/tidy/layers.rs, but {need} is \
                 not in a lower layer: take it out of the row"
            );
        }
    }
}

#[test]
fn a_crate_needs_only_what_lies_below_it() {
    let crates = crates();
    let mut faults = Vec::new();
    for Row(_, name, allowed) in TABLE {
        let allowed: BTreeSet<String> = allowed.iter().map(|short| full(short)).collect();
        let Some(package) = crates.get(*name) else { continue };
        let needs = package.dependencies.iter().filter(|need| crates.contains_key(*need));
        let wrong = needs.filter(|need| !allowed.contains(*need));
        faults.extend(wrong.map(|need| format!("{name} needs {need}")));
    }
    let remedy = "The layers forbid this. Move what is needed into a lower layer, or pass it in as \
                  an argument; only if the picture in crates/README.md should change, change it \
                  and TABLE of tests/tidy/layers.rs with it.";
    no_faults(&faults, remedy);
}

#[test]
fn the_package_at_the_root_owns_tests_alone() {
    let packages = packages();
    let faults: Vec<String> = packages
        .values()
        .filter(|package| package.folder == crate::workspace::root())
        .flat_map(|package| &package.dependencies)
        .cloned()
        .collect();
    no_faults(&faults, "The root package has no code of its own: make these dev-dependencies.");
}
