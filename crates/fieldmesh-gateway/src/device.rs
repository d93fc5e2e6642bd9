//! Devices as the gateway knows them: whose, how far they have read, and whether they may sync.

use fieldmesh::gateway::NoteAt;
use fieldmesh_dialect::Outcome;
use fieldmesh_dialect::command::Device;
use fieldmesh_dialect::outcome::{DeviceState, Overview, Reading, Unread};
use fieldmesh_model::Moment;
use fieldmesh_model::catalogue::wells;

use crate::push::Writing;
use crate::stored::{self, DeviceRow, Read};
use crate::{Failure, Task, keys};

/// Devices of one user that are listed.
const DEVICES_MAX: usize = 1_000;
/// How old the note of a device's last contact may be while nothing else is noted.
const CONTACT_AGE_MAX: i64 = 60_000;

impl Task<'_> {
    fn device_row(&self, device: &str) -> Result<Option<DeviceRow>, Failure> {
        let note = self.access.note_and_moment(&keys::device(self.access, device))?;
        let Some(NoteAt { value, at }) = note else { return Ok(None) };
        let row: DeviceRow = stored::decode(&value)?;
        // What was noted with a push arrived with it.
        Ok(Some(DeviceRow { synced_at: at.or(row.synced_at), ..row }))
    }

    /// Fails if the device may not sync any more.
    pub(crate) fn check_device(&self, device: &str) -> Result<(), Failure> {
        match self.device_row(device)? {
            Some(row) if !row.active => Err(Failure::forbidden("This device was unregistered")),
            Some(_) | None => Ok(()),
        }
    }

    /// Up to where the device has read, if it did.
    pub(crate) fn read_place(&self, device: &str) -> Result<Option<u64>, Failure> {
        let feed = self.access.feed_id()?;
        let row = self.device_row(device)?;
        Ok(row.and_then(|row| row.read).filter(|read| read.feed == feed).map(|read| read.place))
    }

    fn new_device(&self, device: &str) -> DeviceRow {
        DeviceRow {
            device: device.to_owned(),
            user: self.caller.user.clone(),
            label: None,
            platform: None,
            app_version: None,
            public_key: None,
            synced_at: None,
            active: true,
            read: None,
        }
    }

    fn keep_device(&self, row: &DeviceRow) -> Result<(), Failure> {
        let mut write = self.access.write()?;
        let key = keys::device(self.access, &row.device);
        write.note(key, Some(stored::encode(row)));
        let key = keys::device_of(self.access, &row.user, &row.device);
        write.note(key, Some(stored::encode(&row.device)));
        write.finish()?;
        Ok(())
    }

    /// Notes how far a device has read.
    pub(crate) fn note_read(&self, device: &str, place: u64, at: Moment) -> Result<(), Failure> {
        let before = self.device_row(device)?;
        let feed = self.access.feed_id()?;
        let read = Some(Read { feed, place });
        let is_recent = |then: Moment| at.millis_since(then) < CONTACT_AGE_MAX;
        if let Some(row) = &before
            && row.read == read
            && row.synced_at.is_some_and(is_recent)
        {
            return Ok(());
        }
        let mut row = before.unwrap_or_else(|| self.new_device(device));
        row.read = read;
        row.synced_at = Some(at);
        self.keep_device(&row)
    }

    pub(crate) fn reading(&self, device: &str) -> Result<Reading, Failure> {
        let row = self.device_row(device)?;
        let read = self.read_place(device)?;
        let unread = match (&row, read) {
            (None, _) => Unread::Entries(self.access.behind(wells::FIELD_ENTRY, 0)?),
            (Some(_), None) => Unread::NeverReads,
            (Some(_), Some(place)) => {
                Unread::Entries(self.access.behind(wells::FIELD_ENTRY, place)?)
            }
        };
        Ok(Reading { synced_at: row.and_then(|row| row.synced_at), unread })
    }

    fn own_devices(&self) -> Result<Vec<DeviceRow>, Failure> {
        let mut rows = Vec::new();
        let prefix = keys::devices(self.access, &self.caller.user);
        for (_, note) in self.access.notes(&prefix, None, DEVICES_MAX)? {
            let device: String = stored::decode(&note)?;
            rows.extend(self.device_row(&device)?);
        }
        Ok(rows)
    }

    pub(crate) fn devices(&self) -> Result<Vec<DeviceState>, Failure> {
        Ok(self.own_devices()?.iter().map(|row| self.show_device(row)).collect())
    }

    pub(crate) fn register(
        &self,
        device: &Device,
        public_key: Option<String>,
    ) -> Result<Outcome, Failure> {
        self.check_device(&device.id)?;
        let mut row = self.device_row(&device.id)?.unwrap_or_else(|| self.new_device(&device.id));
        describe(&mut row, device);
        row.public_key = public_key.or(row.public_key);
        self.keep_device(&row)?;
        Ok(Outcome::Devices(vec![self.show_device(&row)]))
    }

    pub(crate) fn unregister(&self, device: &str) -> Result<Outcome, Failure> {
        let by_id = |row: &DeviceRow| self.show_device(row).id == device;
        let row = match self.device_row(device)? {
            Some(row) => Some(row),
            None => self.own_devices()?.into_iter().find(by_id),
        };
        let own = |row: &DeviceRow| self.caller.is(&row.user) || self.caller.is_admin();
        let row = row.filter(own).ok_or_else(|| Failure::missing("Device"))?;
        self.keep_device(&DeviceRow { active: false, ..row })?;
        Ok(Outcome::Done)
    }

    pub(crate) fn overview(&self) -> Result<Outcome, Failure> {
        let rows = self.own_devices()?;
        let feed = self.access.feed_id()?;
        let mut backlog = 0;
        for read in rows.iter().filter_map(|row| row.read).filter(|read| read.feed == feed) {
            for collection in self.readable() {
                backlog += self.access.behind(collection, read.place)?;
            }
        }
        let tally =
            self.tally(&fieldmesh_dialect::command::Whose::User(self.caller.user.clone()))?;
        let conflicts = self.own_conflicts()?;
        Ok(Outcome::Overview(Overview {
            devices: rows.iter().map(|row| self.show_device(row)).collect(),
            tally,
            conflicts,
            backlog,
            at: self.at,
        }))
    }

    /// How many conflicts of the caller are open.
    fn own_conflicts(&self) -> Result<u64, Failure> {
        let query = fieldmesh_dialect::command::ConflictQuery {
            collection: None,
            after: None,
            conflicts_max: usize::MAX,
        };
        let Outcome::Conflicts(page) = self.conflicts(&query)? else { return Ok(0) };
        let user = Some(&self.caller.user);
        let own = page.conflicts.iter().filter(|conflict| conflict.client.user.as_ref() == user);
        Ok(own.count() as u64)
    }

    fn show_device(&self, row: &DeviceRow) -> DeviceState {
        let hash = self.access.hidden(&[b"device-id", row.device.as_bytes()]);
        DeviceState {
            id: data_encoding::HEXLOWER.encode(&hash),
            user: row.user.clone(),
            device: row.device.clone(),
            label: row.label.clone(),
            synced_at: row.synced_at,
            active: row.active,
        }
    }
}

impl Writing<'_> {
    /// Notes that a device has written, as it describes itself.
    pub(crate) fn note_device(&mut self, device: &Device) -> Result<(), Failure> {
        let task = self.task;
        let row = task.device_row(&device.id)?;
        let mut row = row.unwrap_or_else(|| task.new_device(&device.id));
        describe(&mut row, device);
        self.write.note(keys::device(task.access, &row.device), Some(stored::encode(&row)));
        let key = keys::device_of(task.access, &row.user, &row.device);
        if self.write.noted(task.access, &key)?.is_none() {
            self.write.note(key, Some(stored::encode(&row.device)));
        }
        self.write.mark();
        Ok(())
    }
}

fn describe(row: &mut DeviceRow, device: &Device) {
    row.label = device.label.clone().or(row.label.take());
    row.platform = device.platform.clone().or(row.platform.take());
    row.app_version = device.app_version.clone().or(row.app_version.take());
}
