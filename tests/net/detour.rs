//! A long and bad way between two processes: datagrams that this process forwards, late or not at
//! all. It needs no rights and nothing of the kernel.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often a direction looks for something to forward.
const LOOK_EVERY: Duration = Duration::from_millis(1);
/// The largest datagram.
const DATAGRAM_MAX: usize = 65_535;
/// The most datagrams under way in one direction.
const UNDER_WAY_MAX: usize = 4_096;

/// A way to one address, for one who uses it at a time; gone when dropped.
pub(crate) struct Detour {
    address: SocketAddr,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    /// Faces the one who uses the way.
    near: UdpSocket,
    /// Faces the address that it leads to.
    far: UdpSocket,
    user: Mutex<Option<SocketAddr>>,
    delay: Duration,
    loss_percent: u64,
    lost: AtomicU64,
    bytes: AtomicU64,
    is_over: AtomicBool,
}

/// Which way datagrams go.
#[derive(Clone, Copy)]
enum Direction {
    There,
    Back,
}

impl Detour {
    /// A way to `target` that takes `delay` in each direction and loses some datagrams by dice.
    pub(crate) fn to(target: &str, delay: Duration, loss_percent: u64) -> Self {
        let socket = || {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            socket.set_read_timeout(Some(LOOK_EVERY)).unwrap();
            socket
        };
        let (near, far) = (socket(), socket());
        far.connect(target).unwrap();
        let address = near.local_addr().unwrap();
        let shared = Arc::new(Shared {
            near,
            far,
            user: Mutex::new(None),
            delay,
            loss_percent,
            lost: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
        });
        let threads = [Direction::There, Direction::Back].map(|direction| {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || shared.forward(direction))
        });
        Self { address, shared, threads: threads.into() }
    }

    /// Where the way begins.
    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// How many datagrams were lost on it.
    pub(crate) fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::Relaxed)
    }

    /// The bytes that were sent into it, both ways.
    pub(crate) fn bytes(&self) -> u64 {
        self.shared.bytes.load(Ordering::Relaxed)
    }
}

impl Drop for Detour {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // One that has failed has failed a test by what did not arrive.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn forward(&self, direction: Direction) {
        let mut under_way: VecDeque<(Instant, Vec<u8>)> = VecDeque::new();
        let mut buffer = vec![0; DATAGRAM_MAX];
        let mut dice = 1 + direction as u64;
        while !self.is_over.load(Ordering::Relaxed) {
            if let Some(size) = self.receive(direction, &mut buffer) {
                self.bytes.fetch_add(size as u64, Ordering::Relaxed);
                dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888);
                let is_lost = (dice >> 33) % 100 < self.loss_percent;
                if is_lost || under_way.len() >= UNDER_WAY_MAX {
                    self.lost.fetch_add(1, Ordering::Relaxed);
                } else {
                    under_way.push_back((Instant::now() + self.delay, buffer[..size].to_vec()));
                }
            }
            while let Some((_, bytes)) = under_way.pop_front_if(|(due, _)| *due <= Instant::now()) {
                self.send(direction, &bytes);
            }
        }
    }

    fn receive(&self, direction: Direction, buffer: &mut [u8]) -> Option<usize> {
        let received = match direction {
            Direction::There => self.near.recv_from(buffer).map(|(size, from)| {
                *self.user.lock().unwrap() = Some(from);
                size
            }),
            Direction::Back => self.far.recv(buffer),
        };
        match received {
            Ok(size) => Some(size),
            // The other process may have ended, or not begun.
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => None,
            Err(error) if [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&error.kind()) => {
                None
            }
            Err(error) => panic!("the way is broken: {error}"),
        }
    }

    /// A datagram that cannot be sent is one more that is lost.
    fn send(&self, direction: Direction, bytes: &[u8]) {
        let sent = match direction {
            Direction::There => self.far.send(bytes),
            Direction::Back => match *self.user.lock().unwrap() {
                Some(user) => self.near.send_to(bytes, user),
                None => return,
            },
        };
        if sent.is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}
