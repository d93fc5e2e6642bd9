//! Whoever waits for the view is told when its disk fails, however that comes about.
//!
//! A write of sled is held until everybody waits for it, and fails only then. The library that
//! does so is that of the destruction tests, so this needs a C compiler, and a process of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::channel;
use std::thread::{self, Builder};
use std::time::Duration;

use fieldmesh_store::{Store, Tree, WriteSet};

use super::{key, options};

const SHIM: &str = include_str!("../../../../tests/destruction/shim.c");
/// The folder of the process that waits, told by its environment.
const FOLDER: &str = "FIELDMESH_WAITING_IN";
/// A thread that looks after the view wakes once a second.
const DEADLINE: Duration = Duration::from_secs(60);

#[test]
fn nobody_waits_for_ever_for_a_view_whose_disk_failed_in_the_background() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("shim.c"), SHIM).unwrap();
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(path("shim.so")).arg(path("shim.c"));
    let is_built = |mut compiler: Command| compiler.status().is_ok_and(|status| status.success());
    compiler.args(["-ldl", "-lpthread"]);
    if !is_built(compiler) {
        println!("SKIPPED: holding a write to a disk needs a C compiler");
        return;
    }
    assert!(Command::new("mkfifo").arg(path("until")).status().unwrap().success());
    let waiting = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "waiting::waits_for_a_disk_that_fails", "--ignored", "--nocapture"])
        .envs([(FOLDER, folder.path()), ("DISK_ROOT", &path("home/view"))])
        .envs([("DISK_WHILE", path("while")), ("DISK_UNTIL", path("until"))])
        .envs([("DISK_FIRED", path("fired")), ("LD_PRELOAD", path("shim.so"))])
        .envs([("DISK_CALL", "1"), ("DISK_FAULT", "EIO")])
        .status();
    assert!(waiting.unwrap().success());
}

#[test]
#[ignore = "a process of its own that the test above starts"]
fn waits_for_a_disk_that_fails() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
    let store = Store::open(folder.join("home"), &key(), &options()).unwrap();
    store.view().apply(rows(1)).unwrap();
    store.flush_view().unwrap();
    // From here on the next write of sled is held: the one that its last writer leaves behind.
    fs::write(folder.join("while"), "").unwrap();
    store.view().apply(rows(2)).unwrap();
    let (tell, told) = channel();
    let flush = move || {
        // Nobody may listen any more.
        let _ = tell.send(store.flush_view());
    };
    Builder::new().name("flush".into()).spawn(flush).unwrap();
    Builder::new().name("watch".into()).spawn(move || let_it_fail(&folder)).unwrap();
    match told.recv_timeout(DEADLINE) {
        Ok(Err(_)) => {}
        Ok(Ok(())) => panic!("what is not on the disk counts as flushed"),
        Err(_) => {
            println!("whoever flushes waits for ever");
            // Whatever is dropped would wait as well.
            std::process::exit(1);
        }
    }
}

fn rows(number: u8) -> WriteSet {
    let mut rows = WriteSet::new();
    (0..50_u8).for_each(|row| rows.put(Tree::Meta, vec![b'w', number, row], vec![row; 300]));
    rows
}

/// Lets the write that is held fail once all others wait.
fn let_it_fail(folder: &Path) {
    while !folder.join("fired").exists() {
        thread::yield_now();
    }
    let mut before = None;
    loop {
        let switches = switches_of_the_waiting();
        if switches.is_some() && switches == before {
            break;
        }
        before = switches;
        thread::yield_now();
    }
    drop(fs::File::options().write(true).open(folder.join("until")));
}

/// How often the other threads have given up the processor, if each of them waits: where that
/// stays the same, none did anything in between.
fn switches_of_the_waiting() -> Option<u64> {
    let own = fs::read_link("/proc/thread-self").ok()?;
    let mut switches = 0;
    for task in fs::read_dir("/proc/self/task").ok()? {
        let task = task.ok()?.path();
        if task.file_name() == own.file_name() {
            continue;
        }
        let status = fs::read_to_string(task.join("status")).ok()?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            Some(line.trim().to_owned())
        };
        if !field("State:")?.starts_with('S') {
            return None;
        }
        switches += field("voluntary_ctxt_switches:")?.parse::<u64>().ok()?;
    }
    Some(switches)
}
