//! Nodes that meet by chance, two at a time, and part again.

use super::{Happening, World};
use crate::plan::Shape;

/// How long two that met stay together, in milliseconds.
const TOGETHER: (i64, i64) = (20_000, 300_000);

impl World<'_> {
    /// Spreads meetings over a part of the day, as many as the plan has in a whole one.
    pub(super) fn plan_meetings(&mut self, from: i64, to: i64) {
        if self.plan.shape != Shape::Meetings {
            return;
        }
        let devices = i64::try_from(self.nodes.len()).unwrap_or(0);
        let count = self.plan.meetings * devices / 2 * (to - from) / self.plan.day_millis.max(1);
        for _ in 0..count {
            let at = self.random.between(from, to);
            self.schedule(at, Happening::Meet);
        }
    }

    pub(super) fn meet(&mut self) {
        let count = self.nodes.len();
        let (a, b) = (self.random.index(count), self.random.index(count));
        let is_same = self.nodes[a].tenant == self.nodes[b].tenant;
        if a == b || !is_same || !self.can_reach(a, b) {
            return;
        }
        if self.nodes[a].has_link_to(&self.nodes[b].device()) {
            return;
        }
        let cable = self.connect(a, b);
        let at = self.now + self.random.between(TOGETHER.0, TOGETHER.1);
        self.schedule(at, Happening::Leave { cable });
    }

    pub(super) fn leave(&mut self, cable: usize) {
        if self.cables[cable].is_up {
            self.note("leaves", self.cables[cable].ends[0].node);
            self.cut(cable);
        }
    }
}
