//! Datagrams between sockets in memory and in virtual time; no operating system is involved.
//!
//! What is sent arrives late, twice, out of order or never, as a seed and the [`Weather`] over its
//! sender say. The log of all passages is equal for equal seeds.

use std::collections::BTreeMap;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};
use tokio::time::{Instant, Sleep, sleep_until};

/// What a datagram costs a link beyond its payload: the headers of IPv4 and UDP.
const OVERHEAD: usize = 28;

/// What happens to the datagrams of one sender.
#[derive(Debug, Clone, Copy)]
pub(super) struct Weather {
    /// How long the way is.
    pub(super) delay: Duration,
    /// By how much it may be longer; what is sent later may so arrive earlier.
    pub(super) jitter: Duration,
    /// Of a thousand datagrams so many are lost.
    pub(super) lost: u64,
    /// Of a thousand datagrams so many arrive twice.
    pub(super) doubled: u64,
    /// The bits that the link takes in a second; all at once if absent.
    pub(super) rate: Option<u64>,
    /// The bytes that may wait for a slow link; what is beyond is lost.
    pub(super) queue: usize,
    /// Whether nothing gets through.
    pub(super) is_cut: bool,
}

impl Weather {
    /// A good local network.
    pub(super) const CLEAR: Self = Self {
        delay: Duration::from_millis(1),
        jitter: Duration::ZERO,
        lost: 0,
        doubled: 0,
        rate: None,
        queue: usize::MAX,
        is_cut: false,
    };

    /// A cable that was pulled.
    pub(super) const CUT: Self = Self { is_cut: true, ..Self::CLEAR };

    /// A radio link at its edge: late, out of order, with losses and repetitions.
    pub(super) const ROUGH: Self = Self {
        delay: Duration::from_millis(40),
        jitter: Duration::from_millis(30),
        lost: 50,
        doubled: 20,
        ..Self::CLEAR
    };

    /// A geostationary satellite: 600 ms there and back.
    pub(super) const SATELLITE: Self = Self { delay: Duration::from_millis(300), ..Self::CLEAR };

    /// 64 kbit/s with room for a second.
    pub(super) const NARROW: Self =
        Self { delay: Duration::from_millis(50), rate: Some(64_000), queue: 8_000, ..Self::CLEAR };
}

/// What became of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Arrives,
    ArrivesTwice,
    Lost,
    /// The queue of a slow link had no room.
    Overflow,
    /// Nobody is at the address, or a link is cut.
    NoWay,
}

/// One datagram that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Passage {
    /// When, counted from the beginning.
    pub(super) at: Duration,
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    pub(super) size: usize,
    pub(super) fate: Fate,
}

/// The network; clones are handles to the same one.
#[derive(Debug, Clone)]
pub(super) struct Ether {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    random: u64,
    began: Instant,
    weather: BTreeMap<IpAddr, Weather>,
    /// Until when the link of a host is busy with what was sent before.
    busy_until: BTreeMap<IpAddr, Instant>,
    /// How sockets are seen by others, where an address is translated on the way.
    outside: BTreeMap<SocketAddr, SocketAddr>,
    ports: BTreeMap<SocketAddr, Port>,
    log: Vec<Passage>,
}

/// What is on its way to a socket, by the moment of its arrival.
#[derive(Debug, Default)]
struct Port {
    coming: BTreeMap<(Instant, usize), Packet>,
    waker: Option<Waker>,
}

#[derive(Debug, Clone)]
struct Packet {
    from: SocketAddr,
    bytes: Vec<u8>,
}

/// One socket on the network.
#[derive(Debug)]
struct Socket {
    state: Arc<Mutex<State>>,
    address: SocketAddr,
    alarm: Mutex<Pin<Box<Sleep>>>,
}

/// Sending never has to wait: a queue that is full drops.
#[derive(Debug)]
struct AlwaysWritable;

impl Ether {
    /// A network in clear weather.
    pub(super) fn new(seed: u64) -> Self {
        let state = State {
            random: seed,
            began: Instant::now(),
            weather: BTreeMap::new(),
            busy_until: BTreeMap::new(),
            outside: BTreeMap::new(),
            ports: BTreeMap::new(),
            log: Vec::new(),
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// A socket at `address`; takes the place of an earlier one.
    pub(super) fn socket(&self, address: SocketAddr) -> Arc<dyn AsyncUdpSocket> {
        lock(&self.state).ports.insert(address, Port::default());
        let alarm = Mutex::new(Box::pin(sleep_until(Instant::now())));
        Arc::new(Socket { state: self.state.clone(), address, alarm })
    }

    /// Nobody is at `address` any more.
    pub(super) fn remove(&self, address: SocketAddr) {
        lock(&self.state).ports.remove(&address);
    }

    /// Sets the weather over what `host` sends.
    pub(super) fn set(&self, host: IpAddr, weather: Weather) {
        lock(&self.state).weather.insert(host, weather);
    }

    /// A router shows the socket at `own` to others as `outside` and no longer as before.
    pub(super) fn translate(&self, own: SocketAddr, outside: SocketAddr) {
        lock(&self.state).outside.insert(own, outside);
    }

    /// A number below `bound` from the dice of the network.
    pub(super) fn draw(&self, bound: u64) -> u64 {
        lock(&self.state).draw(bound)
    }

    /// Everything that was sent so far.
    pub(super) fn log(&self) -> Vec<Passage> {
        lock(&self.state).log.clone()
    }
}

impl State {
    fn draw(&mut self, bound: u64) -> u64 {
        // SplitMix64.
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn send(&mut self, own: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        let from = self.outside.get(&own).copied().unwrap_or(own);
        let is_there = self.ports.contains_key(&own);
        let weather = self.weather.get(&own.ip()).copied().unwrap_or(Weather::CLEAR);
        let inside = self.outside.iter().find(|(_, outside)| **outside == to);
        let to = match inside {
            Some((inside, _)) => *inside,
            // Behind a router only the outside address works.
            None if self.outside.contains_key(&to) => SocketAddr::new(to.ip(), 0),
            None => to,
        };
        let fate = if weather.is_cut || !is_there || !self.ports.contains_key(&to) {
            Fate::NoWay
        } else {
            self.carry(weather, own.ip(), to, &Packet { from, bytes: bytes.to_vec() })
        };
        let at = self.began.elapsed();
        self.log.push(Passage { at, from: own, to, size: bytes.len(), fate });
    }

    fn carry(&mut self, weather: Weather, host: IpAddr, to: SocketAddr, packet: &Packet) -> Fate {
        let now = Instant::now();
        let mut sent = now;
        if let Some(rate) = weather.rate {
            let begins = self.busy_until.get(&host).copied().unwrap_or(now).max(now);
            let waiting = begins.duration_since(now).as_micros() * u128::from(rate) / 8_000_000;
            if waiting > weather.queue as u128 {
                return Fate::Overflow;
            }
            let bits = (packet.bytes.len() + OVERHEAD) as u64 * 8;
            sent = begins + Duration::from_micros(bits * 1_000_000 / rate);
            self.busy_until.insert(host, sent);
        }
        // Always the same number of draws, so that equal seeds meet equal luck for longer.
        let [is_lost, is_doubled] =
            [weather.lost, weather.doubled].map(|chance| self.draw(1_000) < chance);
        let jitter = u64::try_from(weather.jitter.as_micros()).unwrap_or(u64::MAX);
        let ways = [(); 2].map(|()| Duration::from_micros(self.draw(jitter + 1)));
        if is_lost {
            return Fate::Lost;
        }
        let number = 2 * self.log.len();
        let Some(port) = self.ports.get_mut(&to) else { return Fate::NoWay };
        for (copy, way) in ways.into_iter().enumerate().take(1 + usize::from(is_doubled)) {
            port.coming.insert((sent + weather.delay + way, number + copy), packet.clone());
        }
        if let Some(waker) = port.waker.take() {
            waker.wake();
        }
        if is_doubled { Fate::ArrivesTwice } else { Fate::Arrives }
    }
}

impl AsyncUdpSocket for Socket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(AlwaysWritable)
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        lock(&self.state).send(self.address, transmit.destination, transmit.contents);
        Ok(())
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let mut state = lock(&self.state);
        let Some(port) = state.ports.get_mut(&self.address) else { return Poll::Pending };
        port.waker = Some(cx.waker().clone());
        let Some(first) = port.coming.first_entry() else { return Poll::Pending };
        let due = first.key().0;
        if due > Instant::now() {
            let mut alarm = lock(&self.alarm);
            alarm.as_mut().reset(due);
            if alarm.as_mut().poll(cx).is_ready() {
                cx.waker().wake_by_ref();
            }
            return Poll::Pending;
        }
        let packet = first.remove();
        let size = packet.bytes.len();
        buffers[0][..size].copy_from_slice(&packet.bytes);
        metas[0] = RecvMeta::default();
        (metas[0].addr, metas[0].len, metas[0].stride) = (packet.from, size, size);
        Poll::Ready(Ok(1))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }

    fn may_fragment(&self) -> bool {
        false
    }
}

impl UdpPoller for AlwaysWritable {
    fn poll_writable(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
