//! The book on the disk, for the next start of the relay.
//!
//! It lies in the home of its tenant, sealed like accounts, and is written anew as a whole: after a
//! crash there is the last one. It is a convenience: one that cannot be read is an empty one, and
//! what the next conversations tell is all that is missing afterwards.

use std::path::{Path, PathBuf};

use fieldmesh_model::{DeviceId, Moment};
use fieldmesh_store::KeyFile;
use serde::{Deserialize, Serialize};

use super::{Backlog, Days, Delays, Durations, Fleet, Known};
use crate::accounts::{FileError, read_sealed, write_sealed};

/// What the home of a tenant calls it.
const FLEET_FILE: &str = "fleet";

/// One entry of the file. Kinds are numbers for ever; further ones are added at the end.
#[derive(Debug, Serialize, Deserialize)]
enum Row {
    Device([u8; 32], Known),
    App(String, Known),
    Delays([u64; 9], u64),
    Backlog(u64, Option<Moment>),
    Conversations([u64; 2]),
    Traffic(String, Days),
    Durations([u64; 8], u64),
    Settlements([u64; 9], u64),
}

/// Where the book of the tenant of a home lies.
pub(crate) fn path(home: &Path) -> PathBuf {
    home.join(FLEET_FILE)
}

/// The book of the tenant of a home; an empty one where there is none. Blocks.
pub(crate) fn read(home: &Path, key_file: &Path) -> Fleet {
    let path = path(home);
    if !path.exists() {
        return Fleet::default();
    }
    let entries = KeyFile::read(key_file).ok().map(|key| read_sealed(&path, &key));
    match entries {
        Some(Ok(entries)) => restored(&entries),
        None | Some(Err(_)) => {
            let path = path.display();
            tracing::warn!(%path, "what was known of the fleet cannot be read and is begun anew");
            Fleet::default()
        }
    }
}

impl Fleet {
    /// What is to be written, if it differs from what is on the disk.
    pub(crate) fn unsaved(&mut self) -> Option<Vec<Vec<u8>>> {
        std::mem::take(&mut self.is_changed).then(|| self.entries())
    }

    /// Has it written the next time, because it was not this time.
    pub(crate) fn not_saved(&mut self) {
        self.is_changed = true;
    }

    fn entries(&self) -> Vec<Vec<u8>> {
        let devices = self.devices.iter();
        let devices = devices.map(|(device, known)| Row::Device(*device.as_bytes(), known.clone()));
        let apps = self.apps.iter().map(|(app, known)| Row::App(app.clone(), known.clone()));
        let delays = Row::Delays(self.delays.counts, self.delays.seconds);
        let traffic = self.traffic.iter();
        let traffic = traffic.map(|(app, days)| Row::Traffic(app.clone(), days.clone()));
        let durations = Row::Durations(self.durations.counts, self.durations.millis);
        let settled = Row::Settlements(self.settlements.counts, self.settlements.seconds);
        let talks = Row::Conversations(self.conversations);
        let backlog = self.backlog.map(|backlog| Row::Backlog(backlog.operations, backlog.oldest));
        let rows = devices.chain(apps).chain([delays, talks, durations, settled]).chain(backlog);
        let rows = rows.chain(traffic);
        let encode = |row: Row| {
            postcard::to_allocvec(&row).expect("invariant: a row holds nothing unserialisable")
        };
        rows.map(encode).collect()
    }
}

/// Writes what [`Fleet::unsaved`] gave. Blocks.
///
/// # Errors
///
/// The disk or the key fails; what was there before is there still.
pub(crate) fn write(home: &Path, key_file: &Path, entries: &[Vec<u8>]) -> Result<(), FileError> {
    write_sealed(&path(home), key_file, entries)
}

/// What the entries say; those of a later version are passed over.
fn restored(entries: &[Vec<u8>]) -> Fleet {
    let mut fleet = Fleet::default();
    for entry in entries {
        match postcard::from_bytes(entry) {
            Ok(Row::Device(device, known)) => {
                fleet.devices.insert(DeviceId::from_bytes(device), known);
            }
            Ok(Row::App(app, known)) => {
                fleet.apps.insert(app, known);
            }
            Ok(Row::Delays(counts, seconds)) => fleet.delays = Delays { counts, seconds },
            Ok(Row::Backlog(operations, oldest)) => {
                fleet.backlog = Some(Backlog { operations, oldest });
            }
            Ok(Row::Conversations(conversations)) => fleet.conversations = conversations,
            Ok(Row::Traffic(app, days)) => {
                fleet.traffic.insert(app, days);
            }
            Ok(Row::Durations(counts, millis)) => fleet.durations = Durations { counts, millis },
            Ok(Row::Settlements(counts, seconds)) => fleet.settlements = Delays { counts, seconds },
            Err(_) => tracing::debug!("a row of the fleet is of another version"),
        }
    }
    fleet
}

#[cfg(test)]
mod tests {
    use fieldmesh::api::{Dealing, Dealings};
    use fieldmesh_http::Passed;

    use super::super::Served;
    use super::*;

    #[test]
    fn a_book_is_the_same_after_a_restart_and_an_unreadable_one_is_empty() {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("relay.key");
        KeyFile::create(&key).unwrap();
        let mut fleet = Fleet::default();
        assert_eq!(fleet.unsaved(), None);
        let now = Moment::from_millis(5_000_000);
        let mut dealing = Dealing::with(DeviceId::from_bytes([3; 32]));
        dealing.failed = 1;
        dealing.failure = Some((now, "it fell silent".into()));
        let durations = [1, 0, 0, 0, 0, 0, 0, 2];
        let dealings = Dealings { devices: vec![dealing], durations, ..Dealings::default() };
        fleet.add(&dealings, now);
        fleet.serve("phone", &Served { stored: 1, rejected: 0, written: vec![now] }, now);
        let passed = Passed { bytes_in: 7, bytes_out: 9, millis: 3, is_success: true };
        fleet.pass("phone", &passed, now);
        fleet.settle(Moment::ZERO, now);
        fleet.wait(Backlog { operations: 2, oldest: Some(now) });
        write(folder.path(), &key, &fleet.unsaved().unwrap()).unwrap();
        assert_eq!(fleet.unsaved(), None);
        assert_eq!(read(folder.path(), &key), fleet);

        let mut bytes = std::fs::read(path(folder.path())).unwrap();
        assert!(!bytes.windows(5).any(|part| part == b"phone"));
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        std::fs::write(path(folder.path()), bytes).unwrap();
        assert_eq!(read(folder.path(), &key), Fleet::default());
    }
}
