//! Makes a home of a backup, or of a chain of them.

use std::path::{Path, PathBuf};

use fieldmesh_identity::InvitationBook;
use fieldmesh_store::{DataKey, Entry as LogEntry, Options, Store};

use crate::api::{Progress, RestoreReport};
use crate::clock;
use crate::entry::{Entry, Fact};
use crate::error::Error;
use crate::home::{Home, Unlock};

use super::{Base, Opened, PROGRESS_EVERY, Words, unreadable};

/// Bytes that are appended at a time.
const GROUP_BYTES_MAX: usize = 1024 * 1024;
/// Bits of chance at the end of how often a store was put back.
const CHANCE_BITS: u32 = 20;
/// The least count of a store that was made of a backup: losses alone never come to so many.
pub(crate) const RESTORED_MIN: u64 = 1 << CHANCE_BITS;
const LOST_BEFORE: &str = "the device that was backed up had found damage in its log; what it lost \
                           then is not in this home either";

/// Makes a home in `folder` of `files`: one whole backup, then those that go on from it, in order.
///
/// All of them are read to the end before anything is made. The home goes on under a new epoch and
/// its store says that it was put back, so that it and a device that still runs what it was copied
/// from never use a number twice, and nobody relies on receipts of before.
pub(crate) fn restore(
    folder: &Path,
    unlock: &Unlock,
    files: &[PathBuf],
    told: &mut dyn FnMut(Progress),
) -> Result<RestoreReport, Error> {
    if crate::home::exists(folder) {
        return Err(Error::HomeExists { folder: folder.into() });
    }
    crate::home::check_free(folder)?;
    let keys = keys(files, unlock)?;
    let (last, unreadable) = check(files, &keys, told)?;
    let home = Home::create(folder, unlock)?;
    let options = Options { reserve_bytes: 0, ..Options::default() };
    let id = Opened::with_key(&files[0], &keys[0])?.reader.store();
    let store = Store::create_as(home.store_folder(), home.keys().current(), &options, id)
        .map_err(|error| Error::store(&error))?;
    let (mut entries, mut damaged) = (0, 0);
    for (path, key) in files.iter().zip(&keys) {
        let opened = Opened::with_key(path, key)?;
        damaged += append(&store, path, opened, |count| {
            entries += count;
            told(Progress::Backup { entries });
        })?;
    }
    let epoch = Fact::Epoch(u64::from_be_bytes(clock::random()));
    let mut facts = vec![epoch, Fact::Restores(after(last.restores))];
    if last.identity.authority().is_some() {
        // One that was used after the backup would let somebody in once more.
        let none = postcard::to_allocvec(&InvitationBook::default());
        facts.push(Fact::Invitations(none.expect("an empty book always encodes")));
    }
    let mut found: Vec<String> = (damaged > 0).then(|| LOST_BEFORE.into()).into_iter().collect();
    if unreadable > 0 {
        found.push(lacking(unreadable));
    }
    if !found.is_empty() {
        facts.push(Fact::Found(found));
    }
    let facts = facts.into_iter().map(|fact| Entry::Fact(fact).encode()).collect();
    store.append(facts).map_err(|error| Error::store(&error))?;
    store.close().map_err(|error| Error::store(&error))?;
    let Words { identity, at, .. } = last;
    home.write_identity(&identity)?;
    Ok(RestoreReport {
        tenant: identity.tenant_name.clone(),
        device: identity.device_name.clone(),
        at,
        entries,
        unreadable,
    })
}

/// What is kept in mind of a home that is made of backups which lack something.
fn lacking(unreadable: u64) -> String {
    let entries = if unreadable == 1 { "entry" } else { "entries" };
    format!(
        "{unreadable} {entries} of the log could not be read when this home was backed up; what \
         only that device had of it is not in this home"
    )
}

/// How often the store was put back, as others compare it: more than before, later homes more than
/// earlier ones as far as the clock goes, and two the same by one chance in a million at the most.
pub(crate) fn after(restores: u64) -> u64 {
    let seconds = u64::try_from(clock::now().as_millis() / 1_000).unwrap_or(0);
    let times = (restores >> CHANCE_BITS).saturating_add(1).max(seconds);
    let chance = u64::from_be_bytes(clock::random()) >> (64 - CHANCE_BITS);
    times.saturating_mul(RESTORED_MIN) | chance
}

/// The key of every file, in order. A change of passphrase between two of them leaves the key as it
/// is, so that what opens one of them opens the others.
fn keys(files: &[PathBuf], unlock: &Unlock) -> Result<Vec<DataKey>, Error> {
    let opened: Vec<Result<DataKey, Error>> =
        files.iter().map(|path| Opened::key(path, unlock)).collect();
    let known: Vec<DataKey> = opened.iter().flatten().cloned().collect();
    let of = |(path, key): (&PathBuf, Result<DataKey, Error>)| {
        key.or_else(|error| {
            let mut fitting = known.iter().filter(|key| Opened::with_key(path, key).is_ok());
            fitting.next().cloned().ok_or(error)
        })
    };
    files.iter().zip(opened).map(of).collect()
}

/// Reads every file to the end; gives what the last one says and how many entries all of them lack.
fn check(
    files: &[PathBuf],
    keys: &[DataKey],
    told: &mut dyn FnMut(Progress),
) -> Result<(Words, u64), Error> {
    let mut before: Option<(PathBuf, Base, Words)> = None;
    let mut unreadable = 0;
    for (path, key) in files.iter().zip(keys) {
        told(Progress::Note { text: format!("checking {}", path.display()) });
        let mut opened = Opened::with_key(path, key)?;
        follows(path, &opened.words, before.as_ref())?;
        let summary = opened.check(path, |_| {})?;
        unreadable += summary.unreadable;
        let base = Base { id: opened.reader.id(), end: summary.end };
        before = Some((path.clone(), base, opened.words));
    }
    before
        .map(|(_, _, words)| (words, unreadable))
        .ok_or_else(|| Error::Usage { reason: "name at least one backup to restore".into() })
}

/// Fails where a backup does not go on from the one before it.
fn follows(
    path: &Path,
    words: &Words,
    before: Option<&(PathBuf, Base, Words)>,
) -> Result<(), Error> {
    let reason = match (words.base, before) {
        (None, None) => return Ok(()),
        (Some(base), Some((_, before, _))) if base == *before => return Ok(()),
        (Some(_), None) => {
            "goes on from another backup; name that one before it, and first a whole one".into()
        }
        (Some(_), Some((before, ..))) => {
            format!(
                "does not go on from {}; name them in the order they were made",
                before.display()
            )
        }
        (None, Some(_)) => "is whole by itself; name it alone or first".into(),
    };
    Err(Error::Usage { reason: format!("{} {reason}", path.display()) })
}

/// Appends the entries of one backup but for those that name places, as everything lies elsewhere
/// now and what was erased since may be back; `told` hears how many more. Gives how many told of
/// damage.
fn append(
    store: &Store,
    path: &Path,
    mut opened: Opened,
    mut told: impl FnMut(u64),
) -> Result<u64, Error> {
    let mut group: Vec<LogEntry> = Vec::new();
    let (mut bytes, mut untold, mut damaged) = (0, 0, 0);
    loop {
        let entry = opened.reader.next_entry().map_err(|error| unreadable(path, &error))?;
        let is_end = entry.is_none();
        if let Some((_, entry)) = entry {
            untold += 1;
            match fact(&entry) {
                Some(Fact::Harmed(_)) => damaged += 1,
                Some(
                    Fact::Healed { .. } | Fact::Settled { .. } | Fact::Scrubbed(_) | Fact::Swept(_),
                ) => {}
                _ => {
                    bytes += entry.bytes.len();
                    group.push(entry);
                }
            }
        }
        if bytes >= GROUP_BYTES_MAX || is_end {
            store.append(std::mem::take(&mut group)).map_err(|error| Error::store(&error))?;
            bytes = 0;
        }
        if untold >= PROGRESS_EVERY || is_end {
            told(std::mem::take(&mut untold));
        }
        if is_end {
            return Ok(damaged);
        }
    }
}

fn fact(entry: &LogEntry) -> Option<Fact> {
    match Entry::decode(entry) {
        Ok(Entry::Fact(fact)) => Some(fact),
        Ok(_) | Err(_) => None,
    }
}
