//! Where a record is, as receipts prove it.

use fieldmesh::Node;
use fieldmesh::api::{ListQuery, Safety};
use fieldmesh_model::Role;

use super::{Crew, listen, reopen, sync, well};

async fn safety(node: &Node) -> Safety {
    let shown = node.show("Alder 1").await.unwrap().safe.unwrap();
    let list = ListQuery { collection: "well".into(), ..ListQuery::default() };
    let listed = node.list(list).await.unwrap();
    assert_eq!(listed[0].safe, Some(shown));
    let query = ListQuery { collection: "well".into(), not_safe: true, ..ListQuery::default() };
    let devices = node.devices().await.unwrap();
    let has_relay = devices.iter().any(|device| device.role == Role::Relay);
    let enough = if has_relay { Safety::Relay } else { Safety::Devices(1) };
    assert_eq!(node.list(query).await.unwrap().len(), usize::from(shown < enough));
    let places = node.status().await.unwrap().places;
    let expected = match shown {
        Safety::Here => (1, 0, 0),
        Safety::Devices(_) => (0, 1, 0),
        Safety::Relay => (0, 0, 1),
    };
    assert_eq!((places.here, places.on_devices, places.safe), expected);
    shown
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_is_called_safe_when_a_relay_has_signed_for_it_and_not_before() {
    let crew = Crew::new().await;
    assert_eq!(well(&crew.lead, "Alder 1").await.safe, Some(Safety::Here));
    assert_eq!(safety(&crew.lead).await, Safety::Here);

    let tablet = crew.device("tablet", Role::Operator).await;
    let address = listen(&tablet).await;
    sync(&crew.lead, &address).await;
    assert_eq!(safety(&crew.lead).await, Safety::Devices(1));

    let relay = crew.device("relay", Role::Relay).await;
    let address = listen(&relay).await;
    sync(&crew.lead, &address).await;
    assert_eq!(safety(&crew.lead).await, Safety::Relay);
    // Who heard of it from the relay knows as much.
    sync(&tablet, &address).await;
    assert_eq!(safety(&tablet).await, Safety::Relay);

    // An edit that is only here takes the word back until it has travelled, too.
    let edits = fieldmesh::api::Edits {
        assignments: vec!["lease=North".into()],
        ..fieldmesh::api::Edits::default()
    };
    crew.lead.edit("Alder 1", edits).await.unwrap();
    assert_eq!(safety(&crew.lead).await, Safety::Here);
    sync(&crew.lead, &address).await;
    assert_eq!(safety(&crew.lead).await, Safety::Relay);

    tablet.shutdown().await.unwrap();
    let tablet = reopen(&crew.home("tablet")).await.unwrap();
    assert_eq!(safety(&tablet).await, Safety::Relay, "receipts outlive a restart");
    tablet.shutdown().await.unwrap();
    relay.shutdown().await.unwrap();
}

async fn pending(node: &Node) -> u64 {
    // It looks at what there is before it says that nothing runs.
    drop(node.sync_now().await);
    node.connectivity().pending
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_relay_has_signed_for_is_counted_also_after_others_have_it() {
    let crew = Crew::new().await;
    for name in ["Alder 1", "Alder 2", "Alder 3"] {
        well(&crew.lead, name).await;
    }
    assert_eq!(pending(&crew.lead).await, 3);
    let tablet = crew.device("tablet", Role::Admin).await;
    sync(&tablet, &crew.address).await;
    well(&tablet, "Cedar 1").await;
    sync(&tablet, &crew.address).await;
    assert_eq!((pending(&crew.lead).await, pending(&tablet).await), (3, 1));

    let relay = crew.device("relay", Role::Relay).await;
    let address = listen(&relay).await;
    sync(&crew.lead, &address).await;
    assert_eq!(pending(&crew.lead).await, 0);
    // Of what another one brought there, its author knows once somebody passes the receipt on.
    sync(&tablet, &address).await;
    assert_eq!(pending(&tablet).await, 0);
    well(&tablet, "Cedar 2").await;
    well(&tablet, "Cedar 3").await;
    assert_eq!(pending(&tablet).await, 2);
    tablet.shutdown().await.unwrap();
    relay.shutdown().await.unwrap();
}
