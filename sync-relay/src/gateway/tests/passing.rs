//! What is counted of requests, so that the share of refusals is that which apps meet.

use fieldmesh_http::{Rate, Settings};
use fieldmesh_model::Role;
use serde_json::json;

use super::client::Ask;
use super::scene::{PANIC, Scene, entry};

const ANN: &str = "ann@example.org";
const EVE: &str = "eve@example.org";

/// What was counted since this was asked last: of which device, and whether it went well.
fn told(scene: &Scene) -> Vec<(String, bool)> {
    let told = std::mem::take(&mut *scene.told.lock().unwrap());
    told.into_iter().map(|(device, passed)| (device, passed.is_success)).collect()
}

fn one(device: &str, is_success: bool) -> Vec<(String, bool)> {
    vec![(device.to_owned(), is_success)]
}

#[tokio::test]
async fn what_is_refused_counts_as_an_attempt_too() {
    let settings = Settings { sync_rate: Rate::a_minute(9), ..Settings::default() };
    let settings = Settings { address_rate: Rate::a_second(10_000), ..settings };
    let scene = Scene::with(settings).await;
    let token = scene.token(0, ANN, Role::Operator).await;
    let push = json!({ "deviceId": "T1", "entries": [entry(1)] });
    let send = async |ask: Ask| ask.send(scene.address).await.status;
    let by = |ask: Ask| ask.token(&token).with("x-device-id", "T2");

    assert_eq!(send(Ask::post("/sync/push", &push).token(&token)).await, 200);
    assert_eq!(told(&scene), one("T1", true));
    let wrong = json!({ "deviceId": "T1", "entries": 7 });
    assert_eq!(send(Ask::post("/sync/push", &wrong).token(&token)).await, 400);
    assert_eq!(told(&scene), one("T1", false));
    assert_eq!(send(by(Ask::post("/sync/push", &push)).body(b"{".to_vec())).await, 400);
    assert_eq!(told(&scene), one("T2", false));
    let huge = vec![b' '; (16 << 20) + 1];
    assert_eq!(send(by(Ask::post("/sync/push", &push)).body(huge)).await, 413);
    assert_eq!(told(&scene), one("T2", false));
    let defect = json!({ "deviceId": PANIC, "entries": [entry(1)] });
    assert_eq!(send(Ask::post("/sync/push", &defect).token(&token)).await, 500);
    assert_eq!(told(&scene), one(PANIC, false));
    assert_eq!(send(Ask::get("/sync/pull?deviceId=T3").token(&token)).await, 200);
    assert_eq!(told(&scene), one("T3", true));
    // Asking how devices fared is no sync.
    assert_eq!(send(by(Ask::get("/sync/analytics"))).await, 403);
    assert_eq!(told(&scene), []);

    let viewer = scene.token(0, EVE, Role::Practitioner).await;
    let foreign = Ask::post("/sync/push", &push).token(&viewer);
    assert_eq!(send(foreign).await, 403);
    assert_eq!(told(&scene), one("T1", false));
    for _ in 7..9 {
        assert_eq!(send(by(Ask::get("/sync/pull"))).await, 200);
        assert_eq!(told(&scene), one("T2", true));
    }
    assert_eq!(send(by(Ask::get("/sync/pull"))).await, 429);
    assert_eq!(told(&scene), one("T2", false));
}

#[tokio::test]
async fn whom_nobody_proves_counts_for_no_device() {
    let scene = Scene::new().await;
    let token = scene.token(0, ANN, Role::Operator).await;
    let pull = || Ask::get("/sync/pull?deviceId=T1").with("x-device-id", "T1");
    let foreign = pull().token(&token).with("x-tenant-subdomain", "other");
    for (ask, status) in [(pull(), 401), (pull().token("none"), 401), (foreign, 403)] {
        assert_eq!(ask.send(scene.address).await.status, status);
        assert_eq!(told(&scene), []);
    }
}
