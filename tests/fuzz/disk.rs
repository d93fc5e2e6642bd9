//! The log on disk as bytes that somebody has changed.

use std::ops::ControlFlow;
use std::sync::{Arc, OnceLock};

use fieldmesh_store::memory::MemoryFiles;
use fieldmesh_store::view::memory::MemoryRows;
use fieldmesh_store::{DataKey, Entry, Options, Store};

fn open(files: &MemoryFiles) -> Option<Store> {
    let options = Options { reserve_bytes: 0, segment_size_max: 24_000, ..Options::default() };
    let rows = Arc::new(MemoryRows::default());
    Store::open_on(Arc::new(files.clone()), rows, &DataKey::from_bytes([42; 32]), &options).ok()
}

/// A store with a few entries, always the same apart from what the store draws at random.
pub(crate) fn files() -> MemoryFiles {
    let files = MemoryFiles::new();
    if let Some(store) = open(&files) {
        let entries = (0_u8..9).map(|kind| Entry { kind: kind % 5, bytes: vec![kind; 90] });
        let _ = store.append(entries.collect());
        let _ = store.close();
    }
    files
}

/// Reads a store, one of whose files begins or goes on with `bytes`.
///
/// The first byte chooses the file, the second where in it the rest is put.
pub(crate) fn log(bytes: &[u8]) {
    static FILES: OnceLock<MemoryFiles> = OnceLock::new();
    let [which, place, rest @ ..] = bytes else { return };
    let files = FILES.get_or_init(files).fork();
    let contents = files.contents();
    let Some((name, content)) = contents.iter().nth(usize::from(*which) % contents.len().max(1))
    else {
        return;
    };
    let keep = content.len() * usize::from(*place) / 255;
    let mut changed = content[..keep].to_vec();
    changed.extend(rest);
    changed.extend(content.get(changed.len()..).unwrap_or_default());
    files.place(name, changed);
    if let Some(store) = open(&files) {
        let _ = store.replay(None, |_, _| ControlFlow::Continue(()));
        let _ = store.view().applied();
    }
}
