//! Ours beside the raw disk, SQLite and redb: the same entries, the same work, one run.
//!
//! The others hold an entry as its JSON with three index rows; ours holds its signed history, a
//! record merged from that, and as many index rows, all of them encrypted.

mod crew;

#[path = "compare/acknowledge.rs"]
mod acknowledge;
#[path = "compare/disk.rs"]
mod disk;
#[path = "compare/holding.rs"]
mod holding;
#[path = "compare/idle.rs"]
mod idle;
#[path = "compare/other.rs"]
mod other;
#[path = "compare/redb_file.rs"]
mod redb_file;
#[path = "compare/relay.rs"]
mod relay;
#[path = "compare/sqlite.rs"]
mod sqlite;

use std::error::Error;

use crew::Size;

fn main() -> Result<(), Box<dyn Error>> {
    if crew::is_test() {
        return Ok(());
    }
    // The idle nodes keep their memory as the programs do.
    fieldmesh_shell::memory::give_back();
    tokio::runtime::Runtime::new()?.block_on(run())
}

async fn run() -> Result<(), Box<dyn Error>> {
    if idle::is_idle_node().await? {
        return Ok(());
    }
    let size = Size::asked();
    let parts = Part::asked();
    for part in parts {
        match part {
            Part::Record => acknowledge::run(size).await?,
            Part::Holding => holding::run(size).await?,
            Part::Disk => disk::run(size).await?,
            Part::Relay => relay::run(size).await?,
        }
    }
    Ok(())
}

/// What can be run by itself, by its name on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Record,
    Holding,
    Disk,
    Relay,
}

impl Part {
    const ALL: [(&str, Self); 4] = [
        ("record", Self::Record),
        ("holding", Self::Holding),
        ("disk", Self::Disk),
        ("relay", Self::Relay),
    ];

    /// The parts that the command line names, or all.
    fn asked() -> Vec<Self> {
        let is_named = |name: &str| std::env::args().any(|argument| argument == name);
        let named: Vec<Self> =
            Self::ALL.iter().filter(|(name, _)| is_named(name)).map(|(_, part)| *part).collect();
        if named.is_empty() { Self::ALL.map(|(_, part)| part).to_vec() } else { named }
    }
}
