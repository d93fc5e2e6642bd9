//! What was read last, bounded in bytes.

use std::collections::BTreeMap;

/// A least-recently-used cache; values are cheap to clone.
pub(crate) struct Cache<Key, Value> {
    bytes_max: usize,
    bytes: usize,
    uses: u64,
    values: BTreeMap<Key, Cached<Value>>,
    by_use: BTreeMap<u64, Key>,
}

struct Cached<Value> {
    used: u64,
    bytes: usize,
    value: Value,
}

impl<Key: Ord + Copy, Value: Clone> Cache<Key, Value> {
    pub(crate) fn new(bytes_max: usize) -> Self {
        let (values, by_use) = (BTreeMap::new(), BTreeMap::new());
        Self { bytes_max, bytes: 0, uses: 0, values, by_use }
    }

    pub(crate) fn get(&mut self, key: Key) -> Option<Value> {
        let cached = self.values.get_mut(&key)?;
        self.by_use.remove(&cached.used);
        self.uses += 1;
        cached.used = self.uses;
        self.by_use.insert(self.uses, key);
        Some(cached.value.clone())
    }

    /// Keeps a value of this many bytes unless it alone would push out most of the others.
    pub(crate) fn put(&mut self, key: Key, value: Value, bytes: usize) {
        if bytes <= self.bytes_max / 4 {
            self.keep(key, value, bytes);
        }
    }

    /// Keeps a value, however large, and of the others what still fits.
    pub(crate) fn keep(&mut self, key: Key, value: Value, bytes: usize) {
        self.remove(key);
        self.uses += 1;
        self.by_use.insert(self.uses, key);
        self.values.insert(key, Cached { used: self.uses, bytes, value });
        self.bytes += bytes;
        while self.bytes > self.bytes_max
            && self.by_use.len() > 1
            && let Some((_, oldest)) = self.by_use.pop_first()
            && let Some(cached) = self.values.remove(&oldest)
        {
            self.bytes -= cached.bytes;
        }
    }

    pub(crate) fn remove(&mut self, key: Key) {
        if let Some(cached) = self.values.remove(&key) {
            self.by_use.remove(&cached.used);
            self.bytes -= cached.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_last_stays() {
        let mut cache = Cache::new(1200);
        for key in 0..4 {
            cache.put(key, key, 300);
        }
        assert!(cache.get(0).is_some());
        cache.put(4, 4, 300);
        assert_eq!(cache.get(0), Some(0));
        assert_eq!(cache.get(1), None);
        cache.put(5, 5, 5000);
        assert_eq!(cache.get(5), None);
        assert!(cache.bytes <= 1200);
        cache.keep(6, 6, 5000);
        assert_eq!((cache.get(6), cache.get(4), cache.bytes), (Some(6), None, 5000));
        cache.remove(6);
        assert_eq!((cache.bytes, cache.by_use.len()), (0, 0));
    }
}
