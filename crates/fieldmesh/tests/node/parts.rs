//! Exchanging a part of the tenant's records.

use fieldmesh::api::{Class, SyncOptions};
use fieldmesh::{Node, filter};
use fieldmesh_model::Role;

use super::{Crew, count, entry, sync, well};

async fn reopen_part(crew: &Crew, name: &str, only: &[&str]) -> Node {
    let only: Vec<String> = only.iter().map(|text| (*text).to_owned()).collect();
    let builder = Node::builder(crew.home(name)).passphrase("two");
    builder.only(filter::parse(&only).unwrap()).open().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_that_wants_only_the_wells_gets_them_whole_and_says_what_it_does_not_send() {
    let crew = Crew::new().await;
    well(&crew.lead, "Alder 1").await;
    entry(&crew.lead, "Alder 1", "2026-03-01T08:00:00Z").await;
    let phone = crew.device("phone", Role::Operator).await;
    phone.shutdown().await.unwrap();
    let phone = reopen_part(&crew, "phone", &["well"]).await;
    sync(&phone, &crew.address).await;
    assert_eq!((count(&phone, "well").await, count(&phone, "field_entry").await), (1, 0));

    entry(&phone, "Alder 1", "2026-03-01T09:00:00Z").await;
    sync(&phone, &crew.address).await;
    assert_eq!(count(&crew.lead, "field_entry").await, 1, "it lies outside of what is exchanged");
    let status = phone.status().await.unwrap();
    assert_eq!((status.only, status.not_sent), (vec!["well".to_owned()], 1));

    // Without the filter everything travels after all.
    phone.shutdown().await.unwrap();
    let phone = reopen_part(&crew, "phone", &[]).await;
    sync(&phone, &crew.address).await;
    assert_eq!(
        (count(&phone, "field_entry").await, count(&crew.lead, "field_entry").await),
        (2, 2)
    );
    assert_eq!(phone.status().await.unwrap().not_sent, 0);
    phone.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_of_another_part_than_the_running_one_is_refused_rather_than_ignored() {
    let crew = Crew::new().await;
    let options = SyncOptions { only: vec!["well".into()], ..SyncOptions::default() };
    let refused = crew.lead.sync(options, |_| {}).await.unwrap_err();
    assert_eq!(refused.problem().class, Class::Usage);
    assert!(refused.to_string().contains("everything"), "{refused}");
}
