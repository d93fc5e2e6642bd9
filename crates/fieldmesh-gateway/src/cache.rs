//! Pages that were read a moment ago.
//!
//! A page is a function of the question, of what the asker may see, and of everything that can be
//! read; it is forgotten when any of that changes.

use std::collections::BTreeMap;
use std::sync::Mutex;

use fieldmesh_dialect::outcome::Page;

/// Pages that are kept.
const PAGES_MAX: usize = 64;
/// Records of a page that is kept; larger ones are read by few.
const RECORDS_MAX: usize = 2_000;

/// Pages by question; all of them were read at the same time.
#[derive(Default)]
pub(crate) struct Pages(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    stamp: (u64, u64),
    pages: BTreeMap<[u8; 32], Page>,
}

impl Pages {
    /// The page for a question, if nothing has changed since it was read.
    pub(crate) fn find(&self, question: &[u8; 32], stamp: (u64, u64)) -> Option<Page> {
        let kept = self.0.lock().expect("no holder of this lock panics");
        kept.pages.get(question).filter(|_| kept.stamp == stamp).cloned()
    }

    /// Keeps a page that was read when everything was as `stamp` says.
    pub(crate) fn keep(&self, question: [u8; 32], stamp: (u64, u64), page: &Page) {
        if page.items.len() > RECORDS_MAX {
            return;
        }
        let mut kept = self.0.lock().expect("no holder of this lock panics");
        if kept.stamp != stamp || kept.pages.len() >= PAGES_MAX {
            kept.pages.clear();
            kept.stamp = stamp;
        }
        kept.pages.insert(question, page.clone());
    }

    /// Forgets all pages; gives their number.
    pub(crate) fn forget(&self) -> u64 {
        let mut kept = self.0.lock().expect("no holder of this lock panics");
        std::mem::take(&mut kept.pages).len() as u64
    }
}
