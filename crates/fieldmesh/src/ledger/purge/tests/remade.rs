//! Goal: nobody is told that a record is erased while a view that is made anew may show it.
//! Method: a view is made anew as far as a record; then a purge of it arrives, and only then the
//! rest is made.

use super::*;
use crate::making::{Hold, hold, release};

/// Has a device make its records again, also where the test fails.
struct Held(fieldmesh_model::DeviceId);

impl Drop for Held {
    fn drop(&mut self) {
        release(self.0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_that_arrives_while_records_are_made_is_not_said_to_be_done_before_the_last() {
    let crew = Crew::new().await;
    let van = crew.device("van", Role::Operator).await;
    let device = van.ledger().device();
    let secret = entry(&van, 1, SECRET).await;
    van.ledger().seal_all().unwrap();
    let middle = van.ledger().store.end();
    // More than a view may lag behind before it is brought up in two passes.
    for minute in 2..40 {
        let id = entry(&van, minute, "all quiet").await.to_string();
        let assignments = vec!["oilVolume=11".into()];
        van.edit(&id, Edits { assignments, ..Edits::default() }).await.unwrap();
    }
    sync(&van, &crew.address).await;
    van.shutdown().await.unwrap();
    std::fs::remove_dir_all(crew.home("van").join("store").join("view")).unwrap();
    hold(device, Hold::At(middle));
    let held = Held(device);
    let van = open(&crew.home("van")).await;
    van.ledger().projector.wait(middle.unwrap()).unwrap();
    let collection = "field_entry".into();
    let partial = ListQuery { collection, partial: true, ..ListQuery::default() };
    assert_eq!(van.page(partial.clone()).await.unwrap().records.len(), 1);

    purge(&crew.office, secret, "asked for").await.unwrap();
    let report = van
        .sync(
            SyncOptions { with: vec![crew.address.clone()], mdns: false, ..SyncOptions::default() },
            |_| {},
        )
        .await
        .unwrap();
    // What is counted of a part says so.
    assert!(report.remaking.is_some(), "{report:?}");
    assert!(van.ledger().policy().is_purged(&secret));
    let swept = van.ledger().sweep();
    assert!(matches!(swept, Err(Error::Remaking { .. })), "{swept:?}");
    assert!(van.ledger().is_unswept().unwrap());
    assert_eq!(van.page(partial).await.unwrap().records.len(), 0);
    drop(held);
    assert_gone(&van, secret);
    van.shutdown().await.unwrap();
    crew.office.shutdown().await.unwrap();
}
