//! Figures for a look: `cargo test -p fieldmesh-gateway --test node -- --ignored --nocapture`.

use std::time::Instant;

use serde_json::json;

use crate::{Office, entry, well};

const ROUNDS: usize = 20;
const ENTRIES: usize = 100;
const WELLS: u32 = 1_000;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn pushes_and_pulls_take_so_long() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let mut name = String::new();
    for number in 0..WELLS {
        name = well(&office.node, number).await;
    }
    let (wall, cpu) = (Instant::now(), cpu_millis());
    for round in 0..ROUNDS {
        let minute = |index: usize| round * ENTRIES + index;
        let entries: Vec<_> = (0..ENTRIES).map(|n| entry(&name, minute(n), 80.0)).collect();
        let started = Instant::now();
        office.post("/sync/push", &json!({ "deviceId": "T1", "entries": entries })).await;
        if round % 5 == 0 {
            println!("push {round}: {:?}", started.elapsed());
        }
    }
    let count = (ROUNDS * ENTRIES) as u64;
    let (wall, cpu) = (wall.elapsed(), cpu_millis() - cpu);
    println!("{count} entries: {wall:?}, {} us CPU per entry", cpu * 1_000 / count);
    for _ in 0..3 {
        let started = Instant::now();
        let pulled = office.get("/sync/pull").await;
        let wells = pulled["wells"].as_array().unwrap().len();
        println!("pull of {wells} wells: {:?}", started.elapsed());
    }
    office.close().await;
}

/// What this process has used so far, to ten milliseconds.
fn cpu_millis() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    (fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()) * 10
}
