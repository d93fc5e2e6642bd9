//! What stands where a file or a folder of a store belongs and is something else.

use std::path::Path;

use super::{LOG_FOLDER, OpenError, QUARANTINE_FOLDER, VIEW_FOLDER};
use crate::{doubt, flag, lock, mark, reserve};

const FILES: [&str; 7] = [
    mark::STORE_NAME,
    mark::CLEAN_NAME,
    lock::NAME,
    reserve::NAME,
    doubt::NAME,
    flag::RETURNED.name,
    flag::ANEW.name,
];
const FOLDERS: [&str; 3] = [LOG_FOLDER, VIEW_FOLDER, QUARANTINE_FOLDER];

/// Says what stands in the way, where that may be why the store in `folder` is not opened: what the
/// system says of it tells nobody which file is meant.
pub(super) fn explain(folder: &Path, error: OpenError) -> OpenError {
    if !matches!(error, OpenError::Io { .. } | OpenError::Log(_) | OpenError::View(_)) {
        return error;
    }
    let is_no_folder = |path: &Path| path.exists() && !path.is_dir();
    if is_no_folder(folder) {
        return OpenError::OtherKind { path: folder.into(), kind: "folder" };
    }
    let mut folders = FOLDERS.map(|name| folder.join(name)).into_iter();
    if let Some(path) = folders.find(|path| is_no_folder(path)) {
        return OpenError::OtherKind { path, kind: "folder" };
    }
    let mut files = FILES.map(|name| folder.join(name)).into_iter();
    match files.find(|path| path.is_dir()) {
        Some(path) => OpenError::OtherKind { path, kind: "file" },
        None => error,
    }
}
