//! The conversation over TCP: who can connect, what a connection survives, and what ends it.
//!
//! Sockets are real. UDP leads nowhere because the listener for TCP has a port of its own. Where
//! time matters it is virtual: it moves on when nothing is left to do.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::pair::{accept, content, receive, send};
use super::*;
use crate::endpoint::{IDLE_TIMEOUT, TcpPort};
use crate::tcp::Garbage;
use crate::{CloseCode, ClosedReason, DialError, LaneError, Side, StreamError, Transport};

/// An endpoint that is reached over TCP alone.
fn tcp_endpoint(identities: impl IntoIterator<Item = TenantIdentity>) -> Endpoint {
    let endpoint = Endpoint::bind_with(loopback(), TcpPort::At(loopback())).unwrap();
    for identity in identities {
        endpoint.add_identity(identity).unwrap();
    }
    endpoint
}

/// Two members and the connection between them.
struct Both {
    _server: Endpoint,
    accepted: Connection,
    client: Endpoint,
    dialled: Connection,
}

async fn both() -> Both {
    let tenant = Tenant::new(1);
    let server = tcp_endpoint([tenant.identity(&device(10))]);
    let client = endpoint([tenant.identity(&device(11))]);
    let (accepted, dialled) = connect_tcp(&server, &client, tenant.id()).await;
    Both { _server: server, accepted, client, dialled }
}

async fn connect_tcp(
    server: &Endpoint,
    client: &Endpoint,
    tenant: TenantId,
) -> (Connection, Connection) {
    let address = server.tcp_addr().unwrap();
    client.expect_tcp(address);
    let (accepted, dialled) = tokio::join!(accept_peer(server), client.dial(address, tenant));
    (accepted, dialled.unwrap())
}

#[tokio::test]
async fn two_members_know_each_other_over_tcp_and_share_a_key() {
    let tenant = Tenant::new(1);
    let (ana, ben) = (device(10), device(11));
    let server = tcp_endpoint([tenant.identity(&ana)]);
    let client = endpoint([tenant.identity(&ben)]);
    let (accepted, dialled) = connect_tcp(&server, &client, tenant.id()).await;
    assert_eq!((accepted.peer(), accepted.side()), (ben.device(), Side::Accepted));
    assert_eq!((dialled.peer(), dialled.side()), (ana.device(), Side::Dialled));
    assert_eq!((accepted.transport(), dialled.transport()), (Transport::Tcp, Transport::Tcp));
    assert_eq!(accepted.channel_key(), dialled.channel_key());
    assert_eq!(Some(dialled.remote_address()), server.tcp_addr());
    converse(&accepted, &dialled).await;
    assert!(dialled.stats().bytes_sent > 0 && dialled.stats().bytes_received > 0);
    let (_, other) = connect_tcp(&server, &client, tenant.id()).await;
    assert_ne!(other.channel_key(), dialled.channel_key());
}

#[tokio::test(start_paused = true)]
async fn where_udp_gets_no_answer_tcp_is_found_and_remembered() {
    let tenant = Tenant::new(1);
    let server = tcp_endpoint([tenant.identity(&device(10))]);
    let client = endpoint([tenant.identity(&device(11))]);
    let address = server.tcp_addr().unwrap();
    let began = tokio::time::Instant::now();
    let (_, dialled) = tokio::join!(accept_peer(&server), client.dial(address, tenant.id()));
    assert_eq!(dialled.unwrap().transport(), Transport::Tcp);
    assert!(began.elapsed() >= crate::dial::HEAD_START, "{:?}", began.elapsed());
    assert!(client.expects_tcp(address));
    let (_, dialled) = tokio::join!(accept_peer(&server), client.dial(address, tenant.id()));
    assert_eq!(dialled.unwrap().transport(), Transport::Tcp);
}

#[tokio::test]
async fn a_device_goes_back_to_quic_as_soon_as_it_gets_through() {
    let tenant = Tenant::new(1);
    // Whoever answers TCP here takes connections and says nothing, so that QUIC is sure to win.
    let (server, _silent) = std::iter::repeat_with(|| Endpoint::bind(loopback()).unwrap())
        .find_map(|server| {
            let silent = std::net::TcpListener::bind(server.local_addr().unwrap());
            Some((server, silent.ok()?))
        })
        .unwrap();
    server.add_identity(tenant.identity(&device(10))).unwrap();
    let address = server.local_addr().unwrap();
    let client = endpoint([tenant.identity(&device(11))]);
    client.expect_tcp(address);
    let (_accepted, dialled) = connect(&server, &client, tenant.id()).await;
    assert_eq!(dialled.transport(), Transport::Quic);
    assert!(!client.expects_tcp(address), "QUIC has its head start again");
}

#[tokio::test]
async fn where_both_get_through_there_is_one_connection_and_it_is_quic() {
    let tenant = Tenant::new(1);
    let server = Endpoint::bind_with(loopback(), TcpPort::Beside).unwrap();
    server.add_identity(tenant.identity(&device(10))).unwrap();
    assert_eq!(server.tcp_addr(), server.local_addr().ok());
    let client = endpoint([tenant.identity(&device(11))]);
    let (accepted, dialled) = connect(&server, &client, tenant.id()).await;
    assert_eq!((accepted.transport(), dialled.transport()), (Transport::Quic, Transport::Quic));
}

#[tokio::test(start_paused = true)]
async fn where_nobody_answers_both_ways_are_named() {
    let tenant = Tenant::new(1);
    let client = endpoint([tenant.identity(&device(11))]);
    let silent = std::net::UdpSocket::bind(loopback()).unwrap();
    let address = silent.local_addr().unwrap();
    let error = client.dial(address, tenant.id()).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("did not answer within 8 s, nor over TCP: "), "{text}");
    assert!(text.contains("refused"), "{text}");
}

#[tokio::test]
async fn a_tcp_port_that_is_taken_is_an_error_of_its_own() {
    let taken = std::net::TcpListener::bind(loopback()).unwrap();
    let at = taken.local_addr().unwrap();
    let error = Endpoint::bind_with(loopback(), TcpPort::At(at)).unwrap_err();
    assert!(matches!(error, crate::BindError::Tcp { address, .. } if address == at), "{error}");
}

#[tokio::test]
async fn every_lane_carries_its_own_bytes_both_ways_over_tcp() {
    let pair = both().await;
    let ways = [(&pair.dialled, &pair.accepted), (&pair.accepted, &pair.dialled)];
    for (from, to) in ways {
        let take = async {
            for lane in [0, 1, 2] {
                receive(accept(to, lane).await, lane, 3_000_000).await;
            }
        };
        let give = async {
            for lane in [0, 1, 2] {
                send(from, lane, 3_000_000).await;
            }
        };
        tokio::join!(take, give);
    }
    converse(&pair.accepted, &pair.dialled).await;
}

#[tokio::test]
async fn a_peer_that_reads_two_lanes_not_at_all_hears_the_third_over_tcp() {
    let pair = both().await;
    let mut unread = Vec::new();
    for code in [2, 1] {
        let mut lane = pair.dialled.open_lane(code).await.unwrap();
        let piece = content(code, 64 * 1024);
        // So much is kept for a slow reader in any case.
        for _ in 0..3 {
            lane.write(&piece).await.unwrap();
        }
        let mut written = 3 * piece.len();
        while timeout(Duration::from_millis(300), lane.write(&piece)).await.is_ok() {
            written += piece.len();
        }
        assert!(written <= 512 * 1024, "{written} bytes are kept for a slow reader");
        unread.push(lane);
    }
    // Dropping a receiver would tell the sender to stop.
    let _backfill = accept(&pair.accepted, 2).await;
    let _recent = accept(&pair.accepted, 1).await;
    let urgent = async { receive(accept(&pair.accepted, 0).await, 0, 500_000).await };
    tokio::join!(urgent, send(&pair.dialled, 0, 500_000));
}

#[tokio::test]
async fn a_stream_that_is_given_up_is_told_apart_from_one_that_ends() {
    let pair = both().await;
    let mut sender = pair.dialled.open_lane(0).await.unwrap();
    let mut receiver = accept(&pair.accepted, 0).await;
    receiver.stop();
    assert_eq!(receiver.read_chunk(9).await, Err(StreamError::Finished));
    let given_up = loop {
        if let Err(error) = sender.write(&[7; 1_000]).await {
            break error;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(given_up, StreamError::GivenUp);
    // One that is dropped was finished.
    let mut sender = pair.dialled.open_lane(1).await.unwrap();
    sender.write(b"all").await.unwrap();
    drop(sender);
    let mut receiver = accept(&pair.accepted, 1).await;
    assert_eq!(receiver.read_chunk(9).await, Ok(Some(b"all".to_vec())));
    assert_eq!(receiver.read_chunk(9).await, Ok(None));
    assert_eq!(pair.dialled.close_reason(), None);
}

#[tokio::test]
async fn the_end_of_a_connection_ends_its_streams_with_its_reason() {
    let pair = both().await;
    let mut sender = pair.dialled.open_lane(0).await.unwrap();
    let mut receiver = accept(&pair.accepted, 0).await;
    sender.write(b"last").await.unwrap();
    pair.dialled.close(CloseCode::Busy, "later");
    let there = ClosedReason::There { code: CloseCode::Busy, text: "later".into() };
    assert_eq!(pair.accepted.closed().await, there);
    assert_eq!(receiver.read_chunk(9).await, Ok(Some(b"last".to_vec())), "it arrived before");
    let closed = StreamError::Closed(there.clone());
    assert_eq!(receiver.read_chunk(9).await, Err(closed));
    let here = StreamError::Closed(ClosedReason::Here);
    assert_eq!(sender.write(b"more").await, Err(here));
    assert_eq!(pair.accepted.control().await.unwrap_err(), there);
    assert_eq!(pair.accepted.open_lane(1).await.unwrap_err(), LaneError::Closed(there));
}

#[tokio::test]
async fn a_refused_member_learns_why_over_tcp() {
    let pair = both().await;
    // Longer than what is read at a time, and than what is shown.
    pair.accepted.close(CloseCode::NotAMember, &"revoked ".repeat(90));
    let reason = pair.dialled.closed().await;
    let text = "revoked ".repeat(25);
    assert_eq!(reason, ClosedReason::There { code: CloseCode::NotAMember, text });
    assert_eq!(pair.dialled.control().await.unwrap_err(), reason);
}

#[tokio::test]
async fn dropping_the_last_handle_ends_the_connection_in_order() {
    let Both { _server, accepted, client: _client, dialled } = both().await;
    drop(dialled);
    let reason = accepted.closed().await;
    assert!(matches!(reason, ClosedReason::There { code: CloseCode::Done, .. }), "{reason:?}");
}

#[tokio::test]
async fn a_closed_endpoint_tells_its_peers_over_tcp_and_accepts_no_more() {
    let tenant = Tenant::new(1);
    let server = tcp_endpoint([tenant.identity(&device(10))]);
    let client = endpoint([tenant.identity(&device(11))]);
    let (_accepted, dialled) = connect_tcp(&server, &client, tenant.id()).await;
    server.close().await;
    assert!(server.accept().await.is_none());
    let reason = dialled.closed().await;
    assert!(matches!(reason, ClosedReason::There { code: CloseCode::Shutdown, .. }), "{reason:?}");
    let port = server.tcp_addr().unwrap();
    assert!(TcpStream::connect(port).is_err(), "the port is free again");
}

#[tokio::test]
async fn who_is_no_member_is_refused_over_tcp_in_the_same_words() {
    let (served, other) = (Tenant::new(1), Tenant::new(3));
    let server = tcp_endpoint([served.identity(&device(10))]);
    let client = endpoint([other.identity(&device(11))]);
    let address = server.tcp_addr().unwrap();
    client.expect_tcp(address);
    let refused = client.dial(address, other.id()).await.unwrap_err();
    assert_eq!(refused, DialError::Refused { address, reason: ClosedReason::TenantNotServed });

    let forged = Tenant { authority: Tenant::new(77).authority, genesis: served.genesis.clone() };
    let impostor = tcp_endpoint([forged.identity(&device(10))]);
    let address = impostor.tcp_addr().unwrap();
    let client = endpoint([served.identity(&device(11))]);
    client.expect_tcp(address);
    let refused = client.dial(address, served.id()).await.unwrap_err();
    assert_eq!(refused, DialError::Refused { address, reason: ClosedReason::Impostor });
}

#[tokio::test]
async fn who_shows_the_wrong_certificate_or_none_is_refused_over_tcp() {
    let (served, other) = (Tenant::new(1), Tenant::new(3));
    let server = tcp_endpoint([served.identity(&device(10))]);
    let unknown = other.identity(&device(11));
    for (identity, expected) in [
        (Some(unknown), ClosedReason::CertificateRefused),
        (None, ClosedReason::There { code: CloseCode::NoCertificate, text: String::new() }),
    ] {
        let reason = peers::intrude_at(server.tcp_addr().unwrap(), &served, identity).await;
        assert_eq!(reason, expected);
    }
}

/// Reads until the other side has closed the socket; whatever it said.
async fn until_closed(mut socket: TcpStream) {
    let waiting = tokio::task::spawn_blocking(move || {
        let mut scrap = [0; 1_024];
        while socket.read(&mut scrap).is_ok_and(|read| read > 0) {}
    });
    waiting.await.unwrap();
}

#[tokio::test]
async fn noise_instead_of_a_handshake_is_cut_off() {
    let server = tcp_endpoint([Tenant::new(1).identity(&device(10))]);
    let mut socket = TcpStream::connect(server.tcp_addr().unwrap()).unwrap();
    socket.write_all(&[0x55; 4_096]).unwrap();
    until_closed(socket).await;
}

#[tokio::test]
async fn noise_instead_of_streams_is_cut_off() {
    let tenant = Tenant::new(1);
    for garbage in Garbage::ALL {
        let server = tcp_endpoint([tenant.identity(&device(10))]);
        let identity = crate::identity::Identity::new(tenant.identity(&device(11))).unwrap();
        let config = crate::tls::peer_config(&identity).unwrap();
        let name = crate::tls::server_name(&tenant.id().tag());
        let address = server.tcp_addr().unwrap();
        let spoil = crate::tcp::spoil(address, config, &name, garbage);
        let (accepted, ()) = tokio::join!(accept_peer(&server), spoil);
        let reason = accepted.closed().await;
        let is_expected = match garbage {
            Garbage::Noise => matches!(reason, ClosedReason::Lost { .. }),
            Garbage::Crumbs => {
                matches!(&reason, ClosedReason::Lost { detail } if detail.contains("small frames"))
            }
            Garbage::Streams | Garbage::Words | Garbage::Purposes => reason == ClosedReason::Here,
        };
        assert!(is_expected, "{garbage:?}: {reason:?}");
    }
}

#[tokio::test]
async fn a_peer_that_opens_a_lane_twice_over_tcp_is_cut_off() {
    let pair = both().await;
    let _first = pair.dialled.open_lane(1).await.unwrap();
    let _second = pair.dialled.open_lane(1).await.unwrap();
    let _first = accept(&pair.accepted, 1).await;
    let repeated = LaneError::Repeated { code: 1 };
    assert_eq!(pair.accepted.accept_lane().await.unwrap_err(), repeated);
    let reason = pair.dialled.closed().await;
    let text = repeated.to_string();
    assert_eq!(reason, ClosedReason::There { code: CloseCode::Protocol, text });
}

#[tokio::test(start_paused = true)]
async fn who_stops_in_the_handshake_is_cut_off() {
    let server = tcp_endpoint([Tenant::new(1).identity(&device(10))]);
    // The head of a record of TLS whose body never comes.
    let begun: &[u8] = &[22, 3, 1, 1, 0];
    for (said, patience) in
        [(&[][..], crate::tcp::HELLO_TIMEOUT), (begun, crate::endpoint::HANDSHAKE_TIMEOUT)]
    {
        let socket = tokio::net::TcpStream::connect(server.tcp_addr().unwrap()).await.unwrap();
        let began = tokio::time::Instant::now();
        assert_eq!(socket.try_write(said).unwrap(), said.len());
        let mut scrap = [0; 9];
        socket.readable().await.unwrap();
        assert!(matches!(socket.try_read(&mut scrap), Ok(0) | Err(_)));
        let took = began.elapsed();
        let tick = Duration::from_secs(1);
        assert!((patience..patience + tick).contains(&took), "{took:?} after {said:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_cut_line_is_noticed_on_both_sides_in_the_time_of_quic() {
    let tenant = Tenant::new(1);
    let server = tcp_endpoint([tenant.identity(&device(10))]);
    let client = endpoint([tenant.identity(&device(11))]);
    let cable = Cable::to(server.tcp_addr().unwrap()).await;
    client.expect_tcp(cable.address);
    let (accepted, dialled) =
        tokio::join!(accept_peer(&server), client.dial(cable.address, tenant.id()));
    let dialled = dialled.unwrap();
    // Signs of life keep a silent connection.
    tokio::time::sleep(3 * IDLE_TIMEOUT).await;
    assert_eq!((accepted.close_reason(), dialled.close_reason()), (None, None));
    let began = tokio::time::Instant::now();
    cable.cut.notify_waiters();
    let reasons = tokio::join!(accepted.closed(), dialled.closed());
    assert_eq!(reasons, (ClosedReason::TimedOut, ClosedReason::TimedOut));
    assert!(began.elapsed() <= IDLE_TIMEOUT + Duration::from_secs(1), "{:?}", began.elapsed());
}

/// A way to an address that can be cut, so that nothing arrives and nobody is told.
struct Cable {
    address: SocketAddr,
    cut: Arc<tokio::sync::Notify>,
}

impl Cable {
    async fn to(target: SocketAddr) -> Self {
        let listener = tokio::net::TcpListener::bind(loopback()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let cut = Arc::new(tokio::sync::Notify::new());
        let cuts = Arc::clone(&cut);
        tokio::spawn(async move {
            let (mut near, _) = listener.accept().await.unwrap();
            let mut far = tokio::net::TcpStream::connect(target).await.unwrap();
            tokio::select! {
                _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                () = cuts.notified() => std::future::pending().await,
            }
        });
        Self { address, cut }
    }
}
