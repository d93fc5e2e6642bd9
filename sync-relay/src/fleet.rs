//! What a relay knows of the devices of a tenant: the book of who talked when, how it went and how
//! late things came.
//!
//! Only what the relay saw or was told is in it; what it cannot know is nothing and not zero. The
//! book is in memory; [`file`] keeps it for the next start, now and then. Nothing here asks anybody.

mod figures;
pub(crate) mod file;
mod known;
mod patterns;
mod traffic;

use std::collections::{BTreeMap, BTreeSet};

use fieldmesh::api::{DELAY_BOUNDS, DURATION_BOUNDS_MILLIS, Dealings};
use fieldmesh_model::{DeviceId, Moment};

pub(crate) use self::figures::{FAILING_PERCENTS, Figures, SILENT_HOURS};
pub(crate) use self::known::Known;
pub(crate) use self::patterns::{Noticed, Patterns};
use self::traffic::Days;
use crate::accounts::DEVICE_LENGTH_MAX;

/// Apps of which something is kept, in a tenant; the one that was not heard of for longest goes.
pub(crate) const APPS_MAX: usize = 4_096;
/// Devices of which something is kept, in a tenant, likewise.
pub(crate) const DEVICES_MAX: usize = 4_096;
/// A day of the book, in UTC.
const DAY_MILLIS: i64 = 86_400_000;

/// The book of one tenant.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Fleet {
    devices: BTreeMap<DeviceId, Known>,
    /// By the names that apps give their devices.
    apps: BTreeMap<String, Known>,
    /// What those of them sent and received that name themselves.
    traffic: BTreeMap<String, Days>,
    /// Conversations that came into step, and those that did not, since the book was begun.
    conversations: [u64; 2],
    delays: Delays,
    durations: Durations,
    /// How long conflicts were open that apps settled here.
    settlements: Delays,
    /// What apps have put into the journal and nobody has processed; nothing where nobody looked.
    backlog: Option<Backlog>,
    /// Whether it differs from what is on disk.
    is_changed: bool,
}

/// How long something took, like what was written to arrive, by [`DELAY_BOUNDS`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Delays {
    /// How many took so long; those of the last took longer than any bound.
    pub(crate) counts: [u64; DELAY_BOUNDS.len() + 1],
    /// All of them together.
    pub(crate) seconds: u64,
}

/// How long conversations took until both held the same, by [`DURATION_BOUNDS_MILLIS`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Durations {
    /// How many took so long; those of the last took longer than any bound.
    pub(crate) counts: [u64; DURATION_BOUNDS_MILLIS.len() + 1],
    /// All of them together.
    pub(crate) millis: u64,
}

/// Operations that wait in the journal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Backlog {
    /// How many.
    pub(crate) operations: u64,
    /// When the oldest was made, by the clock of its device.
    pub(crate) oldest: Option<Moment>,
}

/// How the operations of one request were answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Served {
    /// Those that are stored, in conflict or not.
    pub(crate) stored: u64,
    /// Those that are not, and will not be if they come again as they are.
    pub(crate) rejected: u64,
    /// When those were made that are stored for the first time.
    pub(crate) written: Vec<Moment>,
}

impl Fleet {
    /// Adds what passed between the relay and devices.
    pub(crate) fn add(&mut self, dealings: &Dealings, now: Moment) {
        self.is_changed |= !dealings.devices.is_empty();
        for dealing in &dealings.devices {
            self.devices.entry(dealing.device).or_default().add(dealing, now);
            self.conversations[0] += dealing.agreed;
            self.conversations[1] += dealing.failed;
        }
        for (count, more) in self.delays.counts.iter_mut().zip(dealings.delays) {
            *count += more;
        }
        self.delays.seconds = self.delays.seconds.saturating_add(dealings.delayed_seconds);
        for (count, more) in self.durations.counts.iter_mut().zip(dealings.durations) {
            *count += more;
        }
        self.durations.millis = self.durations.millis.saturating_add(dealings.duration_millis);
        forget(&mut self.devices, DEVICES_MAX);
    }

    /// Adds what became of a request of an app.
    pub(crate) fn serve(&mut self, app: &str, served: &Served, now: Moment) {
        let Some(known) = self.known_app(app) else { return };
        known.serve(served.stored, served.rejected, now);
        for written in &served.written {
            let seconds = self.delays.add(*written, now);
            if let Some(known) = self.apps.get_mut(app) {
                known.last_delay_seconds = Some(seconds);
            }
        }
        self.forget_apps_beyond();
    }

    /// Notes that an app settled a conflict.
    pub(crate) fn settle(&mut self, since: Moment, at: Moment) {
        self.is_changed = true;
        self.settlements.add(since, at);
    }

    /// What is known of an app's device, to be changed; nothing where its name can be none.
    fn known_app(&mut self, app: &str) -> Option<&mut Known> {
        if app.is_empty() || app.len() > DEVICE_LENGTH_MAX {
            return None;
        }
        self.is_changed = true;
        Some(self.apps.entry(app.to_owned()).or_default())
    }

    fn forget_apps_beyond(&mut self) {
        forget(&mut self.apps, APPS_MAX);
        self.traffic.retain(|app, _| self.apps.contains_key(app));
    }

    /// Forgets devices that are no members of the tenant any more.
    pub(crate) fn keep(&mut self, members: &BTreeSet<DeviceId>) {
        let before = self.devices.len();
        self.devices.retain(|device, _| members.contains(device));
        self.is_changed |= self.devices.len() != before;
    }

    /// Forgets devices of apps that were unregistered.
    pub(crate) fn forget_apps(&mut self, unregistered: &BTreeSet<String>) {
        let before = self.apps.len();
        self.apps.retain(|app, _| !unregistered.contains(app));
        self.traffic.retain(|app, _| !unregistered.contains(app));
        self.is_changed |= self.apps.len() != before;
    }

    /// Whether it differs from what is on the disk.
    pub(crate) const fn is_changed(&self) -> bool {
        self.is_changed
    }

    /// Notes what waits in the journal.
    pub(crate) fn wait(&mut self, backlog: Backlog) {
        self.is_changed |= self.backlog != Some(backlog);
        self.backlog = Some(backlog);
    }

    /// What is known of a device.
    pub(crate) fn device(&self, device: &DeviceId) -> Option<&Known> {
        self.devices.get(device)
    }

    /// The devices of apps, by name.
    pub(crate) fn apps(&self) -> impl Iterator<Item = (&str, &Known)> {
        self.apps.iter().map(|(app, known)| (app.as_str(), known))
    }

    /// What is known of an app's device.
    pub(crate) fn app(&self, app: &str) -> Option<&Known> {
        self.apps.get(app)
    }
}

impl Delays {
    /// Counts one; gives how long it was. A clock that is ahead makes it none, not less.
    fn add(&mut self, written: Moment, now: Moment) -> u64 {
        let seconds = u64::try_from(now.millis_since(written) / 1_000).unwrap_or(0);
        let bucket = DELAY_BOUNDS.iter().take_while(|bound| seconds > **bound).count();
        self.counts[bucket] += 1;
        self.seconds = self.seconds.saturating_add(seconds);
        seconds
    }
}

/// The day of a moment, from 1970 on, in UTC.
const fn day_of(moment: Moment) -> i64 {
    moment.as_millis().div_euclid(DAY_MILLIS)
}

/// Forgets whom nobody has heard of for longest, until there are no more than `most`.
fn forget<K: Ord + Clone>(known: &mut BTreeMap<K, Known>, most: usize) {
    while known.len() > most {
        let oldest = known.iter().min_by_key(|(_, known)| known.last_contact);
        let Some(oldest) = oldest.map(|(key, _)| key.clone()) else { return };
        known.remove(&oldest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Moment {
        Moment::from_millis(seconds * 1_000)
    }

    #[test]
    fn an_app_that_invents_names_pushes_out_the_oldest_and_no_device() {
        let mut fleet = Fleet::default();
        let device = DeviceId::from_bytes([1; 32]);
        let dealings = Dealings {
            devices: vec![fieldmesh::api::Dealing::with(device)],
            ..Dealings::default()
        };
        fleet.add(&dealings, at(0));
        for number in 0..=APPS_MAX {
            let now = at(i64::try_from(number).unwrap());
            fleet.serve(&format!("phone {number}"), &Served::default(), now);
        }
        fleet.serve(&"x".repeat(DEVICE_LENGTH_MAX + 1), &Served::default(), at(1));
        assert_eq!(fleet.apps.len(), APPS_MAX);
        assert!(fleet.app("phone 0").is_none() && fleet.app("phone 1").is_some());
        assert!(fleet.device(&device).is_some());
    }

    #[test]
    fn what_an_app_stored_late_counts_as_late() {
        let mut fleet = Fleet::default();
        let served = Served { stored: 2, rejected: 1, written: vec![at(0), at(7_000)] };
        fleet.serve("phone", &served, at(7_200));
        let known = fleet.app("phone").unwrap();
        assert_eq!((known.succeeded, known.failed), (2, 1));
        assert_eq!(known.last_delay_seconds, Some(200));
        assert_eq!(fleet.delays.seconds, 7_400);
        assert_eq!(fleet.delays.counts, [0, 0, 0, 1, 0, 1, 0, 0, 0]);
    }

    #[test]
    fn a_conflict_that_is_settled_counts_by_how_long_it_was_open() {
        let mut fleet = Fleet::default();
        fleet.settle(at(0), at(30));
        fleet.settle(at(0), at(90_000));
        assert!(fleet.is_changed());
        let settlements = fleet.figures(at(90_000)).settlements;
        assert_eq!(settlements.seconds, 90_030);
        assert_eq!(settlements.counts, [0, 0, 1, 0, 0, 0, 0, 1, 0]);
    }

    #[test]
    fn who_is_no_member_any_more_is_forgotten() {
        let mut fleet = Fleet::default();
        fleet.serve("phone", &Served::default(), at(1));
        fleet.serve("tablet", &Served::default(), at(1));
        let devices = [1, 2].map(|byte| DeviceId::from_bytes([byte; 32]));
        let devices_dealt = devices.map(fieldmesh::api::Dealing::with).to_vec();
        fleet.add(&Dealings { devices: devices_dealt, ..Dealings::default() }, at(1));
        fleet.keep(&BTreeSet::from([devices[1]]));
        fleet.forget_apps(&BTreeSet::from(["phone".to_owned()]));
        assert!(fleet.device(&devices[0]).is_none() && fleet.device(&devices[1]).is_some());
        assert!(fleet.app("phone").is_none() && fleet.app("tablet").is_some());
    }
}
