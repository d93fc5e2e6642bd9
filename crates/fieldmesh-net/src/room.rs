//! Discovery between nodes of one process: no network is asked and no time passes.
//!
//! For tests, and for programs with several nodes that are to find each other and nobody else.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use data_encoding::HEXLOWER;
use fieldmesh_model::TenantId;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;

use crate::discovery::{Announcement, Discovery, Instance, Neighbourhood, Sighting};

/// The largest number of listeners in a room; further ones are told that there is no room.
pub const LISTENERS_MAX: usize = 512;

const SIGHTINGS_WAITING_MAX: usize = 64;

/// A place in which devices find each other; clones are handles to the same one.
#[derive(Debug, Clone)]
pub struct Room {
    crowd: Arc<Mutex<Crowd>>,
    host: IpAddr,
}

/// Who is in a room.
#[derive(Debug, Default)]
struct Crowd {
    listeners: BTreeMap<Instance, Listener>,
    is_silent: bool,
}

#[derive(Debug)]
struct Listener {
    host: IpAddr,
    announced: Option<Announcement>,
    /// Whom it has found.
    found: BTreeMap<Instance, Sighting>,
    /// The latest of each instance that is still to be handed on.
    news: BTreeMap<Instance, Sighting>,
    rings: Arc<Notify>,
}

/// One listener's half of the conversation with the room; leaves when dropped.
struct Voice {
    crowd: Arc<Mutex<Crowd>>,
    own: Instance,
    _messenger: JoinSet<()>,
}

impl Room {
    /// An empty room; who is in it accepts connections on the loopback interface.
    pub fn new() -> Self {
        Self { crowd: Arc::default(), host: Ipv4Addr::LOCALHOST.into() }
    }

    /// The same room for a device that accepts connections at `host`.
    #[must_use]
    pub fn at(&self, host: IpAddr) -> Self {
        Self { crowd: self.crowd.clone(), host }
    }

    /// Lets nobody hear of anybody, as a network that stops to carry multicast: all are lost.
    pub fn silence(&self) {
        self.crowd().set_silent(true);
    }

    /// Ends the silence: all are found again.
    pub fn speak(&self) {
        self.crowd().set_silent(false);
    }

    fn crowd(&self) -> MutexGuard<'_, Crowd> {
        lock(&self.crowd)
    }
}

impl Default for Room {
    fn default() -> Self {
        Self::new()
    }
}

impl Neighbourhood for Room {
    fn listen(&self, nonce: [u8; 8]) -> (Box<dyn Discovery>, mpsc::Receiver<Sighting>) {
        let own = Instance::new(HEXLOWER.encode(&nonce));
        let (sightings, receiver) = mpsc::channel(SIGHTINGS_WAITING_MAX);
        let mut messenger = JoinSet::new();
        let mut crowd = self.crowd();
        if crowd.listeners.len() < LISTENERS_MAX {
            let rings = Arc::new(Notify::new());
            messenger.spawn(tell(self.crowd.clone(), own.clone(), rings.clone(), sightings));
            let (found, news) = (BTreeMap::new(), BTreeMap::new());
            let listener = Listener { host: self.host, announced: None, found, news, rings };
            crowd.listeners.insert(own.clone(), listener);
        } else {
            let reason = format!("the room has {LISTENERS_MAX} listeners");
            // The channel was made a moment ago, so there is room.
            let _ = sightings.try_send(Sighting::Unavailable { reason });
        }
        (Box::new(Voice { crowd: self.crowd.clone(), own, _messenger: messenger }), receiver)
    }
}

/// Hands on what a listener hears as fast as it is taken.
async fn tell(
    crowd: Arc<Mutex<Crowd>>,
    own: Instance,
    rings: Arc<Notify>,
    sightings: mpsc::Sender<Sighting>,
) {
    while let Ok(room) = sightings.reserve().await {
        let news = lock(&crowd).listeners.get_mut(&own).and_then(|one| one.news.pop_first());
        match news {
            Some((_, news)) => room.send(news),
            None => {
                drop(room);
                rings.notified().await;
            }
        }
    }
}

impl Discovery for Voice {
    fn announce(&self, announcement: &Announcement) {
        self.set(Some(announcement.clone()));
    }

    fn verify(&self, _instance: &Instance) {
        // Whoever leaves a room is lost at once.
    }

    fn withdraw(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        self.set(None);
        Box::pin(std::future::ready(()))
    }
}

impl Voice {
    fn set(&self, announcement: Option<Announcement>) {
        let mut crowd = lock(&self.crowd);
        if let Some(listener) = crowd.listeners.get_mut(&self.own) {
            listener.announced = announcement;
            crowd.look_again();
        }
    }
}

impl Drop for Voice {
    fn drop(&mut self) {
        let mut crowd = lock(&self.crowd);
        crowd.listeners.remove(&self.own);
        crowd.look_again();
    }
}

impl Crowd {
    fn set_silent(&mut self, is_silent: bool) {
        self.is_silent = is_silent;
        self.look_again();
    }

    /// Tells everybody what has changed for them.
    fn look_again(&mut self) {
        let announced: Vec<(Instance, IpAddr, Announcement)> = self
            .listeners
            .iter()
            .filter(|_| !self.is_silent)
            .filter_map(|(name, one)| Some((name.clone(), one.host, one.announced.clone()?)))
            .collect();
        for (own, listener) in &mut self.listeners {
            let others = announced.iter().filter(|(name, ..)| name != own);
            let found = others.filter_map(|(name, host, theirs)| {
                let tenants = listener.shares(theirs);
                let addresses = vec![SocketAddr::new(*host, theirs.port)];
                let found = Sighting::Found { instance: name.clone(), tenants, addresses };
                (!listener.shares(theirs).is_empty()).then(|| (name.clone(), found))
            });
            let found = found.collect();
            listener.see(found);
        }
    }
}

impl Listener {
    /// The tenants that an announcement shares with this listener.
    fn shares(&self, theirs: &Announcement) -> Vec<TenantId> {
        let ours = self.announced.iter().flat_map(|announced| &announced.tenants);
        ours.filter(|tenant| theirs.tenants.contains(tenant)).copied().collect()
    }

    fn see(&mut self, found: BTreeMap<Instance, Sighting>) {
        for instance in self.found.keys().filter(|instance| !found.contains_key(*instance)) {
            let instance = instance.clone();
            self.news.insert(instance.clone(), Sighting::Lost { instance });
        }
        for (instance, sighting) in &found {
            if self.found.get(instance) != Some(sighting) {
                self.news.insert(instance.clone(), sighting.clone());
            }
        }
        self.found = found;
        if !self.news.is_empty() {
            self.rings.notify_one();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn announcement(port: u16, tenants: &[u8]) -> Announcement {
        let tenants = tenants.iter().map(|number| TenantId::from_bytes([*number; 32])).collect();
        Announcement { port, tenants }
    }

    fn lost(nonce: [u8; 8]) -> Sighting {
        Sighting::Lost { instance: Instance::new(HEXLOWER.encode(&nonce)) }
    }

    fn found(nonce: [u8; 8], tenants: &[u8], address: &str) -> Sighting {
        let instance = Instance::new(HEXLOWER.encode(&nonce));
        let tenants = announcement(0, tenants).tenants;
        Sighting::Found { instance, tenants, addresses: vec![address.parse().unwrap()] }
    }

    #[tokio::test]
    async fn devices_of_one_tenant_find_and_lose_each_other_and_nobody_else() {
        let room = Room::new();
        let (ana, mut ana_hears) = room.listen([1; 8]);
        let (ben, mut ben_hears) = room.at([10, 0, 0, 2].into()).listen([2; 8]);
        let (eve, mut eve_hears) = room.listen([3; 8]);
        ana.announce(&announcement(7001, &[1, 2]));
        eve.announce(&announcement(7003, &[9]));
        ben.announce(&announcement(7002, &[2, 3]));
        assert_eq!(ana_hears.recv().await, Some(found([2; 8], &[2], "10.0.0.2:7002")));
        assert_eq!(ben_hears.recv().await, Some(found([1; 8], &[2], "127.0.0.1:7001")));
        ben.withdraw().await;
        assert_eq!(ana_hears.recv().await, Some(lost([2; 8])));
        ben.announce(&announcement(7004, &[2]));
        assert_eq!(ana_hears.recv().await, Some(found([2; 8], &[2], "10.0.0.2:7004")));
        drop(ana);
        assert_eq!(ben_hears.recv().await, Some(lost([1; 8])));
        assert!(eve_hears.try_recv().is_err());
    }

    #[tokio::test]
    async fn silence_loses_everybody_and_its_end_finds_them_again() {
        let room = Room::new();
        let (ana, mut hears) = room.listen([1; 8]);
        let (ben, _) = room.listen([2; 8]);
        ana.announce(&announcement(7001, &[1]));
        ben.announce(&announcement(7002, &[1]));
        let ben_found = Some(found([2; 8], &[1], "127.0.0.1:7002"));
        assert_eq!(hears.recv().await, ben_found);
        room.silence();
        assert_eq!(hears.recv().await, Some(lost([2; 8])));
        room.speak();
        assert_eq!(hears.recv().await, ben_found);
    }

    #[tokio::test]
    async fn a_listener_that_takes_nothing_keeps_only_the_latest_of_each() {
        let room = Room::new();
        let (ana, mut hears) = room.listen([1; 8]);
        let (ben, _) = room.listen([2; 8]);
        ana.announce(&announcement(7001, &[1]));
        for port in 1..=500 {
            ben.announce(&announcement(port, &[1]));
        }
        assert_eq!(hears.recv().await, Some(found([2; 8], &[1], "127.0.0.1:500")));
        assert!(hears.try_recv().is_err());
    }

    #[tokio::test]
    async fn a_full_room_says_so_and_nothing_fails() {
        let room = Room::new();
        let mut all = Vec::new();
        for number in 0..LISTENERS_MAX {
            all.push(room.listen((number as u64).to_be_bytes()));
        }
        let (late, mut hears) = room.listen([0xff; 8]);
        late.announce(&announcement(1, &[1]));
        assert!(matches!(hears.recv().await, Some(Sighting::Unavailable { .. })));
    }
}
