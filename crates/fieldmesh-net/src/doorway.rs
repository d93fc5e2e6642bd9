//! Handshakes under way: at most so many at a time, and with one address.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use tracing::debug;

use crate::endpoint::HANDSHAKES_MAX;

/// The largest number of handshakes under way with one address (of IPv6: a /64), where each has a
/// socket of its own.
pub(crate) const HANDSHAKES_PER_ADDRESS_MAX: usize = 64;

/// Handshakes under way.
#[derive(Debug, Default)]
pub(crate) struct Doorway {
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
pub(crate) struct Place {
    doorway: Arc<Doorway>,
    from: IpAddr,
    number: u64,
    taken: oneshot::Receiver<Infallible>,
}

impl Doorway {
    /// A place for somebody from `address` who cannot come again by itself.
    ///
    /// Where all are taken, the one who has stood there for longest has to go, from the address
    /// that has most of them: who connects and then dawdles must not keep others out.
    pub(crate) fn enter(self: &Arc<Self>, address: IpAddr) -> Place {
        let from = neighbourhood(address);
        let mut inside = self.inside();
        if inside.count_from(&from) >= HANDSHAKES_PER_ADDRESS_MAX {
            debug!(%from, limit = HANDSHAKES_PER_ADDRESS_MAX, "too many handshakes from there");
            inside.turn_out(from);
        } else if inside.count >= HANDSHAKES_MAX
            && let Some((busiest, _)) = inside.busiest()
        {
            debug!(from = %busiest, limit = HANDSHAKES_MAX, "too many handshakes");
            inside.turn_out(busiest);
        }
        self.place(&mut inside, from)
    }

    /// A place for somebody from `address` who comes again if there is none.
    ///
    /// Where all are taken, one is given away only by an address that has more of them afterwards
    /// too: a crowd that comes at once waits, and who dawdles keeps no other address out.
    pub(crate) fn enter_if_fair(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let from = neighbourhood(address);
        let mut inside = self.inside();
        if inside.count >= HANDSHAKES_MAX {
            let own = inside.count_from(&from);
            let (busiest, _) = inside.busiest().filter(|(_, count)| *count > own + 1)?;
            debug!(from = %busiest, limit = HANDSHAKES_MAX, "too many handshakes");
            inside.turn_out(busiest);
        }
        Some(self.place(&mut inside, from))
    }

    fn place(self: &Arc<Self>, inside: &mut Inside, from: IpAddr) -> Place {
        let number = inside.number_next;
        inside.number_next += 1;
        inside.count += 1;
        let (sender, taken) = oneshot::channel();
        inside.callers.entry(from).or_default().insert(number, sender);
        Place { doorway: Arc::clone(self), from, number, taken }
    }

    /// How many are inside.
    pub(crate) fn count(&self) -> usize {
        self.inside().count
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inside {
    fn count_from(&self, from: &IpAddr) -> usize {
        self.callers.get(from).map_or(0, BTreeMap::len)
    }

    /// The address that has most places, and how many.
    fn busiest(&self) -> Option<(IpAddr, usize)> {
        let counts = self.callers.iter().map(|(from, there)| (*from, there.len()));
        counts.max_by_key(|(_, count)| *count)
    }

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
    pub(crate) async fn is_taken(&mut self) {
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
        assert_eq!(doorway.count(), HANDSHAKES_PER_ADDRESS_MAX + 1);
        drop((places, elsewhere));
        assert!(doorway.inside().callers.is_empty());
        assert_eq!(doorway.count(), 0);
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
        assert_eq!(doorway.count(), HANDSHAKES_MAX);
    }

    #[test]
    fn a_crowd_that_can_come_again_turns_nobody_out_and_one_address_makes_room_for_another() {
        let doorway = Arc::new(Doorway::default());
        let mut crowd: Vec<Place> =
            (0..HANDSHAKES_MAX).filter_map(|at| doorway.enter_if_fair(host(at))).collect();
        assert_eq!(doorway.count(), HANDSHAKES_MAX);
        assert!(doorway.enter_if_fair(host(1_000)).is_none());
        assert!(!crowd.iter_mut().any(has_to_go));
        drop(crowd);
        let mut busy: Vec<Place> =
            (0..HANDSHAKES_MAX).filter_map(|_| doorway.enter_if_fair(host(1))).collect();
        assert!(doorway.enter_if_fair(host(1)).is_none());
        let mut others: Vec<Place> =
            (0..HANDSHAKES_MAX).map_while(|_| doorway.enter_if_fair(host(2))).collect();
        assert_eq!((others.len(), doorway.count()), (HANDSHAKES_MAX / 2, HANDSHAKES_MAX));
        assert_eq!(
            busy.iter_mut().filter_map(|it| has_to_go(it).then_some(())).count(),
            others.len()
        );
        assert!(has_to_go(&mut busy[0]) && !others.iter_mut().any(has_to_go));
    }

    #[test]
    fn the_addresses_of_one_host_count_as_one() {
        let of = |text: &str| neighbourhood(text.parse().unwrap());
        assert_eq!(of("2001:db8:0:1::5"), of("2001:db8:0:1:ffff::9"));
        assert_ne!(of("2001:db8:0:1::5"), of("2001:db8:0:2::5"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    }
}
