//! The moments for which this store signs receipts.
//!
//! They are its clock's, except that each is later than all before, also of earlier runs and if the
//! clock is set back. So the receipts of one store have an order that no clock can disturb, and a
//! store that is shown a receipt of its own knows whether it has signed it in the past that it
//! remembers.

use fieldmesh_model::Moment;

/// What this store has signed for so far.
#[derive(Debug, Default)]
pub(crate) struct Signing {
    /// No earlier run signed for a later moment.
    before: Option<Moment>,
    /// The first moment of this run.
    first: Option<Moment>,
    /// The last moment of all runs.
    last: Option<Moment>,
}

impl Signing {
    /// Goes on behind what earlier runs may have signed for.
    pub(crate) const fn after(before: Option<Moment>) -> Self {
        Self { before, first: None, last: before }
    }

    /// The moment to sign for.
    pub(crate) fn next(&mut self, now: Moment) -> Moment {
        let at = self.last.map_or(now, |last| now.max(last.plus_millis(1)));
        self.first.get_or_insert(at);
        self.last = Some(at);
        at
    }

    /// Whether it is certain that nothing in this store's memory was signed for that moment: it
    /// lies between the runs or beyond the last. Then a later state of the store has signed for it,
    /// and is lost.
    pub(crate) fn never_signed_for(&self, at: Moment) -> bool {
        let is_before_this_run = self.first.is_none_or(|first| at < first);
        Some(at) > self.last || (is_before_this_run && Some(at) > self.before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Moment {
        Moment::from_millis(millis)
    }

    #[test]
    fn no_moment_is_signed_for_twice_whatever_the_clock_does() {
        let mut signing = Signing::after(Some(at(500)));
        let signed = [100, 700, 700, 20, 701, 900].map(|now| signing.next(at(now)));
        assert_eq!(signed, [501, 700, 701, 702, 703, 900].map(at));
    }

    #[test]
    fn what_a_lost_run_has_signed_for_is_told_from_what_is_remembered() {
        let mut signing = Signing::after(Some(at(500)));
        assert!(signing.never_signed_for(at(501)));
        assert!(!signing.never_signed_for(at(500)));
        signing.next(at(900));
        signing.next(at(950));
        let unknown = [499, 500, 501, 899, 900, 920, 950, 951].map(at);
        let unknown = unknown.map(|at| signing.never_signed_for(at));
        assert_eq!(unknown, [false, false, true, true, false, false, false, true]);
    }
}
