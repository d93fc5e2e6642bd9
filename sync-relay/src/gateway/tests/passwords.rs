//! People who change their password, and those who forgot it.

use fieldmesh_model::Role;
use serde_json::{Value as Json, json};

use super::client::{Answer, Ask};
use super::scene::{PASSWORD, Scene, tenant};
use crate::accounts::{self, Sessions};

const ANN: &str = "ann@example.org";
const NEW: &str = "sagebrush 9";

async fn status_of(scene: &Scene, token: &Json) -> u16 {
    Ask::get("/sync/pull").token(token.as_str().unwrap()).send(scene.address).await.status
}

async fn change(scene: &Scene, token: &Json, current: &str, new: &str) -> Answer {
    let body = json!({ "currentPassword": current, "newPassword": new });
    let ask = Ask::post("/auth/password", &body).token(token.as_str().unwrap());
    ask.send(scene.address).await
}

async fn log_in(scene: &Scene, password: &str) -> u16 {
    let body = json!({ "email": ANN, "password": password });
    let ask = Ask::post("/auth/login", &body).with("x-tenant-subdomain", "acme");
    ask.send(scene.address).await.status
}

async fn code(scene: &Scene, admin: &str, email: &str) -> Answer {
    let body = json!({ "email": email, "currentPassword": PASSWORD });
    Ask::post("/auth/password/code", &body).token(admin).send(scene.address).await
}

async fn reset(scene: &Scene, email: &str, code: &str, new: &str) -> Answer {
    let body = json!({ "email": email, "code": code, "newPassword": new });
    let ask = Ask::post("/auth/password/reset", &body).with("x-tenant-subdomain", "acme");
    ask.send(scene.address).await
}

#[tokio::test]
async fn who_changes_a_password_is_out_on_all_other_devices() {
    let scene = Scene::new().await;
    scene.add(0, ANN, Role::Operator);
    let (own, other) = (scene.log_in(0, ANN).await, scene.log_in(0, ANN).await);
    let changed = change(&scene, &own["accessToken"], PASSWORD, NEW).await;
    assert_eq!(changed.status, 200, "{}", changed.text());
    let changed = changed.json();
    assert_eq!(status_of(&scene, &changed["accessToken"]).await, 200);
    for session in [&own, &other] {
        assert_eq!(status_of(&scene, &session["accessToken"]).await, 401);
        let body = json!({ "refreshToken": session["refreshToken"] });
        assert_eq!(Ask::post("/auth/refresh", &body).send(scene.address).await.status, 401);
    }
    let body = json!({ "refreshToken": changed["refreshToken"] });
    assert_eq!(Ask::post("/auth/refresh", &body).send(scene.address).await.status, 200);
    assert_eq!((log_in(&scene, PASSWORD).await, log_in(&scene, NEW).await), (401, 200));
}

#[tokio::test]
async fn a_token_alone_changes_no_password() {
    let scene = Scene::new().await;
    scene.add(0, ANN, Role::Operator);
    let token = scene.log_in(0, ANN).await["accessToken"].clone();
    for (current, new, status) in [
        ("wrong one", NEW, 403),
        ("", NEW, 403),
        (PASSWORD, "short", 400),
        (PASSWORD, &"x".repeat(1_025), 400),
        (PASSWORD, PASSWORD, 400),
    ] {
        assert_eq!(change(&scene, &token, current, new).await.status, status, "{current}");
    }
    assert_eq!(status_of(&scene, &token).await, 200);
    // Whoever has a token may guess no more often than whoever has none.
    for _ in 0..5 {
        change(&scene, &token, "wrong one", NEW).await;
    }
    let answer = change(&scene, &token, "wrong one", NEW).await;
    assert_eq!(answer.status, 429, "{}", answer.text());
    assert!(answer.headers.contains_key("retry-after"));
    assert_eq!(change(&scene, &token, PASSWORD, NEW).await.status, 429);
}

#[tokio::test]
async fn a_code_of_an_admin_gives_another_password_once() {
    let scene = Scene::new().await;
    scene.add(0, ANN, Role::Operator);
    let admin = scene.token(0, "lena@example.org", Role::Admin).await;
    let old = scene.log_in(0, ANN).await["accessToken"].clone();
    let made = code(&scene, &admin, "Ann@example.org").await;
    assert_eq!(made.status, 200, "{}", made.text());
    assert_eq!(made.headers["cache-control"], "no-store");
    let text = made.json()["code"].as_str().unwrap().to_lowercase().replace('-', " ");
    // A password that is none does not use the code up.
    assert_eq!(reset(&scene, ANN, &text, "short").await.status, 400);
    let opened = reset(&scene, ANN, &text, NEW).await;
    assert_eq!(opened.status, 200, "{}", opened.text());
    let opened = opened.json();
    assert_eq!(opened["user"]["email"], ANN);
    assert_eq!(status_of(&scene, &opened["accessToken"]).await, 200);
    assert_eq!(status_of(&scene, &old).await, 401);
    assert_eq!((log_in(&scene, PASSWORD).await, log_in(&scene, NEW).await), (401, 200));
    assert_eq!(reset(&scene, ANN, &text, "a third one").await.status, 403);
}

#[tokio::test]
async fn a_stolen_token_of_an_admin_takes_over_no_account() {
    let scene = Scene::new().await;
    scene.add(0, ANN, Role::Operator);
    scene.add(0, "max@example.org", Role::Admin);
    let admin = scene.token(0, "lena@example.org", Role::Admin).await;
    let order = async |body: &Json| {
        Ask::post("/auth/password/code", body).token(&admin).send(scene.address).await.status
    };
    assert_eq!(order(&json!({ "email": ANN })).await, 400);
    let guess = json!({ "email": ANN, "currentPassword": "wrong one" });
    assert_eq!(order(&guess).await, 403);
    // Not even with the password: who is an admin, and who asks, are for the operator.
    for email in ["max@example.org", "lena@example.org"] {
        let answer = code(&scene, &admin, email).await;
        assert_eq!(answer.status, 403, "{email}");
        assert!(answer.text().contains("sync-relay user passwd"), "{}", answer.text());
    }
    // Guesses count for whoever asks, whomever the code is for.
    let mut statuses = Vec::new();
    for number in 0..10 {
        let email = format!("somebody{number}@example.org");
        let guess = json!({ "email": email, "currentPassword": "wrong one" });
        statuses.push(order(&guess).await);
    }
    assert!(statuses.ends_with(&[429]), "{statuses:?}");
}

#[tokio::test]
async fn a_code_of_somebody_who_became_an_admin_is_good_no_more() {
    let scene = Scene::new().await;
    scene.add(0, ANN, Role::Operator);
    let admin = scene.token(0, "lena@example.org", Role::Admin).await;
    let text = code(&scene, &admin, ANN).await.json()["code"].as_str().unwrap().to_owned();
    let book = scene.accounts.of(tenant(0)).unwrap();
    book.update(ANN, accounts::now(), Sessions::Stay, |one| one.role = Role::Admin).unwrap();
    assert_eq!(reset(&scene, ANN, &text, NEW).await.status, 403);
}

#[tokio::test]
async fn nobody_learns_whether_an_address_or_a_code_was_wrong() {
    let scene = Scene::new().await;
    scene.add(0, ANN, Role::Operator);
    scene.add(0, "ben@example.org", Role::Operator);
    let admin = scene.token(0, "lena@example.org", Role::Admin).await;
    let text = code(&scene, &admin, ANN).await.json()["code"].as_str().unwrap().to_owned();
    let mut bodies = Vec::new();
    for (email, code) in [
        (ANN, "AAAA-AAAA-AAAA-AAAA"),
        ("ben@example.org", text.as_str()),
        ("nobody@example.org", text.as_str()),
        ("nobody@example.org", ""),
    ] {
        let answer = reset(&scene, email, code, NEW).await;
        assert_eq!(answer.status, 403, "{email}");
        bodies.push(answer.body);
    }
    assert!(bodies.iter().all(|body| *body == bodies[0]));
    // In another tenant the same code is nothing.
    scene.add(1, ANN, Role::Operator);
    let body = json!({ "email": ANN, "code": text, "newPassword": NEW });
    let elsewhere = Ask::post("/auth/password/reset", &body).with("x-tenant-subdomain", "other");
    assert_eq!(elsewhere.send(scene.address).await.status, 403);
    // Codes are guessed no more often than passwords.
    let mut statuses = Vec::new();
    for _ in 0..10 {
        statuses.push(reset(&scene, ANN, "AAAA-AAAA-AAAA-AAAA", NEW).await.status);
    }
    assert!(statuses.contains(&429), "{statuses:?}");
}

#[tokio::test]
async fn codes_are_for_admins_and_end_with_what_makes_them_needless() {
    let scene = Scene::new().await;
    scene.add(0, ANN, Role::Operator);
    let manager = scene.token(0, "max@example.org", Role::Manager).await;
    assert_eq!(code(&scene, &manager, ANN).await.status, 403);
    let admin = scene.token(0, "lena@example.org", Role::Admin).await;
    assert_eq!(code(&scene, &admin, "nobody@example.org").await.status, 404);
    let text = |answer: Answer| answer.json()["code"].as_str().unwrap().to_owned();
    let book = scene.accounts.of(tenant(0)).unwrap();
    // She remembers her password and changes it.
    let first = text(code(&scene, &admin, ANN).await);
    let token = scene.log_in(0, ANN).await["accessToken"].clone();
    assert_eq!(change(&scene, &token, PASSWORD, NEW).await.status, 200);
    assert_eq!(reset(&scene, ANN, &first, "a third one").await.status, 403);
    // She is shut out meanwhile.
    let second = text(code(&scene, &admin, ANN).await);
    book.update(ANN, accounts::now(), Sessions::End, |account| account.is_disabled = true).unwrap();
    assert_eq!(reset(&scene, ANN, &second, "a third one").await.status, 403);
    assert_eq!(code(&scene, &admin, ANN).await.status, 404);
    book.update(ANN, accounts::now(), Sessions::Stay, |one| one.is_disabled = false).unwrap();
    assert_eq!(reset(&scene, ANN, &second, "a third one").await.status, 403);
}
