//! What the benches share: a crew and its entries, homes on a real disk, a meter, a table.
//!
//! Each bench takes the parts it needs.
#![allow(dead_code, reason = "each bench takes the parts it needs")]

pub(crate) mod documents;
pub(crate) mod entries;
pub(crate) mod homes;
pub(crate) mod meter;
pub(crate) mod plot;
pub(crate) mod table;

/// How much a bench does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Size {
    /// All sizes and repetitions.
    Full,
    /// The small sizes once: all benches together take less than a minute.
    Quick,
}

impl Size {
    /// What the command line asks for: `--quick`, or everything.
    pub(crate) fn asked() -> Self {
        if std::env::args().any(|argument| argument == "--quick") {
            Self::Quick
        } else {
            Self::Full
        }
    }

    /// `full` or `quick`, as the size is.
    pub(crate) fn pick<T>(self, full: T, quick: T) -> T {
        match self {
            Self::Full => full,
            Self::Quick => quick,
        }
    }
}

/// Whether cargo only wants to see that the bench starts, as `cargo test --benches` does.
pub(crate) fn is_test() -> bool {
    !std::env::args().any(|argument| argument == "--bench")
}
