//! The branches of all chains: runs of entries of which each names the one before it.
//!
//! A chain without forks and gaps is one branch. An entry that names one which another names
//! already begins a branch, and so does one that names what is not here; runs that turn out to
//! follow each other become one, in whatever order their entries came. So the way from one entry
//! to another leads over as many branches as there are forks between them, however long it is.

use super::{Line, Spot};

/// The number of a branch; several may stand for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Branch(u32);

impl Branch {
    const fn index(self) -> usize {
        self.0 as usize
    }
}

/// All branches, as sets of numbers that stand for the same one.
#[derive(Debug, Default)]
pub(super) struct Branches(Vec<Node>);

#[derive(Debug)]
struct Node {
    line: Line,
    /// Another number for the same branch, nearer to the one that counts; itself if it counts.
    above: Branch,
    /// How many steps lead here at the most.
    height: u8,
    /// The entry that the first one of the branch names, if it is here; right where it counts.
    base: Option<Spot>,
}

impl Branches {
    /// A branch that begins behind `base`; None beyond four thousand million.
    pub(super) fn begin(&mut self, line: Line, base: Option<Spot>) -> Option<Branch> {
        let branch = Branch(u32::try_from(self.0.len()).ok()?);
        self.0.push(Node { line, above: branch, height: 0, base });
        Some(branch)
    }

    pub(super) fn line(&self, branch: Branch) -> Line {
        self.0[branch.index()].line
    }

    /// The number that counts.
    pub(super) fn find(&self, branch: Branch) -> Branch {
        let mut branch = branch;
        loop {
            let above = self.0[branch.index()].above;
            if above == branch {
                return branch;
            }
            branch = above;
        }
    }

    /// The entry at which the branch leaves another one.
    pub(super) fn base(&self, branch: Branch) -> Option<Spot> {
        self.0[self.find(branch).index()].base
    }

    /// The branch turns out to begin behind `base`.
    pub(super) fn attach(&mut self, branch: Branch, base: Spot) {
        let root = self.find(branch);
        self.0[root.index()].base = Some(base);
    }

    /// What is in `later` follows the last entry of `earlier`.
    pub(super) fn join(&mut self, earlier: Branch, later: Branch) {
        let (earlier, later) = (self.find(earlier), self.find(later));
        if earlier == later {
            return;
        }
        let base = self.0[earlier.index()].base;
        let heights = [earlier, later].map(|branch| self.0[branch.index()].height);
        // The lower one goes below the higher one, so that all ways stay short.
        let (top, below) =
            if heights[0] < heights[1] { (later, earlier) } else { (earlier, later) };
        self.0[below.index()].above = top;
        let top = &mut self.0[top.index()];
        top.base = base;
        if heights[0] == heights[1] {
            top.height += 1;
        }
    }
}
