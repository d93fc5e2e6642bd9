//! Devices as the gateway knows them: whose, how far they have read, and whether they may sync.

use fieldmesh::gateway::{NoteAt, Write};
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
        let read = self.read_row(&row.user, device)?.map(|read| read.at);
        // What was noted with a push arrived with it.
        Ok(Some(DeviceRow { synced_at: at.or(row.synced_at).max(read), ..row }))
    }

    fn read_row(&self, user: &str, device: &str) -> Result<Option<Read>, Failure> {
        let note = self.access.note(&keys::read(self.access, user, device))?;
        Ok(note.map(|note| Read::decode(&note)).transpose()?)
    }

    /// Fails if the device that a request names, or that of its token, may not sync any more.
    pub(crate) fn check_device(&self, device: Option<&str>) -> Result<(), Failure> {
        for device in device.into_iter().chain(self.caller.device.as_deref()) {
            if self.device_row(device)?.is_some_and(|row| !row.active) {
                return Err(Failure::forbidden("This device was unregistered"));
            }
        }
        Ok(())
    }

    /// How far the caller has read with the device, if he did.
    pub(crate) fn read(&self, device: &str) -> Result<Option<Read>, Failure> {
        let feed = self.access.feed_id()?;
        let read = self.read_row(&self.caller.user, device)?;
        Ok(read.filter(|read| read.feed == feed))
    }

    fn read_place(&self, device: &str) -> Result<Option<u64>, Failure> {
        Ok(self.read(device)?.map(|read| read.place))
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
        }
    }

    /// Keeps what was read since `write` began: whoever else writes of the device waits for it.
    fn keep_device(&self, mut write: Write<'_>, row: &DeviceRow) -> Result<(), Failure> {
        let key = keys::device(self.access, &row.device);
        write.note(key, Some(stored::encode(row)));
        let key = keys::device_of(self.access, &row.user, &row.device);
        write.note(key, Some(stored::encode(&row.device)));
        write.finish()?;
        Ok(())
    }

    /// Notes how far a device has read: up to `place`, having told that it has everything up to
    /// `since`.
    pub(crate) fn note_read(
        &self,
        device: &str,
        since: Option<u64>,
        place: u64,
        at: Moment,
    ) -> Result<(), Failure> {
        let feed = self.access.feed_id()?;
        let before = self.read(device)?;
        // Who reads from the start says nothing of what he has: only the last page is in doubt, and
        // of the first one whatever he names of it shows that he got it.
        let sure = since.or(before.map(|read| read.place)).unwrap_or(place);
        let is_known = |read: Read| {
            let is_recent = at.millis_since(read.at) < CONTACT_AGE_MAX;
            (read.place, read.sure) == (place, sure) && is_recent
        };
        if before.is_some_and(is_known) {
            return Ok(());
        }
        let mut write = self.access.write()?;
        let key = keys::read(self.access, &self.caller.user, device);
        write.note(key, Some(stored::encode(&Read { feed, place, at, sure })));
        match self.device_row(device)? {
            Some(_) => write.finish().map(|_| ()).map_err(Failure::from),
            None => self.keep_device(write, &self.new_device(device)),
        }
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
        let write = self.access.write()?;
        self.check_device(Some(&device.id))?;
        let mut row = self.device_row(&device.id)?.unwrap_or_else(|| self.new_device(&device.id));
        if !self.caller.is(&row.user) {
            return Err(Failure::forbidden("This device belongs to another user"));
        }
        describe(&mut row, device);
        row.public_key = public_key.or(row.public_key);
        self.keep_device(write, &row)?;
        Ok(Outcome::Devices(vec![self.show_device(&row)]))
    }

    pub(crate) fn unregister(&self, device: &str) -> Result<Outcome, Failure> {
        let write = self.access.write()?;
        let by_id = |row: &DeviceRow| self.show_device(row).id == device;
        let row = match self.device_row(device)? {
            Some(row) => Some(row),
            None => self.own_devices()?.into_iter().find(by_id),
        };
        let own = |row: &DeviceRow| self.caller.is(&row.user) || self.caller.is_admin();
        let row = row.filter(own).ok_or_else(|| Failure::missing("Device"))?;
        self.keep_device(write, &DeviceRow { active: false, ..row })?;
        Ok(Outcome::Done)
    }

    pub(crate) fn overview(&self) -> Result<Outcome, Failure> {
        let rows = self.own_devices()?;
        let mut backlog = 0;
        for row in &rows {
            let Some(place) = self.read_place(&row.device)? else { continue };
            for collection in self.readable() {
                backlog += self.access.behind(collection, place)?;
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
