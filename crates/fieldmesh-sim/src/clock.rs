//! A device's clock, right or wrong.

use fieldmesh_model::Moment;

use crate::random::Random;

/// 2023-11-14T22:13:20Z, the morning of every day.
pub(crate) const MORNING: i64 = 1_700_000_000_000;
const HOUR: i64 = 3_600_000;
const TEN_YEARS: i64 = 10 * 365 * 24 * HOUR;

/// How far a device's clocks are from the true time, in milliseconds.
///
/// The replica is given a steady clock, which starts as the wall clock stands at that moment and
/// does not jump; changes are dated by the wall clock.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Clock {
    wall: i64,
    steady: i64,
}

impl Clock {
    /// What changes are dated by.
    pub(crate) const fn wall(&self, now: i64) -> Moment {
        Moment::from_millis(MORNING + now + self.wall)
    }

    /// What the replica is told.
    pub(crate) const fn steady(&self, now: i64) -> Moment {
        Moment::from_millis(MORNING + now + self.steady)
    }

    /// When the steady clock shows `moment`, in the time of the world.
    pub(crate) const fn when(&self, moment: Moment) -> i64 {
        moment.millis_since(Moment::from_millis(MORNING + self.steady))
    }

    /// Somebody sets the wall clock.
    pub(crate) fn jump(&mut self, random: &mut Random) {
        self.wall = match random.index(6) {
            0 => TEN_YEARS,
            1 => -TEN_YEARS,
            2 => -HOUR,
            3 => random.between(-300_000, 300_000),
            4 => random.between(-30 * 24 * HOUR, 30 * 24 * HOUR),
            _ => 0,
        };
    }

    /// The program starts: the steady clock begins anew.
    pub(crate) const fn restart(&mut self) {
        self.steady = self.wall;
    }

    /// How far this steady clock is ahead of `other`'s.
    pub(crate) const fn ahead_of(&self, other: &Self) -> i64 {
        self.steady - other.steady
    }
}
