//! Where a program that holds a folder listens for commands, and who may connect.
//!
//! The socket lies in the user's runtime folder under a hash of the held folder's path, because
//! paths of sockets are limited to about a hundred bytes. Only whoever holds the folder's lock
//! creates or removes one, so a socket that nobody listens on is always left over.

mod silence;

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};

pub use silence::{SILENCE_MAX, Silence, silence};

/// The longest path of a socket that every platform takes.
const PATH_SIZE_MAX: usize = 99;

/// The socket of a program in this process; dropping it removes the file.
#[derive(Debug)]
pub struct Socket {
    path: PathBuf,
    identity: (u64, u64),
    listener: Option<UnixListener>,
}

/// Where the `program` that holds `held` may listen, the best place first.
///
/// A program started by the system may lack the environment of a login, so that commands look into
/// every place.
fn places(program: &str, held: &Path, environment: &Environment) -> Vec<PathBuf> {
    let hash = blake3::hash(held.as_os_str().as_encoded_bytes());
    let name = format!("{}.sock", &hash.to_hex()[..16]);
    let per_user = format!("{program}-{}", environment.user);
    environment
        .runtime_folder
        .iter()
        .map(|folder| folder.join(program))
        .chain([environment.temporary_folder.join(&per_user), Path::new("/tmp").join(&per_user)])
        .map(|folder| folder.join(&name))
        .filter(|path| path.as_os_str().len() <= PATH_SIZE_MAX)
        .collect()
}

/// What decides where sockets lie.
struct Environment {
    runtime_folder: Option<PathBuf>,
    temporary_folder: PathBuf,
    user: u32,
}

impl Environment {
    fn of(held: &Path) -> io::Result<Self> {
        let runtime_folder = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        Ok(Self {
            runtime_folder: runtime_folder.filter(|folder| folder.is_absolute()),
            temporary_folder: std::env::temp_dir(),
            user: fs::metadata(held)?.uid(),
        })
    }
}

fn places_of(program: &str, held: &Path) -> io::Result<Vec<PathBuf>> {
    let held = fs::canonicalize(held)?;
    Ok(places(program, &held, &Environment::of(&held)?))
}

/// The socket on which the `program` that holds `held` answers, if there is one.
pub async fn find(program: &str, held: &Path) -> Option<PathBuf> {
    for path in places_of(program, held).ok()? {
        if UnixStream::connect(&path).await.is_ok() {
            return Some(path);
        }
    }
    None
}

/// Removes what a `program` that was killed left behind; the caller holds the lock of `held`.
pub fn remove_stale(program: &str, held: &Path) {
    for path in places_of(program, held).unwrap_or_default() {
        // Where there is none, nothing is to be removed.
        let _ = fs::remove_file(path);
    }
}

impl Socket {
    /// Listens as the `program` that holds `held`; the caller holds its lock.
    ///
    /// # Errors
    ///
    /// None of the places can be used; the error is the last place's.
    pub fn bind(program: &str, held: &Path) -> io::Result<Self> {
        remove_stale(program, held);
        let mut result = Err(io::Error::other("no folder for it has a path that is short enough"));
        for path in places_of(program, held)? {
            result = Self::bind_at(path, fs::metadata(held)?.uid());
            if result.is_ok() {
                break;
            }
        }
        result
    }

    fn bind_at(path: PathBuf, user: u32) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            private_folder(folder, user)?;
        }
        let listener = UnixListener::bind(&path)?;
        fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        let metadata = fs::symlink_metadata(&path)?;
        Ok(Self { path, identity: (metadata.dev(), metadata.ino()), listener: Some(listener) })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The listener, once.
    pub const fn take_listener(&mut self) -> Option<UnixListener> {
        self.listener.take()
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        drop(self.listener.take());
        let Ok(metadata) = fs::symlink_metadata(&self.path) else { return };
        // The next program may have put its own in the same place, even under the same inode.
        let is_ours = (metadata.dev(), metadata.ino()) == self.identity;
        if is_ours && std::os::unix::net::UnixStream::connect(&self.path).is_err() {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A folder that nobody else can enter: the temporary folder is open to everybody, so a folder of
/// the right name may be somebody else's trap.
fn private_folder(folder: &Path, user: u32) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let metadata = fs::symlink_metadata(folder)?;
    if !metadata.is_dir() || metadata.uid() != user || metadata.mode() & 0o077 != 0 {
        return Err(io::Error::other(format!(
            "{} does not belong to this user alone",
            folder.display()
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
