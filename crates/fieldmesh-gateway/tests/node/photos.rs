//! Photos of an entry: kept once, given out whole, also when they come in parts.

use fieldmesh_dialect::{Method, Request, Response, understand};
use fieldmesh_model::Role;
use sha2::{Digest, Sha256};

use crate::{Office, now};

/// A photo.
const BYTES: [u8; 3_000] = [7; 3_000];

async fn send(office: &Office, request: Request) -> Response {
    let caller = office.caller(Role::Operator);
    let ask = understand(&request, Some(&caller)).unwrap();
    let command = ask.command.clone();
    ask.answer(office.gateway.execute(&caller, ask.dialect, command, now()).await)
}

fn upload(range: Option<(usize, usize)>, hash: Option<&str>) -> Request {
    let (first, last) = range.unwrap_or((0, BYTES.len()));
    let mut request = Request::new(Method::Post, "/upload", now())
        .with_header("content-type", "image/jpeg")
        .with_body(BYTES[first..last].to_vec());
    if range.is_some() {
        let range = format!("bytes {first}-{}/{}", last - 1, BYTES.len());
        request = request.with_header("content-range", &range);
    }
    match hash {
        Some(hash) => request.with_header("x-content-sha256", hash),
        None => request,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_photo_is_given_out_as_it_was_sent_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    let office = Office::create(&home).await;
    let first = send(&office, upload(None, None)).await;
    assert_eq!(first.status, 201);
    let body: serde_json::Value = serde_json::from_slice(&first.body).unwrap();
    let (id, url) = (body["id"].as_str().unwrap(), body["url"].as_str().unwrap());
    assert_eq!(send(&office, upload(None, None)).await.status, 200);
    // Nothing of it lies readable on the disk.
    let stored = std::fs::read(home.join("photos").join(id)).unwrap();
    assert!(!stored.windows(64).any(|part| part == &BYTES[..64]));
    office.close().await;
    let office = Office::open(&home).await;
    let given = send(&office, Request::new(Method::Get, url, now())).await;
    assert_eq!((given.status, given.body), (200, BYTES.to_vec()));
    assert_eq!(office.gateway.photo_size(&id.to_uppercase()).await, Some(BYTES.len()));
    assert_eq!(office.gateway.photo_size(&"0".repeat(64)).await, None);
    let unknown = format!("/upload/{}", "0".repeat(64));
    assert_eq!(send(&office, Request::new(Method::Get, &unknown, now())).await.status, 404);
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_photo_that_comes_in_parts_is_whole_when_the_last_one_is_here() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let whole = send(&office, upload(None, None)).await;
    let body: serde_json::Value = serde_json::from_slice(&whole.body).unwrap();
    let hash = body["id"].as_str().unwrap().to_owned();
    office.close().await;
    let office = Office::create(&folder.path().join("other")).await;
    let parts = [(2_000, 3_000), (0, 1_500), (0, 1_500), (1_000, 2_000)];
    let mut statuses = Vec::new();
    for part in parts {
        statuses.push(send(&office, upload(Some(part), Some(&hash))).await.status);
    }
    assert_eq!(statuses, [202, 202, 202, 201]);
    let given = send(&office, Request::new(Method::Get, &format!("/upload/{hash}"), now())).await;
    assert_eq!(given.body, BYTES.to_vec());
    let wrong = send(&office, upload(None, Some(&"0".repeat(64)))).await;
    assert_eq!(wrong.status, 400);
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_a_restored_home_has_lost_is_taken_again() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    let office = Office::create(&folder.path().join("other")).await;
    let whole = send(&office, upload(None, None)).await;
    let body: serde_json::Value = serde_json::from_slice(&whole.body).unwrap();
    let hash = body["id"].as_str().unwrap().to_owned();
    office.close().await;
    let office = Office::create(&home).await;
    let parts = [(0, 1_000), (1_000, 2_000), (2_000, 3_000)];
    for part in &parts[..2] {
        assert_eq!(send(&office, upload(Some(*part), Some(&hash))).await.status, 202);
    }
    std::fs::remove_file(home.join(format!("photos/{hash}.0"))).unwrap();
    std::fs::write(home.join(format!("photos/{hash}.1000")), "of another upload").unwrap();
    // The app sends the last one, is told that some are missing, and sends all of them anew.
    let mut statuses = Vec::new();
    for part in [parts[2], parts[0], parts[1]] {
        statuses.push(send(&office, upload(Some(part), Some(&hash))).await.status);
    }
    assert_eq!(statuses, [202, 202, 201]);
    let get = || Request::new(Method::Get, &format!("/upload/{hash}"), now());
    assert_eq!(send(&office, get()).await.body, BYTES.to_vec());
    // A whole photo that is gone from the disk is taken again as well.
    std::fs::remove_file(home.join("photos").join(&hash)).unwrap();
    assert_eq!(send(&office, get()).await.status, 404);
    assert_eq!(send(&office, upload(None, None)).await.status, 201);
    assert_eq!(send(&office, get()).await.body, BYTES.to_vec());
    office.close().await;
}

/// Bytes of one part of a photo that is sent within a quota.
const PART: usize = 200_000;

/// Sends a photo of two parts under the hash of another one, or its own; gives the statuses.
async fn send_in_two(office: &Office, photo: &[u8], hash: &str) -> [u16; 2] {
    let mut statuses = [0; 2];
    for (index, status) in statuses.iter_mut().enumerate() {
        let (first, last) = (index * PART, (index + 1) * PART);
        let request = Request::new(Method::Post, "/upload", now())
            .with_header("content-type", "image/jpeg")
            .with_header("content-range", &format!("bytes {first}-{}/{}", last - 1, 2 * PART))
            .with_header("x-content-sha256", hash)
            .with_body(photo[first..last].to_vec());
        *status = send(office, request).await.status;
    }
    statuses
}

#[tokio::test(flavor = "multi_thread")]
async fn photos_that_are_refused_or_came_in_parts_leave_room_for_others() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    office.node.grant(Some(10 * PART as u64), 0);
    let photo = |fill: u8| vec![fill; 2 * PART];
    for round in 0..8 {
        let statuses = send_in_two(&office, &photo(1), &"0".repeat(64)).await;
        assert_eq!(statuses, [202, 400], "{round}");
    }
    for fill in [2, 3, 4] {
        let hash = data_encoding::HEXLOWER.encode(&Sha256::digest(photo(fill)));
        assert_eq!(send_in_two(&office, &photo(fill), &hash).await, [202, 201], "{fill}");
    }
    office.close().await;
}
