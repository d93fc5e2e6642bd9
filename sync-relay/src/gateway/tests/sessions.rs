//! Logins, tokens and what ends them.

use fieldmesh_model::Role;
use serde_json::{Value as Json, json};

use super::client::{Answer, Ask};
use super::scene::{PASSWORD, Scene, WELL, entry, tenant};
use crate::accounts::{self, Password, RefreshToken, Sessions};

const ANN: &str = "ann@example.org";

async fn pull(scene: &Scene, token: &str) -> Answer {
    Ask::get("/sync/pull").token(token).send(scene.address).await
}

async fn refresh(scene: &Scene, token: &Json, device: Option<&str>) -> Answer {
    let body = match device {
        Some(device) => json!({ "refreshToken": token, "deviceId": device }),
        None => json!({ "refreshToken": token }),
    };
    Ask::post("/auth/refresh", &body).send(scene.address).await
}

#[tokio::test]
async fn a_person_logs_in_pulls_wells_and_pushes_entries() {
    let scene = Scene::new().await;
    scene.add(0, ANN, Role::Operator);
    let session = scene.log_in(0, "Ann@Example.org").await;
    assert_eq!(session["expiresIn"], 3_600);
    assert_eq!(session["user"]["role"], "OPERATOR");
    assert_eq!(session["tenantId"], tenant(0).to_string());
    let token = session["accessToken"].as_str().unwrap();
    let pulled = pull(&scene, token).await;
    assert_eq!(pulled.status, 200);
    assert_eq!(pulled.json()["wells"][0]["id"], WELL);
    assert_eq!(pulled.headers["x-content-type-options"], "nosniff");
    assert!(pulled.headers.contains_key("x-request-id"));
    let push = json!({ "deviceId": "T1", "entries": [entry(1), entry(2)] });
    let pushed = Ask::post("/sync/push", &push).token(token).send(scene.address).await;
    assert_eq!(pushed.json()["succeeded"], 2);
}

#[tokio::test]
async fn nobody_learns_whether_an_address_or_a_password_was_wrong() {
    let scene = Scene::new().await;
    scene.add(0, ANN, Role::Operator);
    let mut bodies = Vec::new();
    for (email, password) in [(ANN, "wrong one"), ("nobody@example.org", PASSWORD)] {
        let body = json!({ "email": email, "password": password });
        let ask = Ask::post("/auth/login", &body).with("x-tenant-subdomain", "acme");
        let answer = ask.send(scene.address).await;
        assert_eq!(answer.status, 401);
        bodies.push(answer.body);
    }
    assert_eq!(bodies[0], bodies[1]);
}

#[tokio::test]
async fn a_lost_answer_costs_no_session_and_a_copied_token_ends_it() {
    let scene = Scene::new().await;
    scene.add(0, ANN, Role::Operator);
    let first = scene.log_in(0, ANN).await["refreshToken"].clone();
    let second = refresh(&scene, &first, None).await.json();
    // The answer got lost: the same token gives the same successor.
    let again = refresh(&scene, &first, None).await.json();
    assert_eq!(second["refreshToken"], again["refreshToken"]);
    let third = refresh(&scene, &second["refreshToken"], None).await.json();
    let token = third["accessToken"].as_str().unwrap();
    assert_eq!(pull(&scene, token).await.status, 200);
    let reused = || scene.accounts.reused(tenant(0));
    assert_eq!(reused(), 0);
    // The first was copied by somebody, who comes too late.
    assert_eq!(refresh(&scene, &first, None).await.status, 401);
    assert_eq!(reused(), 1);
    assert_eq!(refresh(&scene, &third["refreshToken"], None).await.status, 401);
    assert_eq!(pull(&scene, token).await.status, 401);
    // Other sessions of the person go on, and a new one can be opened.
    scene.log_in(0, ANN).await;
}

#[tokio::test]
async fn a_session_outlives_a_restart_of_the_relay() {
    let scene = Scene::new().await;
    let token = scene.token(0, ANN, Role::Operator).await;
    let key = scene.folder.path().join("relay.key");
    let anew = accounts::Accounts::new(scene.folder.path().join("accounts"), key);
    let (id, short) = (tenant(0).to_string(), tenant(0).short());
    let names = accounts::Names { tenant: &id, short: &short };
    let book = anew.of(tenant(0)).unwrap();
    assert!(book.prove(&names, &token, accounts::now()).is_some());
}

#[tokio::test]
async fn a_session_belongs_to_the_device_that_was_named() {
    let scene = Scene::new().await;
    scene.add(0, ANN, Role::Operator);
    let first = scene.log_in(0, ANN).await["refreshToken"].clone();
    let second = refresh(&scene, &first, Some("T1")).await.json();
    let token = second["accessToken"].as_str().unwrap();
    let ask = Ask::get("/sync/pull").token(token);
    assert_eq!(ask.clone().with("x-device-id", "T1").send(scene.address).await.status, 200);
    assert_eq!(ask.with("x-device-id", "T2").send(scene.address).await.status, 403);
    assert_eq!(refresh(&scene, &second["refreshToken"], Some("T2")).await.status, 401);
    assert_eq!(pull(&scene, token).await.status, 401);
}

#[tokio::test]
async fn who_is_disabled_or_gets_another_password_is_out_at_once() {
    let scene = Scene::new().await;
    scene.add(0, ANN, Role::Operator);
    let book = scene.accounts.of(tenant(0)).unwrap();
    let at = accounts::now;
    let session = scene.log_in(0, ANN).await;
    let token = session["accessToken"].as_str().unwrap();
    let report =
        book.update(ANN, at(), Sessions::End, |account| account.is_disabled = true).unwrap();
    assert_eq!((report.active, report.sessions), (false, 0));
    assert_eq!(pull(&scene, token).await.status, 401);
    assert_eq!(refresh(&scene, &session["refreshToken"], None).await.status, 401);
    let body = json!({ "email": ANN, "password": PASSWORD });
    let login = Ask::post("/auth/login", &body).with("x-tenant-subdomain", "acme");
    assert_eq!(login.send(scene.address).await.status, 401);
    book.update(ANN, at(), Sessions::Stay, |account| account.is_disabled = false).unwrap();
    let session = scene.log_in(0, ANN).await;
    let token = session["accessToken"].as_str().unwrap();
    let password = Password::new("another one").unwrap();
    book.update(ANN, at(), Sessions::End, |account| account.password = password).unwrap();
    assert_eq!(pull(&scene, token).await.status, 401);
    assert_eq!(login.send(scene.address).await.status, 401);
}

#[tokio::test]
async fn a_role_counts_as_it_is_now_and_a_new_key_ends_access_but_no_session() {
    let scene = Scene::new().await;
    scene.add(0, ANN, Role::Manager);
    let session = scene.log_in(0, ANN).await;
    let token = session["accessToken"].as_str().unwrap();
    let book = scene.accounts.of(tenant(0)).unwrap();
    let at = accounts::now;
    book.update(ANN, at(), Sessions::Stay, |account| account.role = Role::Client).unwrap();
    assert_eq!(pull(&scene, token).await.status, 403);
    book.update(ANN, at(), Sessions::Stay, |account| account.role = Role::Operator).unwrap();
    assert_eq!(pull(&scene, token).await.status, 200);
    book.rotate_key(at()).unwrap();
    assert_eq!(pull(&scene, token).await.status, 401);
    let renewed = refresh(&scene, &session["refreshToken"], None).await.json();
    assert_eq!(pull(&scene, renewed["accessToken"].as_str().unwrap()).await.status, 200);
}

#[tokio::test]
async fn a_login_that_was_under_way_when_the_password_changed_opens_no_session() {
    let scene = Scene::new().await;
    scene.add(0, ANN, Role::Operator);
    let book = scene.accounts.of(tenant(0)).unwrap();
    let (id, short) = (tenant(0).to_string(), tenant(0).short());
    let names = accounts::Names { tenant: &id, short: &short };
    let (at, old) = (accounts::now(), book.find(ANN).unwrap().password);
    let new = Password::new("sagebrush 9").unwrap_or_else(|_| panic!("it is fit"));
    book.change_password(&names, ANN, &old, new.clone(), None, at).unwrap_or_else(|_| panic!());
    assert!(book.log_in(&names, ANN, &old, None, at).is_err());
    assert!(book.log_in(&names, ANN, &new, None, at).is_ok());
}

#[tokio::test]
async fn people_that_are_put_back_log_in_anew_and_damaged_ones_are_in_no_copy() {
    let scene = Scene::new().await;
    scene.add(0, ANN, Role::Operator);
    let session = scene.log_in(0, ANN).await;
    let token = RefreshToken::parse(session["refreshToken"].as_str().unwrap()).unwrap();
    let bytes = scene.accounts.copy(tenant(0)).unwrap().unwrap();
    assert!(scene.accounts.copy(tenant(1)).unwrap().is_none());
    let key = scene.folder.path().join("relay.key");
    let folder = scene.folder.path().join("restored");
    std::fs::create_dir(&folder).unwrap();
    let file = folder.join(tenant(0).short());
    std::fs::write(&file, &bytes).unwrap();
    accounts::end_sessions(&file, &key).unwrap();
    let restored = accounts::Accounts::new(folder, key.clone());
    let book = restored.of(tenant(0)).unwrap();
    let (id, short) = (tenant(0).to_string(), tenant(0).short());
    let names = accounts::Names { tenant: &id, short: &short };
    let access = session["accessToken"].as_str().unwrap();
    assert!(book.prove(&names, access, accounts::now()).is_none());
    assert!(book.renew(&names, &token, None, accounts::now()).is_err());
    let known = book.find(ANN).unwrap().password;
    assert!(book.log_in(&names, ANN, &known, None, accounts::now()).is_ok());
    let own = scene.folder.path().join("accounts").join(&short);
    let mut damaged = bytes;
    damaged[100] ^= 1;
    std::fs::write(own, damaged).unwrap();
    assert!(scene.accounts.copy(tenant(0)).is_err());
}

#[tokio::test]
async fn a_copy_of_people_whose_file_is_gone_is_not_one_of_nobody() {
    let scene = Scene::new().await;
    let home = scene.folder.path().join("tenants").join(tenant(0).short());
    std::fs::create_dir_all(home).unwrap();
    scene.add(0, ANN, Role::Operator);
    let folder = scene.folder.path().join("accounts");
    std::fs::remove_file(folder.join(tenant(0).short())).unwrap();
    // As after a restart: nobody holds the file open.
    let accounts = accounts::Accounts::new(folder, scene.folder.path().join("relay.key"));
    let problem = accounts.copy(tenant(0)).unwrap_err();
    assert!(problem.detail.contains("is missing, and with it the people"), "{}", problem.detail);
    assert!(accounts.copy(tenant(1)).unwrap().is_none());
}
