//! A device that holds many entries, in a process of its own: opening, listing, memory, and its
//! view made anew.

use std::env;
use std::error::Error;
use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use fieldmesh::Node;
use fieldmesh::api::ListQuery;

use super::crew::homes::Crew;
use super::crew::meter::{Meter, quantile};
use super::crew::table;
use super::resident::{Resident, megabytes};

/// Says that this process is to be the device, in which home, and what it is called.
const HOME: &str = "FIELDMESH_SCALE_HOME";
const KEY: &str = "FIELDMESH_SCALE_KEY";
const LABEL: &str = "FIELDMESH_SCALE_LABEL";
/// What a node begins at its start has come to rest.
const REST: Duration = Duration::from_secs(8);
/// The entries of one well that are listed.
const NEWEST: usize = 50;

/// Opens the home as it is, and once more without its view. The crew's own node is shut down.
pub(crate) fn measure(crew: &Crew, count: usize) -> Result<(), Box<dyn Error>> {
    run(crew, &format!("{count} entries"))?;
    fs::remove_dir_all(crew.home("lead").join("store").join("view"))?;
    run(crew, &format!("{count} entries, no view"))
}

fn run(crew: &Crew, label: &str) -> Result<(), Box<dyn Error>> {
    let mut child = Command::new(env::current_exe()?);
    child.arg("--bench").env(HOME, crew.home("lead")).env(KEY, crew.home("lead.key"));
    let status = child.env(LABEL, label).stdin(Stdio::null()).status()?;
    if status.success() { Ok(()) } else { Err("the device failed".into()) }
}

/// Whether this process is the device; then it has been one.
pub(crate) async fn is_one() -> Result<bool, Box<dyn Error>> {
    let (Some(home), Some(key)) = (env::var_os(HOME), env::var_os(KEY)) else { return Ok(false) };
    let label = env::var(LABEL)?;
    let meter = Meter::start();
    let node = Node::builder(home).key_file(key).open().await?;
    let opened = meter.cost();
    list(&node, None, 1).await?;
    let whole = meter.cost();
    let at_first = Resident::here()?;
    tokio::time::sleep(REST).await;
    let idle = Resident::here()?;
    let wells = ListQuery { collection: "well".into(), ..ListQuery::default() };
    let mut times = Vec::new();
    for well in node.list(wells).await? {
        let start = Instant::now();
        list(&node, Some(well.id.to_string()), NEWEST).await?;
        times.push(start.elapsed());
    }
    let listed = Resident::here()?;
    let millis = |time: Duration| format!("{:.2}", time.as_secs_f64() * 1e3);
    table::head(&label, &["ms"])?;
    table::row("opened", &[&millis(opened.wall)])?;
    table::row("opened and one entry listed", &[&millis(whole.wall)])?;
    table::row("the same, processor time", &[&millis(whole.processor)])?;
    table::row("last 50 of a well, p50", &[&millis(quantile(times.clone(), 0.5))])?;
    table::row("last 50 of a well, p95", &[&millis(quantile(times, 0.95))])?;
    table::head("memory", &["MB own", "MB resident", "MB peak"])?;
    for (label, memory) in [("opened", at_first), ("idle", idle), ("all wells listed", listed)] {
        let cells = [memory.own, memory.now, memory.peak].map(megabytes);
        table::row(label, &[&cells[0], &cells[1], &cells[2]])?;
    }
    node.shutdown().await?;
    Ok(true)
}

async fn list(node: &Node, well: Option<String>, limit: usize) -> Result<(), Box<dyn Error>> {
    let filters = well.map(|well| format!("wellId={well}")).into_iter().collect();
    let collection = "field_entry".into();
    let query = ListQuery { collection, filters, limit: Some(limit), ..ListQuery::default() };
    let listed = node.list(query).await?.len();
    if listed == 0 { Err("no entry was listed".into()) } else { Ok(()) }
}
