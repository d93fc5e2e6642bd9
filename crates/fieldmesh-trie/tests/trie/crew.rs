//! Made-up sets of keys, shaped like a year of a crew's work, from a seed.

use fieldmesh_trie::{Form, Key, Trie, WireKey};

/// The secret of the connection in these tests.
pub(crate) const CHANNEL: WireKey = WireKey::new([7; 32], Form::Summed);

/// 2025-01-01, in milliseconds.
const START: u64 = 1_735_689_600_000;
const MONTH: u64 = 30 * 86_400_000;

/// A stream of numbers from a seed.
pub(crate) struct Seeded(pub(crate) u64);

impl Seeded {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub(crate) fn id(&mut self) -> [u8; 32] {
        let mut id = [0; 32];
        for part in id.chunks_mut(8) {
            part.copy_from_slice(&self.next().to_be_bytes());
        }
        id
    }
}

/// A year of batches of one collection, in the order in which they were made.
pub(crate) struct Year {
    pub(crate) seeded: Seeded,
    pub(crate) partitions: usize,
    now: u64,
}

impl Year {
    pub(crate) fn new(seed: u64, partitions: usize) -> Self {
        Self { seeded: Seeded(seed), partitions, now: START }
    }

    /// `count` batches spread over the whole year.
    pub(crate) fn work(&mut self, count: usize) -> Vec<Key> {
        let pause = 12 * MONTH / count as u64;
        (0..count)
            .map(|_| {
                self.now += 1 + self.seeded.next() % (2 * pause - 1);
                let created = self.now;
                self.key(created)
            })
            .collect()
    }

    /// `count` new batches, a few minutes apart.
    pub(crate) fn new_entries(&mut self, count: usize) -> Vec<Key> {
        (0..count)
            .map(|_| {
                self.now += 1 + self.seeded.next() % 300_000;
                self.key(self.now)
            })
            .collect()
    }

    /// `count` batches of today that change records of any month of the year.
    pub(crate) fn edits(&mut self, count: usize) -> Vec<Key> {
        (0..count)
            .map(|_| {
                self.now += 1 + self.seeded.next() % 300_000;
                let created = START + self.seeded.next() % (12 * MONTH);
                self.key(created)
            })
            .collect()
    }

    fn key(&mut self, created: u64) -> Key {
        let month: u64 = 24_300 + (created - START) / MONTH;
        let [.., partition] = self.seeded.below(self.partitions).to_be_bytes();
        let [.., m0, m1, m2] = month.to_be_bytes();
        Key::new([0, 3, 0, 0, partition, m0, m1, m2], self.now, self.seeded.id())
    }
}

/// The trie of `shared` first and `own` afterwards, hashes up to date.
pub(crate) fn trie(shared: &[Key], own: &[Key]) -> Trie {
    let mut trie: Trie = shared.iter().chain(own).copied().collect();
    trie.rehash();
    trie
}
