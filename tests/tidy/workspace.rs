//! What the rules look at: the packages of the workspace and its files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use serde_json::Value;

/// Folders that hold Rust code.
const CODE_FOLDERS: [&str; 5] = ["crates", "sync-relay", "tests", "benches", "examples"];

/// The folder of the workspace.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The text of a file, or nothing if there is none.
pub(crate) fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// One package of the workspace.
pub(crate) struct Package {
    pub(crate) name: String,
    /// Its folder.
    pub(crate) folder: PathBuf,
    /// The packages that its code needs, without those of its tests and build scripts.
    pub(crate) dependencies: BTreeSet<String>,
    /// What its manifest says to other programs than cargo.
    pub(crate) metadata: Value,
}

/// The packages in `crates/` and `sync-relay/`, by name.
pub(crate) fn crates() -> BTreeMap<String, Package> {
    let mut packages = packages();
    packages.retain(|_, package| package.folder != root());
    packages
}

/// All packages of the workspace, the one at the root included.
pub(crate) fn packages() -> BTreeMap<String, Package> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo metadata failed: {message}");
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo writes JSON");
    let packages = metadata["packages"].as_array().expect("metadata lists packages");
    packages.iter().map(package).map(|package| (package.name.clone(), package)).collect()
}

fn package(value: &Value) -> Package {
    let text = |value: &Value| value.as_str().expect("metadata names things").to_owned();
    let manifest = PathBuf::from(text(&value["manifest_path"]));
    let dependencies = value["dependencies"].as_array().expect("metadata lists dependencies");
    let normal = dependencies.iter().filter(|dependency| dependency["kind"].is_null());
    Package {
        name: text(&value["name"]),
        folder: manifest.parent().expect("a manifest is in a folder").to_owned(),
        dependencies: normal.map(|dependency| text(&dependency["name"])).collect(),
        metadata: value["metadata"].clone(),
    }
}

/// Every Rust file of the workspace, relative to the root, with its text.
pub(crate) fn rust_files() -> Vec<(PathBuf, String)> {
    let folders = CODE_FOLDERS.map(|folder| root().join(folder));
    let files = files(&folders, "rs");
    assert!(files.len() > 20, "found only {} Rust files", files.len());
    files
}

/// Every page of the workspace, relative to the root, with its text.
pub(crate) fn pages() -> Vec<(PathBuf, String)> {
    let pages = files(&[root().to_owned()], "md");
    assert!(pages.len() > 10, "found only {} pages", pages.len());
    pages
}

fn files(folders: &[PathBuf], extension: &str) -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    for folder in folders {
        collect(folder, extension, &mut files);
    }
    files.sort();
    files
        .into_iter()
        .map(|path| {
            let text = text(&path);
            let path = path.strip_prefix(root()).unwrap_or(&path).to_owned();
            (path, text)
        })
        .collect()
}

fn collect(folder: &Path, extension: &str, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let name = entry.file_name();
        let is_ours =
            !name.to_string_lossy().starts_with('.') && name != "target" && name != "node_modules";
        if path.is_dir() && is_ours {
            collect(&path, extension, files);
        } else if path.extension().is_some_and(|found| found == extension) {
            files.push(path);
        }
    }
}

/// Fails with every line of `faults`, and with what to do about them.
pub(crate) fn no_faults(faults: &[String], remedy: &str) {
    assert!(faults.is_empty(), "\n{}\n\n{remedy}\n", faults.join("\n"));
}
