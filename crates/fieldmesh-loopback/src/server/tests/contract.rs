//! What an app relies on: pages, versions, faults, cursors and live events.

use futures::StreamExt as _;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn pages_give_each_record_once_and_a_count() {
    let scene = Scene::new().await;
    for number in 0..7 {
        scene.well(number).await;
    }
    let mut names = Vec::new();
    let mut path = "/v1/records?collection=well&sort=name&limit=3".to_owned();
    loop {
        let page = scene.get(&path).await.json;
        let records = page["records"].as_array().unwrap();
        names.extend(records.iter().map(|it| it["fields"]["name"].as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/v1/records?collection=well&sort=name&limit=3&cursor={next}");
    }
    assert_eq!(names, (0..7).map(|number| format!("Alder {number}")).collect::<Vec<_>>());
    let count = scene.get("/v1/count?collection=well&where=name%3DAlder%203").await;
    assert_eq!(count.json, json!({ "count": 1 }));
    let plain = scene.get("/v1/records?collection=well").await;
    assert_eq!(plain.json["records"].as_array().unwrap().len(), 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_what_was_changed_meanwhile_is_refused_with_what_is_there() {
    let scene = Scene::new().await;
    scene.well(1).await;
    let path = "/v1/records/Alder%201";
    let read = scene.get(path).await;
    let body = json!({ "fields": { "status": "INACTIVE" } });
    assert_eq!(scene.sent("PATCH", path, &body).await.status, 428);
    let edited = scene.sent_if("PATCH", path, &body, Some(read.tag())).await;
    assert_eq!((edited.status, &edited.json["fields"]["status"]), (200, &json!("INACTIVE")));
    assert_ne!(edited.tag(), read.tag());

    let body = json!({ "fields": { "status": "PLUGGED" } });
    let stale = scene.sent_if("PATCH", path, &body, Some(read.tag())).await;
    assert_eq!(stale.status, 412);
    assert_eq!(stale.json["current"]["fields"]["status"], "INACTIVE");
    assert_eq!(format!("\"{}\"", stale.json["current"]["version"].as_str().unwrap()), edited.tag());
    let stale = scene.sent_if("DELETE", path, &Json::Null, Some(read.tag())).await;
    assert_eq!((stale.status, &stale.json["current"]["deleted"]), (412, &json!(false)));
    assert_eq!(scene.sent_if("DELETE", path, &Json::Null, Some("nonsense")).await.status, 400);

    let deleted = scene.sent_if("DELETE", path, &Json::Null, Some(edited.tag())).await;
    assert_eq!((deleted.status, &deleted.json["deleted"]), (200, &json!(true)));
    let id = deleted.json["id"].as_str().unwrap().to_owned();
    let restored = scene.sent("POST", &format!("/v1/records/{id}/restore"), &Json::Null).await;
    assert_eq!((restored.status, &restored.json["deleted"]), (200, &json!(false)));
    let history = scene.get(&format!("/v1/records/{id}/history")).await.json;
    assert_eq!(history.as_array().unwrap().len(), 4);
    let at = read.json["createdAt"].as_str().unwrap();
    let past = scene.get(&format!("{path}?at={at}")).await;
    assert_eq!(past.json["fields"]["status"], "ACTIVE");
    let any = scene.sent_if("PATCH", path, &body, Some("*")).await;
    assert_eq!((any.status, &any.json["fields"]["status"]), (200, &json!("PLUGGED")));
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_are_told_all_at_once_with_their_fields() {
    let scene = Scene::new().await;
    let wrong = scene.get("/v1/records?colection=well&limit=5000&deleted=maybe&colour=red").await;
    assert_eq!(wrong.status, 400);
    assert_eq!(wrong.faults(), ["limit", "collection", "deleted", "colection", "colour"]);
    let fields = json!({ "name": "Alder", "status": "ON", "colour": "red" });
    let body = json!({ "collection": "well", "fields": fields });
    let invalid = scene.sent("POST", "/v1/records", &body).await;
    assert_eq!(invalid.status, 422, "{}", invalid.json);
    for field in ["apiNumber", "status", "colour"] {
        assert!(invalid.faults().contains(&field), "{}", invalid.json);
    }
    let unknown = scene.get("/v1/records?collection=well&where=colour%3Dred").await;
    assert_eq!((unknown.status, unknown.faults()), (400, vec!["colour"]));
    assert_eq!(scene.get("/v1/records?collection=welles").await.status, 404);
    assert_eq!(scene.get("/v1/records/nothing").await.status, 404);
    assert_eq!(scene.get("/v1/changes?after=nothing").await.status, 400);
    assert_eq!(scene.get("/v1/conflicts?kind=nothing").await.status, 400);
    assert_eq!(scene.get("/v1/conflicts?after=nothing").await.status, 400);
    assert_eq!(scene.get("/v1/conflicts/nothing").await.status, 404);
    assert_eq!(
        scene.sent("POST", "/v1/sync", &json!({ "timeout": 0 })).await.faults(),
        ["timeout"]
    );
    assert_eq!(scene.sent("PUT", "/v1/records", &json!({})).await.status, 405);
    let count = scene.get("/v1/count?collection=well").await;
    assert_eq!(count.json["count"], 0, "nothing was written");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_exists_already_is_named() {
    let scene = Scene::new().await;
    scene.well(1).await;
    let data = json!({ "oilVolume": 82.3 });
    let fields = json!({
        "wellId": "Alder 1", "entryType": "PRODUCTION", "data": data,
        "recordedAt": "2026-03-01T08:30:00Z",
    });
    let body = json!({ "collection": "field_entry", "fields": fields });
    let first = scene.sent("POST", "/v1/records", &body).await;
    assert_eq!(first.status, 201, "{}", first.json);
    let place = format!("/v1/records/{}", first.json["id"].as_str().unwrap());
    assert_eq!(first.headers["location"], place);
    let again = scene.sent("POST", "/v1/records", &body).await;
    assert_eq!((again.status, &again.json["record"]), (409, &first.json["id"]));
}

/// The next event of a stream: its name, its id and its data.
async fn event(body: &mut axum::body::BodyDataStream) -> (String, String, Json) {
    let mut text = String::new();
    while !text.ends_with("\n\n") {
        text.push_str(std::str::from_utf8(&body.next().await.unwrap().unwrap()).unwrap());
    }
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_default().trim().to_owned()
    };
    (value("event:"), value("id:"), serde_json::from_str(&value("data:")).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_was_cut_goes_on_behind_its_last_event() {
    let scene = Scene::new().await;
    scene.well(1).await;
    let path = "/v1/live?collection=well&where=status%3DACTIVE";
    let open = async |after: Option<&str>| {
        let mut request = scene.request("GET", path);
        if let Some(after) = after {
            request = request.header("last-event-id", after);
        }
        let response = scene.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        response.into_body().into_data_stream()
    };
    let mut stream = open(None).await;
    let (name, _, data) = event(&mut stream).await;
    assert_eq!((name.as_str(), data["records"].as_array().unwrap().len()), ("present", 1));
    let well = scene.well(2).await;
    let (name, id, data) = event(&mut stream).await;
    assert_eq!((name.as_str(), &data["record"]), ("added", &well));
    drop(stream);

    let gone = scene.well(3).await;
    let path = format!("/v1/records/{}", gone["id"].as_str().unwrap());
    let plugged = json!({ "fields": { "status": "PLUGGED" } });
    assert_eq!(scene.sent_if("PATCH", &path, &plugged, Some("*")).await.status, 200);
    let well = scene.well(4).await;
    let mut stream = open(Some(&id)).await;
    let (name, _, data) = event(&mut stream).await;
    assert_eq!((name.as_str(), &data["id"]), ("removed", &gone["id"]));
    let (name, _, data) = event(&mut stream).await;
    assert_eq!((name.as_str(), &data["record"]["id"]), ("changed", &well["id"]));
    let (name, ..) = event(&mut open(Some("of another store")).await).await;
    assert_eq!(name, "resync");
    drop(stream);
    scene.node.clone().shutdown().await.unwrap();
}
