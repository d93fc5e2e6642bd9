//! A test as a row names it, and whether it is there.
//!
//! Named are tests in Rust and of Node by file and name, the faults of `tests/destruction` by their
//! constant, alerts by the file of their tests, and transcripts by their file alone.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::workspace::{root, text};

/// Where the contracts lie as exchanges; `transcripts.rs` beside it plays them.
const TRANSCRIPTS: &str = "crates/fieldmesh-dialect/tests/transcripts";

pub(crate) struct Claim {
    pub(crate) path: String,
    /// The name of the test in the file; nothing for a transcript.
    pub(crate) name: String,
}

impl Claim {
    pub(crate) fn parse(written: &str) -> Self {
        let (path, name) = written.split_once("::").unwrap_or((written, ""));
        Self { path: path.to_owned(), name: name.to_owned() }
    }

    pub(crate) fn is_transcript(&self) -> bool {
        self.path.starts_with(TRANSCRIPTS) && self.path.ends_with(".txt")
    }

    /// What is wrong with the claim.
    pub(crate) fn check(&self) -> Result<(), String> {
        let Self { path, name } = self;
        let text = text(&root().join(path));
        if text.is_empty() {
            return Err(format!("there is no {path}"));
        }
        let is_there = match Path::new(path).extension().and_then(|kind| kind.to_str()) {
            Some("txt") => self.is_transcript() && name.is_empty(),
            Some("rs") => is_test(&text, name) || text.contains(&format!("const {name}: Theme")),
            Some("js" | "ts") => text.contains(&format!("\ntest(\"{name}\",")),
            Some("yaml") => text.contains(&format!("alertname: {name} ")),
            _ => false,
        };
        is_there.then_some(()).ok_or_else(|| format!("there is no test {name} in {path}"))
    }
}

/// Whether a function of this name is a test that runs when nobody asks for it by name.
fn is_test(text: &str, name: &str) -> bool {
    let Some((before, _)) = text.split_once(&format!("fn {name}(")) else { return false };
    let (above, _) = before.rsplit_once('\n').unwrap_or_default();
    let lines = above.lines().rev().map(str::trim);
    let attributes: Vec<&str> = lines.take_while(|line| line.starts_with("#[")).collect();
    attributes.iter().any(|line| line.contains("test]") || line.contains("test("))
        && !attributes.iter().any(|line| line.starts_with("#[ignore"))
}

/// The transcripts, and the ids with which each begins.
pub(crate) fn transcripts() -> Vec<(String, BTreeSet<String>)> {
    let mut found = Vec::new();
    let folders = fs::read_dir(root().join(TRANSCRIPTS)).expect("the transcripts are there");
    for folder in folders.flatten() {
        for file in fs::read_dir(folder.path()).into_iter().flatten().flatten() {
            let whole = text(&file.path());
            let (ids, _) = whole.split_once(':').expect("a transcript begins with ids");
            let path = file.path();
            let path = path.strip_prefix(root()).expect("it lies in the workspace");
            let ids = ids.split_whitespace().map(str::to_owned).collect();
            found.push((path.to_string_lossy().into_owned(), ids));
        }
    }
    assert!(found.len() > 30, "found only {} transcripts", found.len());
    found
}
