//! What became of the tries of a fault, and the table of all faults.

use std::fmt::{self, Display};

/// Counts of the tries of one fault.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) tried: u64,
    /// Tries after which something acknowledged was gone or changed and nobody was told.
    pub(crate) lost: u64,
    /// Tries after which everything was back, and something had been mended for it.
    pub(crate) healed: u64,
    /// Tries after which something is said to be damaged, or the home says why it does not open.
    pub(crate) listed: u64,
}

/// How a try ended in which nothing was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ending {
    /// All is as if nothing had happened.
    Whole,
    /// All is back after a repair.
    Healed,
    /// What is damaged is named.
    Listed,
}

impl Tally {
    /// One try.
    pub(crate) fn one(ending: Ending) -> Self {
        let mut tally = Self { tried: 1, ..Self::default() };
        match ending {
            Ending::Whole => {}
            Ending::Healed => tally.healed = 1,
            Ending::Listed => tally.listed = 1,
        }
        tally
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.tried += other.tried;
        self.lost += other.lost;
        self.healed += other.healed;
        self.listed += other.listed;
    }
}

/// The table in which each fault has a line.
#[derive(Default)]
pub(crate) struct Table(Vec<(String, Tally)>);

impl Table {
    pub(crate) fn add(&mut self, fault: &str, tally: Tally) {
        self.0.push((fault.to_owned(), tally));
    }
}

impl Display for Table {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "| fault | tried | lost | healed | listed |")?;
        writeln!(formatter, "|---|---|---|---|---|")?;
        for (fault, Tally { tried, lost, healed, listed }) in &self.0 {
            writeln!(formatter, "| {fault} | {tried} | {lost} | {healed} | {listed} |")?;
        }
        Ok(())
    }
}
