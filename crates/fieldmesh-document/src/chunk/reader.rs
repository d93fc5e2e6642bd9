//! A bounds-checked reader of the primitives of a chunk.

use fieldmesh_model::limits::CHANGE_OPERATIONS_MAX;

use super::ChunkError;

/// Reads from the front of some bytes; whatever does not fit is malformed.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    position: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, position: 0 }
    }

    /// How many bytes were read.
    pub(super) fn position(&self) -> usize {
        self.position
    }

    /// What was not read.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], ChunkError> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(ChunkError::Malformed)?;
        self.rest = rest;
        self.position += length;
        Ok(taken)
    }

    pub(super) fn byte(&mut self) -> Result<u8, ChunkError> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], ChunkError> {
        self.take(N)?.try_into().map_err(|_| ChunkError::Malformed)
    }

    /// A length and that many bytes.
    pub(super) fn sized(&mut self, most: usize) -> Result<&'a [u8], ChunkError> {
        let length = self.size()?;
        if length > most {
            return Err(ChunkError::OverLimit);
        }
        self.take(length)
    }

    pub(super) fn size(&mut self) -> Result<usize, ChunkError> {
        usize::try_from(self.number()?).map_err(|_| ChunkError::Malformed)
    }

    /// An unsigned LEB128 number of at most 64 bits.
    pub(super) fn number(&mut self) -> Result<u64, ChunkError> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(ChunkError::Malformed);
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(ChunkError::Malformed)
    }

    /// A signed LEB128 number of at most 64 bits.
    pub(super) fn signed(&mut self) -> Result<i64, ChunkError> {
        let mut number = 0_i64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            if shift == 63 && byte != 0 && byte != 0x7f {
                return Err(ChunkError::Malformed);
            }
            number |= i64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                let is_negative = byte & 0x40 != 0 && shift < 57;
                return Ok(if is_negative { number | (-1 << (shift + 7)) } else { number });
            }
        }
        Err(ChunkError::Malformed)
    }

    /// Walks a run-length-encoded column, in which `weigh` reads one value and says its weight.
    ///
    /// The items are bounded as well as the weight: a run of values that weigh nothing is walked
    /// by Automerge all the same.
    pub(super) fn sum_of_runs(
        &mut self,
        weigh: impl Fn(&mut Self) -> Result<usize, ChunkError>,
    ) -> Result<Total, ChunkError> {
        let mut total = Total::default();
        while !self.rest.is_empty() {
            match self.signed()? {
                0 => total.add(self.number()?, 0)?,
                count @ 1.. => {
                    let weight = weigh(self)?;
                    total.add(count.unsigned_abs(), weight)?;
                }
                count => {
                    for _ in 0..count.unsigned_abs() {
                        let weight = weigh(self)?;
                        total.add(1, weight)?;
                    }
                }
            }
        }
        Ok(total)
    }

    /// Walks a column of booleans: the lengths of runs that alternate.
    pub(super) fn sum_of_booleans(&mut self) -> Result<Total, ChunkError> {
        let mut total = Total::default();
        while !self.rest.is_empty() {
            total.add(self.number()?, 0)?;
        }
        Ok(total)
    }
}

/// What the runs of a column stand for in all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Total {
    pub(super) items: usize,
    pub(super) weight: usize,
}

impl Total {
    fn add(&mut self, count: u64, each: usize) -> Result<(), ChunkError> {
        let error = ChunkError::TooManyOperations;
        let bounded = |sum: Option<usize>| sum.filter(|sum| *sum <= CHANGE_OPERATIONS_MAX);
        let count = bounded(usize::try_from(count).ok()).ok_or(error.clone())?;
        self.items = bounded(self.items.checked_add(count)).ok_or(error.clone())?;
        let more = count.checked_mul(each).and_then(|more| self.weight.checked_add(more));
        self.weight = bounded(more).ok_or(error)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_leb128_writes_them() {
        for (bytes, number) in [(&[0][..], 0), (&[0x7f], 127), (&[0xe5, 0x8e, 0x26], 624_485)] {
            assert_eq!(Reader::new(bytes).number(), Ok(number));
        }
        for (bytes, number) in [
            (&[0][..], 0),
            (&[0x7f], -1),
            (&[0xc0, 0xbb, 0x78], -123_456),
            (&[0x3f], 63),
            (&[0xc0, 0x00], 64),
        ] {
            assert_eq!(Reader::new(bytes).signed(), Ok(number));
        }
        let min = [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x7f];
        assert_eq!(Reader::new(&min).signed(), Ok(i64::MIN));
        assert!(Reader::new(&[0x80; 12]).number().is_err());
        assert!(Reader::new(&[0x80; 12]).signed().is_err());
        assert!(Reader::new(&[0x80]).number().is_err());
    }
}
