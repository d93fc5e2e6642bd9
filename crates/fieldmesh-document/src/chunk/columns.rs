//! The columns of a change chunk, value by value.

use super::reader::Reader;

/// What the runs of a column stand for at the moment.
#[derive(Debug)]
enum Run<T> {
    /// Equal values, or nulls.
    Equal(Option<T>),
    /// Values that each stand for themselves.
    Single,
}

/// A run-length-encoded column; behind its end come nulls.
#[derive(Debug)]
pub(super) struct Runs<'a, T> {
    rest: Reader<'a>,
    run: Run<T>,
    left: u64,
}

impl<'a, T: Clone> Runs<'a, T> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: Reader::new(bytes), run: Run::Equal(None), left: 0 }
    }

    /// The next value, which `read` reads where it stands; the outer `None` if it is malformed.
    pub(super) fn next(
        &mut self,
        read: impl Fn(&mut Reader<'a>) -> Option<T>,
    ) -> Option<Option<T>> {
        while self.left == 0 {
            if self.rest.rest().is_empty() {
                return Some(None);
            }
            (self.run, self.left) = match self.rest.signed().ok()? {
                0 => (Run::Equal(None), self.rest.number().ok()?),
                count @ 1.. => (Run::Equal(Some(read(&mut self.rest)?)), count.unsigned_abs()),
                count => (Run::Single, count.unsigned_abs()),
            };
        }
        self.left -= 1;
        match &self.run {
            Run::Equal(value) => Some(value.clone()),
            Run::Single => read(&mut self.rest).map(Some),
        }
    }
}

impl Runs<'_, u64> {
    pub(super) fn next_number(&mut self) -> Option<Option<u64>> {
        self.next(|rest| rest.number().ok())
    }
}

/// A column of differences, each to the value before it.
#[derive(Debug)]
pub(super) struct Differences<'a> {
    runs: Runs<'a, i64>,
    last: i64,
}

impl<'a> Differences<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { runs: Runs::new(bytes), last: 0 }
    }

    /// The next value; no counter is negative.
    pub(super) fn next(&mut self) -> Option<Option<u64>> {
        let Some(difference) = self.runs.next(|rest| rest.signed().ok())? else {
            return Some(None);
        };
        self.last = self.last.checked_add(difference)?;
        u64::try_from(self.last).ok().map(Some)
    }
}

/// A column of booleans: the lengths of runs that alternate, from false on.
#[derive(Debug)]
pub(super) struct Booleans<'a> {
    rest: Reader<'a>,
    value: bool,
    left: u64,
}

impl<'a> Booleans<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: Reader::new(bytes), value: true, left: 0 }
    }

    /// The next value; `None` if there is none.
    pub(super) fn next(&mut self) -> Option<bool> {
        while self.left == 0 {
            self.left = self.rest.number().ok()?;
            self.value = !self.value;
        }
        self.left -= 1;
        Some(self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_read_value_by_value_and_end_in_nulls() {
        // Three sevens, two nulls, then 1 and 2.
        let mut runs = Runs::new(&[3, 7, 0, 2, 0x7e, 1, 2]);
        let expected = [Some(7), Some(7), Some(7), None, None, Some(1), Some(2), None, None];
        for value in expected {
            assert_eq!(runs.next_number(), Some(value));
        }
        assert_eq!(Runs::new(&[3]).next_number(), None, "a run of nothing is malformed");
    }

    #[test]
    fn differences_add_up_and_never_fall_below_nothing() {
        let mut differences = Differences::new(&[3, 2, 0, 1, 1, 0x7e]);
        for value in [Some(2), Some(4), Some(6), None, Some(4), None] {
            assert_eq!(differences.next(), Some(value));
        }
        assert_eq!(Differences::new(&[1, 0x7f]).next(), None);
    }

    #[test]
    fn booleans_alternate_from_false_on() {
        let mut booleans = Booleans::new(&[0, 2, 1]);
        let read: Vec<_> = std::iter::from_fn(|| booleans.next()).collect();
        assert_eq!(read, [true, true, false]);
    }
}
