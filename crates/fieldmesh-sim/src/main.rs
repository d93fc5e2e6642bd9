//! Runs the simulator and prints a table; `cargo sim -- --help` says how.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Instant;

use fieldmesh_sim::{Outcome, Plan, run, scenarios, shrink};

const USAGE: &str = "usage: cargo sim -- [--from SEED] [--seeds N] [--plan NAME]... \
                     [--set SETTING=NUMBER]... [--log] [--whole]
       cargo sim -- --scenarios

  --plan   one plan; without it, all of them
  --set    another number in these plans, as a failure prints it
  --log    says what happens, in virtual time
  --whole  reports failures as they are, without looking for smaller ones
  --scenarios  prints what the scenarios of the design cost";

/// What the command line asks for.
struct Options {
    from: u64,
    seeds: u64,
    plans: Vec<Plan>,
    has_log: bool,
    /// The scenarios of the design instead of plans.
    has_scenarios: bool,
    shrinks: bool,
}

fn main() -> ExitCode {
    let options = match parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(fault) => {
            let names: Vec<&str> = Plan::all().iter().map(|plan| plan.name).collect();
            // Where the message cannot be written either, the exit code says enough.
            let _ = writeln!(io::stderr(), "{fault}\n{USAGE}\nplans: {}", names.join(", "));
            return ExitCode::from(2);
        }
    };
    let out = &mut io::stdout().lock();
    let result = if options.has_scenarios { table(out) } else { live(&options, out) };
    match result {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) | Err(_) => ExitCode::FAILURE,
    }
}

/// The sums of one plan.
#[derive(Default)]
struct Row {
    days: u64,
    failures: u64,
    nodes: usize,
    batches: usize,
    conversations: usize,
    cuts: u64,
    bytes: u64,
    held_bytes_most: usize,
    calm_millis_most: i64,
}

impl Row {
    fn add(&mut self, outcome: &Outcome) {
        self.nodes += outcome.nodes;
        self.batches += outcome.batches;
        self.conversations += outcome.conversations;
        self.cuts += outcome.cuts;
        self.bytes += outcome.control_bytes + outcome.data_bytes;
        self.held_bytes_most = self.held_bytes_most.max(outcome.held_bytes);
        self.calm_millis_most = self.calm_millis_most.max(outcome.calm_millis);
    }
}

/// Runs all plans with all seeds; gives the number of failures.
fn live(options: &Options, out: &mut impl Write) -> io::Result<u64> {
    writeln!(
        out,
        "{:<10} {:>6} {:>6} {:>7} {:>8} {:>7} {:>7} {:>9} {:>9} {:>8} {:>7}",
        "plan",
        "days",
        "failed",
        "nodes",
        "batches",
        "links",
        "cut",
        "kB moved",
        "kB held",
        "calm s",
        "took s"
    )?;
    let mut failures = 0;
    for plan in &options.plans {
        let began = Instant::now();
        let mut row = Row::default();
        for seed in options.from..options.from.saturating_add(options.seeds) {
            row.days += 1;
            match day(plan, seed, options, out)? {
                Some(outcome) => row.add(&outcome),
                None => row.failures += 1,
            }
        }
        failures += row.failures;
        writeln!(
            out,
            "{:<10} {:>6} {:>6} {:>7} {:>8} {:>7} {:>7} {:>9} {:>9} {:>8.1} {:>7.1}",
            plan.name,
            row.days,
            row.failures,
            row.nodes,
            row.batches,
            row.conversations,
            row.cuts,
            row.bytes / 1_000,
            row.held_bytes_most / 1_000,
            row.calm_millis_most as f64 / 1_000.0,
            began.elapsed().as_secs_f64(),
        )?;
    }
    Ok(failures)
}

/// Prints what the scenarios of the design cost; gives the number of failures.
fn table(out: &mut impl Write) -> io::Result<u64> {
    let rows = match scenarios() {
        Ok(rows) => rows,
        Err(violation) => {
            writeln!(out, "FAILED {violation}")?;
            return Ok(1);
        }
    };
    writeln!(
        out,
        "{:<40} {:>14} {:>14} {:>6} {:>11} {:>11}",
        "scenario", "design", "B to compare", "turns", "B receipts", "B payload"
    )?;
    for row in rows {
        writeln!(
            out,
            "{:<40} {:>14} {:>14} {:>6} {:>11} {:>11}",
            row.name,
            row.design,
            row.reconciliation_bytes,
            row.turns,
            row.receipt_bytes,
            row.payload_bytes,
        )?;
    }
    Ok(0)
}

/// Lives through one day and reports how it fails.
fn day(
    plan: &Plan,
    seed: u64,
    options: &Options,
    out: &mut impl Write,
) -> io::Result<Option<Outcome>> {
    let result = if options.has_log { run(plan, seed, Some(out)) } else { run(plan, seed, None) };
    match result {
        Ok(outcome) => {
            if options.has_log {
                writeln!(out, "{outcome:?}, trace {}", outcome.trace)?;
            }
            Ok(Some(outcome))
        }
        Err(failure) => {
            writeln!(out, "FAILED {failure}")?;
            if options.shrinks {
                let smaller = shrink(&failure);
                writeln!(
                    out,
                    "  smaller: {}\n  repeat with: {}",
                    smaller.violation,
                    smaller.command()
                )?;
            }
            out.flush()?;
            Ok(None)
        }
    }
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options {
        from: 1,
        seeds: 10,
        plans: Vec::new(),
        has_log: false,
        has_scenarios: false,
        shrinks: true,
    };
    let mut changes = Vec::new();
    while let Some(name) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{name} lacks its value"));
        let number = |text: String| text.parse().map_err(|_| format!("{text} is no number"));
        match name.as_str() {
            "--from" => options.from = number(value()?)?,
            "--seeds" => options.seeds = number(value()?)?,
            "--plan" => {
                let wanted = value()?;
                let plan = Plan::named(&wanted).ok_or(format!("there is no plan {wanted}"))?;
                options.plans.push(plan);
            }
            "--set" => changes.push(value()?),
            "--log" => options.has_log = true,
            "--scenarios" => options.has_scenarios = true,
            "--whole" => options.shrinks = false,
            _ => return Err(format!("{name} means nothing here")),
        }
    }
    if options.plans.is_empty() {
        options.plans = Plan::all();
    }
    for plan in &mut options.plans {
        for change in &changes {
            plan.set(change).map_err(|error| error.to_string())?;
        }
    }
    Ok(options)
}
