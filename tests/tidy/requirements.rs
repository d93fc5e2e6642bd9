//! What the five contracts and the design ask for, and which test holds each of it.
//!
//! Goal: nothing that is asked for is forgotten, and nothing is said to be tested that is not.
//! Method: `tests/requirements` has a row for every id, in order; each names tests, says what is
//! missing, or why it does not apply. The tests that it names have to be there, a transcript says
//! itself what it is about, and the tables that people read follow from the rows.

mod claim;
mod render;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::RangeInclusive;

use serde::Deserialize;

use self::claim::Claim;
use crate::workspace::{no_faults, root, text};

/// Ids in a row: what they begin with, their numbers, and how many digits these have.
type Ids = (&'static str, RangeInclusive<usize>, usize);

/// Requirements that stand in one file and one table.
pub(crate) struct Family {
    file: &'static str,
    title: &'static str,
    ids: &'static [Ids],
}

const FAMILIES: [Family; 10] = [
    Family { file: "wellpulse", title: "Oil wells (wellpulse)", ids: &[("W-", 1..=84, 3)] },
    Family { file: "batch", title: "Events of a shift (batch)", ids: &[("B-", 1..=92, 3)] },
    Family { file: "asset", title: "Assets and tasks (asset)", ids: &[("A-", 1..=80, 3)] },
    Family { file: "vet", title: "A veterinary practice (vet)", ids: &[("V-", 1..=69, 3)] },
    Family { file: "health", title: "Rural health (health)", ids: &[("H-", 1..=75, 3)] },
    Family {
        file: "endpoint",
        title: "Endpoints",
        ids: &[
            ("E0-", 1..=11, 1),
            ("E1-", 1..=3, 1),
            ("E2-", 1..=12, 1),
            ("E3-", 1..=2, 1),
            ("E4-", 1..=9, 1),
            ("EX-", 1..=3, 1),
        ],
    },
    Family { file: "contradiction", title: "Contradictions", ids: &[("X-", 1..=43, 2)] },
    Family {
        file: "client",
        title: "The side of the client",
        ids: &[("CL-", 1..=18, 2), ("CL-", 20..=43, 2), ("CL-", 50..=59, 2)],
    },
    Family {
        file: "nonfunctional",
        title: "Speed, safety and operation",
        ids: &[
            ("NF-", 1..=12, 2),
            ("NF-", 20..=26, 2),
            ("NF-", 30..=38, 2),
            ("NF-", 40..=48, 2),
            ("NF-", 50..=55, 2),
            ("NF-", 60..=75, 2),
        ],
    },
    Family { file: "domain", title: "Rules of the records", ids: &[("D-", 1..=9, 3)] },
];

/// One requirement.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    /// What it asks for, in a few words.
    asks: String,
    /// The tests that fail when it is broken.
    #[serde(default)]
    test: Vec<String>,
    /// What no test looks at, or what nothing does.
    missing: Option<String>,
    /// Why it does not apply.
    not: Option<String>,
}

impl Family {
    fn path(&self) -> String {
        format!("tests/requirements/{}.toml", self.file)
    }

    fn expected(&self) -> Vec<String> {
        let ids = self.ids.iter().cloned();
        ids.flat_map(|(start, numbers, digits)| {
            numbers.map(move |number| format!("{start}{number:0digits$}"))
        })
        .collect()
    }

    /// Its rows by id.
    fn rows(&self) -> BTreeMap<String, Row> {
        let text = text(&root().join(self.path()));
        toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", self.path()))
    }
}

/// Every test that a row names, with the id of the row.
fn claims() -> Vec<(String, Claim)> {
    let rows = FAMILIES.iter().flat_map(Family::rows);
    let claims = rows.flat_map(|(id, row)| {
        row.test.into_iter().map(move |test| (id.clone(), Claim::parse(&test)))
    });
    claims.collect()
}

#[test]
fn every_requirement_has_its_row_in_order() {
    for family in FAMILIES {
        let text = text(&root().join(family.path()));
        let heads = text.lines().filter_map(|line| line.strip_prefix('[')?.strip_suffix(']'));
        let written: Vec<String> = heads.map(str::to_owned).collect();
        let expected = family.expected();
        let differs = written.iter().zip(&expected).find(|(ours, theirs)| ours != theirs);
        assert!(differs.is_none(), "{}: (written, expected) {differs:?}", family.path());
        assert_eq!(written.len(), expected.len(), "{}", family.path());
    }
}

#[test]
fn a_row_names_tests_or_what_is_missing_or_why_it_does_not_apply() {
    let mut faults = Vec::new();
    for (id, row) in FAMILIES.iter().flat_map(Family::rows) {
        let is_whole = !row.asks.is_empty()
            && (row.not.is_some() != (!row.test.is_empty() || row.missing.is_some()));
        if !is_whole {
            faults.push(id);
        }
    }
    let remedy = "Give each of these `test`, `missing` or both, or `not` alone: \
                  tests/requirements/README.md says when.";
    no_faults(&faults, remedy);
}

#[test]
fn every_test_that_a_row_names_is_there() {
    let mut faults = Vec::new();
    for (id, claim) in claims() {
        if let Err(fault) = claim.check() {
            faults.push(format!("{id}: {fault}"));
        }
    }
    let remedy = "Name the test as it is called now, or say in the row what is missing since it \
                  is gone.";
    no_faults(&faults, remedy);
}

#[test]
fn rows_and_transcripts_name_each_other() {
    let mut named: BTreeSet<(String, String)> = BTreeSet::new();
    for (id, claim) in claims() {
        if claim.is_transcript() {
            named.insert((claim.path, id));
        }
    }
    let said: BTreeSet<(String, String)> = claim::transcripts()
        .into_iter()
        .flat_map(|(path, ids)| ids.into_iter().map(move |id| (path.clone(), id)))
        .collect();
    let missing = named.difference(&said).map(|(path, id)| format!("{path} does not name {id}"));
    let foreign = said.difference(&named).map(|(path, id)| format!("{id} does not name {path}"));
    let faults: Vec<String> = missing.chain(foreign).collect();
    let remedy = "A transcript begins with the ids that it is about, and the rows of exactly \
                  these ids name it.";
    no_faults(&faults, remedy);
}

#[test]
fn the_tables_follow_from_the_rows() {
    let readme = text(&root().join(render::README));
    let pages = [
        (render::PAGE, render::page(&FAMILIES)),
        (render::README, render::with_summary(&readme, &FAMILIES)),
    ];
    for (path, expected) in pages {
        if std::env::var_os("FIELDMESH_WRITE_REQUIREMENTS").is_some() {
            fs::write(root().join(path), expected).expect("the table is written");
            continue;
        }
        assert!(
            text(&root().join(path)) == expected,
            "{path} is not what the rows say; write it by \
             FIELDMESH_WRITE_REQUIREMENTS=1 cargo test --test tidy"
        );
    }
}
