//! What attackers try, each in the place where it would hurt.

use std::io::Write as _;
use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use fieldmesh_http::{Rate, Settings, Shares};
use fieldmesh_model::Role;
use serde_json::{Value as Json, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::client::{Answer, Ask};
use super::scene::{PANIC, PASSWORD, Scene, entry, tenant};

const ANN: &str = "ann@example.org";
const BEN: &str = "ben@example.org";

fn push(entries: usize) -> Json {
    json!({ "deviceId": "T1", "entries": (0..entries).map(entry).collect::<Vec<_>>() })
}

/// The status and message of an error in the common form.
fn told(answer: &Answer) -> (u16, String) {
    let body = answer.json();
    assert_eq!(body["statusCode"], answer.status);
    (answer.status, body["message"].as_str().unwrap().to_owned())
}

/// An error that a client which reads every body as JSON cannot take for an answer.
fn assert_no_answer(answer: &Answer) {
    assert_eq!(answer.headers["content-type"], "text/plain; charset=utf-8");
    assert!(serde_json::from_slice::<Json>(&answer.body).is_err());
}

#[tokio::test]
async fn an_oversized_body_is_refused_as_the_dialect_says_it() {
    let scene = Scene::new().await;
    let token = scene.token(0, ANN, Role::Operator).await;
    let huge = vec![b' '; (16 << 20) + 1];
    for (path, is_text) in [("/sync/push", false), ("/api/sync", true), ("/api/sync/push", true)] {
        let ask = Ask::post(path, &json!({})).token(&token);
        let answer = ask.body(huge.clone()).send(scene.address).await;
        assert_eq!(answer.status, 413, "{path}");
        if is_text {
            assert_no_answer(&answer);
        } else {
            told(&answer);
        }
    }
    // Without a stated length, and as a request for a session, which is small.
    let login = Ask::post("/auth/login", &json!({})).with("transfer-encoding", "chunked");
    let chunk = [b"20000\r\n".to_vec(), vec![b' '; 0x20000], b"\r\n0\r\n\r\n".to_vec()].concat();
    let bytes = [login.body(Vec::new()).bytes(), chunk].concat();
    let mut stream = TcpStream::connect(scene.address).await.unwrap();
    stream.write_all(&bytes).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert_eq!(Answer::parse(&answer).status, 413);
}

#[tokio::test]
async fn a_bomb_deep_json_and_wrong_types_are_refused_and_harm_nothing() {
    let scene = Scene::new().await;
    let token = scene.token(0, ANN, Role::Operator).await;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(&vec![b' '; 64 << 20]).unwrap();
    let bomb = Ask::post("/sync/push", &json!({})).token(&token).with("content-encoding", "gzip");
    let bomb = bomb.body(gzip.finish().unwrap()).send(scene.address).await;
    assert_eq!(told(&bomb).0, 413);
    let deep = [vec![b'['; 200_000], vec![b']'; 200_000]].concat();
    let ask = Ask::post("/sync/push", &json!({})).token(&token);
    assert_eq!(told(&ask.clone().body(deep).send(scene.address).await).0, 400);
    let mut wrong = ask.clone();
    wrong.headers[0].1 = "text/xml".into();
    assert_eq!(told(&wrong.send(scene.address).await).0, 415);
    let coded = ask.with("content-encoding", "br").send(scene.address).await;
    assert_eq!(told(&coded).0, 415);
    let fine = Ask::post("/sync/push", &push(1)).token(&token).send(scene.address).await;
    assert_eq!(fine.json()["succeeded"], 1);
}

#[tokio::test]
async fn a_body_of_millions_of_values_is_refused_before_it_fills_the_memory() {
    let scene = Scene::new().await;
    let token = scene.token(0, ANN, Role::Operator).await;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(b"{\"tenantId\":\"acme\",\"events\":[0").unwrap();
    gzip.write_all(",0".repeat(10_000_000).as_bytes()).unwrap();
    gzip.write_all(b"]}").unwrap();
    let bomb = gzip.finish().unwrap();
    assert!(bomb.len() < 100_000);
    let ask = Ask::post("/field-data/sync", &json!({})).token(&token);
    let refused = ask.with("content-encoding", "gzip").body(bomb).send(scene.address).await;
    assert_eq!(told(&refused).0, 413);
}

#[tokio::test]
async fn what_is_understood_at_a_time_stays_within_what_there_is() {
    let understood = Shares { all: 100_000, tenant: 100_000, person: 10_000 };
    let scene = Scene::with(Settings { understood, ..Scene::generous() }).await;
    let token = scene.token(0, ANN, Role::Operator).await;
    let send = |count: usize| Ask::post("/sync/push", &push(count)).token(&token);
    let refused = send(50).send(scene.address).await;
    assert_eq!(told(&refused).0, 503);
    assert!(refused.headers.contains_key("retry-after"));
    // What was refused is given back.
    for _ in 0..20 {
        assert_eq!(send(3).send(scene.address).await.status, 200);
    }
}

#[tokio::test]
async fn answers_that_nobody_reads_are_bounded_and_leave_room_for_others() {
    let answers = Shares { all: 1 << 30, tenant: 1 << 20, person: 1 << 20 };
    let scene = Scene::with(Settings { answers, ..Scene::generous() }).await;
    let token = scene.token(0, ANN, Role::Operator).await;
    let ben = scene.token(1, BEN, Role::Operator).await;
    let notes = "x".repeat(200_000);
    for number in [0, 1] {
        let token = if number == 0 { &token } else { &ben };
        let one = |minute: usize| {
            let mut entry = entry(minute);
            entry["notes"] = notes.clone().into();
            entry
        };
        let entries: Vec<Json> = (0..60).map(one).collect();
        let body = json!({ "deviceId": "T1", "entries": entries });
        let pushed = Ask::post("/sync/push", &body).token(token).send(scene.address).await;
        assert_eq!(pushed.status, 200);
    }
    let pull = Ask::get("/sync/entries").token(&token);
    // It is larger than any share, and still whoever has nothing else gets it.
    let mut unread = TcpStream::connect(scene.address).await.unwrap();
    unread.write_all(&pull.bytes()).await.unwrap();
    let mut begun = [0; 12];
    unread.read_exact(&mut begun).await.unwrap();
    assert_eq!(&begun, b"HTTP/1.1 200");
    assert_eq!(told(&pull.send(scene.address).await).0, 503);
    let of_other = Ask::get("/sync/entries").token(&ben).send(scene.address).await;
    assert_eq!((of_other.status, of_other.body.len() > 12_000_000), (200, true));
    let mut rest = Vec::new();
    unread.read_to_end(&mut rest).await.unwrap();
    assert!(rest.len() > 12_000_000);
    while pull.send(scene.address).await.status != 200 {}
}

#[tokio::test]
async fn compressed_requests_are_taken_and_answers_compressed_as_asked() {
    let scene = Scene::new().await;
    let token = scene.token(0, ANN, Role::Operator).await;
    let body = push(50).to_string().into_bytes();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(&body).unwrap();
    let ask = Ask::post("/sync/push", &json!({})).token(&token);
    let zipped = ask.clone().with("content-encoding", "gzip").body(gzip.finish().unwrap());
    assert_eq!(zipped.send(scene.address).await.json()["succeeded"], 50);
    let packed = zstd::encode_all(&body[..], 3).unwrap();
    let packed = ask.with("content-encoding", "zstd").body(packed).send(scene.address).await;
    assert_eq!(packed.json()["succeeded"], 50);
    let pull = Ask::get("/sync/entries").token(&token);
    let plain = pull.clone().send(scene.address).await.body;
    let zipped = pull.clone().with("accept-encoding", "gzip").send(scene.address).await;
    assert_eq!(zipped.headers["content-encoding"], "gzip");
    let mut read = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&zipped.body[..]), &mut read)
        .unwrap();
    assert_eq!(read, plain);
    assert!(zipped.body.len() * 4 < plain.len(), "{} of {}", zipped.body.len(), plain.len());
    let packed = pull.with("accept-encoding", "zstd").send(scene.address).await;
    assert_eq!(zstd::decode_all(&packed.body[..]).unwrap(), plain);
}

#[tokio::test]
async fn who_sends_slowly_is_cut_off_and_others_are_served() {
    let short = Duration::from_millis(200);
    let settings = Settings {
        domain: Some("relay.example".into()),
        head_patience: short,
        body_patience: short,
        ..Settings::default()
    };
    let scene = Scene::with(settings).await;
    let token = scene.token(0, ANN, Role::Operator).await;
    let whole = Ask::post("/sync/push", &push(1)).token(&token).bytes();
    // One never ends the head, one never ends the body.
    for length in [40, whole.len() - 1] {
        let mut slow = TcpStream::connect(scene.address).await.unwrap();
        slow.write_all(&whole[..length]).await.unwrap();
        let pull = Ask::get("/sync/pull").token(&token).send(scene.address).await;
        assert_eq!(pull.status, 200);
        let mut answer = Vec::new();
        // The server ends it: this side says nothing more.
        slow.read_to_end(&mut answer).await.unwrap();
        let text = String::from_utf8(answer).unwrap();
        assert!(text.is_empty() || text.starts_with("HTTP/1.1 408"), "{text}");
    }
}

#[tokio::test]
async fn a_token_that_is_forged_expired_or_of_nobody_opens_nothing() {
    let scene = Scene::new().await;
    let token = scene.token(0, ANN, Role::Operator).await;
    let other = scene.token(1, BEN, Role::Admin).await;
    let parts: Vec<&str> = token.split('.').collect();
    let encode = |json: Json| BASE64URL_NOPAD.encode(json.to_string().as_bytes());
    let decode = |part: &str| -> Json {
        serde_json::from_slice(&BASE64URL_NOPAD.decode(part.as_bytes()).unwrap()).unwrap()
    };
    let (head, claims) = (decode(parts[0]), decode(parts[1]));
    let with = |mut json: Json, key: &str, value: Json| {
        json[key] = value;
        encode(json)
    };
    let none = with(head.clone(), "alg", "none".into());
    let admin = with(claims.clone(), "role", "ADMIN".into());
    let late = with(claims.clone(), "exp", json!(99_999_999_999_u64));
    let moved = with(claims, "tenantId", tenant(1).to_string().into());
    for forged in [
        format!("{none}.{}.", parts[1]),
        format!("{none}.{}.{}", parts[1], parts[2]),
        format!("{}.{admin}.{}", parts[0], parts[2]),
        format!("{}.{late}.{}", parts[0], parts[2]),
        format!("{}.{moved}.{}", parts[0], parts[2]),
        format!("{}.{}.", parts[0], parts[1]),
        other.replace(other.split('.').nth(1).unwrap(), parts[1]),
        "x".repeat(10_000),
        "..".into(),
    ] {
        let answer = Ask::get("/sync/pull").token(&forged).send(scene.address).await;
        assert_eq!(told(&answer).0, 401, "{forged}");
        assert_eq!(answer.headers["www-authenticate"], "Bearer");
    }
    for ask in [
        Ask::get("/sync/pull"),
        Ask::get("/sync/pull").with("authorization", "Basic YTpi"),
        Ask::get("/sync/pull").token(&token).token(&other),
        Ask::get(&format!("/sync/pull?access_token={token}")),
    ] {
        assert_eq!(ask.send(scene.address).await.status, 401);
    }
    assert_no_answer(&Ask::get("/api/sync/pull").send(scene.address).await);
}

#[tokio::test]
async fn another_tenant_is_not_reached_by_header_host_query_or_body() {
    let scene = Scene::new().await;
    let token = scene.token(0, ANN, Role::Admin).await;
    scene.add(1, BEN, Role::Operator);
    let get = || Ask::get("/sync/pull").token(&token);
    let status = async |ask: Ask| ask.send(scene.address).await.status;
    assert_eq!(status(get().with("x-tenant-subdomain", "acme")).await, 200);
    assert_eq!(status(get().with("host", "ACME.relay.example:7880")).await, 200);
    assert_eq!(status(get().with("x-tenant-subdomain", "other")).await, 403);
    assert_eq!(status(get().with("x-tenant-subdomain", &tenant(1).to_string())).await, 403);
    assert_eq!(status(get().with("host", "other.relay.example")).await, 403);
    let both = get().with("host", "acme.relay.example").with("x-tenant-subdomain", "other");
    assert_eq!(status(both).await, 403);
    let (host, short) = ("acme.relay.example", tenant(0).short());
    let both = get().with("host", host).with("x-tenant-subdomain", &short);
    assert_eq!(status(both).await, 200, "two names of one tenant agree");
    let twice = get().with("x-tenant-subdomain", "acme").with("x-tenant-subdomain", "other");
    assert_eq!(status(twice).await, 404);
    assert_eq!(status(get().with("x-tenant-subdomain", "nobody")).await, 404);
    // A query that names another tenant changes nothing; a body that does is refused.
    let pulled = Ask::get(&format!("/sync/pull?tenantId={}", tenant(1))).token(&token);
    let pulled = pulled.send(scene.address).await.json();
    assert_eq!(pulled["tenantId"], tenant(0).to_string());
    let batch =
        |name: &str| json!({ "tenantId": name, "events": [], "deviceInfo": { "deviceId": "T" } });
    let send = |name: &str| Ask::post("/field-data/sync", &batch(name)).token(&token);
    assert_eq!(status(send(&tenant(1).to_string())).await, 403);
    assert_eq!(status(send("other")).await, 403);
    assert_eq!(status(send("acme")).await, 200);
    // A person of one tenant is nobody in the other.
    let login = json!({ "email": ANN, "password": PASSWORD });
    let login = |slug: &str| Ask::post("/auth/login", &login).with("x-tenant-subdomain", slug);
    assert_eq!(status(login("other")).await, 401);
    assert_eq!(status(login("nobody")).await, 404);
    let session = scene.log_in(0, ANN).await;
    let renewal = Ask::post("/auth/refresh", &json!({ "refreshToken": session["refreshToken"] }));
    assert_eq!(status(renewal.clone().with("x-tenant-subdomain", "other")).await, 403);
    let text = session["refreshToken"].as_str().unwrap();
    let (_, secret) = text.split_once('.').unwrap();
    let moved = json!({ "refreshToken": format!("{}.{secret}", tenant(1).short()) });
    assert_eq!(status(Ask::post("/auth/refresh", &moved)).await, 401);
    assert_eq!(status(renewal).await, 200);
}

#[tokio::test]
async fn a_limit_is_one_whatever_token_path_or_header_a_request_carries() {
    let settings = Settings {
        domain: Some("relay.example".into()),
        address_rate: Rate::a_second(10_000),
        sync_rate: Rate { count: 4, millis: 3_600_000 },
        ..Settings::default()
    };
    let scene = Scene::with(settings).await;
    let token = scene.token(0, ANN, Role::Operator).await;
    let second = scene.log_in(0, ANN).await["accessToken"].as_str().unwrap().to_owned();
    for (path, token) in [
        ("/sync/pull", &token),
        ("/sync/pull", &second),
        ("/dialect/wellpulse/sync/pull", &token),
        ("/sync/entries", &second),
    ] {
        let ask = Ask::get(path).token(token).with("x-device-id", path);
        assert_eq!(ask.send(scene.address).await.status, 200, "{path}");
    }
    for (path, is_text) in [("/sync/pull", false), ("/api/sync/pull?lastSyncTimestamp=0", true)] {
        let ask = Ask::get(path).token(&second).with("x-forwarded-for", "203.0.113.9");
        let answer = ask.send(scene.address).await;
        assert_eq!(answer.status, 429, "{path}");
        let seconds: u32 = answer.headers["retry-after"].parse().unwrap();
        assert!((3_590..=3_600).contains(&seconds), "{seconds}");
        if is_text {
            assert_no_answer(&answer);
        } else {
            told(&answer);
        }
    }
    // Others of the tenant, and single operations, are counted on their own.
    let ben = scene.token(0, BEN, Role::Operator).await;
    assert_eq!(Ask::get("/sync/pull").token(&ben).send(scene.address).await.status, 200);
    assert_eq!(scene.shell.counts().measured().refused_by_rate, 2);
}

#[tokio::test]
async fn an_address_comes_so_often_whatever_it_says_to_be() {
    let rate = Rate { count: 3, millis: 3_600_000 };
    let settings = Settings { address_rate: rate, ..Settings::default() };
    let scene = Scene::with(settings).await;
    let ask = |address: &str| Ask::get("/api/health").with("x-forwarded-for", address);
    for host in 1..=3 {
        assert_eq!(ask(&format!("192.0.2.{host}")).send(scene.address).await.status, 200);
    }
    assert_eq!(told(&ask("192.0.2.4").send(scene.address).await).0, 429);
    // Behind a proxy that was named, each client is counted on its own.
    let proxies = vec!["127.0.0.1".parse().unwrap()];
    let settings = Settings { address_rate: rate, proxies, ..Settings::default() };
    let scene = Scene::with(settings).await;
    for host in 1..=8 {
        assert_eq!(ask(&format!("192.0.2.{host}")).send(scene.address).await.status, 200);
    }
    for _ in 0..2 {
        // What a client writes before the proxy does is nobody's address.
        ask("192.0.2.77, 192.0.2.1").send(scene.address).await;
    }
    assert_eq!(ask("192.0.2.78, 192.0.2.1").send(scene.address).await.status, 429);
}

#[tokio::test]
async fn passwords_cannot_be_tried_at_will() {
    let scene = Scene::new().await;
    scene.add(0, ANN, Role::Operator);
    let body = json!({ "email": ANN, "password": "not this one" });
    let ask = Ask::post("/auth/login", &body).with("x-tenant-subdomain", "acme");
    let mut statuses = Vec::new();
    for _ in 0..11 {
        statuses.push(ask.send(scene.address).await.status);
    }
    assert_eq!(statuses, [vec![401; 10], vec![429]].concat());
}

#[tokio::test]
async fn a_panic_is_a_500_a_count_and_the_end_of_nothing() {
    let scene = Scene::new().await;
    let token = scene.token(0, ANN, Role::Operator).await;
    let body = json!({ "deviceId": PANIC, "entries": [entry(1)] });
    let ask = Ask::post("/sync/push", &body).token(&token);
    assert_eq!(told(&ask.send(scene.address).await), (500, "Internal server error".into()));
    let batch = json!({ "tenantId": "acme", "events": [], "deviceInfo": { "deviceId": PANIC } });
    Ask::post("/field-data/sync", &batch).token(&token).send(scene.address).await;
    assert_eq!(Ask::get("/sync/pull").token(&token).send(scene.address).await.status, 200);
    assert!(scene.shell.counts().measured().defects >= 1);
    // Of the tenant alone whose token it was.
    let failures = scene.shell.counts().failures();
    let [(tenant, count)] = failures.as_slice() else { panic!("{failures:?}") };
    assert!(*tenant == super::scene::tenant(0).to_string() && *count >= 1, "{failures:?}");
}

#[tokio::test]
async fn pages_of_other_origins_may_ask_where_that_is_allowed() {
    let origins = fieldmesh_http::Origins::Only(vec!["https://app.example.org".into()]);
    let settings = Settings { origins, ..Settings::default() };
    let scene = Scene::with(settings).await;
    let preflight = |origin: &str| Ask {
        method: "OPTIONS",
        ..Ask::get("/sync/push")
            .with("origin", origin)
            .with("access-control-request-method", "POST")
            .with("access-control-request-headers", "authorization,content-type,x-device-id")
    };
    let allowed = preflight("https://app.example.org").send(scene.address).await;
    assert_eq!(allowed.headers["access-control-allow-origin"], "https://app.example.org");
    assert!(allowed.headers["access-control-allow-headers"].contains("x-device-id"));
    let other = preflight("https://evil.example").send(scene.address).await;
    assert!(!other.headers.contains_key("access-control-allow-origin"));
}
