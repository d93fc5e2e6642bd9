//! A relay that takes in all that a device holds, in a process of its own.

use std::env;
use std::error::Error;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fieldmesh::Node;
use fieldmesh::api::InviteOptions;
use fieldmesh_model::Role;

use super::crew::homes::{self, Crew};
use super::crew::meter::Meter;
use super::crew::table;
use super::resident::{Resident, megabytes};

/// Says that this process is to be the relay, in which home, and how it comes to be a member.
const HOME: &str = "FIELDMESH_SCALE_RELAY";
const KEY: &str = "FIELDMESH_SCALE_RELAY_KEY";
const INVITATION: &str = "FIELDMESH_SCALE_INVITATION";
/// What a node begins has come to rest.
const REST: Duration = Duration::from_secs(8);

/// Brings all entries of the lead to a new relay.
pub(crate) async fn measure(crew: &Crew, count: usize) -> Result<(), Box<dyn Error>> {
    let valid = Duration::from_secs(600);
    let options = InviteOptions { role: Role::Relay, user: None, valid, count: 1 };
    let invited = crew.lead.invite(options).await?;
    let invitation = &invited.first().ok_or("no invitation")?.invitation;
    let mut child = start(crew, Some(invitation))?;
    crew.lead.wait_for_joins(&invited).await?;
    let address = said(&mut child)?;
    let (meter, before) = (Meter::start(), processor_of(&child)?);
    let peer = homes::sync(&crew.lead, &address).await?;
    let cost = meter.cost();
    let relay = processor_of(&child)?.saturating_sub(before);
    let busy = Resident::of(&child.id().to_string())?;
    tokio::time::sleep(REST).await;
    let idle = Resident::of(&child.id().to_string())?;
    end(child)?;
    let each = |time: Duration| table::one(time.as_secs_f64() * 1e6 / count as f64);
    let bytes = (peer.bytes_in + peer.bytes_out) as f64 / count as f64;
    let columns = ["s", "us cpu/entry", "the relay's", "bytes/entry", "batches"];
    table::head("sync to a relay that holds nothing", &columns)?;
    let cells = [table::one(cost.wall.as_secs_f64()), each(cost.processor), each(relay)];
    let bytes = table::one(bytes);
    let label = format!("{count} entries");
    table::row(&label, &[&cells[0], &cells[1], &cells[2], &bytes, &peer.sent])?;
    let store = crew.home("relay").join("store");
    let sizes = [homes::size(&store.join("log"))?, homes::size(&store.join("view"))?];
    let cells = sizes.map(|bytes| table::one(bytes as f64 / count as f64));
    table::head("disk of the relay, bytes an entry", &["log", "view"])?;
    table::row(&label, &[&cells[0], &cells[1]])?;
    show("behind the sync", busy)?;
    show("idle", idle)
}

/// Starts the relay again, which reads what it holds.
pub(crate) fn reopen(crew: &Crew, count: usize) -> Result<(), Box<dyn Error>> {
    let start_of_it = Instant::now();
    let mut child = start(crew, None)?;
    said(&mut child)?;
    let time = start_of_it.elapsed().as_secs_f64() * 1e3;
    std::thread::sleep(REST);
    let memory = Resident::of(&child.id().to_string())?;
    end(child)?;
    table::note(&format!("the relay with {count} entries opened in {time:.1} ms"))?;
    show("idle, opened again", memory)
}

fn show(label: &str, memory: Resident) -> Result<(), Box<dyn Error>> {
    let cells = [memory.own, memory.now, memory.peak].map(megabytes);
    table::head("memory of the relay", &["MB own", "MB resident", "MB peak"])?;
    table::row(label, &[&cells[0], &cells[1], &cells[2]])?;
    Ok(())
}

fn start(crew: &Crew, invitation: Option<&str>) -> Result<Child, Box<dyn Error>> {
    let mut child = Command::new(env::current_exe()?);
    child.arg("--bench").env(HOME, crew.home("relay")).env(KEY, crew.home("relay.key"));
    if let Some(invitation) = invitation {
        child.env(INVITATION, invitation);
    }
    Ok(child.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?)
}

/// The address that the relay listens at.
fn said(child: &mut Child) -> Result<String, Box<dyn Error>> {
    let output = child.stdout.take().ok_or("the relay says nothing")?;
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line)?;
    Ok(line.trim().to_owned())
}

/// Its standard input ends, and so it does.
fn end(mut child: Child) -> Result<(), Box<dyn Error>> {
    drop(child.stdin.take());
    if child.wait()?.success() { Ok(()) } else { Err("the relay failed".into()) }
}

/// User and system time of the relay so far.
fn processor_of(child: &Child) -> Result<Duration, Box<dyn Error>> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id()))?;
    let (_, behind_name) = stat.rsplit_once(')').ok_or("the system does not tell")?;
    let ticks = behind_name.split_whitespace().skip(11).take(2).map(str::parse::<u64>);
    let ticks = ticks.sum::<Result<u64, _>>()?;
    // Linux counts hundredths of a second.
    Ok(Duration::from_millis(ticks * 10))
}

/// Whether this process is the relay; then it has been one.
pub(crate) async fn is_one() -> Result<bool, Box<dyn Error>> {
    let (Some(home), Some(key)) = (env::var_os(HOME), env::var_os(KEY)) else { return Ok(false) };
    let builder = Node::builder(home).key_file(key).forward_only();
    let node = match env::var(INVITATION) {
        Ok(invitation) => builder.join(&invitation, Some("relay".into())).await?.0,
        Err(_) => builder.open().await?,
    };
    table::note(&node.listen(Some(([127, 0, 0, 1], 0).into())).await?.to_string())?;
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
    node.shutdown().await?;
    Ok(true)
}
