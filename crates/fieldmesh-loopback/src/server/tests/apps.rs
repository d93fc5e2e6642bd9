//! Apps of existing systems on the device: they write as its owner and may do what he may.

use std::time::Duration;

use fieldmesh::api::{
    ConflictQuery, Edits, Evict, EvictOptions, InviteOptions, ListQuery, SyncOptions, SyncResult,
};
use fieldmesh_model::Role;

use super::*;

/// Two devices of a crew with apps on them: the lead's, and one that syncs with it.
struct Crew {
    lead: Scene,
    at: String,
    tablet: Scene,
}

impl Crew {
    async fn of(role: Role) -> Self {
        let lead = Scene::new().await;
        let at = lead.node.listen(Some(([127, 0, 0, 1], 0).into())).await.unwrap().to_string();
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("home");
        let builder = Node::builder(&home).passphrase("two");
        let invitation = invitation(&lead, role).await;
        let (node, _) = builder.join(&invitation, Some("tablet".into())).await.unwrap();
        Self { lead, at, tablet: Scene::over(folder, node, &home).await }
    }

    async fn sync(&self) {
        self.sync_with(&self.at).await;
    }

    async fn sync_with(&self, address: &str) {
        let with = vec![address.to_owned()];
        let options = SyncOptions { with, mdns: false, ..SyncOptions::default() };
        let report = self.tablet.node.sync(options, |_| {}).await.unwrap();
        assert_eq!(report.result, SyncResult::Ok, "{report:?}");
    }
}

async fn invitation(lead: &Scene, role: Role) -> String {
    let valid = Duration::from_secs(600);
    let options = InviteOptions { role, user: None, valid, count: 1 };
    lead.node.invite(options).await.unwrap().remove(0).invitation
}

/// What became of one operation that a veterinary app on a device sends.
async fn push(scene: &Scene, operation: &Json) -> Json {
    let body = json!({ "clientTimestamp": 1_790_000_000_000_i64, "operations": [operation] });
    let answer = scene.sent("POST", "/api/sync/push", &body).await;
    assert_eq!(answer.status, 200, "{}", answer.json);
    answer.json
}

/// A pet that such an app makes.
async fn pet(scene: &Scene, name: &str) -> Json {
    let data = json!({ "name": name, "breed": "Pug", "species": "dog", "ownerId": 7 });
    let create =
        json!({ "operation": "create", "entityType": "pets", "tempId": name, "data": data });
    let made = push(scene, &create).await;
    assert_eq!(made["processed"], 1, "{made}");
    made["results"][0]["realId"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_on_the_device_records_as_its_owner_and_others_hear_of_it() {
    let crew = Crew::of(Role::Operator).await;
    let well = json!({ "name": "Alder 1", "apiNumber": "42-227-30001", "status": "ACTIVE",
        "latitude": 31.9, "longitude": -102.1 });
    let well = crew.lead.node.record(new_record("well", &well)).await.unwrap().id.to_string();
    crew.sync().await;
    let tablet = &crew.tablet;
    let pulled = tablet.get("/sync/pull").await;
    assert_eq!(pulled.json["wells"][0]["id"], well, "{}", pulled.json);

    let entry = json!({ "wellId": well, "entryType": "PRODUCTION",
        "recordedAt": "2026-03-01T08:00:00.000Z", "data": { "oilVolume": 12.5 } });
    let body = json!({ "deviceId": "T1", "entries": [entry] });
    for _ in 0..2 {
        let pushed = tablet.sent("POST", "/sync/push", &body).await;
        assert_eq!((pushed.status, &pushed.json["succeeded"]), (200, &json!(1)), "{}", pushed.json);
    }
    let listed = tablet.get("/v1/records?collection=field_entry").await.json;
    assert_eq!(listed["records"].as_array().map(Vec::len), Some(1), "{listed}");
    crew.sync().await;
    let entries = ListQuery { collection: "field_entry".into(), ..ListQuery::default() };
    let record = crew.lead.node.list(entries).await.unwrap().remove(0);
    assert_eq!(record.created_by, tablet.node.user());
    assert_eq!(record.fields["data"]["oilVolume"], 12.5);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_may_do_no_more_than_the_owner_of_the_device() {
    let crew = Crew::of(Role::Operator).await;
    let theirs = pet(&crew.lead, "Rex").await;
    let own = pet(&crew.tablet, "Max").await;
    crew.sync().await;
    let update = |id: &Json| {
        json!({ "operation": "update", "entityType": "pets", "entityId": id,
            "data": { "breed": "Beagle" } })
    };
    let delete = json!({ "operation": "delete", "entityType": "pets", "entityId": theirs });
    for refused in [update(&theirs), delete] {
        let answer = push(&crew.tablet, &refused).await;
        assert_eq!(answer["processed"], 0, "{answer}");
        assert!(answer.to_string().contains("may not change this pet"), "{answer}");
    }
    assert_eq!(push(&crew.tablet, &update(&own)).await["processed"], 1);
    assert_eq!(push(&crew.lead, &update(&theirs)).await["processed"], 1);
    crew.sync().await;
    for scene in [&crew.lead, &crew.tablet] {
        let listed = scene.get("/v1/records?collection=pet&sort=name").await.json;
        let shown = listed["records"].as_array().unwrap().iter();
        let shown: Vec<_> =
            shown.map(|it| (&it["fields"]["name"], &it["fields"]["breed"])).collect();
        assert_eq!(shown, [(&json!("Max"), &json!("Beagle")), (&json!("Rex"), &json!("Beagle"))]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_logs_in_with_the_token_and_with_nothing_else() {
    let scene = Scene::new().await;
    let login = async |password: &str, tenant: Option<&str>| {
        let mut request = Request::builder()
            .method("POST")
            .uri("/auth/login")
            .header("host", format!("127.0.0.1:{}", scene.port))
            .header("content-type", "application/json");
        if let Some(tenant) = tenant {
            request = request.header("x-tenant-subdomain", tenant);
        }
        let body = json!({ "email": "ann@example.org", "password": password }).to_string();
        scene.answer(request.body(Body::from(body)).unwrap()).await
    };
    let slug = scene.node.tenant().slug;
    for tenant in [None, Some(slug.as_str())] {
        let opened = login(&scene.apps_token, tenant).await;
        assert_eq!(opened.status, 200, "{}", opened.json);
        let user = &opened.json["user"];
        assert_eq!(user["id"], scene.node.user().to_string(), "{}", opened.json);
        assert_eq!(user["role"], "ADMIN", "{}", opened.json);
    }
    assert_eq!(login("one", None).await.status, 401);
    assert_eq!(login(&scene.apps_token[1..], None).await.status, 401);
    assert_eq!(login(&scene.token, None).await.status, 401);
    assert_eq!(login(&scene.apps_token, Some("other-crew")).await.status, 403);
    let renewed = json!({ "refreshToken": scene.apps_token });
    assert_eq!(scene.sent("POST", "/auth/refresh", &renewed).await.status, 200);
    let renewed = json!({ "refreshToken": "x" });
    assert_eq!(scene.sent("POST", "/auth/refresh", &renewed).await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_get_no_further_by_the_paths_of_apps() {
    let scene = Scene::new().await;
    let asked = async |uri: &str, host: &str, origin: Option<&str>, token: &str| {
        let request = Request::builder().uri(uri).header("host", host);
        let mut request = request.header("authorization", format!("Bearer {token}"));
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        scene.answer(request.body(Body::empty()).unwrap()).await.status
    };
    let (own, token) = (format!("127.0.0.1:{}", scene.port), scene.apps_token.as_str());
    let page = Some("http://localhost:5173");
    assert_eq!(asked("/sync/pull", &own, None, token).await, 200);
    assert_eq!(asked("/sync/pull", &own, page, token).await, 200);
    assert_eq!(asked("/sync/pull", &own, None, "x").await, 401);
    assert_eq!(asked("/sync/pull", "evil.example", None, token).await, 403);
    assert_eq!(asked("/sync/pull", &own, Some("http://evil.example"), token).await, 403);
    assert_eq!(asked("/health", "evil.example", None, token).await, 403);
    assert_eq!(asked("/nothing", &own, None, token).await, 404);
    // What apps know opens nothing of the owner's.
    assert_eq!(asked("/v1/status", &own, None, token).await, 401);
    let own = scene.get("/v1/nothing").await;
    assert_eq!((own.status, own.headers["content-type"].to_str().unwrap()), (404, PROBLEM));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reading_that_the_device_let_go_is_not_made_a_second_time() {
    let crew = Crew::of(Role::Operator).await;
    let well = json!({ "name": "Alder 1", "apiNumber": "42-227-30001", "status": "ACTIVE" });
    let well = crew.lead.node.record(new_record("well", &well)).await.unwrap().id.to_string();
    crew.sync().await;
    let entry = json!({ "wellId": well, "entryType": "PRODUCTION",
        "recordedAt": "2025-03-01T08:00:00.000Z", "data": { "oilVolume": 12.5 } });
    let body = json!({ "deviceId": "T1", "entries": [entry] });
    let pushed = crew.tablet.sent("POST", "/sync/push", &body).await;
    assert_eq!(pushed.json["succeeded"], 1, "{}", pushed.json);
    let folder = tempfile::tempdir().unwrap();
    let builder = Node::builder(folder.path().join("relay")).passphrase("three").forward_only();
    let (relay, _) = builder.join(&invitation(&crew.lead, Role::Relay).await, None).await.unwrap();
    let at = relay.listen(Some(([127, 0, 0, 1], 0).into())).await.unwrap().to_string();
    crew.sync().await;
    crew.sync_with(&at).await;
    let evict = Evict::Before { month: "2026-01".into() };
    let options = EvictOptions { evict, dry_run: false };
    let evicted = crew.tablet.node.evict(options, |_| {}).await.unwrap();
    assert_eq!(evicted.records, 1, "{evicted:?}");
    // The app has not heard that it arrived.
    let again = crew.tablet.sent("POST", "/sync/push", &body).await;
    assert_eq!(again.status, 403, "{}", again.json);
    assert!(again.json["message"].as_str().unwrap().contains("let go"), "{}", again.json);
    crew.sync().await;
    let entries = ListQuery { collection: "field_entry".into(), ..ListQuery::default() };
    assert_eq!(crew.lead.node.list(entries).await.unwrap().len(), 1);
    assert!(crew.lead.node.conflicts(ConflictQuery::default()).await.unwrap().is_empty());
    relay.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_installations_of_an_app_may_give_the_same_name_for_the_time_being() {
    let scene = Scene::new().await;
    let create = |name: &str| {
        let data = json!({ "name": name, "breed": "Pug", "species": "dog", "ownerId": 7 });
        let operation = json!({ "operation": "create", "entityType": "pets", "tempId": "temp_1", "data": data });
        json!({ "clientTimestamp": 1_790_000_000_000_i64, "operations": [operation] })
    };
    for (device, name) in [("tablet", "Rex"), ("phone", "Max")] {
        let request = scene.request("POST", "/api/sync/push").header("x-device-id", device);
        let request = request.header("content-type", "application/json");
        let made = scene.answer(request.body(Body::from(create(name).to_string())).unwrap()).await;
        assert_eq!(made.json["processed"], 1, "{}", made.json);
    }
    let pets = ListQuery { collection: "pet".into(), ..ListQuery::default() };
    assert_eq!(scene.node.list(pets).await.unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_photo_is_left_to_a_server_that_can_pass_it_on() {
    let scene = Scene::new().await;
    let request = scene.request("POST", "/upload").header("content-type", "image/jpeg");
    let refused = scene.answer(request.body(Body::from("\u{7f}")).unwrap()).await;
    assert!((400..500).contains(&refused.status), "{}", refused.status);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_owner_may_not_settle_stays_open_and_is_told_so() {
    let crew = Crew::of(Role::Operator).await;
    let well = json!({ "name": "Alder 1", "apiNumber": "42-227-30001", "status": "ACTIVE" });
    let well = crew.lead.node.record(new_record("well", &well)).await.unwrap().id.to_string();
    crew.sync().await;
    let push = async |oil: f64| {
        let entry = json!({ "wellId": well, "entryType": "PRODUCTION",
            "recordedAt": "2026-03-01T08:00:00.000Z", "data": { "oilVolume": oil } });
        let body =
            json!({ "deviceId": "T1", "conflictResolution": "CLIENT_WINS", "entries": [entry] });
        crew.tablet.sent("POST", "/sync/push", &body).await.json
    };
    assert_eq!(push(12.5).await["succeeded"], 1);
    crew.sync().await;
    let query = || ListQuery { collection: "field_entry".into(), ..ListQuery::default() };
    let id = crew.lead.node.list(query()).await.unwrap().remove(0).id.to_string();
    let edits = Edits { assignments: vec!["oilVolume=20".into()], ..Edits::default() };
    crew.lead.node.edit(&id, edits).await.unwrap();
    crew.sync().await;
    // Only a manager settles readings that compete.
    for _ in 0..2 {
        let pushed = push(13.0).await;
        assert_eq!(pushed["failed"], 0, "{pushed}");
        assert_eq!(pushed["conflicts"][0]["resolution"], "SERVER_WINS", "{pushed}");
    }
    crew.sync().await;
    for scene in [&crew.lead, &crew.tablet] {
        assert_eq!(scene.node.conflicts(ConflictQuery::default()).await.unwrap().len(), 1);
    }
}
