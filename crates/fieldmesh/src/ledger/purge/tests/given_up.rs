//! Goal: what is shown of a loss that was given up can be erased like everything else.
//! Method: an entry that only this device had goes bad, its loss is accepted, and it is purged.

use std::fs;

use super::*;
use crate::harm::Harmed;

/// Makes the newest part of the log unreadable.
fn spoil(home: &Path) {
    let files = fs::read_dir(home.join("store").join("log")).unwrap();
    let segment = files.map(|file| file.unwrap().path()).max().unwrap();
    let mut bytes = fs::read(&segment).unwrap();
    for at in (4_236..bytes.len()).step_by(150) {
        bytes[at] ^= 1;
    }
    fs::write(segment, bytes).unwrap();
}

/// Whether anything is shown of a lost change.
fn is_shown(node: &Node) -> bool {
    let harms = node.ledger().harms().unwrap();
    harms.iter().any(|it| matches!(&it.what, Harmed::Change(lost) if lost.shown.is_some()))
}

async fn is_told(node: &Node) -> bool {
    format!("{:?}", node.doctor().await.unwrap()).contains(SECRET)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_shown_of_a_loss_that_was_given_up_is_erased_by_a_purge() {
    let crew = Crew::new().await.restart_office().await;
    let secret = entry(&crew.office, 1, SECRET).await;
    let home = crew.home("office");
    crew.office.shutdown().await.unwrap();
    spoil(&home);
    let office = open(&home).await;
    office.accept_losses().await.unwrap();
    assert!(is_told(&office).await && is_shown(&office));
    assert!(list(&office).await.is_empty());

    let dry = PurgeOptions { dry_run: true, ..asked(secret, "asked for") };
    let report = office.purge(dry).await.unwrap().remove(0);
    assert_eq!((report.id, report.collection.as_str()), (secret, "field_entry"));
    assert!(is_told(&office).await, "nothing was erased so far");
    let report = purge(&office, secret, "asked for").await.unwrap().remove(0);
    assert!(report.purged && report.erased, "{report:?}");
    assert!(!is_told(&office).await && !is_shown(&office));
    assert!(!is_in_log(&office));
    office.shutdown().await.unwrap();
    let office = open(&home).await;
    assert!(!is_told(&office).await && !is_shown(&office) && !is_in_log(&office));
    assert!(!office.doctor().await.unwrap().open);
    office.shutdown().await.unwrap();
}
