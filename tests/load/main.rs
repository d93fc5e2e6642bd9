//! Many tenants, devices and apps on one relay for a long time: no error, no loss, bounded memory.
//!
//! Goal: a relay that serves everybody at once loses nothing of anybody, shows nobody anything of
//! another tenant, answers no request with a fault, and needs no more memory and files the longer
//! it runs. Method: the real `sync-relay`, tenants made by its commands, devices as nodes in this
//! process whose homes are opened in rotation, and apps that speak the five dialects of HTTP.
//! Every record carries a mark that says whose it is; in the end each device and each app of a
//! tenant has to show all marks that were acknowledged there, each once, and no other tenant's.
//!
//! What is done is drawn from a seed; when, and on which threads, is not. Sizes are arguments:
//! `cargo load --tenants 200 --devices 1000 --minutes 5 --seed 1`.

#![allow(clippy::unwrap_used, reason = "a test that cannot set up its scene has failed")]

#[allow(dead_code, reason = "the tests over the network use the rest of it")]
#[path = "../net/app.rs"]
mod app;
mod apps;
mod crew;
#[allow(dead_code, reason = "the tests over the network use the rest of it")]
#[path = "../net/device.rs"]
mod device;
mod figures;
mod live;
mod marks;
#[allow(dead_code, reason = "the tests of destruction use the rest of it")]
#[path = "../destruction/numbers.rs"]
mod numbers;
#[allow(dead_code, reason = "the tests over the network use the rest of it")]
#[path = "../net/process.rs"]
mod process;
#[allow(dead_code, reason = "the tests over the network use the rest of it")]
#[path = "../net/relay.rs"]
mod relay;
#[allow(dead_code, reason = "the benches use the rest of it")]
#[path = "../../benches/scale/resident.rs"]
mod resident;
mod run;
#[allow(dead_code, reason = "the tests over the network use the rest of it")]
#[path = "../net/site.rs"]
mod site;
mod size;
mod watch;

use std::io::Write as _;
use std::process::ExitCode;

use size::Size;

fn main() -> ExitCode {
    let Some(size) = Size::asked(std::env::args().skip(1)) else { return ExitCode::SUCCESS };
    let faults = run::run(size);
    for fault in &faults {
        tell(&format!("FAILED: {fault}"));
    }
    if faults.is_empty() {
        return ExitCode::SUCCESS;
    }
    tell(&format!("repeat it: cargo load {size}"));
    ExitCode::FAILURE
}

/// A line for whoever runs this; a closed output hides only that.
fn tell(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}
