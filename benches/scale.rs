//! How far it goes: a home with a million entries, and a relay that holds them.
//!
//! `cargo bench --bench scale -- 100000` does as many entries as it says. The home and the relay
//! are processes of their own, so that their memory is theirs alone; what fills the home is a third.

mod crew;

#[path = "scale/device.rs"]
mod device;
#[path = "scale/fill.rs"]
mod fill;
#[path = "scale/relay.rs"]
mod relay;
#[path = "scale/resident.rs"]
mod resident;

use std::error::Error;

use crew::homes::{self, Crew};
use crew::table;

const COUNT: usize = 1_000_000;

fn main() -> Result<(), Box<dyn Error>> {
    if crew::is_test() {
        return Ok(());
    }
    // The processes keep their memory as the programs do.
    fieldmesh_shell::memory::give_back();
    tokio::runtime::Runtime::new()?.block_on(run())
}

async fn run() -> Result<(), Box<dyn Error>> {
    if device::is_one().await? || relay::is_one().await? {
        return Ok(());
    }
    let asked = std::env::args().find_map(|argument| argument.parse().ok());
    let count = asked.unwrap_or(COUNT);
    let crew = Crew::found().await?;
    let before = sizes(&crew)?;
    fill::fill(&crew, count).await?;
    crew.lead.compact(|_| {}).await?;
    let after = sizes(&crew)?;
    let each =
        |after: u64, before: u64| table::one(after.saturating_sub(before) as f64 / count as f64);
    let (log, view) = (each(after.0, before.0), each(after.1, before.1));
    let all = each(after.0 + after.1, before.0 + before.1);
    table::head("disk of the device, bytes an entry", &["log", "view", "all"])?;
    table::row(&format!("{count} entries, compacted"), &[&log, &view, &all])?;
    relay::measure(&crew, count).await?;
    crew.lead.clone().shutdown().await?;
    relay::reopen(&crew, count)?;
    device::measure(&crew, count)
}

/// The bytes of the lead's log and of its view.
fn sizes(crew: &Crew) -> std::io::Result<(u64, u64)> {
    let store = crew.home("lead").join("store");
    Ok((homes::size(&store.join("log"))?, homes::size(&store.join("view"))?))
}
