//! Whoever connects over TCP: TLS at most so often at a time, and from one address.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{debug, warn};

use super::driver::Drivers;
use super::handshake;
use crate::closed::ClosedReason;
use crate::endpoint::{self, HANDSHAKE_TIMEOUT, HANDSHAKES_MAX, Incoming, Introduction};
use crate::identity::Identities;
use crate::wire::Wire;

/// The largest number of handshakes under way with one address (of IPv6: a /64).
pub(crate) const HANDSHAKES_PER_ADDRESS_MAX: usize = 64;
/// How long nobody is let in after the system had no room for one more.
const PAUSE: Duration = Duration::from_millis(200);

/// Handshakes under way, by where they come from.
#[derive(Debug, Default)]
struct Doorway {
    inside: Mutex<BTreeMap<IpAddr, usize>>,
}

/// A place in the doorway; free again when dropped.
#[derive(Debug)]
struct Place {
    doorway: Arc<Doorway>,
    from: IpAddr,
}

impl Doorway {
    /// A place for somebody from `address`, where there is one.
    fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let from = neighbourhood(address);
        let mut inside = self.inside();
        let count = inside.entry(from).or_default();
        if *count >= HANDSHAKES_PER_ADDRESS_MAX {
            return None;
        }
        *count += 1;
        Some(Place { doorway: Arc::clone(self), from })
    }

    fn inside(&self) -> MutexGuard<'_, BTreeMap<IpAddr, usize>> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut inside = self.doorway.inside();
        if let Some(count) = inside.get_mut(&self.from) {
            *count -= 1;
            if *count == 0 {
                inside.remove(&self.from);
            }
        }
    }
}

/// The addresses that count as one: a host has a whole /64 of IPv6.
fn neighbourhood(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

/// Shakes hands with everybody who connects, many at a time, until the endpoint closes.
pub(crate) async fn accept_all(
    listener: TcpListener,
    config: Arc<rustls::ServerConfig>,
    identities: Arc<Identities>,
    drivers: Arc<Drivers>,
    accepted: mpsc::Sender<Incoming>,
) {
    let doorway = Arc::new(Doorway::default());
    let mut handshakes = JoinSet::new();
    loop {
        let connected = tokio::select! {
            connected = listener.accept() => connected,
            () = drivers.over() => return,
        };
        let (socket, from) = match connected {
            Ok(connected) => connected,
            Err(error) => {
                pause_after(&error).await;
                continue;
            }
        };
        while handshakes.try_join_next().is_some() {}
        // Dropping the socket ends the connection.
        let Some(place) = doorway.enter(from.ip()) else {
            debug!(%from, limit = HANDSHAKES_PER_ADDRESS_MAX, "too many handshakes from there");
            continue;
        };
        if handshakes.len() >= HANDSHAKES_MAX {
            debug!(%from, limit = HANDSHAKES_MAX, "too many handshakes");
            continue;
        }
        let (config, identities) = (Arc::clone(&config), Arc::clone(&identities));
        let (drivers, accepted) = (Arc::clone(&drivers), accepted.clone());
        handshakes.spawn(async move {
            let shaken = shake_hands(socket, from, config, &identities, &drivers);
            match timeout(HANDSHAKE_TIMEOUT, shaken).await {
                Ok(Ok(newcomer)) => {
                    // Nobody accepts any more when the endpoint is gone.
                    let _ = accepted.send(newcomer).await;
                }
                Ok(Err(reason)) => debug!(%from, %reason, "handshake over TCP refused"),
                Err(_) => debug!(%from, "handshake over TCP timed out"),
            }
            drop(place);
        });
    }
}

/// Lets others go first when the system has no room, as for open files.
async fn pause_after(error: &io::Error) {
    let is_theirs =
        matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset);
    if !is_theirs {
        warn!(%error, "nobody can be let in over TCP at the moment");
        tokio::time::sleep(PAUSE).await;
    }
}

async fn shake_hands(
    socket: TcpStream,
    from: SocketAddr,
    config: Arc<rustls::ServerConfig>,
    identities: &Identities,
    drivers: &Arc<Drivers>,
) -> Result<Incoming, ClosedReason> {
    let shaken = handshake::accept(socket, from, config, drivers).await?;
    let introduction = Introduction { server_name: shaken.server_name, protocol: shaken.protocol };
    endpoint::judge(&Wire::Tcp(shaken.connection), &introduction, identities)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_cannot_take_every_place() {
        let doorway = Arc::new(Doorway::default());
        let host = |last| IpAddr::from([192, 0, 2, last]);
        let mut places: Vec<Place> = std::iter::repeat_with(|| doorway.enter(host(1)))
            .take_while(Option::is_some)
            .flatten()
            .collect();
        assert_eq!(places.len(), HANDSHAKES_PER_ADDRESS_MAX);
        assert!(doorway.enter(host(2)).is_some());
        places.pop();
        assert!(doorway.enter(host(1)).is_some(), "a place is free again");
        drop(places);
        assert!(doorway.inside().is_empty());
    }

    #[test]
    fn the_addresses_of_one_host_count_as_one() {
        let of = |text: &str| neighbourhood(text.parse().unwrap());
        assert_eq!(of("2001:db8:0:1::5"), of("2001:db8:0:1:ffff::9"));
        assert_ne!(of("2001:db8:0:1::5"), of("2001:db8:0:2::5"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    }
}
