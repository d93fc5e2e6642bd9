//! Foreign crates that only one of ours may name, so that each can be replaced in one place.

use crate::workspace::{crates, no_faults, rust_files};

/// A foreign crate, and who may need it.
const ONLY: &[(&str, &[&str])] = &[
    ("automerge", &["fieldmesh-document"]),
    ("sled", &["fieldmesh-store"]),
    ("quinn", &["fieldmesh-net"]),
    ("quinn-proto", &["fieldmesh-net"]),
    ("mdns-sd", &["fieldmesh-net"]),
    ("linux-keyutils", &["fieldmesh"]),
    ("axum", &["fieldmesh-http", "fieldmesh-loopback", "fieldmesh-cli", "sync-relay"]),
    ("tower-http", &["fieldmesh-http"]),
    ("tokio-rustls", &["fieldmesh-http", "fieldmesh-net"]),
    ("yamux", &["fieldmesh-net"]),
    ("sqlx", &["sync-relay"]),
    ("tokio-postgres", &["sync-relay"]),
];

/// Where the store names sled.
const SLED_FOLDER: &str = "crates/fieldmesh-store/src/view/";

#[test]
fn a_foreign_crate_with_one_owner_is_needed_by_no_other() {
    let mut faults = Vec::new();
    for (name, package) in crates() {
        for (vendor, owners) in ONLY {
            if package.dependencies.contains(*vendor) && !owners.contains(&name.as_str()) {
                faults.push(format!("{name} needs {vendor}, which belongs to {owners:?}"));
            }
        }
    }
    let remedy = "Use what the owner offers, or let the owner offer what is missing; nobody else \
                  may depend on the foreign crate itself.";
    no_faults(&faults, remedy);
}

#[test]
fn only_the_view_of_the_store_names_sled() {
    let faults: Vec<String> = rust_files()
        .iter()
        .filter(|(path, _)| path.starts_with("crates/fieldmesh-store/src"))
        .filter(|(path, _)| !path.to_string_lossy().starts_with(SLED_FOLDER))
        .filter(|(_, text)| text.lines().any(names_sled))
        .map(|(path, _)| path.display().to_string())
        .collect();
    let remedy = "Only the files in crates/fieldmesh-store/src/view/ may name sled, so that \
                  another store can take its place: go through the view.";
    no_faults(&faults, remedy);
}

/// Whether a line of code uses the foreign crate and not our module of that name.
fn names_sled(line: &str) -> bool {
    let code = line.trim_start();
    let is_foreign = |(at, _): (usize, &str)| {
        let before = code[..at].chars().next_back();
        before.is_none_or(|before| before != ':' && before != '_' && !before.is_alphanumeric())
    };
    !code.starts_with("//") && code.match_indices("sled::").any(is_foreign)
}
