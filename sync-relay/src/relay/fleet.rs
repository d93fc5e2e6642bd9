//! The books of the fleets: what open tenants tell is added to them, and now and then they are
//! written.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fieldmesh::Node;
use fieldmesh::api::{ConflictQuery, DeviceReport, Problem};
use fieldmesh_dialect::command::{FleetQuery, RejectedQuery};
use fieldmesh_dialect::outcome::{FleetDevice, FleetKind, FleetPage, RejectedPage};
use fieldmesh_gateway::{AppDevice, Gateway};
use fieldmesh_model::{DeviceId, Moment, TenantId};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::Relay;
use super::pool::Pool;
use super::slot::Slot;
use crate::accounts::{self, Accounts};
use crate::fleet::{Backlog, Fleet, Known, file};

/// How often books are written; a relay that is killed forgets no more than this.
const KEPT_EVERY: Duration = Duration::from_secs(60);
/// How long a node may take to tell what passed.
const PATIENCE: Duration = Duration::from_secs(5);
/// Of how many failures of a hundred recent attempts a device is called failing.
const FAILING_PERCENT: u64 = 10;
/// What a node says of a peer that holds the same as itself.
const IN_STEP: &str = "in-step";

impl Pool {
    /// Keeps the books of all tenants, for ever.
    pub(super) async fn keep_books(&self) {
        let mut ticks = interval(KEPT_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            for slot in self.slots() {
                // Nobody waits for one that is being opened or closed; it has its turn later.
                let node = slot.node.try_lock().ok().and_then(|node| node.clone());
                if let Some(node) = node {
                    self.keep_book(&slot, &node).await;
                    self.grant(&slot, &node).await;
                }
            }
        }
    }

    /// Adds what an open tenant tells to its book, and writes that if it changed.
    pub(super) async fn keep_book(&self, slot: &Slot, node: &Node) {
        take_in(slot, node).await;
        let is_changed = slot.fleet().is_changed();
        if is_changed && node.is_gateway() {
            look_into_the_journal(slot, node).await;
        }
        let Some(entries) = slot.fleet().unsaved() else { return };
        let (home, key_file) = (slot.home.clone(), self.inner.key_file.clone());
        let write = move || file::write(&home, &key_file, &entries);
        let written = tokio::task::spawn_blocking(write).await;
        if !matches!(written, Ok(Ok(()))) {
            let tenant = slot.tenant.tenant.short();
            tracing::warn!(tenant, ?written, "what is known of the fleet was not written");
            slot.fleet().not_saved();
        }
    }

    /// The book of the tenant of a home.
    pub(super) async fn read_book(&self, home: &Path) -> Fleet {
        let (home, key_file) = (home.to_owned(), self.inner.key_file.clone());
        let read = tokio::task::spawn_blocking(move || file::read(&home, &key_file));
        read.await.unwrap_or_default()
    }
}

/// Adds what passed since the last time to the book of a tenant.
pub(super) async fn take_in(slot: &Slot, node: &Node) {
    // One that is stopping has nobody left to tell.
    let Ok(Ok(dealings)) = timeout(PATIENCE, node.take_dealings()).await else { return };
    let members = node.members();
    let mut fleet = slot.fleet();
    fleet.add(&dealings, accounts::now());
    fleet.keep(&members);
}

/// Notes what apps have put into the journal, and which of their devices are none any more.
async fn look_into_the_journal(slot: &Slot, node: &Node) {
    let looked = async { Gateway::open(Node::clone(node)).await?.waiting().await };
    // Where records are being made anew it takes longer, and what was known before stands.
    let Ok(looked) = timeout(PATIENCE, looked).await else { return };
    match looked {
        Ok(waiting) => {
            let mut fleet = slot.fleet();
            fleet.wait(Backlog { operations: waiting.operations, oldest: waiting.oldest });
            fleet.forget_apps(&waiting.unregistered);
        }
        Err(error) => {
            let tenant = slot.tenant.tenant.short();
            tracing::warn!(tenant, %error, "the journal was not looked into");
        }
    }
}

impl Relay {
    /// The devices of a tenant and how they fare.
    ///
    /// # Errors
    ///
    /// There is no such tenant, or its store cannot be read.
    pub(crate) async fn fleet(&self, name: &str) -> Result<Vec<FleetDevice>, Problem> {
        let slot = self.named(name)?;
        let node = self.inner.tenants.node(&slot).await?;
        let listed = match node.is_gateway() {
            true => match Gateway::open(Node::clone(&node)).await {
                Ok(gateway) => list(&slot, &node, Some((&gateway, self.accounts()))).await,
                Err(error) => Err(error),
            },
            false => list(&slot, &node, None).await,
        };
        listed.map_err(|error| error.problem())
    }
}

/// What of a list is read at once.
const PAGE: usize = 100;

impl Relay {
    /// What the apps of a tenant sent and nobody could store: a page of it.
    ///
    /// # Errors
    ///
    /// There is no such tenant, or its store cannot be read.
    pub(crate) async fn rejected(
        &self,
        name: &str,
        after: Option<String>,
    ) -> Result<RejectedPage, Problem> {
        let slot = self.named(name)?;
        let node = self.inner.tenants.node(&slot).await?;
        // Whoever only forwards for a tenant takes nothing from its apps.
        if !node.is_gateway() {
            return Ok(RejectedPage::default());
        }
        let query = RejectedQuery { after, count_max: PAGE };
        let listed = async { Gateway::open(Node::clone(&node)).await?.rejected(query).await };
        listed.await.map_err(|error: fieldmesh::Error| error.problem())
    }
}

/// The devices of a tenant, those of apps behind the others.
///
/// # Errors
///
/// The store cannot be read.
pub(super) async fn list(
    slot: &Slot,
    node: &Node,
    gateway: Option<(&Gateway, Arc<Accounts>)>,
) -> Result<Vec<FleetDevice>, fieldmesh::Error> {
    take_in(slot, node).await;
    let devices = node.devices().await?;
    let peers = node.peers().await?;
    let in_step: BTreeSet<DeviceId> =
        peers.iter().filter(|peer| peer.state == IN_STEP).filter_map(|peer| peer.device).collect();
    // Who opens no records knows of no conflict.
    let conflicts = match &gateway {
        Some(_) => Some(conflicts_by_device(node).await?),
        None => None,
    };
    let is_gateway = gateway.is_some();
    let apps = match gateway {
        Some((gateway, accounts)) => {
            named_by_address(gateway.app_devices().await?, accounts, node.tenant().tenant).await
        }
        None => Vec::new(),
    };
    let (fleet, now) = (slot.fleet().clone(), accounts::now());
    let others = devices.iter().filter(|device| !device.this && device.revoked.is_none());
    let others = others.map(|device| {
        let mut shown = of_device(device, fleet.device(&device.device), now);
        shown.unsent = in_step.contains(&device.device).then_some(0);
        let count = |conflicts: &BTreeMap<DeviceId, u64>| {
            conflicts.get(&device.device).copied().unwrap_or_default()
        };
        shown.conflicts = conflicts.as_ref().map(count);
        shown
    });
    let listed: BTreeSet<&str> = apps.iter().map(|app| app.device.as_str()).collect();
    let active = apps.iter().filter(|app| app.active);
    let of_gateway = active.map(|app| of_app(app, fleet.app(&app.device), now));
    // Some apps name their device and are registered nowhere.
    let unlisted = fleet.apps().filter(|(app, _)| !listed.contains(app));
    let unlisted = unlisted.map(|(app, known)| {
        let mut shown = FleetDevice::new(FleetKind::App, app.to_owned());
        shown.unsent = is_gateway.then_some(0);
        describe(&mut shown, known, now);
        shown
    });
    let mut all: Vec<FleetDevice> = others.chain(of_gateway).chain(unlisted).collect();
    all.sort_by_cached_key(FleetDevice::place);
    Ok(all)
}

/// The same, with the addresses of people who have an account in the place of their ids.
async fn named_by_address(
    mut apps: Vec<AppDevice>,
    accounts: Arc<Accounts>,
    tenant: TenantId,
) -> Vec<AppDevice> {
    let read = move || match accounts.has(tenant) {
        // Who they are is told with the accounts themselves, where these cannot be read.
        true => accounts.of(tenant).map(|book| book.list(accounts::now())).unwrap_or_default(),
        false => Vec::new(),
    };
    let people = tokio::task::spawn_blocking(read).await.unwrap_or_default();
    let emails: BTreeMap<String, String> =
        people.into_iter().map(|person| (person.id.to_string(), person.email)).collect();
    for app in &mut apps {
        if let Some(email) = emails.get(&app.user) {
            app.user.clone_from(email);
        }
    }
    apps
}

/// The page of `devices` that `query` asks for.
pub(super) fn page(devices: Vec<FleetDevice>, query: &FleetQuery, now: Moment) -> FleetPage {
    let most = query.devices_max.unwrap_or(usize::MAX);
    let is_behind =
        |device: &FleetDevice| query.after.as_ref().is_none_or(|after| *after < device.place());
    let meant = devices.into_iter().filter(|device| query.admits(device, now));
    let mut meant = meant.filter(is_behind).peekable();
    let devices: Vec<FleetDevice> = meant.by_ref().take(most).collect();
    let next = meant.peek().and(devices.last()).map(FleetDevice::place);
    FleetPage { devices, next }
}

/// How many open conflicts have a version that was written on a device, by device.
async fn conflicts_by_device(node: &Node) -> Result<BTreeMap<DeviceId, u64>, fieldmesh::Error> {
    let mut counts: BTreeMap<DeviceId, u64> = BTreeMap::new();
    for conflict in node.conflicts(ConflictQuery::default()).await? {
        let devices: BTreeSet<DeviceId> =
            conflict.values.iter().filter_map(|value| value.device).collect();
        for device in devices {
            *counts.entry(device).or_default() += 1;
        }
    }
    Ok(counts)
}

fn of_device(device: &DeviceReport, known: Option<&Known>, now: Moment) -> FleetDevice {
    let mut shown = FleetDevice {
        name: Some(device.name.clone()),
        user: device.email.clone().or_else(|| said(&device.user)),
        role: Some(device.role),
        last_contact: device.last_contact,
        ..FleetDevice::new(FleetKind::Device, device.device.to_string())
    };
    if let Some(known) = known {
        describe(&mut shown, known, now);
    }
    shown
}

fn of_app(app: &AppDevice, known: Option<&Known>, now: Moment) -> FleetDevice {
    let mut shown = FleetDevice {
        name: app.label.clone(),
        user: said(&app.user),
        last_contact: app.synced_at,
        version: app.app_version.clone(),
        platform: app.platform.clone(),
        unsent: Some(app.waiting),
        oldest_unsent: app.oldest,
        conflicts: Some(app.conflicts),
        ..FleetDevice::new(FleetKind::App, app.device.clone())
    };
    if let Some(known) = known {
        describe(&mut shown, known, now);
    }
    shown
}

/// Adds what the book says.
fn describe(shown: &mut FleetDevice, known: &Known, now: Moment) {
    let (recent_attempts, recent_failures) = known.recently(now);
    shown.last_contact = shown.last_contact.max(known.last_contact);
    shown.last_in_step = known.last_in_step;
    shown.protocol = known.protocol;
    shown.clock_ahead_millis = known.clock_ahead;
    shown.attempts = known.succeeded + known.failed;
    shown.failures = known.failed;
    (shown.recent_attempts, shown.recent_failures) = (recent_attempts, recent_failures);
    shown.failing = known.is_failing(FAILING_PERCENT, now);
    (shown.last_failure_at, shown.last_failure) = known.failure.clone().unzip();
    shown.refused = known.refused;
    shown.delay_seconds = known.last_delay_seconds;
    (shown.bytes_in, shown.bytes_out) = known.bytes.unzip();
}

fn said(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(number: usize, unsent: u64) -> FleetDevice {
        let device = FleetDevice::new(FleetKind::App, format!("phone {number}"));
        FleetDevice { unsent: Some(unsent), ..device }
    }

    #[test]
    fn pages_have_every_device_once_and_only_those_that_are_meant() {
        let devices = || (0..10).map(|number| app(number, u64::from(number % 2 == 1))).collect();
        let mut query = FleetQuery { backlog: true, devices_max: Some(2), ..FleetQuery::default() };
        let mut seen = Vec::new();
        loop {
            let page = page(devices(), &query, Moment::ZERO);
            seen.extend(page.devices.into_iter().map(|device| device.device));
            assert!(seen.len() < 10);
            query.after = page.next;
            if query.after.is_none() {
                break;
            }
        }
        assert_eq!(seen, ["phone 1", "phone 3", "phone 5", "phone 7", "phone 9"]);
    }
}
