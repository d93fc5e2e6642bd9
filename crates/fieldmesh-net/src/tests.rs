//! Real endpoints, over the loopback interface and over a network in memory.
//!
//! Keys come from fixed seeds. On the loopback interface each endpoint has a port of its own,
//! nothing sleeps and every wait is for an event. The network in memory has virtual time, bad
//! weather and a seed; all that differs from run to run there is the content of keys and
//! ciphertexts, never their number, size, order or moment.

mod ether;
mod in_step;
mod joins;
mod lanes;
mod pair;
mod participant;
mod peers;
mod tcp;
mod weather;

use std::net::{Ipv4Addr, SocketAddr};

use fieldmesh_identity::{
    Authority, DeviceKeys, Genesis, Item, ItemPlace, RecoveryKey, Seed, Statement, x509,
};
use fieldmesh_model::{Role, TenantId, UserId};

use crate::{Connection, Endpoint, Incoming, TenantIdentity};

/// A tenant whose authority is at hand.
struct Tenant {
    authority: Authority,
    genesis: Item,
}

impl Tenant {
    fn new(seed: u8) -> Self {
        let authority = Authority::from_seed(&Seed::from_bytes([seed; 32]));
        let recovery = RecoveryKey::from_seed(&Seed::from_bytes([seed + 1; 32])).public_key();
        let name = format!("Crew {seed}");
        let genesis = Genesis { authority: authority.public_key(), recovery, name };
        let statement = Statement::Genesis(genesis);
        let genesis =
            Item::sign(&authority, TenantId::default(), ItemPlace::FIRST, &statement).unwrap();
        Self { authority, genesis }
    }

    fn id(&self) -> TenantId {
        self.genesis.tenant()
    }

    fn chain(&self, public_key: &[u8; 32]) -> Vec<Vec<u8>> {
        vec![x509::device_certificate(&self.authority, self.id(), public_key).unwrap()]
    }

    fn identity(&self, keys: &DeviceKeys) -> TenantIdentity {
        TenantIdentity {
            tenant: self.id(),
            authority: self.authority.public_key(),
            chain: self.chain(&keys.public_key()),
            keys: keys.clone(),
        }
    }
}

fn device(seed: u8) -> DeviceKeys {
    DeviceKeys::from_seed(&Seed::from_bytes([seed; 32]))
}

fn user() -> UserId {
    UserId::from_bytes([9; 16])
}

fn loopback() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

fn endpoint(identities: impl IntoIterator<Item = TenantIdentity>) -> Endpoint {
    let endpoint = Endpoint::bind(loopback()).unwrap();
    for identity in identities {
        endpoint.add_identity(identity).unwrap();
    }
    endpoint
}

async fn accept_peer(endpoint: &Endpoint) -> Connection {
    match endpoint.accept().await {
        Some(Incoming::Peer(connection)) => connection,
        other => panic!("expected a peer, got {other:?}"),
    }
}

async fn connect(
    server: &Endpoint,
    client: &Endpoint,
    tenant: TenantId,
) -> (Connection, Connection) {
    let address = server.local_addr().unwrap();
    let (accepted, dialled) = tokio::join!(accept_peer(server), client.dial(address, tenant));
    (accepted, dialled.unwrap())
}

/// Sends a message each way over the control stream.
async fn converse(accepted: &Connection, dialled: &Connection) {
    let dialler = async {
        let (mut sender, mut receiver) = dialled.control().await.unwrap();
        sender.write(b"hello").await.unwrap();
        assert_eq!(receiver.read_chunk(64).await, Ok(Some(b"well met".to_vec())));
        assert_eq!(receiver.read_chunk(64).await, Ok(None));
    };
    let acceptor = async {
        let (mut sender, mut receiver) = accepted.control().await.unwrap();
        assert_eq!(receiver.read_chunk(64).await, Ok(Some(b"hello".to_vec())));
        sender.write(b"well met").await.unwrap();
        // Keeps the stream open until the other side has what it waits for.
        sender.finish().unwrap();
        sender.received().await.unwrap();
    };
    tokio::join!(dialler, acceptor);
}
