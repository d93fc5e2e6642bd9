//! The primitives of a packed batch, read within bounds and written.
//!
//! Numbers are LEB128 in their shortest form, as Automerge writes them, so that what is read can be
//! written again byte for byte.

/// Reads from the front of some bytes; whatever does not fit is None.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    pub(super) rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(rest: &'a [u8]) -> Self {
        Self { rest }
    }

    pub(super) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*array)
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    /// An unsigned number of at most 64 bits.
    #[inline]
    pub(super) fn number(&mut self) -> Option<u64> {
        // Nearly all numbers have one byte.
        if let [byte @ 0..0x80, rest @ ..] = self.rest {
            self.rest = rest;
            return Some(u64::from(*byte));
        }
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return None;
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                let is_shortest = bits != 0 || shift == 0;
                return is_shortest.then_some(number);
            }
        }
        None
    }

    #[inline]
    pub(super) fn size(&mut self) -> Option<usize> {
        usize::try_from(self.number()?).ok()
    }

    /// A signed number of at most 64 bits.
    pub(super) fn signed(&mut self) -> Option<i64> {
        if let [byte @ 0..0x40, rest @ ..] = self.rest {
            self.rest = rest;
            return Some(i64::from(*byte));
        }
        let (mut number, mut before) = (0_i64, None);
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= i64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                let is_negative = byte & 0x40 != 0;
                let sign = if is_negative { 0x7f } else { 0 };
                let is_before_alike = before.is_some_and(|it| (it & 0x40 != 0) == is_negative);
                let is_in_range = shift < 63 || byte == sign;
                if !is_in_range || (byte == sign && is_before_alike) {
                    return None;
                }
                let is_extended = is_negative && shift < 57;
                return Some(if is_extended { number | (-1 << (shift + 7)) } else { number });
            }
            before = Some(byte);
        }
        None
    }

    /// A length and that many bytes.
    pub(super) fn sized(&mut self) -> Option<&'a [u8]> {
        let length = self.size()?;
        self.take(length)
    }
}

#[inline]
pub(super) fn put_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

pub(super) fn put_size(bytes: &mut Vec<u8>, size: usize) {
    put_number(bytes, size as u64);
}

pub(super) fn put_signed(bytes: &mut Vec<u8>, mut number: i64) {
    loop {
        let byte = number as u8 & 0x7f;
        number >>= 7;
        let is_last = (number == 0 && byte & 0x40 == 0) || (number == -1 && byte & 0x40 != 0);
        if is_last {
            bytes.push(byte);
            return;
        }
        bytes.push(byte | 0x80);
    }
}

pub(super) fn put_sized(bytes: &mut Vec<u8>, content: &[u8]) {
    put_size(bytes, content.len());
    bytes.extend_from_slice(content);
}
