//! Connections of peers that never begin the conversation.
//!
//! Endpoints are real and on the loopback interface; every wait there is for an event. Where time
//! matters it is virtual and nothing but a clock is waited for.

use std::sync::Arc;

use fieldmesh_identity::{
    Authority, DeviceKeys, Genesis, Item, ItemPlace, Policy, RecoveryKey, Seed, Statement, x509,
};
use fieldmesh_model::TenantId;
use fieldmesh_net::{Endpoint, Incoming, TenantIdentity};

use super::*;
use crate::mesh::Call;

/// Two endpoints of one tenant.
struct Both {
    tenant: TenantId,
    server: Endpoint,
    client: Endpoint,
}

fn both() -> Both {
    let authority = Authority::from_seed(&Seed::from_bytes([1; 32]));
    let recovery = RecoveryKey::from_seed(&Seed::from_bytes([2; 32])).public_key();
    let genesis = Genesis { authority: authority.public_key(), recovery, name: "Crew".into() };
    let genesis = Statement::Genesis(genesis);
    let item = Item::sign(&authority, TenantId::default(), ItemPlace::FIRST, &genesis).unwrap();
    let tenant = item.tenant();
    let endpoint = |seed| {
        let keys = DeviceKeys::from_seed(&Seed::from_bytes([seed; 32]));
        let public_key = keys.public_key();
        let chain = vec![x509::device_certificate(&authority, tenant, &public_key).unwrap()];
        let endpoint = Endpoint::bind(([127, 0, 0, 1], 0).into()).unwrap();
        let authority = authority.public_key();
        endpoint.add_identity(TenantIdentity { tenant, authority, chain, keys }).unwrap();
        endpoint
    };
    Both { tenant, server: endpoint(3), client: endpoint(4) }
}

impl Both {
    /// A connection as each side has it, the accepting one first.
    async fn connect(&self) -> (Connection, Connection) {
        let address = self.server.local_addr().unwrap();
        let dial = self.client.dial(address, self.tenant);
        let (accepted, dialled) = tokio::join!(self.server.accept(), dial);
        let Some(Incoming::Peer(accepted)) = accepted else { panic!("{accepted:?}") };
        (accepted, dialled.unwrap())
    }
}

/// A mesh whose task is this test.
fn mesh(tenant: TenantId) -> (Mesh, mpsc::UnboundedReceiver<Call>, mpsc::Receiver<Call>) {
    let (inbox, calls) = mpsc::channel(8);
    let (urgent, urgent_calls) = mpsc::unbounded_channel();
    let (events, _) = tokio::sync::broadcast::channel(8);
    let policy = Arc::new(Policy::evaluate(tenant, &[]));
    let mesh = Mesh {
        device: DeviceKeys::from_seed(&Seed::from_bytes([3; 32])).device(),
        inbox,
        urgent,
        events,
        news: tokio::sync::watch::Sender::new(crate::mesh::News::default()),
        policy: Arc::new(std::sync::RwLock::new(policy)),
        unheard: Arc::default(),
        proofs: Arc::default(),
        marks: Arc::default(),
        freights: crate::mesh::Freights::default(),
    };
    (mesh, urgent_calls, calls)
}

/// The queues of a link, and the side that fills them.
fn queues() -> (Queues, Outbox) {
    let (control, drain, ending) = outbox();
    let data = [(); Lane::ALL.len()].map(|()| mpsc::unbounded_channel().1);
    (Queues { control: drain, data, ending }, control)
}

#[tokio::test]
async fn a_connection_whose_peer_never_begins_does_not_outlive_its_link() {
    let both = both();
    let (accepted, dialled) = both.connect().await;
    let (mesh, _urgent, mut calls) = mesh(both.tenant);
    let (queues, mut control) = queues();
    let driving = tokio::spawn(drive(LinkId(1), accepted, queues, mesh));
    // The session says goodbye to a peer that was silent for too long, or has another link.
    control.push(b"goodbye".to_vec()).unwrap();
    drop(control);
    // Only the kept handle of the peer would hold the connection open.
    let closed = timeout(Duration::from_secs(60), dialled.closed()).await;
    assert!(matches!(closed, Ok(ClosedReason::There { .. })), "{closed:?}");
    driving.await.unwrap();
    assert!(matches!(calls.recv().await, Some(Call::Ended { link: LinkId(1), .. })));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_never_opens_its_control_stream_is_cut_off() {
    let (_control, _drain, mut ending) = outbox();
    let control = std::future::pending::<Result<(), ClosedReason>>();
    let opened = timeout(10 * OPENING_MAX, open(control, &mut ending)).await;
    assert!(matches!(opened, Ok(Err(LinkEnd::Unopened))), "{opened:?}");
}

#[tokio::test(start_paused = true)]
async fn what_was_queued_reaches_a_peer_that_has_begun() {
    let (control, _drain, mut ending) = outbox();
    drop(control);
    let begun = std::future::ready(Ok::<_, ClosedReason>(7));
    assert!(matches!(open(begun, &mut ending).await, Ok(Some(7))));
    assert_eq!(ending.come().await, Ok(()));
}
