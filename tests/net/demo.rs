//! The demo: the first thing that anybody runs.

use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value as Json;

use crate::process::{Running, program};

/// A demo whose homes lie in `folder`.
fn demo(folder: &tempfile::TempDir, options: &[&str]) -> Running {
    // Both programs are needed; without the relay's the demo would only say how to build it.
    program("sync-relay");
    let mut command = Command::new(program("fieldmesh"));
    command.args(["demo", "--json"]).args(options).env("TMPDIR", folder.path());
    Running::start(command, None)
}

fn is_empty(folder: &tempfile::TempDir) -> bool {
    folder.path().read_dir().unwrap().next().is_none()
}

#[test]
fn the_demo_loses_nothing_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let told = demo(&folder, &[]).finish().ok().lines();
    let end = told.last().unwrap();
    assert_eq!(end["result"], "ok", "{end}");
    assert_eq!((&end["replicas"], &end["conflicts"]), (&3.into(), &1.into()), "{end}");
    assert!(end["acknowledged"].as_u64().unwrap() >= 54, "{end}");
    assert!(end["bytes"].as_u64() > Some(0) && end["rounds"].as_u64() > Some(0), "{end}");
    assert!(is_empty(&folder));
}

#[test]
fn the_demo_without_mdns_says_that_an_address_replaces_it() {
    let folder = tempfile::tempdir().unwrap();
    let told = demo(&folder, &["--no-mdns", "--keep"]).finish().ok().lines();
    let find = |key: &str| told.iter().find(|line| line.get(key).is_some()).unwrap();
    let met = told.iter().find(|line| line["chapter"] == "meeting").unwrap();
    assert_eq!(met["mdns"], false, "{met}");
    assert!(met["text"].as_str().unwrap().contains("remembers"), "{met}");
    assert_eq!(find("result")["mdns"], false);
    assert_eq!(find("commands")["commands"].as_array().map(Vec::len), Some(3));
    assert!(!is_empty(&folder), "--keep keeps the homes");
}

#[test]
fn a_demo_that_is_interrupted_stops_every_process_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut running = demo(&folder, &[]);
    // The relay and a device run by the time of the first lines about records.
    while !running.line().contains("acknowledged") {}
    let pid = Pid::from_raw(i32::try_from(running.pid()).unwrap()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    let outcome = running.finish().code(1);
    let problem: Json = outcome.lines().pop().unwrap();
    assert!(problem["problem"]["detail"].as_str().unwrap().contains("nothing is kept"));
    assert!(is_empty(&folder));
}
