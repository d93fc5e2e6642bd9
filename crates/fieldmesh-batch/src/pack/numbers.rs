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
    let Some(first) = numbers.first() else { return };
    let steps = numbers.windows(2).map(|pair| pair[1].wrapping_sub(pair[0]));
    let (plain, steps) = (Ranged::new(numbers.iter().copied()), Ranged::new(steps));
    if steps.length() + 4 < plain.length() {
        bytes.push(IS_STEPS | steps.form());
        put_signed(bytes, *first);
        steps.put(bytes);
    } else {
        bytes.push(plain.form());
        plain.put(bytes);
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
    let mut numbers = Vec::with_capacity(count + 1);
    numbers.push(*number);
    numbers.extend(plain.map(|step| {
        *number = number.wrapping_add(step);
        *number
    }));
    Some(numbers)
}

/// Numbers as the least and what each has above it.
struct Ranged<I> {
    numbers: I,
    least: i64,
    width: u32,
    length_in_bits: usize,
    length_in_bytes: usize,
}

impl<I: Iterator<Item = i64> + Clone> Ranged<I> {
    fn new(numbers: I) -> Self {
        let bounds = |(least, most): (i64, i64), number: i64| (least.min(number), most.max(number));
        let first = numbers.clone().next().unwrap_or(0);
        let (least, most) = numbers.clone().fold((first, first), bounds);
        let width = u64::BITS - above(most, least).leading_zeros();
        let bytes = |number: i64| {
            (u64::BITS - above(number, least).leading_zeros()).max(1).div_ceil(7) as usize
        };
        let (count, length_in_bytes) = numbers
            .clone()
            .fold((0, 0), |(count, length), number| (count + 1, length + bytes(number)));
        let length_in_bits = 1 + (width as usize * count).div_ceil(8);
        Self { numbers, least, width, length_in_bits, length_in_bytes }
    }

    fn length(&self) -> usize {
        self.length_in_bits.min(self.length_in_bytes)
    }

    fn form(&self) -> u8 {
        if self.length_in_bits <= self.length_in_bytes { IS_BITS } else { 0 }
    }

    fn put(self, bytes: &mut Vec<u8>) {
        put_signed(bytes, self.least);
        if self.form() == IS_BITS {
            self.put_bits(bytes);
        } else {
            let least = self.least;
            self.numbers.for_each(|number| put_number(bytes, above(number, least)));
        }
    }

    fn put_bits(self, bytes: &mut Vec<u8>) {
        bytes.push(self.width as u8);
        let (mut held, mut bits) = (0_u128, 0);
        for number in self.numbers {
            held |= u128::from(above(number, self.least)) << bits;
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

/// How far `number` is above `least`, at most the whole range of numbers.
const fn above(number: i64, least: i64) -> u64 {
    number.wrapping_sub(least) as u64
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
