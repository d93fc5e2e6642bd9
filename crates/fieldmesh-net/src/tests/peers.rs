//! Who can connect to whom, and what a connection survives.

use super::*;
use crate::tls::{self, Anchor};
use crate::{CloseCode, ClosedReason, DialError, IdentityError, Side};

#[tokio::test]
async fn two_members_know_each_other_and_share_a_key() {
    let tenant = Tenant::new(1);
    let (ana, ben) = (device(10), device(11));
    let server = endpoint([tenant.identity(&ana)]);
    let client = endpoint([tenant.identity(&ben)]);
    let (accepted, dialled) = connect(&server, &client, tenant.id()).await;
    assert_eq!((accepted.peer(), accepted.side()), (ben.device(), Side::Accepted));
    assert_eq!((dialled.peer(), dialled.side()), (ana.device(), Side::Dialled));
    assert_eq!(accepted.channel_key(), dialled.channel_key());
    assert_eq!(dialled.remote_address(), server.local_addr().unwrap());
    converse(&accepted, &dialled).await;
    assert!(dialled.stats().bytes_sent > 0);
}

#[tokio::test]
async fn two_connections_have_two_keys() {
    let tenant = Tenant::new(1);
    let server = endpoint([tenant.identity(&device(10))]);
    let client = endpoint([tenant.identity(&device(11))]);
    let (_, first) = connect(&server, &client, tenant.id()).await;
    let (_, second) = connect(&server, &client, tenant.id()).await;
    assert_ne!(first.channel_key(), second.channel_key());
}

#[tokio::test]
async fn one_endpoint_serves_two_tenants_apart() {
    let (first, second) = (Tenant::new(1), Tenant::new(3));
    let relay = device(10);
    let server = endpoint([first.identity(&relay), second.identity(&relay)]);
    for tenant in [&first, &second] {
        let client = endpoint([tenant.identity(&device(11))]);
        let (accepted, dialled) = connect(&server, &client, tenant.id()).await;
        assert_eq!((accepted.tenant(), dialled.tenant()), (tenant.id(), tenant.id()));
        converse(&accepted, &dialled).await;
    }
}

#[tokio::test]
async fn a_tenant_that_is_not_served_is_refused_without_a_word() {
    let (served, other) = (Tenant::new(1), Tenant::new(3));
    let server = endpoint([served.identity(&device(10))]);
    let client = endpoint([other.identity(&device(11))]);
    let address = server.local_addr().unwrap();
    let refused = client.dial(address, other.id()).await.unwrap_err();
    assert_eq!(refused, DialError::Refused { address, reason: ClosedReason::TenantNotServed });
    let unknown = client.dial(address, served.id()).await.unwrap_err();
    assert_eq!(unknown, DialError::NoIdentity { tenant: served.id() });
}

#[tokio::test]
async fn a_tenant_is_no_longer_served_once_removed() {
    let tenant = Tenant::new(1);
    let server = endpoint([tenant.identity(&device(10))]);
    let client = endpoint([tenant.identity(&device(11))]);
    assert!(server.remove_identity(&tenant.id()));
    let address = server.local_addr().unwrap();
    let refused = client.dial(address, tenant.id()).await.unwrap_err();
    assert_eq!(refused, DialError::Refused { address, reason: ClosedReason::TenantNotServed });
}

/// Dials `server` under the tag of `tenant` with whatever `identity` is shown.
async fn intrude(
    server: &Endpoint,
    tenant: &Tenant,
    identity: Option<TenantIdentity>,
) -> ClosedReason {
    intrude_at(server.local_addr().unwrap(), tenant, identity).await
}

/// The same at an address that is also tried over TCP.
pub(super) async fn intrude_at(
    address: SocketAddr,
    tenant: &Tenant,
    identity: Option<TenantIdentity>,
) -> ClosedReason {
    let client = Endpoint::bind(loopback()).unwrap();
    client.expect_tcp(address);
    let anchor = Anchor::new(tenant.id(), &tenant.authority.public_key());
    let certified = identity
        .map(|identity| crate::identity::Identity::new(identity).unwrap().certified.clone());
    let config = tls::client_config(anchor, certified, tls::ALPN_PEER).unwrap();
    let name = tls::server_name(&tenant.id().tag());
    // With TLS 1.3 the client's handshake is over before the server has judged.
    match client.connect(address, config, &name).await {
        Ok(wire) => wire.closed().await,
        Err(DialError::Refused { reason, .. }) => reason,
        Err(other) => panic!("no answer at all: {other}"),
    }
}

#[tokio::test]
async fn a_device_of_another_served_tenant_is_refused() {
    let (first, second) = (Tenant::new(1), Tenant::new(3));
    let relay = device(10);
    let server = endpoint([first.identity(&relay), second.identity(&relay)]);
    let reason = intrude(&server, &first, Some(second.identity(&device(11)))).await;
    assert!(
        matches!(reason, ClosedReason::There { code: CloseCode::OtherTenant, .. }),
        "{reason:?}"
    );
}

#[tokio::test]
async fn a_device_of_an_unknown_tenant_is_refused() {
    let (served, other) = (Tenant::new(1), Tenant::new(3));
    let server = endpoint([served.identity(&device(10))]);
    let reason = intrude(&server, &served, Some(other.identity(&device(11)))).await;
    assert_eq!(reason, ClosedReason::CertificateRefused);
}

#[tokio::test]
async fn a_device_without_a_certificate_is_refused() {
    let tenant = Tenant::new(1);
    let server = endpoint([tenant.identity(&device(10))]);
    let reason = intrude(&server, &tenant, None).await;
    assert!(
        matches!(reason, ClosedReason::There { code: CloseCode::NoCertificate, .. }),
        "{reason:?}"
    );
}

/// A tenant that claims the id of `real` but has its own authority.
fn forged(real: &Tenant) -> Tenant {
    Tenant { authority: Tenant::new(77).authority, genesis: real.genesis.clone() }
}

#[tokio::test]
async fn a_self_made_authority_is_refused() {
    let tenant = Tenant::new(1);
    let server = endpoint([tenant.identity(&device(10))]);
    let reason = intrude(&server, &tenant, Some(forged(&tenant).identity(&device(11)))).await;
    assert_eq!(reason, ClosedReason::CertificateRefused);
}

#[tokio::test]
async fn a_server_with_a_self_made_authority_is_an_impostor() {
    let tenant = Tenant::new(1);
    let server = endpoint([forged(&tenant).identity(&device(10))]);
    let client = endpoint([tenant.identity(&device(11))]);
    let address = server.local_addr().unwrap();
    let error = client.dial(address, tenant.id()).await.unwrap_err();
    assert_eq!(error, DialError::Refused { address, reason: ClosedReason::Impostor });
}

#[tokio::test]
async fn a_refused_member_learns_why_at_the_first_stream() {
    let tenant = Tenant::new(1);
    let server = endpoint([tenant.identity(&device(10))]);
    let client = endpoint([tenant.identity(&device(11))]);
    let (accepted, dialled) = connect(&server, &client, tenant.id()).await;
    accepted.close(CloseCode::NotAMember, "revoked");
    let reason = dialled.closed().await;
    let text = "revoked".to_owned();
    assert_eq!(reason, ClosedReason::There { code: CloseCode::NotAMember, text });
    assert_eq!(dialled.control().await.unwrap_err(), reason);
    assert_eq!(dialled.close_reason(), Some(reason));
}

#[test]
fn an_identity_with_another_key_or_authority_is_not_taken() {
    let tenant = Tenant::new(1);
    let mut other_key = tenant.identity(&device(10));
    other_key.keys = device(11);
    let error = crate::identity::Identity::new(other_key).unwrap_err();
    let expected = IdentityError::OtherDevice { tenant: tenant.id(), device: device(11).device() };
    assert_eq!(error, expected);
    let mut other_authority = tenant.identity(&device(10));
    other_authority.authority = [1; 32];
    let error = crate::identity::Identity::new(other_authority).unwrap_err();
    assert_eq!(error, IdentityError::Certificate { tenant: tenant.id() });
}

#[tokio::test]
async fn data_flows_both_ways_and_waits_for_a_slow_reader() {
    let tenant = Tenant::new(1);
    let server = endpoint([tenant.identity(&device(10))]);
    let client = endpoint([tenant.identity(&device(11))]);
    let (accepted, dialled) = connect(&server, &client, tenant.id()).await;
    let size = 3 * 1024 * 1024;
    let send = async |connection: &Connection| {
        let mut sender = connection.open_data().await.unwrap();
        sender.write(&vec![7; size]).await.unwrap();
        sender.finish().unwrap();
        sender.received().await.unwrap();
    };
    let receive = async |connection: &Connection| {
        let mut receiver = connection.accept_data().await.unwrap();
        let mut received = 0;
        while let Some(chunk) = receiver.read_chunk(64 * 1024).await.unwrap() {
            assert!(chunk.iter().all(|byte| *byte == 7) && chunk.len() <= 64 * 1024);
            received += chunk.len();
        }
        assert_eq!(received, size);
    };
    tokio::join!(send(&accepted), receive(&dialled), send(&dialled), receive(&accepted));
}

#[tokio::test]
async fn a_connection_survives_a_change_of_address() {
    let tenant = Tenant::new(1);
    let server = endpoint([tenant.identity(&device(10))]);
    let client = endpoint([tenant.identity(&device(11))]);
    let (accepted, dialled) = connect(&server, &client, tenant.id()).await;
    let before = accepted.remote_address();
    client.rebind(loopback()).unwrap();
    converse(&accepted, &dialled).await;
    assert_ne!(accepted.remote_address(), before);
    assert_eq!(accepted.remote_address(), client.local_addr().unwrap());
}

#[tokio::test]
async fn a_dual_stack_socket_is_reached_over_both_families() {
    let tenant = Tenant::new(1);
    let server = Endpoint::bind("[::]:0".parse().unwrap()).unwrap();
    server.add_identity(tenant.identity(&device(10))).unwrap();
    let port = server.local_addr().unwrap().port();
    let client = endpoint([tenant.identity(&device(11))]);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let (accepted, dialled) = tokio::join!(accept_peer(&server), client.dial(address, tenant.id()));
    let dialled = dialled.unwrap();
    assert_eq!(accepted.remote_address(), client.local_addr().unwrap(), "told as IPv4");
    converse(&accepted, &dialled).await;
    let (accepted, dialled) = connect(&client, &server, tenant.id()).await;
    converse(&accepted, &dialled).await;
}

#[tokio::test]
async fn a_closed_endpoint_tells_its_peers_and_accepts_no_more() {
    let tenant = Tenant::new(1);
    let server = endpoint([tenant.identity(&device(10))]);
    let client = endpoint([tenant.identity(&device(11))]);
    let (_accepted, dialled) = connect(&server, &client, tenant.id()).await;
    server.close().await;
    assert!(server.accept().await.is_none());
    let reason = dialled.closed().await;
    assert!(matches!(reason, ClosedReason::There { code: CloseCode::Shutdown, .. }), "{reason:?}");
    let error = server.dial(client.local_addr().unwrap(), tenant.id()).await.unwrap_err();
    assert_eq!(error, DialError::Closed);
}

#[tokio::test]
async fn a_crowd_that_connects_at_once_gets_in() {
    // More than may shake hands unproven, so that some must first prove their address.
    const CROWD: usize = 2 * crate::endpoint::HANDSHAKES_UNPROVEN_MAX;
    let tenant = Tenant::new(1);
    let server = endpoint([tenant.identity(&device(10))]);
    let client = endpoint([tenant.identity(&device(11))]);
    let address = server.local_addr().unwrap();
    let mut dials = tokio::task::JoinSet::new();
    for _ in 0..CROWD {
        let (client, tenant) = (client.clone(), tenant.id());
        dials.spawn(async move { client.dial(address, tenant).await.unwrap() });
    }
    let mut accepted = Vec::new();
    while accepted.len() < CROWD {
        accepted.push(accept_peer(&server).await);
    }
    assert_eq!(dials.join_all().await.len(), CROWD);
}

#[tokio::test]
async fn whoever_dawdles_at_the_door_keeps_no_other_address_out() {
    // So many that all places are taken while nobody inside has time for those who are let in.
    const CROWD: usize = crate::endpoint::INCOMING_WAITING_MAX + crate::endpoint::HANDSHAKES_MAX;
    let tenant = Tenant::new(1);
    let server = endpoint([tenant.identity(&device(10))]);
    let address = server.local_addr().unwrap();
    let crowd = endpoint([tenant.identity(&device(11))]);
    let mut connections = Vec::new();
    for _ in 0..CROWD {
        connections.push(crowd.dial(address, tenant.id()).await.unwrap());
    }
    let elsewhere = Endpoint::bind(([127, 0, 0, 2], 0).into()).unwrap();
    elsewhere.add_identity(tenant.identity(&device(12))).unwrap();
    let dialled = elsewhere.dial(address, tenant.id()).await;
    assert!(dialled.is_ok(), "{dialled:?}");
}
