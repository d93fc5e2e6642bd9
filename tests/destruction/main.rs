//! Whatever happens to a device, nothing that was acknowledged is lost without a word.
//!
//! Goal: for every fault that a field device meets, what was printed as recorded is there
//! afterwards, comes back from a peer, or is named as damaged. Method: the real programs on real
//! homes, which are killed, cut off from power, damaged, deleted, filled up and copied, as seeds
//! say; then the programs open what is left and have to show everything. A table at the end counts
//! what was tried, and each failure comes with the command that repeats it.
//!
//! The programs are built by `tests/run`; by hand:
//! `cargo build -p fieldmesh-cli -p sync-relay`. A long run gives each fault so many minutes:
//! `cargo destruction --minutes 30 --from 100`.

#![allow(clippy::unwrap_used, reason = "a test that cannot set up its scene has failed")]

mod account;
#[allow(dead_code, reason = "the tests over the network use the rest of it")]
#[path = "../net/app.rs"]
mod app;
mod backup;
mod clocks;
mod damage;
mod day;
#[allow(dead_code, reason = "the tests over the network use the rest of it")]
#[path = "../net/device.rs"]
mod device;
mod disk;
mod evict;
mod failing;
mod flip;
mod gateway;
mod journal;
mod kill;
mod numbers;
mod power;
#[allow(dead_code, reason = "the tests over the network use the rest of it")]
#[path = "../net/process.rs"]
mod process;
mod purge;
mod rekey;
#[allow(dead_code, reason = "the tests over the network use the rest of it")]
#[path = "../net/relay.rs"]
mod relay;
mod restore;
mod round;
#[allow(dead_code, reason = "the tests over the network use the rest of it")]
#[path = "../net/site.rs"]
mod site;
mod space;
mod stage;
mod swap;
mod tally;
mod twins;

use std::io::Write as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use round::{Theme, Wish};
use tally::Table;

/// In the order of the table.
const THEMES: [Theme; 19] = [
    kill::THEME,
    power::NOTHING_LEFT,
    power::PIECES_LEFT,
    flip::THEME,
    swap::THEME,
    space::THEME,
    twins::PROGRAMS_THEME,
    twins::COPIES_THEME,
    clocks::THEME,
    evict::THEME,
    rekey::THEME,
    backup::THEME,
    backup::FLIP_THEME,
    restore::THEME,
    purge::THEME,
    gateway::kill::THEME,
    gateway::flip::THEME,
    gateway::swap::THEME,
    gateway::space::THEME,
];

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let mut wish = Wish { from: 1, rounds: 1, only: None, time: None };
    let mut names = Vec::new();
    while let Some(argument) = arguments.next() {
        let mut number = || arguments.next().and_then(|text| text.parse().ok());
        match argument.as_str() {
            "--from" => wish.from = number().expect("--from takes a seed"),
            "--rounds" => wish.rounds = number().expect("--rounds takes a number"),
            "--try" => {
                let only = number().and_then(|only: u64| usize::try_from(only).ok());
                wish.only = Some(only.expect("--try takes the number of a try"));
            }
            "--minutes" => {
                let minutes: u64 = number().expect("--minutes takes a number");
                wish.time = Some(Duration::from_secs(minutes * 60));
            }
            "--list" => return ExitCode::SUCCESS,
            // Cargo hands on what is meant for other tests as well.
            other if other.starts_with('-') => {}
            name => names.push(name.to_owned()),
        }
    }
    let is_wanted =
        |theme: &&Theme| names.is_empty() || names.iter().any(|name| name == theme.name);
    if !THEMES.iter().any(|theme| is_wanted(&theme)) {
        let known: Vec<&str> = THEMES.iter().map(|theme| theme.name).collect();
        tell(&format!("nothing of {names:?} is tried here; there are {}", known.join(", ")));
    }
    let mut table = Table::default();
    let mut failures = Vec::new();
    for theme in THEMES.iter().filter(is_wanted) {
        let begin = Instant::now();
        let Some((tally, found)) = round::run(theme, wish) else { continue };
        tell(&format!("{:<8} {:>6.1?} {tally:?}", theme.name, begin.elapsed()));
        table.add(theme.fault, tally);
        failures.extend(found);
    }
    tell(&format!("\n{table}"));
    for failure in &failures {
        tell(&format!("LOST: {failure}"));
    }
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A line for whoever runs this; a closed output hides only that.
fn tell(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}
