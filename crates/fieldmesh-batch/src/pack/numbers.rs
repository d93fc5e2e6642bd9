//! A column of whole numbers: in as many bits as their range takes, or each in as few bytes as it
//! takes, plain or as steps from one to the next, whichever is shortest.
//!
//! ```text
//! plain    form, least, then each less the least
//! steps    form, first number, least step, then each step less the least
//! ```
//!
//! In bits, a byte in front says how many each takes; the lowest come first.

use super::reader::{Reader, put_number, put_signed};

const IS_STEPS: u8 = 1;
const IS_BITS: u8 = 2;

/// Appends a column; an empty one takes no bytes.
pub(super) fn put_numbers(bytes: &mut Vec<u8>, numbers: &[i64]) {
    let Some((first, rest)) = numbers.split_first() else { return };
    let steps: Vec<i64> =
        numbers.iter().zip(rest).map(|(from, to)| to.wrapping_sub(*from)).collect();
    let (plain, steps) = (Ranged::new(numbers), Ranged::new(&steps));
    let is_steps = steps.length() + 4 < plain.length();
    let ranged = if is_steps { &steps } else { &plain };
    let is_bits = ranged.length_in_bits() <= ranged.length_in_bytes();
    bytes.push(if is_steps { IS_STEPS } else { 0 } | if is_bits { IS_BITS } else { 0 });
    if is_steps {
        put_signed(bytes, *first);
    }
    put_signed(bytes, ranged.least);
    if is_bits {
        ranged.put_bits(bytes);
    } else {
        ranged.above.iter().for_each(|above| put_number(bytes, *above));
    }
}

/// Reads a column of `count` numbers, which the caller has bounded.
pub(super) fn take_numbers(reader: &mut Reader<'_>, count: usize) -> Option<Vec<i64>> {
    if count == 0 {
        return Some(Vec::new());
    }
    let form = reader.byte()?;
    if form & !(IS_STEPS | IS_BITS) != 0 {
        return None;
    }
    let is_steps = form & IS_STEPS != 0;
    let mut first = if is_steps { Some(reader.signed()?) } else { None };
    let count = count - usize::from(is_steps);
    let least = reader.signed()?;
    let above = if form & IS_BITS != 0 {
        take_bits(reader, count)?
    } else {
        (0..count).map(|_| reader.number()).collect::<Option<_>>()?
    };
    let plain = above.into_iter().map(|above| least.wrapping_add_unsigned(above));
    let Some(number) = &mut first else { return Some(plain.collect()) };
    let mut numbers = vec![*number];
    numbers.extend(plain.map(|step| {
        *number = number.wrapping_add(step);
        *number
    }));
    Some(numbers)
}

/// Numbers as the least and what each has above it.
struct Ranged {
    least: i64,
    above: Vec<u64>,
    width: u32,
}

impl Ranged {
    fn new(numbers: &[i64]) -> Self {
        let least = numbers.iter().copied().min().unwrap_or(0);
        let above: Vec<u64> =
            numbers.iter().map(|number| number.wrapping_sub(least) as u64).collect();
        let most = above.iter().copied().max().unwrap_or(0);
        Self { least, above, width: u64::BITS - most.leading_zeros() }
    }

    fn length(&self) -> usize {
        self.length_in_bits().min(self.length_in_bytes())
    }

    fn length_in_bits(&self) -> usize {
        1 + (self.width as usize * self.above.len()).div_ceil(8)
    }

    fn length_in_bytes(&self) -> usize {
        let length = |above: &u64| (u64::BITS - above.leading_zeros()).max(1).div_ceil(7) as usize;
        self.above.iter().map(length).sum()
    }

    fn put_bits(&self, bytes: &mut Vec<u8>) {
        bytes.push(self.width as u8);
        let (mut held, mut bits) = (0_u128, 0);
        for above in &self.above {
            held |= u128::from(*above) << bits;
            bits += self.width;
            while bits >= 8 {
                bytes.push(held as u8);
                held >>= 8;
                bits -= 8;
            }
        }
        if bits > 0 {
            bytes.push(held as u8);
        }
    }
}

fn take_bits(reader: &mut Reader<'_>, count: usize) -> Option<Vec<u64>> {
    let width = u32::from(reader.byte()?);
    if width > u64::BITS {
        return None;
    }
    let mut bytes = reader.take((width as usize * count).div_ceil(8))?.iter();
    let mask = if width == u64::BITS { u64::MAX } else { (1 << width) - 1 };
    let (mut held, mut bits) = (0_u128, 0);
    let mut numbers = Vec::with_capacity(count);
    for _ in 0..count {
        while bits < width {
            held |= u128::from(*bytes.next()?) << bits;
            bits += 8;
        }
        numbers.push(held as u64 & mask);
        held >>= width;
        bits -= width;
    }
    Some(numbers)
}
