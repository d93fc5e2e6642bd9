//! That this store was put back from an older copy, until that is durable.
//!
//! The replica asks once and signs nothing meanwhile, so what a full disk does not take is tried
//! again here.

use fieldmesh_model::Moment;

/// How long a failed try lies behind before the next one, unless the store takes something before.
const AGAIN_AFTER_MILLIS: i64 = 5_000;

/// The epoch that is to be written, if there is one.
#[derive(Debug, Default)]
pub(super) struct Raising {
    wanted: Option<u64>,
    /// When it is tried again; nothing while a try is under way.
    again_at: Option<Moment>,
}

impl Raising {
    /// The store is about to be asked to write `epoch`.
    pub(super) const fn begun(&mut self, epoch: u64) {
        self.wanted = Some(epoch);
        self.again_at = None;
    }

    pub(super) const fn failed(&mut self, now: Moment) {
        if self.wanted.is_some() {
            self.again_at = Some(now.plus_millis(AGAIN_AFTER_MILLIS));
        }
    }

    pub(super) const fn done(&mut self) {
        *self = Self { wanted: None, again_at: None };
    }

    /// The store has taken something: it may take the epoch too.
    pub(super) const fn store_works(&mut self, now: Moment) {
        if self.again_at.is_some() {
            self.again_at = Some(now);
        }
    }

    pub(super) const fn deadline(&self) -> Option<Moment> {
        self.again_at
    }

    /// The epoch to try once more, if it is time.
    pub(super) fn due(&self, now: Moment) -> Option<u64> {
        self.wanted.filter(|_| self.again_at.is_some_and(|at| at <= now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_was_full_once_does_not_keep_a_restored_store_from_signing_for_ever() {
        let at = Moment::from_millis;
        let mut raising = Raising::default();
        raising.begun(3);
        assert_eq!((raising.deadline(), raising.due(at(9_999))), (None, None));
        raising.failed(at(10_000));
        assert_eq!(raising.due(at(10_001)), None);
        let again_at = raising.deadline().unwrap();
        assert_eq!(raising.due(again_at), Some(3));

        raising.begun(3);
        raising.failed(again_at);
        raising.store_works(again_at.plus_millis(1));
        assert_eq!(raising.due(again_at.plus_millis(1)), Some(3));
        raising.begun(3);
        raising.done();
        raising.failed(at(90_000));
        assert_eq!(raising.deadline(), None);
    }
}
