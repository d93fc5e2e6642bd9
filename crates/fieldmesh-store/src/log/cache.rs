//! The entries read last, bounded in bytes.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Entry, Place};

/// What an entry costs beside its bytes.
const OVERHEAD_BYTES: usize = 200;

/// A least-recently-used cache.
pub(crate) struct Cache {
    bytes_max: usize,
    bytes: usize,
    uses: u64,
    entries: BTreeMap<Place, (u64, Arc<Entry>)>,
    by_use: BTreeMap<u64, Place>,
}

impl Cache {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, bytes: 0, uses: 0, entries: BTreeMap::new(), by_use: BTreeMap::new() }
    }

    pub(crate) fn get(&mut self, place: Place) -> Option<Arc<Entry>> {
        let (used, entry) = self.entries.get_mut(&place)?;
        self.by_use.remove(used);
        self.uses += 1;
        *used = self.uses;
        self.by_use.insert(self.uses, place);
        Some(Arc::clone(entry))
    }

    pub(crate) fn put(&mut self, place: Place, entry: &Arc<Entry>) {
        let cost = entry.bytes.len() + OVERHEAD_BYTES;
        // One entry may not push out everything else.
        if cost > self.bytes_max / 4 || self.entries.contains_key(&place) {
            return;
        }
        self.uses += 1;
        self.by_use.insert(self.uses, place);
        self.entries.insert(place, (self.uses, Arc::clone(entry)));
        self.bytes += cost;
        while self.bytes > self.bytes_max
            && let Some((_, oldest)) = self.by_use.pop_first()
            && let Some((_, entry)) = self.entries.remove(&oldest)
        {
            self.bytes -= entry.bytes.len() + OVERHEAD_BYTES;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(length: usize) -> Arc<Entry> {
        Arc::new(Entry { kind: 0, bytes: vec![0; length] })
    }

    fn place(offset: u64) -> Place {
        Place { segment: 1, offset }
    }

    #[test]
    fn what_was_used_last_stays() {
        let mut cache = Cache::new(1200);
        for offset in 0..4 {
            cache.put(place(offset), &entry(100));
        }
        assert!(cache.get(place(0)).is_some());
        cache.put(place(4), &entry(100));
        assert!(cache.get(place(0)).is_some());
        assert!(cache.get(place(1)).is_none());
        cache.put(place(5), &entry(5000));
        assert!(cache.get(place(5)).is_none());
        assert!(cache.bytes <= 1200);
    }
}
