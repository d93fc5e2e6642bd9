//! Discovery by multicast DNS.
//!
//! An announcement carries a random name, a port, addresses and keyed marks; never the name of a
//! tenant, a device or a person.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use data_encoding::HEXLOWER;
use fieldmesh_model::TenantId;
use mdns_sd::{
    DaemonEvent, IfKind, ResolvedService, ScopedIp, ServiceDaemon, ServiceEvent, ServiceInfo,
    TxtProperty,
};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::debug;

use crate::discovery::{
    Announcement, Discovery, Instance, MARK_SIZE, Neighbourhood, Sighting, TENANTS_ANNOUNCED_MAX,
    TenantMark,
};

/// The largest number of instances kept in mind.
pub const INSTANCES_MAX: usize = 512;
/// The largest number of addresses taken from one instance.
pub const ADDRESSES_PER_INSTANCE_MAX: usize = 16;
/// How long a verified instance has to answer.
pub const VERIFY_TIMEOUT: Duration = Duration::from_secs(3);

const SERVICE: &str = "_fieldmesh._udp.local.";
const SIGHTINGS_WAITING_MAX: usize = 64;
const STOP_TIMEOUT: Duration = Duration::from_millis(500);
/// A TXT string holds 255 bytes, so marks are spread over several.
const MARKS_PER_STRING: usize = 16;
const MARK_KEYS: [&str; TENANTS_ANNOUNCED_MAX / MARKS_PER_STRING] = ["t0", "t1", "t2", "t3"];

/// The network interfaces that discovery uses.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Interfaces {
    /// All of them, loopback included.
    #[default]
    All,
    /// Those with these names.
    Named(Vec<String>),
}

/// Discovery by multicast DNS; ends when dropped.
pub struct Mdns {
    daemon: Option<ServiceDaemon>,
    name: String,
    tenants: watch::Sender<Vec<TenantId>>,
    announced: Mutex<Option<Announcement>>,
    _listener: JoinSet<()>,
}

impl Mdns {
    /// Starts to listen; what is heard comes out of the receiver.
    ///
    /// `nonce` is drawn at random by the caller and becomes the name of the announcement. Needs a
    /// tokio runtime. Where multicast does not work, the receiver says so.
    pub fn start(interfaces: &Interfaces, nonce: [u8; 8]) -> (Self, mpsc::Receiver<Sighting>) {
        let (sightings, receiver) = mpsc::channel(SIGHTINGS_WAITING_MAX);
        let (tenants, our_tenants) = watch::channel(Vec::new());
        let name = HEXLOWER.encode(&nonce);
        let own = Instance::new(format!("{name}.{SERVICE}"));
        let mut listener = JoinSet::new();
        let daemon = match open(interfaces) {
            Ok((daemon, sources)) => {
                let mut ear = Ear::new(own, our_tenants);
                ear.trouble = no_interface(interfaces);
                listener.spawn(listen(ear, daemon.clone(), sources, sightings));
                Some(daemon)
            }
            Err(error) => {
                // The channel was made a moment ago, so there is room.
                let _ = sightings.try_send(unavailable(&error));
                None
            }
        };
        let announced = Mutex::new(None);
        (Self { daemon, name, tenants, announced, _listener: listener }, receiver)
    }

    /// Takes the announcement back and waits a moment for the network to hear it.
    pub async fn stop(self) {
        self.withdraw().await;
    }

    fn own_name(&self) -> String {
        format!("{}.{SERVICE}", self.name)
    }

    fn service(&self, announcement: &Announcement) -> Result<ServiceInfo, mdns_sd::Error> {
        let own = Instance::new(self.own_name());
        let marks: Vec<u8> = announcement
            .tenants
            .iter()
            .take(TENANTS_ANNOUNCED_MAX)
            .flat_map(|tenant| *TenantMark::of(tenant, &own).as_bytes())
            .collect();
        let properties: Vec<TxtProperty> = MARK_KEYS
            .iter()
            .zip(marks.chunks(MARKS_PER_STRING * MARK_SIZE))
            .map(|(key, marks)| TxtProperty::from((*key, marks)))
            .collect();
        let host = format!("{}.local.", self.name);
        let service =
            ServiceInfo::new(SERVICE, &self.name, &host, "", announcement.port, properties)?;
        Ok(service.enable_addr_auto())
    }
}

impl Discovery for Mdns {
    fn announce(&self, announcement: &Announcement) {
        let mut announced = self.announced.lock().unwrap_or_else(PoisonError::into_inner);
        if announced.as_ref() == Some(announcement) {
            return;
        }
        self.tenants.send_replace(announcement.tenants.clone());
        let Some(daemon) = &self.daemon else { return };
        match self.service(announcement).and_then(|service| daemon.register(service)) {
            Ok(()) => *announced = Some(announcement.clone()),
            Err(error) => debug!(%error, "announcement not made"),
        }
    }

    fn verify(&self, instance: &Instance) {
        let Some(daemon) = &self.daemon else { return };
        if let Err(error) = daemon.verify(instance.as_str().into(), VERIFY_TIMEOUT) {
            debug!(%error, "instance not verified");
        }
    }

    fn withdraw(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async {
            let done = self.daemon.as_ref().map(|daemon| daemon.unregister(&self.own_name()));
            if let Some(Ok(done)) = done {
                // Others notice by themselves if the word does not get out in time.
                let _ = timeout(STOP_TIMEOUT, done.recv_async()).await;
            }
            *self.announced.lock().unwrap_or_else(PoisonError::into_inner) = None;
        })
    }
}

impl Neighbourhood for Interfaces {
    fn listen(&self, nonce: [u8; 8]) -> (Box<dyn Discovery>, mpsc::Receiver<Sighting>) {
        let (mdns, sightings) = Mdns::start(self, nonce);
        (Box::new(mdns), sightings)
    }
}

impl std::fmt::Debug for Mdns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mdns").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Drop for Mdns {
    fn drop(&mut self) {
        if let Some(daemon) = &self.daemon {
            // Its thread takes the announcement back before it ends.
            let _ = daemon.shutdown();
        }
    }
}

struct Sources {
    services: mdns_sd::Receiver<ServiceEvent>,
    troubles: mdns_sd::Receiver<DaemonEvent>,
}

fn open(interfaces: &Interfaces) -> Result<(ServiceDaemon, Sources), mdns_sd::Error> {
    let daemon = ServiceDaemon::new()?;
    if let Interfaces::Named(names) = interfaces {
        daemon.disable_interface(IfKind::All)?;
        for name in names {
            daemon.enable_interface(IfKind::Name(name.clone()))?;
        }
    }
    let troubles = daemon.monitor()?;
    let services = daemon.browse(SERVICE)?;
    Ok((daemon, Sources { services, troubles }))
}

/// Takes events as fast as they come, because a full channel ends the subscription, and hands on
/// the latest of each instance as fast as they are taken.
async fn listen(
    mut ear: Ear,
    daemon: ServiceDaemon,
    mut sources: Sources,
    sightings: mpsc::Sender<Sighting>,
) {
    loop {
        tokio::select! {
            service = sources.services.recv_async() => match service {
                Ok(event) => ear.hear(event),
                Err(_) => match daemon.browse(SERVICE) {
                    Ok(services) => sources.services = services,
                    Err(error) => {
                        let _ = sightings.send(unavailable(&error)).await;
                        return;
                    }
                },
            },
            trouble = sources.troubles.recv_async() => match trouble {
                Ok(DaemonEvent::Error(error)) => ear.trouble = Some(unavailable(&error)),
                Ok(_) => {}
                Err(_) => return,
            },
            changed = ear.our_tenants.changed() => match changed {
                Ok(()) => ear.match_again(),
                Err(_) => return,
            },
            room = sightings.reserve(), if ear.has_news() => match room {
                Ok(room) => if let Some(news) = ear.next_news() { room.send(news) },
                Err(_) => return,
            },
        }
    }
}

/// The daemon itself says nothing when there is nowhere to listen; it starts when there is.
fn no_interface(interfaces: &Interfaces) -> Option<Sighting> {
    let found = if_addrs::get_if_addrs().unwrap_or_default();
    let usable = |name: &str| match interfaces {
        Interfaces::All => true,
        Interfaces::Named(names) => names.iter().any(|wanted| wanted == name),
    };
    if found.iter().any(|interface| usable(&interface.name)) {
        return None;
    }
    let reason = match interfaces {
        Interfaces::All => "no network interface is up".to_owned(),
        Interfaces::Named(names) => format!("no network interface {} is up", names.join(", ")),
    };
    Some(Sighting::Unavailable { reason })
}

fn unavailable(error: &mdns_sd::Error) -> Sighting {
    Sighting::Unavailable { reason: error.to_string() }
}

/// What was heard, and what of it is still to be handed on.
struct Ear {
    own: Instance,
    our_tenants: watch::Receiver<Vec<TenantId>>,
    present: BTreeMap<Instance, Heard>,
    news: BTreeMap<Instance, Sighting>,
    trouble: Option<Sighting>,
}

struct Heard {
    marks: Vec<TenantMark>,
    addresses: Vec<SocketAddr>,
    is_ours: bool,
}

impl Ear {
    fn new(own: Instance, our_tenants: watch::Receiver<Vec<TenantId>>) -> Self {
        let (present, news) = (BTreeMap::new(), BTreeMap::new());
        Self { own, our_tenants, present, news, trouble: None }
    }

    fn hear(&mut self, event: ServiceEvent) {
        match event {
            ServiceEvent::ServiceResolved(service) => self.resolved(&service),
            ServiceEvent::ServiceRemoved(_, name) => self.removed(Instance::new(name)),
            _ => {}
        }
    }

    fn resolved(&mut self, service: &ResolvedService) {
        let instance = Instance::new(service.get_fullname());
        let is_new = !self.present.contains_key(&instance);
        if instance == self.own || (is_new && self.present.len() >= INSTANCES_MAX) {
            return;
        }
        let heard = Heard { marks: marks(service), addresses: addresses(service), is_ours: false };
        self.present.insert(instance.clone(), heard);
        self.match_instance(&instance);
    }

    fn removed(&mut self, instance: Instance) {
        if self.present.remove(&instance).is_some_and(|heard| heard.is_ours) {
            self.news.insert(instance.clone(), Sighting::Lost { instance });
        }
    }

    fn match_again(&mut self) {
        self.our_tenants.mark_unchanged();
        let instances: Vec<Instance> = self.present.keys().cloned().collect();
        for instance in instances {
            self.match_instance(&instance);
        }
    }

    fn match_instance(&mut self, instance: &Instance) {
        let Some(heard) = self.present.get_mut(instance) else { return };
        let tenants: Vec<TenantId> = self
            .our_tenants
            .borrow()
            .iter()
            .filter(|tenant| heard.marks.contains(&TenantMark::of(tenant, instance)))
            .copied()
            .collect();
        let was_ours = heard.is_ours;
        heard.is_ours = !tenants.is_empty() && !heard.addresses.is_empty();
        if heard.is_ours {
            let (instance, addresses) = (instance.clone(), heard.addresses.clone());
            let found = Sighting::Found { instance: instance.clone(), tenants, addresses };
            self.news.insert(instance, found);
        } else if was_ours {
            let lost = Sighting::Lost { instance: instance.clone() };
            self.news.insert(instance.clone(), lost);
        }
    }

    fn has_news(&self) -> bool {
        self.trouble.is_some() || !self.news.is_empty()
    }

    fn next_news(&mut self) -> Option<Sighting> {
        self.trouble.take().or_else(|| self.news.pop_first().map(|(_, sighting)| sighting))
    }
}

fn marks(service: &ResolvedService) -> Vec<TenantMark> {
    let bytes = MARK_KEYS.iter().filter_map(|key| service.get_property_val(key).flatten());
    bytes
        .flat_map(|bytes| bytes.as_chunks::<MARK_SIZE>().0)
        .map(|mark| TenantMark::from_bytes(*mark))
        .take(TENANTS_ANNOUNCED_MAX)
        .collect()
}

fn addresses(service: &ResolvedService) -> Vec<SocketAddr> {
    let port = service.get_port();
    let mut addresses: Vec<SocketAddr> =
        service.get_addresses().iter().map(|ip| socket_address(ip, port)).collect();
    addresses.sort_by_key(|address| (distance(&address.ip()), *address));
    addresses.truncate(ADDRESSES_PER_INSTANCE_MAX);
    addresses
}

fn socket_address(ip: &ScopedIp, port: u16) -> SocketAddr {
    match ip {
        ScopedIp::V6(v6) if v6.addr().is_unicast_link_local() => {
            SocketAddrV6::new(*v6.addr(), port, 0, v6.scope_id().index).into()
        }
        other => SocketAddr::new(other.to_ip_addr(), port),
    }
}

/// Ordinary addresses first, link-local ones next; loopback works on one host only.
fn distance(ip: &IpAddr) -> u8 {
    match ip {
        ip if ip.is_loopback() => 3,
        IpAddr::V4(ip) if ip.is_link_local() => 2,
        IpAddr::V6(ip) if ip.is_unicast_link_local() => 2,
        IpAddr::V4(_) => 0,
        IpAddr::V6(_) => 1,
    }
}

#[cfg(test)]
mod tests;
