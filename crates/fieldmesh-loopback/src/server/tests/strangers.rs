//! Nobody gets in but who has the token and comes from no page that may not ask.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_token_or_a_wrong_one_is_shown_nothing() {
    let scene = Scene::new().await;
    let half = &scene.token[..20];
    for given in [None, Some(""), Some("Bearer "), Some(half), Some("Bearer x"), Some("Basic eA==")]
    {
        let mut request = Request::builder()
            .uri("/v1/records?collection=well")
            .header("host", format!("localhost:{}", scene.port));
        if let Some(given) = given {
            request = request.header("authorization", given);
        }
        let refused = scene.answer(request.body(Body::empty()).unwrap()).await;
        assert_eq!(refused.status, 401, "{given:?}");
        assert_eq!(refused.json["type"], "urn:fieldmesh:problem:unauthenticated");
        assert_eq!(refused.headers["content-type"], "application/problem+json");
    }
    assert_eq!(scene.get("/v1/records?collection=well").await.status, 200);
    // Also what is not there is not told apart.
    let request = Request::builder().uri("/v1/nothing").header("host", host(&scene));
    assert_eq!(scene.answer(request.body(Body::empty()).unwrap()).await.status, 401);
}

fn host(scene: &Scene) -> String {
    format!("127.0.0.1:{}", scene.port)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_of_another_site_that_means_this_machine_opens_nothing() {
    let scene = Scene::new().await;
    let own = host(&scene);
    let authorization = format!("Bearer {}", scene.token);
    let asked = async |hosts: &[&str], uri: &str| {
        let mut request = Request::builder().uri(uri).header("authorization", &authorization);
        for host in hosts {
            request = request.header("host", *host);
        }
        scene.answer(request.body(Body::empty()).unwrap()).await.status
    };
    for hosts in [
        &["evil.example"][..],
        &["evil.example:7878"],
        &["127.0.0.1"],
        &["127.0.0.1:1"],
        &["127.0.0.1.evil.example"],
        &[&own, "evil.example"],
        &[&own, &own],
        &[],
    ] {
        assert_eq!(asked(hosts, "/v1/status").await, 403, "{hosts:?}");
        assert_eq!(asked(hosts, "/v1/openapi.json").await, 403, "{hosts:?}");
    }
    assert_eq!(asked(&[&own], "http://evil.example/v1/status").await, 403);
    assert_eq!(asked(&[&own], "/v1/status").await, 200);
    assert_eq!(asked(&[&format!("LOCALHOST:{}", scene.port)], "/v1/status").await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_pages_that_were_named_may_ask() {
    let scene = Scene::new().await;
    let with_origin = |method: &str, origin: &str| {
        let request = scene.request(method, "/v1/status").header("origin", origin);
        let request = request.header("access-control-request-method", "PATCH");
        request.body(Body::empty()).unwrap()
    };
    for origin in
        ["https://evil.example", "null", "http://localhost:5174", "http://localhost:51731"]
    {
        let refused = scene.answer(with_origin("GET", origin)).await;
        assert_eq!((refused.status, &refused.json["title"]), (403, &json!("Not from here")));
        assert!(!refused.headers.contains_key("access-control-allow-origin"));
        let preflight = scene.answer(with_origin("OPTIONS", origin)).await;
        assert!(!preflight.headers.contains_key("access-control-allow-origin"), "{origin}");
    }
    let known = "http://localhost:5173";
    let admitted = scene.answer(with_origin("GET", known)).await;
    assert_eq!(admitted.status, 200);
    assert_eq!(admitted.headers["access-control-allow-origin"], known);
    let preflight = scene.answer(with_origin("OPTIONS", known)).await;
    assert_eq!(preflight.headers["access-control-allow-origin"], known);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_others_reach_is_refused() {
    let home = tempfile::tempdir().unwrap();
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        let options = Options { address: address.parse().unwrap(), ..Options::default() };
        let refused = Loopback::bind(home.path(), options).await;
        assert!(matches!(refused, Err(BindError::NotLoopback { .. })), "{address}");
    }
    assert!(!home.path().join(crate::ACCESS_FILE).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_bodies_are_refused_in_words() {
    let scene = Scene::new().await;
    let send = async |media: &str, coding: &str, body: Vec<u8>| {
        let request = scene.request("POST", "/v1/records").header("content-type", media);
        let request = request.header("content-encoding", coding).body(Body::from(body)).unwrap();
        let refused = scene.answer(request).await;
        assert_eq!(refused.json["status"], refused.status);
        refused.status
    };
    let json = "application/json";
    assert_eq!(send("text/plain", "identity", b"{}".to_vec()).await, 415);
    assert_eq!(send(json, "br", b"{}".to_vec()).await, 415);
    assert_eq!(send(json, "gzip", b"{}".to_vec()).await, 400);
    assert_eq!(send(json, "identity", vec![b' '; BODY_SIZE_MAX + 1]).await, 413);
    assert_eq!(send(json, "identity", "[".repeat(100_000).into_bytes()).await, 400);
    assert_eq!(send(json, "identity", vec![0xff; 100]).await, 400);
    let unknown = br#"{"collection":"well","fields":{},"colour":"red"}"#;
    assert_eq!(send(json, "identity", unknown.to_vec()).await, 400);
}
