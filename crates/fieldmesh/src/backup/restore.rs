//! Makes a home of a backup, or of a chain of them.

use std::path::{Path, PathBuf};

use fieldmesh_store::{Entry as LogEntry, Options, Store};

use crate::api::{Progress, RestoreReport};
use crate::clock;
use crate::entry::{Entry, Fact};
use crate::error::Error;
use crate::home::{Home, Unlock};

use super::{Base, Opened, PROGRESS_EVERY, Words, unreadable};

/// Bytes that are appended at a time.
const GROUP_BYTES_MAX: usize = 1024 * 1024;

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
    let last = check(files, unlock, told)?;
    let home = Home::create(folder, unlock)?;
    let options = Options { reserve_bytes: 0, ..Options::default() };
    let (opened, _) = Opened::with_secret(&files[0], unlock)?;
    let id = opened.reader.store();
    let store = Store::create_as(home.store_folder(), home.keys().current(), &options, id)
        .map_err(|error| Error::store(&error))?;
    let mut entries = 0;
    for path in files {
        let (opened, _) = Opened::with_secret(path, unlock)?;
        append(&store, path, opened, |count| {
            entries += count;
            told(Progress::Backup { entries });
        })?;
    }
    let facts = [Fact::Epoch(u64::from_be_bytes(clock::random())), Fact::Restores(after(&last))];
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
    })
}

/// How often the store was put back, as others compare it: more than before, and more than any
/// other home that was made of the same backup before this one.
fn after(words: &Words) -> u64 {
    let seconds = u64::try_from(clock::now().as_millis() / 1_000).unwrap_or(0);
    words.restores.saturating_add(1).max(seconds)
}

/// Reads every file to the end; gives what the last one says.
fn check(
    files: &[PathBuf],
    unlock: &Unlock,
    told: &mut dyn FnMut(Progress),
) -> Result<Words, Error> {
    let mut before: Option<(PathBuf, Base, Words)> = None;
    for path in files {
        told(Progress::Note { text: format!("checking {}", path.display()) });
        let (mut opened, _) = Opened::with_secret(path, unlock)?;
        follows(path, &opened.words, before.as_ref())?;
        let summary = opened.check(path, |_| {})?;
        let base = Base { id: opened.reader.id(), end: summary.end };
        before = Some((path.clone(), base, opened.words));
    }
    before
        .map(|(_, _, words)| words)
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

/// Appends the entries of one backup; `told` hears how many more.
fn append(
    store: &Store,
    path: &Path,
    mut opened: Opened,
    mut told: impl FnMut(u64),
) -> Result<(), Error> {
    let mut group: Vec<LogEntry> = Vec::new();
    let (mut bytes, mut untold) = (0, 0);
    loop {
        let entry = opened.reader.next_entry().map_err(|error| unreadable(path, &error))?;
        let is_end = entry.is_none();
        if let Some((_, entry)) = entry {
            bytes += entry.bytes.len();
            untold += 1;
            group.push(entry);
        }
        if bytes >= GROUP_BYTES_MAX || is_end {
            store.append(std::mem::take(&mut group)).map_err(|error| Error::store(&error))?;
            bytes = 0;
        }
        if untold >= PROGRESS_EVERY || is_end {
            told(std::mem::take(&mut untold));
        }
        if is_end {
            return Ok(());
        }
    }
}
