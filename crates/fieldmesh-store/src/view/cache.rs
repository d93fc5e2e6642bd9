//! The pages read last, decoded, bounded in bytes.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use super::page::Page;

/// The memory that decoded pages may take.
pub(crate) const PAGE_CACHE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// A page, and where the next one begins: nothing if it is the last.
#[derive(Debug, Clone)]
pub(crate) struct Cached {
    pub(crate) page: Arc<Page>,
    pub(crate) end: Option<Vec<u8>>,
}

/// Two halves: what is used stays in the young one; when that is full, it becomes the old one and
/// what only the old one had goes.
#[derive(Debug, Default)]
pub(crate) struct PageCache {
    young: BTreeMap<Vec<u8>, Cached>,
    young_bytes: usize,
    old: BTreeMap<Vec<u8>, Cached>,
}

impl PageCache {
    /// The last page that begins in front of `end`, with its key, if it is known to be that.
    pub(crate) fn last_below(&mut self, end: &Bound<Vec<u8>>) -> Option<(Vec<u8>, Cached)> {
        if let Some((key, cached)) = last_below(&self.young, end) {
            return Some((key.clone(), cached.clone()));
        }
        let key = last_below(&self.old, end)?.0.clone();
        let cached = self.old.remove(&key)?;
        self.put(key.clone(), cached.clone());
        Some((key, cached))
    }

    pub(crate) fn put(&mut self, key: Vec<u8>, cached: Cached) {
        self.young_bytes += cached.page.memory_bytes();
        if let Some(before) = self.young.insert(key, cached) {
            self.young_bytes -= before.page.memory_bytes();
        }
        if self.young_bytes > PAGE_CACHE_BYTES_MAX / 2 {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
    }

    /// Forgets a page that is written anew. Of the page in front of it nothing has to be forgotten:
    /// at the most it reaches further than is known here.
    pub(crate) fn remove(&mut self, key: &[u8]) {
        self.old.remove(key);
        if let Some(cached) = self.young.remove(key) {
            self.young_bytes -= cached.page.memory_bytes();
        }
    }
}

fn last_below<'a>(
    pages: &'a BTreeMap<Vec<u8>, Cached>,
    end: &Bound<Vec<u8>>,
) -> Option<(&'a Vec<u8>, &'a Cached)> {
    let below = (Bound::Unbounded, end.as_ref().map(Vec::as_slice));
    let found = pages.range::<[u8], _>(below).next_back()?;
    let is_last = found.1.end.as_ref().is_none_or(|next| match end {
        Bound::Included(key) => key < next,
        Bound::Excluded(key) => key <= next,
        Bound::Unbounded => false,
    });
    is_last.then_some(found)
}

#[cfg(test)]
mod tests {
    use super::super::page::{Cut, pack, unpack};
    use super::*;

    #[test]
    fn pages_in_use_stay_and_memory_is_bounded() {
        let content = vec![0; 2_000];
        let rows: Vec<(Vec<u8>, &[u8])> =
            (0..15_u8).map(|number| (vec![number], &content[..])).collect();
        let rows: Vec<(&[u8], &[u8])> =
            rows.iter().map(|(key, value)| (&key[..], *value)).collect();
        let packed = pack(&rows, Cut::Full).unwrap();
        let page = Arc::new(unpack(&packed[0].bytes).unwrap());
        let cached =
            |end: Option<&[u8]>| Cached { page: Arc::clone(&page), end: end.map(<[u8]>::to_vec) };
        let used = Bound::Included(b"used".to_vec());
        let mut cache = PageCache::default();
        cache.put(b"used".to_vec(), cached(None));
        for number in 0..2_000_u32 {
            cache.put(number.to_be_bytes().to_vec(), cached(None));
            assert!(cache.last_below(&used).is_some());
        }
        let kept = cache.young.len() + cache.old.len();
        assert!(kept * page.memory_bytes() <= PAGE_CACHE_BYTES_MAX + page.memory_bytes());
        assert!(kept > 100);
        cache.remove(b"used");
        assert!(cache.last_below(&used).is_none_or(|(key, _)| key != b"used"));
    }

    #[test]
    fn a_page_answers_only_for_keys_in_front_of_the_next_one() {
        let page = Arc::<Page>::default();
        let mut cache = PageCache::default();
        cache.put(b"b".to_vec(), Cached { page: Arc::clone(&page), end: Some(b"d".to_vec()) });
        cache.put(b"m".to_vec(), Cached { page, end: None });
        let mut found =
            |end: Bound<&[u8]>| cache.last_below(&end.map(<[u8]>::to_vec)).map(|it| it.0);
        assert_eq!(found(Bound::Included(b"a")), None);
        assert_eq!(found(Bound::Included(b"b")), Some(b"b".to_vec()));
        assert_eq!(found(Bound::Included(b"c")), Some(b"b".to_vec()));
        assert_eq!(found(Bound::Included(b"d")), None);
        assert_eq!(found(Bound::Excluded(b"d")), Some(b"b".to_vec()));
        assert_eq!(found(Bound::Excluded(b"b")), None);
        assert_eq!(found(Bound::Excluded(b"e")), None);
        assert_eq!(found(Bound::Included(b"z")), Some(b"m".to_vec()));
    }
}
