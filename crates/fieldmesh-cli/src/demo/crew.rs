//! The crew: a relay, three devices, and the list of what was acknowledged to them.

use std::path::Path;

use fieldmesh::api::{StatusReport, Traffic};
use futures::future::try_join3;

use super::acknowledged::Acknowledged;
use super::device::Device;
use super::entry::Notebook;
use super::error::DemoError;
use super::patience::{STEP_TIME_MAX, until};
use super::program::Programs;
use super::relay::Relay;
use crate::render;

/// The crew and what it did so far.
pub(super) struct Crew {
    /// Stores and forwards.
    pub(super) relay: Relay,
    /// The admin, in the office.
    pub(super) ana: Device,
    /// An operator.
    pub(super) ben: Device,
    /// A manager.
    pub(super) cleo: Device,
    /// What the crew records.
    pub(super) notebook: Notebook,
    /// Every id that `record` printed.
    pub(super) acknowledged: Acknowledged,
    /// The entry about which ben and cleo will disagree.
    pub(super) disputed: String,
    /// How ben and cleo found each other.
    pub(super) found: Found,
    /// What passed over connections while the crew came together.
    pub(super) traffic: Traffic,
}

/// How two devices found each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// Not so far.
    NotYet,
    /// By multicast DNS.
    ByMdns,
    /// One was told the address of the other.
    ByAddress,
}

impl Crew {
    /// A crew that is not enrolled so far, with homes in `folder`.
    pub(super) fn new(programs: &Programs, folder: &Path) -> Self {
        let device = |name| Device::new(name, programs, folder);
        Self {
            relay: Relay::new(programs, folder),
            ana: device("ana"),
            ben: device("ben"),
            cleo: device("cleo"),
            notebook: Notebook::new(),
            acknowledged: Acknowledged::default(),
            disputed: String::new(),
            found: Found::NotYet,
            traffic: Traffic::default(),
        }
    }

    /// All three devices.
    pub(super) fn devices(&self) -> [&Device; 3] {
        [&self.ana, &self.ben, &self.cleo]
    }

    /// The options with which ben and cleo run.
    pub(super) fn options<'a>(&self, relay: &'a str) -> Vec<&'a str> {
        match self.found {
            Found::ByAddress => vec!["--relay", relay, "--no-mdns"],
            Found::NotYet | Found::ByMdns => vec!["--relay", relay],
        }
    }

    /// Waits until `devices` hold the same set and have nothing left to offer; gives their state.
    pub(super) async fn in_step(&self, devices: &[&Device]) -> Result<StatusReport, DemoError> {
        until("everybody to be in step", STEP_TIME_MAX, async || in_step(devices).await).await
    }

    /// Ends every process that is left; nothing is asked any more.
    pub(super) async fn end(&mut self) {
        for device in [&mut self.ana, &mut self.ben, &mut self.cleo] {
            device.kill().await;
        }
        self.relay.kill().await;
    }

    /// Ends every process in good order.
    pub(super) async fn go_home(&mut self) -> Result<(), DemoError> {
        try_join3(self.ana.stop(), self.ben.stop(), self.cleo.stop()).await?;
        self.relay.stop().await
    }
}

async fn in_step(devices: &[&Device]) -> Result<Option<StatusReport>, DemoError> {
    let mut first: Option<StatusReport> = None;
    for device in devices {
        let status = device.status().await?;
        let agrees = first.as_ref().is_none_or(|first| first.root == status.root);
        if !agrees || status.unsealed > 0 || status.state == "syncing" {
            return Ok(None);
        }
        first.get_or_insert(status);
    }
    Ok(first)
}

/// What passed between `device` and the peer `name`, if they are connected and in step.
pub(super) async fn connection(device: &Device, name: &str) -> Result<Option<Traffic>, DemoError> {
    let peers = device.peers().await?;
    let found = peers.iter().find(|peer| peer.name.as_deref() == Some(name));
    Ok(found.filter(|peer| peer.state == "in-step").and_then(|peer| peer.traffic))
}

/// What passed, in words.
pub(super) fn passed(traffic: &Traffic) -> String {
    let mut words = format!(
        "sent {} and received {}: {}",
        render::counted(traffic.sent, "batch", "batches"),
        traffic.received,
        render::bytes(traffic.bytes_in + traffic.bytes_out),
    );
    if traffic.rounds > 0 {
        let rounds = render::counted(traffic.rounds, "round", "rounds");
        words.push_str(&format!(" in {rounds}"));
    }
    words
}

/// Adds what passed over one connection to what passed over others.
pub(super) const fn add(sum: &mut Traffic, traffic: &Traffic) {
    sum.received += traffic.received;
    sum.sent += traffic.sent;
    sum.bytes_in += traffic.bytes_in;
    sum.bytes_out += traffic.bytes_out;
    sum.rounds += traffic.rounds;
}
