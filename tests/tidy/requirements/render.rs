//! The rows as tables for people.

use std::fmt::Write as _;

use super::claim::Claim;
use super::{Family, Row};

/// Where all rows are shown.
pub(crate) const PAGE: &str = "tests/requirements.md";
/// Where their counts are shown, between the two marks.
pub(crate) const README: &str = "tests/README.md";
const BEGIN: &str = "<!-- counts of requirements: begin -->\n";
const END: &str = "<!-- counts of requirements: end -->\n";

const HEAD: &str = "# Requirements

What the five contracts and the design ask for, and the tests that fail when it is broken. Generated
from the rows in [`requirements`](requirements/README.md): change those, then
`FIELDMESH_WRITE_REQUIREMENTS=1 cargo test --test tidy`.
";

/// How a requirement stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    Tested,
    InPart,
    Untested,
    Elsewhere,
}

impl Standing {
    const ALL: [(Self, &'static str); 4] = [
        (Self::Tested, "tested"),
        (Self::InPart, "in part"),
        (Self::Untested, "not"),
        (Self::Elsewhere, "does not apply"),
    ];

    fn of(row: &Row) -> Self {
        match (&row.not, row.test.is_empty(), &row.missing) {
            (Some(_), ..) => Self::Elsewhere,
            (None, true, _) => Self::Untested,
            (None, false, Some(_)) => Self::InPart,
            (None, false, None) => Self::Tested,
        }
    }
}

/// All rows, a table for each family.
pub(crate) fn page(families: &[Family]) -> String {
    let mut text = HEAD.to_owned();
    for family in families {
        let _ = write!(
            text,
            "\n## {}\n\n| id | asks for | tests | missing, or why not |\n|---|---|---|---|\n",
            family.title
        );
        let rows = family.rows();
        for id in family.expected() {
            let Some(row) = rows.get(&id) else { continue };
            let tests: Vec<String> =
                row.test.iter().map(|test| link(&Claim::parse(test))).collect();
            let rest = match (&row.missing, &row.not) {
                (Some(missing), _) => format!("**missing:** {missing}"),
                (None, Some(not)) => format!("does not apply: {not}"),
                (None, None) => String::new(),
            };
            let cells = [id.clone(), row.asks.clone(), tests.join(", "), rest];
            let cells = cells.map(|cell| cell.replace('|', "\\|"));
            let _ = writeln!(text, "| {} |", cells.join(" | "));
        }
    }
    text
}

fn link(claim: &Claim) -> String {
    let Claim { path, name } = claim;
    let (_, file) = path.rsplit_once('/').unwrap_or(("", path));
    let shown = match path.rsplit_once('.') {
        Some((_, "txt")) => format!("transcript {}", file.trim_end_matches(".txt")),
        Some((_, "rs")) if name.chars().all(|it| it.is_ascii_uppercase() || it == '_') => {
            format!("`cargo destruction`: {}", path.trim_start_matches("tests/destruction/"))
        }
        Some((_, "yaml")) => format!("alert {name}"),
        Some((_, "js" | "ts")) => format!("{file}: {name}"),
        _ => format!("`{name}`"),
    };
    format!("[{shown}](../{path})")
}

/// The text with the counts between the marks made anew.
pub(crate) fn with_summary(readme: &str, families: &[Family]) -> String {
    let (before, rest) = readme.split_once(BEGIN).expect("the README has the first mark");
    let (_, after) = rest.split_once(END).expect("the README has the second mark");
    let mut table = String::from("| family | ids |");
    for (_, name) in Standing::ALL {
        let _ = write!(table, " {name} |");
    }
    table.push_str("\n|---|---|---|---|---|---|\n");
    let mut sums = [0; Standing::ALL.len()];
    for family in families {
        let rows = family.rows();
        let counts = Standing::ALL
            .map(|(standing, _)| rows.values().filter(|row| Standing::of(row) == standing).count());
        let _ = writeln!(table, "{}", line(family.title, &counts));
        for (sum, count) in sums.iter_mut().zip(counts) {
            *sum += count;
        }
    }
    let _ = writeln!(table, "{}", line("all", &sums));
    format!("{before}{BEGIN}{table}{END}{after}")
}

fn line(title: &str, counts: &[usize]) -> String {
    let all: usize = counts.iter().sum();
    let counts: Vec<String> = counts.iter().map(usize::to_string).collect();
    format!("| {title} | {all} | {} |", counts.join(" | "))
}
