//! The pages read last, decoded, bounded in bytes.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::page::Page;

/// The memory that decoded pages may take.
pub(crate) const PAGE_CACHE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Two halves: what is used stays in the young one; when that is full, it becomes the old one and
/// what only the old one had goes.
#[derive(Debug, Default)]
pub(crate) struct PageCache {
    young: BTreeMap<Vec<u8>, Arc<Page>>,
    young_bytes: usize,
    old: BTreeMap<Vec<u8>, Arc<Page>>,
}

impl PageCache {
    pub(crate) fn get(&mut self, key: &[u8]) -> Option<Arc<Page>> {
        if let Some(page) = self.young.get(key) {
            return Some(Arc::clone(page));
        }
        let page = self.old.remove(key)?;
        self.put(key.to_vec(), &page);
        Some(page)
    }

    pub(crate) fn put(&mut self, key: Vec<u8>, page: &Arc<Page>) {
        self.young_bytes += page.memory_bytes();
        if let Some(before) = self.young.insert(key, Arc::clone(page)) {
            self.young_bytes -= before.memory_bytes();
        }
        if self.young_bytes > PAGE_CACHE_BYTES_MAX / 2 {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
    }

    /// Forgets a page that is written anew.
    pub(crate) fn remove(&mut self, key: &[u8]) {
        self.old.remove(key);
        if let Some(page) = self.young.remove(key) {
            self.young_bytes -= page.memory_bytes();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::page::{Cut, Packer, Unpacker};
    use super::*;

    #[test]
    fn pages_in_use_stay_and_memory_is_bounded() {
        let content = vec![0; 2_000];
        let rows: Vec<(Vec<u8>, &[u8])> =
            (0..15_u8).map(|number| (vec![number], &content[..])).collect();
        let rows: Vec<(&[u8], &[u8])> =
            rows.iter().map(|(key, value)| (&key[..], *value)).collect();
        let packed = Packer::new().unwrap().pack(&rows, Cut::Full).unwrap();
        let page = Arc::new(Unpacker::new().unwrap().unpack(&packed[0].bytes).unwrap());
        let mut cache = PageCache::default();
        cache.put(b"used".to_vec(), &page);
        for number in 0..2_000_u32 {
            cache.put(number.to_be_bytes().to_vec(), &page);
            assert!(cache.get(b"used").is_some());
        }
        let kept = cache.young.len() + cache.old.len();
        assert!(kept * page.memory_bytes() <= PAGE_CACHE_BYTES_MAX + page.memory_bytes());
        assert!(kept > 100);
        cache.remove(b"used");
        assert!(cache.get(b"used").is_none());
    }
}
