//! Pages that were read a moment ago.
//!
//! A page is a function of the question, of what the asker may see, and of everything that can be
//! read; it is forgotten when any of that changes.

use std::collections::BTreeMap;
use std::sync::Mutex;

use fieldmesh_dialect::outcome::Page;

use crate::page::record_size;

/// Pages that are kept.
const PAGES_MAX: usize = 64;
/// Records of a page that is kept; larger ones are read by few.
const RECORDS_MAX: usize = 2_000;
/// Bytes of the fields of all pages that are kept. As text, which is kept beside them, they take about
/// as much again.
const SIZE_MAX: usize = 16 << 20;

/// Pages by question; all of them were read at the same time.
#[derive(Default)]
pub(crate) struct Pages(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    stamp: (u64, u64),
    pages: BTreeMap<[u8; 32], Page>,
    size: usize,
}

impl Kept {
    fn clear(&mut self) {
        self.pages.clear();
        self.size = 0;
    }
}

impl Pages {
    /// The page for a question, if nothing has changed since it was read.
    pub(crate) fn find(&self, question: &[u8; 32], stamp: (u64, u64)) -> Option<Page> {
        let kept = self.0.lock().expect("no holder of this lock panics");
        kept.pages.get(question).filter(|_| kept.stamp == stamp).cloned()
    }

    /// Keeps a page that was read when everything was as `stamp` says.
    pub(crate) fn keep(&self, question: [u8; 32], stamp: (u64, u64), page: &Page) {
        let size: usize = page.items.iter().map(|item| record_size(&item.record)).sum();
        if page.items.len() > RECORDS_MAX || size > SIZE_MAX {
            return;
        }
        let mut kept = self.0.lock().expect("no holder of this lock panics");
        let has_room = kept.pages.len() < PAGES_MAX && kept.size + size <= SIZE_MAX;
        if kept.stamp != stamp || !has_room {
            kept.clear();
            kept.stamp = stamp;
        }
        // Of one that was read twice at a time the same is kept.
        if kept.pages.insert(question, page.clone()).is_none() {
            kept.size += size;
        }
    }

    /// Forgets all pages; gives their number.
    pub(crate) fn forget(&self) -> u64 {
        let mut kept = self.0.lock().expect("no holder of this lock panics");
        let count = kept.pages.len() as u64;
        kept.clear();
        count
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use fieldmesh_dialect::Name;
    use fieldmesh_dialect::outcome::{Happened, Item, Record};
    use fieldmesh_model::Moment;

    use super::*;

    /// A page of one record with so much text.
    fn page(text: usize) -> Page {
        let record = Record {
            name: Name::Number(1),
            collection: "task".to_owned(),
            fields: [("title".to_owned(), "x".repeat(text).into())].into(),
            version: 1,
            deleted: false,
            arrived_at: Moment::ZERO,
            changed_at: None,
            changed_by: None,
            created_at: None,
            created_by: None,
        };
        let items = vec![Arc::new(Item::new(Happened::Created, 1, record))];
        Page { items, place: 1, until: Moment::ZERO, more: false, at: Moment::ZERO }
    }

    #[test]
    fn pages_of_large_records_do_not_fill_the_memory() {
        let pages = Pages::default();
        let stamp = (1, 1);
        for number in 0..40 {
            pages.keep([number; 32], stamp, &page(1 << 20));
            assert!(pages.find(&[number; 32], stamp).is_some());
            let kept = (0..40).filter(|number| pages.find(&[*number; 32], stamp).is_some());
            assert!(kept.count() < 16);
        }
        pages.keep([99; 32], stamp, &page(17 << 20));
        assert!(pages.find(&[99; 32], stamp).is_none());
    }

    #[test]
    fn a_page_that_is_kept_twice_takes_its_room_once() {
        let pages = Pages::default();
        pages.keep([0; 32], (1, 1), &page(10));
        for _ in 0..40 {
            pages.keep([1; 32], (1, 1), &page(1 << 20));
        }
        assert!(pages.find(&[0; 32], (1, 1)).is_some());
        assert_eq!(pages.forget(), 2);
        for number in 0..10 {
            pages.keep([number; 32], (1, 1), &page(1 << 20));
        }
        assert_eq!(pages.forget(), 10);
    }
}
