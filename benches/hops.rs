//! Entries that travel from device to device: what each further hop costs.
//!
//! Every device gets everything from the one before it and never meets the others, so what arrives
//! at the end was forwarded by all in between. The floor is the first hop, from the device that
//! holds what the authors brought: forwarding should cost the same wherever it happens.

mod crew;

use std::error::Error;

use crew::entries;
use crew::homes::{self, Crew};
use crew::meter::Meter;
use crew::{Size, table};

const HOPS: usize = 4;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    if crew::is_test() {
        return Ok(());
    }
    let count = Size::asked().pick(10_000, 1_000);
    let crew = Crew::found().await?;
    crew.record(&entries::entries(count, 1)).await?;
    let title = format!("{count} entries from device to device");
    table::head(&title, &["us cpu/entry", "ratio", "wall ms", "bytes/entry", "rounds"])?;
    let mut address = crew.address.clone();
    let mut devices = Vec::new();
    let mut floor = 0.0;
    for hop in 1..=HOPS {
        let device = crew.join(&format!("hop-{hop}")).await?;
        let meter = Meter::start();
        let peer = homes::sync(&device, &address).await?;
        let cost = meter.cost();
        let held = homes::ids(&device).await?.len();
        if held != count {
            return Err(format!("{held} of {count} entries arrived at hop {hop}").into());
        }
        let micros = cost.micros_per(count);
        floor = if hop == 1 { micros } else { floor };
        let wall = table::one(cost.wall.as_secs_f64() * 1e3);
        let bytes = table::one((peer.bytes_in + peer.bytes_out) as f64 / count as f64);
        let cells = (table::one(micros), table::ratio(micros, floor));
        table::row(&format!("hop {hop}"), &[&cells.0, &cells.1, &wall, &bytes, &peer.rounds])?;
        // It listens since it dialled, on every address of this machine.
        let port = device.listen(None).await?.port();
        address = format!("127.0.0.1:{port}");
        devices.push(device);
    }
    for device in devices {
        device.shutdown().await?;
    }
    crew.end().await
}
