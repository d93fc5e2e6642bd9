//! Random numbers that are the same for the same seed.

/// A sequence of numbers of one try.
#[derive(Clone)]
pub(crate) struct Numbers(u64);

impl Numbers {
    /// The sequence of one try of one round of a fault.
    pub(crate) fn of(seed: u64, fault: &str, attempt: usize) -> Self {
        let text = fault.bytes().fold(seed, |sum, byte| mixed(sum ^ u64::from(byte)));
        Self(mixed(text ^ mixed(attempt as u64)))
    }

    /// The next number.
    pub(crate) fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed(self.0)
    }

    /// A number below `limit`; 0 where that is 0.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.draw() % (limit.max(1) as u64)).unwrap()
    }

    /// Whether something happens that does so in so many of a hundred cases.
    pub(crate) fn percent(&mut self, chance: usize) -> bool {
        self.below(100) < chance
    }

    /// One of some things.
    pub(crate) fn pick<'a, T>(&mut self, among: &'a [T]) -> &'a T {
        &among[self.below(among.len())]
    }
}

/// The mixing step of SplitMix64.
fn mixed(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
