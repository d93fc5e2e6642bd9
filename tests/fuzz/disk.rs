//! What lies on a disk as bytes that somebody has changed: logs, backups, profiles.

use std::ops::ControlFlow;
use std::sync::{Arc, OnceLock};

use fieldmesh_model::StoreId;
use fieldmesh_store::backup::{BackupWriter, RestoreError, SealedBackup};
use fieldmesh_store::memory::MemoryFiles;
use fieldmesh_store::view::memory::MemoryRows;
use fieldmesh_store::{DataKey, DataKeys, Entry, Fate, Options, Past, Place, Store, WrappedKey};

fn key() -> DataKey {
    DataKey::from_bytes([42; 32])
}

fn open(files: &MemoryFiles) -> Option<Store> {
    let options = Options { reserve_bytes: 0, segment_size_max: 24_000, ..Options::default() };
    let rows = Arc::new(MemoryRows::default());
    Store::open_on(Arc::new(files.clone()), rows, &key(), &options).ok()
}

fn entries() -> Vec<Entry> {
    (0_u8..9).map(|kind| Entry { kind: kind % 5, bytes: vec![kind; 90] }).collect()
}

/// A store with a few entries, always the same apart from what the store draws at random.
pub(crate) fn files() -> MemoryFiles {
    let files = MemoryFiles::new();
    if let Some(store) = open(&files) {
        let _ = store.append(entries());
        let _ = store.close();
    }
    files
}

/// The same with its entries in blocks, some of them dropped, and one more behind them.
pub(crate) fn rewritten() -> MemoryFiles {
    let files = files();
    if let Some(store) = open(&files) {
        let fate = |place: Place| if place.0 % 4 == 1 { Fate::Drop } else { Fate::Keep };
        let _ = store.rewrite(1, Past::Named, |place, _| fate(place));
        let _ = store.append(vec![Entry { kind: 1, bytes: vec![9; 30] }]);
        let _ = store.close();
    }
    files
}

/// Reads a store whose log is as it was appended.
pub(crate) fn log(bytes: &[u8]) {
    static FILES: OnceLock<MemoryFiles> = OnceLock::new();
    read(FILES.get_or_init(files), bytes);
}

/// Reads a store whose log was written anew, and writes it anew once more.
pub(crate) fn blocks(bytes: &[u8]) {
    static FILES: OnceLock<MemoryFiles> = OnceLock::new();
    let Some(store) = read(FILES.get_or_init(rewritten), bytes) else { return };
    for number in 0..10 {
        let _ = store.read(Place(number));
    }
    for segment in store.closed_segments().unwrap_or_default() {
        let _ = store.rewrite(segment.number, Past::Named, |_, _| Fate::Keep);
    }
}

/// Reads a store, one of whose files begins or goes on with `bytes`.
///
/// The first byte chooses the file, the second where in it the rest is put.
fn read(files: &MemoryFiles, bytes: &[u8]) -> Option<Store> {
    let [which, place, rest @ ..] = bytes else { return None };
    let files = files.fork();
    let contents = files.contents();
    let (name, content) = contents.iter().nth(usize::from(*which) % contents.len().max(1))?;
    let keep = content.len() * usize::from(*place) / 255;
    let mut changed = content[..keep].to_vec();
    changed.extend(rest);
    changed.extend(content.get(changed.len()..).unwrap_or_default());
    files.place(name, changed);
    let store = open(&files)?;
    let _ = store.replay(None, |_, _| ControlFlow::Continue(()));
    let _ = store.view().applied();
    Some(store)
}

/// A backup of a few entries.
pub(crate) fn backed_up() -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let store = StoreId::from_bytes([5; 16]);
    let mut writer = BackupWriter::begin(Vec::new(), &key(), store, b"opener", b"words")?;
    for (number, entry) in (0..).zip(entries()) {
        writer.add(Place(number), &entry)?;
    }
    Ok(writer.finish(Some(Place(8)), 0)?.0)
}

/// Reads a backup: to its end only if it is whole, and then it holds what was put in.
pub(crate) fn backup(bytes: &[u8]) {
    let read = || -> Result<Vec<Entry>, RestoreError> {
        let mut reader = SealedBackup::open(bytes)?.unlock(&key())?;
        let mut found = Vec::new();
        while let Some((_, entry)) = reader.next_entry()? {
            found.push(entry);
        }
        Ok(found)
    };
    match read() {
        Ok(found) => assert_eq!(found, entries(), "a backup is whole or none"),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// Reads what opens a home.
pub(crate) fn profile(bytes: &[u8]) {
    if let Ok(wrapped) = WrappedKey::from_bytes(bytes) {
        assert_eq!(wrapped.to_bytes(), bytes, "a wrapped key is one sequence of bytes");
    }
    let _ = DataKeys::open_beside(key(), bytes);
    let folder = std::env::temp_dir().join(format!("fieldmesh-profile-{}", std::process::id()));
    if std::fs::create_dir_all(&folder).is_ok()
        && std::fs::write(folder.join("profile"), bytes).is_ok()
    {
        let _ = fieldmesh::home::needs_passphrase(&folder);
        let _ = std::fs::remove_dir_all(&folder);
    }
}
