//! Devices as the gateway knows them: whose, how far they have read, and whether they may sync.
//!
//! A device is what one person calls so: several use a tablet under one name, and each of them says
//! for himself that he uses it no more.

use fieldmesh::gateway::{NoteAt, Write};
use fieldmesh_dialect::Outcome;
use fieldmesh_dialect::command::Device;
use fieldmesh_dialect::outcome::{DeviceState, Overview, Reading, Unread};
use fieldmesh_model::Moment;
use fieldmesh_model::catalogue::wells;

use crate::push::Writing;
use crate::stored::{self, DeviceRow, Read};
use crate::{Failure, Task, fleet, keys};

/// Devices of one user that are listed.
const DEVICES_MAX: usize = 1_000;
/// How old the note of a device's last contact may be while nothing else is noted.
const CONTACT_AGE_MAX: i64 = 60_000;

impl Task<'_> {
    /// A device of the caller.
    fn device_row(&self, device: &str) -> Result<Option<DeviceRow>, Failure> {
        self.device_of(&self.caller.user, device)
    }

    fn device_of(&self, user: &str, device: &str) -> Result<Option<DeviceRow>, Failure> {
        let note = match self.access.note_and_moment(&keys::device(self.access, user, device))? {
            Some(note) => note,
            None => match self.first_of(user, device)? {
                Some(note) => note,
                None => return Ok(None),
            },
        };
        let row = DeviceRow::decode(&note.value)?;
        let read = self.read_row(user, device)?.map(|read| read.at);
        // What was noted with a push arrived with it.
        Ok(Some(DeviceRow { synced_at: note.at.or(row.synced_at).max(read), ..row }))
    }

    /// The note of a device from when the first who used it was the only one, if that is `user`.
    fn first_of(&self, user: &str, device: &str) -> Result<Option<NoteAt>, Failure> {
        let note = self.access.note_and_moment(&keys::first_device(self.access, device))?;
        let Some(note) = note else { return Ok(None) };
        Ok((DeviceRow::decode(&note.value)?.user == user).then_some(note))
    }

    fn read_row(&self, user: &str, device: &str) -> Result<Option<Read>, Failure> {
        let note = self.access.note(&keys::read(self.access, user, device))?;
        Ok(note.map(|note| Read::decode(&note)).transpose()?)
    }

    /// Fails if the device that a request names, or that of its token, may not sync any more.
    pub(crate) fn check_device(&self, device: Option<&str>) -> Result<(), Failure> {
        let mut devices = device.into_iter().chain(self.caller.device.as_deref());
        devices.try_for_each(|device| self.check_device_of(&self.caller.user, device))
    }

    /// Fails if `user` may not sync with `device` any more.
    pub(crate) fn check_device_of(&self, user: &str, device: &str) -> Result<(), Failure> {
        match self.device_of(self.as_caller(user), device)? {
            Some(row) if !row.active => Err(Failure::forbidden("This device was unregistered")),
            _ => Ok(()),
        }
    }

    /// The user, by the name under which the caller is known if it is he.
    fn as_caller<'b>(&'b self, user: &'b str) -> &'b str {
        if self.caller.is(user) { &self.caller.user } else { user }
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

    /// Keeps what was read since `write` began: whoever else writes of the device waits for it.
    fn keep_device(&self, mut write: Write<'_>, row: &DeviceRow) -> Result<(), Failure> {
        self.note_row(&mut write, row)?;
        write.finish()?;
        Ok(())
    }

    fn note_row(&self, write: &mut Write<'_>, row: &DeviceRow) -> Result<(), Failure> {
        let key = keys::device(self.access, &row.user, &row.device);
        if write.noted(self.access, &key)?.is_none() {
            if self.first_of(&row.user, &row.device)?.is_some() {
                write.note(keys::first_device(self.access, &row.device), None);
            }
            let key = keys::device_of(self.access, &row.user, &row.device);
            write.note_standing(key, stored::encode(&row.device));
        }
        write.note_standing(key, stored::encode(row));
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
        let before = self.read(device)?;
        // Who reads from the start says nothing of what he has: only the last page is in doubt, and
        // of the first one whatever he names of it shows that he got it.
        let sure = since.or(before.map(|read| read.place)).unwrap_or(place);
        let feed = self.access.feed_id()?;
        self.keep_read(device, before, Read { feed, place, at, sure })
    }

    /// Notes that a stream sent everything up to `place` to a device. What it surely has stays what
    /// it said last: a phone without signal takes none of what still fits its socket.
    pub(crate) fn note_sent(&self, device: &str, place: u64, at: Moment) -> Result<(), Failure> {
        match self.read(device)? {
            Some(before) => self.keep_read(device, Some(before), Read { place, at, ..before }),
            // Who never said what he has counts by the time of what he writes.
            None => Ok(()),
        }
    }

    /// Notes that a device was there and has read nothing that moves its place; where `is_new` may
    /// be, also of one that was never there.
    pub(crate) fn note_contact(
        &self,
        device: &str,
        is_new: bool,
        at: Moment,
    ) -> Result<(), Failure> {
        match self.read(device)? {
            Some(before) => self.keep_read(device, Some(before), Read { at, ..before }),
            None if is_new && self.device_row(device)?.is_none() => {
                let write = self.access.write()?;
                // Somebody may have registered it meanwhile, or shut it out.
                match self.device_row(device)? {
                    Some(_) => Ok(()),
                    None => self.keep_device(write, &DeviceRow::new(&self.caller.user, device)),
                }
            }
            None => Ok(()),
        }
    }

    fn keep_read(&self, device: &str, before: Option<Read>, now: Read) -> Result<(), Failure> {
        let is_known = |read: Read| {
            let is_recent = now.at.millis_since(read.at) < CONTACT_AGE_MAX;
            (read.place, read.sure) == (now.place, now.sure) && is_recent
        };
        if before.is_some_and(is_known) {
            return Ok(());
        }
        let mut write = self.access.write()?;
        let key = keys::read(self.access, &self.caller.user, device);
        write.note_standing(key, stored::encode(&now));
        match self.device_row(device)? {
            Some(_) => write.finish().map(|_| ()).map_err(Failure::from),
            None => self.keep_device(write, &DeviceRow::new(&self.caller.user, device)),
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
        self.devices_of(&self.caller.user)
    }

    fn devices_of(&self, user: &str) -> Result<Vec<DeviceRow>, Failure> {
        let mut rows = Vec::new();
        let prefix = keys::devices(self.access, user);
        for (_, note) in self.access.notes(&prefix, None, DEVICES_MAX)? {
            let device: String = stored::decode(&note)?;
            rows.extend(self.device_of(user, &device)?);
        }
        Ok(rows)
    }

    pub(crate) fn devices(&self) -> Result<Vec<DeviceState>, Failure> {
        Ok(self.own_devices()?.iter().map(|row| self.show_device(row)).collect())
    }

    /// Lets the caller, or `user`, sync with a device, also again.
    pub(crate) fn register(
        &self,
        device: &Device,
        public_key: Option<String>,
        user: Option<&str>,
    ) -> Result<Outcome, Failure> {
        let write = self.access.write()?;
        // Who holds a device that was taken off does not put it back with it.
        self.check_device(None)?;
        let user = self.whose(user)?.unwrap_or(&self.caller.user);
        let row = self.device_of(user, &device.id)?;
        let mut row = row.unwrap_or_else(|| DeviceRow::new(user, &device.id));
        let was_own = row.shut_by.as_ref() == Some(&self.caller.user);
        if !row.active && !was_own && !self.caller.is_admin() {
            let why = "An admin has unregistered this device, and an admin may register it again";
            return Err(Failure::forbidden(why));
        }
        describe(&mut row, device);
        row.public_key = public_key.or(row.public_key);
        let row = DeviceRow { active: true, shut_by: None, ..row };
        self.keep_device(write, &row)?;
        Ok(Outcome::Devices(vec![self.show_device(&row)]))
    }

    /// Lets the caller, or `user`, sync with a device no more; where an admin names no one and has
    /// none of this name himself, everybody who uses it.
    pub(crate) fn unregister(&self, device: &str, user: Option<&str>) -> Result<Outcome, Failure> {
        let mut write = self.access.write()?;
        let is_it = |row: &DeviceRow| row.device == device || self.show_device(row).id == device;
        let whose = self.whose(user)?;
        let rows = match self.devices_of(whose.unwrap_or(&self.caller.user))? {
            own if whose.is_some() || own.iter().any(is_it) => own,
            _ => fleet::devices(self.access)?,
        };
        let rows: Vec<DeviceRow> = rows.into_iter().filter(is_it).collect();
        if rows.is_empty() {
            return Err(Failure::missing("Device"));
        }
        let is_own = |row: &DeviceRow| self.caller.is(&row.user) || self.caller.is_admin();
        if !rows.iter().all(is_own) {
            return Err(Failure::forbidden("This device belongs to another user"));
        }
        // What an admin takes off somebody else stays off, also where that one did so before.
        let is_meant = |row: &DeviceRow| row.active || !self.caller.is(&row.user);
        for row in rows.into_iter().filter(is_meant) {
            let shut_by = Some(self.caller.user.clone());
            self.note_row(&mut write, &DeviceRow { active: false, shut_by, ..row })?;
        }
        write.finish()?;
        Ok(Outcome::Done)
    }

    /// Whose device a request is about, where it says so; only an admin may name others.
    fn whose<'b>(&'b self, user: Option<&'b str>) -> Result<Option<&'b str>, Failure> {
        match user {
            Some(user) if !self.caller.is(user) && !self.caller.is_admin() => {
                Err(Failure::forbidden("userId does not match the token"))
            }
            user => Ok(user.map(|user| self.as_caller(user))),
        }
    }

    pub(crate) fn overview(&self) -> Result<Outcome, Failure> {
        let rows = self.own_devices()?;
        let mut backlog = 0;
        for row in &rows {
            let Some(place) = self.read_place(&row.device)? else { continue };
            backlog += self.behind(place)?;
        }
        let tally =
            self.tally(&fieldmesh_dialect::command::Whose::User(self.caller.user.clone()))?;
        Ok(Outcome::Overview(Overview {
            devices: rows.iter().map(|row| self.show_device(row)).collect(),
            conflicts: tally.conflicts,
            tally,
            backlog,
            at: self.at,
        }))
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
        let mut row = row.unwrap_or_else(|| DeviceRow::new(&task.caller.user, &device.id));
        describe(&mut row, device);
        task.note_row(&mut self.write, &row)?;
        self.write.mark();
        Ok(())
    }
}

fn describe(row: &mut DeviceRow, device: &Device) {
    row.label = device.label.clone().or(row.label.take());
    row.platform = device.platform.clone().or(row.platform.take());
    row.app_version = device.app_version.clone().or(row.app_version.take());
}
