//! The machine behind its lock, what is set, and what the keeper tells and asks.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use fieldmesh_model::Moment;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, broadcast};

use crate::api::{
    ConnectivityEvent, ConnectivityReport, Failing, HeldBack, LinkClass, SyncSettings,
    SyncSettingsChange,
};
use crate::clock;
use crate::connectivity::{Answer, Asked, Input, Machine, Output, Retry, Token, class_of};
use crate::error::Error;
use crate::home::Home;

/// Events a slow listener may lag behind.
const EVENTS_MAX: usize = 256;
/// The file in the home.
const FILE: &str = "connectivity.json";

/// What the home keeps.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Kept {
    settings: SyncSettings,
}

#[derive(Default)]
struct Shelf {
    /// Addresses that were named when the node was started.
    named: BTreeSet<String>,
    /// Addresses to dial at the next look.
    urged: BTreeSet<String>,
    failing: BTreeMap<String, Retry>,
    is_to_forget: bool,
    /// How many syncs are under way that somebody asked for.
    asked: usize,
    held_back: Vec<HeldBack>,
}

/// While it lives links carry everything, whatever their class.
pub(in super::super) struct Lifted(Arc<Watch>);

impl Drop for Lifted {
    fn drop(&mut self) {
        self.0.shelf().asked -= 1;
    }
}

/// The machine behind its lock.
pub(in super::super) struct Watch {
    machine: Mutex<Machine>,
    shelf: Mutex<Shelf>,
    pub(super) wake: Notify,
    events: broadcast::Sender<ConnectivityEvent>,
}

impl Watch {
    pub(in super::super) fn open(home: &Home, last_success: Option<Moment>) -> Self {
        // Settings that cannot be read are those of a new home: nothing is lost with them.
        let read = std::fs::read(home.folder.join(FILE)).ok();
        let kept: Kept =
            read.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        Self {
            machine: Mutex::new(Machine::new(kept.settings, last_success)),
            shelf: Mutex::default(),
            wake: Notify::new(),
            events: broadcast::channel(EVENTS_MAX).0,
        }
    }

    /// Writes what is set. Blocks.
    pub(in super::super) fn save(&self, home: &Home) -> Result<(), Error> {
        let settings = self.machine().settings().clone();
        let bytes =
            serde_json::to_vec(&Kept { settings }).expect("settings hold nothing unserialisable");
        let path = home.folder.join(FILE);
        crate::home::write_durably(&path, &bytes)
    }

    pub(super) fn machine(&self) -> MutexGuard<'_, Machine> {
        self.machine.lock().expect("no holder of this lock panics")
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().expect("no holder of this lock panics")
    }

    pub(in super::super) fn feed(&self, input: Input) {
        self.machine().handle(clock::steady(), input);
        self.wake.notify_one();
    }

    pub(super) fn poll(&self) -> Option<Output> {
        self.machine().poll()
    }

    /// How long until the machine has something to do by itself.
    pub(super) fn time_to_deadline(&self) -> Duration {
        const IDLE: Duration = Duration::from_secs(3_600);
        let Some(deadline) = self.machine().deadline() else { return IDLE };
        let millis = u64::try_from(deadline.millis_since(clock::steady())).unwrap_or(0);
        Duration::from_millis(millis).min(IDLE)
    }

    pub(super) fn ask(&self) -> Asked {
        let asked = self.machine().ask(clock::steady());
        // Who asks wants those tried that have failed.
        self.forget_failures();
        self.wake.notify_one();
        asked
    }

    /// The right to a sync that was begun elsewhere.
    pub(in super::super) fn join(&self) -> Option<Token> {
        let token = self.machine().join(clock::steady());
        self.wake.notify_one();
        token
    }

    pub(super) fn configure(&self, change: SyncSettingsChange) {
        let mut settings = self.machine().settings().clone();
        let SyncSettingsChange { auto_sync_enabled, sync_on_reconnect, paused, classes } = change;
        settings.auto_sync_enabled = auto_sync_enabled.unwrap_or(settings.auto_sync_enabled);
        settings.sync_on_reconnect = sync_on_reconnect.unwrap_or(settings.sync_on_reconnect);
        settings.paused = paused.unwrap_or(settings.paused);
        settings.classes.extend(classes);
        self.feed(Input::Configured(settings));
    }

    pub(super) fn events(&self) -> broadcast::Receiver<ConnectivityEvent> {
        self.events.subscribe()
    }

    pub(super) fn tell(&self, event: ConnectivityEvent) {
        // Nobody listening is fine: events are for those who show them.
        let _ = self.events.send(event);
    }

    pub(super) fn report(&self) -> ConnectivityReport {
        let mut report = self.machine().report(clock::steady());
        let failing = |(address, retry): (&String, &Retry)| Failing {
            address: address.clone(),
            attempts: retry.attempts(),
            failed: retry.is_exhausted(),
        };
        let shelf = self.shelf();
        report.failing = shelf.failing.iter().map(failing).collect();
        report.held_back.clone_from(&shelf.held_back);
        report
    }

    pub(super) fn name_relays(&self, relays: &[String]) {
        self.shelf().named.extend(relays.iter().cloned());
    }

    pub(in super::super) fn named_relays(&self) -> BTreeSet<String> {
        self.shelf().named.clone()
    }

    /// The class of the way to `address`; `otherwise` is that of a place for which the user set
    /// none.
    pub(super) fn class(&self, address: &str, otherwise: LinkClass) -> LinkClass {
        let settings = self.machine().settings().clone();
        let interface = if settings.classes.is_empty() { None } else { interface_towards(address) };
        class_of(&settings, address, interface, otherwise)
    }

    /// Has links carry everything for a sync that somebody asked for.
    pub(in super::super) fn lift(self: &Arc<Self>) -> Lifted {
        self.shelf().asked += 1;
        Lifted(Arc::clone(self))
    }

    pub(in super::super) fn is_lifted(&self) -> bool {
        self.shelf().asked > 0
    }

    pub(super) fn set_held_back(&self, held_back: Vec<HeldBack>) {
        self.shelf().held_back = held_back;
    }

    /// Batches that wait for a link that carries them.
    pub(super) fn held_back(&self) -> u64 {
        self.shelf().held_back.iter().map(|link| link.waiting).max().unwrap_or(0)
    }

    /// Whether anybody may be dialled although nobody asked.
    pub(in super::super) fn may_dial(&self) -> bool {
        let machine = self.machine();
        machine.settings().auto_sync_enabled && !machine.settings().paused
    }

    /// Whether connections of others are not taken: paused, and nobody here asked for a sync.
    pub(in super::super) fn is_closed(&self) -> bool {
        let machine = self.machine();
        machine.settings().paused && !machine.report(clock::steady()).syncing
    }

    pub(in super::super) fn is_paused(&self) -> bool {
        self.machine().settings().paused
    }

    /// Has an address dialled at the next look of the keeper, which says [`Watch::dialled`] then.
    pub(super) fn urge(&self, address: String) {
        self.shelf().urged.insert(address);
    }

    pub(in super::super) fn take_urged(&self) -> BTreeSet<String> {
        std::mem::take(&mut self.shelf().urged)
    }

    pub(super) fn forget_failures(&self) {
        let mut shelf = self.shelf();
        shelf.is_to_forget = true;
        shelf.failing.clear();
    }

    /// Whether the failures of before mean nothing since the last time this was asked.
    pub(in super::super) fn take_forgetting(&self) -> bool {
        std::mem::take(&mut self.shelf().is_to_forget)
    }

    /// An address was dialled; what came of it says whether a relay is there.
    pub(in super::super) fn dialled(&self, address: &str, trip: Option<Duration>, retry: Retry) {
        let answer = match trip {
            Some(trip) => Answer::Ok { millis: u64::try_from(trip.as_millis()).ok() },
            None => Answer::Lost,
        };
        {
            let mut shelf = self.shelf();
            match trip {
                Some(_) => shelf.failing.remove(address),
                None => shelf.failing.insert(address.to_owned(), retry),
            };
        }
        if trip.is_none() && retry.is_just_exhausted() {
            let attempts = retry.attempts();
            self.feed(Input::Exhausted { address: address.to_owned(), attempts });
        }
        self.feed(Input::Probed { relay: address.to_owned(), answer });
    }
}

/// The address of the interface that leads to `address`; asking sends nothing.
fn interface_towards(address: &str) -> Option<IpAddr> {
    let address: SocketAddr = address.parse().ok()?;
    let any: SocketAddr = if address.is_ipv4() {
        ([0, 0, 0, 0], 0).into()
    } else {
        (std::net::Ipv6Addr::UNSPECIFIED, 0).into()
    };
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect(address).ok()?;
    socket.local_addr().ok().map(|bound| bound.ip())
}
