//! Goal: whoever was at something when the view was begun anew neither goes on with what he read of
//! the one before, nor takes the new one for whole.
//! Method: the rows of a running home are taken away in the middle of what is done.

use std::io::Read;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::api::{ChangesQuery, ImportOptions};
use crate::entry::Fact;
use crate::gateway::Access;
use crate::keep::Kept;

fn begin_anew(node: &Node) {
    node.ledger().settle().unwrap();
    node.ledger().projector.begin_anew(&node.ledger().store);
}

/// A file of which a reader gets a row at a time, and what happens before the one of a number.
struct Rows<F> {
    rows: Vec<String>,
    next: usize,
    at: usize,
    happens: F,
}

impl<F: FnMut()> Read for Rows<F> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let Some(row) = self.rows.get(self.next) else { return Ok(0) };
        if self.next == self.at {
            (self.happens)();
        }
        self.next += 1;
        buffer[..row.len()].copy_from_slice(row.as_bytes());
        Ok(row.len())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_read_while_the_view_is_begun_anew_makes_no_second_well() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("home");
    let (_, _, device) = home(&path).await;
    let node = open(&path).await;
    let mut rows = vec!["name,apiNumber,status\n".to_owned()];
    rows.extend((0..WELLS).map(|at| format!("Alder {at},42-227-{at:05},ACTIVE\n")));
    let held = std::sync::Arc::new(std::sync::Mutex::new(None));
    let (keeps, writer) = (std::sync::Arc::clone(&held), node.clone());
    let happens = move || {
        *keeps.lock().unwrap() = Some(Held::begin(device));
        begin_anew(&writer);
    };
    let file = Rows { rows, next: 0, at: WELLS / 2, happens };
    let options = ImportOptions { collection: Some("well".into()), ..ImportOptions::default() };
    let imported = node.import(file, options, |_| {}).await;
    assert!(matches!(imported, Err(Error::Remaking { .. })), "{imported:?}");
    drop(held.lock().unwrap().take());
    assert_eq!(node.list(all("well")).await.unwrap().len(), WELLS);
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_kept_in_mind_is_not_taken_for_never_said() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("home");
    home(&path).await;
    let node = open(&path).await;
    let kept = Fact::Kept(Kept { since: 24_200, ..Kept::default() });
    node.ledger().remember(kept.clone()).unwrap();
    begin_anew(&node);
    let known = node.ledger().recall(&Fact::Kept(Kept::default())).unwrap();
    assert_eq!(known, Some(kept));
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_of_one_view_from_its_beginning_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("home");
    home(&path).await;
    let node = open(&path).await;
    let turns = AtomicU32::new(0);
    let counted = node.ledger().on_one_view(|ledger| {
        ledger.settle()?;
        if turns.fetch_add(1, Ordering::Relaxed) == 0 {
            ledger.projector.begin_anew(&ledger.store);
        }
        Ok(ledger.list(&all("well"))?.len() as u64 + ledger.record_count(1)?)
    });
    assert_eq!((counted.unwrap(), turns.into_inner()), (2 * WELLS as u64, 2));
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_is_given_no_cursor_behind_records_that_it_did_not_get() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("home");
    let (_, _, device) = home(&path).await;
    let node = open(&path).await;
    let access = Access::new(&node);
    let held = Held::begin(device);
    begin_anew(&node);
    let page = || {
        access.on_one_view(|| {
            let mark = access.mark()?;
            access.feed(1, 0, mark.position, 9_999)
        })
    };
    let read: Result<_, Error> = tokio::task::block_in_place(page);
    assert!(matches!(read, Err(Error::Remaking { .. })), "{read:?}");
    let written = tokio::task::block_in_place(|| access.write().map(drop));
    assert!(matches!(written, Err(Error::Remaking { .. })), "{written:?}");
    drop(held);
    assert_eq!(tokio::task::block_in_place(page).unwrap().len(), WELLS);
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_of_the_feed_is_told_to_begin_again_once_the_view_was_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("home");
    home(&path).await;
    let node = open(&path).await;
    let read = node.changes(ChangesQuery::default()).await.unwrap();
    node.shutdown().await.unwrap();
    let after = || ChangesQuery { after: Some(read.next.clone()), ..ChangesQuery::default() };
    let node = open(&path).await;
    assert_eq!(node.changes(after()).await.unwrap().changes.len() + read.changes.len(), 2 * WELLS);
    node.shutdown().await.unwrap();
    // A verdict of later may count from the beginning in the new one.
    lose_view(&path);
    let node = open(&path).await;
    let refused = node.changes(after()).await;
    assert!(matches!(refused, Err(Error::Cursor { .. })), "{refused:?}");
    node.shutdown().await.unwrap();
}
