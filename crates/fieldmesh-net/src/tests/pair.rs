//! Two members of one tenant on a network in memory, connected to each other.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use fieldmesh_identity::DeviceKeys;
use tokio::time::Instant;

use super::ether::{Ether, Weather};
use super::{Tenant, accept_peer, device};
use crate::{Connection, Endpoint, Receiver};

/// Two endpoints and one connection between them.
pub(super) struct Pair {
    pub(super) ether: Ether,
    pub(super) tenant: Tenant,
    /// The side that accepts.
    pub(super) server: Endpoint,
    pub(super) accepted: Connection,
    /// The side that dials.
    pub(super) client: Endpoint,
    pub(super) dialled: Connection,
}

/// Where the `number`th host of the network has its socket.
pub(super) fn place(number: u8) -> SocketAddr {
    ([10, 0, 0, number], 7843).into()
}

/// The `number`th host of the network.
pub(super) fn host(number: u8) -> IpAddr {
    place(number).ip()
}

/// An endpoint at a place on the network; its own dice come from its place.
pub(super) fn endpoint_at(
    ether: &Ether,
    number: u8,
    tenant: &Tenant,
    keys: &DeviceKeys,
) -> Endpoint {
    let mut config = quinn::EndpointConfig::default();
    config.rng_seed(Some([number; 32]));
    let endpoint = Endpoint::over(ether.socket(place(number)), place(number), config).unwrap();
    endpoint.add_identity(tenant.identity(keys)).unwrap();
    endpoint
}

impl Pair {
    /// Hosts 1 and 2, connected in this weather; host 2 has dialled.
    pub(super) async fn new(seed: u64, weather: Weather) -> Self {
        Self::of(seed, weather, Tenant::new(1), [&device(10), &device(11)]).await
    }

    /// The same with these devices of this tenant.
    pub(super) async fn of(
        seed: u64,
        weather: Weather,
        tenant: Tenant,
        devices: [&DeviceKeys; 2],
    ) -> Self {
        let ether = Ether::new(seed);
        let server = endpoint_at(&ether, 1, &tenant, devices[0]);
        let client = endpoint_at(&ether, 2, &tenant, devices[1]);
        set_all(&ether, weather);
        let dial = client.dial(place(1), tenant.id());
        let (accepted, dialled) = tokio::join!(accept_peer(&server), dial);
        Self { ether, tenant, server, accepted, client, dialled: dialled.unwrap() }
    }

    /// Changes the weather over both.
    pub(super) fn set(&self, weather: Weather) {
        set_all(&self.ether, weather);
    }

    /// Bytes that were sent so far, from wherever and whatever became of them.
    pub(super) fn sent(&self) -> usize {
        self.ether.log().iter().map(|passage| passage.size).sum()
    }
}

fn set_all(ether: &Ether, weather: Weather) {
    ether.set(host(1), weather);
    ether.set(host(2), weather);
}

/// `size` bytes that are all different from those of other seeds and places.
pub(super) fn content(seed: u8, size: usize) -> Vec<u8> {
    (0..size).map(|at| seed ^ u8::try_from((at * 31 + (at >> 8)) % 251).unwrap_or(0)).collect()
}

/// Writes content into a lane and waits until all of it has arrived.
pub(super) async fn send(connection: &Connection, lane: u8, size: usize) {
    let mut sender = connection.open_lane(lane).await.unwrap();
    sender.write(&content(lane, size)).await.unwrap();
    sender.finish().unwrap();
    sender.received().await.unwrap();
}

/// Reads content of a lane to its end; gives the moment at which it was whole.
pub(super) async fn receive(mut receiver: Receiver, lane: u8, size: usize) -> Duration {
    let began = Instant::now();
    let mut all = Vec::new();
    while let Some(chunk) = receiver.read_chunk(64 * 1024).await.unwrap() {
        all.extend(chunk);
    }
    assert!(all == content(lane, size), "lane {lane}: {} of {size} bytes, or others", all.len());
    began.elapsed()
}

/// The next lane that arrives must be this one.
pub(super) async fn accept(connection: &Connection, lane: u8) -> Receiver {
    let (code, receiver) = connection.accept_lane().await.unwrap();
    assert_eq!(code, lane);
    receiver
}
