//! Evening: the relay is back, and everybody comes into step through it.

use std::time::Instant;

use fieldmesh::api::{SyncReport, Traffic};
use futures::future::{try_join, try_join3};
use serde_json::json;

use super::crew::{Crew, add, connection, passed};
use super::device::Device;
use super::error::{DemoError, hold};
use super::patience::{STEP_TIME_MAX, until};
use super::teller::{Teller, millis};
use crate::render;

/// Plays the chapter.
pub(super) async fn play(crew: &mut Crew, teller: &mut Teller<'_>) -> Result<(), DemoError> {
    teller.chapter("homecoming", "The relay is back")?;
    try_join(crew.ben.stop(), crew.cleo.stop()).await?;
    crew.relay.start().await?;
    let address = crew.relay.address();
    let words = format!("It serves {address} again, and each device says `sync` once.");
    teller.tell(&words, json!({ "relay": address }))?;
    for device in [&crew.ana, &crew.ben, &crew.cleo] {
        let traffic = with_relay(device, &device.sync_with(&address).await?)?;
        let words = format!("{} {}.", device.name, passed(&traffic));
        teller.tell(&words, json!({ "device": device.name, "traffic": traffic }))?;
        add(&mut crew.traffic, &traffic);
    }
    stay_connected(crew, teller, &address).await?;
    live(crew, teller).await
}

/// What passed in a sync with the relay alone.
fn with_relay(device: &Device, report: &SyncReport) -> Result<Traffic, DemoError> {
    let peer = report.peers.iter().find(|peer| peer.name.as_deref() == Some("relay"));
    hold(peer.is_some(), "a sync with an address says who is there", || {
        format!("{} got {report:?}", device.name)
    })?;
    Ok(peer.map_or_else(Traffic::default, |peer| Traffic {
        received: peer.received,
        sent: peer.sent,
        bytes_in: peer.bytes_in,
        bytes_out: peer.bytes_out,
        rounds: peer.rounds,
    }))
}

/// All devices run from here on. ana came first and lacks what the others brought.
async fn stay_connected(
    crew: &mut Crew,
    teller: &Teller<'_>,
    address: &str,
) -> Result<(), DemoError> {
    let options = crew.options(address);
    let begun = Instant::now();
    try_join3(
        // She is in the office: she reaches the relay, and nobody reaches her.
        crew.ana.start(&["--listen", "127.0.0.1:0", "--no-mdns", "--relay", address]),
        crew.ben.start(&options),
        crew.cleo.start(&options),
    )
    .await?;
    let status = crew.in_step(&crew.devices()).await?;
    until("the relay to hold everything", STEP_TIME_MAX, async || {
        Ok((crew.relay.batches().await? == status.batches).then_some(()))
    })
    .await?;
    let look = async || connection(&crew.ana, "relay").await;
    let traffic = until("ana to be connected", STEP_TIME_MAX, look).await?;
    let took = begun.elapsed();
    let words = format!(
        "All run in the background again; ana {}. After {:.1} s the three devices and the relay \
         hold the same {}.",
        passed(&traffic),
        took.as_secs_f64(),
        render::counted(status.batches, "batch", "batches"),
    );
    let numbers = json!({
        "batches": status.batches,
        "root": status.root,
        "stepMillis": millis(took),
        "traffic": traffic,
    });
    teller.tell(&words, numbers)?;
    add(&mut crew.traffic, &traffic);
    Ok(())
}

/// What is recorded while everybody is connected arrives by itself.
async fn live(crew: &mut Crew, teller: &Teller<'_>) -> Result<(), DemoError> {
    let entry = [crew.notebook.entry()];
    let receipts = crew.ana.record("field_entry", &entry).await?;
    let acknowledged = Instant::now();
    for receipt in receipts {
        crew.acknowledged.note("field_entry", &receipt.id);
        for device in [&crew.ben, &crew.cleo] {
            until("an entry to arrive", STEP_TIME_MAX, async || {
                Ok(device.has(&receipt.id).await?.then_some(()))
            })
            .await?;
        }
    }
    let took = acknowledged.elapsed();
    let words = format!(
        "One more entry of ana's is on the devices of ben and cleo {:.1} s after it was \
         acknowledged.",
        took.as_secs_f64()
    );
    teller.tell(&words, json!({ "liveMillis": millis(took) }))
}
