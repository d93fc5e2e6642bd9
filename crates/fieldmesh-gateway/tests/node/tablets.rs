//! Tablets that several people use under one name, and what becomes of one that is taken off.

use fieldmesh::gateway::Access;
use fieldmesh_dialect::{Caller, Method};
use serde_json::{Value as Json, json};

use crate::Office;

const DEVICES: &str = "/api/sync/devices";
const PULL: &str = "/api/sync/pull?entityTypes=pets";

/// Registers the tablet, as its app would or with more.
async fn register(office: &Office, caller: &Caller, more: Json) -> u16 {
    let mut device = json!({ "deviceId": "T" });
    device.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    office.ask_as(caller, Method::Post, DEVICES, &device).await.0
}

async fn unregister(office: &Office, caller: &Caller, target: &str) -> u16 {
    let target = format!("{DEVICES}/{target}");
    office.ask_as(caller, Method::Delete, &target, &Json::Null).await.0
}

/// Whether somebody may sync with the tablet.
async fn syncs(office: &Office, caller: &Caller) -> bool {
    let bound = Caller { device: Some("T".to_owned()), ..caller.clone() };
    let (pulled, _) = office.ask_as(&bound, Method::Get, PULL, &Json::Null).await;
    let push = json!({ "clientTimestamp": 1, "operations": [] });
    let (pushed, _) = office.ask_as(&bound, Method::Post, "/api/sync/push", &push).await;
    assert_eq!(pulled, pushed);
    pulled == 200
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_a_shared_tablet_off_takes_it_from_himself_alone_and_can_have_it_again() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let [ann, bob, eve] = ["ann", "bob", "eve"].map(|user| office.worker(user));
    assert_eq!(register(&office, &ann, json!({ "deviceName": "Yard" })).await, 201);
    assert_eq!(register(&office, &bob, json!({})).await, 201);
    // Nobody takes it from others, whoever knows its name.
    assert_eq!(unregister(&office, &eve, "T").await, 403);
    assert_eq!(unregister(&office, &eve, "T?userId=ann").await, 403);
    assert_eq!(unregister(&office, &eve, "none").await, 404);
    for _ in 0..2 {
        assert_eq!(unregister(&office, &bob, "T").await, 204);
        assert_eq!((syncs(&office, &ann).await, syncs(&office, &bob).await), (true, false));
        assert!(syncs(&office, &eve).await);
    }
    // Others use it still.
    assert_eq!(office.gateway.waiting().await.unwrap().unregistered.len(), 0);
    // With the tablet itself he does not put it back.
    let with_it = Caller { device: Some("T".to_owned()), ..bob.clone() };
    assert_eq!(register(&office, &with_it, json!({})).await, 403);
    assert_eq!(register(&office, &bob, json!({})).await, 201);
    assert!(syncs(&office, &bob).await);
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tablet_that_an_admin_takes_off_stays_away_until_an_admin_allows_it() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    let office = Office::create(&home).await;
    let [ann, bob] = ["ann", "bob"].map(|user| office.worker(user));
    let chief = Caller { user: "chief".to_owned(), ..office.caller(fieldmesh_model::Role::Admin) };
    for user in [&ann, &bob] {
        assert_eq!(register(&office, user, json!({})).await, 201);
    }
    assert_eq!(unregister(&office, &chief, "T?userId=bob").await, 204);
    assert_eq!((syncs(&office, &ann).await, syncs(&office, &bob).await), (true, false));
    // Whoever put it away himself does not bring it back either.
    assert_eq!(unregister(&office, &ann, "T").await, 204);
    assert_eq!(unregister(&office, &chief, "T").await, 204);
    assert_eq!(unregister(&office, &chief, "T").await, 204);
    office.close().await;
    let office = Office::open(&home).await;
    for user in [&ann, &bob] {
        assert!(!syncs(&office, user).await);
        assert_eq!(register(&office, user, json!({})).await, 403);
    }
    assert_eq!(office.gateway.waiting().await.unwrap().unregistered, ["T".to_owned()].into());
    let of_ann = json!({ "userId": "ann" });
    assert_eq!(register(&office, &bob, of_ann.clone()).await, 403);
    assert_eq!(register(&office, &chief, of_ann).await, 201);
    assert_eq!((syncs(&office, &ann).await, syncs(&office, &bob).await), (true, false));
    office.close().await;
}

/// Notes a tablet as the first gateways did: one of its name in the tenant, by who used it first.
fn note_as_before(access: &Access, user: &str, active: bool) {
    let keyed = |kind: &[u8], part: &[u8]| {
        let length = (part.len() as u64).to_be_bytes();
        [kind, &access.hidden(&[kind, &length, part])].concat()
    };
    let none: Option<String> = None;
    let row = ("T", user, &none, &none, &none, &none, None::<fieldmesh_model::Moment>, active);
    let mut write = access.write().unwrap();
    write.note(keyed(b"device/", b"T"), Some(postcard::to_allocvec(&row).unwrap()));
    let of = [&keyed(b"device-of/", user.as_bytes())[..], b"/", &access.hidden(&[b"T"])].concat();
    write.note(of, Some(postcard::to_allocvec("T").unwrap()));
    write.finish().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tablet_that_was_taken_off_before_an_update_locks_out_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let access = Access::new(&office.node);
    tokio::task::spawn_blocking(move || note_as_before(&access, "ann", false)).await.unwrap();
    let [ann, bob] = ["ann", "bob"].map(|user| office.worker(user));
    assert_eq!((syncs(&office, &ann).await, syncs(&office, &bob).await), (false, true));
    let listed = office.ask_as(&ann, Method::Get, DEVICES, &Json::Null).await.1;
    assert_eq!(listed["devices"][0]["isActive"], false, "{listed}");
    // Nobody noted whether it was she who did.
    assert_eq!(register(&office, &ann, json!({})).await, 403);
    assert_eq!(
        register(&office, &office.caller(fieldmesh_model::Role::Admin), json!({})).await,
        201
    );
    assert!(syncs(&office, &ann).await);
    let devices = office.gateway.app_devices().await.unwrap();
    let told = devices.iter().map(|it| (it.user.as_str(), it.device.as_str(), it.active));
    assert_eq!(told.collect::<Vec<_>>(), [("ann", "T", true), ("bob", "T", true)]);
    office.close().await;
}
