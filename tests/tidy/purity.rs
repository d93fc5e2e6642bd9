//! Pure crates stay pure: Clippy forbids them clocks, randomness, IO and unordered maps.

use crate::workspace::{crates, no_faults, root, text};

/// Crates whose outputs depend on their inputs alone.
const PURE: &[&str] = &[
    "fieldmesh-model",
    "fieldmesh-trie",
    "fieldmesh-batch",
    "fieldmesh-identity",
    "fieldmesh-document",
    "fieldmesh-session",
    "fieldmesh-replica",
    "fieldmesh-dialect",
];

/// What the settings of each pure crate forbid.
const BANNED: &[&str] = &[
    "std::time::SystemTime::now",
    "std::time::Instant::now",
    "std::thread::spawn",
    "std::thread::sleep",
    "std::env::var",
    "std::collections::HashMap",
    "std::collections::HashSet",
    "std::fs::File",
    "std::net::TcpStream",
    "std::net::UdpSocket",
];

/// Foreign crates that do what a pure crate must not.
const IMPURE: &[&str] = &["tokio", "getrandom", "rand", "socket2", "tempfile", "futures"];

#[test]
fn every_pure_crate_forbids_clocks_randomness_and_io() {
    let mut faults = Vec::new();
    for name in PURE {
        let settings = text(&root().join("crates").join(name).join(".clippy.toml"));
        let missing = BANNED.iter().filter(|banned| !settings.contains(&format!("\"{banned}\"")));
        faults.extend(missing.map(|banned| format!("{name} does not forbid {banned}")));
    }
    let remedy = "Clippy reads only the nearest settings: copy the `.clippy.toml` of \
                  crates/fieldmesh-trie, which has them all.";
    no_faults(&faults, remedy);
}

#[test]
fn the_settings_of_a_crate_repeat_those_of_the_workspace() {
    let shared = text(&root().join(".clippy.toml"));
    let mut faults = Vec::new();
    for (name, package) in crates() {
        let path = package.folder.join(".clippy.toml");
        let own = text(&path);
        if path.exists() {
            let missing = shared.lines().filter(|line| !own.lines().any(|own| own == *line));
            faults.extend(missing.map(|line| format!("{name} lacks `{line}`")));
        }
    }
    let remedy = "Clippy does not merge settings: repeat these lines of the workspace's \
                  `.clippy.toml` in that of the crate.";
    no_faults(&faults, remedy);
}

#[test]
fn no_pure_crate_needs_an_impure_one() {
    let crates = crates();
    let mut faults = Vec::new();
    for name in PURE {
        let Some(package) = crates.get(*name) else {
            faults.push(format!("{name} is not in the workspace"));
            continue;
        };
        let impure = package.dependencies.iter().filter(|need| IMPURE.contains(&need.as_str()));
        faults.extend(impure.map(|need| format!("{name} needs {need}")));
    }
    let remedy = "Time, randomness and IO are arguments of a pure crate: take what is needed as an \
                  input, or give it out as an output.";
    no_faults(&faults, remedy);
}
