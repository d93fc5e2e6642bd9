//! Runs the simulator: `cargo sim -- [--from SEED] [--seeds N] [--plan NAME]`.

use std::io::{self, Write};
use std::process::ExitCode;

use fieldmesh_sim::{Plan, run};

const USAGE: &str = "usage: cargo sim -- [--from SEED] [--seeds N] [--plan NAME]";

/// What the command line asks for.
struct Options {
    from: u64,
    seeds: u64,
    plans: Vec<Plan>,
}

fn main() -> ExitCode {
    let Some(options) = parse(std::env::args().skip(1)) else {
        let names: Vec<&str> = Plan::all().iter().map(|plan| plan.name).collect();
        // Where the message cannot be written either, the exit code says enough.
        let _ = writeln!(io::stderr(), "{USAGE}\nplans: {}", names.join(", "));
        return ExitCode::from(2);
    };
    match live(&options, &mut io::stdout().lock()) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) | Err(_) => ExitCode::FAILURE,
    }
}

/// Runs all plans with all seeds; gives the number of failures.
fn live(options: &Options, out: &mut impl Write) -> io::Result<u64> {
    let mut failures = 0;
    for plan in &options.plans {
        for seed in options.from..options.from.saturating_add(options.seeds) {
            match run(plan, seed) {
                Ok(outcome) => writeln!(
                    out,
                    "{:<10} seed {seed:<6} {} nodes, {} batches, {} conversations, {} cut, \
                     {} sent, {} stored, {} + {} bytes, calm {} ms, trace {}",
                    plan.name,
                    outcome.nodes,
                    outcome.batches,
                    outcome.conversations,
                    outcome.cuts,
                    outcome.sent,
                    outcome.stored,
                    outcome.control_bytes,
                    outcome.data_bytes,
                    outcome.calm_millis,
                    outcome.trace,
                )?,
                Err(failure) => {
                    failures += 1;
                    writeln!(out, "FAILED {failure}")?;
                }
            }
        }
    }
    Ok(failures)
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Option<Options> {
    let mut options = Options { from: 1, seeds: 10, plans: Plan::all() };
    while let Some(name) = arguments.next() {
        let value = arguments.next()?;
        match name.as_str() {
            "--from" => options.from = value.parse().ok()?,
            "--seeds" => options.seeds = value.parse().ok()?,
            "--plan" => options.plans = vec![Plan::named(&value)?],
            _ => return None,
        }
    }
    Some(options)
}
