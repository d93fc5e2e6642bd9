//! What a gateway knows of the devices of apps, of everybody in the tenant: for its operator and
//! its managers, who see no records by it.

use std::collections::{BTreeMap, BTreeSet};

use fieldmesh::Error;
use fieldmesh::gateway::Access;
use fieldmesh_model::Moment;

use crate::journal::Counts;
use crate::keys;
use crate::stored::{self, ConflictRow, DeviceRow, EntryRow, Read, StateRow};

/// Notes that are read at a time.
const PAGE: usize = 1_000;
/// Entries of the journal of which is told whose they are; all are counted.
const ENTRIES_MAX: usize = 100_000;
/// Open conflicts that are looked at.
const CONFLICTS_MAX: usize = 100_000;

/// A device of an app.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AppDevice {
    /// The app's id of it; empty for operations that name none.
    pub device: String,
    /// Whose it is, as tokens name him.
    pub user: String,
    /// What people call it.
    pub label: Option<String>,
    /// What it runs on.
    pub platform: Option<String>,
    /// The version of the app.
    pub app_version: Option<String>,
    /// When it wrote or read last.
    pub synced_at: Option<Moment>,
    /// Whether it may sync.
    pub active: bool,
    /// Operations of it that wait in the journal.
    pub waiting: u64,
    /// When the oldest of these was made, by its clock.
    pub oldest: Option<Moment>,
    /// Open conflicts in which one version is its user's, written with this device or another.
    pub conflicts: u64,
}

/// What waits in the journal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Waiting {
    /// How many operations.
    pub operations: u64,
    /// When the oldest was made, by the clock of its device.
    pub oldest: Option<Moment>,
    /// Devices of apps with which nobody may sync any more.
    pub unregistered: BTreeSet<String>,
}

/// The devices of apps, by user and name.
pub(crate) fn list(access: &Access) -> Result<Vec<AppDevice>, Error> {
    let mut devices: BTreeMap<(String, String), AppDevice> = BTreeMap::new();
    each(access, keys::DEVICES, |key, note| {
        let row = DeviceRow::decode(note)?;
        let written = access.note_and_moment(key)?;
        let read = access.note(&keys::read(access, &row.user, &row.device))?;
        let read = read.map(|note| Read::decode(&note)).transpose()?.map(|read| read.at);
        let written = written.and_then(|note| note.at).or(row.synced_at);
        let key = (row.user.clone(), row.device.clone());
        devices.insert(key, AppDevice { synced_at: written.max(read), ..AppDevice::from(row) });
        Ok(())
    })?;
    for user in users(access)? {
        for row in pending(access, &user, ENTRIES_MAX)? {
            let key = (row.user.clone(), row.device.clone());
            let device = devices.entry(key).or_insert_with(|| AppDevice {
                device: row.device.clone(),
                user: row.user.clone(),
                active: true,
                ..AppDevice::default()
            });
            device.waiting += 1;
            let made = row.operation.at;
            device.oldest = Some(device.oldest.map_or(made, |oldest| oldest.min(made)));
        }
    }
    let conflicts = conflicts(access)?;
    for device in devices.values_mut() {
        device.conflicts = conflicts.get(&device.user).copied().unwrap_or(0);
    }
    Ok(devices.into_values().collect())
}

/// What waits in the journal, without a look at each of its entries.
pub(crate) fn waiting(access: &Access) -> Result<Waiting, Error> {
    let counts = access.note(&keys::tally(access, None))?;
    let counts: Counts = counts.map(|note| stored::decode(&note)).transpose()?.unwrap_or_default();
    let mut waiting =
        Waiting { operations: counts[usize::from(StateRow::PENDING)], ..Waiting::default() };
    for user in users(access)? {
        // Of one user they lie in the order in which they came.
        let made = pending(access, &user, 1)?.first().map(|row| row.operation.at);
        waiting.oldest = [waiting.oldest, made].into_iter().flatten().min();
    }
    let (mut used, mut unregistered) = (BTreeSet::new(), BTreeSet::new());
    for row in devices(access)? {
        if row.active { &mut used } else { &mut unregistered }.insert(row.device);
    }
    waiting.unregistered = unregistered.difference(&used).cloned().collect();
    Ok(waiting)
}

/// What is noted of devices, of everybody.
pub(crate) fn devices(access: &Access) -> Result<Vec<DeviceRow>, Error> {
    let mut rows = Vec::new();
    each(access, keys::DEVICES, |_, note| {
        rows.push(DeviceRow::decode(note)?);
        Ok(())
    })?;
    Ok(rows)
}

/// What the keys of each user's entries begin with.
pub(crate) fn users(access: &Access) -> Result<Vec<Vec<u8>>, Error> {
    let mut users: Vec<Vec<u8>> = Vec::new();
    let mut after: Option<Vec<u8>> = None;
    while let Some((key, _)) = access.notes(keys::ENTRIES, after.as_deref(), 1)?.into_iter().next()
    {
        let Some(user) = key.get(..keys::ENTRIES_OF_USER_LENGTH) else { break };
        // Nothing of a user lies behind this.
        after = Some([user, &[u8::MAX; 10]].concat());
        users.push(user.to_vec());
    }
    Ok(users)
}

/// Entries of a user that nobody has processed, oldest first; at most `count`.
fn pending(access: &Access, user: &[u8], count: usize) -> Result<Vec<EntryRow>, Error> {
    let prefix = keys::of_state(user, StateRow::PENDING);
    let mut rows = Vec::new();
    for (_, note) in access.notes(&prefix, None, count)? {
        let id: String = stored::decode(&note)?;
        let note = access.note(&keys::entry(access, &id))?;
        rows.extend(note.map(|note| EntryRow::decode(&note)).transpose()?);
    }
    Ok(rows)
}

/// How many open conflicts there are in which a version is a user's, by user.
fn conflicts(access: &Access) -> Result<BTreeMap<String, u64>, Error> {
    let mut users: BTreeMap<String, u64> = BTreeMap::new();
    let mut looked_at = 0;
    each(access, keys::OPEN, |_, note| {
        looked_at += 1;
        if looked_at > CONFLICTS_MAX {
            return Ok(());
        }
        let id: String = stored::decode(note)?;
        let Some(note) = access.note(&keys::conflict(access, &id))? else { return Ok(()) };
        let row = ConflictRow::decode(&note)?;
        let of = BTreeSet::from([row.client.user, row.server.user]);
        for user in of.into_iter().flatten() {
            *users.entry(user).or_default() += 1;
        }
        Ok(())
    })?;
    Ok(users)
}

/// Calls `look` with each note whose key begins with `prefix`, and that key.
fn each(
    access: &Access,
    prefix: &[u8],
    mut look: impl FnMut(&[u8], &[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = access.notes(prefix, after.as_deref(), PAGE)?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        after = Some(last.clone());
        page.iter().try_for_each(|(key, note)| look(key, note))?;
    }
}

impl From<DeviceRow> for AppDevice {
    fn from(row: DeviceRow) -> Self {
        let DeviceRow { device, user, label, platform, app_version, active, .. } = row;
        Self { device, user, label, platform, app_version, active, ..Self::default() }
    }
}
