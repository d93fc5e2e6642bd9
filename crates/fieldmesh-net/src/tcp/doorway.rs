//! Whoever connects over TCP: TLS at most so often at a time, and from one address.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
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

/// How long whoever has connected may say nothing at all.
pub(crate) const HELLO_TIMEOUT: Duration = Duration::from_secs(3);

/// Handshakes under way.
#[derive(Debug, Default)]
struct Doorway {
    inside: Mutex<Inside>,
}

/// Those who are in the doorway, by where they come from, the oldest first.
#[derive(Debug, Default)]
struct Inside {
    callers: BTreeMap<IpAddr, BTreeMap<u64, oneshot::Sender<Infallible>>>,
    count: usize,
    number_next: u64,
}

/// A place in the doorway; free again when dropped.
#[derive(Debug)]
struct Place {
    doorway: Arc<Doorway>,
    from: IpAddr,
    number: u64,
    taken: oneshot::Receiver<Infallible>,
}

impl Doorway {
    /// A place for somebody from `address`.
    ///
    /// Where all are taken, the one who has stood there for longest has to go, from the address
    /// that has most of them: who connects and then dawdles must not keep others out.
    fn enter(self: &Arc<Self>, address: IpAddr) -> Place {
        let from = neighbourhood(address);
        let mut inside = self.inside();
        let inside = &mut *inside;
        if inside.callers.get(&from).is_some_and(|there| there.len() >= HANDSHAKES_PER_ADDRESS_MAX)
        {
            debug!(%from, limit = HANDSHAKES_PER_ADDRESS_MAX, "too many handshakes from there");
            inside.turn_out(from);
        } else if inside.count >= HANDSHAKES_MAX
            && let Some((busiest, _)) = inside.callers.iter().max_by_key(|(_, there)| there.len())
        {
            let busiest = *busiest;
            debug!(from = %busiest, limit = HANDSHAKES_MAX, "too many handshakes");
            inside.turn_out(busiest);
        }
        let number = inside.number_next;
        inside.number_next += 1;
        inside.count += 1;
        let (sender, taken) = oneshot::channel();
        inside.callers.entry(from).or_default().insert(number, sender);
        Place { doorway: Arc::clone(self), from, number, taken }
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inside {
    /// Takes its place from the oldest who is there from an address.
    fn turn_out(&mut self, from: IpAddr) {
        let there = self.callers.get(&from).and_then(|there| there.keys().next());
        if let Some(oldest) = there.copied() {
            self.leave(from, oldest);
        }
    }

    fn leave(&mut self, from: IpAddr, number: u64) {
        let Some(there) = self.callers.get_mut(&from) else { return };
        if there.remove(&number).is_some() {
            self.count -= 1;
        }
        if there.is_empty() {
            self.callers.remove(&from);
        }
    }
}

impl Place {
    /// Waits until somebody else needs the place.
    async fn is_taken(&mut self) {
        // Nothing is ever sent: it ends when the other half is dropped.
        let _ = (&mut self.taken).await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.doorway.inside().leave(self.from, self.number);
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
        let mut place = doorway.enter(from.ip());
        let (config, identities) = (Arc::clone(&config), Arc::clone(&identities));
        let (drivers, accepted) = (Arc::clone(&drivers), accepted.clone());
        handshakes.spawn(async move {
            let shaken = shake_hands(socket, from, config, &identities, &drivers);
            let let_in = async {
                match timeout(HANDSHAKE_TIMEOUT, shaken).await {
                    Ok(Ok(newcomer)) => {
                        // Nobody accepts any more when the endpoint is gone.
                        let _ = accepted.send(newcomer).await;
                    }
                    Ok(Err(reason)) => debug!(%from, %reason, "handshake over TCP refused"),
                    Err(_) => debug!(%from, "handshake over TCP timed out"),
                }
            };
            // Dropping the socket ends the connection.
            tokio::select! {
                () = let_in => {}
                () = place.is_taken() => debug!(%from, "a handshake made room for another"),
            }
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
    let begun = timeout(HELLO_TIMEOUT, socket.peek(&mut [0])).await;
    begun.map_err(|_| ClosedReason::TimedOut)?.map_err(|error| ClosedReason::of_io(&error))?;
    let shaken = handshake::accept(socket, from, config, drivers).await?;
    let introduction = Introduction { server_name: shaken.server_name, protocol: shaken.protocol };
    endpoint::judge(&Wire::Tcp(shaken.connection), &introduction, identities)
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot::error::TryRecvError;

    use super::*;

    fn host(number: usize) -> IpAddr {
        let [.., high, low] = number.to_be_bytes();
        IpAddr::from([198, 18, high, low])
    }

    fn has_to_go(place: &mut Place) -> bool {
        place.taken.try_recv() == Err(TryRecvError::Closed)
    }

    #[test]
    fn who_dawdles_makes_room_for_others_from_the_same_address() {
        let doorway = Arc::new(Doorway::default());
        let mut elsewhere = doorway.enter(host(2));
        let mut places: Vec<Place> = std::iter::repeat_with(|| doorway.enter(host(1)))
            .take(HANDSHAKES_PER_ADDRESS_MAX + 1)
            .collect();
        let turned_out: Vec<usize> =
            (0..places.len()).filter(|at| has_to_go(&mut places[*at])).collect();
        assert_eq!((turned_out.as_slice(), has_to_go(&mut elsewhere)), (&[0][..], false));
        // The place was given away: leaving it frees none.
        drop(places.remove(0));
        assert_eq!(doorway.inside().count, HANDSHAKES_PER_ADDRESS_MAX + 1);
        drop((places, elsewhere));
        assert!(doorway.inside().callers.is_empty());
        assert_eq!(doorway.inside().count, 0);
    }

    #[test]
    fn the_busiest_address_makes_room_where_all_places_are_taken() {
        let doorway = Arc::new(Doorway::default());
        let mut busy: Vec<Place> = (0..3).map(|_| doorway.enter(host(0))).collect();
        let mut others: Vec<Place> =
            (0..HANDSHAKES_MAX - 3).map(|at| doorway.enter(host(1 + at))).collect();
        assert!(!busy.iter_mut().chain(&mut others).any(has_to_go));
        let mut newcomer = doorway.enter(host(1_000));
        assert!(has_to_go(&mut busy[0]));
        let mut stay = busy[1..].iter_mut().chain(&mut others).chain([&mut newcomer]);
        assert!(!stay.any(has_to_go));
        assert_eq!(doorway.inside().count, HANDSHAKES_MAX);
    }

    #[test]
    fn the_addresses_of_one_host_count_as_one() {
        let of = |text: &str| neighbourhood(text.parse().unwrap());
        assert_eq!(of("2001:db8:0:1::5"), of("2001:db8:0:1:ffff::9"));
        assert_ne!(of("2001:db8:0:1::5"), of("2001:db8:0:2::5"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    }
}
